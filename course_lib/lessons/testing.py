"""For the tests of a lesson's exercises: right answers are accepted, wrong ones are told what is wrong with them.

A check that says yes to everything, or no without a reason, is caught here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_lib.lessons.examine import Verdict, examine
from course_lib.lessons.exercise import Exercise


def assert_exercise(
    exercise: Exercise, right: Sequence[Callable[..., Any]], wrong: Mapping[str, Sequence[Callable[..., Any]]]
) -> None:
    """Fail unless the check accepts every right answer and gives every wrong one the intended cause.

    right: two or more answers that are written differently from each other and from the reference.
    wrong: a part of the intended message -> the answers that deserve it, four or more in all.
    Also fails if the reference does not pass, an unwritten answer is not seen as such, or a misconception cannot be
    told from the right answer.
    """
    assert len({id(answer) for answer in right} - {id(exercise.reference)}) >= 2, "two right answers are needed"
    assert sum(map(len, wrong.values())) >= 4, "at least four wrong answers"
    for answer in (exercise.reference, *right):
        verdict = examine(exercise, answer)
        assert verdict.status == "right", f"a right answer was refused\n{verdict.text()}"
    for message, answers in wrong.items():
        for number, answer in enumerate(answers, 1):
            verdict = examine(exercise, answer)
            where = f"wrong answer {number} of {message!r}"
            assert verdict.status == "wrong", f"{where} was accepted\n{verdict.text()}"
            assert message in verdict.cause, f"{where} was told something else\n{verdict.text()}"
    for idea in exercise.misconceptions:
        verdict = examine(exercise, idea.wrong)
        assert verdict.status == "wrong", f"no case tells this misconception from the right answer: {idea.cause}"
        assert verdict.cause == idea.cause, f"taken for another misconception: {idea.cause}\n{verdict.text()}"
    assert examine_unwritten(exercise).status == "not attempted"


def examine_unwritten(exercise: Exercise) -> Verdict:
    """The verdict on what a student's notebook holds before anything is written."""

    def unwritten(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{exercise.name}: your code here")

    return examine(exercise, unwritten)
