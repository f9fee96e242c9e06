"""The lesson workshop: sources become notebooks, notebooks are executed, exercises are checked.

What a lesson's cells need is here and loads on first use; the workshop itself is imported from its rooms,
for example `from course_lib.lessons.build import build`.
"""

from course_lib.lazy import lazy_names

_HOME = {
    "check": "course_lib.lessons.checking",
    "lesson": "course_lib.lessons.opening",
    "quiz": "course_lib.lessons.quizzes",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
