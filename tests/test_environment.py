"""`make setup`: once, then instant; resumable; clear about what is wrong. pip itself is replaced by a recorder."""

import subprocess

import pytest

from course_lib import environment


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project, and a list of the commands setup would have run."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "constraints.txt").write_text("numpy==2.3.2\n")
    commands, failing = [], set()

    def fake_run(command, **_):
        words = [str(word) for word in command]
        commands.append(words)
        if "venv" in words:
            inside = environment.venv_python(tmp_path / ".venv")
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        code = int(any(word in failing for word in words))
        return subprocess.CompletedProcess(words, code, stdout="")

    monkeypatch.setattr(environment.subprocess, "run", fake_run)
    return tmp_path, commands, failing


def test_second_call_runs_nothing(project):
    root, commands, _ = project
    environment.setup(root)
    assert any("install" in words for words in commands)
    commands.clear()
    environment.setup(root)
    assert commands == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(project, name):
    root, commands, _ = project
    environment.setup(root)
    commands.clear()
    (root / name).write_text("changed")
    environment.setup(root)
    assert any("install" in words for words in commands)


def test_failed_install_leaves_no_stamp_and_goes_on_later(project, capsys):
    root, commands, failing = project
    failing.add("install")
    with pytest.raises(SystemExit, match="run setup again"):
        environment.setup(root)
    assert not (root / ".venv" / ".stamp").exists()
    failing.clear()
    commands.clear()
    environment.setup(root)
    assert (root / ".venv" / ".stamp").exists()
    assert not any("--clear" in words for words in commands), "the half-made environment is kept"


def test_missing_venv_module_is_explained(project):
    root, _, failing = project
    failing.add("venv")
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        environment.setup(root)


def test_opencv_is_mended_only_where_it_cannot_load(project):
    root, commands, failing = project
    environment.setup(root)
    assert not any("opencv-python-headless" in words for words in commands)
    (root / ".venv" / ".stamp").unlink()
    failing.add("import cv2")
    environment.setup(root)
    assert any("opencv-python-headless" in words for words in commands)


def test_old_python_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"3\.11 or newer"):
        environment.find_python()
