"""The chores behind `make test`, `make test-oldest` and `make bench`, so that they work without make too."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from course_lib.environment import setup, venv_python
from course_lib.errors import InputError


def run_tests(root: Path, pytest_args: Sequence[str] = (), workers: int | None = None) -> int:
    """Run pytest over the project, one single-threaded worker per core. Returns pytest's exit code."""
    workers = workers or min(os.cpu_count() or 1, 8)
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "MPLBACKEND": "agg", **os.environ}
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "worksteal", *pytest_args]
    return subprocess.run(command, cwd=root, env=environment).returncode


def run_tests_oldest(root: Path) -> int:
    """Run the tests in `.venv-oldest`, which holds the oldest supported versions (constraints-oldest.txt)."""
    setup(root, ".venv-oldest", "constraints-oldest.txt")
    return subprocess.run([venv_python(root / ".venv-oldest"), "-m", "course_lib.cli", "test"], cwd=root).returncode


def run_benchmarks(root: Path, names: Sequence[str] = ()) -> int:
    """Run scripts of benchmarks/ one after the other, alone on the machine. Returns 1 if any failed."""
    scripts = {path.stem: path for path in sorted((root / "benchmarks").glob("*.py")) if not path.stem.startswith("_")}
    unknown = set(names) - set(scripts)
    if unknown:
        raise InputError(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
    failed = []
    for name in names or scripts:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, scripts[name]], cwd=root).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))
