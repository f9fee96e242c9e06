"""The folder of a run: what was asked (config.json), where it ran (environment.json), what happened (log.txt,
metrics.jsonl), and what came out (checkpoints/, best.safetensors).

Unusual: metrics.jsonl is cut back to the checkpoint from which a run goes on, so it always reads like one unbroken run.
"""

import dataclasses
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch
from tqdm import tqdm

from course_lib.data.atomic import atomic_path, write_failed
from course_lib.errors import InputError
from course_lib.training.config import check_same_settings

_PACKAGES = ("seeing-through-time", "torch", "torchvision", "accelerate", "numpy", "safetensors")


class RunDirectory:
    """Files of one run. Only the main process writes: on the others (`main=False`) writing does nothing.

    With `path` None nothing is kept on disk and rows stay in memory.
    """

    def __init__(self, path: str | Path | None, main: bool = True, show: bool = True) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.writes = main and self.path is not None
        self.shows = main and show
        self.rows: list[dict] = []

    @property
    def checkpoints(self) -> Path:
        return self._folder / "checkpoints"

    @property
    def best(self) -> Path:
        return self._folder / "best.safetensors"

    @property
    def metrics(self) -> Path:
        return self._folder / "metrics.jsonl"

    def clear(self) -> None:
        """Forget an earlier run of this directory: its checkpoints, metrics and best weights."""
        if self.writes:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for path in (self.best, self.metrics):
                path.unlink(missing_ok=True)

    def write_config(self, config: Mapping[str, object]) -> None:
        if self.writes:
            with atomic_path(self._folder / "config.json") as temporary:
                temporary.write_text(json.dumps(plain(config), indent=2) + "\n", encoding="utf-8")

    def note_session(self, device: torch.device, processes: int) -> None:
        """Append where, when and how this session runs to environment.json."""
        if not self.writes:
            return
        path = self._folder / "environment.json"
        sessions = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        sessions.append({"date": now(), **environment(device), "processes": processes})
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(sessions, indent=2) + "\n", encoding="utf-8")

    def say(self, message: str) -> None:
        """One line for the user, also kept in log.txt."""
        if self.shows:
            tqdm.write(message, file=sys.stderr)
        if self.writes:
            self._append(self._folder / "log.txt", f"{now()} {message}\n")

    def add_row(self, row: dict) -> None:
        """Append a row to metrics.jsonl."""
        self.rows.append(row)
        if self.writes:
            self._append(self.metrics, json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Keep only the rows up to `step`. All processes read them, the main one rewrites the file."""
        if self.path is None or not self.metrics.is_file():
            return
        self.rows = [row for row in read_metrics(self.metrics) if row["step"] <= step]
        if self.writes:
            with atomic_path(self.metrics) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    @property
    def _folder(self) -> Path:
        if self.path is None:
            raise InputError("this run has no directory; pass one to `fit` to keep its files")
        return self.path

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise write_failed(path, error) from error


def read_metrics(path: str | Path) -> list[dict]:
    """Rows of a metrics.jsonl. A last line that a crash cut short is left out; another bad line is an `InputError`."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(
                    f"{path}, line {number} is not JSON ({error}); restore the file or delete it"
                ) from error
    return rows


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def plain(value: object) -> object:
    """Settings as what JSON gives back: dataclasses become dicts, tuples lists, paths text."""
    return json.loads(json.dumps(value, default=_simplify))


def _simplify(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return value.as_posix()
    raise InputError(
        f"settings must be dataclasses, dicts, lists, text and numbers, got {type(value).__name__}: {value!r}"
    )


def environment(device: torch.device) -> dict[str, object]:
    """What a reader needs to judge speed and to repeat a run: command, machine, versions. No user or host names."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": describe_machine(device),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "threads": torch.get_num_threads(),
    }


def describe_machine(device: torch.device) -> str:
    """One line, for run directories and cards: "2 cores of AMD EPYC 7B13, 8 GB" or "NVIDIA H200, 141 GB; …"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{cores} cores of {_processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB"
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        return f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB; {cpu}"
    return f"Apple GPU; {cpu}" if device.type == "mps" else cpu


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def keep_settings(path: Path, config: object) -> None:
    """Write the settings that all rows of a table share to `path`, as JSON, or hold them against those it has.

    Raises `InputError` that lists the differences if the folder was begun with others.
    """
    wanted = plain(config)
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        check_same_settings(before, wanted, path.parent, "Rows must train alike, so use another folder")
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
