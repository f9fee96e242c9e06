"""Derived notebooks: the same bytes every time, ids and outputs that stay with their cells."""

import json

import nbformat
import pytest
from nbformat.v4 import new_output

from course_lib.errors import LessonError
from course_lib.lessons.build import build, notebook_text, read_notebook
from course_lib.lessons.header import duration


def cells(path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_rebuild_is_byte_identical(project, exercise_cells):
    project.add("01", exercise_cells())
    student, solved = project.notebook("01_tiny"), project.notebook("01_tiny", solved=True)
    assert build(project.root) == [student, solved]
    before = student.read_bytes(), solved.read_bytes()
    assert build(project.root) == []
    student.unlink(), solved.unlink()
    build(project.root)
    assert (student.read_bytes(), solved.read_bytes()) == before


def test_notebooks_are_valid_and_say_how_to_run(project, exercise_cells):
    project.add("01", exercise_cells())
    for path in build(project.root):
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
        assert notebook.nbformat == 4 and notebook.nbformat_minor >= 5
        assert notebook.metadata.kernelspec.name == "python3"
        assert notebook.metadata.language_info.name == "python"
        assert notebook.metadata.course.lesson == "01"
        assert next(c.metadata.tags for c in notebook.cells if "tags" in c.metadata) == ["parameters"]


def test_student_has_no_solution_and_solved_has_no_markers(project, exercise_cells):
    project.add("01", exercise_cells(solution="return secret_answer(x)"))
    student, solved = build(project.root)
    assert "secret_answer" not in student.read_text() and "double: your code here" in student.read_text()
    assert "secret_answer" in solved.read_text() and "SOLUTION" not in solved.read_text()


def test_header_renders_the_manifest(project):
    project.add("00", "", name="first", title="First steps")
    project.add("02", "", needs="[00, 01]")
    (project.root / "notebooks/measured.json").write_text('{"02": {"cpu": {"seconds": 61.2, "gigabytes": 1.13}}}')
    build(project.root, ["02"])
    header = "".join(cells(project.notebook("02_tiny"))[0]["source"])
    assert header.startswith("# 02 · Tiny\n\n**Learn one small thing.**")
    assert "- show it: with a colon" in header
    assert "[00 · First steps](00_first.ipynb), lesson 01" in header
    assert "*mask*, *flow*" in header and "PhD thesis, 2020, chapter 1" in header
    assert "| `cpu` | 65 s, 1.2 GB | at most 100 s and 4 GB |" in header
    assert "| `smoke` | not measured yet |" in header


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "5 s"), (61.2, "65 s"), (120, "120 s"), (121, "3 min"), (7300, "3 h")]
)
def test_durations_round_up(seconds, text):
    assert duration(seconds) == text


def test_ids_stay_when_a_cell_is_inserted(project):
    body = "# %%\nprint('same')\n\n# %%\nprint('b')\n\n# %%\nprint('same')\n"
    path = project.add("01", body)
    build(project.root)
    before = [cell["id"] for cell in cells(project.notebook("01_tiny"))]
    assert len(set(before)) == len(before), "equal cells need different ids"
    path.write_text(path.read_text().replace("# %%\nprint('b')", "# %% [markdown]\n# New.\n\n# %%\nprint('b')"))
    build(project.root)
    after = [cell["id"] for cell in cells(project.notebook("01_tiny"))]
    assert [identity for identity in after if identity in before] == before
    assert len(after) == len(before) + 1


def test_outputs_stay_with_unchanged_cells_only(project):
    path = project.add("01", "# %%\nprint('a')\n\n# %%\nprint('b')\n")
    build(project.root)
    target = project.notebook("01_tiny")
    notebook = read_notebook(target)
    for cell in notebook.cells[2:]:
        cell.outputs = [new_output("stream", name="stdout", text=f"out of {cell.source}\n")]
    target.write_text(notebook_text(notebook))
    path.write_text(path.read_text().replace("print('a')", "print('changed')"))
    build(project.root)
    outputs = {"".join(c["source"]): c["outputs"] for c in cells(target) if c["cell_type"] == "code"}
    assert outputs["print('changed')"] == []
    assert outputs["print('b')"][0]["text"] == ["out of print('b')\n"]


def test_unreadable_notebook_is_reported_not_replaced(project):
    project.add("01", "")
    target = project.notebook("01_tiny")
    target.write_text("<<<<<<< merge conflict")
    with pytest.raises(LessonError, match="delete it, then run"):
        build(project.root)
    assert target.read_text().startswith("<<<<<<<")
