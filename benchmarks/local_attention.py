"""Reading a window, all places, or windows written out: time and bytes as frames get larger, and as windows do.

Run `python benchmarks/local_attention.py` (about two minutes). Keys have 16 channels, values 64, three frames are
remembered, as in M. Paul (2023), table 4.4; windows are 21 cells a side while frames grow. All read the same memory in
turn, one thread, CPU time; figures are medians over rounds. Exponents are those of lines through the logarithms: twice
the cells take 2^exponent times as much. Where there is a CUDA device, it is measured too, in wall time.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _machine import machine_description
from torch import Tensor

from course_lib.methods.local_memory.global_read import global_read
from course_lib.methods.local_memory.local_read import local_read, unfold_read
from course_lib.methods.local_memory.peak_memory import peak_bytes

ROOT = Path(__file__).parents[1]
FRAMES, KEY, VALUE, WINDOW = 3, 16, 64, 21
SIZES = ((16, 32), (24, 48), (32, 64), (48, 96), (64, 128))
WINDOWS = (1, 3, 5, 7, 11, 15, 21, 31, 41)
WINDOWS_AT = (32, 64)
MOST_BYTES = 2 * 2**30  # of what a reading may hold here; larger ones are left out
ROUNDS = 5

Memory = tuple[Tensor, Tensor, Tensor]


def memory(size: tuple[int, int], device: str) -> Memory:
    """Query key, memory keys, memory values of frames of (h, w) cells."""
    g = torch.Generator().manual_seed(size[0])
    shapes = ((KEY,), (FRAMES, KEY), (FRAMES, VALUE))
    query, keys, values = (torch.randn(1, *shape, *size, generator=g).to(device) for shape in shapes)
    return query, keys, values


def expected_bytes(name: str, size: tuple[int, int], window: int) -> float:
    """Roughly what a way of reading holds."""
    cells = size[0] * size[1]
    if name == "global":
        return 2.0 * FRAMES * cells**2 * 4
    return FRAMES * (KEY + VALUE) * window**2 * cells * 4.0 if name == "unfold" else 0.0


def clocked(call: Callable[[], Tensor], device: str) -> float:
    """Milliseconds of one call: processor time, or wall time on an accelerator."""
    if device == "cpu":
        began = time.process_time()
        call()
        return 1e3 * (time.process_time() - began)
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def held(call: Callable[[], Tensor], inputs: Memory, device: str) -> int:
    """Most bytes held at once beyond the inputs."""
    if device == "cpu":
        return peak_bytes(call, *inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


@torch.no_grad()
def race(size: tuple[int, int], window: int, device: str, rounds: int, unfold: bool = True) -> dict[str, Any]:
    """All ways to read one memory, in turns; a way that would hold too much is left out."""
    inputs = memory(size, device)
    calls: dict[str, Callable[[], Tensor]] = {
        "local": partial(local_read, *inputs, window),
        "global": partial(global_read, *inputs),
    }
    if unfold:
        calls["unfold"] = partial(unfold_read, *inputs, window)
    calls = {name: call for name, call in calls.items() if expected_bytes(name, size, window) < MOST_BYTES}
    if "unfold" in calls:
        difference = float((calls["local"]() - calls["unfold"]()).abs().max())
        assert difference < 1e-4, f"two ways to read one window differ by {difference}"
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            milliseconds = clocked(call, device)
            if turn:
                times[name].append(milliseconds)
    row: dict[str, Any] = {"cells": list(size), "window": window}
    for name, call in calls.items():
        row[name] = {
            "ms": round(statistics.median(times[name]), 3),
            "mib": round(held(call, inputs, device) / 2**20, 2),
        }
    return row


def exponent(rows: list[dict[str, Any]], name: str, column: str) -> float | None:
    """Slope of the logarithm over that of the number of cells; None for fewer than three sizes."""
    points = [(np.prod(row["cells"]), row[name][column]) for row in rows if name in row and row[name][column] > 0]
    if len(points) < 3:
        return None
    x, y = np.log(np.array(points, dtype=np.float64)).T
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def crossover(rows: list[dict[str, Any]], column: str) -> int | None:
    """The first window that costs more than reading everywhere; None if none does."""
    return next((row["window"] for row in rows if row["local"][column] > row["global"][column]), None)


def on_device(device: str, sizes: tuple[tuple[int, int], ...], windows: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Both sweeps and what follows from them."""
    by_size = [race(size, WINDOW, device, rounds) for size in sizes]
    by_window = [race(WINDOWS_AT, window, device, rounds, unfold=False) for window in windows]
    return {
        "by_resolution": by_size,
        "by_window": by_window,
        "exponent": {
            name: {column: exponent(by_size, name, column) for column in ("ms", "mib")}
            for name in ("local", "global", "unfold")
        },
        "window_dearer_than_global": {column: crossover(by_window, column) for column in ("ms", "mib")},
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three small sizes, two rounds")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "local_attention.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sizes, windows, rounds = (SIZES[:3], WINDOWS[:3], 2) if options.quick else (SIZES, WINDOWS, ROUNDS)
    result = {
        "machine": machine_description(),
        "memory": {"frames": FRAMES, "key": KEY, "value": VALUE, "left_out_above_mib": MOST_BYTES // 2**20},
        "cpu": on_device("cpu", sizes, windows, rounds),
        "cuda": on_device("cuda", sizes, windows, rounds) if torch.cuda.is_available() else None,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for device in ("cpu", "cuda"):
        found = result[device]
        for row in [*found["by_resolution"], *found["by_window"]] if found else []:
            ways = (name for name in ("local", "global", "unfold") if name in row)
            print(f"{device} {row['cells']} window {row['window']:2d}: " + "  ".join(f"{n} {row[n]}" for n in ways))
        if found:
            print(device, found["exponent"], found["window_dearer_than_global"])
    return result


if __name__ == "__main__":
    main()
