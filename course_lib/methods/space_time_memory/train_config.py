"""How the small space-time memory network is trained: stages one after another, each with its data and schedules.

Sources: Cheng et al. (NeurIPS 2021) and A. Pourganjalikhan (2021), section 4.2: still images first, then videos whose
frame gap widens and narrows again. Unusual: what the publications count in steps is kept here as shares of a stage, so
a schedule keeps its shape at any length.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from course_lib.errors import InputError
from course_lib.presets import of_preset
from course_lib.training.schedules import LearningRate


@dataclass(frozen=True)
class Stage:
    """One run of the optimizer. Raises `InputError` for values out of range."""

    name: str
    steps: int
    batch_size: int
    lr: float
    schedule: LearningRate
    still_share: float
    """Share of samples that are views of one still image; the others are three frames of a video."""
    mining: tuple[float, float] = (0.3, 0.7)
    """Shares of the stage between which the kept pixels fall from all to the hardest 15 %."""
    gaps: tuple[int, int] = (5, 25)
    """Smallest and largest gap of the frame-gap curriculum, in frames."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.lr <= 0 or not 0 <= self.still_share <= 1:
            raise InputError(f"expected steps, batch_size >= 1, lr > 0 and a still_share in [0, 1], got {self}")
        if not 0 <= self.mining[0] < self.mining[1] or not 1 <= self.gaps[0] <= self.gaps[1]:
            raise InputError(f"expected mining to begin before it ends and gaps of 1 frame or more, got {self}")


@dataclass(frozen=True)
class TrainingConfig:
    """Data, network input and stages. `preset` gives the three sizes of the course."""

    stages: tuple[Stage, ...]
    size: int = 192
    """Side of a training crop in pixels, a multiple of 16."""
    min_pixels: int = 64
    """An object smaller than this in its first frame is not followed."""
    paste: float = 0.5
    """Probability of pasting a second object into a sample that has one."""
    stills: int = 400
    """Synthetic still images: objects before photographs, one frame each."""
    world_clips: int = 120
    world_frames: int = 20
    world_size: int = 192
    """Side of a synthetic frame in pixels, before cropping."""
    real_share: float = 0.7
    """Share of clips (and of still images) that are real ones, where training uses them."""
    trunk_lr: float = 0.25
    """Learning rate of the ImageNet trunk, as a share of the other weights'."""
    weight_decay: float = 1e-7
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    evaluations: int = 6
    """Per stage; the last one is at its end."""
    eval_frames: int = 40
    """Frames of a sequence that an evaluation during training looks at; 0 for all."""
    final_frames: int = 0
    """Frames of a sequence that the card's scores look at; 0 for all."""
    eval_clips: int = 6
    """Synthetic clips of an evaluation on the world."""
    workers: int = 0
    """Data workers; does not change the curve."""

    def __post_init__(self) -> None:
        counts = (self.stills, self.world_clips, self.eval_clips, self.evaluations, len(self.stages))
        if min(counts) < 1 or self.world_frames < 3:
            raise InputError(f"expected at least one stage, clip, still and evaluation, and 3 world frames, got {self}")
        if self.size < 32 or self.size % 16:
            raise InputError(f"the crop's side must be a multiple of 16 and 32 at least, got {self.size}")
        if not 0 < self.real_share < 1 or self.trunk_lr <= 0:
            raise InputError(f"expected 0 < real_share < 1 and trunk_lr > 0, got {self.real_share} and {self.trunk_lr}")
        lengths = (self.eval_frames, self.final_frames)
        if any(frames < 0 or frames in (1, 2) for frames in lengths):
            raise InputError(f"eval_frames and final_frames must be 0 (all) or at least 3, got {lengths}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError(f"stages need different names, since each has a folder; got {names}")

    @classmethod
    def preset(cls, name: str) -> "TrainingConfig":
        """smoke: a few steps on tiny frames; cpu: an evening of a laptop; gpu: the published schedule.

        Raises `InputError` for another name.
        """
        return of_preset(name, {"smoke": _smoke, "cpu": _cpu, "gpu": _gpu})()

    def shortened(self, length: float) -> "TrainingConfig":
        """The same training in `length` times the steps of every stage, at least 1 each; above 1 it is longer.

        Schedules are shares of a stage, so they keep their shape. Raises `InputError` unless 0 < length < infinity.
        """
        if not 0 < length < math.inf:
            raise InputError(f"length is a share of the preset's steps, above 0, such as 0.5; got {length}")
        stages = (replace(stage, steps=max(1, round(length * stage.steps))) for stage in self.stages)
        return replace(self, stages=tuple(stages))


def _smoke() -> TrainingConfig:
    video = Stage("video", 3, 2, 1e-3, LearningRate(), still_share=0.5, gaps=(1, 2))
    return TrainingConfig(
        (video,), size=64, min_pixels=16, stills=4, world_clips=3, world_frames=6, world_size=64, evaluations=1,
        eval_frames=4, final_frames=4, eval_clips=1,
    )  # fmt: skip


def _cpu() -> TrainingConfig:
    falling = LearningRate("cosine", warmup=0.03, floor=0.02)
    static = Stage("static", 3000, 4, 4e-4, falling, still_share=1.0, mining=(0.3, 0.8))
    video = Stage("video", 8500, 4, 3e-4, falling, still_share=0.2)
    return TrainingConfig((static, video), size=160, ema=0.995)


def _gpu() -> TrainingConfig:
    """Cheng et al. (2021): 300,000 steps on stills, 150,000 on clips; mining begins at 20,000 and ends at 70,000."""
    static = Stage("static", 300_000, 16, 1e-5, LearningRate("step", drops=(1 / 2,)), 1.0, mining=(20 / 300, 70 / 300))
    video = Stage("video", 150_000, 8, 1e-5, LearningRate("step", drops=(125 / 150,)), 0.0, mining=(20 / 150, 70 / 150))
    return TrainingConfig(
        (static, video), size=384, stills=4000, world_clips=600, world_frames=32, world_size=384, trunk_lr=1.0,
        clip_norm=0.0, precision="fp16", evaluations=10, eval_frames=0, eval_clips=24, workers=8,
    )  # fmt: skip
