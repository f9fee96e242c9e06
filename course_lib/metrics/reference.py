"""J and F as their definitions read: full frames, one byte per pixel, a disk slid over every pixel.

This is the obvious version beside `course_lib.metrics.contour`, and the algorithm of the official DAVIS 2017
evaluation (Perazzi et al., 2016; Pont-Tuset et al., 2017). Tests hold both to the same numbers; benchmarks race them.
"""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8


def region_similarity(
    prediction: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], ignore: Bool[np.ndarray, "h w"] | None = None
) -> float:
    """Intersection over union of two masks, 1 where both are empty; pixels of `ignore` count for neither."""
    counted = np.ones_like(truth) if ignore is None else ~ignore
    intersection = np.sum(prediction & truth & counted)
    union = np.sum((prediction | truth) & counted)
    return 1.0 if union == 0 else float(intersection / union)


def boundary_map(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that differ from their right, lower or lower-right neighbour, of those that lie in the frame."""
    right, below, diagonal = (np.zeros_like(mask) for _ in range(3))
    right[:, :-1] = mask[:, 1:]
    below[:-1] = mask[1:]
    diagonal[:-1, :-1] = mask[1:, 1:]
    edges = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    edges[-1] = mask[-1] ^ right[-1]
    edges[:, -1] = mask[:, -1] ^ below[:, -1]
    edges[-1, -1] = False
    return edges


def disk(radius: float) -> UInt8[np.ndarray, "n n"]:
    """Structuring element: 1 where x² + y² <= radius²."""
    offsets = np.arange(-int(radius), int(radius) + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)


def contour_accuracy(
    prediction: Bool[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    tolerance: float = 0.008,
    ignore: Bool[np.ndarray, "h w"] | None = None,
) -> float:
    """F measure of two contours that may lie `tolerance` apart (a share of the diagonal, or pixels from 1 on)."""
    radius = tolerance if tolerance >= 1 else np.ceil(tolerance * np.linalg.norm(truth.shape))
    if ignore is not None:
        prediction, truth = prediction & ~ignore, truth & ~ignore
    found, wanted = boundary_map(prediction), boundary_map(truth)
    near_found = cv2.dilate(found.astype(np.uint8), disk(radius)).astype(bool)
    near_wanted = cv2.dilate(wanted.astype(np.uint8), disk(radius)).astype(bool)
    n_found, n_wanted = np.sum(found), np.sum(wanted)
    if n_found == 0 and n_wanted == 0:
        return 1.0
    if n_found == 0 or n_wanted == 0:
        return 0.0
    precision = np.sum(found & near_wanted) / n_found
    recall = np.sum(wanted & near_found) / n_wanted
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))
