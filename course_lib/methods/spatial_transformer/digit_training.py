"""Train one system of Tables 5.1 and 5.2 on cluttered digits and test it: `train_system`.

F. Azimi (2024), section 5.3.2. Unusual: the text reports the best result that was observed; here held-out images of the
training split choose the checkpoint, and the test images are looked at once, with moves drawn and with the likeliest.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data.digit_images import Source
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_parts import DigitImages, Part, render_part
from course_lib.methods.spatial_transformer.digit_task import DigitNetwork, DigitTask
from course_lib.methods.spatial_transformer.rollout import SearchScores, evaluate_policy
from course_lib.nn.weights import read_state_dict
from course_lib.training import FitConfig, FitResult, fit
from course_lib.training.parallel import from_main
from course_lib.training.run_directory import RunDirectory

_EVALUATED_AT_ONCE = 500
_DRAWS = 0  # random seed of the moves drawn for evaluation


@dataclass(frozen=True, eq=False)
class TrainedSystem:
    """What a run made, with the weights of its best checkpoint."""

    system: System
    config: DigitTrainingConfig
    network: DigitNetwork
    test: SearchScores
    """On test images; an agent's moves are drawn, as in training. Without an agent there is only t = 0."""
    greedy: SearchScores | None
    """The same with the likeliest moves; None without an agent."""
    fit: FitResult
    """Of the run, for its learning curve and its minutes."""

    @property
    def correct(self) -> Bool[Tensor, "n"]:
        """Whether the answer to each test image is right, at the end of the episode."""
        return self.test.correct[:, -1]

    @property
    def accuracy(self) -> float:
        """Share of right answers on test images, in [0, 1]."""
        return float(self.test.accuracy[-1])

    @property
    def greedy_accuracy(self) -> float:
        """The same with the likeliest moves; that of the one view for a system without an agent."""
        return self.accuracy if self.greedy is None else float(self.greedy.accuracy[-1])


def train_system(
    system: System,
    config: str | DigitTrainingConfig = "cpu",
    run: str | Path | None = None,
    *,
    source: Source | None = None,
    root: str | Path | None = None,
    seed: int = 0,
    start: DigitNetwork | None = None,
    device: str | torch.device = "auto",
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> TrainedSystem:
    """Train a system, choose its best checkpoint on validation images, and test it once.

    system   a row of the tables, for example `System.stn()`
    config   smoke, cpu or gpu, or a `DigitTrainingConfig`
    run      run directory; called again, an interrupted run goes on where it stopped. None keeps nothing on disk
    source   whose base images; None takes the config's: the built-in digits, but MNIST in the preset gpu
    root     folder of real data sets, else COURSE_DATA
    seed     of the images, the first weights, the order of samples and the moves drawn
    start    begin with the weights of this network instead of random ones, to fine-tune it
    budget   time set aside, in words; kept with the run before its first step
    fresh    forget an earlier run of this directory

    Raises `InputError` for an unknown preset or source, or if the directory holds a run with other settings;
    `MissingDataError` if the data set is not there. Built in lesson 01.
    """
    if isinstance(config, str):
        config = DigitTrainingConfig.preset(config)
    if source is not None or root is not None:
        config = config.with_source(source or config.clutter.source, root)
    network = _new_network(system, config, seed, start)
    anywhere = replace(config, clutter=replace(config.clutter, root=None))  # a run may go on with data moved elsewhere
    settings = {
        "system": system, "digits": anywhere, "seed": seed, "fine_tuned": start is not None, "budget": budget,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as unkept:
        folder = Path(unkept if run is None else run)
        task = DigitTask(config, part_of(config, "train", seed), seed)
        result = fit(
            network, task, fit_config(config, seed), folder, device=device, settings=settings, fresh=fresh,
            evaluate=scorer(part_of(config, "validation", seed)), progress=progress,
        )  # fmt: skip
        best = from_main(lambda: read_state_dict(RunDirectory(folder).best))
    network.load_state_dict(best)
    test = part_of(config, "test", seed)
    drawn = from_main(lambda: score(network, test))
    greedy = from_main(lambda: score(network, test, greedy=True)) if system.transform == "agent" else None
    return TrainedSystem(system, config, network, drawn, greedy, result)


def part_of(config: DigitTrainingConfig, part: Part, seed: int) -> DigitImages:
    """The images of a part that a run with this config and seed uses."""
    n = {"train": config.train_images, "validation": config.validation_images, "test": config.test_images}[part]
    return render_part(config.clutter, part, n, seed)


def fit_config(config: DigitTrainingConfig, seed: int) -> FitConfig:
    """The loop's settings. No limit on the gradient's norm: it would tie classifier, policy and critic together."""
    period = math.ceil(config.steps / config.evaluations)
    return FitConfig(
        steps=config.steps, batch_size=config.batch_size, lr=config.lr, schedule=config.schedule, seed=seed,
        log_every=max(1, min(50, config.steps // 3)), evaluate_every=period, checkpoint_every=period, best="accuracy",
    )  # fmt: skip


def scorer(images: DigitImages) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation for `fit`: accuracy in [0, 1] and loss in nats at the end of the episodes, moves drawn."""

    def measure(network: nn.Module) -> dict[str, float]:
        if not isinstance(network, DigitNetwork):
            raise InputError(f"this evaluation scores a DigitNetwork, got {type(network).__name__}")
        scores = score(network, images)
        return {"accuracy": float(scores.accuracy[-1]), "loss": float(scores.loss[-1])}

    return measure


@torch.no_grad()
def score(network: DigitNetwork, images: DigitImages, greedy: bool = False, draws: int = _DRAWS) -> SearchScores:
    """What a system answers to images; moves are drawn from the random seed `draws`, or `greedy`.

    A system without an agent answers once, at t = 0, and its `action_counts` are [0, A].
    """
    network.eval()
    device = next(network.parameters()).device
    batches = ([tensor.to(device) for tensor in batch] for batch in images.batches(_EVALUATED_AT_ONCE))
    if network.system.transform == "agent":
        generator = torch.Generator(device).manual_seed(draws)
        pairs = ((pixels, labels) for pixels, labels, _ in batches)
        return evaluate_policy(network.environment(), network.agent_policy(), pairs, greedy=greedy, generator=generator)
    correct, losses = [], []
    for pixels, labels, boxes in batches:
        logits = network.classifier(network.look(pixels, boxes))
        correct.append(logits.argmax(dim=1) == labels)
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
    none = torch.zeros(0, len(network.config.environment().actions), dtype=torch.long)
    return SearchScores(torch.cat(correct)[:, None].cpu(), (torch.stack(losses).sum() / len(images)).cpu()[None], none)


def _new_network(system: System, config: DigitTrainingConfig, seed: int, start: DigitNetwork | None) -> DigitNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DigitNetwork(system, config)
    if start is not None:
        if start.system != system or start.config.image != config.image or start.config.body != config.body:
            raise InputError(
                f"a run of {system.label!r} with {config.body} on images {config.image} cannot begin with a network of "
                f"{start.system.label!r} with {start.config.body} on images {start.config.image}"
            )
        network.load_state_dict(start.state_dict())
    return network
