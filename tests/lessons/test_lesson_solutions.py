"""Solutions leave the student's cell, whole and alone, and the solved cell keeps them without markers."""

import ast
from pathlib import Path

import pytest

from course_lib.errors import LessonError
from course_lib.lessons.solutions import solved_text, student_text
from course_lib.lessons.source import Cell

PATH = Path("01_tiny.py")


def cell(text: str, tags: tuple[str, ...] = ("exercise", "f"), line: int = 10) -> Cell:
    return Cell("code", text, tags, line)


MIDDLE = '''def f(x):
    """Docstring."""
    total = 0
    for value in x:
        ### BEGIN SOLUTION
        if value > 0:
            total += value
        ### END SOLUTION
    return total'''


def test_region_in_the_middle_keeps_its_indentation():
    assert (
        student_text(cell(MIDDLE), PATH)
        == '''def f(x):
    """Docstring."""
    total = 0
    for value in x:
        raise NotImplementedError("f: your code here")
    return total'''
    )


def test_solved_cell_runs_and_shows_no_markers():
    text = solved_text(cell(MIDDLE), PATH)
    assert "SOLUTION" not in text
    space: dict = {}
    exec(text, space)
    assert space["f"]([1, -5, 2]) == 3


def test_several_regions_are_numbered_and_say_what_to_do():
    text = """class f:
    def a(self):
        ### BEGIN SOLUTION: weigh the "values"
        return 1
        ### END SOLUTION

    def b(self):
        ### BEGIN SOLUTION
        return 2
        ### END SOLUTION"""
    student = student_text(cell(text), PATH)
    space: dict = {}
    exec(student, space)
    with pytest.raises(NotImplementedError, match='f: part 1 of 2, weigh the "values"'):
        space["f"]().a()
    with pytest.raises(NotImplementedError, match="f: part 2 of 2, your code here"):
        space["f"]().b()


def test_no_solution_line_survives():
    secret = "hidden_answer"
    text = f"def f(x):\n    ### BEGIN SOLUTION\n    {secret} = x\n    return {secret}\n    ### END SOLUTION"
    student = student_text(cell(text), PATH)
    assert secret not in student and "SOLUTION" not in student
    ast.parse(student)


def test_cells_without_regions_are_untouched():
    text = "x = 1\n\n\ny = 2  # a comment"
    assert student_text(cell(text, ()), PATH) == solved_text(cell(text, ()), PATH) == text


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1", 12, "without ### END SOLUTION"),
        ("def f():\n    return 1\n    ### END SOLUTION", 13, "without ### BEGIN SOLUTION"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### BEGIN SOLUTION\n    return 1", 13, "inside a solution"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", 11, "inside a function or method"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### END SOLUTION", 13, "the solution is empty"),
        ("def f():\n    # BEGIN SOLUTION\n    return 1", 12, "write the markers exactly"),
    ],
)
def test_faulty_markers(text, line, message):
    with pytest.raises(LessonError, match=message) as caught:
        student_text(cell(text), PATH)
    assert str(caught.value).startswith(f"01_tiny.py:{line}:")


def test_a_solution_needs_an_exercise():
    with pytest.raises(LessonError, match="exercise"):
        student_text(cell("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", ()), PATH)
