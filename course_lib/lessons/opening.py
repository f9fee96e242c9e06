"""`lesson(...)`, the first call of every lesson: one object with the preset, the device, the data and the seed.

It says what it found and what it set, because a lesson must never differ between two machines without saying why.
"""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from course_lib.data.roots import SOURCES, data_root
from course_lib.errors import InputError
from course_lib.lessons.presets import BUDGETS, require_preset
from course_lib.lessons.source import lesson_number

Value = TypeVar("Value")
MAX_THREADS = 4  # the course's tensors are small: more threads cost more than they give


@dataclass(frozen=True)
class Lesson:
    """What a lesson's cells share."""

    number: str  # two digits
    preset: str  # smoke, cpu or gpu
    seed: int
    device: torch.device
    data_root: Path | None  # folder of real data sets; None: not given
    data_sets: tuple[str, ...] = field(default=())  # names of the real data sets found there

    def pick(self, *, smoke: Value, cpu: Value, gpu: Value) -> Value:
        """The value for this preset: the only way in which presets differ."""
        return {"smoke": smoke, "cpu": cpu, "gpu": gpu}[self.preset]

    def generator(self, offset: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
        """A fresh random generator, seeded with `seed + offset`; on the CPU, for equal numbers everywhere."""
        return torch.Generator(device=device).manual_seed(self.seed + offset)

    @property
    def runs(self) -> Path:
        """Folder for this lesson's files (checkpoints, videos), made on first use and ignored by git."""
        given = os.environ.get("COURSE_RUNS")
        folder = Path(given) if given else _project() / "runs" / "lessons" / self.number
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def lesson(
    number: str | int,
    preset: str = "cpu",
    seed: int = 0,
    device: str = "auto",
    data_root: str | Path | None = None,
) -> Lesson:
    """Open a lesson: choose device and data, set seeds and threads, and print what was chosen.

    device: "auto" takes cuda, then mps, then cpu; or the name of one. data_root: folder of real data sets; None takes
    the environment variable COURSE_DATA, and where that is not set the lesson runs on synthetic video.
    Raises `InputError` on an unknown preset or a device that is not here, `MissingDataError` on a wrong data folder.
    """
    require_preset(preset)
    chosen = choose_device(device)
    found = _data_sets(data_root)
    root = data_root if data_root is not None else os.environ.get("COURSE_DATA") or None
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), MAX_THREADS))
    opened = Lesson(lesson_number(number), preset, seed, chosen, Path(root).expanduser() if root else None, found)
    print(f"Lesson {opened.number} · preset {preset} ({BUDGETS[preset]}) · device {_device_text(chosen)}")
    print(f"Seed {seed}: this call has seeded torch, numpy and random.")
    if found:
        print(f"Real data found: {', '.join(found)}.")
    elif opened.data_root is not None:
        print("Real data: the data folder holds none of the course's data sets; synthetic video is used instead.")
    else:
        print("Real data: none given (COURSE_DATA is not set); synthetic video is used instead.")
    return opened


def choose_device(device: str) -> torch.device:
    """The device called `device`; "auto" is the first of cuda, mps and cpu that is here. Raises `InputError`."""
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    if device == "auto":
        return torch.device(here[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f'unknown device {device!r}; this machine has {", ".join(here)}, and "auto" chooses'
        ) from error
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if chosen.type not in here or (chosen.index or 0) >= count:
        raise InputError(f'device {device!r} is not here; this machine has {", ".join(here)}; "auto" chooses')
    return chosen


def _data_sets(root: str | Path | None) -> tuple[str, ...]:
    return tuple(source.name for source in SOURCES if data_root(source.name, root) is not None)


def _device_text(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _project() -> Path:
    """The checkout above the working directory, else the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "source").is_dir():
            return folder
    return Path.cwd()
