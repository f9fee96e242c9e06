"""The course itself: every lesson runs at preset smoke, solved ones pass every check, and nothing is out of step."""

from pathlib import Path

import pytest

from course_lib.lessons.build import read_notebook
from course_lib.lessons.drift import check_all
from course_lib.lessons.reference_outputs import compare_reference_outputs
from course_lib.lessons.runner import run_course
from course_lib.lessons.source import read_sources

ROOT = Path(__file__).parents[2]
LESSONS = [source.manifest.lesson for source in read_sources(ROOT)]


def test_notebooks_are_in_step_with_their_sources():
    errors = [str(problem) for problem in check_all(ROOT) if problem.level == "error"]
    assert not errors, "\n".join(errors)


@pytest.mark.notebook
@pytest.mark.parametrize("lesson", LESSONS)
def test_student_notebook_runs_to_its_end_without_answers(lesson, tmp_path, capsys):
    code = run_course(ROOT, [lesson], preset="smoke", out=tmp_path)
    assert code == 0, capsys.readouterr().out
    notebook = read_notebook(next(tmp_path.glob("*.ipynb")))
    exercises = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    shown = str([cell.outputs for cell in notebook.cells if "check" in cell.metadata.get("tags", [])])
    assert 3 <= len(exercises) <= 6
    assert shown.count("text/plain") == len(exercises) == shown.count("'text/plain': '○")


@pytest.mark.notebook
@pytest.mark.parametrize("lesson", LESSONS)
def test_solved_notebook_passes_every_check(lesson, tmp_path, capsys):
    assert run_course(ROOT, [lesson], preset="smoke", solved=True, out=tmp_path) == 0, capsys.readouterr().out


@pytest.mark.notebook
@pytest.mark.parametrize("lesson", LESSONS)
def test_reference_outputs_are_reproduced(lesson, tmp_path):
    comparison = compare_reference_outputs(ROOT, lesson, tmp_path)
    assert comparison.compared >= 1, "no cell of this lesson is tagged nbval-check-output"
    assert comparison.passed, comparison.report
