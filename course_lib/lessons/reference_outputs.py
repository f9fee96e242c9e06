"""Compares a smoke run with the outputs stored in the repository, cell by cell, with nbval.

Only cells tagged `nbval-check-output` are compared; they must give the same output at every preset. The comparison runs
on a copy at preset `smoke`, in a pytest of its own, so that neither plugins nor options of the caller reach it.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from course_lib.data.atomic import atomic_path
from course_lib.errors import LessonError
from course_lib.lessons.build import notebook_path, notebook_text, read_notebook
from course_lib.lessons.kernel import RUNS, kernel_environment
from course_lib.lessons.source import read_sources

TAG = "nbval-check-output"


@dataclass(frozen=True)
class Comparison:
    """Result of nbval on one notebook: how many cells carried a reference, and what pytest printed."""

    passed: bool
    compared: int
    report: str


def compare_reference_outputs(root: Path, lesson: str | int, folder: Path) -> Comparison:
    """Run the smoke copy of a lesson's student notebook in `folder` and compare the tagged cells' outputs.

    Raises `LessonError` if the notebook was not built or a tagged cell has no stored output to compare with.
    """
    source = read_sources(Path(root), [lesson])[0]
    path = notebook_path(Path(root), source.name, solved=False)
    notebook = read_notebook(path)
    if notebook is None:
        raise LessonError(f"{path} was not built yet: `course lessons build {source.manifest.lesson}`")
    compared = smoke_copy(notebook, path)
    copy = Path(folder) / path.name
    with atomic_path(copy) as temporary:
        temporary.write_text(notebook_text(notebook), encoding="utf-8", newline="\n")
    return _run_nbval(copy, compared)


def smoke_copy(notebook: NotebookNode, path: Path) -> int:
    """Turn a notebook into its smoke copy, in place: preset smoke, stored outputs only in tagged cells.

    Returns the number of tagged cells. `path` names the notebook in errors.
    """
    compared = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            cell.source += '\nPRESET = "smoke"\nDEVICE = "cpu"'
        if TAG in tags:
            if not cell.outputs:
                raise LessonError(
                    f"{path}: cell {cell.id} is tagged {TAG} but has no stored output; run "
                    f"`course lessons execute {path.stem[:2]}`"
                )
            compared += 1
            cell.execution_count = 1  # nbval compares only cells that were run
        else:
            cell.outputs = []
            cell.execution_count = None
    return compared


def _run_nbval(copy: Path, compared: int) -> Comparison:
    options: Sequence[str] = ("--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:xdist", "-q")
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={copy.parent}", "-c", _ini(copy.parent), copy.name]
    changes = dict.fromkeys(("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "COURSE_DATA"))
    done = subprocess.run(
        command,
        cwd=copy.parent,
        env=kernel_environment({**changes, RUNS: str(copy.parent / "files")}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    return Comparison(done.returncode == 0, compared, done.stdout + done.stderr)


def _ini(folder: Path) -> str:
    """An empty configuration, so that pytest does not look for one in the folders above."""
    path = folder / "nbval.ini"
    path.write_text("[pytest]\n", encoding="utf-8")
    return path.name
