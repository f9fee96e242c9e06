"""Where errors lie: the share of pixels that are labelled wrongly, by their distance to the true border.

Most errors of a segmenter hug the border, and a method that is better *near* it (F. Azimi, 2024, section 6.3, border
distance classification) is not the same as one that loses fewer objects. Unusual: the distance is that to the nearest
pixel of the other class, as in the distance classes of lesson 04, so it is 1 or more on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from course_lib.errors import InputError
from course_lib.metrics.bootstrap import Interval, mean_interval
from course_lib.metrics.checks import as_mask, same_shape


@dataclass(frozen=True, eq=False)
class BorderErrors:
    """Share of wrong pixels on both sides of the border, nearest first.

    limits [B-1] in pixels: bin i holds distances above limits[i-1] up to limits[i]; the last one everything beyond.
    inside, outside: B intervals over clips; missed object pixels, and background taken for the object.
    inside_pixels, outside_pixels [B]: how many there are; a bin without any has NaN.
    """

    limits: Float[np.ndarray, "e"]
    inside: tuple[Interval, ...]
    outside: tuple[Interval, ...]
    inside_pixels: Int[np.ndarray, "b"]
    outside_pixels: Int[np.ndarray, "b"]

    @property
    def names(self) -> list[str]:
        """What each bin holds, in pixels."""
        edges = [f"{limit:g}" for limit in self.limits]
        return [f"up to {edges[0]}", *(f"{a} to {b}" for a, b in pairwise(edges)), f"over {edges[-1]}"]


def border_distance(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Distance of each pixel to the nearest pixel of the other class, >= 1; infinite where there is none."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.where(mask, inside, outside)


def border_errors(
    predictions: Sequence[object], truths: Sequence[object], limits: Sequence[float] = (1, 2, 4, 8, 16)
) -> BorderErrors:
    """Error rates by distance to the true border, over clips.

    predictions, truths: C clips, each masks [T, H, W] of one object, bool or 0/1 (NumPy or torch). A frame without the
    object has no border: all of it is background at an infinite distance. Raises `InputError` without clips, for sizes
    that differ, or limits that do not rise. Built in lesson 04.
    """
    edges = np.asarray(limits, dtype=np.float64)
    if edges.ndim != 1 or not len(edges) or edges[0] < 1 or not (np.diff(edges) > 0).all():
        raise InputError(f"limits must be rising distances of 1 or more, as no pixel is nearer; got {list(limits)}")
    if len(predictions) != len(truths) or not len(truths):
        raise InputError(f"one prediction for each truth and at least one, got {len(predictions)} and {len(truths)}")
    counts = np.stack([_counts(p, t, edges) for p, t in zip(predictions, truths)])  # [C, side, bin, (wrong, all)]
    rates = [[_rate(counts[:, side, i]) for i in range(len(edges) + 1)] for side in (0, 1)]
    pixels = counts[..., 1].sum(axis=0)  # [2, B]
    return BorderErrors(edges, tuple(rates[1]), tuple(rates[0]), pixels[1], pixels[0])


def _counts(prediction: object, truth: object, edges: Float[np.ndarray, "e"]) -> Int[np.ndarray, "2 b 2"]:
    guess, real = as_mask(prediction, "prediction", 3), as_mask(truth, "truth", 3)
    same_shape(guess, real, "masks")
    size = 2 * (len(edges) + 1)
    wrong, every = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for found, mask in zip(guess, real):
        place = np.searchsorted(edges, border_distance(mask), side="left") + (len(edges) + 1) * mask  # [H, W]
        every += np.bincount(place.ravel(), minlength=size)
        wrong += np.bincount(place[found != mask], minlength=size)
    return np.stack([wrong, every], axis=-1).reshape(2, len(edges) + 1, 2)


def _rate(counts: Int[np.ndarray, "c 2"]) -> Interval:
    there = counts[counts[:, 1] > 0].astype(np.float64)
    return mean_interval(there[:, 0] / there[:, 1], weights=there[:, 1])
