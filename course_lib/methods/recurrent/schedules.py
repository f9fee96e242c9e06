"""What changes while a recurrent network trains: the length of clips, and how often the true mask is handed on.

F. Azimi (2024), sections 6.3.2 and 6.4.2: short clips first; true masks first, then for each frame at random either
the truth or the network's own answer (scheduled sampling). Unusual: both are functions of progress, the share of
training that is done, with knots where the published epochs lie; functions of the epoch stand beside them.
"""

import math
from dataclasses import dataclass

import numpy as np

from course_lib.errors import InputError
from course_lib.training.schedules import lines

S2S_EPOCHS = 400
HS2S_EPOCHS = 750
_ROUNDING = 1e-9  # 0.6 / 0.8 * 4 is a little less than 3


@dataclass(frozen=True)
class ClipLengths:
    """Frames of a training clip, growing in equal stairs. Raises `InputError` for values out of range."""

    shortest: int = 4
    longest: int = 8
    rise: float = 0.8
    """Share of training after which clips have their full length."""
    drawn: bool = False
    """Draw each batch's length between the shortest and that of the schedule, as published for HS2S."""

    def __post_init__(self) -> None:
        if not 2 <= self.shortest <= self.longest or not 0 < self.rise <= 1:
            raise InputError(f"expected 2 <= shortest <= longest frames and 0 < rise <= 1, got {self}")

    def at(self, progress: float) -> int:
        """Frames at `progress`, from 0 at the start of training to 1 at its end; the largest, where they are drawn."""
        _check_progress(progress)
        stairs = math.floor(progress / self.rise * (self.longest - self.shortest) + _ROUNDING)
        return min(self.shortest + stairs, self.longest)

    def draw(self, progress: float, step: int, seed: int) -> int:
        """Frames of all clips of update `step`; a batch needs one length, so it depends on the step, not the sample."""
        longest = self.at(progress)
        if not self.drawn:
            return longest
        return int(np.random.default_rng((seed, step)).integers(self.shortest, longest, endpoint=True))


@dataclass(frozen=True)
class ScheduledSampling:
    """Probability that the mask handed on from a frame is the truth. Raises `InputError` for values out of range."""

    until: float = 0.3
    """Share of training with true masks alone (teacher forcing)."""
    end: float = 1.0
    """Share of training at which the probability has fallen to `floor`, in a straight line."""
    floor: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.until < self.end or not 0 <= self.floor <= 1:
            raise InputError(f"expected 0 <= until < end and a floor in [0, 1], got {self}")

    def at(self, progress: float) -> float:
        """Probability of the truth at `progress` of training."""
        _check_progress(progress)
        return lines(progress, ((self.until, 1.0), (self.end, self.floor)))


TEACHER_FORCING = ScheduledSampling(floor=1.0)  # the truth always: what scheduled sampling is compared with
PUBLISHED_LENGTHS = ClipLengths(5, 10, rise=50 / S2S_EPOCHS)
PUBLISHED_LENGTHS_HS2S = ClipLengths(5, 10, rise=50 / HS2S_EPOCHS, drawn=True)
PUBLISHED_SAMPLING = ScheduledSampling(300 / HS2S_EPOCHS, 425 / HS2S_EPOCHS, 0.5)


def published_clip_length(epoch: int) -> int:
    """Frames of a clip: 5 and one more every 10 epochs, up to 10. Built in lesson 04.

    >>> [published_clip_length(epoch) for epoch in (0, 9, 10, 49, 50, 399)]
    [5, 5, 6, 9, 10, 10]
    """
    _check_epoch(epoch)
    return min(5 + epoch // 10, 10)


def published_truth_probability(epoch: int) -> float:
    """Probability of handing on the truth: 1 for 300 epochs, then 0.004 less in each, down to 0.5. Built in lesson 05.

    >>> [round(published_truth_probability(epoch), 3) for epoch in (300, 350, 400, 425, 749)]
    [1.0, 0.8, 0.6, 0.5, 0.5]
    """
    _check_epoch(epoch)
    return min(1.0, max(0.5, 1 - 0.004 * (epoch - 300)))


def _check_progress(progress: float) -> None:
    if not 0 <= progress <= 1:
        raise InputError(f"progress is the share of training that is done, in [0, 1]; got {progress}")


def _check_epoch(epoch: int) -> None:
    if epoch < 0:
        raise InputError(f"epochs count from 0, got {epoch}")
