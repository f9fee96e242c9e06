"""Frames per second of the synthetic world, with the whole truth and with frames and labels alone.

Run `python benchmarks/world.py`. The measured clip is 96x96 with 4 objects and 24 frames; each figure is the best of
several rounds, since other work on the machine can only slow a round down. Two processes stand for two data workers.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from _machine import machine_description

from course_lib.data.synthetic import SCENARIOS, World, WorldConfig, scenario

ROOT = Path(__file__).parents[1]
ROUNDS, CLIPS = 6, 8
TARGET = WorldConfig(n_objects=4)


def clips_per_second(world: World, first: int) -> float:
    """Frames per second of wall time over a few clips drawn one by one."""
    start = time.perf_counter()
    for seed in range(first, first + CLIPS):
        world.clip(seed)
    return CLIPS * world.config.length / (time.perf_counter() - start)


def batch_per_second(world: World, first: int, device: str) -> float:
    """Frames per second of wall time for the same clips drawn together."""
    start = time.perf_counter()
    world.batch(range(first, first + CLIPS), device)
    if device == "cuda":
        torch.cuda.synchronize()
    return CLIPS * world.config.length / (time.perf_counter() - start)


def best(measure: Callable[[int], float]) -> int:
    """The best of several rounds with different seeds; the first, which reads photographs, is not counted."""
    measure(0)
    return round(max(measure(round_ * CLIPS) for round_ in range(ROUNDS)))


def _worker(config: WorldConfig, gate, queue) -> None:
    torch.set_num_threads(1)
    world = World(config)
    for seed in range(CLIPS):
        world.clip(seed)
    for round_ in range(ROUNDS):
        gate.wait()
        queue.put((round_, clips_per_second(world, round_ * CLIPS)))


def two_workers(config: WorldConfig) -> int:
    """Frames per second of two processes together, as a data loader with two workers has them."""
    context = multiprocessing.get_context("spawn")
    gate, queue = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_worker, args=(config, gate, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [0.0] * ROUNDS
    for _ in range(2 * ROUNDS):
        round_, speed = queue.get()
        sums[round_] += speed
    for worker in workers:
        worker.join()
    return round(max(sums))


def main() -> None:
    """Measure, print and write `results/world.json`."""
    lean = WorldConfig(n_objects=4, dense_truth=False)
    whole, labels = World(TARGET), World(lean)
    results: dict[str, dict[str, int]] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results[f"{threads} thread{'s' * (threads > 1)}"] = {
            "whole truth, one by one": best(partial(clips_per_second, whole)),
            "whole truth, batch of 8": best(partial(batch_per_second, whole, device="cpu")),
            "frames and labels, one by one": best(partial(clips_per_second, labels)),
        }
    torch.set_num_threads(1)
    results["2 processes"] = {"whole truth": two_workers(TARGET), "frames and labels": two_workers(lean)}
    if torch.cuda.is_available():
        results["cuda"] = {"whole truth, batch of 8": best(partial(batch_per_second, whole, device="cuda"))}
    worlds = {name: World(scenario(name, length=24)) for name in SCENARIOS}
    results["scenarios, 1 thread, whole truth"] = {
        name: best(partial(clips_per_second, world)) for name, world in worlds.items()
    }
    for group, figures in results.items():
        print(group)
        for name, speed in figures.items():
            print(f"  {name:32} {speed:6d} frames/s")
    report = {"clip": "24 frames, 96x96, 4 objects", "frames_per_second": results, "machine": machine_description()}
    path = ROOT / "benchmarks" / "results" / "world.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
