"""Multiple choice in which every choice, right or wrong, is answered with a reason.

Each choice is a `<details>` element, so a quiz needs neither a kernel nor JavaScript: it opens by mouse or keyboard in
JupyterLab, on the web site and on GitHub alike. Where HTML is not shown, the answers follow as text.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from course_lib.errors import InputError


@dataclass(frozen=True)
class Quiz:
    """A question; a notebook shows it when it is the last value of a cell."""

    question: str
    choices: tuple[tuple[str, str], ...]  # text, reason
    right: frozenset[str]  # texts of the right choices

    def _repr_html_(self) -> str:
        rows = []
        for letter, (choice, reason) in zip(ascii_uppercase, self.choices):
            verdict = "✔ Right." if choice in self.right else "✘ Not this one."
            colour = "#0072B2" if choice in self.right else "#D55E00"
            rows.append(
                f'<details style="margin:.3em 0;padding:.3em .8em;border:1px solid #8886;border-radius:4px">'
                f'<summary style="cursor:pointer"><b>{letter}.</b> {html.escape(choice)}</summary>'
                f'<p style="margin:.4em 0 .2em;padding-left:.8em;border-left:4px solid {colour}">'
                f"<b>{verdict}</b> {html.escape(reason)}</p></details>"
            )
        label = html.escape(self.question, quote=True)
        several = " (several are right)" if len(self.right) > 1 else ""
        return (
            f'<section aria-label="Question: {label}" style="max-width:50em">'
            f"<p><b>Question.</b> {html.escape(self.question)}{several} <em>Choose, then open your choice.</em></p>"
            f"{''.join(rows)}</section>"
        )

    def __repr__(self) -> str:
        lines = [f"Question. {self.question}"]
        lines += [f"  {letter}. {choice}" for letter, (choice, _) in zip(ascii_uppercase, self.choices)]
        lines.append("Answers.")
        for letter, (choice, reason) in zip(ascii_uppercase, self.choices):
            lines.append(f"  {letter}: {'right' if choice in self.right else 'not this one'}. {reason}")
        return "\n".join(lines)


def quiz(question: str, choices: Mapping[str, str], right: str | tuple[str, ...]) -> Quiz:
    """A multiple-choice question.

    choices: each choice with the reason why it is right or wrong. right: the right choice, or several.
    Raises `InputError` with fewer than two choices, a choice without reason, or a right answer that is no choice.

    >>> quiz("2 + 2?", {"4": "Two and two.", "22": "That joins the digits."}, right="4").right
    frozenset({'4'})
    """
    answers = frozenset({right} if isinstance(right, str) else right)
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise InputError(f"a question has 2 to 26 choices, got {len(choices)}")
    if silent := [choice for choice, reason in choices.items() if not reason.strip()]:
        raise InputError(f"every choice is answered with a reason; {silent[0]!r} has none")
    if not answers or (strange := sorted(answers - set(choices))):
        raise InputError(f"the right answer must be one of {list(choices)}, got {strange[0] if answers else 'none'!r}")
    return Quiz(question, tuple(choices.items()), answers)
