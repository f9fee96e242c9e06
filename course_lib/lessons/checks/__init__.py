"""The exercises of all lessons: one module a lesson, `lessonNN.py`, that holds `EXERCISES`, a list of `Exercise`.

Finding one imports only the modules that mention its name, because each imports its own method package.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from course_lib.errors import LessonError
from course_lib.lessons.exercise import Exercise

_FOLDER = Path(__file__).parent


def _modules() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("lesson[0-9][0-9].py"))


@cache
def lesson_exercises(module: str) -> dict[str, Exercise]:
    """Exercises of one module, for example `lesson00`, by name."""
    listed = import_module(f"{__name__}.{module}").EXERCISES
    found = {exercise.name: exercise for exercise in listed}
    if len(found) != len(listed):
        raise LessonError(f"checks/{module}.py lists two exercises of one name")
    return found


def find_exercise(name: str) -> Exercise | None:
    """The exercise called `name`, or None."""
    for module in _modules():
        if name in (_FOLDER / f"{module}.py").read_text(encoding="utf-8"):
            exercise = lesson_exercises(module).get(name)
            if exercise is not None:
                return exercise
    return None


def all_exercises() -> dict[str, Exercise]:
    """Every exercise by name. Raises `LessonError` if two lessons use one name."""
    found: dict[str, Exercise] = {}
    for module in _modules():
        for name, exercise in lesson_exercises(module).items():
            if name in found:
                raise LessonError(f"two lessons have an exercise named {name}; the second is in checks/{module}.py")
            found[name] = exercise
    return found
