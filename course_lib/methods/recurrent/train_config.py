"""How the recurrent networks are trained: data, sizes and schedules of the three presets.

F. Azimi (2024), sections 6.3.2 and 6.4.2, for the published size; what the text leaves out (number of epochs, when the
learning rate falls, a limit on the gradient) is the field's standard and ours. Unusual: nothing here depends on the row
of the table that is trained, so all rows train equally long on the same samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from course_lib.data.small_shapes import UNSEEN
from course_lib.data.small_world import SmallWorldConfig
from course_lib.errors import InputError
from course_lib.methods.recurrent.schedules import (
    HS2S_EPOCHS,
    PUBLISHED_LENGTHS,
    PUBLISHED_LENGTHS_HS2S,
    PUBLISHED_SAMPLING,
    S2S_EPOCHS,
    ClipLengths,
    ScheduledSampling,
)
from course_lib.methods.recurrent.sizes import LITE, PUBLISHED, PUBLISHED_VGG, SMALL, Size
from course_lib.presets import of_preset
from course_lib.training.schedules import LearningRate

Family = Literal["s2s", "hs2s"]
_VIDEOS = 3471  # of YouTube-VOS 2018 for training: an epoch shows each once


MASKS_WEIGHT = 0.8  # of what is learnt about masks, as printed; the rest is for distances


@dataclass(frozen=True)
class RecurrentTraining:
    """Data, network size and schedule. `preset` gives the course's three. Raises `InputError` out of range."""

    steps: int = 1500
    batch_size: int = 8
    lr: float = 1e-3
    schedule: LearningRate = field(default_factory=lambda: LearningRate("step", drops=(0.75,), gamma=0.3))
    clip_norm: float = 1.0
    lengths: ClipLengths = field(default_factory=ClipLengths)
    sampling: ScheduledSampling = field(default_factory=ScheduledSampling)
    """Of rows that feed masks back and do not bring a schedule of their own."""
    distance_weight: float = 0.06
    """Of the cross-entropy of the distance classes, beside 0.8 for the masks. The thesis has 0.2; at small size less
    pays, since the cross-entropy of many classes is far larger than that of a mask."""
    jaccard_weight: float = 0.2
    """Of the soft Jaccard term, taken from the masks' 0.8. The text of the thesis has none and `gpu` follows it; the
    author's release has 0.2. Balanced cross-entropy alone counts a pixel as object from a probability of a few percent
    on, so masks come out too large, and a network that is fed its own masks lets them grow."""
    flow_weight: float = 0.1
    """Of the photometric loss, where the row has a flow head."""
    size: Size = SMALL
    imagenet: bool = False
    """Begin with trained backbones."""
    trunk_lr: float = 1.0
    """Learning rate of trained backbones, as a share of the other weights'."""
    data: Literal["small world", "davis", "youtube_vos"] = "small world"
    world: SmallWorldConfig = field(default_factory=SmallWorldConfig)
    frame: tuple[int, int] = (64, 64)
    """Height and width that networks train on; the small world's own side."""
    max_gap: int = 1
    """Largest distance between neighbouring training frames of real clips, in annotated frames."""
    view: tuple[float, float] = (1.0, 1.0)
    """How much of a real frame's sides a sample shows, at least and at most; the published training shows all."""
    world_share: float = 0.0
    """Share of the large synthetic world among real training clips."""
    test_clips: int = 60
    """Of each test set."""
    test_frames: int = 24
    """Frames of a test clip; of real ones at most so many, 0 for all."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the processor multiplies it, which halves the time of a step; else fp32."""
    workers: int = 0
    """Data workers; does not change the curve."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.test_clips, self.max_gap) < 1 or self.lr <= 0:
            raise InputError(f"expected steps, batch_size, test_clips, max_gap >= 1 and lr > 0, got {self}")
        if not 0 < self.view[0] <= self.view[1] <= 1 or self.trunk_lr <= 0:
            raise InputError(f"expected a view in (0, 1], in order, and trunk_lr > 0, got {self.view}, {self.trunk_lr}")
        if min(self.distance_weight, self.flow_weight) < 0 or not 0 <= self.world_share < 1:
            raise InputError(f"expected weights of losses >= 0 and a world_share in [0, 1), got {self}")
        if not 0 <= self.jaccard_weight <= MASKS_WEIGHT:
            raise InputError(f"jaccard_weight is a part of the masks' {MASKS_WEIGHT}, got {self.jaccard_weight}")
        if self.data == "small world" and self.frame != (self.world.size, self.world.size):
            raise InputError(f"frames of the small world have its side {self.world.size}, got frame={self.frame}")
        if any(side < 32 or side % 16 for side in self.frame):
            raise InputError(f"sides of a frame must be multiples of 16 and 32 at least, got {self.frame}")
        if self.test_frames != 0 and self.test_frames < 3:
            raise InputError(f"test_frames must be 0 (all) or at least 3, got {self.test_frames}")

    @classmethod
    def preset(cls, name: str, family: Family = "hs2s") -> "RecurrentTraining":
        """smoke: two steps; cpu: minutes on one core, the same for all rows; gpu: as published for this family.

        Raises `InputError` for another name or family.
        """
        if family not in ("s2s", "hs2s"):
            raise InputError(f"family must be 's2s' or 'hs2s', got {family!r}")
        published: Callable[[], RecurrentTraining] = _gpu_s2s if family == "s2s" else _gpu_hs2s
        sizes: dict[str, Callable[[], RecurrentTraining]] = {"smoke": _smoke, "cpu": cls, "gpu": published}
        return of_preset(name, sizes)()

    @classmethod
    def lite(cls, name: str) -> "RecurrentTraining":
        """For hs2s-lite, which begins with ImageNet weights and learns from DAVIS and the synthetic world."""
        return of_preset(name, {"smoke": _smoke_lite, "cpu": _lite, "gpu": _gpu_lite})()

    def shortened(self, length: float) -> "RecurrentTraining":
        """The same in `length` times the steps, at least 1; above 1 it is longer. Schedules keep their shape.

        Raises `InputError` unless 0 < length < infinity.
        """
        if not 0 < length < math.inf:
            raise InputError(f"length is a share of the preset's steps, above 0, such as 0.5; got {length}")
        return replace(self, steps=max(1, round(length * self.steps)))

    def fine_tuning(self, steps: int) -> "RecurrentTraining":
        """To go on from trained weights as training ended: clips of full length, its last rate and teacher."""
        ended = ScheduledSampling(until=0.0, end=1 / (2 * steps), floor=self.sampling.floor)
        lengths = replace(self.lengths, shortest=self.lengths.longest)
        rate = self.lr * self.schedule.factor(self.steps - 1, self.steps)
        return replace(self, steps=steps, lr=rate, schedule=LearningRate(), lengths=lengths, sampling=ended)

    def precision_on(self, device: torch.device) -> Literal["fp32", "bf16"]:
        """What the forward pass computes in on this device."""
        if self.precision != "auto":
            return self.precision
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"

    def test_worlds(self) -> dict[str, SmallWorldConfig]:
        """The kinds of small clips that networks are tested on, by name."""
        plain = replace(self.world, frames=self.test_frames or self.world.frames, bar=0.0, lookalike=0.0)
        return {
            "plain": plain,
            "occlusion": replace(plain, bar=1.0, passage=plain.frames >= 12, radius=(self.world.radius[0], 9.0)),
            "look-alikes": replace(plain, distractor=1.0, lookalike=1.0),
            "unseen shapes": replace(plain, shapes=UNSEEN),
        }


def _cpu_multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16; emulated, it is slower than fp32."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(known and known())


def _smoke() -> RecurrentTraining:
    return RecurrentTraining(
        steps=2, batch_size=2, lengths=ClipLengths(2, 3), world=SmallWorldConfig(size=32, frames=3, radius=(4.0, 8.0)),
        frame=(32, 32), test_clips=2, test_frames=4, precision="fp32",
    )  # fmt: skip


def _falling(start: int, period: int, gamma: float, epochs: int) -> LearningRate:
    """A rate times `gamma` every `period` epochs from epoch `start` on."""
    drops = tuple(epoch / epochs for epoch in range(start, epochs, period))
    return LearningRate("step", drops=drops, gamma=gamma)


def _gpu_s2s() -> RecurrentTraining:
    """Section 6.3.2: Adam 1e-5, batches of 4; "x0.99 every 4 epochs once the loss is flat", here from 150 of 400 on."""
    return RecurrentTraining(
        steps=S2S_EPOCHS * _VIDEOS // 4, batch_size=4, lr=1e-5, schedule=_falling(150, 4, 0.99, S2S_EPOCHS),
        lengths=PUBLISHED_LENGTHS, sampling=PUBLISHED_SAMPLING, distance_weight=0.2, jaccard_weight=0.0,
        size=PUBLISHED_VGG, imagenet=True,
        data="youtube_vos", frame=(256, 448), test_clips=694, test_frames=0, precision="bf16", workers=8,
    )  # fmt: skip


def _gpu_hs2s() -> RecurrentTraining:
    """Section 6.4.2: Adam 1e-4, batches of 16; "lowered late", here x0.9 every 5 epochs from 650 of 750 on."""
    return RecurrentTraining(
        steps=HS2S_EPOCHS * _VIDEOS // 16, batch_size=16, lr=1e-4, schedule=_falling(650, 5, 0.9, HS2S_EPOCHS),
        lengths=PUBLISHED_LENGTHS_HS2S, sampling=PUBLISHED_SAMPLING, distance_weight=0.2, jaccard_weight=0.0,
        size=PUBLISHED, imagenet=True,
        data="youtube_vos", frame=(256, 448), test_clips=694, test_frames=0, precision="bf16", workers=8,
    )  # fmt: skip


def _lite() -> RecurrentTraining:
    """Crops of DAVIS at 240p, up to 3 frames apart, and a third of the clips from the synthetic world."""
    return RecurrentTraining(
        steps=3000, batch_size=4, lr=4e-4, schedule=LearningRate("cosine", warmup=0.03, floor=0.02),
        lengths=ClipLengths(3, 6, rise=0.6), size=LITE, imagenet=True, trunk_lr=0.25, data="davis", frame=(160, 288),
        view=(0.65, 1.0), max_gap=3, world_share=1 / 3, test_frames=0,
    )  # fmt: skip


def _gpu_lite() -> RecurrentTraining:
    return replace(_lite(), steps=40_000, batch_size=16, lengths=ClipLengths(4, 10, rise=0.6), workers=8)


def _smoke_lite() -> RecurrentTraining:
    return replace(
        _lite(), steps=1, batch_size=2, lengths=ClipLengths(2, 2), frame=(64, 96), imagenet=False, test_frames=3,
        world_share=0.0, precision="fp32",
    )  # fmt: skip
