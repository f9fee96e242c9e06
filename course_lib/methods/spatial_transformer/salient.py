"""How salient-object classification is judged: whose label counts, which sizes gain, what the data set itself pulls.

F. Azimi (2024), section 5.5. One answer is given per image; what grows from "Top-1" to "Top-2" to "Any" is the set of
labels that are accepted, so "Top-2" here is not the usual top-2 over class scores. Unusual: a comparison of overlaps
can be made among objects of equal size, because small objects are both harder and less often covered.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.errors import InputError

FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # edges of the published bins of initial share
THRESHOLD = 0.4  # of overlap, picked by eye in section 5.5.2: above it the largest object may not be the salient one


class Accepted(NamedTuple):
    """Which answers are right, [N] each, under three readings; each accepts all that the one before it accepts."""

    top1: Bool[Tensor, "n"]  # the class of the largest object
    top2: Bool[Tensor, "n"]  # ... or of the second largest
    any: Bool[Tensor, "n"]  # ... or of any object in the image

    @property
    def accuracies(self) -> tuple[float, float, float]:
        """Shares of right answers, in [0, 1]: Top-1, "Top-2", Any."""
        top1, top2, anything = (part.float().mean().item() for part in self)
        return top1, top2, anything


def accepted(predictions: Int[Tensor, "n"], object_labels: Int[Tensor, "n m"]) -> Accepted:
    """Hold one answer per image against the labels of its objects.

    object_labels  the largest first, -1 where there is none

    Raises `InputError` for shapes that do not fit, no image, or an image without an object. Built in lesson 03.
    """
    if object_labels.ndim != 2 or predictions.shape != object_labels.shape[:1] or 0 in object_labels.shape:
        raise InputError(
            f"expected predictions [N] and object_labels [N, M] with N and M at least 1, got "
            f"{list(predictions.shape)} and {list(object_labels.shape)}"
        )
    if (object_labels[:, 0] < 0).any():
        raise InputError("the first of object_labels is that of the largest object and must be there; got -1")
    hit = (object_labels == predictions[:, None]) & (object_labels >= 0)  # [N, M]
    return Accepted(hit[:, 0], hit[:, :2].any(dim=1), hit.any(dim=1))


@dataclass(frozen=True)
class ShareBin:
    """Images whose object fills a share in [low, high) of the frame at first; means are NaN where there is none."""

    low: float
    high: float
    images: int
    share_before: float
    share_after: float
    accuracy_before: float
    accuracy_after: float

    @property
    def gain(self) -> float:
        """Accuracy gained, in [-1, 1]."""
        return self.accuracy_after - self.accuracy_before


def share_table(
    share_before: Float[Tensor, "n"],
    share_after: Float[Tensor, "n"],
    correct_before: Bool[Tensor, "n"],
    correct_after: Bool[Tensor, "n"],
    edges: Sequence[float] = FIFTHS,
) -> tuple[ShareBin, ...]:
    """Share and accuracy before and after, by the share that the object fills before (figure 5.11).

    edges  increasing, one more than bins; the last bin holds its upper edge. `equal_bins` makes bins of equal count

    Raises `InputError` for arrays of different lengths or a share outside of the edges.
    """
    columns = (share_before, share_after, correct_before, correct_after)
    _check_rows(*columns)
    which = bin_of(share_before, edges)
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        here = which == number
        means = [float(column[here].double().mean()) for column in columns]
        rows.append(ShareBin(float(low), float(high), int(here.sum()), *means))
    return tuple(rows)


def equal_bins(share: Float[Tensor, "n"], bins: int = 3) -> tuple[float, ...]:
    """Edges between which equally many images lie, as nearly as ties allow. Raises `InputError` if that cannot be."""
    if bins < 1 or len(share) < bins:
        raise InputError(f"{len(share)} images cannot be dealt out to {bins} bins")
    edges = share.double().quantile(torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=share.device)).tolist()
    if len(set(edges)) < len(edges):
        raise InputError(f"too many objects are of the same size for {bins} bins of equal count; use fewer bins")
    return tuple(edges)


def bin_of(share: Float[Tensor, "n"], edges: Sequence[float]) -> Int[Tensor, "n"]:
    """Number of the bin [edge, next edge) of each share. Raises `InputError` for one outside, or edges that fall."""
    if len(edges) < 2 or any(not a < b for a, b in pairwise(edges)):
        raise InputError(f"edges of bins must be at least two and increase, got {tuple(edges)}")
    bounds = torch.tensor(edges, dtype=torch.float64, device=share.device)
    values = share.double()
    if not ((values >= bounds[0] - 1e-6) & (values <= bounds[-1] + 1e-6)).all():  # NaN is not inside either
        raise InputError(
            f"shares should lie between the edges {edges[0]} and {edges[-1]}, got {values.min():.3g} … "
            f"{values.max():.3g}"
        )
    return torch.bucketize(values, bounds[1:-1].contiguous(), right=True)


@dataclass(frozen=True)
class OverlapRow:
    """One group of images by how much of the largest box others cover; accuracy is NaN for an empty group."""

    group: str
    images: int
    accuracy: float


def overlap_groups(overlap: Float[Tensor, "n"], threshold: float = THRESHOLD) -> Int[Tensor, "n"]:
    """0 where nothing covers the largest box, 1 where at most `threshold` of it is covered, 2 above."""
    if not 0 < threshold < 1:
        raise InputError(f"the threshold is a share of the largest box between 0 and 1, got {threshold}")
    return (overlap > 0).long() + (overlap > threshold).long()


def overlap_table(
    correct: Bool[Tensor, "n"], overlap: Float[Tensor, "n"], threshold: float = THRESHOLD
) -> tuple[OverlapRow, ...]:
    """Accuracy of all images, of those without overlap, and of those below and above the threshold (Table 5.10).

    "below" leaves out the images without overlap, as the table does: its total comes out only so.
    """
    _check_rows(correct, overlap)
    group = overlap_groups(overlap, threshold)
    names = ("no overlap", f"up to {threshold:g}", f"above {threshold:g}")
    chosen = [torch.ones_like(group, dtype=torch.bool), *(group == number for number in range(3))]
    return tuple(
        OverlapRow(name, int(here.sum()), float(correct[here].double().mean()))
        for name, here in zip(("all", *names), chosen, strict=True)
    )


def violations(overlap: Float[Tensor, "n"], thresholds: Sequence[float]) -> list[float]:
    """Share of the images whose largest box is covered by more than each threshold (figure 5.15)."""
    return [float((overlap > threshold).double().mean()) for threshold in thresholds]


def accuracy_at_equal_size(
    correct: Bool[Tensor, "n"], share: Float[Tensor, "n"], group: Int[Tensor, "n"], groups: int, bins: int = 5
) -> list[float]:
    """Accuracy that each group would have if its objects were as large as those of all groups together.

    Direct standardisation: accuracy per group and bin of share, weighted by how many images of all groups a bin has;
    bins that some group lacks are left out for all. A control that the thesis lacks. Raises `InputError` if no bin
    has images of every group.
    """
    _check_rows(correct, share, group)
    cell = group * bins + bin_of(share, equal_bins(share, bins))  # [N]
    count = torch.bincount(cell, minlength=groups * bins).view(groups, bins).double()
    right = torch.bincount(cell, weights=correct.double(), minlength=groups * bins).view(groups, bins)
    common = (count > 0).all(dim=0)  # [bins]
    if not common.any():
        raise InputError(f"no bin of size has images of all {groups} groups: they cannot be compared at equal size")
    weight = count.sum(dim=0)[common]
    return ((right / count)[:, common] @ (weight / weight.sum())).tolist()


@dataclass(frozen=True)
class BiasRow:
    """Wrong answers about images with, or without, an object of the dominant class beside another, largest one."""

    present: bool
    errors: int
    dominant: float
    """Share of these errors that name the dominant class, in [0, 1]; NaN without errors."""


def bias_table(
    predictions: Int[Tensor, "n"], object_labels: Int[Tensor, "n m"], dominant: int
) -> tuple[BiasRow, BiasRow]:
    """What wrong answers say, where an object of the dominant class is present as a secondary one and where not.

    Table 5.9 for "person". Images whose largest object is of that class are left out: naming it is no error there.
    Raises `InputError` as `accepted`.
    """
    wrong = ~accepted(predictions, object_labels).top1 & (object_labels[:, 0] != dominant)
    present = (object_labels[:, 1:] == dominant).any(dim=1)
    rows = []
    for there in (True, False):
        here = wrong & (present == there)
        rows.append(BiasRow(there, int(here.sum()), float((predictions[here] == dominant).double().mean())))
    return rows[0], rows[1]


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in [0, 1] on `images` images: 0.0044 for 0.8 on 8,333. A difference of two has √2 times that."""
    if not 0 <= accuracy <= 1 or images < 1:
        raise InputError(f"expected an accuracy in [0, 1] and at least one image, got {accuracy} and {images}")
    return math.sqrt(accuracy * (1 - accuracy) / images)


def _check_rows(*columns: Tensor) -> None:
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns) or not len(columns[0]):
        raise InputError(
            f"expected one number per image, [N] each and N at least 1; got {[list(c.shape) for c in columns]}"
        )
