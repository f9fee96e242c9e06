"""Outlines of the small world's objects, as distances in units of the object's radius.

Each function takes coordinates in which the object is centred, upright and of radius 1, and answers how far outside a
point lies, negative inside. Unusual: near the outline that is the true distance for all of them but the ellipse, whose
soft edge is up to 1.7 times wider at its tips; so one rule gives every shape the same antialiasing.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float

from course_lib.errors import InputError

Shape = Literal["disk", "square", "triangle", "ellipse", "star", "cross"]
SEEN: tuple[Shape, ...] = ("disk", "square", "triangle", "ellipse")  # what training shows
UNSEEN: tuple[Shape, ...] = ("star", "cross")  # categories that only tests show
REACH = 1.35  # no shape extends farther from its centre, in radii
Plane = Float[np.ndarray, "*any"]


def outside(shape: Shape, x: Plane, y: Plane) -> Plane:
    """Distance outside the outline in radii, negative inside. Raises `InputError` for an unknown shape."""
    if shape not in _OUTSIDE:
        raise InputError(f"unknown shape {shape!r}; there are {', '.join(_OUTSIDE)}")
    return _OUTSIDE[shape](x, y)


def _disk(x: Plane, y: Plane) -> Plane:
    return np.sqrt(x * x + y * y) - 1


def _square(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.abs(x), np.abs(y)) - math.sqrt(math.pi) / 2  # as large as the disk


def _triangle(x: Plane, y: Plane) -> Plane:
    """Equilateral, its corners `REACH` from the centre and its sides half of that."""
    return np.maximum(y, math.sqrt(3) / 2 * np.abs(x) - y / 2) - REACH / 2


def _ellipse(x: Plane, y: Plane) -> Plane:
    return (np.sqrt((x / 1.3) ** 2 + (y / 0.77) ** 2) - 1) * 0.77


def _cross(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    upright, lying = np.maximum(x - 0.42, y - 1.2), np.maximum(x - 1.2, y - 0.42)
    return np.minimum(upright, lying)


def _star(x: Plane, y: Plane) -> Plane:
    """Five points, folded into one tenth: from a tip at angle 0 a straight line runs to a notch at 36 degrees."""
    tip, notch, tenth = REACH, 0.6, math.pi / 5
    angle = np.abs((np.arctan2(y, x) + tenth) % (2 * tenth) - tenth)  # from the nearest tip, in [0, tenth]
    along, across = notch * math.cos(tenth) - tip, notch * math.sin(tenth)  # tip to notch
    length = math.hypot(along, across)
    normal = across / length, -along / length
    radius = np.sqrt(x * x + y * y)
    return radius * np.cos(angle) * normal[0] + radius * np.sin(angle) * normal[1] - tip * normal[0]


_OUTSIDE: dict[Shape, Callable[[Plane, Plane], Plane]] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "ellipse": _ellipse,
    "star": _star,
    "cross": _cross,
}
