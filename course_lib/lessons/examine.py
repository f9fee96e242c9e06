"""Examines a learner's answer to an exercise: tries every case and sums up what was tried, expected, got, and why.

Pure: nothing is shown and nothing raised here; `checking` does that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from course_lib.lessons.causes import cause_of_difference, cause_of_error, cause_of_gradient
from course_lib.lessons.compare import describe, difference
from course_lib.lessons.exercise import Case, Exercise
from course_lib.lessons.sandbox import Outcome, OutOfTime, run_case

MAX_PRINTED = 400  # characters of the learner's own prints that are repeated


@dataclass(frozen=True)
class Verdict:
    """What the check found. The texts are empty where there is nothing to say."""

    name: str
    status: Literal["right", "wrong", "not attempted"]
    passed: int = 0  # cases that agree
    total: int = 0
    tried: str = ""
    expected: str = ""
    got: str = ""
    cause: str = ""
    printed: str = ""

    def headline(self) -> str:
        if self.status == "right":
            return f"{self.name} is right: {self.passed} of {self.total} tries agree."
        if self.status == "not attempted":
            return f"{self.name}: not attempted yet — the lesson goes on with the reference."
        agree = f"{self.passed} of {self.total} tries agree"
        return f"{self.name} is not right yet: {agree} — the lesson goes on with the reference."

    def rows(self) -> list[tuple[str, str]]:
        """Labelled parts for display, without the empty ones."""
        named = (
            ("tried", self.tried),
            ("expected", self.expected),
            ("got", self.got),
            ("likely cause", self.cause),
            ("it printed", self.printed),
        )
        return [(label, text) for label, text in named if text]

    def text(self) -> str:
        lines = [self.headline()]
        for label, text in self.rows():
            lines.append(f"  {label + ':':<14}" + text.replace("\n", "\n" + " " * 16))
        return "\n".join(lines)


def examine(exercise: Exercise, function: Any) -> Verdict:
    """Try `function` on every case of the exercise. Never raises for a faulty `function`."""
    if not callable(function):
        return Verdict(
            exercise.name,
            "wrong",
            got=describe(function),
            expected="a function (or class)",
            cause=f"Give the function itself: check.{exercise.name}({exercise.name}), without calling it first.",
        )
    cases = exercise.all_cases()
    rights = [_expected(exercise, case) for case in cases]
    gots: list[Outcome] = []
    for case in cases:
        gots.append(run_case(function, case, exercise.seconds))
        if isinstance(gots[-1].error, OutOfTime):
            break  # the others would take as long
    printed = "".join(got.printed for got in gots).strip()
    printed = printed if len(printed) <= MAX_PRINTED else printed[:MAX_PRINTED] + " …"
    unwritten = [str(got.error) for got in gots if _left_open(got.error, exercise.name)]
    if unwritten:
        part = unwritten[0].partition(": ")[2]  # of an exercise with several parts, the next one to write
        cause = f"still to write: {part}" if part.startswith("part ") else ""
        return Verdict(exercise.name, "not attempted", total=len(cases), cause=cause, printed=printed)
    faults = [_fault(exercise, got, right) for got, right in zip(gots, rights)]
    if all(fault is None for fault in faults) and len(gots) == len(cases):
        return Verdict(exercise.name, "right", len(cases), len(cases), printed=printed)

    first = next(index for index, fault in enumerate(faults) if fault is not None)
    case, got, right = cases[first], gots[first], rights[first]
    return Verdict(
        name=exercise.name,
        status="wrong",
        passed=sum(fault is None for fault in faults),
        total=len(cases),
        tried=_tried(exercise, case),
        expected=_shown(right),
        got=_with_difference(got, right, faults[first] or ""),
        cause=_cause(exercise, function, case, gots, rights, first) or "",
        printed=printed,
    )


def _expected(exercise: Exercise, case: Case) -> Outcome:
    outcome = run_case(exercise.reference, case, seconds=600)
    return Outcome(case.expected[0], None, outcome.gradients) if case.expected is not None else outcome


def _left_open(error: BaseException | None, name: str) -> bool:
    """Whether the solution is still to be written; PyTorch raises the same kind of error for what it cannot do."""
    return isinstance(error, NotImplementedError) and (not str(error) or str(error).startswith(f"{name}: "))


def _fault(exercise: Exercise, got: Outcome, right: Outcome) -> str | None:
    """How an outcome differs from the right one, in words; None if it does not."""
    if got.error is not None or right.error is not None:
        if type(got.error) is type(right.error):
            return None
        return f"{_shown(right)} was expected"
    try:
        message = difference(got.value, right.value, exercise.tolerance, exercise.any_dtype)
    except Exception as error:  # a sparse tensor, a class of the learner's own
        message = f"the result cannot be compared: {error}"
    if message is not None:
        return message
    if got.changed_input is not None and right.changed_input is None:
        return f"argument {got.changed_input + 1} was changed in place"
    for index, (mine, theirs) in enumerate(zip(got.gradients, right.gradients)):
        message = "none arrives" if mine is None and theirs is not None else None
        message = message or difference(mine, theirs, max(exercise.tolerance, 1e-5), exercise.any_dtype)
        if message is not None:
            return f"the result agrees, but not the gradient of tensor input {index + 1}: {message}"
    return None


def _cause(
    exercise: Exercise, function: Callable[..., Any], case: Case, gots: list[Outcome], rights: list[Outcome], first: int
) -> str | None:
    got, right = gots[first], rights[first]
    if not isinstance(got.error, OutOfTime) and (idea := _idea(exercise, gots, rights)):
        return idea
    if got.error is not None:
        return cause_of_error(got.error, function, exercise.reference)
    if right.error is not None:
        return f"Such inputs must be refused with {type(right.error).__name__}."
    if exercise.diagnose is not None and (told := exercise.diagnose(case, got.value, right.value)):
        return told
    try:
        if difference(got.value, right.value, exercise.tolerance, exercise.any_dtype) is not None:
            return cause_of_difference(got.value, right.value, exercise.tolerance)
    except Exception:  # a guess is not worth an error
        return None
    if got.changed_input is not None and right.changed_input is None:
        return "The function changes its input, which the caller still needs: work on a copy (`.clone()`)."
    return cause_of_gradient(got, right)


def _idea(exercise: Exercise, gots: list[Outcome], rights: list[Outcome]) -> str | None:
    """The misconception that gives the learner's results: on every case, else on every case that went wrong."""
    cases = exercise.all_cases()
    explains = []
    for idea in exercise.misconceptions:
        outcomes = [run_case(idea.wrong, case, exercise.seconds) for case in cases[: len(gots)]]
        same = [_fault(exercise, mine, theirs) is None for mine, theirs in zip(gots, outcomes)]
        if all(same):
            return idea.cause
        wrong = [_fault(exercise, mine, right) is not None for mine, right in zip(gots, rights)]
        if all(alike for alike, at_fault in zip(same, wrong) if at_fault):
            explains.append(idea.cause)
    return explains[0] if explains else None


def _tried(exercise: Exercise, case: Case) -> str:
    if case.about:
        return f"{exercise.name} on {case.about}"
    arguments = ", ".join(describe(value).replace("\n", " ") for value in case.fresh_inputs())
    return f"{exercise.name}({arguments})" if len(arguments) <= 400 else f"{exercise.name}({arguments[:400]} …)"


def _with_difference(got: Outcome, right: Outcome, fault: str) -> str:
    """The result and how it differs, unless the two values say so by themselves."""
    shown = _shown(got)
    if got.error is not None or fault == f"{_shown(right)} was expected, not {shown}":
        return shown
    return f"{shown}\n({fault})"


def _shown(outcome: Outcome) -> str:
    if outcome.error is None:
        return describe(outcome.value)
    if isinstance(outcome.error, OutOfTime):
        return str(outcome.error)
    return f"{type(outcome.error).__name__}: {outcome.error}"
