"""Curricula from easier views: how many moves of a finished agent each training image of a batch has behind it.

F. Azimi (2024), section 5.4: an agent's episode leads from the original (0 moves, hard) to the finished view (T moves,
easy), and a curriculum says who sees what in which epoch. Unusual: two of the three printed schedules lack the factor
T and are 1, then 0 and less; the forms used here have it, and all three reach the originals at about the same time.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError

Shape = Literal["linear", "cosine", "exponential"]
BATCH = 64  # images per update as published; counts of processed images refer to it
_ROUNDING = 1e-9  # so that T cos(60 degrees) is T / 2 on every machine


class Curriculum(Protocol):
    """Anything that says how many moves the images of a batch have behind them."""

    @property
    def longest(self) -> int:
        """Most moves that it ever asks for: T."""
        ...

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        """Moves behind each image of a batch in this epoch (0 is the first), from 0 (original) to `longest`."""
        ...


@dataclass(frozen=True)
class FixedSteps:
    """All images with the same number of moves, always: 0 is training on originals, T on finished views alone."""

    longest: int = 0

    def __post_init__(self) -> None:
        _check_steps(self.longest, least=0)

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        return torch.full((batch_size,), self.longest)


@dataclass(frozen=True)
class MixedBatch:
    """A fixed number of finished views in every batch, beside originals (section 5.4.1; 4, 8, 16 and 32 of 64).

    Steps raises `InputError` for a batch smaller than `processed`.
    """

    longest: int = 40
    processed: int = 4

    def __post_init__(self) -> None:
        _check_steps(self.longest)
        if self.processed < 0:
            raise InputError(f"processed images per batch cannot be negative, got {self.processed}")

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        if self.processed > batch_size:
            raise InputError(f"a batch of {batch_size} cannot hold {self.processed} processed images")
        return _first(self.processed, batch_size, self.longest)


@dataclass(frozen=True)
class DynamicMixedBatch:
    """Finished views only, then fewer and fewer of them, then originals only (section 5.4.1).

    epochs  until the first epoch of originals only; 64 of them with batches of 64 take one view out per epoch, as
            published
    """

    longest: int = 40
    epochs: int = BATCH

    def __post_init__(self) -> None:
        _check_steps(self.longest)
        _check_epochs(self.epochs)

    def processed(self, epoch: int, batch_size: int = BATCH) -> int:
        """Finished views in a batch: k(e) = max(0, 64 - e) as published."""
        return linear_steps(epoch, batch_size, self.epochs)

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        return _first(self.processed(epoch, batch_size), batch_size, self.longest)


@dataclass(frozen=True)
class IncrementalDifficulty:
    """All images of a batch with the same number of moves, T at first and fewer by a schedule (section 5.4.2).

    epochs  horizon of the linear and the cosine schedule: the first epoch of originals only. None is the published
            pace, one move less every five epochs: 5 T
    decay   of the exponential schedule, in epochs
    """

    longest: int = 40
    shape: Shape = "linear"
    epochs: int | None = None
    decay: float = 30.0

    def __post_init__(self) -> None:
        _check_steps(self.longest)
        if self.shape not in get_args(Shape):
            raise InputError(f"shape must be one of {', '.join(get_args(Shape))}; got {self.shape!r}")
        if self.epochs is not None:
            _check_epochs(self.epochs)
        _check_decay(self.decay)

    def depth(self, epoch: int) -> int:
        """Moves behind every image of this epoch."""
        horizon = 5 * self.longest if self.epochs is None else self.epochs
        match self.shape:
            case "linear":
                return linear_steps(epoch, self.longest, horizon)
            case "cosine":
                return cosine_steps(epoch, self.longest, horizon)
        return exponential_steps(epoch, self.longest, self.decay)

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        return torch.full((batch_size,), self.depth(epoch))


@dataclass(frozen=True)
class GivenSteps:
    """A schedule drawn by hand: moves behind every image, epoch by epoch; the last number holds ever after."""

    by_epoch: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.by_epoch or min(self.by_epoch) < 0:
            raise InputError(f"a schedule needs a number of moves, 0 or more, for each epoch; got {self.by_epoch}")

    @property
    def longest(self) -> int:
        return max(self.by_epoch)

    def steps(self, epoch: int, batch_size: int) -> Int[Tensor, "b"]:
        _check_epoch(epoch)
        return torch.full((batch_size,), self.by_epoch[min(epoch, len(self.by_epoch) - 1)])


def linear_steps(epoch: int, longest: int, epochs: int) -> int:
    """max(0, T - floor(e T / E)): with E = 5 T one less every five epochs; 0 from epoch E on. Lesson 02."""
    _check_epoch(epoch)
    _check_epochs(epochs)
    return max(0, longest - epoch * longest // epochs)


def cosine_steps(epoch: int, longest: int, epochs: int) -> int:
    """floor(T cos(pi e / 2E)), and 0 from epoch E on: slow at first, then fast.

    E = 5 T gives it the horizon of the linear one; E = T is the print with the factor T put back. Built in lesson 02.
    """
    _check_epoch(epoch)
    _check_epochs(epochs)
    return 0 if epoch >= epochs else math.floor(longest * math.cos(math.pi * epoch / (2 * epochs)) + _ROUNDING)


def exponential_steps(epoch: int, longest: int, decay: float) -> int:
    """floor(T exp(-e / decay)): fast at first, then slow.

    decay = 30 ends near the others; decay = 30 / T is the print with the factor T put back, over after a few epochs.
    Built in lesson 02.
    """
    _check_epoch(epoch)
    _check_decay(decay)
    return math.floor(longest * math.exp(-epoch / decay) + _ROUNDING)


def printed_cosine(epoch: int, longest: int) -> int:
    """floor(cos(pi e / 2T)) as it stands in section 5.4.3: only ever -1, 0 or 1."""
    return math.floor(math.cos(math.pi * epoch / (2 * longest)) + _ROUNDING)


def printed_exponential(epoch: int, longest: int, tau: float = 30.0) -> int:
    """floor(exp(-e T / tau)) as it stands in section 5.4.3: 1 in epoch 0, and 0 ever after."""
    return math.floor(math.exp(-epoch * longest / tau) + _ROUNDING)


def difficulty_histogram(
    curriculum: Curriculum, epochs: int, batch_size: int = BATCH, longest: int | None = None
) -> Float[Tensor, "epochs depths"]:
    """Share of the images of each epoch that have t moves behind them; each row adds up to 1.

    longest  columns are t = 0 … longest; None takes the curriculum's own, a number lines up several curricula

    Raises `InputError` if the curriculum asks for more moves than that.
    """
    _check_epochs(epochs)
    deepest = curriculum.longest if longest is None else longest
    if curriculum.longest > deepest:
        raise InputError(f"the curriculum goes to {curriculum.longest} moves, the histogram only to {deepest}")
    counts = [curriculum.steps(epoch, batch_size).bincount(minlength=deepest + 1) for epoch in range(epochs)]
    return torch.stack(counts) / batch_size


@dataclass(frozen=True)
class Augmentation:
    """Random affine views, the thesis's "Baseline*", which gives no ranges; x and y are scaled alike.

    Raises `InputError` for ranges that make no sense.
    """

    degrees: float = 10.0
    shift: float = 0.1  # share of the image's side
    scale: tuple[float, float] = (0.85, 1.15)  # of what is seen

    def __post_init__(self) -> None:
        if self.degrees < 0 or not 0 <= self.shift < 1 or not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"expected degrees >= 0, 0 <= shift < 1 and 0 < scale in order, got {self}")

    def matrix(self, rng: np.random.Generator) -> Float[Tensor, "3 3"]:
        """One random view of a square image, as a matrix of `geometry.view` (backward mapping)."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        seen = 1 / rng.uniform(*self.scale)
        x, y = rng.uniform(-2 * self.shift, 2 * self.shift, 2).tolist()  # an image's side is 2 long
        c, s = seen * math.cos(angle), seen * math.sin(angle)
        return torch.tensor([[c, -s, x], [s, c, y], [0.0, 0.0, 1.0]])


def _first(count: int, batch_size: int, steps: int) -> Int[Tensor, "b"]:
    """`steps` for the first `count` images, 0 for the others; the order of images is random anyhow."""
    return torch.where(torch.arange(batch_size) < count, steps, 0)


def _check_steps(longest: int, least: int = 1) -> None:
    if longest < least:
        raise InputError(f"longest must be at least {least} move(s), got {longest}")


def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise InputError(f"a number of epochs must be at least 1, got {epochs}")


def _check_epoch(epoch: int) -> None:
    if epoch < 0:
        raise InputError(f"epochs are counted from 0, got {epoch}")


def _check_decay(decay: float) -> None:
    if not 0 < decay < math.inf:
        raise InputError(f"decay is a number of epochs above 0, got {decay}")
