"""Train DQ-SSTN and the classifiers it has to beat, and test them image by image: `train_dq`, `train_classifier`.

F. Azimi (2024), section 5.5.2. Unusual: every comparison is paired, since all systems of one random seed begin with the
same classifier, see the same training images in the same order for the same number of updates, and are tested on the
same images; and a classifier trained on random moves stands beside the plain one, because exploration by itself is
augmentation.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.data.scene_batch import SceneBatch
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.dq_config import REWARDS, DQConfig
from course_lib.methods.spatial_transformer.dq_data import Parts, SalientImages, salient_parts
from course_lib.methods.spatial_transformer.dq_network import DQLearner, Played, SalientNetwork, answers, play, shares
from course_lib.methods.spatial_transformer.dq_task import AgentTask, ClassifierTask, RandomViews
from course_lib.methods.spatial_transformer.hard_mining import HardMining, Weighed
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.methods.spatial_transformer.salient import Accepted, accepted
from course_lib.nn.device import resolve_device
from course_lib.training import FitResult, fit

Run = str | Path | None


@dataclass(frozen=True, eq=False)
class AgentResult:
    """What a DQ-SSTN does on N test images, in greedy episodes for which no box was used."""

    network: SalientNetwork
    played: Played
    truth: SceneBatch
    """Of the test images, without pixels."""
    shares: Float[Tensor, "n t1"]
    """True IoU of the largest object's box and the view, before each move and after the last; in [0, 1]."""

    @property
    def predictions(self) -> Int[Tensor, "n"]:
        """Answers of the classifier on the last views."""
        return self.played.predictions

    @property
    def accepted(self) -> Accepted:
        """Which answers count as right: Top-1, "Top-2", Any, [N] each."""
        return accepted(self.predictions, self.truth.object_labels)

    @property
    def correct(self) -> Bool[Tensor, "n"]:
        """Top-1 with the agent."""
        return self.accepted.top1

    @property
    def share_before(self) -> Float[Tensor, "n"]:
        """Share of the image that the largest object fills."""
        return self.shares[:, 0]

    @property
    def share_after(self) -> Float[Tensor, "n"]:
        """True IoU after the last move."""
        return self.shares[:, -1]


@dataclass(frozen=True, eq=False)
class ClassifierResult:
    """A classifier without an agent, tested on images as they are."""

    classifier: nn.Module
    predictions: Int[Tensor, "n"]
    """On the test images."""
    truth: SceneBatch
    """Of the test images, without pixels."""
    fit: FitResult

    @property
    def accepted(self) -> Accepted:
        """Which answers count as right: Top-1, "Top-2", Any, [N] each."""
        return accepted(self.predictions, self.truth.object_labels)

    @property
    def correct(self) -> Bool[Tensor, "n"]:
        """Top-1."""
        return self.accepted.top1


@dataclass(frozen=True, eq=False)
class DQResult(AgentResult):
    """A trained DQ-SSTN on the test images, with the plain classifier beside it."""

    baseline: ClassifierResult
    """The plain classifier, trained with as many updates."""
    fit: FitResult

    @property
    def correct_before(self) -> Bool[Tensor, "n"]:
        """Top-1 of the plain classifier on the images as they are."""
        return self.baseline.correct


def train_classifier(
    config: str | DQConfig,
    views: RandomViews = "none",
    *,
    data: Parts | None = None,
    run: Run = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    fresh: bool = False,
    progress: bool = True,
) -> ClassifierResult:
    """Train a classifier alone, and test it on images as they are.

    views   "none": the plain classifier, row one of Table 5.7; "full" or "any_length": on views after random moves,
            the control that shows what exploration does for a classifier that will see no agent
    data    images to train, validate and test on, if not those of the config
    run     run directory, with which an interrupted training goes on; None keeps nothing
    seed    of scenes, initial weights and training

    Raises `InputError` for another kind of views or preset, `MissingDataError` if images are not there.
    """
    if views not in get_args(RandomViews):
        raise InputError(f"views must be one of {', '.join(get_args(RandomViews))}; got {views!r}")
    config = DQConfig.preset(config) if isinstance(config, str) else config
    train, validation, test = data or salient_parts(config, seed)
    classifier = initial_network(config, seed).classifier

    def score(network: nn.Module) -> dict[str, float]:
        right = answers(network, _pixels(validation)) == validation.truth.labels
        return {"accuracy": right.float().mean().item()}

    result = fit(
        classifier, ClassifierTask(config, train, seed, views), config.fit(seed), run, device=device, evaluate=score,
        settings={"salient": config, "views": views}, fresh=fresh, progress=progress,
    )  # fmt: skip
    return ClassifierResult(classifier, answers(classifier, _pixels(test)), test.truth, result)


def train_dq(
    config: str | DQConfig,
    reward: RewardName = "share_sign",
    *,
    mining: HardMining | None = None,
    baseline: ClassifierResult | None = None,
    start: SalientNetwork | None = None,
    data: Parts | None = None,
    run: Run = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    fresh: bool = False,
    progress: bool = True,
) -> DQResult:
    """Train a DQ-SSTN, and test it on images that it has not seen, greedily and without boxes.

    reward    one of the five of Table 5.7: loss_decrease, accuracy_change, share_growth, share_sign, weighted_sum
    mining    weights on hard images, as in Table 5.8
    baseline  the plain classifier of the same data and seed; None trains it first, in `run`/baseline
    start     weights to begin with, which are copied; exploration begins anew all the same, as the config says
    data      images to train, validate and test on, if not those of the config
    run       run directory, with which an interrupted training goes on; None keeps nothing

    Raises `InputError` for another reward or preset, or a baseline of other images; `MissingDataError` if images are
    not there. Built in lesson 03.
    """
    config = DQConfig.preset(config) if isinstance(config, str) else config
    if reward not in REWARDS:
        raise InputError(f"the reward must be one of {', '.join(REWARDS)}; got {reward!r}")
    if baseline is None:
        place = None if run is None else Path(run) / "baseline"
        baseline = train_classifier(
            config, data=data, run=place, seed=seed, device=device, fresh=fresh, progress=progress
        )
    train, validation, test = data or salient_parts(config, seed)
    if not torch.equal(baseline.truth.object_boxes, test.truth.object_boxes):
        raise InputError("the baseline was tested on other images; train it with the same data and seed")
    weights: dict[Weighed, Tensor] = {}
    if mining is not None:
        known = None
        if mining.by == "baseline":
            baseline.classifier.to(resolve_device(device))
            known = answers(baseline.classifier, _pixels(train)) == train.truth.labels
        weights[mining.weighed] = mining.weights(train.truth.share, known)
    learner = DQLearner(initial_network(config, seed) if start is None else deepcopy(start))

    def score(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, DQLearner)
        tested = evaluate_agent(model.network, validation)
        return {"accuracy": tested.correct.float().mean().item(), "share": tested.share_after.mean().item()}

    result = fit(
        learner, AgentTask(config, train, seed, reward, weights.get("reward"), weights.get("loss")),
        config.fit(seed), run, device=device, evaluate=score, parameters=parameter_groups(learner, config),
        settings={"salient": config, "reward": reward, "mining": mining}, fresh=fresh, progress=progress,
    )  # fmt: skip
    tested = evaluate_agent(learner.network, test)
    return DQResult(tested.network, tested.played, tested.truth, tested.shares, baseline, result)


def evaluate_agent(network: SalientNetwork, test: SalientImages) -> AgentResult:
    """Play greedily on test images, and only then look at their boxes and labels."""
    played = play(network, _pixels(test))
    truth = test.truth.to("cpu")
    return AgentResult(network, played, truth, shares(truth.boxes, played.matrices, network.config.size))


def parameter_groups(learner: DQLearner, config: DQConfig) -> list[dict]:
    """Classifier and Q-network with their own learning rates; the target network learns nothing."""
    return [
        {"params": list(learner.network.classifier.parameters())},
        {"params": list(learner.network.q_network.parameters()), "lr_scale": config.q.learning_rate / config.lr},
    ]


def initial_network(config: DQConfig, seed: int) -> SalientNetwork:
    """Networks with the initial weights of a random seed; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SalientNetwork(config)


def _pixels(images: SalientImages) -> Iterator[Tensor]:
    """Images alone: whoever is tested gets nothing else."""
    return (batch.images for batch in images.batches())
