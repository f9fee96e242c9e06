"""Masks carried by optical flow: how well on real video, how fast, and what each part adds.

Run `python benchmarks/mask_flow.py`. Scores are J and F on DAVIS-2016 training sequences, where COURSE_DATA has them,
without the first and last frame, mean over sequences; every second sequence was looked at while settings were chosen,
the others were not. Speed is frames per second of wall time spent in the method, one thread; it comes with that of
DIS alone on the same frames, because the ratio says more than the seconds.
"""

import json
import os
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch
from _machine import machine_description

from course_lib.data.synthetic import World, scenario
from course_lib.errors import MissingDataError
from course_lib.methods.propagation.flow import FlowEstimator, as_picture, grey
from course_lib.methods.propagation.mask_flow import CopyFirstMask, MaskFlow, MaskFlowConfig
from course_lib.vos.datasets import open_dataset
from course_lib.vos.engine import segment
from course_lib.vos.evaluation import evaluate
from course_lib.vos.report import Report

ROOT = Path(__file__).parents[1]
CLIPS = 8  # of each synthetic scenario
SCENARIOS = ("easy", "small", "occlusion", "lookalikes", "crowded", "fast", "corrupted")
SIZES = ((96, 96), (240, 427), (480, 854))
METHODS = {
    "first mask, never moved": CopyFirstMask(),
    "flow alone": MaskFlow(MaskFlowConfig(reanchor=False)),
    "flow, re-anchored": MaskFlow(),
    "  without the flow check": MaskFlow(MaskFlowConfig(unsure=1.0)),
    "  without colours": MaskFlow(MaskFlowConfig(colour=0.0)),
    "  without edges": MaskFlow(MaskFlowConfig(edge=0.0)),
    "  DIS medium": MaskFlow(MaskFlowConfig(preset="medium")),
}


def scores(report: Report) -> dict[str, float]:
    """The figures of a report that are kept."""
    summary = report.summary()
    return {key: round(summary[key] or 0.0, 4) for key in ("JF", "J_mean", "J_decay", "F_mean", "fps")}


def on_davis() -> dict[str, dict[str, dict[str, float]]] | None:
    """Scores of every method on all sequences, the ones looked at, and the others; None without the data."""
    try:
        data = open_dataset("davis2016")
    except MissingDataError:
        return None
    table = {}
    for name, method in METHODS.items():
        report = evaluate(method, data, name=name)
        parts = {"all": report.sequences, "looked at": report.sequences[::2], "held out": report.sequences[1::2]}
        table[name] = {part: scores(replace(report, sequences=kept)) for part, kept in parts.items()}
    return table


def on_synthetic() -> dict[str, dict[str, float]]:
    """J&F of the three methods on every scenario, clips that no setting was chosen on."""
    table: dict[str, dict[str, float]] = {}
    for name in SCENARIOS:
        data = open_dataset(f"synthetic:{name}", n=CLIPS, seed=1000)
        clips = [data[i] for i in range(len(data))]
        for title in list(METHODS)[:3]:
            report = evaluate(METHODS[title], clips, progress=False, adds_objects=True)
            table.setdefault(name, {})[title] = round(report.JF, 4)
    return table


def speed(height: int, width: int) -> dict[str, float]:
    """Frames per second on one object that covers about a tenth of the frame."""
    clip = World(
        scenario("easy", n_objects=1, size=0.4, length=24, image_size=(height, width), dense_truth=False)
    ).clip(0)
    rates = {}
    for name in ("flow alone", "flow, re-anchored"):
        run = segment(METHODS[name], clip.frames, clip.labels[0])
        seconds, before = [], run.seconds
        for _ in run:
            seconds.append(run.seconds - before)
            before = run.seconds
        rates[name] = round(1 / statistics.median(seconds[1:]), 1)
    estimate = FlowEstimator()
    pictures = [grey(as_picture(frame.float() / 255)) for frame in clip.frames]
    times = []
    for old, new in pairwise(pictures):
        began = time.perf_counter()
        estimate(new, old)
        times.append(time.perf_counter() - began)
    rates["one DIS flow"] = round(1 / statistics.median(times), 1)
    rates["frames carried in the time of one flow"] = round(rates["flow, re-anchored"] / rates["one DIS flow"], 3)
    return rates


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    davis = on_davis()
    result = {
        "machine": machine_description(),
        "davis2016_train": davis or "not measured: COURSE_DATA has no DAVIS-2016",
        "synthetic_JF": on_synthetic(),
        "frames_per_second": {f"{h}x{w}": speed(h, w) for h, w in SIZES},
    }
    path = ROOT / "benchmarks" / "results" / "mask_flow.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    for name, parts in (davis or {}).items():
        print(f"{name:26s} " + "  ".join(f"{part} J&F {row['JF']:.3f}" for part, row in parts.items()))
    for name, row in result["synthetic_JF"].items():
        print(f"{name:12s} " + "  ".join(f"{title} {value:.3f}" for title, value in row.items()))
    for size, rates in result["frames_per_second"].items():
        print(f"{size:8s} {rates}")


if __name__ == "__main__":
    main()
