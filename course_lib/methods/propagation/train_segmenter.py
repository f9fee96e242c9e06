"""Train one of the small segmenters of lesson 06, score it, and write its weights with their card.

Unusual: what is scored is what ships, the weights after they were halved.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.load import build_segmenter
from course_lib.methods.propagation.scoring import ClassScores, score_frames
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_config import SegmenterTraining
from course_lib.methods.propagation.train_data import AugmentedFrames, held_out_pool, training_pool
from course_lib.methods.propagation.train_task import SegmenterTask, class_weights
from course_lib.nn.device import resolve_device
from course_lib.training import FitConfig, FitResult, fit
from course_lib.training.cards import Card, load_card, save_card
from course_lib.training.data_sources import CAMVID, DRIVING, IMAGENET_LITE0
from course_lib.training.export import export_weights, load_weights
from course_lib.training.parallel import from_main, is_main_process
from course_lib.training.run_directory import describe_machine, now

SHIPPED_BYTES = 6_000_000
_SAVED = 250  # steps between checkpoints

_OPTIMISTIC = "CamVid's validation frames are cut out of a drive whose other parts are in training: optimistic. "


@dataclass(frozen=True, eq=False)
class TrainedSegmenter:
    """What a run made."""

    network: FrameSegmenter
    weights: Path
    """Half precision, safetensors; the card lies beside it."""
    card: Card
    scores: ClassScores
    fit: FitResult


def train_segmenter(
    name: str,
    preset: str | SegmenterTraining,
    run_directory: str | Path,
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> TrainedSegmenter:
    """Train a segmenter, or go on with what `run_directory` holds, score it, and write weights and card there.

    name       icnet-small-driving, icnet-half-driving, lite-driving or lite-camvid
    preset     smoke, cpu or gpu, or a `SegmenterTraining`
    seed       of the first weights, the drives and the samples; test drives are the same for all
    data_root  folder of real data sets, where the training uses them; else COURSE_DATA
    length     share of the preset's steps, above 0
    budget     what the run may cost, in words, kept before its first step; by default its number of steps
    fresh      forget an earlier run of this directory

    Called again on a finished run, it scores and writes anew. Raises `InputError` for an unknown name or preset and if
    the directory holds a run with other settings, `MissingDataError` for real data that are not there.
    """
    config = SegmenterTraining.preset(preset, name) if isinstance(preset, str) else preset
    config, folder, place = config.shortened(length), Path(run_directory).expanduser(), resolve_device(device)
    budget = budget or f"{config.steps:,} steps of {config.batch_size} frames"
    pool = training_pool(config, seed, data_root, progress and is_main_process())
    task = SegmenterTask(AugmentedFrames(pool, config.augment, config.size, seed), class_weights(pool.frequencies()))
    network = new_segmenter(config, seed)
    result = fit(
        network, task, fit_config(config, seed), folder, device=place, parameters=parameter_groups(network, config),
        settings={"name": name, "training": config, "budget": budget}, fresh=fresh, progress=progress,
    )  # fmt: skip

    def finish() -> tuple[Path, Card, ClassScores]:
        limit = SHIPPED_BYTES if config.network != "icnet" else None
        weights = export_weights(network, folder / f"{name}.safetensors", limit=limit)
        held_out = held_out_pool(config, data_root)
        scores = score_frames(load_weights(network, weights), held_out)
        learnt = (CAMVID if config.data == "camvid" else DRIVING, *((IMAGENET_LITE0,) if _has_trunk(config) else ()))
        shorter = "" if length == 1 else f" --length {length:g}"
        chosen = preset if isinstance(preset, str) else "(settings of its own, see config.json)"
        card = Card(
            name=name,
            description=f"{type(network).__name__} for single frames; trained on {learnt[0].name}",
            command=f"course train {name} --preset {chosen}{shorter} --seed {seed}",
            seed=seed,
            data=learnt,
            licence=learnt[0].licence,
            budget=budget,
            minutes=result.minutes,
            machine=describe_machine(place),
            metrics=scores.metrics(held_out.name),
            date=now()[:10],
            notes=f"{_OPTIMISTIC if config.data == 'camvid' else ''}The weights after {config.steps:,} steps; no "
            "checkpoint was chosen. Scored after the weights were halved. Percent, counted over all pixels.",
        )
        save_card(card, weights)
        return weights, load_card(weights), scores

    weights, card, scores = from_main(finish)
    return TrainedSegmenter(load_weights(network, weights), weights, card, scores, result)


def new_segmenter(config: SegmenterTraining, seed: int) -> FrameSegmenter:
    """The network before training; random weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_segmenter(config.network, len(config.class_names), config.imagenet)
    return network.to(memory_format=torch.channels_last)  # faster on a CPU


def fit_config(config: SegmenterTraining, seed: int) -> FitConfig:
    """The loop's settings. Batch norm learns: most of these networks begin with random weights."""
    return FitConfig(
        steps=config.steps, batch_size=config.batch_size, optimizer=config.optimizer, lr=config.lr,
        schedule=config.schedule, weight_decay=config.weight_decay, clip_norm=config.clip_norm,
        precision=config.precision, freeze_batch_norm=False, seed=seed,
        log_every=max(1, min(50, config.steps // 2)), checkpoint_every=min(_SAVED, max(1, config.steps // 2)),
        workers=config.workers,
    )  # fmt: skip


def parameter_groups(network: nn.Module, config: SegmenterTraining) -> list[dict]:
    """A backbone that comes with trained weights, with its share of the learning rate, and everything else."""
    if not (isinstance(network, LiteSegmenter) and _has_trunk(config)):
        return [{"params": list(network.parameters())}]
    slow = {id(weight) for weight in network.pyramid.parameters()}
    rest = [weight for weight in network.parameters() if id(weight) not in slow]
    return [{"params": rest}, {"params": list(network.pyramid.parameters()), "lr_scale": config.trunk_lr}]


def _has_trunk(config: SegmenterTraining) -> bool:
    return config.network == "lite" and config.imagenet
