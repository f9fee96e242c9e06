"""What is trained on cluttered digits, and how: a row of the published tables, and the numbers of a training run.

F. Azimi (2024), section 5.3.2, Tables 5.1 and 5.2. Unusual: one row more than published, an agent that sees its
previous move but has no memory, because the text adds both at once; and one with a perfect view, as an upper bound.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from course_lib.data.digit_images import Source
from course_lib.data.digits import ClutterConfig
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, Sampling
from course_lib.methods.spatial_transformer.networks import BodyConfig, Shape
from course_lib.methods.spatial_transformer.policies import AgentConfig
from course_lib.methods.spatial_transformer.policy_gradient import PolicyGradientConfig
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.presets import of_preset
from course_lib.training.schedules import LearningRate

Transform = Literal["none", "truth", "stn", "agent"]
ClassifierName = Literal["mlp", "lenet"]


@dataclass(frozen=True)
class System:
    """What stands between an image and its classifier. The class methods are the rows of Tables 5.1 and 5.2."""

    transform: Transform
    """none: the image as it is; truth: the view that the object fills; stn: one learnt warp; agent: many moves."""
    classifier: ClassifierName = "mlp"
    """mlp as in Table 5.1, lenet as in Table 5.2."""
    previous_action: bool = False
    """Agents: whether the previous move goes in beside the view."""
    memory: bool = False
    """Agents: whether there is an LSTM."""
    critic: bool = False
    """Agents: whether a critic supplies the baseline (AC) or not (PG)."""

    def __post_init__(self) -> None:
        for name, kinds in (("transform", Transform), ("classifier", ClassifierName)):
            if getattr(self, name) not in get_args(kinds):
                raise InputError(f"{name} must be one of {', '.join(get_args(kinds))}; got {getattr(self, name)!r}")
        if self.transform != "agent" and (self.previous_action or self.memory or self.critic):
            raise InputError(f"previous_action, memory and critic belong to agents, not to {self.transform!r}")

    @classmethod
    def plain(cls, classifier: ClassifierName = "mlp") -> "System":
        """The classifier on the raw image."""
        return cls("none", classifier)

    @classmethod
    def truth(cls, classifier: ClassifierName = "mlp") -> "System":
        """The classifier on the view that the object's true box fills: what a perfect search would give it."""
        return cls("truth", classifier)

    @classmethod
    def stn(cls, classifier: ClassifierName = "mlp") -> "System":
        """One affine view, found by the gradient."""
        return cls("stn", classifier)

    @classmethod
    def image_only(cls, classifier: ClassifierName = "mlp") -> "System":
        """SSTN, LeNet policy, policy gradient."""
        return cls("agent", classifier)

    @classmethod
    def previous_move(cls, classifier: ClassifierName = "mlp") -> "System":
        """SSTN, LeNet and the previous move, no LSTM, policy gradient: the row that is missing in print."""
        return cls("agent", classifier, previous_action=True)

    @classmethod
    def recurrent(cls, classifier: ClassifierName = "mlp") -> "System":
        """SSTN, LeNet + LSTM policy, policy gradient."""
        return cls("agent", classifier, previous_action=True, memory=True)

    @classmethod
    def actor_critic(cls, classifier: ClassifierName = "mlp") -> "System":
        """SSTN, LeNet + LSTM policy, actor-critic."""
        return cls("agent", classifier, previous_action=True, memory=True, critic=True)

    @property
    def label(self) -> str:
        """As in the tables: "MLP + STN"."""
        classifier = {"mlp": "MLP", "lenet": "LeNet"}[self.classifier]
        if self.transform != "agent":
            return classifier + {"none": "", "truth": " on the true box", "stn": " + STN"}[self.transform]
        sees = "image" + (" + previous move" if self.previous_action else "") + (" + LSTM" if self.memory else "")
        return f"{classifier} + SSTN ({sees}, {'AC' if self.critic else 'PG'})"


@dataclass(frozen=True)
class DigitTrainingConfig:
    """Images, episodes, networks and optimisation; the same numbers for all systems. `preset` gives three sizes."""

    clutter: ClutterConfig = field(default_factory=ClutterConfig.published)
    """Also whose digits, and in which folder they are; the split is that of the part being rendered."""
    train_images: int = 500_000
    """Rendered once and kept as bytes."""
    validation_images: int = 10_000
    """From base images kept out of training; they choose the checkpoint."""
    test_images: int = 100_000
    body: BodyConfig = field(default_factory=BodyConfig.lenet)
    """Of policy, critic, localisation network and LeNet classifier."""
    lstm: int = 256
    hidden: int = 128
    """Of the MLP classifier."""
    episode_length: int = 40
    shift: float | None = None
    """Pixels of a move to the side; None takes the published share, 4 of 80."""
    reward: RewardName = "loss_decrease"
    sampling: Sampling = "compose"
    estimator: PolicyGradientConfig = field(default_factory=PolicyGradientConfig)
    """Of agents without a critic; those with one take it as their baseline."""
    steps: int = 78_125
    """Updates, of all systems alike: ten passes. The text does not say how many."""
    batch_size: int = 64
    lr: float = 1e-4
    schedule: LearningRate = field(default_factory=LearningRate)
    warm_up: int = 0
    """First updates of an agent's run in which only the classifier learns, on raw images. Not in the source."""
    evaluations: int = 10
    """Looks at the validation images; the best one's weights are kept."""

    def __post_init__(self) -> None:
        counts = ("train_images", "validation_images", "test_images", "lstm", "hidden", "episode_length", "steps")
        for name in (*counts, "batch_size", "evaluations"):
            if getattr(self, name) < 1:
                raise InputError(f"DigitTrainingConfig.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.warm_up < self.steps:
            raise InputError(f"warm_up is part of the {self.steps} steps and leaves some, got {self.warm_up}")
        if self.estimator.baseline == "critic":
            raise InputError("whether there is a critic is said by the System; the estimator is for those without one")

    @classmethod
    def preset(cls, name: str) -> "DigitTrainingConfig":
        """smoke: seconds; cpu: a minute or two of one core per system; gpu: the published sizes, which take MNIST.

        Raises `InputError` for another name.
        """
        return of_preset(name, {"smoke": _smoke(), "cpu": _cpu(), "gpu": cls()})

    def shortened(self, length: float) -> "DigitTrainingConfig":
        """The same training in `length` times the updates, after the same warm-up; above 1 it is longer.

        Raises `InputError` unless 0 < length < infinity, and if nothing is left after the warm-up.
        """
        if not 0 < length < math.inf:
            raise InputError(f"length is a share of the preset's updates, above 0, such as 0.5; got {length}")
        return replace(self, steps=max(1, round(length * self.steps)))

    @property
    def image(self) -> Shape:
        """Channels, height and width of an image."""
        return 1, self.clutter.canvas, self.clutter.canvas

    def with_source(self, source: Source, root: str | Path | None = None) -> "DigitTrainingConfig":
        """The same training on the base images of another source; root: folder of real data sets, else COURSE_DATA."""
        return replace(self, clutter=replace(self.clutter, source=source, root=root))

    def environment(self) -> EnvironmentConfig:
        """The episodes: ten moves, and what they are paid for."""
        moves = ActionSet.search(self.clutter.canvas, self.shift)
        return EnvironmentConfig(moves, self.episode_length, self.reward, sampling=self.sampling)

    def agent(self, system: System) -> AgentConfig:
        """What the agent of a system sees and remembers."""
        return AgentConfig(self.body, self.lstm if system.memory else None, system.previous_action)

    def estimator_of(self, system: System) -> PolicyGradientConfig:
        """How the agent of a system estimates its gradient."""
        return replace(self.estimator, baseline="critic") if system.critic else self.estimator


def _smoke() -> DigitTrainingConfig:
    return DigitTrainingConfig(
        clutter=ClutterConfig(canvas=20, n_clutter=3, clutter_size=3, sprite=10),
        train_images=64, validation_images=16, test_images=24, body=BodyConfig((4, 4), (5, 3), 2, 1, hidden=16),
        lstm=8, hidden=16, episode_length=6, shift=2.0,
        estimator=PolicyGradientConfig(baseline="leave_one_out", entropy_weight=0.01),
        steps=4, batch_size=8, lr=1e-3, evaluations=2,
    )  # fmt: skip


def _cpu() -> DigitTrainingConfig:
    return DigitTrainingConfig(
        clutter=ClutterConfig(canvas=40, n_clutter=8, clutter_size=5, sprite=16),
        train_images=60_000, validation_images=1_000, test_images=2_000,
        body=BodyConfig((8, 16), (5, 3), stride=2, pool=1, hidden=64), lstm=64, episode_length=12, shift=3.0,
        estimator=PolicyGradientConfig(baseline="leave_one_out", entropy_weight=0.01),
        steps=4_000, lr=1e-3, schedule=LearningRate("cosine", floor=0.05), warm_up=600, evaluations=16,
    )  # fmt: skip
