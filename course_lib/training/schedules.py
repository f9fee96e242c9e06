"""Numbers that change during training: learning rate, hard-pixel share, frame gap, each a function of how far one is.

Everything is built from two shapes, straight lines between knots and stairs. Unusual: there is no scheduler object and
so no scheduler state; a resumed run knows every value from its step alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from course_lib.errors import InputError

Knots = Sequence[tuple[float, float]]


def lines(x: float, knots: Knots) -> float:
    """Value at `x` on straight lines through `knots` ((x, value), …); constant before the first and after the last.

    Raises `InputError` unless the knots' x increase.
    """
    _check_increasing(knots)
    if x <= knots[0][0]:
        return float(knots[0][1])
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return float(knots[-1][1])


def stairs(x: float, knots: Knots) -> float:
    """Value at `x` on stairs: each knot's value holds from its x on, the first one's also before.

    Raises `InputError` unless the knots' x increase.
    """
    _check_increasing(knots)
    value = knots[0][1]
    for start, step in knots:
        if x >= start:
            value = step
    return float(value)


def frame_gap(progress: float, widest: int = 25, narrowest: int = 5) -> int:
    """Largest gap between neighbouring training frames at `progress` (0 at the start of training, 1 at its end).

    Widens from `narrowest` in four equal stairs at 10, 20, 30 and 40 % of training to `widest`, and goes back for the
    last tenth: first easy, then long-range matching, then the gaps that inference meets. Default 5, 10, … 25, 5:
    A. Pourganjalikhan (2021), section 4.2.2, after STCN (Cheng et al., NeurIPS 2021). Built in lesson 13.
    """
    if not 1 <= narrowest <= widest:
        raise InputError(f"expected 1 <= narrowest <= widest frames, got {narrowest} and {widest}")
    rise = (widest - narrowest) / 4
    knots = [(0.0, narrowest), *((i / 10, narrowest + i * rise) for i in (1, 2, 3, 4)), (0.9, narrowest)]
    return round(stairs(progress, knots))


def hard_pixel_share(step: float, start: float = 20_000, end: float = 70_000, final: float = 0.15) -> float:
    """Share of a sample's pixels, the hardest ones, that bootstrapped cross-entropy keeps at `step`.

    All until `start`, then falling linearly to `final` at `end`. Mining from step 0 would chase noise. Units of `step`
    are those of `start` and `end`: steps, or shares of training. Defaults: A. Pourganjalikhan (2021), section 4.2.3.

    >>> [round(hard_pixel_share(step), 3) for step in (10_000, 45_000, 70_000)]
    [1.0, 0.575, 0.15]
    """
    if not 0 < final <= 1:
        raise InputError(f"the final share of pixels must be in (0, 1], got {final}")
    return lines(step, ((start, 1.0), (end, final)))


@dataclass(frozen=True)
class LearningRate:
    """Shape of the learning rate over a run, as a factor of its peak.

    Raises `InputError` for values out of range.
    """

    shape: Literal["constant", "step", "poly", "cosine"] = "constant"
    warmup: float = 0.0
    """Share of training over which the rate first rises linearly from 0 to its peak."""
    drops: tuple[float, ...] = (0.5,)
    """step: shares of training at which the rate is multiplied by `gamma`."""
    gamma: float = 0.1
    power: float = 0.9
    """poly: exponent of the remaining share of training."""
    floor: float = 0.0
    """poly, cosine: factor at the end of training."""

    def __post_init__(self) -> None:
        if self.shape not in ("constant", "step", "poly", "cosine"):
            raise InputError(f"unknown learning rate shape {self.shape!r}; use constant, step, poly or cosine")
        if not 0 <= self.warmup < 1 or not 0 <= self.floor <= 1 or self.gamma <= 0 or self.power <= 0:
            raise InputError(f"expected 0 <= warmup < 1, 0 <= floor <= 1, gamma > 0 and power > 0, got {self}")
        if any(not 0 < drop < 1 for drop in self.drops) or list(self.drops) != sorted(set(self.drops)):
            raise InputError(f"drops must be increasing shares of training between 0 and 1, got {self.drops}")

    def factor(self, step: int, steps: int) -> float:
        """Factor for update `step` (0 is the first) of `steps`."""
        progress = step / steps
        if progress < self.warmup:
            return (step + 1) / (math.ceil(self.warmup * steps) + 1)  # never 0: the first update should do something
        left = (1 - progress) / (1 - self.warmup)  # 1 after warm-up, 0 at the end
        if self.shape == "step":
            return self.gamma ** sum(progress >= drop for drop in self.drops)
        if self.shape == "poly":
            return self.floor + (1 - self.floor) * left**self.power
        if self.shape == "cosine":
            return self.floor + (1 - self.floor) * (1 - math.cos(math.pi * left)) / 2
        return 1.0


def _check_increasing(knots: Knots) -> None:
    if not knots or any(a[0] >= b[0] for a, b in pairwise(knots)):
        raise InputError(f"knots must be (x, value) pairs with increasing x, got {list(knots)}")
