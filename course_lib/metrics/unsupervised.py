"""Score object proposals that carry no agreed ids: the unsupervised task of DAVIS 2019 (Caelles et al., 2019).

Each object is given the proposal that makes the mean J&F of the whole video largest, no proposal twice. Unusual:
rows come in the order of the objects; the official program returns them in the order of the proposals.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.metrics import packed
from course_lib.metrics.checks import as_labels, same_shape
from course_lib.metrics.contour import tolerance_pixels
from course_lib.metrics.sequence import SequenceScore, labels_present

MAX_PROPOSALS = 20  # what the benchmark allows


@dataclass(frozen=True, eq=False)
class ProposalScore:
    """J and F of the objects with the proposals [K] given to them; proposal 0 means that none was left."""

    score: SequenceScore
    proposals: Int[np.ndarray, "k"]


def evaluate_proposals(prediction: object, truth: object, *, tolerance: float = 0.008) -> ProposalScore:
    """J and F of each object with the proposal that suits the whole video best; all frames count.

    prediction, truth: [T, H, W] uint8 label maps; labels of the prediction are names only. Pixels that are 255 in the
    truth are left out. Where proposals run out, an object is scored against empty masks. Raises `InputError` on
    wrong shapes or types, a truth without objects, more than 20 proposals, and on 255 in the prediction.
    """
    prediction, truth = as_labels(prediction, "prediction"), as_labels(truth, "truth")
    same_shape(prediction, truth, "label maps")
    objects = sorted(set().union(*map(labels_present, truth)) - {0, IGNORE})
    proposals = sorted(set().union(*map(labels_present, prediction)) - {0})
    if not objects:
        raise InputError("the truth holds no object (only 0 and 255), so there is nothing to score")
    if IGNORE in proposals:
        raise InputError("prediction has label 255, which marks unannotated pixels of a truth only; map it to 0")
    if len(proposals) > MAX_PROPOSALS:
        raise InputError(f"the benchmark allows {MAX_PROPOSALS} proposals, the prediction has {len(proposals)}")

    padding = [0] * max(0, len(objects) - len(proposals))  # empty proposals
    J, F = np.empty((2, len(objects), len(proposals) + len(padding), len(truth)))
    for t, (found, wanted) in enumerate(zip(prediction, truth, strict=True)):
        masks = [wanted == label for label in objects] + [found == label for label in proposals]
        masks += [np.zeros(wanted.shape, dtype=np.bool_) for _ in padding]
        words = packed.pack(*masks) & ~packed.pack(wanted == IGNORE)
        J[:, :, t], F[:, :, t] = _all_pairs(words, len(objects), wanted.shape, tolerance)

    from scipy.optimize import linear_sum_assignment  # slow to import, needed here only

    rows, columns = linear_sum_assignment((J + F).mean(axis=2), maximize=True)
    labels = np.array(proposals + padding)[columns]
    scored = np.ones((len(objects), len(truth)), dtype=np.bool_)
    return ProposalScore(SequenceScore(np.array(objects), J[rows, columns], F[rows, columns], scored), labels)


def _all_pairs(
    words: UInt64[np.ndarray, "m h n"], objects: int, size: tuple[int, int], tolerance: float
) -> tuple[Float[np.ndarray, "k p"], Float[np.ndarray, "k p"]]:
    """J and F of each of the first `objects` masks with each of the others."""
    radius = tolerance_pixels(tolerance, *size)
    cropped, last_column = packed.crop(words, size[1], math.ceil(radius))
    edges = packed.boundary(cropped, last_column)
    near = packed.dilate(edges, radius)

    shared = _overlaps(cropped[:objects], cropped[objects:])  # [K, P]
    area = packed.areas(cropped)
    union = area[:objects, None] + area[objects:] - shared
    J = np.where(union == 0, 1.0, shared / np.maximum(union, 1))

    wanted, found = np.split(packed.areas(edges), [objects])
    precision = _overlaps(near[:objects], edges[objects:]) / np.maximum(found, 1)
    recall = _overlaps(edges[:objects], near[objects:]) / np.maximum(wanted, 1)[:, None]
    total = precision + recall
    F = 2 * precision * recall / np.where(total == 0, 1, total)
    return J, np.where((wanted[:, None] == 0) & (found == 0), 1.0, F)


def _overlaps(a: UInt64[np.ndarray, "k h n"], b: UInt64[np.ndarray, "p h n"]) -> Int[np.ndarray, "k p"]:
    return np.stack([packed.areas(mask & b) for mask in a])
