"""Exercises of lesson 02: scheduled_steps, dynamic_share, mixed_batch, updates_on_originals, paired_difference.

Here are those that make a curriculum: how far images are processed in which epoch, and which view of each image is
trained on. Those that compare curricula fairly are in `lesson02_compare`. All five names stand above because an
exercise is looked for only where it is mentioned.
"""

import math
from collections.abc import Callable
from operator import index
from typing import Any

import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.checks.lesson02_compare import PAIRED_DIFFERENCE, UPDATES_ON_ORIGINALS
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer.curriculum import DynamicMixedBatch, IncrementalDifficulty, Shape

# -- schedules --------------------------------------------------------------------------------------------------------


def scheduled_steps(epoch: int, steps: int, shape: Shape) -> int:
    return IncrementalDifficulty(steps, shape).depth(epoch)


def _curve(epoch: int, steps: int, shape: Shape) -> float:
    """Steps before the fraction is dropped; may be negative after the end."""
    if shape == "linear":
        return steps - epoch // 5
    if shape == "cosine":
        return steps * math.cos(0.5 * math.pi * min(1.0, epoch / (5 * steps)))
    return steps * math.exp(-epoch / 30)


def _over_epochs(function: Callable[[int, int, Shape], int], steps: int, shape: Shape, epochs: tuple[int, ...]) -> list:
    """The schedule at some epochs. Raises `InputError` for a number of steps that cannot be used as an index."""
    found = []
    for epoch in epochs:
        answer = function(epoch, steps, shape)
        try:
            found.append(index(answer))
        except TypeError:
            raise InputError(
                f"a number of steps is a whole number, got {answer!r} for {shape}, T = {steps}, at epoch {epoch}"
            ) from None
    return found


_EPOCHS = (0, 10, 20, 30, 40, 50, 60, 80, 90, 100)
_TABLE: dict[Shape, list[int]] = {
    "linear": [20, 18, 16, 14, 12, 10, 8, 4, 2, 0],
    "cosine": [20, 19, 19, 17, 16, 14, 11, 6, 3, 0],
    "exponential": [20, 14, 10, 7, 5, 3, 2, 1, 0, 0],
}


def _schedule_cases() -> tuple[Case, ...]:
    table = tuple(
        Case((20, shape, _EPOCHS), f"{shape}, T = 20, epochs {', '.join(map(str, _EPOCHS))}", _over_epochs, (values,))
        for shape, values in _TABLE.items()
    )
    late = tuple(
        Case((20, shape, (101, 150, 260, 320)), f"{shape}, long after the end", _over_epochs, ([0, 0, 0, 0],))
        for shape in _TABLE
    )
    long = (4, 37, 39, 111, 113, 197, 199, 200)
    return (
        *table,
        *late,
        Case((40, "linear", long), f"linear, T = 40, epochs {long}", _over_epochs, ([40, 33, 33, 18, 18, 1, 1, 0],)),
        Case((40, "cosine", long), f"cosine, T = 40, epochs {long}", _over_epochs),
        Case((40, "exponential", long), f"exponential, T = 40, epochs {long}", _over_epochs),
    )


_Schedule = Callable[[int, int], int | float]

# Wrong ideas about one of the shapes.
_SCHEDULE_IDEAS: tuple[tuple[Shape, _Schedule, str], ...] = (
    ("linear", lambda e, t: t - e // 5, "The linear schedule goes below zero after its end. It stays at 0: originals."),
    (
        "linear",
        lambda e, t: max(0, math.floor(t - e / 5)),
        "The linear schedule loses its first step at once: floor(T - e / 5) is T - 1 at epoch 1 already. A step goes "
        "after every 5 whole epochs: T - e // 5.",
    ),
    (
        "linear",
        lambda e, t: max(0, t - e),
        "The linear schedule loses a step in every epoch; it loses one in 5 epochs, so that the classifier has time.",
    ),
    (
        "linear",
        lambda e, t: min(t, e // 5),
        "The linear schedule runs backwards: it starts with originals, which are hard, and ends with processed images, "
        "which nobody will see at test time. Start at T, end at 0.",
    ),
    (
        "cosine",
        lambda e, t: math.floor(math.cos(e * math.pi / (2 * t))),
        "This is the cosine as printed: without the factor T it is 1 at epoch 0, then 0, later -1.",
    ),
    (
        "cosine",
        lambda e, t: math.floor(t * math.cos(e * math.pi / (10 * t))),
        "The cosine goes on after its end, below zero and up again. From epoch 5 T on it is 0.",
    ),
    (
        "cosine",
        lambda e, t: max(0, math.floor(t * math.cos(e * math.pi / (10 * t)))),
        "The cosine comes back: 10 T epochs after its end it is positive again. From epoch 5 T on it stays 0.",
    ),
    (
        "cosine",
        lambda e, t: max(0, math.floor(t * math.cos(min(e, t) * math.pi / (2 * t)))),
        "The cosine ends at epoch T, five times too early: the three schedules should end at about the same epoch, so "
        "that only their shape is compared. Use 5 T.",
    ),
    (
        "cosine",
        lambda e, t: math.floor(t * (1 + math.cos(math.pi * min(e, 5 * t) / (5 * t))) / 2),
        "This is half a period, as for learning rates: flat at both ends. Here a quarter: cos from 0 to π/2, flat at "
        "the start, steep at the end.",
    ),
    (
        "exponential",
        lambda e, t: math.floor(math.exp(-e * t / 30)),
        "This is the exponential as printed: without the factor T in front it is 1 at epoch 0 and 0 ever after.",
    ),
    (
        "exponential",
        lambda e, t: math.floor(t * math.exp(-e * t / 30)),
        "T stands in the exponent too: the schedule is over after 5 epochs. The exponent is -e / 30.",
    ),
)


def _with_schedule(changed: Shape, idea: _Schedule) -> Callable[[int, int, Shape], int | float]:
    return lambda epoch, steps, shape: idea(epoch, steps) if shape == changed else scheduled_steps(epoch, steps, shape)


_ROUNDED = "The number of steps was rounded. Drop the fraction: 2.9 steps are 2 whole ones and an unfinished third."

_STEP_IDEAS = (
    *(Misconception(_with_schedule(shape, idea), cause) for shape, idea, cause in _SCHEDULE_IDEAS),
    Misconception(lambda e, t, shape: max(0, round(_curve(e, t, shape))), _ROUNDED),
    Misconception(lambda e, t, shape: max(0, math.ceil(_curve(e, t, shape))), _ROUNDED),
    Misconception(
        lambda e, t, shape: float(scheduled_steps(e, t, shape)),
        "The result is no whole number, so it cannot say which view of an image to take: math.floor.",
    ),
)

SCHEDULED_STEPS = Exercise(
    name="scheduled_steps",
    reference=scheduled_steps,
    cases=_schedule_cases,
    misconceptions=_STEP_IDEAS,
    diagnose=first_fault(_STEP_IDEAS),
)


# -- dynamic mixed batch ----------------------------------------------------------------------------------------------


def dynamic_share(epoch: int, batch: int) -> int:
    return DynamicMixedBatch(epochs=batch).processed(epoch, batch)


DYNAMIC_SHARE = Exercise(
    name="dynamic_share",
    reference=dynamic_share,
    cases=(
        Case((0, 64), "epoch 0, batches of 64", expected=(64,)),
        Case((10, 64), "epoch 10, batches of 64", expected=(54,)),
        Case((63, 64), "epoch 63, batches of 64", expected=(1,)),
        Case((64, 64), "epoch 64, batches of 64: the first on originals only", expected=(0,)),
        Case((200, 64), "epoch 200, batches of 64", expected=(0,)),
        Case((8, 32), "epoch 8, batches of 32", expected=(24,)),
    ),
    misconceptions=(
        Misconception(
            lambda e, b: b - e, "After the last processed image is gone there is a negative number of them: stop at 0."
        ),
        Misconception(
            lambda e, b: min(b, e),
            "This is the number of originals. Asked for are the processed images, which start as the whole batch.",
        ),
        Misconception(
            lambda e, b: max(0, b - e - 1), "Off by one: epoch 0 is the first, and all of its images are processed."
        ),
        Misconception(
            lambda e, b: max(0, b - max(0, e - 1)), "Off by one: the first image less is in epoch 1, the second epoch."
        ),
        Misconception(lambda e, b: max(0.0, 1 - e / b), "This is a share. Asked for is a number of images."),
        Misconception(
            lambda e, b: max(0, 64 - e), "64 is written into the answer: the size of the batch is an argument."
        ),
        Misconception(
            lambda e, b: b // 2**e, "Halved in every epoch: over after seven. One image fewer per epoch is asked for."
        ),
        Misconception(lambda e, b: b, "The share never changes: this is the plain mixed batch. Use the epoch."),
    ),
)


# -- one view of each image -------------------------------------------------------------------------------------------


def mixed_batch(views: Tensor, steps: Tensor) -> Tensor:
    return views[torch.arange(len(views), device=views.device), steps]


def _film(images: int, moves: int) -> Tensor:
    """Pictures of a single pixel whose value says image and step: 21 is image 2 after 1 move. [B, T + 1, 1, 1, 1]"""
    number = 10.0 * torch.arange(images)[:, None] + torch.arange(moves + 1)
    return number[:, :, None, None, None]


def _batch_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    views = torch.rand(4, 6, 1, 3, 5, generator=generator)
    chosen = torch.tensor([2.0, 10.0, 21.0])[:, None, None, None]
    return (
        Case(
            (_film(3, 2), torch.tensor([2, 0, 1])),
            "3 images of one pixel, 0 to 2 moves, pixel = 10 · image + moves; steps 2, 0, 1",
            expected=(chosen,),
        ),
        Case((views, torch.tensor([0, 5, 5, 2])), "4 images of 3 x 5 pixels, 0 to 5 moves; steps 0, 5, 5, 2"),
        Case((views, torch.zeros(4, dtype=torch.long)), "no steps: the originals", expected=(views[:, 0],)),
        Case((views, torch.full((4,), 5)), "all steps: fully processed", expected=(views[:, 5],)),
        Case((views[:1], torch.tensor([3])), "a batch of one image", expected=(views[:1, 3],)),
        Case((_film(4, 3), torch.tensor([3, 2, 1, 0])), "as many images as views of each; steps 3, 2, 1, 0"),
    )


def _why_not_mixed(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.shape[1:] == expected.shape[1:] and len(got) > len(expected):
        return "The batch has grown: a processed image replaces its original, it does not join it."
    return None


MIXED_BATCH = Exercise(
    name="mixed_batch",
    reference=mixed_batch,
    cases=_batch_cases,
    misconceptions=(
        Misconception(
            lambda v, s: v[:, s],
            "`views[:, steps]` takes every listed step of every image: B · B pictures. To pair image 0 with its own "
            "step, image 1 with its own, …, index both axes: views[arange(B), steps].",
        ),
        Misconception(
            lambda v, s: v[:, s[0]], "Every image got the steps of the first one. Each has a number of its own."
        ),
        Misconception(
            lambda v, s: mixed_batch(v, v.shape[1] - 1 - s),
            "The steps were counted from the end: step 0 is the original, step T the fully processed view.",
        ),
        Misconception(
            lambda v, s: mixed_batch(v, s - 1),
            "Off by one: views[:, 0] is the original, after no step. With steps - 1, an original even becomes -1, the "
            "last view.",
        ),
        Misconception(
            lambda v, s: v[s, torch.arange(len(v)) % v.shape[1]],
            "The axes are exchanged: the first axis of `views` is the image, the second the step.",
        ),
        Misconception(lambda v, s: v[s], "The steps choose images: they were used on the first axis."),
        Misconception(lambda v, s: v[:, 0], "Only originals: `steps` is not used."),
        Misconception(lambda v, s: v[:, -1], "Only fully processed images: `steps` is not used."),
        Misconception(
            lambda v, s: torch.stack([v[i, : k + 1].mean(0) for i, k in enumerate(s)]),
            "The views were averaged. Train on one view of each image, the one after its number of steps.",
        ),
        Misconception(
            lambda v, s: torch.where((s > 0)[:, None, None, None], v[:, -1], v[:, 0]),
            "An image is either original or fully processed here. A number of steps may lie between.",
        ),
    ),
    diagnose=_why_not_mixed,
)

EXERCISES = [SCHEDULED_STEPS, DYNAMIC_SHARE, MIXED_BATCH, UPDATES_ON_ORIGINALS, PAIRED_DIFFERENCE]
