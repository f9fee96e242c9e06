"""The rows of the comparison of curricula: what each scheme shows a classifier, and how long all of them train.

F. Azimi (2024), section 5.4.3 and Tables 5.3 to 5.6. Unusual: a laptop's schedules are shorter in epochs, with the pace
of the published ones kept in proportion, and end well before training does.
"""

from dataclasses import dataclass, field
from pathlib import Path

from course_lib.data.digits import ClutterConfig
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.curriculum import (
    Augmentation,
    Curriculum,
    DynamicMixedBatch,
    FixedSteps,
    IncrementalDifficulty,
    MixedBatch,
)
from course_lib.methods.spatial_transformer.networks import BodyConfig
from course_lib.presets import of_preset


@dataclass(frozen=True)
class CurriculumConfig:
    """Images, classifier and length of training, the same for every scheme. Raises `InputError` out of range.

    `preset` gives three sizes; `clutter.source` chooses the images (built-in digits, MNIST, Fashion-MNIST).
    """

    clutter: ClutterConfig = field(default_factory=ClutterConfig)
    train_images: int = 8000
    validation_images: int = 1000
    """From base images kept out of training; for the learning curve."""
    test_images: int = 4000
    """From the other split."""
    body: BodyConfig = field(default_factory=lambda: BodyConfig((8, 16), stride=2, pool=2, hidden=64))
    """Two convolutions; a small sibling of LeNet1, which has one, takes several times the updates to level off."""
    longest: int = 12
    """Moves of an episode: T."""
    shift: float | None = 3.0
    """Pixels of a shift in the episodes of oracle and wanderer; None takes the published share, 4 of 80."""
    epochs: int = 40
    """Passes over the training images: enough for training on originals to level off."""
    epochs_per_step: int = 2
    """Pace of the linear schedule, whose horizon T times this is also that of the cosine; 5 as published."""
    dynamic_epochs: int = 24
    """Until the dynamic mixed batch holds originals only; 64 as published."""
    decay: float = 7.0
    """Of the exponential schedule, in epochs; 30 as published."""
    batch_size: int = 64
    lr: float = 2e-3
    augmentation: Augmentation = field(default_factory=Augmentation)
    episodes: int = 1
    """Episodes recorded for each image, taken in turn from epoch to epoch; from 2 on they also augment."""
    evaluations: int = 8
    """Points of the learning curve."""
    agent: str = "sstn-digits"
    """Trained weights of the agent whose views are shown, among those that ship with the course."""
    agent_weights: Path | None = None
    """Another file of them instead, made at `agent_preset`."""
    agent_preset: str = "cpu"

    def __post_init__(self) -> None:
        images = ("train_images", "validation_images", "test_images", "batch_size", "episodes", "longest")
        epochs = ("epochs", "epochs_per_step", "dynamic_epochs", "evaluations")
        low = [name for name in images + epochs if getattr(self, name) < 1]
        if low or self.lr <= 0 or self.decay <= 0:
            raise InputError(f"{', '.join(low) or 'lr and decay'} must be positive, got {self}")
        if self.train_images < self.batch_size or self.evaluations > self.updates:
            raise InputError(f"expected an update per epoch and per evaluation at least, got {self}")

    @property
    def updates(self) -> int:
        """Of the weights, the same for every scheme."""
        return self.epochs * self.train_images // self.batch_size

    @classmethod
    def preset(cls, name: str) -> "CurriculumConfig":
        """smoke: a few updates; cpu: 40 seconds of one core for each scheme; gpu: the published sizes, on MNIST.

        Raises `InputError` for another name.
        """
        sizes = {
            "smoke": cls(
                train_images=128, validation_images=40, test_images=40, longest=3, epochs=4, epochs_per_step=1,
                dynamic_epochs=3, decay=1.0, evaluations=2,
            ),
            "cpu": cls(),
            "gpu": cls(
                ClutterConfig.published(), 500_000, 10_000, 100_000, BodyConfig.lenet1(), longest=40, shift=None,
                epochs=250, epochs_per_step=5, dynamic_epochs=64, decay=30.0, lr=1e-4, evaluations=25,
                agent_preset="gpu",
            ),
        }  # fmt: skip
        return of_preset(name, sizes)


@dataclass(frozen=True)
class Scheme:
    """One row of the comparison: what the classifier is shown, and whether random affine views come on top."""

    name: str
    curriculum: Curriculum
    augmentation: Augmentation | None = None


def scheme(name: str, config: CurriculumConfig, longest: int | None = None) -> Scheme:
    """The schemes of Tables 5.3 to 5.6 by name, at the sizes of `config`.

    name     "originals", "augmented", "mixed 4" (or another number of finished views per 64 images), "dynamic",
             "linear", "cosine", "exponential", "processed"
    longest  fewer moves than the config's T, for the ablation of Table 5.5; the pace stays, so training reaches the
             originals earlier

    Raises `InputError` for an unknown name or more moves than T.
    """
    steps = config.longest if longest is None else longest
    if not 1 <= steps <= config.longest:
        raise InputError(f"episodes have {config.longest} moves, so longest must be 1 … {config.longest}, got {steps}")
    label = name if longest is None else f"{name}, T = {longest}"
    match name.split():
        case ["originals"]:
            return Scheme(label, FixedSteps(0))
        case ["augmented"]:
            return Scheme(label, FixedSteps(0), config.augmentation)
        case ["processed"]:
            return Scheme(label, FixedSteps(steps))
        case ["mixed", count] if count.isdecimal():
            return Scheme(label, MixedBatch(steps, int(count)))
        case ["dynamic"]:
            return Scheme(label, DynamicMixedBatch(steps, config.dynamic_epochs))
        case ["linear" | "cosine" | "exponential" as shape]:
            horizon = steps * config.epochs_per_step
            return Scheme(label, IncrementalDifficulty(steps, shape, horizon, config.decay))
    raise InputError(
        f"unknown scheme {name!r}; there are originals, augmented, 'mixed 4', dynamic, linear, cosine, exponential, "
        "processed"
    )
