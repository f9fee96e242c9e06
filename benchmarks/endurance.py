"""Thousands of frames in one go: does memory stay flat, does speed stay, does the mask stay on its object?

Run `python benchmarks/endurance.py --threads 1` (about ten minutes). Objects of a synthetic world wander, change their
look, leave and return; the stream is rendered as it is consumed. The bounded memory follows it to the end. The growing
one meets the same stream with a cap on its bytes, until the cap stops it. Times are those of the method alone; CPU time
is given beside wall time, since it does not see other programs.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from _machine import machine_description
from torch import Tensor

from course_lib.data.clip import object_ids
from course_lib.data.synthetic import World, scenario
from course_lib.data.world.render import paint
from course_lib.data.world.scene import Textures, look
from course_lib.methods.space_time_memory import SMALL, SMALL_MEMORY, STCN, MemoryConfig, SpaceTimeSegmenter
from course_lib.methods.space_time_memory.cells import MemoryCapError
from course_lib.methods.space_time_memory.load import SMALL_WEIGHTS, load_stcn_small
from course_lib.metrics import evaluate_labels
from course_lib.nn.device import resolve_device
from course_lib.vos.aggregate import labels_from_probs

ROOT = Path(__file__).parents[1]
# On one CPU core the net follows four objects at about 35 frames/s at this size, and at 13 at 240x427: here both runs
# together take minutes, and the memory that grows still meets its cap on the way.
SIZE = (144, 256)
PART = 50  # frames rendered at once
FEWEST = 40  # pixels that an object shows before it is given


def stream(frames: int, size: tuple[int, int], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames [3, H, W] in [0, 1] and truth [H, W] of one long scene, drawn a part at a time."""
    config = scenario("long", image_size=size, length=frames, dense_truth=False)
    scene = World(config).plan(seed)
    textures = Textures.upload([scene], torch.device("cpu"))
    ids = torch.tensor([layer.object_id for layer in scene.layers], dtype=torch.uint8)
    for start in range(0, frames, PART):
        times = np.arange(start, min(start + PART, frames)) / config.frame_rate
        painting = paint([scene], textures, look([scene], times), size, 0)
        yield from zip(painting.frames[0].clamp(0, 1), ids[painting.surface[0].long()])


@dataclass
class Window:
    """What happened in some hundred frames."""

    began: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    found: list[Tensor] = field(default_factory=list)
    truth: list[Tensor] = field(default_factory=list)

    def row(self, ids: list[int], session_bytes: int, used_bytes: int, stored: int) -> dict[str, float | int]:
        """The window in numbers. J&F is the mean over the objects that had been given, absent ones included."""
        frames = len(self.found)
        found, truth = torch.stack(self.found), torch.stack(self.truth)
        score = evaluate_labels(found, truth, ids=ids, unknown="background")
        return {
            "frame": self.began + frames,
            "frames_per_second": round(frames / self.seconds, 2),
            "frames_per_cpu_second": round(frames / self.cpu_seconds, 2),
            "session_bytes": session_bytes,
            "used_bytes": used_bytes,
            "cells": stored,
            "process_mib": round(psutil.Process().memory_info().rss / 2**20, 1),
            "objects": len(ids),
            "visible": round(float(np.mean([len(object_ids(t)) for t in self.truth])), 2),
            "J&F": round(score.JF_mean, 4),
        }


@torch.no_grad()
def follow(
    segmenter: SpaceTimeSegmenter, frames: int, size: tuple[int, int], seed: int, window: int
) -> tuple[list[dict[str, float | int]], str | None]:
    """One row per window, and why it ended early if it did."""
    rows: list[dict[str, float | int]] = []
    session, current, device = None, Window(0), segmenter.device
    for t, (frame, truth) in enumerate(stream(frames, size, seed)):
        frame = frame.to(device)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            if session is None:
                session = segmenter.start(frame, _new_objects(truth, []).to(device))
                probs = session.probs
            else:
                probs = session.step(frame)
                new = _new_objects(truth, session.ids.tolist())
                if new.any():
                    probs = session.add(new.to(device))
            labels = labels_from_probs(probs, session.ids).cpu()
        except MemoryCapError as error:
            return rows, f"frame {t}: {error}"
        current.seconds += time.perf_counter() - wall
        current.cpu_seconds += time.process_time() - cpu
        current.found.append(labels)
        current.truth.append(truth)
        if len(current.found) == window or t == frames - 1:
            bank = session.bank
            rows.append(current.row(session.ids.tolist(), session.memory_bytes(), bank.used_bytes(), bank.cells.stored))
            print(json.dumps(rows[-1]), flush=True)
            current = Window(t + 1)
    return rows, None


def _new_objects(truth: Tensor, known: list[int]) -> Tensor:
    """Label map [H, W] of objects that are seen for the first time, and well enough to be given."""
    new = torch.zeros_like(truth)
    for label in object_ids(truth).tolist():
        if label not in known and int((truth == label).sum()) >= FEWEST:
            new[truth == label] = label
    return new


def verdict(rows: list[dict[str, float | int]]) -> dict[str, float | bool]:
    """The bounded run's promises: bytes flat after the last object came, and the last tenth as fast as the first."""
    everyone = [row for row in rows if row["objects"] == rows[-1]["objects"]]
    tenth = max(1, len(everyone) // 10)
    rates = [row["frames_per_cpu_second"] for row in everyone]
    first, last = (sum(part) / tenth for part in (rates[:tenth], rates[-tenth:]))
    return {
        "memory_flat": len({row["session_bytes"] for row in everyone}) == 1,
        "process_growth_mib": round(everyone[-1]["process_mib"] - everyone[0]["process_mib"], 1),
        "speed_last_over_first": round(last / first, 3),
        "J&F": round(float(np.mean([row["J&F"] for row in rows])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--window", type=int, default=250, help="frames per row of the result")
    parser.add_argument("--policy", default=SMALL_MEMORY.policy)
    parser.add_argument("--capacity", type=float, default=SMALL_MEMORY.capacity, help="frames' worth of cells")
    parser.add_argument("--cap-mib", type=float, default=200, help="bytes that stop the growing memory")
    parser.add_argument("--weights", type=Path, help="a state dict of the small network; default: what ships")
    parser.add_argument("--untrained", action="store_true", help="random weights: bytes and speed only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "endurance.json")
    args = parser.parse_args()
    if not args.untrained and args.weights is None and not SMALL_WEIGHTS.is_file():
        print("skipped: no trained weights ship yet; name some with --weights, or take --untrained for bytes and speed")
        return
    torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    bounded = replace(SMALL_MEMORY, policy=args.policy, capacity=args.capacity)
    growing = MemoryConfig(top_k=bounded.top_k, reaggregate=False, max_bytes=int(args.cap_mib * 2**20))
    if args.untrained:
        net = STCN(SMALL, imagenet=True).to(device).to(memory_format=torch.channels_last)
    else:
        net = load_stcn_small(args.weights, device).net
    size = tuple(args.size)
    rows, _ = follow(SpaceTimeSegmenter(net, bounded), args.frames, size, args.seed, args.window)
    grown, reason = follow(SpaceTimeSegmenter(net, growing), args.frames, size, args.seed, args.window)
    result = {
        "machine": machine_description(),
        "weights": "untrained" if args.untrained else (args.weights.name if args.weights else "as shipped"),
        "size": size,
        "threads": args.threads,
        "bounded": {"policy": bounded.policy, "capacity": bounded.capacity, **verdict(rows), "rows": rows},
        "growing": {"cap_mib": args.cap_mib, "ended": reason, "rows": grown},
    }
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print({k: v for k, v in result["bounded"].items() if k != "rows"})
    print("growing memory:", reason or "reached the end below its cap")


if __name__ == "__main__":
    main()
