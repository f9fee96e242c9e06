"""J and F: the packed masks of `course_lib.metrics` against the official algorithm on full frames.

Run `python benchmarks/metrics.py`. Both sides score the same frame in turn, one thread, CPU time; the figure is the
best of many rounds for each, and their ratio. A second part scores many videos with one and with all cores.
"""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from _machine import machine_description

from course_lib.metrics import evaluate_labels, evaluate_sequences, reference

ROOT = Path(__file__).parents[1]
ROUNDS = 60
VIDEOS = 32


def cpu_ms(function: Callable[[], object], repeat: int) -> float:
    """CPU milliseconds of one call, averaged over `repeat` calls in a row."""
    start = time.process_time()
    for _ in range(repeat):
        function()
    return 1e3 * (time.process_time() - start) / repeat


def official(prediction: np.ndarray, truth: np.ndarray, ids: range) -> list[tuple[float, float]]:
    """J and F of each object of one frame with the obvious version."""
    masks = [(prediction == label, truth == label) for label in ids]
    return [(reference.region_similarity(a, b), reference.contour_accuracy(a, b)) for a, b in masks]


def race(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float | int]:
    """CPU time of both versions on one frame [H, W], interleaved so that both meet the same machine."""
    ids = range(1, int(truth.max()) + 1)
    fast = partial(evaluate_labels, prediction[None], truth[None], ids=ids)
    slow = partial(official, prediction, truth, ids)
    score = fast()
    assert np.allclose(np.stack([score.J[:, 0], score.F[:, 0]], axis=1), slow(), atol=1e-12, rtol=0)
    times = np.array([[cpu_ms(fast, 5), cpu_ms(slow, 1)] for _ in range(ROUNDS)])  # [ROUNDS, 2]
    best, middle = times.min(axis=0), np.median(times, axis=0)
    return {
        "height": truth.shape[0],
        "width": truth.shape[1],
        "objects": len(ids),
        "cpu_ms": round(float(best[0]), 3),
        "cpu_ms_official": round(float(best[1]), 3),
        "cpu_ms_median": round(float(middle[0]), 3),
        "cpu_ms_official_median": round(float(middle[1]), 3),
        "speed_up": round(float(best[1] / best[0]), 1),
    }


def discs(height: int, width: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Three discs that cover `share` of the frame together, and the same a little off: prediction, truth."""
    radius = int(np.sqrt(share * height * width / 3 / np.pi))
    maps = np.zeros((2, height, width), dtype=np.uint8)
    for label in (1, 2, 3):
        for shift, labels in zip((height // 60, 0), maps, strict=True):
            cv2.circle(labels, (width * label // 4 + shift, height // 2 + shift), radius, label, -1)
    return maps[0], maps[1]


def many_videos(workers: int) -> float:
    """Wall seconds to load and score synthetic videos; loading is a function, so it runs where the scoring does."""
    start = time.perf_counter()
    for _ in evaluate_sequences((video for _ in range(VIDEOS)), workers=workers):
        pass
    return time.perf_counter() - start


def video() -> tuple[np.ndarray, np.ndarray]:
    """A pair of videos of 70 frames at 480 x 854, decoded from PNG bytes as a data set would be."""
    files = [cv2.imencode(".png", labels)[1] for labels in discs(480, 854, 0.2)]
    found, wanted = ([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for _ in range(70)] for file in files)
    return np.array(found), np.array(wanted)


def main() -> None:
    cv2.setNumThreads(1)
    golden = np.load(ROOT / "tests" / "golden" / "davis_metrics.npz")
    cases = {
        "three objects of the golden numbers": (golden["pair480__pred"][0], golden["pair480__gt"][0]),
        "three discs, 3 % of the frame": discs(480, 854, 0.03),
        "three discs, 20 % of the frame": discs(480, 854, 0.2),
        "three discs, 60 % of the frame": discs(480, 854, 0.6),
        "three discs, 20 % of a 1080p frame": discs(1080, 1920, 0.2),
    }
    result: dict[str, dict] = {
        "machine": machine_description(),
        "frames": {name: race(*pair) for name, pair in cases.items()},
    }
    cores = os.cpu_count() or 1
    result["videos"] = {
        "videos": VIDEOS,
        "frames_each": 70,
        "seconds_one_core": round(many_videos(1), 2),
        f"seconds_{cores}_cores": round(many_videos(cores), 2),
    }
    path = ROOT / "benchmarks" / "results" / "metrics.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    for name, row in result["frames"].items():
        fast, slow = row["cpu_ms"], row["cpu_ms_official"]
        print(f"{name:40s} {fast:7.3f} ms, official {slow:7.3f} ms, {row['speed_up']:5.1f} times")
    print(result["videos"])


if __name__ == "__main__":
    main()
