"""Boxes: how much two of them overlap, and the tight one around a mask.

Boxes are x0, y0, x1, y1 in pixels, half-open: a single pixel at (3, 5) has the box 3, 5, 4, 6 and the area 1, without
the "+ 1" of older tools. An absent object has NaN for a box.
"""

import numpy as np
from jaxtyping import Float

from course_lib.metrics.checks import as_boxes, as_mask

EPS = float(np.finfo(np.float64).eps)


def _areas(boxes: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def aligned_iou(a: Float[np.ndarray, "... 4"], b: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Intersection over union of boxes that broadcast against each other; 0 for empty boxes, NaN for absent ones."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(a) + _areas(b) - shared
    flat = (_areas(a) <= EPS) | (_areas(b) <= EPS)  # an empty box overlaps nothing
    return shared / np.where(flat, 1.0, union)


def box_iou(a: object, b: object) -> Float[np.ndarray, "n m"]:
    """Intersection over union of each box of a [N, 4] with each of b [M, 4]; 0 for empty boxes, NaN for absent ones.

    NumPy arrays or torch tensors; float64 result in [0, 1]. Raises `InputError` unless both are [*, 4].

    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [0, 0, 2, 2]]))
    array([[0.33333333, 1.        ]])
    """
    a, b = as_boxes(a, "a"), as_boxes(b, "b")
    return aligned_iou(a[:, None], b[None])


def boxes_from_masks(masks: object) -> Float[np.ndarray, "k 4"]:
    """Tight box around each mask of [K, H, W], bool or 0/1 uint8; NaN for an empty mask.

    One label map gives `boxes_from_masks(labels == ids[:, None, None])`. Raises `InputError` on other input.
    """
    masks = as_mask(masks, "masks", ndim=3)
    boxes = np.full((len(masks), 4), np.nan)
    for box, mask in zip(boxes, masks, strict=True):
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if columns.size:
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
