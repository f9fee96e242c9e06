"""The drift check finds what a reviewer would look for: stale, edited, too large, mute, or against the rules."""

import json

import pytest
from nbformat.v4 import new_output

from course_lib.lessons.build import build, code_hash, notebook_text, read_notebook
from course_lib.lessons.drift import check_all
from course_lib.lessons.hashes import library_hash


def messages(project, level: str = "error") -> list[str]:
    return [str(problem) for problem in check_all(project.root) if problem.level == level]


def mark_executed(project, name: str = "01_tiny", **changes: str) -> None:
    """Pretend that the student notebook was executed."""
    path = project.notebook(name)
    notebook = read_notebook(path)
    record = {"code_sha256": code_hash(notebook), "library_sha256": library_hash(), "preset": "cpu"}
    notebook.metadata.course["executed"] = {**record, **changes}
    path.write_text(notebook_text(notebook), encoding="utf-8")


@pytest.fixture
def clean(project, exercise_cells):
    project.add("01", "".join(exercise_cells(name) for name in ("double", "twice", "again")))
    build(project.root)
    mark_executed(project)
    return project


def edit(project, change) -> None:
    path = project.notebook("01_tiny")
    notebook = read_notebook(path)
    change(notebook)
    path.write_text(notebook_text(notebook), encoding="utf-8")


def test_a_clean_lesson_has_no_problems(clean):
    assert check_all(clean.root) == []


def test_not_built(clean):
    clean.notebook("01_tiny", solved=True).unlink()
    assert [m for m in messages(clean) if "solutions" in m and "not built" in m]


def test_stale(clean):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text() + "\n# %%\nprint('new')\n")
    found = messages(clean)
    assert sum("older than its source: `course lessons build`" in m for m in found) == 2
    build(clean.root)
    (found,) = messages(clean)
    assert "outputs belong to older code: `course lessons execute 01`" in found


def test_changed_prose_needs_a_build_but_no_execution(clean):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text() + "\n# %% [markdown]\n# New words.\n")
    build(clean.root)
    assert messages(clean) == []


def test_edited_by_hand(clean):
    def change(notebook):
        notebook.cells[3].source = "Triple a number."

    edit(clean, change)
    (found,) = messages(clean)
    assert "edited by hand" in found and "notebooks/source/01_tiny.py" in found
    assert read_notebook(clean.notebook("01_tiny")).cells[3].id in found


def test_never_executed_and_wrong_preset(clean):
    edit(clean, lambda notebook: notebook.metadata.course.pop("executed"))
    assert "never executed: `course lessons execute 01`" in messages(clean)[0]
    mark_executed(clean, preset="smoke")
    assert "outputs come from preset smoke" in messages(clean)[0]


def test_outputs_older_than_the_library_are_a_warning(clean):
    mark_executed(clean, library_sha256="0" * 64)
    assert messages(clean) == []
    assert "older library" in messages(clean, "warning")[0] and "--force 01" in messages(clean, "warning")[0]


IMAGE = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (new_output("stream", text="x" * 400_001), "KB; at most 400 KB"),
        (new_output("display_data", data=IMAGE), "figure without alt text"),
        (new_output("display_data", data={"text/html": '<img src="data:,">'}), "picture without alt text"),
        (new_output("display_data", data={"text/html": '<img src="data:," alt=" ">'}), "picture without alt text"),
        (new_output("stream", text="/" + "home/me/data"), "folder of this machine"),
        (new_output("error", ename="ValueError", evalue="no", traceback=[]), "stored output is an error"),
    ],
)
def test_rules_on_outputs(clean, output, message):
    edit(clean, lambda notebook: notebook.cells[2].outputs.append(output))
    (found,) = messages(clean)
    assert message in found


def test_figures_with_alt_text_are_fine(clean):
    def change(notebook):
        notebook.cells[2].outputs += [
            new_output("display_data", data=IMAGE, metadata={"image/png": {"alt": "J falls over time"}}),
            new_output("display_data", data={"text/html": '<img alt="A rabbit" src="data:,">'}),
        ]

    edit(clean, change)
    assert messages(clean) == []


def test_orphan_notebook(clean):
    other = clean.root / "notebooks" / "99_old.ipynb"
    other.write_text(clean.notebook("01_tiny").read_text())
    assert any("99_old.ipynb" in m and "no source" in m for m in messages(clean))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("# !pip install torch", "installs nothing"),
        ("# %pip install torch", "installs nothing"),
        ("os.chdir('..')", "stays in its folder"),
        ("open('/" + "home/me/x.png')", "no absolute paths"),
        ("open(r'C:" + "\\Users\\me')", "no absolute paths"),
        ("urlretrieve('http://example.org/x')", "no download without a checksum"),
        ("torch.manual_seed(3)", "no global seeds"),
        ("np.random.seed(3)", "no global seeds"),
        ("x = = 1", "not Python"),
    ],
)
def test_what_a_lesson_never_does(clean, line, message):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text() + f"\n# %%\nx = 1\n{line}\n")
    row = path.read_text().splitlines().index(line) + 1
    found = messages(clean)
    assert any(message in m and f"01_tiny.py:{row}:" in m for m in found), found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# %% tags=["check"]\ndouble = check.double(double)', "# %%\nprint()", "exercise double has no check cell"),
        ('# %% tags=["check"]\ndouble', "# %%\ndouble", "a cell that checks an exercise is tagged"),
        ("# <details><summary>Hint 3</summary> x and x. </details>", "#", "needs 3 graded hints"),
        ("<summary>Hint 2</summary>", "<summary>Hint 3</summary>", "needs 3 graded hints"),
        ('tags=["exercise", "double"]', 'tags=["exercise"]', "an exercise is a code cell tagged with its name"),
        ('tags=["exercise", "twice"]', 'tags=["exercise", "double"]', "two exercises named double"),
        ("def double(", "def treble(", "defines no function or class of that name"),
        ("# Double a number.", "# ![](figure.png)", "a picture without alt text"),
    ],
)
def test_rules_on_exercises(clean, old, new, message):
    path = clean.sources / "01_tiny.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert any(message in m for m in messages(clean)), messages(clean)


def test_reference_cells_do_not_look_at_the_preset(clean):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text() + '\n# %% tags=["nbval-check-output"]\nprint(PRESET)\n')
    assert any("same output at every preset" in m for m in messages(clean))


def test_problems_print_as_file_line_level(clean):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text() + "\n# %%\nos.chdir('..')\n")
    (problem,) = check_all(clean.root)
    assert str(problem) == f"{path}:{problem.line}: error: {problem.message}"


def test_a_missing_prerequisite_is_a_warning(clean):
    path = clean.sources / "01_tiny.py"
    path.write_text(path.read_text().replace("needs: []", "needs: [00]"))
    build(clean.root)
    assert any("needs lesson 00, which does not exist" in m for m in messages(clean, "warning"))


def test_json_is_what_jupyter_writes(clean):
    text = clean.notebook("01_tiny").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["cells"][0]["id"] == "lesson-01"
