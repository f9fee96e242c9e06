"""A learner's own copies of the notebooks, in `my/`: made once, never overwritten, opened by `course lab`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from course_lib.data.atomic import atomic_path
from course_lib.errors import LessonError
from course_lib.lessons.build import notebook_path
from course_lib.lessons.progress import FOLDER
from course_lib.lessons.source import LessonSource, read_sources


def start(root: Path, lesson: str | int, fresh: bool = False) -> Path:
    """The learner's copy of a lesson, made if there is none yet. Returns its path.

    A copy that exists is the learner's work and stays; `fresh` makes another beside it, with a number
    (`00_welcome-2.ipynb`). Raises `InputError` on an unknown lesson, `LessonError` if its notebook was not built.
    """
    return _copy(Path(root), read_sources(Path(root), [lesson])[0], fresh)


def _copy(root: Path, source: LessonSource, fresh: bool) -> Path:
    original = notebook_path(root, source.name, solved=False)
    if not original.exists():
        raise LessonError(f"{original} was not built yet: `course lessons build {source.manifest.lesson}`")
    copy = root / FOLDER / original.name
    if copy.exists():
        if not fresh:
            print(f"{copy.name} is there already and stays as you left it")
            return copy
        number = 2
        while (copy := root / FOLDER / f"{source.name}-{number}.ipynb").exists():
            number += 1
    with atomic_path(copy) as temporary:
        shutil.copyfile(original, temporary)
    return copy


def lab(root: Path, port: int | None = None, browser: bool = True) -> int:
    """Open JupyterLab on the learner's copies of all lessons. Returns its exit code when it is closed."""
    root = Path(root)
    for source in read_sources(root):
        if not (root / FOLDER / f"{source.name}.ipynb").exists():
            _copy(root, source, fresh=False)
    (root / FOLDER).mkdir(exist_ok=True)
    try:
        return subprocess.run(lab_command(root, port, browser)).returncode
    except KeyboardInterrupt:  # JupyterLab got the same Ctrl-C and has shut down
        return 0


def lab_command(root: Path, port: int | None, browser: bool) -> list[str]:
    """The command that opens JupyterLab, in the Python that runs this."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root / FOLDER}"]
    if port is not None:
        command.append(f"--port={port}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers; JupyterLab refuses otherwise
    return command
