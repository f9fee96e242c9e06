"""Exercises of lesson 02 about a fair comparison: how much training each curriculum gets, and how sure a difference is.

A schedule decides how many updates are left for originals, and two accuracies from the same random seed belong
together. `lesson02` lists these exercises.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- updates ----------------------------------------------------------------------------------------------------------


def updates_on_originals(schedule: Sequence[int], images: int, batch: int) -> tuple[int, int]:
    per_epoch = math.ceil(images / batch)
    return len(schedule) * per_epoch, list(schedule).count(0) * per_epoch


def _linear(steps: int, epochs: int) -> list[int]:
    return [max(0, steps - epoch // 5) for epoch in range(epochs)]


def _first_zero(schedule: Sequence[int]) -> int:
    """Epochs after the first one on originals, that one included."""
    return len(schedule) - list(schedule).index(0) if 0 in schedule else 0


def _per_epoch(images: int, batch: int) -> int:
    return math.ceil(images / batch)


_FULL = "The last, smaller batch of an epoch was left out: it is trained on too. Round up."

UPDATES_ON_ORIGINALS = Exercise(
    name="updates_on_originals",
    reference=updates_on_originals,
    cases=(
        Case(([2, 1, 0, 0, 0], 128, 64), "steps 2, 1, 0, 0, 0; 128 images in batches of 64", expected=((10, 6),)),
        Case(([2, 1, 0, 0, 0], 100, 64), "the same steps; 100 images in batches of 64", expected=((10, 6),)),
        Case(([0] * 7, 6000, 64), "no curriculum: 7 epochs of originals, 6000 images", expected=((658, 658),)),
        Case((_linear(40, 150), 6000, 64), "linear, T = 40, stopped after 150 epochs", expected=((14100, 0),)),
        Case((_linear(40, 240), 6000, 64), "linear, T = 40, stopped after 240 epochs", expected=((22560, 3760),)),
        Case(([3, 0, 3, 0, 2, 1, 0], 10, 4), "steps 3, 0, 3, 0, 2, 1, 0; 10 images, batches of 4", expected=((21, 9),)),
    ),
    misconceptions=(
        Misconception(
            lambda s, n, b: (len(s) * (n // b), list(s).count(0) * (n // b)),
            f"{_FULL} 100 images in batches of 64 are 2 updates.",
        ),
        Misconception(
            lambda s, n, b: (len(s) * n / b, list(s).count(0) * n / b),
            "There are no fractions of an update: a part of a batch is an update as well. Round up, for each epoch.",
        ),
        Misconception(
            lambda s, n, b: (math.ceil(len(s) * n / b), math.ceil(list(s).count(0) * n / b)),
            "Rounded up once for the whole training. Every epoch ends with its own smaller batch: round up per epoch, "
            "then multiply.",
        ),
        Misconception(
            lambda s, n, b: (len(s), list(s).count(0)),
            "These are epochs. An update is one batch: an epoch has as many as there are batches.",
        ),
        Misconception(lambda s, n, b: (len(s) * n, list(s).count(0) * n), "These are images. An update is one batch."),
        Misconception(
            lambda s, n, b: (len(s) * _per_epoch(n, b), (len(s) - list(s).count(0)) * _per_epoch(n, b)),
            "The second number counts the epochs with processed images. Steps 0 are the originals.",
        ),
        Misconception(
            lambda s, n, b: (len(s) * _per_epoch(n, b), _first_zero(s) * _per_epoch(n, b)),
            "After the first 0 everything was counted as originals, but a schedule may go up again. Count the zeros.",
        ),
        Misconception(
            lambda s, n, b: (len(s) * _per_epoch(n, b), list(s).count(1) * _per_epoch(n, b)),
            "One step is not an original: it has been moved once. Count the epochs of 0 steps.",
        ),
        Misconception(
            lambda s, n, b: (sum(s) * _per_epoch(n, b), list(s).count(0) * _per_epoch(n, b)),
            "The steps were summed up. How far images are processed does not change the number of updates: count the "
            "epochs.",
        ),
        Misconception(
            lambda s, n, b: (
                (len(s) - list(s).count(0)) * _per_epoch(n, b),
                list(s).count(0) * _per_epoch(n, b),
            ),
            "The first number counts the curriculum only. Updates in all are those on originals as well.",
        ),
    ),
)


# -- difference of pairs ----------------------------------------------------------------------------------------------


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    difference = first - second
    return difference.mean().item(), difference.std().item() / math.sqrt(len(difference))


def _unpaired(first: Tensor, second: Tensor) -> float:
    return math.sqrt((first.var() + second.var()) / len(first))


def _mean(first: Tensor, second: Tensor) -> float:
    return (first - second).mean().item()


def _pair_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    level = 60 + 8 * torch.randn(10, generator=generator)
    noisy = level + 1.5 + torch.randn(10, generator=generator)
    return (
        Case(
            (torch.tensor([71.0, 62.0, 66.0, 57.0]), torch.tensor([70.0, 60.0, 63.0, 55.0])),
            "71, 62, 66, 57 % against 70, 60, 63, 55 %: differences 1, 2, 3, 2",
            expected=((2.0, math.sqrt(2 / 3) / 2),),
        ),
        Case((noisy, level), "10 random seeds whose level differs far more than the two schemes do"),
        Case((level[:2], noisy[:2]), "2 random seeds, the second scheme better"),
        Case(
            (torch.tensor([50.0, 40.0, 45.0]), torch.tensor([47.0, 37.0, 42.0])),
            "always 3 points better",
            expected=((3.0, 0.0),),
        ),
    )


def _why_not_pairs(case: Case, got: Any, expected: tuple[float, float]) -> str | None:
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Two numbers are asked for: the mean difference and its standard error."
    return None


PAIRED_DIFFERENCE = Exercise(
    name="paired_difference",
    reference=paired_difference,
    cases=_pair_cases,
    tolerance=1e-4,
    misconceptions=(
        Misconception(
            lambda a, b: (_mean(a, b), _unpaired(a, b)),
            "The two spreads were added as if the runs had nothing in common. Runs of one random seed share their data "
            "and start: take the differences first, then their spread. What they share cancels.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), (a - b).std().item()),
            "This is how much one difference scatters. The mean of n of them scatters √n times less.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), (a - b).std().item() / len(a)),
            "The deviation was divided by n. The standard error falls with √n.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), (a - b).var().item() / len(a)),
            "This is the square of the standard error: the root is missing.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), (a - b).std(correction=0).item() / math.sqrt(len(a))),
            "The deviation was divided by n, which is too small for a sample: the mean was estimated from the same "
            "numbers. Divide by n - 1, as torch does and NumPy does not by default.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), (a - b).std().item() / math.sqrt(len(a) - 1)),
            "n - 1 was counted twice: it belongs into the deviation (torch has it there); the error divides by √n.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), abs((a.std() - b.std()).item()) / math.sqrt(len(a))),
            "A difference of deviations is not the deviation of the differences: subtract run by run first.",
        ),
        Misconception(
            lambda a, b: ((a - b).abs().mean().item(), (a - b).abs().std().item() / math.sqrt(len(a))),
            "The differences lost their sign: chance alone would look like a gain. Keep the sign.",
        ),
        Misconception(
            lambda a, b: (_mean(b, a), (a - b).std().item() / math.sqrt(len(a))),
            "The difference has the wrong sign: first minus second, positive if the first is better.",
        ),
        Misconception(
            lambda a, b: ((a - b).median().item(), (a - b).std().item() / math.sqrt(len(a))),
            "This is the median. The standard error belongs to the mean.",
        ),
        Misconception(
            lambda a, b: (_mean(a, b), math.sqrt(a.mean() * (100 - a.mean()) / len(a))),
            "That is the error of an accuracy from that many test images. Here each number is a whole run, and what "
            "counts is how much the differences of the runs scatter.",
        ),
    ),
    diagnose=_why_not_pairs,
)
