"""Reading a space-time memory: gathering the best cells in chunks against the dense product, and what appending costs.

Run `python benchmarks/memory_read.py`. 480p gives 30 x 54 cells per frame; keys have 64 channels, values 512 per
object. Both sides read the same memory in turn, one thread, CPU time; the figure is the median over rounds of the ratio
within a round. The whole read counts: similarity, the search for the best 20 cells, and the readout. Where there is a
CUDA device it is measured too.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from _machine import machine_description
from torch import Tensor

from course_lib.methods.space_time_memory import MemoryConfig, make_bank
from course_lib.nn.attention_read import CHUNK_BYTES, affinity, dense_read, read_memory, similarity

ROOT = Path(__file__).parents[1]
CELLS, KEY, VALUE, TOP_K = 30 * 54, 64, 512, 20
ROUNDS = 7
FRAMES = (2, 5, 10, 20, 40, 60)


def dense(keys: Tensor, values: Tensor, query: Tensor) -> Tensor:
    """The obvious read: the whole matrix, zero outside the best cells, times the values."""
    return dense_read(affinity(similarity(keys, query), TOP_K), values)


def gathered(keys: Tensor, values: Tensor, query: Tensor) -> Tensor:
    """The read of the library."""
    return read_memory(keys, values, query, TOP_K).readout


def memory(frames: int, objects: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Random keys, values and queries, laid out as a bank keeps them."""
    g = torch.Generator().manual_seed(frames)
    keys = torch.randn(1, frames * CELLS, KEY, generator=g).to(device).mT
    values = torch.randn(1, objects, frames * CELLS, VALUE, generator=g).to(device).mT
    return keys, values, torch.randn(1, KEY, CELLS, generator=g).to(device)


def milliseconds(function: Callable[[], Tensor], device: str) -> float:
    """CPU time of one call, or wall time on an accelerator."""
    if device == "cpu":
        start = time.process_time()
        function()
        return 1e3 * (time.process_time() - start)
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


@torch.no_grad()
def race(frames: int, objects: int, device: str, rounds: int = ROUNDS) -> dict[str, float | int]:
    """Both reads of one memory, interleaved so that they meet the same machine."""
    inputs = memory(frames, objects, device)
    sides = (partial(gathered, *inputs), partial(dense, *inputs))
    difference = float((sides[0]() - sides[1]()).abs().max())
    assert difference < 1e-5, f"the two reads differ by {difference}"
    times = [[milliseconds(side, device) for side in sides] for _ in range(rounds)]
    fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
    row: dict[str, float | int] = {
        "frames": frames,
        "objects": objects,
        "ms": round(fast, 2),
        "ms_dense": round(slow, 2),
        "speed_up": round(statistics.median(b / a for a, b in times), 2),
        "speed_up_least": round(min(b / a for a, b in times), 2),
        "largest_difference": difference,
    }
    if device != "cpu":
        for name, side in zip(("mib", "mib_dense"), sides, strict=True):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            side()
            row[name] = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    return row


@torch.no_grad()
def append(frames: int, objects: int) -> dict[str, float | int]:
    """Storing one more frame: into reserved room, or by concatenation."""
    keys, values, _ = (x[0] for x in memory(frames + 1, objects, "cpu"))
    bank = make_bank(MemoryConfig())
    bank.add_objects(objects, birth=0)
    for t in range(frames):
        part = slice(t * CELLS, (t + 1) * CELLS)
        bank.write(keys[:, part], values[..., part], t)
    old = slice(0, frames * CELLS)
    stored = keys[:, old].contiguous(), values[..., old].contiguous()
    new = keys[:, frames * CELLS :].contiguous(), values[..., frames * CELLS :].contiguous()

    def into_reserve() -> Tensor:
        bank.cells.stored = frames * CELLS
        bank.write(*new, frames)
        return bank.cells.keys

    def concatenated() -> Tensor:
        torch.cat([stored[0], new[0]], dim=1)
        return torch.cat([stored[1], new[1]], dim=2)

    into_reserve()  # the reserve may have to grow for this one frame
    times = [[milliseconds(f, "cpu") for f in (into_reserve, concatenated)] for _ in range(ROUNDS)]
    fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
    return {"frames": frames, "objects": objects, "ms": round(fast, 2), "ms_concatenation": round(slow, 2)}


def main() -> None:
    torch.set_num_threads(1)
    scores = 60 * CELLS * CELLS * 4
    result = {
        "machine": machine_description(),
        "cells_per_frame": CELLS,
        "top_k": TOP_K,
        "by_objects": [race(60, objects, "cpu") for objects in (1, 2, 3)],
        "by_frames": [race(frames, 1, "cpu") for frames in FRAMES],
        "scratch_mib": {"dense": round(2 * scores / 2**20), "gathered": round(CHUNK_BYTES / 2**20)},
        "append": append(60, 1),
        "cuda": None,
    }
    if torch.cuda.is_available():
        race(10, 1, "cuda")  # wakes the device
        result["cuda"] = [race(frames, objects, "cuda", 21) for frames in (10, 60) for objects in (1, 3)]
    path = ROOT / "benchmarks" / "results" / "memory_read.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    for row in [*result["by_objects"], *result["by_frames"], *(result["cuda"] or [])]:
        print(
            f"{row['frames']:3d} frames, {row['objects']} objects: {row['ms']:8.1f} ms, "
            f"dense {row['ms_dense']:8.1f} ms, {row['speed_up']:5.1f} times (least {row['speed_up_least']:.1f})"
        )
    print("append one frame to 60:", result["append"])


if __name__ == "__main__":
    main()
