"""The agent that ships with lesson 01: trained here by one call, written with its card, loaded by one call.

Unusual: policy, critic and classifier are one file, since a policy is worth nothing with another classifier: it was
paid for views that suit this one; and the card holds what the same classifier scores without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from course_lib.data.digit_images import Source
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_task import DigitNetwork
from course_lib.methods.spatial_transformer.digit_training import TrainedSystem, train_system
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import SHIPPED, find_weights, load_exactly, read_state_dict
from course_lib.training.cards import Card, TrainedOn, load_card, save_card
from course_lib.training.export import export_weights
from course_lib.training.parallel import from_main
from course_lib.training.run_directory import describe_machine, now

LARGEST = 2_000_000  # bytes that these weights may take

SYSTEM = System.actor_critic()  # what ships: it has all three networks

LEARNT_FROM: Mapping[Source, tuple[TrainedOn, ...]] = MappingProxyType(
    {
        "builtin": (
            TrainedOn("handwritten digits of scikit-learn", "CC BY 4.0", "E. Alpaydin and C. Kaynak, UCI, 1998"),
            TrainedOn("digits of the DejaVu fonts, through matplotlib", "Bitstream Vera", "Bitstream, Inc."),
        ),
        "mnist": (TrainedOn("MNIST", "CC BY-SA 3.0", "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, 1998"),),
        "fashion_mnist": (TrainedOn("Fashion-MNIST", "MIT", "H. Xiao, K. Rasul, R. Vollgraf, 2017"),),
        "garments": (TrainedOn("the course's drawn garments", "MIT"),),
    }
)
NAMES: Mapping[Source, str] = MappingProxyType(
    {
        "builtin": "sstn-digits",
        "mnist": "sstn-mnist",
        "fashion_mnist": "sstn-fashion-mnist",
        "garments": "sstn-garments",
    }
)


@dataclass(frozen=True, eq=False)
class ShippedAgent:
    """What `train_sstn` made."""

    trained: TrainedSystem
    weights: Path
    """Half precision, safetensors; the card lies beside it."""
    card: Card


def train_sstn(
    preset: str | DigitTrainingConfig,
    run_directory: str | Path,
    *,
    source: Source = "builtin",
    root: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> ShippedAgent:
    """Train the actor-critic agent, the bare classifier and the STN, and write `<name>.safetensors` with its card.

    The name is sstn-digits, sstn-mnist, sstn-fashion-mnist or sstn-garments, after the source. `length`: share of the
    preset's steps. `budget`: time and machine set aside, in words; by default the number of steps. Other arguments
    are those of `train_system`, whose errors this raises.
    """
    if source not in NAMES:
        raise InputError(f"weights of {source!r} have no licence on record; train on one of {', '.join(NAMES)}")
    name, folder = NAMES[source], Path(run_directory).expanduser()
    config = (DigitTrainingConfig.preset(preset) if isinstance(preset, str) else preset).shortened(length)
    budget = budget or f"{config.steps:,} steps of {config.batch_size} images, episodes of {config.episode_length}"
    results = {
        system: train_system(
            system, config, folder / part, source=source, root=root, seed=seed, device=device, budget=budget,
            fresh=fresh, progress=progress,
        )
        for part, system in (("plain", System.plain()), ("stn", System.stn()), ("agent", SYSTEM))
    }  # fmt: skip
    agent = results[SYSTEM]

    def finish() -> tuple[Path, Card]:
        weights = export_weights(agent.network, folder / f"{name}.safetensors", limit=LARGEST)
        data = LEARNT_FROM[source]
        preset_name = preset if isinstance(preset, str) else "(settings of its own)"
        longer = "" if length == 1 else f" --length {length:g}"
        card = Card(
            name=name,
            description=f"{SYSTEM.label}: an agent that finds a digit among clutter by small warps, its critic, and "
            "its classifier",
            command=f"course train {name} --preset {preset_name}{longer} --seed {seed}",
            seed=seed,
            data=data,
            licence=data[0].licence,
            budget=budget,
            minutes=agent.fit.minutes,
            machine=describe_machine(resolve_device(device)),
            metrics=_metrics(agent, results),
            date=now()[:10],
            notes="The checkpoint was chosen on validation images, rendered from a tenth of the training split's base "
            "images that no step was trained on; test images come from the other split. Scored before the weights "
            "were halved.",
        )
        save_card(card, weights)
        return weights, load_card(weights)

    return ShippedAgent(agent, *from_main(finish))


def load_sstn(
    name: str = "sstn-digits",
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    config: DigitTrainingConfig | None = None,
    system: System = SYSTEM,
) -> DigitNetwork:
    """A trained agent: `network.policy`, `network.critic`, `network.classifier`, `network.environment()`.

    name     of weights that ship with the course
    weights  another file instead, with the `config` and `system` that it was trained with
    config   None takes that of the preset cpu

    Raises `MissingDataError` where there are no such weights, `InputError` for a file that is damaged or does not fit.
    """
    path = find_weights(name, weights)
    network = DigitNetwork(system, config or DigitTrainingConfig.preset("cpu"))
    load_exactly(network, read_state_dict(path), path)
    return network.to(resolve_device(device)).eval()


def shipped_card(name: str = "sstn-digits") -> Card:
    """The card of weights that ship with the course. Raises `MissingDataError` where they are not there."""
    return load_card(SHIPPED / f"{name}.safetensors")


def _metrics(agent: TrainedSystem, results: Mapping[System, TrainedSystem]) -> dict[str, float]:
    """Accuracies on test images in percent, of the agent and of what it stands beside."""
    images = f"{len(agent.correct):,} test images"
    metrics = {
        f"accuracy, moves drawn, {images}": 100 * agent.accuracy,
        f"accuracy, likeliest moves, {images}": 100 * agent.greedy_accuracy,
        f"accuracy before the first move, {images}": 100 * float(agent.test.accuracy[0]),
    }
    others = {system: result for system, result in results.items() if system != SYSTEM}
    metrics |= {f"accuracy of {system.label!r}, {images}": 100 * r.accuracy for system, r in others.items()}
    if agent.fit.best is not None:
        metrics["step of the checkpoint"] = float(agent.fit.best.step)
    return {name: round(value, 2) for name, value in metrics.items()}
