"""The checks of lesson 00 accept right answers however they are written, and name the mistake in wrong ones."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from course_lib.lessons.checks import lesson00 as L
from course_lib.lessons.testing import assert_exercise


def test_region_similarity():
    def by_sets(prediction, truth):
        p, t = set(np.flatnonzero(prediction)), set(np.flatnonzero(truth))
        return len(p & t) / len(p | t) if p | t else 1.0

    def by_sums(prediction, truth):
        both = (prediction * truth).sum()
        either = prediction.sum() + truth.sum() - both
        return both / either if either > 0 else 1.0

    assert_exercise(
        L.REGION_SIMILARITY,
        right=[by_sets, by_sums],
        wrong={
            "Dice": [lambda p, t: 1.0 if not (p | t).any() else 2 * (p & t).sum() / (p.sum() + t.sum())],
            "recall": [lambda p, t: 1.0 if not (p | t).any() else (p & t).sum() / t.sum() if t.any() else 1.0],
            "share of pixels that agree": [lambda p, t: np.mean(p == t)],
            "0/0 needs a decision": [
                lambda p, t: (p & t).sum() / max((p | t).sum(), 1),
                lambda p, t: np.float64((p & t).sum()) / np.float64((p | t).sum()) if (p | t).any() else np.nan,
            ],
            "is a `return` missing": [lambda p, t: None],
        },
    )


def test_boundary_map():
    def by_loop(mask):
        height, width = mask.shape
        edge = np.zeros((height, width), bool)
        for y in range(height):
            for x in range(width):
                near = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
                edge[y, x] = any(mask[v, u] != mask[y, x] for v, u in near if v < height and u < width)
        return edge

    def by_edge_padding(mask):
        big = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        edge = (mask != big[:-1, 1:]) | (mask != big[1:, :-1])
        edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
        return edge

    def left_and_up(mask):
        return by_loop(mask[::-1, ::-1])[::-1, ::-1]

    assert_exercise(
        L.BOUNDARY_MAP,
        right=[by_loop, by_edge_padding],
        wrong={
            "np.roll wraps around": [
                lambda m: (m != np.roll(m, -1, 1)) | (m != np.roll(m, -1, 0)) | (m != np.roll(m, (-1, -1), (0, 1)))
            ],
            "do not exist": [L._padded_with_background],
            "diagonal": [L._without_diagonal],
            "Both sides": [lambda m: by_loop(m) | left_and_up(m)],
            "Only pixels inside": [lambda m: by_loop(m) & m],
            "dtype": [lambda m: by_loop(m).astype(np.uint8)],
        },
    )


def test_contour_accuracy():
    def by_distance(p, t, r):
        if not p.any() or not t.any():
            return float(p.any() == t.any())
        to_t = cv2.distanceTransform((~t).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        to_p = cv2.distanceTransform((~p).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        precision, recall = (to_t[p] <= r + 1e-3).mean(), (to_p[t] <= r + 1e-3).mean()
        return 2 * precision * recall / max(precision + recall, 1e-12)

    def by_pairs(p, t, r):
        a, b = np.argwhere(p), np.argwhere(t)
        if len(a) == 0 or len(b) == 0:
            return float(len(a) == len(b))
        near = ((a[:, None] - b[None]) ** 2).sum(-1) <= r * r
        precision, recall = near.any(1).mean(), near.any(0).mean()
        return 0.0 if precision == 0 and recall == 0 else 2 / (1 / precision + 1 / recall)

    def unguarded(p, t, r):
        precision = int((p & L.grow(t, r)).sum()) / int(p.sum())
        recall = int((t & L.grow(p, r)).sum()) / int(t.sum())
        return 2 * precision * recall / (precision + recall)

    assert_exercise(
        L.CONTOUR_ACCURACY,
        right=[by_distance, by_pairs],
        wrong={
            "No tolerance": [lambda p, t, r: by_pairs(p, t, 0)],
            "harmonic": [lambda p, t, r: L._f(p, t, p & L.grow(t, r), t & L.grow(p, r), "mean")],
            "precision alone": [
                lambda p, t, r: (p & L.grow(t, r)).sum() / p.sum() if p.any() and t.any() else float(p.any() == t.any())
            ],
            "division by zero": [unguarded],
            "F = 1": [lambda p, t, r: by_pairs(p, t, r) if p.any() else 0.0],
        },
    )


def test_fool_j():
    def dilate_in_steps(truth):
        return cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=3) > 0

    def shrink(truth):
        return ~L.grow(~truth, 3)

    assert_exercise(
        L.FOOL_J,
        right=[dilate_in_steps, shrink],
        wrong={
            "J is high but so is F": [lambda truth: truth.copy(), lambda truth: L.grow(truth, 1), hole],
            "F is low but J is low too": [lambda truth: np.zeros_like(truth), lambda truth: L.grow(truth, 12)],
        },
    )


def hole(truth):
    mask = truth.copy()
    mask[44:52, 44:52] = False
    return mask


def test_carry_mask():
    def with_opencv(mask, flow):
        height, width = mask.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return mask.new_tensor(
            cv2.remap(mask.numpy(), x + flow[0].numpy(), y + flow[1].numpy(), cv2.INTER_LINEAR, borderValue=0)
        )

    def without_corners(mask, flow):
        height, width = mask.shape
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        grid = torch.stack([(x + flow[0]) / width, (y + flow[1]) / height], -1)[None] * 2 - 1
        return F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0]

    def from_affine(mask, flow):
        height, width = mask.shape
        base = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=True)
        step = torch.tensor([2 / (width - 1), 2 / (height - 1)])
        return F.grid_sample(mask[None, None], base + flow.permute(1, 2, 0)[None] * step, align_corners=True)[0, 0]

    assert_exercise(
        L.CARRY_MASK,
        right=[without_corners, from_affine],
        wrong={
            "wrong way": [lambda m, w: from_affine(m, -w)],
            "x and y are exchanged": [lambda m, w: from_affine(m, w.flip(0))],
            "align_corners": [lambda m, w: L._sample(m, w[0], w[1], corners=False)],
            "interpolate": [lambda m, w: L._sample(m, w[0], w[1], mode="nearest")],
            "did not move": [lambda m, w: m * 1.0],
            "graph": [lambda m, w: from_affine(m, w).detach()],
        },
    )
    flow = torch.full((2, 9, 13), 0.25)
    mask = torch.rand(9, 13)
    inner = (slice(1, -2), slice(1, -2))
    assert torch.allclose(with_opencv(mask, flow)[inner], L.carry_mask(mask, flow)[inner], atol=0.02)
