"""Where the tables of a method lie: trained rows that many claims share, so that each row is trained once."""

import os
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import InputError


@dataclass(frozen=True)
class Tables:
    """One folder per preset, in the folder that an environment variable names, or in `default`."""

    variable: str
    default: Path

    def folder(self, preset: object, given: str | Path | None = None) -> Path:
        """Of a preset's table; `given` goes first. Raises `InputError` for settings of your own without it."""
        if given is not None:
            return Path(given).expanduser()
        if not isinstance(preset, str):
            raise InputError("settings of your own need a folder of their own: pass `folder`")
        return Path(os.environ.get(self.variable) or self.default).expanduser() / preset
