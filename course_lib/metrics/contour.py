"""J, the overlap of two masks, and F, the agreement of their contours: the two numbers of video object segmentation.

Definitions of the DAVIS benchmark (Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", 2016). Unusual: masks are packed into words of 64 pixels and only the box around both contours is
worked on, which gives the numbers of `course_lib.metrics.reference` at a small part of its cost.
"""

import math

import numpy as np
from jaxtyping import Bool, UInt64

from course_lib.errors import InputError
from course_lib.metrics import packed
from course_lib.metrics.checks import as_mask, same_shape


def tolerance_pixels(tolerance: float, height: int, width: int) -> float:
    """Radius in pixels within which two contours agree.

    Below 1 the tolerance is a share of the image diagonal, rounded up to whole pixels (0.008 gives 8 at 480 x 854);
    from 1 on it is taken as pixels, unrounded. Raises `InputError` on negative or non-finite values.
    """
    if not math.isfinite(tolerance) or tolerance < 0:
        raise InputError(
            f"tolerance must be 0 or more (below 1 a share of the diagonal, from 1 on pixels), got {tolerance}"
        )
    return tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(height, width))


def f_measure(precision: float, recall: float) -> float:
    """Harmonic mean of precision and recall, 0 where both are 0."""
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def region(pair: UInt64[np.ndarray, "2 h n"]) -> float:
    """J of two packed masks."""
    intersection = int(packed.areas(pair[:1] & pair[1:])[0])
    union = sum(packed.areas(pair).tolist()) - intersection
    return 1.0 if union == 0 else intersection / union


def contour(cropped: UInt64[np.ndarray, "2 h n"], last_column: int, radius: float) -> float:
    """F of two masks from `packed.crop`, prediction first, with the tolerance in pixels."""
    edges = packed.boundary(cropped, last_column)  # [2, h, n]
    found, wanted = packed.areas(edges).tolist()
    if found == 0 or wanted == 0:
        return float(found == wanted)
    matches = edges & packed.dilate(edges, radius)[::-1]  # found near wanted, wanted near found
    right, reached = packed.areas(matches).tolist()
    return f_measure(right / found, reached / wanted)


def _pack(prediction: object, truth: object, ignore: object | None) -> tuple[UInt64[np.ndarray, "2 h n"], int, int]:
    """The two masks in words, emptied inside `ignore`; height and width."""
    prediction, truth = as_mask(prediction, "prediction"), as_mask(truth, "truth")
    same_shape(prediction, truth, "masks")
    pair = packed.pack(prediction, truth)
    if ignore is not None:
        ignore = as_mask(ignore, "ignore")
        same_shape(ignore, truth, "ignore mask")
        pair &= ~packed.pack(ignore)
    return pair, *truth.shape


def region_similarity(prediction: object, truth: object, ignore: object | None = None) -> float:
    """Region similarity J: intersection over union of two masks.

    prediction, truth: [H, W] NumPy arrays or torch tensors, bool or uint8 with values 0 and 1. Pixels where `ignore`
    [H, W] is set count for neither. Returns a value in [0, 1]; two empty masks agree, J = 1; one empty mask gives 0.
    Raises `InputError` on other shapes, types or values. Built in lesson 00.

    >>> region_similarity(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.3333333333333333
    """
    pair, _, _ = _pack(prediction, truth, ignore)
    return region(pair)


def contour_accuracy(
    prediction: object, truth: object, tolerance: float = 0.008, ignore: object | None = None
) -> float:
    """Contour accuracy F: harmonic mean of the share of predicted contour near the true one, and the reverse.

    prediction, truth: [H, W] NumPy arrays or torch tensors, bool or uint8 with values 0 and 1. Two contour pixels
    agree within a disk of `tolerance` (see `tolerance_pixels`). Both masks are emptied inside `ignore` before the
    contour is taken, so the rim of an ignored region can itself become contour of both, as in the official evaluation.
    Returns a value in [0, 1]: 1 where neither mask has a contour (also empty against full frame), 0 where only one has.
    Raises `InputError` on other shapes, types or values. Built in lesson 00.
    """
    pair, height, width = _pack(prediction, truth, ignore)
    radius = tolerance_pixels(tolerance, height, width)
    return contour(*packed.crop(pair, width, math.ceil(radius)), radius)


def boundary_map(mask: object) -> Bool[np.ndarray, "h w"]:
    """Contour pixels of a mask [H, W]: those that differ from their right, lower or lower-right neighbour.

    The contour thus lies half a pixel to the upper left, and an object has none along the border of the picture.
    Returns a boolean NumPy array. Raises `InputError` as `region_similarity` does. Built in lesson 00.
    """
    mask = as_mask(mask, "mask")
    edges = np.zeros_like(mask)
    across = mask[:, :-1] ^ mask[:, 1:]
    edges[:, :-1] = across
    edges[:-1, :-1] |= across[1:]
    edges[:-1] |= mask[:-1] ^ mask[1:]
    return edges
