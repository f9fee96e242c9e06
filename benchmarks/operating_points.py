"""Every operating point of EVS in one run: milliseconds per frame, mIoU, and what it gains over frame by frame.

Run `python benchmarks/operating_points.py` (about five minutes on two cores; `--published` adds the times of the
thesis's network and frames, for a GPU). mIoU is counted over all clips together, as in M. Paul (2023), table 3.2, in
the worst frames of the cycle and in all frames; times are those of whole periods, one after the other and as a
pipeline, taken in turns, medians over rounds. Where trained weights are missing, the truth stands on key frames and
times are those of a network without training.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from _machine import machine_description
from torch import Tensor

from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import MissingDataError
from course_lib.methods.propagation.comparisons import TRAINED
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.load import load_segmenter
from course_lib.methods.propagation.operating_points import ORACLE, OperatingConfig, Setting, driving_clips, score_point
from course_lib.methods.propagation.pipeline import PipelinedSegmenter
from course_lib.methods.propagation.schedule import BASELINE, TABLE, OperatingPoint, PublishedPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.video_segmenter import PropagatingSegmenter
from course_lib.nn.device import resolve_device

ROOT = Path(__file__).parents[1]
SEEDS = (90, 91)
SMALL_LOSS = 0.03
POINTS = (BASELINE, *TABLE)
NOTES = {
    "worst": "last frames of periods, which the thesis scores; loss: against frame by frame on the same frames",
    "mean": "all frames of the stream, which a viewer sees",
    "cpu_ms": "processor time per frame of all threads, one after the other",
    "ms, pipelined_ms": "wall time per frame, one after the other and with flow, network and carrying on threads",
    "hidden": "share of the time of flow and of preparing frames that the pipeline hides, on an accelerator: time "
    "saved over time of that work; null on a CPU, whose cores they share",
}


@dataclass(frozen=True)
class Stream:
    """What is timed: a network and frames."""

    network: FrameSegmenter
    frames: Tensor  # [T, 3, H, W] uint8

    @property
    def on_gpu(self) -> bool:
        return next(self.network.parameters()).device.type == "cuda"

    def periods(self, point: OperatingPoint) -> "Stream":
        """As many frames as whole periods have."""
        return replace(self, frames=self.frames[: len(self.frames) // point.key_every * point.key_every])

    def finished(self) -> None:
        """Wait for the accelerator."""
        if self.on_gpu:
            torch.cuda.synchronize()


def drain(answers: Iterable[object]) -> None:
    """Take all answers of a stream."""
    for _ in answers:
        pass


def clocked(stream: Stream, call: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor milliseconds per frame of one pass over the stream."""
    stream.finished()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    stream.finished()
    n = len(stream.frames) / 1000
    return (time.perf_counter() - wall) / n, (time.process_time() - cpu) / n


def off_network(stream: Stream, point: OperatingPoint) -> float:
    """Milliseconds per frame of preparing frames and of their flows, on one thread."""
    video = PropagatingSegmenter(stream.network, point=point)

    def call() -> None:
        before = None
        for t, frame in enumerate(stream.frames):
            now = video.prepare(frame, t, point.kind(t))
            if now.kind in ("warp", "refine", "blend"):
                assert before is not None
                video.motion(before, now, video.flow)
            before = now

    return clocked(stream, call)[0]


def times(stream: Stream, points: tuple[PublishedPoint, ...], rounds: int, workers: int) -> dict[str, dict[str, Any]]:
    """Of each point: sequential and pipelined, in turns; ratios to frame by frame are taken within a round."""
    taken: dict[str, list[tuple[float, float, float]]] = {row.name: [] for row in points}
    for turn in range(rounds + 1):
        for row in points:
            video, part = PropagatingSegmenter(stream.network, point=row.point), stream.periods(row.point)
            pipeline = PipelinedSegmenter(video, workers)
            wall, cpu = clocked(part, lambda video=video, part=part: drain(video.run(part.frames)))
            overlapped, _ = clocked(part, lambda pipeline=pipeline, part=part: drain(pipeline.run(part.frames)))
            if turn:  # the first round wakes caches and clocks
                taken[row.name].append((wall, cpu, overlapped))
    table: dict[str, dict[str, Any]] = {}
    for row in points:
        base, own = (np.array(taken[name]) for name in (BASELINE.name, row.name))  # [R, 3]
        wall, cpu, overlapped = (round(statistics.median(column), 3) for column in own.T.tolist())
        faster = np.median(base / own, axis=0)
        aside = off_network(stream.periods(row.point), row.point) if stream.on_gpu else 0.0
        table[row.name] = {
            "ms": wall,
            "cpu_ms": cpu,
            "pipelined_ms": overlapped,
            "speed_up": round(float(faster[0]), 2),
            "speed_up_cpu": round(float(faster[1]), 2),
            "speed_up_pipelined": round(float(np.median(base[:, 0] / own[:, 2])), 2),
            "hidden": round(min(1.0, (wall - overlapped) / aside), 2) if aside else None,
            "printed_hz": row.rate,
            "printed_speed_up": round(row.rate / BASELINE.rate, 2),
        }
    return table


def scores(config: OperatingConfig, segmenter: str, row: PublishedPoint) -> dict[str, float] | None:
    """mIoU of a point, and what it loses; None where the oracle cannot stand in for a network."""
    point = row.point
    if segmenter == ORACLE and (point.input_scale != 1 or point.refine != "off"):
        return None
    every = point.key_every
    counts = {name: np.zeros((2, len(STREET_CLASSES), len(STREET_CLASSES))) for name in ("own", "base")}
    for seed in SEEDS:
        start = config.length % every
        for name, setting in (("own", Setting(point, segmenter)), ("base", Setting(BASELINE.point, segmenter))):
            found = score_point(config, seed, setting)
            worst = found.counts[:, every - 1 + start :: every].sum(axis=(0, 1))
            counts[name] += np.stack([worst, found.counts[:, start:].sum(axis=(0, 1))])
    own, base = (mean_ious(counts[name]) for name in ("own", "base"))
    named = zip(("worst", "mean"), own, base, strict=True)
    result = {
        key: value for name, mine, theirs in named for key, value in ((name, mine), (f"{name}_loss", theirs - mine))
    }
    return {name: round(float(value), 4) for name, value in result.items()} | {"printed_mIoU": row.mIoU / 100}


def mean_ious(counts: np.ndarray) -> list[float]:
    """[K, C, C] -> mIoU of each, over the classes that occur."""
    shared = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(axis=1) + counts.sum(axis=2) - shared
    return [float(np.mean(s[u > 0] / u[u > 0])) for s, u in zip(shared, union, strict=True)]


def best(rows: dict[str, dict[str, Any]], loss: str, gain: str) -> dict[str, Any] | None:
    """The fastest point that loses less than three points; None where no mIoU is known."""
    allowed = {name: row[gain] for name, row in rows.items() if row.get(loss, 1.0) < SMALL_LOSS}
    if not allowed:
        return None
    name = max(allowed, key=lambda name: allowed[name])
    return {"point": name, "speed_up": allowed[name]}


def network_of(config: OperatingConfig) -> tuple[FrameSegmenter, str]:
    """The trained network, or one without training where its weights are missing; and whose mIoU is counted."""
    device = resolve_device(config.device)
    try:
        return load_segmenter(TRAINED, device=device), TRAINED
    except MissingDataError as error:
        print(f"{error}\nwithout them: the truth on key frames, times of a network without training", flush=True)
        return ICNet(len(STREET_CLASSES), ICNetConfig.small()).to(device).eval(), ORACLE


def published(device: str, rounds: int, workers: int, size: tuple[int, int] = (1024, 2048)) -> dict[str, Any]:
    """Times of the published network on the thesis's frames."""
    clip = World(scenario("driving", image_size=size, length=34, stereo=False, dense_truth=False)).clip(0)
    network = ICNet(19).to(resolve_device(device)).eval()
    return times(Stream(network, clip.frames), POINTS, rounds, workers)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="threads for flow")
    parser.add_argument("--published", action="store_true", help="also the thesis's network and frames, for a GPU")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "operating_points.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = OperatingConfig.preset(options.preset)
    points = tuple(row for row in POINTS if row.point.key_every <= config.length)
    network, segmenter = network_of(config)
    clip = driving_clips(replace(config, clips=1), SEEDS[0])[0]
    rows = times(Stream(network, clip.frames), points, options.rounds, options.workers)
    for row in points:
        rows[row.name] |= scores(config, segmenter, row) or {}
    result = {
        "machine": machine_description(),
        "frames": {"height": config.height, "width": config.width, "per_second": config.frame_rate,
                   "clips": config.clips * len(SEEDS), "length": config.length},
        "segmenter": segmenter,
        "notes": NOTES,
        "points": rows,
        "fastest_below_three_points": {
            f"{frames}, {how}": best(rows, f"{frames}_loss", gain)
            for frames in ("worst", "mean")
            for how, gain in (("one after the other", "speed_up"), ("pipelined", "speed_up_pipelined"))
        },
        "published_size": published(config.device, options.rounds, options.workers) if options.published else None,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, values in rows.items():
        scored = f"  mIoU worst {values['worst']:.3f} mean {values['mean']:.3f}" if "worst" in values else ""
        print(
            f"{name:7s} {values['ms']:7.2f} ms, x{values['speed_up']:5.2f}; "
            f"pipelined {values['pipelined_ms']:7.2f} ms, x{values['speed_up_pipelined']:5.2f} "
            f"(printed x{values['printed_speed_up']:5.2f}){scored}"
        )
    print(json.dumps(result["fastest_below_three_points"], indent=1))
    return result


if __name__ == "__main__":
    main()
