"""A quiz works without kernel and without colour, and answers every choice."""

import re
from html.parser import HTMLParser

import pytest

from course_lib.errors import InputError
from course_lib.lessons.quizzes import quiz

CHOICES = {"J < F": "F looks at the outline.", "J > F": "That takes a smooth blob.", "equal": "Only by chance."}


def test_html_needs_no_script_and_escapes():
    html = quiz("Is a <b> mask?", CHOICES, right="J > F")._repr_html_()
    assert "<script" not in html and "onclick" not in html
    assert html.count("<details") == html.count("<summary") == 3, "opened by mouse or keyboard"
    assert "J &lt; F" in html and "Is a &lt;b&gt; mask?" in html
    verdicts = re.findall(r"<b>(✔ Right\.|✘ Not this one\.)</b> ([^<]+)", html)
    assert verdicts == [
        ("✘ Not this one.", "F looks at the outline."),
        ("✔ Right.", "That takes a smooth blob."),
        ("✘ Not this one.", "Only by chance."),
    ]

    class Balanced(HTMLParser):
        def __init__(self):
            super().__init__()
            self.stack = []

        def handle_starttag(self, tag, attrs):
            self.stack.append(tag)

        def handle_endtag(self, tag):
            assert self.stack.pop() == tag

    parser = Balanced()
    parser.feed(html)
    assert parser.stack == []


def test_text_fallback_keeps_answers_apart():
    text = repr(quiz("Which?", CHOICES, right=("J > F", "equal")))
    question, answers = text.split("Answers.")
    assert "F looks at the outline." not in question and "A. J < F" in question
    assert "A: not this one." in answers and "B: right." in answers and "C: right." in answers


@pytest.mark.parametrize(
    ("choices", "right", "message"),
    [
        ({"a": "b"}, "a", "2 to 26 choices"),
        ({"a": "b", "c": " "}, "a", "'c' has none"),
        ({"a": "b", "c": "d"}, "e", "got 'e'"),
        ({"a": "b", "c": "d"}, (), "got 'none'"),
    ],
)
def test_faulty_questions(choices, right, message):
    with pytest.raises(InputError, match=message):
        quiz("?", choices, right=right)
