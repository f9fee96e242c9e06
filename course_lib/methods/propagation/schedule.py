"""Which frames of a stream are segmented, which only carried along flow, and which repaired: the operating point.

Four knobs span the whole range from careful to fast (M. Paul, 2023, section 3.4, table 3.2): the input scale D, the
key-frame period S, warping W and refinement R. Unusual: the printed rates fit only if the refiner runs once in a
period, on its last frame, which is also the frame that the thesis scores; `refine="all"` is the other reading.
"""

from dataclasses import dataclass
from typing import Literal

from course_lib.errors import InputError

FrameKind = Literal["key", "blend", "warp", "refine", "copy"]
SOURCE = "M. Paul (2023), table 3.2: Cityscapes 2048 x 1024, frame 20, one Titan Xp and a Core i7-5930K"


@dataclass(frozen=True)
class OperatingPoint:
    """How a stream is segmented. Defaults are EVS 07 of the thesis.

    key_every    S: every S-th frame passes through the whole network
    warp         W: carry the answer along flow in between; False repeats the last one
    refine       R: "last" repairs the last frame of a period, "all" every carried frame, "off" none. With key_every=1
                 there is nothing to repair: each new answer is blended with the carried one instead (EVS 01)
    input_scale  D: size of the frames that network and flow see, as a share of what came, in (0, 1]

    Raises `InputError` for values outside their range, and for refinement without warping.
    """

    key_every: int = 5
    warp: bool = True
    refine: Literal["off", "last", "all"] = "off"
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.key_every, bool) or not isinstance(self.key_every, int) or self.key_every < 1:
            raise InputError(f"key_every must be a whole number of at least 1, got {self.key_every!r}")
        if self.refine not in ("off", "last", "all"):
            raise InputError(f"refine must be 'off', 'last' or 'all', got {self.refine!r}")
        if not 0 < self.input_scale <= 1:
            raise InputError(f"input_scale must lie in (0, 1], got {self.input_scale!r}")
        if self.refine != "off" and not self.warp:
            raise InputError("refinement repairs what was carried along flow: it needs warp=True, or refine='off'")

    def kind(self, step: int) -> FrameKind:
        """What happens to the frame `step` frames after the start of a stream (or after a cut).

        key: segmented; blend: segmented and blended with the carried past; warp: carried; refine: carried and
        repaired; copy: the last answer again.
        """
        if step < 0:
            raise InputError(f"frames are counted from 0, got {step}")
        place = step % self.key_every
        if place == 0:
            return "blend" if self.key_every == 1 and self.refine != "off" and step > 0 else "key"
        if not self.warp:
            return "copy"
        last = place == self.key_every - 1
        return "refine" if self.refine == "all" or (self.refine == "last" and last) else "warp"

    def kinds(self, length: int) -> tuple[FrameKind, ...]:
        """`kind` of the first `length` frames of a stream."""
        return tuple(self.kind(step) for step in range(length))

    @property
    def refined_per_period(self) -> int:
        """Carried frames that are repaired in each period."""
        if self.refine == "off" or self.key_every == 1:
            return 0
        return 1 if self.refine == "last" else self.key_every - 1

    @property
    def carries_features(self) -> bool:
        """Whether deep features must travel with the answer."""
        return self.refined_per_period > 0


@dataclass(frozen=True)
class PublishedPoint:
    """A row of the thesis's table 3.2. `mIoU` in percent, of the last frame of a period: the worst of the cycle."""

    name: str
    point: OperatingPoint
    rate: float  # frames per second
    mIoU: float


def _row(number: int, rate: float, D: float, S: int, W: bool, R: bool, mIoU: float) -> PublishedPoint:
    return PublishedPoint(f"EVS {number:02d}", OperatingPoint(S, W, "last" if R else "off", D), rate, mIoU)


TABLE: tuple[PublishedPoint, ...] = (
    _row(1, 37, 1.0, 1, True, True, 67.6),
    _row(2, 49, 1.0, 2, True, True, 66.8),
    _row(3, 77, 1.0, 2, True, False, 66.2),
    _row(4, 74, 1.0, 3, True, True, 65.6),
    _row(5, 115, 1.0, 3, True, False, 64.7),
    _row(6, 122, 1.0, 5, True, True, 63.0),
    _row(7, 190, 1.0, 5, True, False, 62.2),
    _row(8, 192, 1.0, 5, False, False, 46.4),
    _row(9, 339, 0.5, 5, False, False, 42.8),
    _row(10, 372, 1.0, 10, True, False, 56.2),
    _row(11, 387, 1.0, 10, False, False, 36.7),
    _row(12, 634, 0.5, 10, True, False, 50.7),
    _row(13, 677, 0.5, 10, False, False, 35.3),
    _row(14, 1045, 0.5, 17, True, False, 46.0),
)
BASELINE = PublishedPoint("ICNet", OperatingPoint(1, warp=False), 39, 67.3)
QUOTED: tuple[tuple[str, float, float], ...] = (  # other methods: name, frames per second on their own machines, mIoU
    ("DVSN", 30, 62.6),
    ("Clockwork", 12, 64.4),
    ("LLVS", 6.6, 75.3),
    ("DFF", 5.6, 69.2),
    ("GRFP", 0.6, 81.3),
    ("NetWarp", 0.3, 80.6),
    ("ENet", 77, 58.3),
    ("ERFNet", 42, 69.7),
    ("SQ", 17, 59.8),
    ("SegNet", 15, 57.0),
    ("PSPNet", 0.8, 81.2),
)


def published(name: str) -> PublishedPoint:
    """The row of a name such as "EVS 07", or "ICNet". Raises `InputError` for another name, and lists the known."""
    for row in (*TABLE, BASELINE):
        if row.name == name:
            return row
    raise InputError(f"no row {name!r} in {SOURCE}; there are {', '.join(r.name for r in (*TABLE, BASELINE))}")
