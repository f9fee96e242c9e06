"""The agent that ships with lesson 03: trained here by one call, written with its card, loaded by one call.

Unusual: one file holds three networks, the Q-network, the classifier that was trained with it, and the plain classifier
of the same images, so that a lesson can say at once what the agent gains, and for which images.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.digit_weights import LEARNT_FROM
from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.dq_network import SalientNetwork, make_network
from course_lib.methods.spatial_transformer.dq_training import DQResult, train_dq
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.methods.spatial_transformer.salient import equal_bins, share_table
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import SHIPPED as FOLDER
from course_lib.nn.weights import find_weights, load_exactly, read_state_dict
from course_lib.training.cards import Card, load_card, save_card
from course_lib.training.export import export_weights
from course_lib.training.parallel import from_main
from course_lib.training.run_directory import describe_machine, now

NAME = "dq-sstn"
SHIPPED = FOLDER / f"{NAME}.safetensors"
LARGEST = 2_000_000  # bytes that these weights may take


class SalientModels(nn.Module):
    """What ships: `network` (Q-network and its classifier), and `plain`, the classifier without an agent."""

    def __init__(self, network: SalientNetwork, plain: nn.Module) -> None:
        super().__init__()
        self.network, self.plain = network, plain


@dataclass(frozen=True, eq=False)
class ShippedAgent:
    """What `train_shipped` made."""

    result: DQResult
    weights: Path
    """Half precision, safetensors; the card lies beside it."""
    card: Card


def train_shipped(
    preset: str | DQConfig,
    run_directory: str | Path,
    *,
    reward: RewardName = "share_sign",
    seed: int = 0,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> ShippedAgent:
    """Train agent and plain classifier on scenes of the built-in digits, and write dq-sstn.safetensors and its card.

    length  share of the preset's updates, above 0
    budget  time and machine set aside, in words, for the card; by default the number of updates

    Other arguments are those of `train_dq`, whose errors this raises; `InputError` also for other images, whose licence
    is not on record. Called again on a finished run, it tests and writes its card anew.
    """
    config = (DQConfig.preset(preset) if isinstance(preset, str) else preset).shortened(length)
    if config.scenes is None or config.scenes.source != "builtin":
        raise InputError("weights that ship are trained on scenes of the built-in digits, whose licences are on record")
    folder = Path(run_directory).expanduser()
    result = train_dq(config, reward, run=folder, seed=seed, device=device, fresh=fresh, progress=progress)
    models = SalientModels(result.network, result.baseline.classifier)

    def finish() -> tuple[Path, Card]:
        weights = export_weights(models, folder / f"{NAME}.safetensors", limit=LARGEST)
        card = Card(
            name=NAME,
            description="DQ-SSTN for scenes of digits: a Q-network that zooms in on the largest object, its "
            "classifier, and the plain classifier of the same scenes",
            command=f"course train {NAME} --preset {preset if isinstance(preset, str) else '(settings of its own)'} "
            f"{'' if length == 1 else f'--length {length:g} '}--seed {seed}",
            seed=seed,
            data=LEARNT_FROM["builtin"],
            licence=LEARNT_FROM["builtin"][0].licence,
            budget=budget or f"{config.steps:,} updates of {config.batch_size} episodes of {config.episode_length}",
            minutes=result.fit.minutes + result.baseline.fit.minutes,
            machine=describe_machine(resolve_device(device)),
            metrics=_metrics(result),
            date=now()[:10],
            notes=f"Rewarded by {reward}. The weights of the last update; nothing was chosen by a score. Test scenes "
            "show digits of other writers and typefaces than training scenes. Scored before the weights were halved.",
        )
        save_card(card, weights)
        return weights, load_card(weights)

    return ShippedAgent(result, *from_main(finish))


def load_dq_sstn(
    weights: str | Path | None = None, device: str | torch.device = "cpu", config: DQConfig | None = None
) -> SalientModels:
    """A trained DQ-SSTN: `models.network` for `play` and `evaluate_agent`, `models.plain` to compare with.

    weights  None takes those of the course; another file needs the `config` that it was trained with
    config   None takes that of the preset cpu

    Raises `MissingDataError` where there are no such weights, `InputError` for a file that is damaged or does not fit.
    """
    path = find_weights(NAME, weights)
    config = config or DQConfig.preset("cpu")
    models = SalientModels(SalientNetwork(config), make_network(config, config.classes))
    load_exactly(models, read_state_dict(path), path)
    return models.to(resolve_device(device)).eval()


def _metrics(result: DQResult) -> dict[str, float]:
    """Test scores in percent, with and without agent, over all images and over thirds by size."""
    images = f"{len(result.correct):,} test scenes"
    metrics = {}
    for system, right in (("with agent", result.accepted), ("plain classifier", result.baseline.accepted)):
        for name, value in zip(("Top-1", '"Top-2"', "Any"), right.accuracies, strict=True):
            metrics[f"{name}, {system}, {images}"] = 100 * value
    metrics[f"share of the frame before, {images}"] = 100 * result.share_before.mean().item()
    metrics[f"IoU with the frame after, {images}"] = 100 * result.share_after.mean().item()
    bins = share_table(
        result.share_before, result.share_after, result.correct_before, result.correct, equal_bins(result.share_before)
    )
    for name, row in zip(("smallest", "middle", "largest"), bins, strict=True):
        metrics[f"Top-1, with agent, {name} third"] = 100 * row.accuracy_after
        metrics[f"Top-1, plain classifier, {name} third"] = 100 * row.accuracy_before
    return {name: round(value, 2) for name, value in metrics.items()}
