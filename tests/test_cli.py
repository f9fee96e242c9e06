"""The command line is thin: it parses, calls and prints. Bad input ends in one line, never in a traceback."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from course_lib import cli
from course_lib.commands import course, research

ROOT = Path(__file__).parent.parent


def parse(*words: str):
    """The command object that the words stand for."""
    seen = []

    def record(self):
        seen.append(self)
        return 0

    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        for module in (course, research):
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == module.__name__:
                    context.setattr(value, "__call__", record)
        assert cli.main(list(words)) == 0
    return seen[0]


def test_every_make_target_has_a_course_command():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) - {"help", "course", "clean", "lint"}
    assert {"setup", "test", "lab", "site", "notebooks", "bench"} <= targets
    help_text = subprocess.run(
        [sys.executable, "-m", "course_lib.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    listed = re.search(r"\{(.*?)\}", re.sub(r"\s", "", help_text))
    assert targets <= set(listed.group(1).split(","))


def test_track_flags():
    command = parse("track", "clip.mp4", "--box", "1", "2", "30", "40", "--out", "a.mp4", "--box-is-mask")
    assert (command.video, command.box, command.out, command.box_is_mask) == (
        "clip.mp4",
        (1, 2, 30, 40),
        Path("a.mp4"),
        True,
    )


def test_lesson_numbers_and_presets():
    command = parse("run", "00", "13", "--preset", "smoke", "--solved")
    assert (command.lessons, command.preset, command.solved) == (("00", "13"), "smoke", True)
    assert parse("lessons", "check", "--strict").action.strict


def test_unknown_preset_lists_the_presets(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--preset", "huge"])
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert all(name in said.out + said.err for name in ("smoke", "cpu", "gpu"))


def test_bad_input_is_one_line(capsys):
    assert cli.main(["track", "no_such_file.mp4", "--box", "0", "0", "9", "9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("course: ") and "no_such_file.mp4" in error and "Traceback" not in error


def test_console_script_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"course": "course_lib.cli:main"}


def test_training_flags():
    command = parse("train", "stcn-small-world", "--preset", "smoke", "--threads", "2", "--budget", "an hour")
    assert (command.name, command.preset) == ("stcn-small-world", "smoke")
    assert (command.threads, command.budget) == (2, "an hour")
    assert (command.length, parse("train", "stcn-small", "--length", "0.5").length) == (1.0, 0.5)
