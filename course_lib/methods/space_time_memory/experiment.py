"""Train the small space-time memory network, choose a checkpoint, and write it with its card: `train_small`.

Two networks come of it: "stcn-small" has seen DAVIS, so its weights may not be used commercially; "stcn-small-world"
has seen the synthetic world alone, and is chosen on it alone. Unusual: budget and settings are written into the run
directory before the first step, and the card quotes that file, so a budget cannot be fitted to what a run took.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory.config import SMALL, SMALL_MEMORY
from course_lib.methods.space_time_memory.network import STCN
from course_lib.methods.space_time_memory.session import SpaceTimeSegmenter
from course_lib.methods.space_time_memory.train_config import Stage, TrainingConfig
from course_lib.methods.space_time_memory.train_data import (
    SelectionClips,
    davis_folder,
    held_out_world,
    kept_out,
    training_data,
)
from course_lib.methods.space_time_memory.train_task import SpaceTimeTask
from course_lib.nn.device import resolve_device
from course_lib.training import FitConfig, FitResult, fit, load_best
from course_lib.training.cards import Card, TrainedOn, save_card
from course_lib.training.export import export_weights
from course_lib.training.run_directory import describe_machine, now, plain
from course_lib.vos.evaluation import evaluate
from course_lib.vos.report import Report

WORLD = TrainedOn(
    "the course's synthetic world",
    "MIT; photographs in it under the licences of scikit-image and scikit-learn",
    "see course_lib.data.world.photographs",
)
IMAGENET = TrainedOn(
    "ImageNet, through the weights of EfficientNet-Lite0", "Apache-2.0", "M. Tan and Q. Le, EfficientNet, ICML 2019"
)
DAVIS = TrainedOn(
    "DAVIS", "CC BY-NC 4.0", "F. Perazzi et al., A Benchmark Dataset and Evaluation Methodology, CVPR 2016"
)


@dataclass(frozen=True)
class Trained:
    """What a run made."""

    network: STCN
    weights: Path
    """Half precision, safetensors; the card lies beside it."""
    card: Card
    stages: tuple[FitResult, ...]


def train_small(
    preset: str | TrainingConfig,
    run_directory: str | Path,
    data_root: str | Path | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    *,
    world_only: bool = False,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> Trained:
    """Train, or go on with what `run_directory` holds, and write `<name>.safetensors` and its card there.

    preset      smoke, cpu or gpu, or a `TrainingConfig`
    data_root   folder with DAVIS in it; None takes what COURSE_DATA names
    world_only  use the synthetic world alone, also to choose the checkpoint; the name is then stcn-small-world
    budget      time and machine set aside, in words, for the card; by default the number of steps. That of the first
                call counts
    fresh       forget an earlier run of this directory

    Raises `MissingDataError` if real data are wanted and not there, `InputError` if the directory holds a run with
    other settings, `WriteError` if the disk is full. Built in lesson 13.
    """
    config = TrainingConfig.preset(preset) if isinstance(preset, str) else preset
    folder, place = Path(run_directory).expanduser(), resolve_device(device)
    davis = davis_folder(data_root)
    if davis is None and not world_only:
        raise MissingDataError(
            "stcn-small trains on DAVIS, which was not found; set COURSE_DATA or pass data_root, or train on the "
            "synthetic world with world_only=True"
        )
    name = "stcn-small-world" if world_only else "stcn-small"
    settings = {"name": name, "seed": seed, "config": plain(config)}
    plan = _planned(folder, settings, budget or _size_of(config), place, fresh)

    data = training_data(config, None if world_only else davis, seed)
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    net = STCN(SMALL, imagenet=True).to(memory_format=torch.channels_last)  # a seventh faster on a CPU
    torch.random.set_rng_state(torch_state)
    results = []
    for stage in config.stages:
        results.append(
            fit(
                net, SpaceTimeTask(stage, data.stills, data.clips), fit_config(config, stage, seed),
                folder / stage.name, device=device, evaluate=scorer(data.selection),
                parameters=parameter_groups(net, config.trunk_lr), settings={"training": settings}, fresh=fresh,
                progress=progress,
            )
        )  # fmt: skip
    if results[-1].best is not None:
        load_best(net, folder / config.stages[-1].name)
    metrics = _final_scores(net.eval(), config, davis, world_only, seed, results[-1])
    weights = export_weights(net, folder / f"{name}.safetensors")
    card = _card(name, plan, results, metrics, world_only, preset)
    save_card(card, weights)
    return Trained(net, weights, card, tuple(results))


def fit_config(config: TrainingConfig, stage: Stage, seed: int) -> FitConfig:
    """The loop's settings of one stage."""
    return FitConfig(
        steps=stage.steps, batch_size=stage.batch_size, lr=stage.lr, schedule=stage.schedule,
        weight_decay=config.weight_decay, clip_norm=config.clip_norm, precision=config.precision, ema=config.ema,
        seed=seed, log_every=max(1, min(50, stage.steps // 3)), best="JF",
        evaluate_every=math.ceil(stage.steps / config.evaluations), checkpoint_every=max(1, min(500, stage.steps // 3)),
        workers=config.workers,
    )  # fmt: skip


def parameter_groups(net: STCN, trunk_lr: float) -> list[dict]:
    """The pretrained trunk of the key encoder with its own share of the learning rate, and everything else."""
    trunk = {id(weight) for weight in net.key_encoder.trunk.parameters()}
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    return [
        {"params": [w for w in learning if id(w) not in trunk]},
        {"params": [w for w in learning if id(w) in trunk], "lr_scale": trunk_lr},
    ]


def scorer(clips: SelectionClips) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation for `fit`: J&F, J and F in [0, 1] with the course's small adaptive memory."""

    def score(net: nn.Module) -> dict[str, float]:
        if not isinstance(net, STCN):
            raise InputError(f"this evaluation scores an STCN, got {type(net).__name__}")
        report = score_clips(net, clips)
        return {"JF": report.JF, "J": report.J, "F": report.F}

    return score


def score_clips(net: STCN, clips: SelectionClips) -> Report:
    """J, F and frames per second of a network on clips."""
    return evaluate(SpaceTimeSegmenter(net, SMALL_MEMORY), clips, progress=False)


def _final_scores(
    net: STCN, config: TrainingConfig, davis: Path | None, world_only: bool, seed: int, last: FitResult
) -> dict[str, float]:
    """Scores of the chosen weights, by what they are scores on; J and F as percentages."""
    sets = [held_out_world(config, seed, config.final_frames)]
    if davis is not None:
        sets.append(kept_out(davis, config.final_frames))
    metrics: dict[str, float] = {}
    for clips in sets:
        report = score_clips(net, clips)
        measures = {"J&F": report.JF, "J": report.J, "F": report.F}
        metrics |= {f"{measure}, {clips.name}": round(100 * value, 1) for measure, value in measures.items()}
    # The last set has the larger frames.
    metrics[f"frames per second, {sets[-1].name}"] = round(report.fps, 1)
    if last.best is not None:
        chooser = sets[0] if world_only else sets[-1]
        metrics[f"step chosen by J&F, {chooser.name}"] = float(last.best.step)
    return metrics


def _size_of(config: TrainingConfig) -> str:
    """A budget in steps."""
    stages = ", ".join(f"{stage.name} {stage.steps} steps of {stage.batch_size}" for stage in config.stages)
    return f"{stages}, crops of {config.size}x{config.size}"


def _planned(folder: Path, settings: dict, budget: str, device: torch.device, fresh: bool) -> dict:
    """The plan that this directory was begun with; written now if there is none. Raises `InputError` for another."""
    path = folder / "plan.json"
    if path.is_file() and not fresh:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["settings"] != settings:
            raise InputError(
                f"{path} plans a run with other settings; use another directory, or fresh=True to begin again"
            )
        return plan
    plan = {"settings": settings, "budget": budget, "machine": describe_machine(device), "begun": now()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    return plan


def _card(
    name: str,
    plan: dict,
    results: list[FitResult],
    metrics: dict[str, float],
    world_only: bool,
    preset: str | TrainingConfig,
) -> Card:
    chosen = preset if isinstance(preset, str) else "(settings of its own, see plan.json)"
    seed = plan["settings"]["seed"]
    data = "the synthetic world" if world_only else "the synthetic world and DAVIS"
    return Card(
        name=name,
        description=f"Space-time memory network for CPUs (EfficientNet-Lite0 keys), trained on {data}",
        command=f"course train {name} --preset {chosen} --seed {seed}",
        seed=seed,
        data=(WORLD, IMAGENET) if world_only else (WORLD, IMAGENET, DAVIS),
        licence="MIT" if world_only else "CC BY-NC 4.0",
        budget=f"{plan['budget']} (planned {plan['begun']})",
        minutes=sum(result.minutes for result in results),
        machine=plan["machine"],
        metrics=metrics,
        date=now()[:10],
        notes=f"{'Held-out synthetic clips' if world_only else 'The kept-out DAVIS sequences'} chose the checkpoint, "
        "so the score on them is optimistic.",
    )
