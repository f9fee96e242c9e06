"""Sources are read with line numbers, and every fault is named by file and line."""

import pytest

from course_lib.errors import InputError, LessonError
from course_lib.lessons.presets import Budget
from course_lib.lessons.source import lesson_number, read_source, read_sources


def test_manifest_cells_and_lines(project):
    path = project.add("08", '# %% [markdown]\n# Hello, $x$.\n\n# %% tags=["check"]\nprint(1)\n', needs="[07, 2]")
    source = read_source(path)
    manifest = source.manifest
    assert (manifest.lesson, manifest.title, manifest.needs) == ("08", "Tiny", ("07", "02"))
    assert manifest.objectives == ("say it", "show it: with a colon", "use it")
    assert manifest.terms == ("mask", "flow")
    assert [cell.kind for cell in source.cells] == ["code", "markdown", "code"]
    assert source.cells[1].text == "Hello, $x$."
    assert source.cells[2].tags == ("check",)
    lines = path.read_text().splitlines()
    for cell in source.cells:
        assert lines[cell.line - 1].startswith("# %%")


def test_a_lesson_may_widen_its_budget(project):
    source = read_source(project.add("01", "", extra="# budget: {cpu: [150, 5]}"))
    assert source.manifest.budgets["cpu"] == Budget(150, 5)
    assert source.manifest.budgets["smoke"] == Budget(25, 2)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("# title: Tiny\n", "", 1, "title missing"),
        ("# title: Tiny\n", "# title: Tiny: a start\n", 3, "not YAML"),
        ("# title: Tiny\n", "# title: Tiny\n# colour: red\n", 4, "unknown key colour"),
        ('[say it, "show it: with a colon", use it]', "[say it, show it]", 6, "3 to 5 objectives are expected, got 2"),
        ('[say it, "show it: with a colon", use it]', "say it", 6, "objectives must be a list"),
        ("needs: []", "needs: [01]", 5, "cannot need lesson 01, which comes later"),
        ("needs: []", "needs: [one]", 5, "a lesson is named by its number"),
        ("Learn one small thing.", "Learn this. And that.", 4, "the promise is one sentence"),
        (
            "# terms: [mask, flow]\n",
            "# terms: [mask, flow]\n# budget: {laptop: [1, 2]}\n",
            8,
            "maps a preset to seconds",
        ),
        ("# lesson: 01", "# lesson: 02", 1, "manifest says lesson 02, the file name 01"),
        ('tags=["manifest"]', 'tags=["other"]', 1, "first cell must be the manifest"),
        ('PRESET = "cpu"', 'PRESET = "gpu"', 10, "parameters cell holds exactly"),
        ("SEED = 0", "SEED = 0\nEXTRA = 1", 10, "parameters cell holds exactly"),
        ('# %% tags=["parameters"]', "# %%", 1, 'tagged "parameters"'),
        ("# %% [raw]", "import os\n\n# %% [raw]", 1, "belongs to no cell"),
    ],
)
def test_faults_are_named_by_line(project, old, new, line, message):
    path = project.add("01", "# %%\nprint(1)\n")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(LessonError) as caught:
        read_source(path)
    assert message in str(caught.value)
    assert f"01_tiny.py:{line}:" in str(caught.value)


def test_parameters_must_come_first(project):
    path = project.add("01", "")
    text = path.read_text()
    path.write_text(text.replace('# %% tags=["parameters"]', '# %%\nimport os\n\n# %% tags=["parameters"]'))
    with pytest.raises(LessonError, match="first code cell"):
        read_source(path)


def test_sources_in_order_and_by_number(project):
    for number in ("02", "00", "10"):
        project.add(number, "", name=f"part{number}")
    assert [source.name for source in read_sources(project.root)] == ["00_part00", "02_part02", "10_part10"]
    assert [source.name for source in read_sources(project.root, ["2", 10])] == ["02_part02", "10_part10"]
    with pytest.raises(InputError, match="no lesson 05; there are 00, 02, 10"):
        read_sources(project.root, ["05"])


def test_two_lessons_of_one_number_and_odd_names(project):
    project.add("01", "", name="a")
    project.add("01", "", name="b")
    with pytest.raises(LessonError, match=r"lesson 01 exists already as 01_a\.py"):
        read_sources(project.root)
    (project.sources / "01_b.py").rename(project.sources / "Two.py")
    with pytest.raises(LessonError, match=r"NN_slug.py"):
        read_sources(project.root)


def test_outside_a_checkout(tmp_path):
    with pytest.raises(LessonError, match="inside a checkout"):
        read_sources(tmp_path)


@pytest.mark.parametrize("number", ["", "abc", "123", "-1", "1.0"])
def test_lesson_numbers(number):
    assert lesson_number(7) == lesson_number("07") == lesson_number("7") == "07"
    with pytest.raises(InputError, match="named by its number"):
        lesson_number(number)
