"""Train the small space-time memory network, choose a checkpoint, and write it with its card: `train_small`.

Two networks come of it: "stcn-small" has seen DAVIS, so its weights may not be used commercially; "stcn-small-world"
has seen the synthetic world alone, and is chosen on it alone. Unusual: budget and settings are written into the run
directory before the first step, and the card quotes that file, so a budget cannot be fitted to what a run took.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory.config import SMALL, SMALL_MEMORY, SOFT_START
from course_lib.methods.space_time_memory.leaderboard import EVERYTHING, score_methods
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
from course_lib.training.cards import Card, load_card, save_card
from course_lib.training.data_sources import DAVIS, IMAGENET_LITE0, WORLD
from course_lib.training.export import export_weights
from course_lib.training.parallel import from_main, is_main_process
from course_lib.training.run_directory import describe_machine, now, plain
from course_lib.vos.evaluation import evaluate
from course_lib.vos.models import load_model
from course_lib.vos.protocol import VideoSegmenter
from course_lib.vos.report import Report

COMPARED = ("flow", "copy")  # methods without training that the card's scores stand beside


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
    length: float = 1.0,
    budget: str = "",
    fresh: bool = False,
    progress: bool = True,
) -> Trained:
    """Train, or go on with what `run_directory` holds, and write `<name>.safetensors` and its card there.

    preset      smoke, cpu or gpu, or a `TrainingConfig`
    data_root   folder with DAVIS in it; None takes what COURSE_DATA names
    world_only  use the synthetic world alone, also to choose the checkpoint; the name is then stcn-small-world
    length      share of the preset's steps, above 0
    budget      time and machine set aside, in words, for the card; by default the number of steps. That of the first
                call counts
    fresh       forget an earlier run of this directory

    Called again on a finished run, it scores and writes its card anew. Under `torchrun` the main process alone scores
    and writes; all return the same.

    Raises `MissingDataError` if real data are wanted and not there, `InputError` if the directory holds a run with
    other settings, `WriteError` if the disk is full. Built in lesson 13.
    """
    config = (TrainingConfig.preset(preset) if isinstance(preset, str) else preset).shortened(length)
    folder, place = Path(run_directory).expanduser(), resolve_device(device)
    davis = davis_folder(data_root)
    if davis is None and not world_only:
        raise MissingDataError(
            "stcn-small trains on DAVIS, which was not found; set COURSE_DATA or pass data_root, or train on the "
            "synthetic world with world_only=True"
        )
    name = "stcn-small-world" if world_only else "stcn-small"
    architecture = replace(SMALL, key_gain=SOFT_START) if world_only else SMALL  # the start that each was chosen with
    settings = {"name": name, "seed": seed, "config": plain(config), "network": plain(architecture)}
    plan = _planned(folder, settings, budget or _size_of(config), place, fresh)

    data = training_data(config, None if world_only else davis, seed)
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    net = STCN(architecture, imagenet=True).to(memory_format=torch.channels_last)  # a seventh faster on a CPU
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
    last = results[-1]
    if last.best is not None:
        load_best(net, folder / config.stages[-1].name)
    net.eval()

    def finish() -> tuple[Path, Card]:
        chooser = data.selection.name if last.best is not None else ""
        weights = export_weights(net, folder / f"{name}.safetensors")
        card = Card(
            name=name,
            description="Space-time memory network for CPUs (EfficientNet-Lite0 keys), trained on the synthetic world"
            + ("" if world_only else " and DAVIS"),
            command=_command(name, preset, length, seed),
            seed=seed,
            data=(WORLD, IMAGENET_LITE0) if world_only else (WORLD, IMAGENET_LITE0, DAVIS),
            licence="MIT" if world_only else "CC BY-NC 4.0",
            budget=f"{plan['budget']} (planned {plan['begun']})",
            minutes=sum(result.minutes for result in results),
            machine=plan["machine"],
            metrics=_final_scores(net, config, davis, seed, last),
            date=now()[:10],
            notes=_notes(last, chooser),
        )
        save_card(card, weights)
        return weights, load_card(weights)

    weights, card = from_main(finish)
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
    net: STCN, config: TrainingConfig, davis: Path | None, seed: int, last: FitResult
) -> dict[str, float]:
    """Scores of the chosen weights by what they are scores on, beside methods without training; in percent."""
    sets = [held_out_world(config, seed, config.final_frames)]
    if davis is not None:
        sets.append(kept_out(davis, config.final_frames))
    methods: dict[str, VideoSegmenter] = {"network": SpaceTimeSegmenter(net, SMALL_MEMORY)}
    methods |= {name: load_model(name) for name in COMPARED}
    metrics: dict[str, float] = {}
    for clips in sets:
        network, *others = [row for row in score_methods(methods, clips) if row.sequence == EVERYTHING]
        metrics |= {f"J&F, {clips.name}": network.JF, f"J, {clips.name}": network.J, f"F, {clips.name}": network.F}
        metrics |= {f"J&F of {row.model!r}, {clips.name}": row.JF for row in others}
        metrics[f"frames per second, {clips.name}"] = network.fps
    if last.best is not None:
        metrics["step of the checkpoint"] = float(last.best.step)
    return metrics


def _notes(last: FitResult, chooser: str) -> str:
    """What chose the checkpoint, and what that means for its scores; `chooser` is empty if nothing could."""
    looks = sum(row["phase"] == "eval" for row in last.rows)
    speed = f"Frames per second with {torch.get_num_threads()} Torch threads, on a machine that may have been busy."
    if last.best is None:
        return f"None of {looks} evaluations gave a score, so these are the weights of the last step. {speed}"
    return (
        f"The best of {looks} evaluations of the last stage by J&F on: {chooser}. No step was trained on these clips, "
        "but scores on them are selection scores, hence optimistic. The settings of 'flow' were chosen "
        f"with half of the DAVIS sequences in view, too. {speed}"
    )


def _command(name: str, preset: str | TrainingConfig, length: float, seed: int) -> str:
    """The command line that makes these weights again."""
    if not isinstance(preset, str):
        return f"course train {name} --preset (settings of its own, see plan.json) --seed {seed}"
    shorter = "" if length == 1 else f" --length {length}"
    return f"course train {name} --preset {preset}{shorter} --seed {seed}"


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
    if is_main_process():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    return plan
