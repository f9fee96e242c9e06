"""The dials of scenes of digits or clothes, and whether they can be had together.

A range of overlaps is checked before anything is drawn: the salient object has least room about it at the centre of the
canvas, so a range that one smaller object can reach there can be reached everywhere.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, floor
from pathlib import Path
from typing import Literal

from course_lib.data.digit_images import Source, Split
from course_lib.errors import InputError


@dataclass(frozen=True)
class SceneConfig:
    """What a scene holds. Lengths in pixels; every object's box is a square that just holds its ink.

    Raises `InputError` for values out of range, and for objects that could not be placed as asked.
    """

    canvas: int = 32
    salient_side: tuple[int, int] = (10, 22)  # least and greatest side of the largest object
    n_smaller: tuple[int, int] = (1, 3)  # how many others; those for which no room is left are left out
    smaller_side: int = 6  # least side of the others
    smaller_ratio: float = 0.75  # greatest side of the others, over that of the largest object
    overlap: Literal["none", "allowed"] = "none"  # "none": no two boxes overlap
    overlap_range: tuple[float, float] = (0.0, 1.0)  # of the largest box that others in front cover, if allowed
    dominant: float | None = None  # how often an object is of class 0; None: as often as of any other class
    source: Source = "builtin"
    root: str | Path | None = None  # folder of real data sets, else COURSE_DATA
    split: Split = "train"

    def __post_init__(self) -> None:
        least, greatest = _ordered(self, "salient_side", 1)
        _ordered(self, "n_smaller", 0)
        for name in ("canvas", "smaller_side"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
        if greatest > self.canvas:
            raise InputError(f"an object of {greatest} pixels does not fit on a canvas of {self.canvas}")
        if not 0 < self.smaller_ratio < 1:
            raise InputError(f"smaller_ratio must lie between 0 and 1, or no object is the largest; got {self}")
        if self.largest_smaller(least) < self.smaller_side and self.n_smaller[1]:
            raise InputError(
                f"objects of {self.smaller_side} pixels are more than {self.smaller_ratio} of a salient object of "
                f"{least}; lower smaller_side or raise salient_side"
            )
        if self.overlap not in ("none", "allowed"):
            raise InputError(f"overlap must be 'none' or 'allowed', got {self.overlap!r}")
        if self.dominant is not None and not 0 < self.dominant < 1:
            raise InputError(f"dominant is a share between 0 and 1, or None; got {self.dominant!r}")
        self._check_overlap()

    def largest_smaller(self, side: int) -> int:
        """Greatest side in pixels of the smaller objects beside a salient one of `side`."""
        return floor(Fraction(str(self.smaller_ratio)) * side)

    def _check_overlap(self) -> None:
        """Whether the range can be reached with one object, wherever the salient one is. It is least free at centre."""
        low, high = self.overlap_range
        if not 0 <= low <= high <= 1:
            raise InputError(f"overlap_range must be two shares of [0, 1], the lower one first; got {(low, high)}")
        if self.overlap == "none":
            if (low, high) != (0, 1):
                raise InputError("overlap_range has a meaning with overlap='allowed' only")
            room = self.canvas - self.salient_side[1]
            if self.n_smaller[0] and room < self.smaller_side:
                raise InputError(
                    f"beside an object of {self.salient_side[1]} pixels on a canvas of {self.canvas} there is no room "
                    f"for another one of {self.smaller_side}; enlarge the canvas, or allow overlap"
                )
            return
        if low > 0 and not self.n_smaller[0]:
            raise InputError(f"an overlap of at least {low} needs at least one smaller object; raise n_smaller")
        for side in range(self.salient_side[0], self.salient_side[1] + 1):
            room = ceil((self.canvas - side) / 2)
            reached = (
                x * y / side**2
                for b in range(self.smaller_side, self.largest_smaller(side) + 1)
                for x, y in product(range(max(0, b - room), b + 1), repeat=2)
            )
            if self.n_smaller[0] and not any(low <= share <= high for share in reached):
                raise InputError(
                    f"no object of {self.smaller_side} to {self.largest_smaller(side)} pixels covers {low} to {high} "
                    f"of one of {side} on a canvas of {self.canvas}; widen overlap_range (one object covers "
                    f"{self.largest_smaller(side) ** 2 / side**2:.2f} at most), or change the sides"
                )


def _ordered(config: SceneConfig, name: str, least: int) -> tuple[int, int]:
    value = getattr(config, name)
    whole = isinstance(value, tuple) and len(value) == 2 and all(type(end) is int for end in value)
    if not whole or not least <= value[0] <= value[1]:
        raise InputError(
            f"{name} must be two whole numbers of at least {least}, the lower one first, for example "
            f"({least}, 20); got {value!r}"
        )
    return value
