"""`check.<name>(f)`: shows how an answer fares and hands back something that works.

A right answer is used from here on; otherwise the library's reference is, under a banner that nobody can miss, so that
a lesson always runs to its end. With COURSE_STRICT=1 (solved notebooks) anything but right raises `CheckFailed`.
"""

import difflib
import html
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from course_lib.errors import CheckFailed
from course_lib.lessons.examine import Verdict, examine
from course_lib.lessons.exercise import Exercise
from course_lib.lessons.progress import record

STRICT = "COURSE_STRICT"
_MARK = {"right": "✔", "wrong": "✘", "not attempted": "○"}
_COLOUR = {"right": "#0072B2", "wrong": "#D55E00", "not attempted": "#E69F00"}  # Okabe and Ito (2008)

_TAG = {"tried": "div", "likely cause": "div"}  # prose; everything else is output, in equal widths


class Checks:
    """A check per exercise, as attributes: `check.iou(iou)`.

    exercises: those to offer; None offers the library's (`course_lib.lessons.checks`), found when first asked for.
    """

    def __init__(self, exercises: Sequence[Exercise] | None = None):
        self._exercises = None if exercises is None else {exercise.name: exercise for exercise in exercises}

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        if name.startswith("_"):  # asked for by notebooks and debuggers, never an exercise
            raise AttributeError(name)
        return partial(run_check, self._find(name))

    def __dir__(self) -> list[str]:
        return self._names()

    def _find(self, name: str) -> Exercise:
        from course_lib.lessons.checks import find_exercise

        found = find_exercise(name) if self._exercises is None else self._exercises.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._names(), n=1)
            hint = f"; did you mean check.{near[0]}?" if near else ""
            raise AttributeError(f"there is no exercise named {name}{hint}")
        return found

    def _names(self) -> list[str]:
        from course_lib.lessons.checks import all_exercises

        return sorted(all_exercises() if self._exercises is None else self._exercises)


check = Checks()


def run_check(exercise: Exercise, answer: Any) -> Any:
    """Examine `answer`, show the verdict, and return the answer if it is right, else the reference.

    Raises `CheckFailed` in strict mode only.
    """
    verdict = examine(exercise, answer)
    if verdict.status != "right" and os.environ.get(STRICT) == "1":
        raise CheckFailed(verdict.text())
    show(verdict)
    if verdict.status == "right":
        record(exercise.name)
        return answer
    return exercise.reference


def show(verdict: Verdict) -> None:
    """Display a verdict: HTML in a notebook, text elsewhere."""
    from IPython import get_ipython
    from IPython.display import display

    text = f"{_MARK[verdict.status]} {verdict.text()}"
    if get_ipython() is None:
        print(text)
    else:
        display({"text/html": verdict_html(verdict), "text/plain": text}, raw=True)


def verdict_html(verdict: Verdict) -> str:
    """The verdict as a banner: told apart by mark and words, colour only helps; readable on light and dark pages."""
    colour = _COLOUR[verdict.status]
    rows = "".join(
        '<tr><th scope="row" style="text-align:left;vertical-align:top;padding:2px 12px 2px 0;white-space:nowrap">'
        f'{label}</th><td style="text-align:left"><{_TAG.get(label, "pre")} style="margin:0;white-space:pre-wrap">'
        f"{html.escape(text)}</{_TAG.get(label, 'pre')}></td></tr>"
        for label, text in verdict.rows()
    )
    details = f'<table style="margin:.4em 0 0;border:0">{rows}</table>' if rows else ""
    headline = f"{_MARK[verdict.status]} {html.escape(verdict.headline())}"
    return (
        f'<div role="status" style="border:1px solid {colour};border-left:8px solid {colour};border-radius:4px;'
        f'padding:.5em .9em;margin:.3em 0;max-width:60em"><strong>{headline}</strong>'
        f"{details}</div>"
    )
