"""Cluttered digits: images per second of the vectorised renderer, against one image and one fragment at a time.

Run `python benchmarks/digits.py`. Both sides draw the same images in turn, one thread, wall time; the best of several
rounds counts for each. Aim: 20,000 images of 40 x 40 per second.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from _machine import machine_description

from course_lib.data.digits import ClutterConfig, ClutteredDigits

ROUNDS = 5
SETTINGS = {"laptop, 40 x 40": ClutterConfig(), "published size, 80 x 80": ClutterConfig(80, 8, 8, sprite=28)}


def render_slowly(digits: ClutteredDigits, n: int) -> np.ndarray:
    """The same task in the obvious way: NumPy, one fragment after the other."""
    config, pixels, rng = digits.config, digits.base.images.numpy().astype(np.int32), np.random.default_rng(0)
    side, c, width = digits.base.side, config.clutter_size, config.canvas
    images = np.zeros((n, width, width), dtype=np.int32)
    for image in images:
        for _ in range(config.n_clutter):
            source = pixels[rng.integers(len(pixels))]
            sx, sy = rng.integers(side - c + 1, size=2)
            x, y = rng.integers(width - c + 1, size=2)
            image[y : y + c, x : x + c] += source[sy : sy + c, sx : sx + c]
        np.minimum(image, 255, out=image)
        x, y = rng.integers(width - side + 1, size=2)
        image[y : y + side, x : x + side] += pixels[rng.integers(len(pixels))]
        np.minimum(image, 255, out=image)
    return images.astype(np.float32) / 255


def main() -> None:
    """Measure, print, and write benchmarks/results/digits.json."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for name, config in SETTINGS.items():
        digits = ClutteredDigits(config)
        digits.batch(2048)
        fast, slow = [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            digits.batch(10_240)
            fast.append(10_240 / (time.perf_counter() - began))
            began = time.perf_counter()
            render_slowly(digits, 256)
            slow.append(256 / (time.perf_counter() - began))
        found[name] = {
            "images_per_second": round(max(fast)),
            "obvious_images_per_second": round(max(slow)),
            "ratio": round(max(fast) / max(slow), 1),
        }
        print(f"{name}: {max(fast):,.0f} images/s, {max(fast) / max(slow):.0f} times the obvious renderer")
    results = Path(__file__).parent / "results" / "digits.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps({"machine": machine_description(), "threads": 1, "results": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
