"""Train one row of the recurrent family, test it, and write its weights with their card: `train_row`.

Unusual: no checkpoint is chosen. Every row trains equally long and is tested as it stands after its last step, on the
same clips whatever its random seed, so that rows can be compared clip by clip; the tracks that this needs are written
beside the weights.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from course_lib.methods.recurrent.ablation_rows import SHIPPED_ROWS, Row, row_named
from course_lib.methods.recurrent.encoders_published import TrunkEncoder
from course_lib.methods.recurrent.rows import Network
from course_lib.methods.recurrent.scoring import Tracks, metrics, save_tracks, score
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import clip_source
from course_lib.methods.recurrent.train_task import RecurrentTask
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import load_exactly, read_state_dict
from course_lib.training import FitConfig, FitResult, fit
from course_lib.training.cards import Card, TrainedOn, load_card, save_card
from course_lib.training.data_sources import (
    DAVIS,
    IMAGENET_LITE0,
    IMAGENET_TORCHVISION,
    SMALL_WORLD,
    WORLD,
    YOUTUBE_VOS,
)
from course_lib.training.export import SHIPPED_BYTES, export_weights
from course_lib.training.parallel import from_main
from course_lib.training.run_directory import describe_machine, now

TRACKS = "tracks.json"
LITE_NAME = "hs2s-lite"
_SAVED = 250  # steps between checkpoints


@dataclass(frozen=True, eq=False)
class TrainedRow:
    """What a run made."""

    row: Row
    network: Network
    weights: Path
    """Half precision, safetensors; the card and tracks.json lie beside it."""
    card: Card
    tracks: Tracks
    """Scores of every test clip, frame by frame; `course_lib.metrics.slices` makes tables of them."""
    fit: FitResult


def train_row(
    row: str | Row,
    preset: str | RecurrentTraining,
    run_directory: str | Path,
    seed: int = 0,
    *,
    name: str = "",
    start: nn.Module | None = None,
    data_root: str | Path | None = None,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> TrainedRow:
    """Train a row, or go on with what `run_directory` holds, test it, and write its weights, card and tracks there.

    row        a name of `ablation_rows.ROWS`, or a `Row`
    preset     smoke, cpu or gpu, or a `RecurrentTraining`
    seed       of the first weights, the clips and the teacher; test clips are the same for all
    name       of the weights; by default the row's. A preset of "hs2s-lite" is one of `RecurrentTraining.lite`
    start      begin with the weights of this network, to train it on
    data_root  folder of real data sets, where the training uses them; else COURSE_DATA
    length     share of the preset's steps, above 0
    budget     what the run may cost, in words, kept before its first step; by default its number of steps
    fresh      forget an earlier run of this directory

    Called again on a finished run, it tests and writes anew. Raises `InputError` for an unknown row or preset and if
    the directory holds a run with other settings, `MissingDataError` for real data that are not there. Built in
    lessons 04 and 05.
    """
    row = row_named(row) if isinstance(row, str) else row
    name = name or row.name
    config, folder, place = preset, Path(run_directory).expanduser(), resolve_device(device)
    if isinstance(config, str):
        lite = name == LITE_NAME
        config = RecurrentTraining.lite(config) if lite else RecurrentTraining.preset(config, row.family)
    config = config.shortened(length)
    budget = budget or f"{config.steps:,} steps of {config.batch_size} clips"
    network = new_network(row, config, seed, start)
    looks = fit_config(config, seed, place)
    settings = {"row": row.name, "training": config, "fine_tuned": start is not None, "budget": budget}
    result = fit(
        network, RecurrentTask(row, config, clip_source(config, seed, data_root), seed), looks, folder, device=place,
        parameters=parameter_groups(network, config.trunk_lr), settings=settings, fresh=fresh, progress=progress,
    )  # fmt: skip

    def finish() -> tuple[Path, Card, Tracks]:
        weights = export_weights(network, folder / f"{name}.safetensors", limit=_limit(config))
        tracks = score(network, config, data_root)
        data = _learnt_from(config)
        card = Card(
            name=name,
            description=f"{row.description}; trained on {data[0].name}",
            command=_command(name, preset, length, seed),
            seed=seed,
            data=data,
            licence=data[0].licence,
            budget=budget,
            minutes=result.minutes,
            machine=describe_machine(place),
            metrics=metrics(tracks),
            date=now()[:10],
            notes=f"The weights after {config.steps:,} steps computed in {looks.precision}; no checkpoint was chosen. "
            "Scored before the weights were halved.",
        )
        save_card(card, weights)
        save_tracks(tracks, folder / TRACKS)
        return weights, load_card(weights), tracks

    return TrainedRow(row, network, *from_main(finish), result)


def new_network(row: Row, config: RecurrentTraining, seed: int, start: nn.Module | None = None) -> Network:
    """The network of a row before training: random weights of this seed, or those of `start`.

    Raises `InputError` if `start` is another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = row.network(config.size, config.imagenet and start is None)
    if start is not None:
        load_exactly(network, start.state_dict(), f"the network to start row {row.name!r} from")
    return network.to(memory_format=torch.channels_last)  # a quarter faster on a CPU


def load_row(row: str | Row, config: str | RecurrentTraining, weights: str | Path) -> Network:
    """The network that `train_row` wrote, ready to use. Raises `MissingDataError`, `InputError` for unfit weights."""
    row = row_named(row) if isinstance(row, str) else row
    config = RecurrentTraining.preset(config, row.family) if isinstance(config, str) else config
    network = row.network(config.size)
    load_exactly(network, read_state_dict(weights), Path(weights))
    return network.eval()


def fit_config(config: RecurrentTraining, seed: int, device: torch.device) -> FitConfig:
    """The loop's settings, the same for all rows."""
    return FitConfig(
        steps=config.steps, batch_size=config.batch_size, lr=config.lr, schedule=config.schedule,
        clip_norm=config.clip_norm, precision=config.precision_on(device), seed=seed,
        log_every=max(1, min(50, config.steps // 2)), checkpoint_every=min(_SAVED, max(1, config.steps // 2)), keep=2,
        workers=config.workers,
    )  # fmt: skip


def parameter_groups(network: nn.Module, trunk_lr: float) -> list[dict]:
    """Backbones that come with trained weights, with their share of the learning rate, and everything else."""
    trunks = [module.trunk for module in network.modules() if isinstance(module, TrunkEncoder)]
    slow = {id(weight) for trunk in trunks for weight in trunk.parameters()}
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [{"params": [weight for weight in learning if id(weight) not in slow]}]
    if slow:
        groups.append({"params": [weight for weight in learning if id(weight) in slow], "lr_scale": trunk_lr})  # type: ignore[dict-item]
    return groups


def _limit(config: RecurrentTraining) -> int | None:
    """Networks of the published size are too large to ship."""
    return SHIPPED_BYTES if config.data != "youtube_vos" else None


def _learnt_from(config: RecurrentTraining) -> tuple[TrainedOn, ...]:
    """What a network learnt from, the source with the strictest licence first."""
    if config.data == "small world":
        return (SMALL_WORLD,)
    first = DAVIS if config.data == "davis" else YOUTUBE_VOS
    world = (WORLD,) if config.world_share else ()
    trunk = (IMAGENET_LITE0 if config.size.backbone == "lite" else IMAGENET_TORCHVISION,) if config.imagenet else ()
    return (first, *world, *trunk)


def _command(name: str, preset: str | RecurrentTraining, length: float, seed: int) -> str:
    """What makes these weights again."""
    shorter = "" if length == 1 else f" --length {length:g}"
    if name in SHIPPED_ROWS:
        chosen = preset if isinstance(preset, str) else "(settings of its own, see config.json)"
        return f"course train {name} --preset {chosen}{shorter} --seed {seed}"
    return f"train_row({name!r}, …, seed={seed}) of course_lib.methods.recurrent.experiment{shorter}"
