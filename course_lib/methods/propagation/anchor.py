"""An object's looks in its first frame, kept for ever: what pulls a drifting mask back.

Flow only knows the frame before, so its errors add up. Here the colours of the object and of its surroundings in the
annotated frame are two histograms; their log ratio votes for each pixel, and a guided filter (He, Sun, Tang, 2010) puts
the contour where the picture has an edge. Unusual: the vote is weighted by how far the two histograms are apart, so an
object that looks like its surroundings is left to the flow.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

_BITS = 6  # per channel of CIELAB: 64 cells each
_CELLS = 1 << 3 * _BITS
_RARE = 1e-5  # added to both histograms: a colour rarer than that says little
_STRONGEST = 4.0  # nats a single pixel can say
_SURROUNDINGS = 1 / 8  # of the shorter side: how far around the object its background is learnt


def colour_cells(picture: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """Index of the colour cell of each RGB pixel."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.int32) >> (8 - _BITS)
    return (lab[..., 0] << 2 * _BITS) | (lab[..., 1] << _BITS) | lab[..., 2]


@dataclass(frozen=True, eq=False)
class ColourAnchor:
    """Log odds that a colour belongs to the object rather than to its surroundings, as seen in one annotated frame.

    votes [64³] float32 in nats, within ±4; 0 for colours never seen.
    """

    votes: Float[np.ndarray, "cells"]

    @classmethod
    def learn(cls, cells: Int[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> "ColourAnchor":
        """From the colour cells of the annotated frame and the object's mask there."""
        reach = scaled(_SURROUNDINGS, mask.shape)
        around = near_contour(mask, reach) & ~mask
        inside, outside = _histogram(cells[mask]), _histogram(cells[around])
        apart = 1 - np.minimum(inside, outside).sum()  # 0: the same colours, 1: no colour in common
        ratio = np.log((inside + _RARE) / (outside + _RARE))
        return cls((apart * ratio.clip(-_STRONGEST, _STRONGEST)).astype(np.float32))

    def vote(self, cells: Int[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        """Log odds of each pixel, smoothed over neighbours."""
        return cv2.GaussianBlur(self.votes[cells], (0, 0), 1.0)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.votes.nbytes


def near_contour(mask: Bool[np.ndarray, "h w"], reach: int) -> Bool[np.ndarray, "h w"]:
    """Pixels whose square neighbourhood of `reach` pixels to each side holds both object and background."""
    side = 2 * reach + 1
    count = cv2.boxFilter(
        mask.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE
    )  # whole numbers, exact in float32
    return (count > 0.5) & (count < side * side - 0.5)


def guided_filter(
    picture: Float[np.ndarray, "h w 3"], mask: Float[np.ndarray, "h w"], radius: int, epsilon: float = 1e-3
) -> Float[np.ndarray, "h w"]:
    """Make a soft mask follow the picture's edges: in each window it becomes a linear function of colour.

    picture RGB in [0, 1]; epsilon: variance of colour below which a window counts as flat
    and the mask is only smoothed.
    Source: He, Sun, Tang, Guided Image Filtering, ECCV 2010, eqs. 14-16.
    """
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, -1, side, borderType=cv2.BORDER_REFLECT)

    r, g, b = cv2.split(picture)
    colour = (r, g, b)
    means = [mean(c) for c in colour]
    mask_mean = mean(mask)
    cross = [mean(c * mask) - m * mask_mean for c, m in zip(colour, means)]  # covariance of each channel and the mask
    rr, gg, bb = (mean(c * c) - m * m + epsilon for c, m in zip(colour, means))
    rg, rb, gb = (mean(colour[i] * colour[j]) - means[i] * means[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    # inverse of the symmetric 3 x 3 covariance of colour, by cofactors
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * c00 + rg * c01 + rb * c02)
    s0, s1, s2 = cross
    slopes = (
        (c00 * s0 + c01 * s1 + c02 * s2) * scale,
        (c01 * s0 + c11 * s1 + c12 * s2) * scale,
        (c02 * s0 + c12 * s1 + c22 * s2) * scale,
    )
    offset = mask_mean - sum(a * m for a, m in zip(slopes, means))
    return (sum(mean(a) * c for a, c in zip(slopes, colour)) + mean(offset)).clip(0, 1)


def scaled(share: float, size: tuple[int, ...]) -> int:
    """Pixels that make `share` of the shorter side, at least 1."""
    return max(1, round(share * min(size[:2])))


def _histogram(cells: Int[np.ndarray, "n"]) -> Float[np.ndarray, "cells"]:
    """Shares of the colour cells, each count spread a little over its neighbours; zeros for no pixels."""
    side = 1 << _BITS
    counts = np.bincount(cells, minlength=_CELLS).astype(np.float32).reshape(side, side, side)
    kernel = cv2.getGaussianKernel(3, 0.5, cv2.CV_32F)[:, 0]
    for axis in range(3):
        counts = _smooth(counts, kernel, axis)
    return counts.ravel() / max(1.0, float(counts.sum()))


def _smooth(counts: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(counts, axis, 0)
    padded = np.concatenate([moved[:1], moved, moved[-1:]])
    return np.moveaxis(kernel[0] * padded[:-2] + kernel[1] * padded[1:-1] + kernel[2] * padded[2:], 0, axis)
