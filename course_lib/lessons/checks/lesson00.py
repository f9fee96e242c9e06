"""Exercises of lesson 00: region similarity, boundary map, contour accuracy, fooling J, carrying a mask by flow."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.metrics import contour_accuracy as library_f
from course_lib.metrics import region_similarity as library_j
from course_lib.metrics.reference import disk

FOOL_MIN_J, FOOL_MAX_F = 0.8, 0.4


def grow(edge: np.ndarray, r: int) -> np.ndarray:
    """All pixels within r pixels of a marked one. edge: [H, W] bool."""
    return cv2.dilate(edge.astype(np.uint8), disk(r)) > 0


def rectangle(top: int, bottom: int, left: int, right: int, size: tuple[int, int] = (12, 14)) -> np.ndarray:
    """A [H, W] bool mask of one half-open rectangle."""
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


# -- region similarity ------------------------------------------------------------------------------------------------


def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> float:
    union = np.logical_or(prediction, truth).sum()
    return 1.0 if union == 0 else float(np.logical_and(prediction, truth).sum() / union)


def _safe(numerator: float, denominator: float) -> float:
    return 1.0 if denominator == 0 else float(numerator / denominator)


A, B, NONE = rectangle(2, 8, 2, 10), rectangle(4, 10, 2, 8), rectangle(0, 0, 0, 0)
_EMPTY = (
    "Two empty masks agree: nothing was to be found and nothing was claimed. 0/0 needs a decision before the division."
)

REGION_SIMILARITY = Exercise(
    name="region_similarity",
    reference=region_similarity,
    cases=(
        Case((A, B), "two rectangles that overlap", expected=(24 / 60,)),
        Case((B, A), "the same two, exchanged", expected=(24 / 60,)),
        Case((A, A), "a mask and itself", expected=(1.0,)),
        Case((A, NONE), "an empty truth", expected=(0.0,)),
        Case((NONE, A), "an empty prediction", expected=(0.0,)),
        Case((NONE, NONE), "two empty masks", expected=(1.0,)),
    ),
    misconceptions=(
        Misconception(
            lambda p, t: _safe(2 * (p & t).sum(), p.sum() + t.sum()),
            "This is the Dice score, 2 |overlap| / (|prediction| + |truth|): J divides the overlap by the union.",
        ),
        Misconception(
            lambda p, t: _safe((p & t).sum(), t.sum()) if (p | t).any() else 1.0,
            "Dividing by the truth alone is recall: a mask that covers everything would be "
            "perfect. Divide by the union.",
        ),
        Misconception(
            lambda p, t: _safe((p & t).sum(), p.sum()) if (p | t).any() else 1.0,
            "Dividing by the prediction alone is precision: one lucky pixel would be perfect. Divide by the union.",
        ),
        Misconception(
            lambda p, t: float((p == t).mean()),
            "This is the share of pixels that agree. Background counts too, so an empty mask of a "
            "small object scores high.",
        ),
        Misconception(lambda p, t: float((p & t).sum() / (p | t).sum()) if (p | t).any() else 0.0, _EMPTY),
        Misconception(lambda p, t: float((p & t).sum() / (p | t).sum()) if (p | t).any() else float("nan"), _EMPTY),
    ),
)


# -- boundary map -----------------------------------------------------------------------------------------------------


def boundary_map(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def _wrapped(mask: np.ndarray) -> np.ndarray:
    right, below = np.roll(mask, -1, 1), np.roll(mask, -1, 0)
    return (mask ^ right) | (mask ^ below) | (mask ^ np.roll(below, -1, 1))


def _padded_with_background(mask: np.ndarray) -> np.ndarray:
    big = np.pad(mask, ((0, 1), (0, 1)))
    return (mask ^ big[:-1, 1:]) | (mask ^ big[1:, :-1]) | (mask ^ big[1:, 1:])


def _without_diagonal(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    return edge


def _both_sides(mask: np.ndarray) -> np.ndarray:
    edge = boundary_map(mask)
    edge[:, 1:] |= mask[:, :-1] ^ mask[:, 1:]
    edge[1:] |= mask[:-1] ^ mask[1:]
    edge[1:, 1:] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


BOUNDARY_MAP = Exercise(
    name="boundary_map",
    reference=boundary_map,
    cases=(
        Case((rectangle(1, 3, 1, 4, (4, 5)),), "a small rectangle"),
        Case((rectangle(0, 12, 0, 5),), "an object that fills the left part of the picture"),
        Case((rectangle(6, 12, 7, 14),), "an object that lies on the lower and right border"),
        Case((NONE,), "an empty mask"),
        Case((~NONE,), "a mask that covers the whole picture"),
        Case((rectangle(3, 4, 3, 4),), "a single pixel"),
    ),
    misconceptions=(
        Misconception(
            _wrapped,
            "np.roll wraps around: the last column is compared with the first. Slice off what has no neighbour.",
        ),
        Misconception(
            _padded_with_background,
            "Pixels on the lower and right border are compared with background outside the "
            "picture; those neighbours do not exist.",
        ),
        Misconception(_without_diagonal, "The diagonal neighbour (below-right) is missing: corners stay open."),
        Misconception(
            _both_sides, "Both sides of the outline are marked; the rule looks right and down only, so it marks one."
        ),
        Misconception(
            lambda mask: mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0),
            "This is the inner rim of the mask. The rule also marks pixels just outside, above "
            "and to the left of the object.",
        ),
        Misconception(
            lambda mask: mask & boundary_map(mask),
            "Only pixels inside the object are kept. A background pixel whose right neighbour is "
            "the object is boundary too.",
        ),
    ),
)


# -- contour accuracy -------------------------------------------------------------------------------------------------


def contour_accuracy(predicted_edge: np.ndarray, true_edge: np.ndarray, r: int) -> float:
    if not predicted_edge.any() and not true_edge.any():
        return 1.0
    if not predicted_edge.any() or not true_edge.any():
        return 0.0
    precision = (predicted_edge & grow(true_edge, r)).sum() / predicted_edge.sum()
    recall = (true_edge & grow(predicted_edge, r)).sum() / true_edge.sum()
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def _f(p: np.ndarray, t: np.ndarray, found_p: np.ndarray, found_t: np.ndarray, combine="harmonic") -> float:
    if not p.any() and not t.any():
        return 1.0
    if not p.any() or not t.any():
        return 0.0
    precision, recall = found_p.sum() / p.sum(), found_t.sum() / t.sum()
    if combine == "mean":
        return float((precision + recall) / 2)
    if combine == "precision":
        return float(precision)
    if combine == "recall":
        return float(recall)
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


EDGE_A = boundary_map(rectangle(6, 24, 6, 26, (32, 40)))
EDGE_B = boundary_map(rectangle(7, 26, 6, 34, (32, 40)))
EDGE_FAR = boundary_map(rectangle(28, 31, 34, 39, (32, 40)))
EDGE_NONE = np.zeros((32, 40), bool)

CONTOUR_ACCURACY = Exercise(
    name="contour_accuracy",
    reference=contour_accuracy,
    cases=(
        Case((EDGE_A, EDGE_A, 1), "an outline and itself", expected=(1.0,)),
        Case((EDGE_B, EDGE_A, 2), "two outlines that share three sides, tolerance 2"),
        Case((EDGE_A, EDGE_B, 1), "the same two exchanged, tolerance 1"),
        Case((EDGE_FAR, EDGE_A, 2), "two outlines far apart", expected=(0.0,)),
        Case((EDGE_NONE, EDGE_A, 2), "a prediction without outline", expected=(0.0,)),
        Case((EDGE_A, EDGE_NONE, 2), "a truth without outline", expected=(0.0,)),
        Case((EDGE_NONE, EDGE_NONE, 2), "two empty outlines", expected=(1.0,)),
    ),
    misconceptions=(
        Misconception(
            lambda p, t, r: _f(p, t, p & t, p & t),
            "No tolerance: pixels count only if they coincide. Grow the other outline by r before comparing.",
        ),
        Misconception(
            lambda p, t, r: _f(p, t, p & grow(t, r), t & grow(p, r), "mean"),
            "Precision and recall are averaged. F is their harmonic mean, 2PR / (P + R), which "
            "punishes the smaller one.",
        ),
        Misconception(
            lambda p, t, r: _f(p, t, p & grow(t, r), t & grow(p, r), "precision"),
            "This is precision alone: leaving out most of the outline would cost nothing.",
        ),
        Misconception(
            lambda p, t, r: _f(p, t, p & grow(t, r), t & grow(p, r), "recall"),
            "This is recall alone: marking the whole picture as outline would cost nothing.",
        ),
        Misconception(
            lambda p, t, r: _f(grow(p, r), grow(t, r), grow(p, r) & grow(t, r), grow(p, r) & grow(t, r)),
            "Both outlines were grown. Grow only the one you search in, and count pixels of the thin one.",
        ),
        Misconception(
            lambda p, t, r: contour_accuracy(p, t, r) if p.any() or t.any() else 0.0,
            "Two masks without any outline agree: that is F = 1.",
        ),
    ),
)


# -- fool J -----------------------------------------------------------------------------------------------------------


def fool_j(truth: np.ndarray) -> np.ndarray:
    return grow(truth, 3)


def _disk(size: int = 96, radius: int = 36) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return x**2 + y**2 <= radius**2


def _judge(function, truth: np.ndarray) -> dict[str, bool]:
    """What the mask achieves; the tolerance of F at 96 x 96 is 2 pixels."""
    mask = function(truth)
    if not isinstance(mask, np.ndarray) or mask.shape != truth.shape:
        shape = list(mask.shape) if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(f"a mask of shape {list(truth.shape)} is expected, not {shape}")
    mask = mask.astype(bool)
    return {
        f"J >= {FOOL_MIN_J}": library_j(mask, truth) >= FOOL_MIN_J,
        f"F <= {FOOL_MAX_F}": library_f(mask, truth) <= FOOL_MAX_F,
    }


def _why_not_fooled(case: Case, got: dict[str, bool], expected: dict[str, bool]) -> str | None:
    if not isinstance(got, dict):
        return None
    j_high, f_low = got.values()
    if j_high and not f_low:
        return "J is high but so is F: too much of the outline still passes within 2 pixels of the true one."
    if f_low and not j_high:
        return "F is low but J is low too: too much area changed. Spoil the outline and leave the area alone."
    return "Neither holds: J must be at least 0.8 and F at most 0.4."


FOOL_J = Exercise(
    name="fool_j",
    reference=fool_j,
    cases=(
        Case((_disk(),), "a disk of radius 36 in a 96 x 96 picture", use=_judge),
        Case((rectangle(14, 84, 12, 80, (96, 96)),), "a rectangle of 70 x 68 pixels", use=_judge),
    ),
    diagnose=_why_not_fooled,
)


# -- carry a mask -----------------------------------------------------------------------------------------------------


def carry_mask(mask: Tensor, backward_flow: Tensor) -> Tensor:
    return _sample(mask, backward_flow[0], backward_flow[1])


def _sample(mask: Tensor, dx: Tensor, dy: Tensor, corners: bool = True, mode="bilinear", padding="zeros") -> Tensor:
    """Look the mask up at every pixel plus (dx, dy)."""
    height, width = mask.shape
    y, x = torch.meshgrid(torch.arange(height).to(mask), torch.arange(width).to(mask), indexing="ij")
    grid = torch.stack([2 * (x + dx) / (width - 1) - 1, 2 * (y + dy) / (height - 1) - 1], dim=-1)[None]  # [1, H, W, 2]
    return F.grid_sample(mask[None, None], grid, mode, padding, align_corners=corners)[0, 0]


def _flow_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(9, 13)
    mask[2:6, 3:8] = 1
    soft = torch.rand(9, 13, generator=generator)
    still = torch.zeros(2, 9, 13)
    right = still.clone()
    right[0] = -2.0  # the object moved 2 pixels to the right, so looking back means looking left
    down = still.clone()
    down[1] = -1.0
    bent = torch.rand(2, 9, 13, generator=generator) * 3 - 1.5
    out = still.clone()
    out[0] = 20.0
    return (
        Case((mask, right), "an object that moved 2 pixels to the right"),
        Case((mask, down), "an object that moved 1 pixel down"),
        Case((soft, still), "a soft mask that does not move"),
        Case((soft, bent), "a soft mask and a flow of its own for every pixel", gradient=True),
        Case((soft, out), "a flow that looks outside the picture", expected=(torch.zeros(9, 13),)),
    )


CARRY_MASK = Exercise(
    name="carry_mask",
    reference=carry_mask,
    cases=_flow_cases,
    misconceptions=(
        Misconception(
            lambda m, w: _sample(m, -w[0], -w[1]),
            "The mask moved the wrong way: the flow already points back to the old frame, so it "
            "is added, not subtracted.",
        ),
        Misconception(
            lambda m, w: _sample(m, w[1], w[0]),
            "x and y are exchanged: backward_flow[0] is x, along the width; backward_flow[1] is y, along the height.",
        ),
        Misconception(
            lambda m, w: _sample(m, w[0], w[1], corners=False),
            "A still mask changes: positions were scaled so that -1 and +1 are centres of pixels, "
            "but grid_sample was not told "
            "(align_corners=True).",
        ),
        Misconception(
            lambda m, w: _sample(m, w[0], w[1], mode="nearest"),
            "The mask was looked up at the nearest pixel. Between pixels, interpolate (mode='bilinear').",
        ),
        Misconception(
            lambda m, w: _sample(m, w[0], w[1], padding="border"),
            "Outside the picture the border pixel was repeated; the object is not known there, so "
            "it is 0 (padding_mode='zeros').",
        ),
        Misconception(
            lambda m, w: _sample(m, w[0] * 2 / (m.shape[1] - 1), w[1] * 2 / (m.shape[0] - 1)),
            "The flow is in pixels and must be added before the coordinates are scaled to [-1, "
            "1]; it was scaled once too often.",
        ),
        Misconception(lambda m, w: m.clone(), "The mask did not move at all: the flow is not used."),
    ),
)

EXERCISES = [REGION_SIMILARITY, BOUNDARY_MAP, CONTOUR_ACCURACY, FOOL_J, CARRY_MASK]
