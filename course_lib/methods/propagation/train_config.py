"""How the small segmenters of lessons 06 and 07 are trained: network, data, sizes and schedules of the three presets.

M. Paul (2023), section 3.3.2, takes trained networks from others, so schedules are the field's standard and ours:
ICNet's own for the published size (stochastic gradient descent, a rate that falls by a power of 0.9, losses at three
grids), Adam for the small ones. Unusual: a step on a CPU does not wait for a renderer: drives are rendered once, a few
frames of each, and no checkpoint is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from course_lib.data.camvid import CAMVID_CLASSES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError
from course_lib.presets import of_preset
from course_lib.training.augment import Augment
from course_lib.training.schedules import LearningRate

Network = Literal["icnet-half", "icnet-small", "icnet", "lite"]
SegmenterName = Literal["icnet-small-driving", "icnet-half-driving", "lite-driving", "lite-camvid"]
SEGMENTERS: tuple[str, ...] = get_args(SegmenterName)

_DRIVES = Augment(
    area=(0.5, 1.0), stretch=1.15, grey=0.0, colour=0.2, frame_colour=0.0, degrees=0.0, shear=0.0, zoom=0.25, shift=0.0
)  # streets stand upright, and seen from 0.8 times to twice as large
_STREETS = replace(_DRIVES, area=(0.25, 1.0), colour=0.3)


@dataclass(frozen=True)
class SegmenterTraining:
    """Network, data and schedule. `preset` gives the course's three. Raises `InputError` out of range."""

    network: Network = "icnet-small"
    data: Literal["driving", "camvid"] = "driving"
    steps: int = 4000
    batch_size: int = 8
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = 2e-3
    schedule: LearningRate = field(default_factory=lambda: LearningRate("cosine", warmup=0.05))
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    imagenet: bool = True
    """Begin with trained backbones, where the network has one."""
    trunk_lr: float = 0.25
    """Learning rate of a trained backbone, as a share of the other weights'."""
    size: tuple[int, int] = (128, 256)
    """Height and width of a training sample; drives are rendered at this size."""
    augment: Augment = _DRIVES
    clips: int = 500
    """Drives that are rendered for training."""
    frames_per_clip: int = 4
    frame_rate: float = 4.0
    """Of drives for training and tests: frames that follow each other closely teach little more than one."""
    test_clips: int = 60
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    """Data workers; does not change the curve."""

    def __post_init__(self) -> None:
        if self.network not in get_args(Network):
            raise InputError(f"network must be one of {', '.join(get_args(Network))}; got {self.network!r}")
        if self.data not in ("driving", "camvid"):
            raise InputError(f"data must be 'driving' or 'camvid', got {self.data!r}")
        counts = (self.steps, self.batch_size, self.clips, self.frames_per_clip, self.test_clips)
        if min(counts) < 1 or self.lr <= 0 or self.trunk_lr <= 0 or self.frame_rate <= 0:
            raise InputError(
                "expected steps, batch_size, clips, frames_per_clip, test_clips >= 1 and lr, trunk_lr, frame_rate > 0, "
                f"got {self}"
            )
        if any(side < 32 or side % 32 for side in self.size):
            raise InputError(f"sides of a sample must be multiples of 32, got {self.size}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the network tells apart."""
        return STREET_CLASSES if self.data == "driving" else CAMVID_CLASSES

    @classmethod
    def preset(cls, preset: str, name: str) -> "SegmenterTraining":
        """smoke: two steps; cpu: minutes on one core; gpu: the published network and schedule, where there is one.

        name  one of `SEGMENTERS`. Raises `InputError` for another name or preset.
        """
        if name not in SEGMENTERS:
            raise InputError(f"unknown segmenter {name!r}; there are {', '.join(SEGMENTERS)}")
        sizes: Mapping[str, Callable[[str], SegmenterTraining]] = {"smoke": _smoke, "cpu": _cpu, "gpu": _gpu}
        return of_preset(preset, sizes)(name)

    def shortened(self, length: float) -> "SegmenterTraining":
        """The same in `length` times the steps, at least 1. Raises `InputError` unless 0 < length < infinity."""
        if not 0 < length < float("inf"):
            raise InputError(f"length is a share of the preset's steps, above 0, such as 0.5; got {length}")
        return replace(self, steps=max(1, round(length * self.steps)))


def _cpu(name: str) -> SegmenterTraining:
    if name == "lite-driving":
        return SegmenterTraining(network="lite", steps=1500, lr=1e-3)
    if name == "lite-camvid":
        return SegmenterTraining(
            network="lite", data="camvid", steps=1800, batch_size=4, lr=1e-3, size=(256, 352), augment=_STREETS
        )
    return SegmenterTraining(network="icnet-half" if name == "icnet-half-driving" else "icnet-small")


def _smoke(name: str) -> SegmenterTraining:
    return replace(
        _cpu(name), steps=2, batch_size=2, imagenet=False, size=(64, 96), clips=2, frames_per_clip=1, test_clips=2
    )


def _gpu(name: str) -> SegmenterTraining:
    """ICNet: 0.01, batches of 16, 60,000 steps, frames of half of Cityscapes' sides. Lite: the small one, longer."""
    long = replace(_cpu(name), batch_size=16, steps=40_000, precision="bf16", workers=8)
    if long.data == "camvid":
        return replace(long, steps=20_000)
    many = replace(long, clips=3000, test_clips=200)
    if long.network == "lite":
        return replace(many, size=(256, 512))
    return replace(
        many, network="icnet", steps=60_000, optimizer="sgd", lr=0.01, schedule=LearningRate("poly", power=0.9),
        weight_decay=1e-4, clip_norm=0.0, size=(512, 1024), clips=1500, frames_per_clip=2,
    )  # fmt: skip
