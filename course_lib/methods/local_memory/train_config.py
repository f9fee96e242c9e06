"""How networks with a local memory are trained, in three stages: sizes, data and schedules of the three presets.

M. Paul (2023), section 4.3.5: stage 0 trains the segmenter on single frames, stage 1 the memory and the fusion alone,
stage 2 these and the decoder; the encoder stays as it was after stage 0. Unusual: the encoder's features can therefore
be computed once and kept, which makes stages 1 and 2 many times faster; and all rows of the table have equally many
steps in each stage that they have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from course_lib.data.noisy_drives import NoisyDrivesConfig
from course_lib.errors import InputError
from course_lib.methods.local_memory.config import PSPNET, LocalMemoryConfig
from course_lib.presets import of_preset
from course_lib.training.schedules import LearningRate

# A first frame that asks itself is 1.4 to 1.6 points of mIoU better than one decoded without fusion.
_SMALL = LocalMemoryConfig(
    memory_size=2, window=7, key_channels=12, value_channels=24, fusion_dropout=0.1, first_frame="self"
)
_CYCLE = LearningRate("cosine", warmup=0.1)


@dataclass(frozen=True)
class Stage:
    """Length and learning rate of one stage."""

    steps: int
    lr: float = 2e-3
    schedule: LearningRate = field(default_factory=LearningRate)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0:
            raise InputError(f"a stage has at least one step and lr > 0, got {self}")


@dataclass(frozen=True)
class LocalMemoryTraining:
    """Data, networks and schedules. `preset` gives the course's three. Raises `InputError` out of range."""

    frame: Stage = field(default_factory=lambda: Stage(3000, schedule=_CYCLE))
    """Stage 0: the segmenter, on single frames."""
    memory: Stage = field(default_factory=lambda: Stage(500))
    """Stage 1: memory and fusion; "no convergence wanted"."""
    decoder: Stage = field(default_factory=lambda: Stage(1000, schedule=_CYCLE))
    """Stage 2: these and the decoder."""
    batch_size: int = 8
    weight_decay: float = 1e-4
    drives: NoisyDrivesConfig = field(default_factory=NoisyDrivesConfig)
    train_drives: int = 500
    test_drives: int = 100
    test_frames: int = 13
    """Of a test clip, whose last frame is scored: one more than the longest memory that is tried."""
    networks: Literal["small", "published"] = "small"
    erf: LocalMemoryConfig = _SMALL
    """The memory of ERFNet; rows of the table change it."""
    pyramid: LocalMemoryConfig = _SMALL
    """The memory of the second network."""
    keep_features: bool = True
    """Compute the encoder's features once, before stage 1, and keep them in half precision."""
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0

    def __post_init__(self) -> None:
        if min(self.batch_size, self.train_drives, self.test_drives) < 1 or self.weight_decay < 0:
            raise InputError(f"expected batch_size, train_drives, test_drives >= 1, weight_decay >= 0; got {self}")
        if self.networks not in ("small", "published"):
            raise InputError(f"networks must be 'small' or 'published', got {self.networks!r}")
        longest = max(self.erf.memory_size, self.pyramid.memory_size) + 1
        if min(self.drives.frames, self.test_frames) < longest:
            raise InputError(
                f"a memory of {longest - 1} frames needs clips of {longest} frames, got {self.drives.frames} for "
                f"training and {self.test_frames} for tests"
            )

    @classmethod
    def preset(cls, name: str) -> "LocalMemoryTraining":
        """smoke: two steps a stage; cpu: minutes; gpu: the published networks and rates.

        Raises `InputError` for another name.
        """
        sizes: Mapping[str, LocalMemoryTraining] = {"smoke": _smoke(), "cpu": cls(), "gpu": _gpu()}
        return of_preset(name, sizes)

    def shortened(self, length: float) -> "LocalMemoryTraining":
        """The same in `length` times the steps of every stage, at least 1 each.

        Raises `InputError` unless 0 < length < infinity.
        """
        if not 0 < length < math.inf:
            raise InputError(f"length is a share of the preset's steps, above 0, such as 0.5; got {length}")
        cut = {
            name: replace(stage, steps=max(1, round(length * stage.steps)))
            for name, stage in (("frame", self.frame), ("memory", self.memory), ("decoder", self.decoder))
        }
        return replace(self, frame=cut["frame"], memory=cut["memory"], decoder=cut["decoder"])

    def memory_of(self, backbone: str) -> LocalMemoryConfig:
        """The memory that rows on this network start from. Raises `InputError` for an unknown network."""
        if backbone not in ("erf", "pyramid"):
            raise InputError(f"backbone must be 'erf' or 'pyramid', got {backbone!r}")
        return self.erf if backbone == "erf" else self.pyramid


def _smoke() -> LocalMemoryTraining:
    drives = NoisyDrivesConfig(
        size=(32, 64), street=(64, 128), patch_height=(5, 11), patch_width=(7, 17), pan=(1.0, 3.0)
    )  # fmt: skip
    two = Stage(2)
    return LocalMemoryTraining(
        frame=two, memory=two, decoder=two, batch_size=2, drives=drives, train_drives=2, test_drives=1, test_frames=6
    )


def _gpu() -> LocalMemoryTraining:
    """Adam 2e-4, batches of 10, weight decay 1e-4, ERFNet at 512 x 1024 with S = 4 and windows of 21, PSPNet-101.

    The thesis lowers the rate by 0.8 whenever the loss is flat; here it falls as often, at fixed moments.
    """
    falling = LearningRate("step", drops=tuple(i / 12 for i in range(4, 12)), gamma=0.8)
    drives = NoisyDrivesConfig(
        size=(512, 1024), street=(640, 1280), windows=1, pan=(8.0, 24.0), patch_height=(80, 176),
        patch_width=(112, 272),
    )  # fmt: skip
    return LocalMemoryTraining(
        frame=Stage(20_000, 5e-4, LearningRate("poly", power=0.9)), memory=Stage(3500, 2e-4),
        decoder=Stage(15_000, 2e-4, falling), batch_size=10, drives=drives, train_drives=1000, networks="published",
        erf=LocalMemoryConfig(), pyramid=PSPNET, keep_features=False, precision="bf16", workers=8,
    )  # fmt: skip
