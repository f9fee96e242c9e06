"""Polygons and strokes from which many garments are drawn at once, and the few operations on outlines that cuts need.

Each number of a cut may differ between garments, so an outline is an array [M, V, 2] and no garment is drawn alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Uniform = Callable[[float, float], Float[np.ndarray, "m"]]  # M draws between two bounds
Number = float | Float[np.ndarray, "m"]
Points = Float[np.ndarray, "m v 2"]
Which = Bool[np.ndarray, "m"]

SEAM = 0.6  # brightness of a stitched edge


@dataclass(frozen=True)
class Part:
    """One polygon or stroke of M garments, in free units with y downwards; later parts cover earlier ones.

    tone   brightness from 0 (a hole) to 1
    width  of the stroke along the points; None fills the polygon
    shown  whether a garment has this part
    """

    points: Points
    tone: Float[np.ndarray, "m"]
    width: Float[np.ndarray, "m"] | None
    shown: Which


def fill(points: Points, tone: Number = 1.0, shown: Which | bool = True) -> Part:
    """A filled polygon."""
    m = len(points)
    return Part(points, np.broadcast_to(tone, m), None, np.broadcast_to(shown, m))


def stroke(points: Points, width: Number = 0.035, tone: Number = SEAM, shown: Which | bool = True) -> Part:
    """A line of some width; a single point twice is a dot."""
    m = len(points)
    return Part(points, np.broadcast_to(tone, m), np.broadcast_to(width, m), np.broadcast_to(shown, m))


def path(*pairs: tuple[Number, Number]) -> Points:
    """Points [M, V, 2] from V pairs (x, y), each a number or one number per garment; at least one of the latter."""
    numbers = np.broadcast_arrays(*(number for pair in pairs for number in pair))
    return np.stack(numbers, axis=-1).reshape(-1, len(pairs), 2)


def mirrored(points: Points) -> Points:
    """The right half of an outline, and its reflection at x = 0, as one closed outline."""
    return np.concatenate([points, flipped(points)[:, ::-1]], axis=1)


def flipped(points: Points) -> Points:
    """Reflected at x = 0."""
    return points * (-1.0, 1.0)


def rounded(points: Points, times: int = 2, closed: bool = True) -> Points:
    """Corners cut at a quarter of each edge, again and again (Chaikin, 1974)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=1)
        cut = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=2)  # [M, V, 2, 2]
        if closed:
            points = cut.reshape(len(points), -1, 2)  # [M, 2V, 2]
        else:
            inner = cut[:, :-1].reshape(len(points), -1, 2)  # [M, 2(V-1), 2]
            points = np.concatenate([points[:, :1], inner, points[:, -1:]], axis=1)
    return points
