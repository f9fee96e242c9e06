"""The commands of `course`, one dataclass each: its fields are its flags, calling it does the work.

What a command needs is imported when it runs, so that `course --help` is instant.
"""

from pathlib import Path
from typing import Literal

Preset = Literal["smoke", "cpu", "gpu"]


def project_root() -> Path:
    """The checkout: the folder above the working directory that holds notebooks/source, else the one of this file."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "source").is_dir() and (folder / "course_lib").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent.parent
