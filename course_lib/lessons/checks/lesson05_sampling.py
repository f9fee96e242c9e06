"""Exercises of lesson 05 about scheduled sampling: how likely a true mask is, and which mask each step is fed.

A step is fed the mask of the frame before it, so the traps are off by one; and the mask must stay soft, or nothing
flows back through it. `lesson05` lists these exercises.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- chance of the truth ----------------------------------------------------------------------------------------------


def truth_probability(epoch: int, start: int = 300, slope: float = 0.004, floor: float = 0.5) -> float:
    return min(1.0, max(floor, 1 - slope * (epoch - start)))


_PROBABILITY_IDEAS = (
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: 1 - slope * max(0, e - start),
        "The floor is missing: the chance goes on falling, in the end below 0.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: max(0.0, 1 - slope * max(0, e - start)),
        "It stops at 0 and not at `floor`: some true masks are kept until the end.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: max(floor, 1 - slope * e),
        "The fall begins at epoch 0. Until `start` the network cannot segment yet, and its own masks are noise: only "
        "from there on the chance falls.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: max(floor, 1 - slope * (e - start)),
        "Before `start` this is above 1: a probability is at most 1.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: 1.0 if e <= start else floor,
        "It falls at once to the floor. It should fall by `slope` in each epoch.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: 1 - truth_probability(e, start, slope, floor),
        "This is the chance of the network's own mask, 1 - epsilon.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: min(1.0, max(floor, 1 - (e - start) / 750)),
        "`slope` is not used: it is what the chance loses in each epoch.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: 1.0 if e <= start else max(floor, 1 - slope * (e - start + 1)),
        "Off by one epoch: at `start` itself the chance is still 1, one epoch later it is 1 - slope.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: truth_probability(e),
        "The numbers of the published training stand in the body. Use the arguments, so that a short training can use "
        "the function too.",
    ),
    Misconception(
        lambda e, start=300, slope=0.004, floor=0.5: max(floor, (1 - slope) ** max(0, e - start)),
        "This falls by a share of what is left. Here the fall is a straight line: the same amount in each epoch.",
    ),
)

TRUTH_PROBABILITY = Exercise(
    name="truth_probability",
    reference=truth_probability,
    cases=(
        Case((300,), "epoch 300", expected=(1.0,)),
        Case((350,), "epoch 350", expected=(0.8,)),
        Case((400,), "epoch 400", expected=(0.6,)),
        Case((425,), "epoch 425", expected=(0.5,)),
        Case((749,), "epoch 749, the last one", expected=(0.5,)),
        Case((0,), "epoch 0", expected=(1.0,)),
        Case((301,), "epoch 301", expected=(0.996,)),
        Case((30, 10, 0.02, 0.25), "epoch 30 of a short training: start 10, slope 0.02, floor 0.25", expected=(0.6,)),
        Case((300, 10, 0.02, 0.25), "the end of a short training", expected=(0.25,)),
        Case((300, 10, 0.02, 0.0), "the end of a short training without a floor", expected=(0.0,)),
    ),
    misconceptions=_PROBABILITY_IDEAS,
    diagnose=first_fault(_PROBABILITY_IDEAS),
)


# -- which mask is handed on ------------------------------------------------------------------------------------------


def masks_fed(truth: Tensor, logits: Tensor, teacher: Tensor) -> Tensor:
    return _handed_on(truth, logits.sigmoid(), teacher)


def _handed_on(truth: Tensor, own: Tensor, teacher: Tensor) -> Tensor:
    """Masks of frames 0 … T-2: the first one given, then truth or own answer as the teacher says."""
    later = torch.where(teacher[1:-1, None, None], truth[1:-1], own[:-1])  # [T-2, H, W]
    return torch.cat([truth[:1], later])


def _clip(length: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(length, 4, 5, generator=generator) > 0.6).float()
    logits = 2 * torch.randn(length - 1, 4, 5, generator=generator)
    teacher = torch.rand(length, generator=generator) > 0.5
    teacher[0], teacher[1], teacher[2] = False, True, False  # frame 0 is given, whatever the teacher says
    return truth, logits, teacher


def _fed_cases() -> tuple[Case, ...]:
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None, None]  # [T, 1, 1]
    logits = torch.tensor([2.0, -1.0, 0.5])[:, None, None]
    soft = logits.sigmoid()
    never, always = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    mixed = torch.tensor([False, False, True, False])
    clip = _clip(7, 0)
    return (
        Case(
            (truth, logits, mixed),
            "4 frames of one pixel: truth 1 0 1 0, logits 2, -1, 0.5 of frames 1 to 3, teacher in frame 2 only",
            expected=(torch.stack([truth[0], soft[0], truth[2]]),),
        ),
        Case((truth, logits, never), "never a teacher, as in use", expected=(torch.cat([truth[:1], soft[:-1]]),)),
        Case((truth, logits, always), "always the truth: teacher forcing", expected=(truth[:-1],)),
        Case(clip, "7 frames of 4 x 5 pixels"),
        Case((truth[:2], logits[:1], never[:2]), "2 frames: one step", expected=(truth[:1],)),
        Case(
            (clip[0] > 0, *clip[1:]),
            "7 frames, the gradient to the logits",
            use=lambda fed, truth, logits, teacher: fed(truth.float(), logits, teacher),
            gradient=True,
        ),
    )


def _ungiven(truth: Tensor, logits: Tensor, teacher: Tensor) -> Tensor:
    """Frame 0 as if it were predicted too."""
    own = torch.cat([torch.zeros_like(logits[:1]), logits.sigmoid()])
    return torch.where(teacher[:-1, None, None], truth[:-1], own[:-1])


def _in_the_frame_itself(truth: Tensor, logits: Tensor, teacher: Tensor) -> Tensor:
    return torch.where(teacher[1:, None, None], truth[1:], logits.sigmoid())


def _with(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda truth, logits, teacher: _handed_on(truth, change(logits), teacher)


_FED_IDEAS = (
    Misconception(
        _in_the_frame_itself,
        "Step t was fed the mask of frame t, its own answer, or worse, its own truth: it would only have to copy. It "
        "is fed the mask of frame t - 1.",
    ),
    Misconception(
        _ungiven,
        "The first step was not fed the given mask. Frame 0 has no answer: its mask is given, whatever the teacher "
        "says.",
    ),
    Misconception(
        _with(lambda x: (x > 0).float()),
        "The network's own masks were cut into 0 and 1. Soft masks tell how sure it was, and let the gradient through.",
    ),
    Misconception(_with(lambda x: x), "These are logits. A mask lies between 0 and 1: sigmoid."),
    Misconception(
        lambda truth, logits, teacher: masks_fed(truth, logits, ~teacher),
        "The teacher is the wrong way round: where it is True, the truth is handed on.",
    ),
    Misconception(
        lambda truth, logits, teacher: _handed_on(truth, logits.sigmoid(), teacher.roll(-1)),
        "The teacher is off by one: `teacher[t]` decides about the mask of frame t, which is fed to step t + 1.",
    ),
    Misconception(
        lambda truth, logits, teacher: torch.cat([truth[:1], logits.sigmoid()[:-1]]),
        "The teacher is not used: the network was fed its own masks only.",
    ),
    Misconception(lambda truth, logits, teacher: truth[:-1].clone(), "Only true masks: the teacher is not used."),
    Misconception(
        lambda truth, logits, teacher: torch.cat(
            [truth[:1], torch.where(teacher[1:-1, None, None], truth[1:-1], logits.sigmoid()[1:])]
        ),
        "The answers are off by one: `logits[0]` belongs to frame 1, so the mask of frame t is `logits[t - 1]`.",
    ),
    Misconception(
        lambda truth, logits, teacher: torch.cat(
            [masks_fed(truth, logits, teacher), torch.where(teacher[-1], truth[-1:], logits.sigmoid()[-1:])]
        ),
        "One mask too many: T frames have T - 1 steps, and the mask of the last frame is fed to nobody.",
    ),
    Misconception(
        _with(lambda x: x.sigmoid().detach()),
        "The values are right, but the masks were detached: a step would never learn how its mask serves the next "
        "one. (Some trainings do detach, to save memory.)",
    ),
)


def _why_not_fed(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.shape == expected.shape and bool(((got < 0) | (got > 1)).any()):
        return "A mask lies between 0 and 1: the network's answers are logits, and go through a sigmoid."
    return first_fault(_FED_IDEAS)(case, got, expected)


MASKS_FED = Exercise(
    name="masks_fed", reference=masks_fed, cases=_fed_cases, misconceptions=_FED_IDEAS, diagnose=_why_not_fed
)
