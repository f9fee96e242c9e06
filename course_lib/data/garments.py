"""Drawn garments: 28-pixel images of ten kinds of clothes, shoes and bags, made on the spot so nothing is downloaded.

They stand in for Fashion-MNIST (Xiao et al., 2017; the second data set of F. Azimi, 2024, section 5.3.2): large bright
areas with a cloth of their own. Unusual: the split goes by cloth and by cut. Both splits follow the same laws, but each
weaves its own bolts and draws its own proportions, so no test garment shares either with a training garment.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from course_lib.data.wardrobe import clothes, shoes_and_bags
from course_lib.data.wardrobe.cloth import FAMILIES, LEATHER, Bolts, light, pieces, woven
from course_lib.data.wardrobe.parts import Part, Points, Uniform
from course_lib.errors import InputError

CUTS: dict[str, Callable[[Uniform], list[Part]]] = {  # in the order of Fashion-MNIST
    "t-shirt": clothes.t_shirt,
    "trousers": clothes.trousers,
    "pullover": clothes.pullover,
    "dress": clothes.dress,
    "coat": clothes.coat,
    "sandal": shoes_and_bags.sandal,
    "shirt": clothes.shirt,
    "sneaker": shoes_and_bags.sneaker,
    "bag": shoes_and_bags.bag,
    "ankle boot": shoes_and_bags.ankle_boot,
}
NAMES = tuple(CUTS)  # label i is NAMES[i]
CARRIED = ("sandal", "sneaker", "bag", "ankle boot")  # made of leather
SIDE = 28
COUNTS = {"train": 4000, "test": 1000}
BOLTS = {"train": 160, "test": 64}
STREAM = {"train": 28_001, "test": 28_002}  # random seeds, one per split
FINE = 3  # times SIDE at which outlines are drawn before they are shrunk
SHIFT = 4  # OpenCV reads corners in sixteenths of a pixel


@lru_cache(maxsize=2)
def garments(split: Literal["train", "test"]) -> tuple[UInt8[np.ndarray, "m 28 28"], Int[np.ndarray, "m"]]:
    """Images, bright on black, and labels 0..9 (`NAMES`) in turn: 4,000 to train on, 1,000 to test. Kept, read-only.

    Raises `InputError` for an unknown split. Used in lesson 01.
    """
    if split not in COUNTS:
        raise InputError(f"split must be 'train' or 'test', got {split!r}")
    kinds, each = len(NAMES), COUNTS[split] // len(NAMES)
    rng = np.random.default_rng(STREAM[split])
    stock = bolts(split)
    images = np.empty((each, kinds, SIDE, SIDE), dtype=np.uint8)
    for label, name in enumerate(NAMES):
        drawn = draw(fitted(CUTS[name](_uniform(rng, each)), _uniform(rng, each)))
        fits = np.isin(stock.family, [FAMILIES.index(f) for f in LEATHER]) if name in CARRIED else stock.family >= 0
        chosen = stock[rng.choice(np.flatnonzero(fits), each)]
        lit = pieces(chosen, rng.uniform(0, 2 * np.pi, (each, 6)), SIDE) * light(_uniform(rng, each), SIDE)
        grain = rng.uniform(0.92, 1.0, lit.shape)
        images[:, label] = np.rint(255 * drawn * lit * grain)
    labels = np.tile(np.arange(kinds), each)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images.reshape(-1, SIDE, SIDE), labels


def bolts(split: Literal["train", "test"]) -> Bolts:
    """All cloth of one split."""
    return woven(np.random.default_rng([STREAM[split], 1]), BOLTS[split])


def fitted(parts: list[Part], u: Uniform) -> list[Part]:
    """Slightly stretched and turned, then scaled and centred; the longer side nearly fills the image [pixels]."""
    stretch, angle, slant = u(0.94, 1.06), u(-0.05, 0.05), u(-0.04, 0.04)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack([np.stack([cos * stretch, slant - sin], -1), np.stack([sin, cos], -1)], axis=-2)  # [M, 2, 2]
    turned = [part.points @ matrix.transpose(0, 2, 1) for part in parts]
    edges = []
    for part, points in zip(parts, turned, strict=True):
        margin = 0.0 if part.width is None else part.width[:, None, None] / 2
        hidden = np.where(part.shown, 0.0, np.inf)[:, None]
        edges.append(((points - margin).min(axis=1) + hidden, (points + margin).max(axis=1) - hidden))
    low = np.min([edge[0] for edge in edges], axis=0)  # [M, 2]
    high = np.max([edge[1] for edge in edges], axis=0)
    scale = u(0.88, 0.97) * SIDE / (high - low).max(axis=1)  # [M]
    centre = (low + high)[:, None] / 2
    return [
        Part(
            (points - centre) * scale[:, None, None] + SIDE / 2,
            part.tone,
            None if part.width is None else part.width * scale,
            part.shown,
        )
        for part, points in zip(parts, turned, strict=True)
    ]


def draw(parts: list[Part]) -> Float[np.ndarray, "m 28 28"]:
    """Parts in pixels painted one over the other, finely, then shrunk by averaging; brightness in [0, 1]."""
    m, side = len(parts[0].points), SIDE * FINE
    canvas = np.zeros((m, side, side), dtype=np.uint8)
    for part in parts:
        corners = _fixed(part.points)
        tones = np.rint(255 * part.tone).astype(int).tolist()
        rows = np.flatnonzero(part.shown).tolist()
        if part.width is None:
            for i in rows:
                cv2.fillPoly(canvas[i], [corners[i]], tones[i], cv2.LINE_8, SHIFT)
        else:
            widths = np.maximum(1, np.rint(part.width * FINE)).astype(int).tolist()
            for i in rows:
                cv2.polylines(canvas[i], [corners[i]], False, tones[i], widths[i], cv2.LINE_8, SHIFT)
    small = cv2.resize(canvas.reshape(m * side, side), (SIDE, m * SIDE), interpolation=cv2.INTER_AREA)
    return small.reshape(m, SIDE, SIDE).astype(np.float32) / 255


def _fixed(points: Points) -> Int[np.ndarray, "m v 2"]:
    """Corners as OpenCV wants them: pixel centres are whole numbers, in steps of 1 / 2**SHIFT."""
    return np.rint((points * FINE - 0.5) * 2**SHIFT).astype(np.int32)


def _uniform(rng: np.random.Generator, m: int) -> Uniform:
    return lambda low, high: rng.uniform(low, high, m)
