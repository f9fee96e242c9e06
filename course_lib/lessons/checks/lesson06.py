"""Exercises of lesson 06: warp_back, resize_flow, compose_flows, lost_pixels, frames_per_second, mean_iou.

Here are those about counting: how fast a schedule runs, and how good a segmentation is. Those about following a flow
are in `lesson06_warping`, about where it fails in `lesson06_consistency`. All six names stand above because an exercise
is looked for only where it is mentioned.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.checks.lesson06_consistency import LOST_PIXELS
from course_lib.lessons.checks.lesson06_warping import COMPOSE_FLOWS, RESIZE_FLOW, WARP_BACK
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.metrics.confusion import ConfusionMatrix

# -- how fast is a schedule? ------------------------------------------------------------------------------------------


def frames_per_second(key_every: int, segment: float, warp: float, refine: float = 0.0, refined: int = 0) -> float:
    return 1000 * key_every / (segment + (key_every - 1) * warp + refined * refine)


def _rate(time: Callable[[int, float, float, float, int], float]) -> Callable[..., float]:
    """Frames per second with another time of a period, in milliseconds."""

    def wrong(key_every: int, segment: float, warp: float, refine: float = 0.0, refined: int = 0) -> float:
        return 1000 * key_every / time(key_every, segment, warp, refine, refined)

    return wrong


_TIMES = (25.84, 0.11)  # milliseconds of the network and of a warp, fitted to table 3.2

_RATE_IDEAS = (
    Misconception(
        lambda s, segment, warp, refine=0.0, refined=0: 1000 / (segment + (s - 1) * warp + refined * refine),
        "These are periods per second. In one period all its frames get their labels: key_every of them.",
    ),
    Misconception(
        _rate(lambda s, segment, warp, refine, refined: segment + s * warp + refined * refine),
        "The key frame is not warped: a period has key_every - 1 warps.",
    ),
    Misconception(
        _rate(lambda s, segment, warp, refine, refined: segment + (s - 1) * (warp + (refined > 0) * refine)),
        "The refiner was counted for every carried frame. It runs `refined` times in a period.",
    ),
    Misconception(
        _rate(lambda s, segment, warp, refine, refined: segment + (s - 1) * warp), "The refiner takes time, too."
    ),
    Misconception(
        _rate(lambda s, segment, warp, refine, refined: segment + (s - 1) * warp + refine),
        "The refiner is counted once, whatever `refined` says; it may be 0.",
    ),
    Misconception(
        _rate(lambda s, segment, warp, refine, refined: s * segment + (s - 1) * warp + refined * refine),
        "The network was counted for every frame. It runs once in a period; that is what a period is for.",
    ),
    Misconception(
        lambda s, segment, warp, refine=0.0, refined=0: (segment + (s - 1) * warp + refined * refine) / s,
        "These are milliseconds per frame. Frames per second is 1000 over that.",
    ),
    Misconception(
        lambda s, segment, warp, refine=0.0, refined=0: s / (segment + (s - 1) * warp + refined * refine),
        "Times are in milliseconds, so these are frames per millisecond: a factor of 1000.",
    ),
    Misconception(
        lambda s, segment, warp, refine=0.0, refined=0: (
            (1000 / segment + (s - 1) * 1000 / warp) / s if warp > 0 else 1000 / segment
        ),
        "A mean of rates. A fast warp does not make up for a slow network: add the TIMES of one period, then divide.",
    ),
)

FRAMES_PER_SECOND = Exercise(
    name="frames_per_second",
    reference=frames_per_second,
    cases=(
        Case((1, 25.0, 0.1), "every frame through a network of 25 ms", expected=(40.0,)),
        Case((5, 26.0, 1.0), "S = 5, network 26 ms, warp 1 ms: 5 frames in 30 ms", expected=(1000 / 6,)),
        Case((5, *_TIMES), "EVS 07, printed: 190 frames per second"),
        Case((10, *_TIMES), "EVS 10, printed: 372"),
        Case((5, *_TIMES, 14.6, 1), "EVS 06, refined once in a period, printed: 122"),
        Case((2, *_TIMES, 14.6, 1), "EVS 02, printed: 49"),
        Case((5, *_TIMES, 14.6, 4), "the same with all four carried frames refined"),
        Case((5, *_TIMES, 14.6, 0), "a refiner that is never used"),
    ),
    misconceptions=_RATE_IDEAS,
    diagnose=first_fault(_RATE_IDEAS),
)


# -- how good is a segmentation? --------------------------------------------------------------------------------------


def mean_iou(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    return _counted(predictions, truths, classes).mean_iou()


def _counted(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    for prediction, truth in zip(predictions, truths):
        matrix.update(prediction, truth)
    return matrix


def _per_frame(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    scores = [mean_iou([p], [t], classes) for p, t in zip(predictions, truths)]
    return float(torch.tensor(scores, dtype=torch.float64).nanmean())


def _class_of_frames(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    """IoU of each class and frame, averaged over frames, then over classes."""
    scores = torch.stack([_counted([p], [t], classes).iou() for p, t in zip(predictions, truths)])
    return float(scores.nanmean(dim=0).nanmean())


def _ignored_counts(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    """A prediction on an ignored pixel counts as a false positive."""
    values = []
    for c in range(classes):
        shared = sum(int(((p == c) & (t == c)).sum()) for p, t in zip(predictions, truths))
        union = sum(int(((p == c) | (t == c)).sum()) for p, t in zip(predictions, truths))
        if union:
            values.append(shared / union)
    return sum(values) / len(values) if values else float("nan")


def _absent_as(value: float) -> Callable[..., float]:
    def wrong(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
        return float(_counted(predictions, truths, classes).iou().nan_to_num(value).mean())

    return wrong


def _accuracy(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    return _counted(predictions, truths, classes).pixel_accuracy()


def _recall(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    counts = _counted(predictions, truths, classes).counts.double()
    return float((counts.diagonal() / counts.sum(1)).nanmean())


def _dice(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    counts = _counted(predictions, truths, classes).counts.double()
    return float((2 * counts.diagonal() / (counts.sum(0) + counts.sum(1))).nanmean())


def _only_in_truth(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    """Classes that only occur in predictions are left out."""
    matrix = _counted(predictions, truths, classes)
    return float(matrix.iou()[matrix.counts.sum(1) > 0].mean())


def _one_pool(predictions: Sequence[Tensor], truths: Sequence[Tensor], classes: int) -> float:
    """All classes in one pool: intersections over unions summed over classes."""
    counts = _counted(predictions, truths, classes).counts.double()
    shared = counts.diagonal()
    return float(shared.sum() / (counts.sum(0) + counts.sum(1) - shared).sum())


def _iou_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)

    def picture(*rows: str) -> Tensor:
        return torch.tensor([[IGNORE if cell == "." else int(cell) for cell in row] for row in rows], dtype=torch.uint8)

    first = picture("0000", "0001"), picture("0000", "0011")
    second = picture("1111", "1111"), picture("1111", "1110")
    # class 0: shared 6, union 6 + 2; class 1: shared 8, union 8 + 2
    ignored = picture("0012", "0222"), picture("0011", "00..")
    random = [torch.randint(0, 4, (12, 9), generator=generator, dtype=torch.uint8) for _ in range(3)]
    noisy = [torch.where(torch.rand(12, 9, generator=generator) < 0.7, x, (x + 1) % 4) for x in random]
    some = [random[0], random[1] % 2, random[2] % 3]  # class 3 is in the first frame only
    some_found = [noisy[0], noisy[1] % 2, noisy[2] % 3]
    holes = [x.masked_fill(torch.rand(12, 9, generator=generator) < 0.2, IGNORE) for x in random]
    return (
        Case(
            ([first[0], second[0]], [first[1], second[1]], 2),
            "two frames of 2 x 4 pixels with two classes, a mistake of one pixel in each",
            expected=((6 / 8 + 8 / 10) / 2,),
        ),
        Case(([ignored[0]], [ignored[1]], 3), "a frame with two pixels that nobody labelled (255)"),
        Case(([first[0]], [first[1]], 5), "a frame in which classes 2, 3 and 4 never occur"),
        Case(([picture("0122")], [picture("0111")], 3), "a class that is predicted and never there"),
        Case((noisy, holes, 4), "three frames of random labels"),
        Case((some_found, some, 4), "three frames, of which one has all four classes, one three, one two"),
        Case((random, random, 4), "a perfect answer", expected=(1.0,)),
    )


_IOU_IDEAS = (
    Misconception(
        _per_frame,
        "This is the mean over frames of each frame's own mIoU. A frame with three pixels of a class then counts as "
        "much as one with three thousand. Add up the counts of all frames first, and divide once.",
    ),
    Misconception(
        _class_of_frames,
        "The IoU of each class was taken frame by frame and then averaged. Add up intersections and unions over all "
        "frames first, and divide once.",
    ),
    Misconception(
        _ignored_counts,
        "Pixels with truth 255 were counted: a prediction there is neither right nor wrong. Leave them out of both, "
        "intersection and union.",
    ),
    Misconception(
        _absent_as(0.0),
        "A class that occurs in neither truth nor prediction was counted as 0. It has no IoU: leave it out.",
    ),
    Misconception(
        _absent_as(1.0),
        "A class that occurs in neither truth nor prediction was counted as 1. It has no IoU: leave it out.",
    ),
    Misconception(
        _only_in_truth,
        "A class that was predicted and is never there has IoU 0, and that counts: leave out only classes in neither.",
    ),
    Misconception(
        _accuracy, "This is the share of right pixels. Large classes decide it alone; mIoU gives each class one vote."
    ),
    Misconception(_recall, "This is recall: shared over truth. False alarms cost nothing; divide by the union."),
    Misconception(_dice, "This is the Dice score, 2 · shared / (sum of both). IoU divides by the union."),
    Misconception(
        _one_pool,
        "All classes went into one pool, so large ones decide. Divide for each class, then take the mean.",
    ),
)


def _why_not_iou(case: Case, got: Any, expected: float) -> str | None:
    if isinstance(got, float) and abs(got - 100 * expected) < 1e-6 and expected:
        return "That is percent. Return the share, 0 … 1."
    return first_fault(_IOU_IDEAS)(case, got, expected)


MEAN_IOU = Exercise(
    name="mean_iou",
    reference=mean_iou,
    cases=_iou_cases,
    misconceptions=_IOU_IDEAS,
    diagnose=_why_not_iou,
)

EXERCISES = [WARP_BACK, RESIZE_FLOW, COMPOSE_FLOWS, LOST_PIXELS, FRAMES_PER_SECOND, MEAN_IOU]
