"""Checkpoints that are whole or not there: one safetensors file each, with all tensors and, in its header, all facts.

A file is written beside its place, forced to the disk, then renamed. Unusual: each carries a checksum of its tensors,
so that a damaged one is noticed and the run goes on from the one before; and nothing in it can run as code.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError
from course_lib.nn.weights import load_exactly

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` updates: tensors by name, and facts that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one owner ("model", "optimizer", …), by their names there."""
        start = f"{prefix}/"
        return {name.removeprefix(start): t for name, t in self.tensors.items() if name.startswith(start)}


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies."""
    return folder / f"step-{step:08d}.safetensors"


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`.

    Raises `WriteError` if the disk refuses; the earlier checkpoints are then all there.
    """
    path = checkpoint_path(folder, checkpoint.step)
    tensors = on_cpu(checkpoint.tensors)
    facts = {"format": FORMAT, "step": checkpoint.step, "checksum": _checksum(tensors), **checkpoint.facts}
    with atomic_path(path) as temporary:
        write_safetensors(tensors, temporary, {"course": json.dumps(facts)})
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors (see `on_cpu`) and force them to the disk: after a power cut a renamed file must not be empty.

    Raises `OSError` if that fails.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except OSError:
        raise
    except Exception as error:  # the format's own error class wraps the system's
        raise OSError(str(error)) from error
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)  # the writer makes files that only their owner may read


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that own their memory, on the CPU: weights that share it are refused by the format."""
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one file. Raises `InputError` if it is truncated, altered, or no checkpoint of this course."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["course"])
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except Exception as error:  # damaged bytes make the reader fail in many ways, all of which mean the same here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path} cannot be read ({reason})") from error
    if facts.get("format") != FORMAT:
        raise InputError(f"checkpoint {path} has format {facts.get('format')}, this version reads {FORMAT}")
    if facts["checksum"] != _checksum(tensors):
        raise InputError(f"checkpoint {path} is damaged: its tensors do not match their checksum")
    return Checkpoint(facts["step"], tensors, facts)


def newest_readable(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read, or None where there is none at all, and messages about damaged ones.

    Damaged files are renamed to `*.damaged`, so that they do not count among those kept. Raises `InputError` if there
    are checkpoints and all are damaged.
    """
    messages: list[str] = []
    files = list_checkpoints(folder)
    for path in reversed(files):
        try:
            return read_checkpoint(path), messages
        except InputError as error:
            messages.append(str(error))
    if files:
        raise InputError(
            f"none of the {len(files)} checkpoints in {folder} can be used: {'; '.join(messages)}. "
            "Pass fresh=True to start this run again, or name another run directory"
        )
    return None, messages


def set_aside_after(folder: Path, step: int) -> None:
    """Rename the checkpoints after `step`, which turned out to be damaged."""
    for path in list_checkpoints(folder):
        if path > checkpoint_path(folder, step):
            path.replace(path.with_suffix(".damaged"))


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an owner's tensors inside a checkpoint."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def restore_module(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    """Put weights back. Raises `InputError` naming the first tensor that does not fit."""
    load_exactly(module, checkpoint.part(prefix), f"the checkpoint after step {checkpoint.step}")


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 over all bytes, in the order of names."""
    crc = 0
    for name in sorted(tensors):
        if tensors[name].numel():
            crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc
