"""Names the wrong idea behind the first case that went wrong, when the other cases went wrong for another reason.

An exercise's misconceptions are compared with all cases at once, so two mistakes in one answer hide each other. This
looks at one case alone, and at its value, not its gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lessons.compare import difference
from course_lib.lessons.exercise import Case, Misconception


def first_fault(ideas: Sequence[Misconception], tolerance: float = 1e-5) -> Callable[[Case, Any, Any], str | None]:
    """For `Exercise.diagnose`: the cause of the first idea that gives what the learner got in this case."""

    def diagnose(case: Case, got: Any, expected: Any) -> str | None:
        if difference(got, expected, tolerance) is None:
            return None  # only the gradient is wrong
        for idea in ideas:
            try:
                value = case.use(idea.wrong, *case.fresh_inputs())
            except Exception:  # the idea has no answer here
                continue
            if difference(got, value, tolerance) is None:
                return idea.cause
        return None

    return diagnose
