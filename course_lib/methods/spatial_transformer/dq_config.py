"""How DQ-SSTN is trained on images of several objects: data, networks, episodes, Q-learning, at three sizes.

F. Azimi (2024), section 5.5.2. Unusual: `gpu` is the published training on PASCAL VOC, `cpu` is small scenes of digits
on which everything but the size is the same; what the text leaves open is said at the field.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from course_lib.data.scenes import SceneConfig
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, ShareKind
from course_lib.methods.spatial_transformer.exploration import EpsilonSchedule
from course_lib.methods.spatial_transformer.networks import BodyConfig, Shape
from course_lib.methods.spatial_transformer.q_learning import QConfig
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.presets import of_preset
from course_lib.training.config import FitConfig
from course_lib.training.schedules import LearningRate

# The five rewards of Table 5.7, in its order.
REWARDS: tuple[RewardName, ...] = ("loss_decrease", "accuracy_change", "share_growth", "share_sign", "weighted_sum")


@dataclass(frozen=True)
class DQConfig:
    """Defaults are the published training; `preset` gives the three sizes of the course."""

    scenes: SceneConfig | None = None
    """Scenes to render; None takes PASCAL VOC 2007 and 2012, relabelled by the largest object."""
    root: Path | None = None
    """Folder with VOC2007 and VOC2012, else COURSE_DATA."""
    train_images: int = 8218
    """Kept in memory; of PASCAL VOC the first ones, and it has this many."""
    validation_images: int = 500
    """For the curve during training only; nothing is chosen by it. Of PASCAL VOC, training images without flips."""
    test_images: int = 8333
    image: Shape = (3, 224, 224)
    classes: int = 20
    body: BodyConfig | None = None
    """Of classifier and Q-network; None is ResNet-18 with ImageNet weights for both, as the text seems to say."""
    episode_length: int = 10
    shift: float = 4.0
    """Pixels of a move to the side."""
    share: ShareKind = "true_iou"
    """Of the two readings of "IoU" the one that falls again when the object outgrows the view."""
    q: QConfig = field(default_factory=lambda: QConfig(huber_delta=10.0))
    """The text gives no Huber delta; with 1, values grow beyond what an episode can earn."""
    exploration: EpsilonSchedule = field(default_factory=EpsilonSchedule)
    """Its steps are transitions of single images, also where the text leaves that open."""
    replay: int = 1000
    """Transitions kept, as recipes."""
    replay_batches: int = 2
    """Transitions drawn for an update, in batches; the text gives neither."""
    steps: int = 12_841
    """Updates: 50 epochs."""
    batch_size: int = 32
    lr: float = 5e-6
    """Of the classifier; that of the Q-network is `q.learning_rate`."""
    schedule: LearningRate = field(default_factory=LearningRate)
    flip: bool = True
    """Mirror training images at random."""
    evaluations: int = 10
    """Looks at the validation images."""

    def __post_init__(self) -> None:
        counts = ("train_images", "validation_images", "test_images", "classes", "episode_length", "replay", "steps")
        for name in (*counts, "replay_batches", "batch_size", "evaluations"):
            if getattr(self, name) < 1:
                raise InputError(f"DQConfig.{name} must be at least 1, got {getattr(self, name)}")
        if self.scenes is not None and self.image != (1, self.scenes.canvas, self.scenes.canvas):
            raise InputError(
                f"scenes on a canvas of {self.scenes.canvas} are images {(1, self.scenes.canvas, self.scenes.canvas)}, "
                f"got image={self.image}"
            )
        if self.body is None and self.image[0] != 3:
            raise InputError(f"ResNet-18 takes images of 3 channels, got image={self.image}; give a body instead")

    @classmethod
    def preset(cls, name: str) -> "DQConfig":
        """smoke: seconds; cpu: a minute or two of one core; gpu: the published training. Raises `InputError` else."""
        return of_preset(name, {"smoke": _smoke(), "cpu": _cpu(), "gpu": cls()})

    def shortened(self, length: float) -> "DQConfig":
        """The same training in `length` times the updates, at least 1. Raises `InputError` unless 0 < length < inf."""
        if not 0 < length < math.inf:
            raise InputError(f"length is a share of the preset's updates, above 0, such as 0.5; got {length}")
        return replace(self, steps=max(1, round(length * self.steps)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.image[1], self.image[2]

    def actions(self) -> ActionSet:
        """Four shifts, a zoom, and staying."""
        return ActionSet.salient(self.size, self.shift)

    def environment(self, reward: RewardName) -> EnvironmentConfig:
        """Episodes paid by `reward`. Equation 5.20 has the weights 1 and 0.8 for "weighted_sum"."""
        return EnvironmentConfig(self.actions(), self.episode_length, reward, self.share)

    def fit(self, seed: int) -> FitConfig:
        """The loop's settings."""
        return FitConfig(
            steps=self.steps, batch_size=self.batch_size, lr=self.lr, schedule=self.schedule, seed=seed,
            log_every=max(1, min(50, self.steps // 4)), evaluate_every=math.ceil(self.steps / self.evaluations),
            checkpoint_every=max(1, min(500, self.steps // 4)),
        )  # fmt: skip


def _cpu() -> DQConfig:
    return DQConfig(
        scenes=SceneConfig(), train_images=8000, validation_images=500, test_images=2000, image=(1, 32, 32), classes=10,
        body=BodyConfig.scene(), episode_length=6, shift=3.0, replay=5000,
        q=QConfig(learning_rate=1e-3, huber_delta=10.0), exploration=EpsilonSchedule(decay=4000), steps=3000,
        lr=1e-3, flip=False, evaluations=6,
    )  # fmt: skip


def _smoke() -> DQConfig:
    return replace(
        _cpu(), train_images=64, validation_images=16, test_images=48, body=BodyConfig((4, 4), (5, 3), 2, 1, hidden=8),
        episode_length=3, replay=100, exploration=EpsilonSchedule(decay=50), steps=6, batch_size=8, evaluations=2,
        q=QConfig(learning_rate=1e-3, huber_delta=10.0, sync_every=2),
    )  # fmt: skip
