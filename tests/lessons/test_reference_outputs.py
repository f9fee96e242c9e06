"""nbval on the smoke copy: the stored reference is compared, and a wrong one is found."""

import pytest

from course_lib.errors import LessonError
from course_lib.lessons.build import build, notebook_text, read_notebook
from course_lib.lessons.execute import execute
from course_lib.lessons.reference_outputs import compare_reference_outputs, smoke_copy

pytestmark = pytest.mark.notebook

BODY = """\
# %%
print(PRESET)

# %% tags=["nbval-check-output"]
print("the answer is", 6 * 7)
6 * 7
"""


def test_reference_is_compared_at_smoke(project, tmp_path):
    project.add("01", BODY)
    execute(project.root)
    good = compare_reference_outputs(project.root, "01", tmp_path / "good")
    assert good.passed and good.compared == 1, good.report
    copy = read_notebook(tmp_path / "good" / "01_tiny.ipynb")
    assert 'PRESET = "smoke"' in copy.cells[1].source

    path = project.notebook("01_tiny")
    notebook = read_notebook(path)
    notebook.cells[-1].outputs[0].text = "the answer is 41\n"
    path.write_text(notebook_text(notebook))
    bad = compare_reference_outputs(project.root, "01", tmp_path / "bad")
    assert not bad.passed and "the answer is 41" in bad.report


def test_a_reference_that_was_never_stored(project):
    project.add("01", BODY)
    with pytest.raises(LessonError, match="was not built yet"):
        compare_reference_outputs(project.root, "01", project.root / "x")
    build(project.root)
    path = project.notebook("01_tiny")
    with pytest.raises(LessonError, match="has no stored output"):
        smoke_copy(read_notebook(path), path)
