"""The lesson workshop: sources become notebooks, notebooks are executed, exercises are checked.

What a lesson's cells need is here and loads on first use; the workshop itself is imported from its rooms,
for example `from course_lib.lessons.build import build`.
"""

from importlib import import_module

_HOME = {
    "check": "course_lib.lessons.checking",
    "lesson": "course_lib.lessons.opening",
    "quiz": "course_lib.lessons.quizzes",
}

__all__ = ["check", "lesson", "quiz"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'course_lib.lessons' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
