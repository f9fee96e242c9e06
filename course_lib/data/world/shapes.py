"""Silhouettes: each class of procedural shape is a function that is positive inside and negative outside.

They are sampled four times finer than asked and averaged, so an alpha value is the covered area of its texel, then
softened slightly so that bilinear sampling reproduces it: the contour is where alpha crosses 0.5.
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy import hypot, pi

SUPERSAMPLING = 4
REACH = 0.8  # the larger half-side of every sprite in texture coordinates [-1, 1]; the rest is an empty margin
VARIANTS = 4  # of each class: more teeth, thinner rings, another bend

Field = np.ndarray  # [n, n] float32 of x, y or inside-ness


def _circle(x: Field, y: Field, variant: int) -> Field:
    return 1 - hypot(x, y * (1, 1.12, 1.25, 1.4)[variant])


def _square(x: Field, y: Field, variant: int) -> Field:
    corner = (0.12, 0.3, 0.2, 0.05)[variant]
    tall = (1, 0.95, 0.75, 0.85)[variant]
    dx, dy = np.maximum(np.abs(x) - 1 + corner, 0), np.maximum(np.abs(y) - tall + corner, 0)
    return corner - hypot(dx, dy)


def _polygon(x: Field, y: Field, corners: int, turn: float = -pi / 2) -> Field:
    wedge = (np.arctan2(y, x) - turn + pi / corners) % (2 * pi / corners) - pi / corners
    return np.cos(pi / corners) - hypot(x, y) * np.cos(wedge)


def _triangle(x: Field, y: Field, variant: int) -> Field:
    return _polygon(x * (1.0, 1.25, 0.97, 1.1)[variant] * 0.9, (y - 0.28) * 0.9, 3, turn=pi / 2)


def _star(x: Field, y: Field, variant: int) -> Field:
    points, inner = ((5, 0.45), (6, 0.5), (4, 0.38), (7, 0.55))[variant]
    angle = np.abs((np.arctan2(y, x) + pi / 2 + pi / points) % (2 * pi / points) - pi / points)
    px, py = hypot(x, y) * np.cos(angle), hypot(x, y) * np.sin(angle)
    ex, ey = inner * np.cos(pi / points) - 1, inner * np.sin(pi / points)  # edge from tip (1, 0) to inner corner
    return -((px - 1) * ey - py * ex) / hypot(ex, ey)


def _heart(x: Field, y: Field, variant: int) -> Field:
    x, y = np.abs(x * 1.15 * (1, 1.1, 0.95, 1.05)[variant]), -y * 1.15 + 0.12
    return 1 - x**2 - ((y - 0.62 * np.sqrt(x)) * 1.05) ** 2


def _ring(x: Field, y: Field, variant: int) -> Field:
    inner = (0.45, 0.55, 0.38, 0.5)[variant]
    return (1 - inner) / 2 - np.abs(hypot(x, y * (1, 1, 1.2, 1.1)[variant]) - (1 + inner) / 2)


def _cross(x: Field, y: Field, variant: int) -> Field:
    arm = (0.34, 0.42, 0.3, 0.38)[variant]
    return np.maximum(
        np.minimum(arm - np.abs(x), 1 - np.abs(y)), np.minimum(arm - np.abs(y), (1, 1, 1, 0.8)[variant] - np.abs(x))
    )


def _arrow(x: Field, y: Field, variant: int) -> Field:
    shaft, head = ((0.28, 0.1), (0.36, 0.0), (0.24, 0.2), (0.32, 0.15))[variant]
    tip = np.minimum(x - head + 0.02, (1 - x) * 0.95 / (1 - head) * 0.8 - np.abs(y))
    return np.maximum(tip, np.minimum(np.minimum(shaft - np.abs(y), x + 1), head + 0.05 - x))


def _flower(x: Field, y: Field, variant: int) -> Field:
    petals = (5, 6, 8, 7)[variant]
    return 0.74 + 0.26 * np.cos(petals * np.arctan2(y, x)) - hypot(x, y)


def _gear(x: Field, y: Field, variant: int) -> Field:
    teeth, hole = ((8, 0.3), (10, 0.25), (6, 0.35), (9, 0.4))[variant]
    rim = 0.86 + 0.14 * np.tanh(4 * np.cos(teeth * np.arctan2(y, x))) - hypot(x, y)
    return np.minimum(rim, hypot(x, y) - hole)


def _leaf(x: Field, y: Field, variant: int) -> Field:
    fat = (0.5, 0.42, 0.58, 0.46)[variant]
    bend = 0.12 * (1 - x**2)
    return np.minimum(fat * (1 - x**2) * (1.15 + 0.35 * x) - np.abs(y - bend), 1 - np.abs(x))


def _fish(x: Field, y: Field, variant: int) -> Field:
    fat = (0.55, 0.45, 0.65, 0.5)[variant]
    body = 1 - hypot((x - 0.22) / 0.78, y / fat)
    tail = np.minimum(np.minimum(-0.3 - x, 1 + x), (-x - 0.42) * 1.15 + 0.08 - np.abs(y))
    notch = hypot((x + 1.1) / 0.38, y / 0.32) - 1
    return np.maximum(body, np.minimum(tail, notch))


def _crescent(x: Field, y: Field, variant: int) -> Field:
    shift, bite = ((0.5, 0.8), (0.42, 0.78), (0.6, 0.85), (0.5, 0.72))[variant]
    return np.minimum(1 - hypot(x, y), hypot(x - shift, y) - bite)


def _drop(x: Field, y: Field, variant: int) -> Field:
    fat = (0.62, 0.55, 0.68, 0.5)[variant]
    round_end = fat - hypot(x, y - 1 + fat)
    cone = np.minimum((y + 1) * fat / (2 - fat) * 0.93 - np.abs(x), 1 - fat - y + 0.15)
    return np.maximum(round_end, cone)


def _key(x: Field, y: Field, variant: int) -> Field:
    bow = np.minimum(0.45 - hypot(x + 0.55, y), hypot(x + 0.58, y) - (0.2, 0.16, 0.24, 0.2)[variant])
    shaft = np.minimum(0.14 - np.abs(y), np.minimum(x + 0.15, 1 - x))
    teeth = np.minimum(np.minimum(y, (0.42, 0.5, 0.36, 0.45)[variant] - y), 0.11 - np.abs((x - 0.25) % 0.36 - 0.18))
    return np.maximum(np.maximum(bow, shaft), np.minimum(teeth, np.minimum(x - 0.28, 1 - x)))


def _butterfly(x: Field, y: Field, variant: int) -> Field:
    theta = np.arctan2(np.abs(x), -y)
    wing = 0.45 + 0.5 * np.abs(np.sin(1.5 * theta + (0.25, 0.05, 0.45, 0.25)[variant])) ** (0.8, 0.8, 0.8, 1.6)[variant]
    wing = wing * (0.35 + 0.65 * np.minimum(1, np.sin(theta) * 1.6))
    return np.maximum(wing * 1.05 - hypot(x, y), 1 - hypot(x / 0.12, y / 0.7))


def _bolt(x: Field, y: Field, variant: int) -> Field:
    lean = (0.5, 0.6, 0.4, 0.55)[variant]
    upper = np.minimum(0.3 - np.abs(x + y * lean - 0.02), np.minimum(0.14 - y, y + 1))
    lower = np.minimum(np.minimum((1 - y) * 0.36 - np.abs(x + y * lean * 0.8 - 0.1), y + 0.14), 1 - y)
    return np.maximum(upper, lower)


def _mushroom(x: Field, y: Field, variant: int) -> Field:
    cap = np.minimum(1 - hypot(x, (y - 0.1) / (1.05, 0.85, 0.95, 0.7)[variant]), 0.1 - y)
    stem = np.minimum((0.28, 0.34, 0.24, 0.3)[variant] + 0.12 * np.maximum(y, 0) - np.abs(x), np.minimum(y, 0.95 - y))
    return np.maximum(cap, stem)


def _clover(x: Field, y: Field, variant: int) -> Field:
    leaves, notch = ((3, 0.6), (4, 0.6), (5, 0.6), (4, 1.3))[variant]
    blade = 0.24 + 0.7 * np.abs(np.cos(leaves / 2 * (np.arctan2(y, x) + pi / 2))) ** notch - hypot(x, y)
    stalk = np.minimum((0.1, 0.09, 0.12, 0.08)[variant] - np.abs(x - 0.15 * y**2), np.minimum(y, 0.98 - y))
    return np.maximum(blade, stalk)


SEEN_SHAPES: dict[str, Callable[[Field, Field, int], Field]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star, "heart": _heart, "ring": _ring,
    "cross": _cross, "arrow": _arrow, "flower": _flower, "gear": _gear, "leaf": _leaf, "fish": _fish,
    "crescent": _crescent, "drop": _drop,
}  # fmt: skip
UNSEEN_SHAPES: dict[str, Callable[[Field, Field, int], Field]] = {
    "key": _key, "butterfly": _butterfly, "bolt": _bolt, "mushroom": _mushroom, "clover": _clover,
}  # fmt: skip


@lru_cache(maxsize=512)
def shape_alpha(name: str, variant: int, size: int) -> np.ndarray:
    """Coverage [size, size] float32 in [0, 1] of a shape that reaches from -0.8 to 0.8 of its square. Read-only."""
    inside = SEEN_SHAPES[name] if name in SEEN_SHAPES else UNSEEN_SHAPES[name]
    fine = size * SUPERSAMPLING
    axis = ((np.arange(fine, dtype=np.float32) + 0.5) / fine * 2 - 1) / REACH
    x, y = np.meshgrid(axis, axis)
    covered = (inside(x, y, variant) > 0).astype(np.float32)
    return soften(covered.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean((1, 3)))


def soften(image: np.ndarray, sigma: float = 0.6) -> np.ndarray:
    """The image [h, w] or [h, w, C] in [0, 1] with a little blur, which band-limits it; read-only."""
    image = np.clip(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), 0, 1)
    image.setflags(write=False)
    return image
