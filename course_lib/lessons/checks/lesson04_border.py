"""Exercises of lesson 04 about what is learnt: the balanced loss, and border-distance classes.

The traps are the frames that are empty: without the object a weight can become 0 and a distance can become anything.
`lesson04` lists these exercises.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.recurrent import distance as library

# -- a fair share for small objects -----------------------------------------------------------------------------------


def balanced_loss(logits: Tensor, masks: Tensor) -> Tensor:
    return _weighted(logits, masks, (1 - masks).mean())


def _weighted(logits: Tensor, masks: Tensor, beta: Tensor | float, rest: Tensor | float | None = None) -> Tensor:
    """Mean of binary cross-entropy with weight beta on object pixels and `rest` (1 - beta) on the others."""
    rest = 1 - beta if rest is None else rest
    return -(beta * masks * F.logsigmoid(logits) + rest * (1 - masks) * F.logsigmoid(-logits)).mean()


def _per_frame(masks: Tensor) -> Tensor:
    """Share of background of each frame, [B, 1, 1]."""
    return (1 - masks).mean(dim=(1, 2), keepdim=True)


def _by_logarithms(logits: Tensor, masks: Tensor) -> Tensor:
    beta, probs = (1 - masks).mean(), logits.sigmoid()
    return -(beta * masks * probs.log() + (1 - beta) * (1 - masks) * (1 - probs).log()).mean()


def _without_logarithms(logits: Tensor, masks: Tensor) -> Tensor:
    beta, probs = (1 - masks).mean(), logits.sigmoid()
    return -(beta * masks * probs + (1 - beta) * (1 - masks) * (1 - probs)).mean()


def _loss_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    small = torch.zeros(1, 64, 64)
    small[0, 8:16, 8:16] = 1
    beta = 1 - 64 / 4096  # 0.984375
    logits = 2 * torch.randn(3, 12, 10, generator=generator)
    masks = torch.zeros(3, 12, 10)
    masks[0, 2:5, 2:6], masks[1, 3:10, 3:9] = 1, 1  # the third frame does not show the object
    far = torch.tensor([[[-200.0, 300.0], [-5.0, 4.0]]])
    return (
        Case(
            (torch.zeros(1, 64, 64), small),
            "64 object pixels of 64 x 64, every logit 0",
            expected=(torch.tensor(2 * beta * (1 - beta) * math.log(2)),),
        ),
        Case((logits[:2], masks[:2]), "two frames with the object, one small and one large"),
        Case((logits, masks), "three frames, of which the last does not show the object"),
        Case((logits[:1] * 0, masks[:1]), "a network that is undecided everywhere"),
        Case((far, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])), "logits that are very sure and wrong"),
        Case(
            (logits, masks > 0),
            "three frames, the gradient to the logits",
            use=lambda loss, x, y: loss(x, y.float()),  # the masks get none
            gradient=True,
        ),
    )


_PER_FRAME = (
    "Each frame has a weight of its own. In a frame without the object that weight is 1, the background weighs 0, and "
    "seeing things that are not there costs nothing. One beta for the whole batch."
)
_SWAPPED = (
    "The weights are the wrong way round: beta is the share of BACKGROUND, and it goes to the object pixels. The rarer "
    "the object, the more each of its pixels weighs."
)

_LOSS_IDEAS = (
    Misconception(lambda x, y: _weighted(x, y, y.mean()), _SWAPPED),
    Misconception(lambda x, y: _weighted(x, y, _per_frame(y)), _PER_FRAME),
    Misconception(lambda x, y: _weighted(x, y, 0.5), "Both classes weigh 0.5: a large background still decides alone."),
    Misconception(
        lambda x, y: _weighted(x, y, 1.0, 1.0),
        "This is plain cross-entropy: 64 object pixels against 4032 of background.",
    ),
    Misconception(
        lambda x, y: _weighted(x, y, 1.0, 0.0), "The background does not count: an object everywhere would be perfect."
    ),
    Misconception(
        lambda x, y: _weighted(x, y, (1 - y).mean(), 1.0),
        "The background has weight 1. It has 1 - beta, so that both classes weigh the same in total.",
    ),
    Misconception(
        lambda x, y: balanced_loss(x, y) * x.numel(),
        "The sum over pixels: its size depends on the image. Take the mean.",
    ),
    Misconception(
        lambda x, y: balanced_loss(x, y) * x[0].numel(),
        "Summed over the pixels, averaged over the frames: take the mean over both.",
    ),
    Misconception(lambda x, y: -balanced_loss(x, y), "The sign is wrong: a loss is minus the log-probability."),
    Misconception(
        lambda x, y: _weighted(-x, y, (1 - y).mean()),
        "Object and background are exchanged: logsigmoid(logits) is log P(object), logsigmoid(-logits) that of the "
        "background.",
    ),
    Misconception(
        _by_logarithms,
        "log(sigmoid(x)) is minus infinity where the sigmoid has become 0. `F.logsigmoid` stays exact.",
    ),
    Misconception(_without_logarithms, "The probabilities have no logarithm: a sure mistake hardly costs more."),
    Misconception(
        lambda x, y: balanced_loss(x, y) / balanced_loss(torch.zeros_like(x), y),
        "The loss was divided by that of an undecided network. Only the two weights are asked for.",
    ),
)


def _why_not_loss(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.ndim > 0:
        return "One number is asked for: the mean over all pixels of all frames."
    if isinstance(got, float):
        return "A Python number carries no gradient: return the tensor."
    return first_fault(_LOSS_IDEAS)(case, got, expected)


BALANCED_LOSS = Exercise(
    name="balanced_loss", reference=balanced_loss, cases=_loss_cases, misconceptions=_LOSS_IDEAS, diagnose=_why_not_loss
)


# -- classes by distance to the edge ----------------------------------------------------------------------------------


def distance_classes(mask: Tensor, radius: int, width: int) -> Tensor:
    return library.distance_classes(mask, radius, width)


def _distance(mask: Tensor, transform: Callable[..., Any] = ndimage.distance_transform_edt) -> Tensor:
    """Distance to the nearest pixel of the other class; where there is none, whatever the transform says."""
    inside, outside = (torch.as_tensor(transform(m.numpy())).double() for m in (mask, ~mask))
    return torch.where(mask, inside, outside)


def _sorted(
    mask: Tensor, radius: int, width: int, bin_of: Callable[[Tensor], Tensor], absent: bool = True, most: int = 0
) -> Tensor:
    """Classes from a rule that says which bin a distance belongs to; `most` is added to k as the last bin."""
    k = radius // width
    bins = bin_of(_distance(mask)).long().clamp(0, k + most)
    classes = torch.where(mask, k + 1 + bins, k - bins)
    if absent and (mask.all() or not mask.any()):
        return torch.full_like(classes, 2 * k + 1 if mask.any() else 0)
    return classes


def _bins(width: int) -> Callable[[Tensor], Tensor]:
    return lambda d: (d / width).ceil() - 1


def _on_the_edge(mask: Tensor, radius: int, width: int) -> Tensor:
    """Distances from boundary pixels of the object, where they are 0."""
    ring = mask & (_distance(mask) <= 1)
    if not ring.any():
        return distance_classes(mask, radius, width)
    k = radius // width
    bins = (torch.as_tensor(ndimage.distance_transform_edt(~ring.numpy())) / width).ceil().long().clamp(1, k + 1) - 1
    return torch.where(mask, k + 1 + bins, k - bins)


def _line(text: str) -> Tensor:
    """[1, W] mask from "000111100"."""
    return torch.tensor([[letter == "1" for letter in text]])


def _class_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    away = ((y - 31.5) ** 2 + (x - 31.5) ** 2).sqrt()
    spots = torch.rand(20, 24, generator=generator) < 0.06
    nothing = torch.zeros(9, 12, dtype=torch.bool)
    return (
        Case(
            (_line("000111100"), 2, 1),
            "the row 0 0 0 1 1 1 1 0 0, radius 2, bins of 1",
            expected=(torch.tensor([[0, 1, 2, 3, 4, 4, 3, 2, 1]]),),
        ),
        Case((away <= 24, 20, 1), "a disk of radius 24 with 42 classes"),
        Case((away <= 24, 20, 10), "a disk of radius 24 with 6 classes"),
        Case(((away <= 26) & (away > 12), 12, 3), "a ring with 10 classes"),
        Case((spots, 6, 2), "scattered pixels with 8 classes"),
        Case((nothing, 4, 1), "the object is absent", expected=(torch.zeros(9, 12, dtype=torch.long),)),
        Case((~nothing, 4, 1), "the object fills the frame", expected=(torch.full((9, 12), 9),)),
    )


_ABSENT = (
    "Without the object there is no edge to measure from, and a distance transform returns nonsense. Absent means: "
    "every pixel is class 0."
)
_FULL = "An object that fills the frame has no edge: every pixel is deep inside, class 2k + 1."

_CLASS_IDEAS = (
    Misconception(
        lambda m, r, s: _sorted(m, r, s, lambda d: (d / s).floor()),
        "The distance was rounded down. The nearest pixel of the other class is at least 1 away, so with bins of 1 the "
        "two classes at the edge would never occur. The bin is ceil(d / s) - 1.",
    ),
    Misconception(
        lambda m, r, s: 2 * (r // s) + 1 - distance_classes(m, r, s),
        "Inside and outside are exchanged: class 0 is far outside, the highest one deep inside.",
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, lambda d: d - 1),
        "The width of the bins is not used: a bin holds `width` pixels, and K = 2 · R / s + 2.",
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, _bins(s), most=-1),
        "The two far classes are missing: beyond the radius there is one more bin on each side, min(b, k).",
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, _bins(s), most=1000),
        "The distance is not cut off at the radius: far away all pixels share one class.",
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, lambda d: (d / s).ceil()),
        "Off by one: with b = ceil(d / s) the pixel that touches the edge is in bin 1. Subtract 1.",
    ),
    Misconception(
        lambda m, r, s: torch.where(m, distance_classes(m, r, s), 0),
        "Only the inside was measured. Outside, distances say where the edge is as well: both sides have bins.",
    ),
    Misconception(
        lambda m, r, s: distance_classes(m, r, s) - (r // s) - (~m).long(),
        "These are signed distances. Classes count from 0: add k + 1 inside, and k outside.",
    ),
    Misconception(
        lambda m, r, s: _sorted(
            m, r, s, lambda d: (_distance(m, lambda a: ndimage.distance_transform_cdt(a, "taxicab")) / s).ceil() - 1
        ),
        "The distance is counted in steps along rows and columns. It is the Euclidean one: distance_transform_edt.",
    ),
    Misconception(
        lambda m, r, s: _sorted(
            m, r, s, lambda d: (_distance(m, lambda a: ndimage.distance_transform_cdt(a, "chessboard")) / s).ceil() - 1
        ),
        "A diagonal step counts as 1. The distance is the Euclidean one: distance_transform_edt.",
    ),
    Misconception(
        _on_the_edge,
        "The distance was taken from the object's own boundary pixels, so the bins are shifted on one side. It is "
        "that to the nearest pixel of the OTHER class, on both sides.",
    ),
    Misconception(
        lambda m, r, s: torch.zeros_like(m, dtype=torch.long) if m.all() else distance_classes(m, r, s), _FULL
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, _bins(s), absent=False) if not m.any() else distance_classes(m, r, s), _ABSENT
    ),
    Misconception(
        lambda m, r, s: _sorted(m, r, s, _bins(s), absent=False), f"{_ABSENT} The same when it fills it all."
    ),
    Misconception(
        lambda m, r, s: torch.full_like(m, r // s, dtype=torch.long) if not m.any() else distance_classes(m, r, s),
        _ABSENT,
    ),
)


def _why_not_classes(case: Case, got: Any, expected: Tensor) -> str | None:
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        return None
    if not got.is_floating_point() and torch.equal(got.long(), expected):
        return None  # another dtype, which the check names
    mask = case.fresh_inputs()[0]
    if not mask.any():
        return _ABSENT
    if mask.all():
        return _FULL
    return first_fault(_CLASS_IDEAS)(case, got, expected)


DISTANCE_CLASSES = Exercise(
    name="distance_classes",
    reference=distance_classes,
    cases=_class_cases,
    misconceptions=_CLASS_IDEAS,
    diagnose=_why_not_classes,
)
