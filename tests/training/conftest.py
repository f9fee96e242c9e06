"""The small run of tiny_run.py, in this process or as another."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "tiny_run.py"


@pytest.fixture(scope="session")
def tiny():
    """The module tiny_run."""
    found = importlib.util.spec_from_file_location("tiny_run", PROGRAM)
    module = importlib.util.module_from_spec(found)
    sys.modules["tiny_run"] = module  # data workers look for it there
    found.loader.exec_module(module)
    return module


@pytest.fixture
def start_tiny():
    """`start_tiny(run, steps, pause, launcher=())`: tiny_run.py as a process, ended with the test."""
    running = []

    def start(run, steps, pause, launcher=()):
        command = [sys.executable, *launcher, str(PROGRAM), str(run), str(steps), str(pause)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def curve(rows):
    """Rows without their times, which no two runs share."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(name="curve", scope="session")
def curve_fixture():
    return curve
