"""Networks with a local memory by name: `load_local_memory("lmanet-small")`, and training those that ship."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError
from course_lib.methods.local_memory.experiment import load_row, train_row
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.rows import SHIPPED_ROWS, row_named
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import find_weights
from course_lib.training.cards import Card, load_card, save_card
from course_lib.training.parallel import from_main


def load_local_memory(
    name: str = "lmanet-small", weights: str | Path | None = None, device: str | torch.device = "auto"
) -> LocalMemoryNet:
    """A trained network with a memory, ready to use: `start()` begins a video. Classes: `STREET_CLASSES`.

    name     lmanet-small; its controls are lmanet-small-self, which sees this frame in the place of the past, and
             lmanet-small-frame, the segmenter without a memory
    weights  a file of `course train`; None takes those of the course

    Raises `InputError` for another name and for weights that are damaged or do not fit, `MissingDataError` where there
    are none. Built in lesson 07.
    """
    if name not in SHIPPED_ROWS:
        raise InputError(f"unknown network {name!r}; there are {', '.join(SHIPPED_ROWS)}")
    return load_row(SHIPPED_ROWS[name], "cpu", find_weights(name, weights)).to(resolve_device(device))


def train_local_memory(
    name: str,
    preset: str,
    folder: str | Path,
    seed: int = 0,
    *,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> tuple[Path, Card]:
    """Train a network that ships, or take it from a table's folder where its row is finished; its weights and card.

    name   lmanet-small or one of its controls
    fresh  forget earlier runs of this row, and of the segmenter it starts from, with this seed; a single process only

    Other arguments and errors as in `train_row`; raises `InputError` for `fresh` with several processes. The files lie
    in `folder`.
    """
    if name not in SHIPPED_ROWS:
        raise InputError(f"unknown network {name!r}; there are {', '.join(SHIPPED_ROWS)}")
    row, folder = row_named(SHIPPED_ROWS[name]), Path(folder).expanduser()
    runs = [folder / each / str(seed) for each in dict.fromkeys((row.name, row.frame_row))]
    if fresh and int(os.environ.get("WORLD_SIZE", "1")) > 1:  # before they meet, nobody could wait for who removes
        raise InputError(
            "fresh=True removes earlier runs, which one of several processes would do while others read them; remove "
            f"{' and '.join(map(str, runs))} yourself, and train without it"
        )
    if fresh:
        for run in runs:
            shutil.rmtree(run, ignore_errors=True)
    trained = train_row(row, preset, folder, seed, device=device, length=length, budget=budget, progress=progress)
    path = folder / f"{name}.safetensors"

    def ship() -> Card:
        with atomic_path(path) as temporary:
            shutil.copyfile(trained.weights, temporary)
        shorter = "" if length == 1 else f" --length {length:g}"
        command = f"course train {name} --preset {preset}{shorter} --seed {seed}"
        save_card(replace(trained.card, name=name, command=command), path)
        return load_card(path)

    return path, from_main(ship)
