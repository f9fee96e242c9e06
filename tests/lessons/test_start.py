"""A learner's copy is made once and never overwritten."""

import sys

import pytest

from course_lib.errors import InputError, LessonError
from course_lib.lessons.build import build
from course_lib.lessons.start import lab, lab_command, start


def test_copies_are_never_overwritten(project, capsys):
    project.add("01", "# %%\nx = 1\n")
    with pytest.raises(LessonError, match="not built yet"):
        start(project.root, "01")
    build(project.root)
    mine = start(project.root, "1")
    assert mine == project.root / "my" / "01_tiny.ipynb"
    assert mine.read_bytes() == project.notebook("01_tiny").read_bytes()
    mine.write_text("my work")
    assert start(project.root, "01") == mine and mine.read_text() == "my work"
    assert "stays as you left it" in capsys.readouterr().out
    second, third = start(project.root, "01", fresh=True), start(project.root, "01", fresh=True)
    assert (second.name, third.name) == ("01_tiny-2.ipynb", "01_tiny-3.ipynb")
    assert mine.read_text() == "my work"
    with pytest.raises(InputError, match="no lesson 09"):
        start(project.root, "09")


def test_lab_opens_copies_of_all_lessons(project, monkeypatch):
    project.add("01", "")
    project.add("02", "", name="more")
    build(project.root)
    calls = []
    monkeypatch.setattr("course_lib.lessons.start.subprocess.run", lambda command: calls.append(command) or Done())
    assert lab(project.root, port=8890, browser=False) == 0
    assert sorted(path.name for path in (project.root / "my").iterdir()) == ["01_tiny.ipynb", "02_more.ipynb"]
    (command,) = calls
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--port=8890" in command and "--no-browser" in command
    assert f"--ServerApp.root_dir={project.root / 'my'}" in command


class Done:
    returncode = 0


def test_root_user_is_let_in(project, monkeypatch):
    monkeypatch.setattr("course_lib.lessons.start.os.geteuid", lambda: 0, raising=False)
    assert "--allow-root" in lab_command(project.root, None, True)
    monkeypatch.setattr("course_lib.lessons.start.os.geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in lab_command(project.root, None, True)
