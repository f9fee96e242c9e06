"""Do attention regularisers help? One network, trained on alike with and without each, judged on clips it never saw.

Source: Pourganjalikhan (2021), section 4.1, where both are trained from scratch and neither helps. Unusual: here the
course's small network is fine-tuned, on the synthetic world alone, and all arms see the same samples in the same order,
so that what differs between them is the regulariser. The held-out clips with one object and those with several differ
in the number of objects alone. Reallocation has two arms, since the text can be read in two ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from course_lib.data.clip import Clip
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.space_time_memory.config import MemoryConfig
from course_lib.methods.space_time_memory.experiment import parameter_groups
from course_lib.methods.space_time_memory.load import load_stcn_small
from course_lib.methods.space_time_memory.network import STCN, Regulariser
from course_lib.methods.space_time_memory.reallocation import ReallocationSegmenter
from course_lib.methods.space_time_memory.regularisers import (
    AffinityDropout,
    Background,
    Reallocation,
    ReallocationMode,
)
from course_lib.methods.space_time_memory.session import SpaceTimeSegmenter
from course_lib.methods.space_time_memory.train_config import Stage
from course_lib.methods.space_time_memory.train_data import SelectionClips, render
from course_lib.methods.space_time_memory.train_task import SpaceTimeTask
from course_lib.nn.device import resolve_device
from course_lib.presets import of_preset
from course_lib.training import FitConfig, LearningRate, fit
from course_lib.training.clips import ClipConfig, ClipSamples
from course_lib.vos.evaluation import evaluate
from course_lib.vos.report import Report

Arm = Literal["base", "dropout", "reallocation", "reallocation_open"]
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

# Added to the random seed, so that neither set shares a clip with the other or with what made the shipped weights.
_TRAINING, _HELD_OUT = 2_000_003, 3_000_017


@dataclass(frozen=True)
class AblationConfig:
    """How an arm is trained and tested; `preset` gives three sizes. Raises `InputError` if out of range."""

    steps: int = 160
    batch_size: int = 4
    size: int = 128
    """Side of a training crop in pixels, a multiple of 16."""
    lr: float = 1e-4
    """Peak; the pretrained trunk learns with a quarter of it."""
    rate: float = 0.5
    """Share of connections that dropout switches off."""
    reallocation: ReallocationMode = "post_softmax"
    """Which reading of the equation is trained and tested: that which does what it is meant for."""
    train_clips: int = 24
    train_frames: int = 16
    train_size: int = 160
    """Side of a synthetic frame in pixels, before cropping."""
    eval_clips: int = 8
    """Held-out clips of either kind, per random seed."""
    eval_frames: int = 24
    eval_size: int = 192
    min_pixels: int = 64
    """An object smaller than this in its first frame is not followed."""
    mem_every: int = 5
    """Frames between two writes at test time; the memory grows, as in the published evaluation."""
    top_k: int | None = 8
    """Memory cells that answer one query cell at test time; training reads all."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 16:
            raise InputError(f"the crop's side must be a multiple of 16 and 32 at least, got {self.size}")
        if min(self.train_clips, self.eval_clips) < 1 or self.train_frames < 3 or self.eval_frames < 2:
            raise InputError(f"expected a clip of each kind, 3 frames to train on and 2 to test on, got {self}")

    @classmethod
    def preset(cls, name: str) -> "AblationConfig":
        """smoke: two steps on tiny frames; cpu: about 80 seconds for each arm; gpu: longer, larger, more clips.

        Raises `InputError` for another name.
        """
        sizes = {
            "smoke": cls(
                steps=2, batch_size=2, size=64, train_clips=2, train_frames=6, train_size=64,
                eval_clips=2, eval_frames=7, eval_size=64, min_pixels=16,
            ),
            "cpu": cls(),
            "gpu": cls(
                steps=6000, batch_size=16, size=256, train_clips=240, train_size=288, eval_clips=40, eval_size=288
            ),
        }  # fmt: skip
        return of_preset(name, sizes)


@dataclass(frozen=True)
class ArmScores:
    """Scores of one trained network on held-out clips, per clip and per object."""

    multi: Report
    """Clips with three or four look-alikes."""
    single: Report
    """Clips with one object, else alike."""

    @property
    def JF(self) -> Float[np.ndarray, "c"]:
        """J&F of every clip in [0, 1], those with several objects first."""
        return np.concatenate([per_clip(self.multi), per_clip(self.single)])


def dropout_and_base(preset: str | AblationConfig, seed: int, start: Path | None = None) -> Pair:
    """J&F [C] per held-out clip, first with several objects, then with one: trained with dropout, and without.

    Dropout is off at test time. `start`: weights to begin from, None for those of the course. Everything is computed
    once per setting and kept. Raises `MissingDataError` without weights. Built in lesson 13.
    """
    return arm_scores(preset, "dropout", seed, start).JF, arm_scores(preset, "base", seed, start).JF


def reallocation_and_base(preset: str | AblationConfig, seed: int, start: Path | None = None) -> Pair:
    """The same for reallocation, which is active in training and at test time: objects read within their masks alone.

    With its background closed the network has to learn anew how to tell what is no object; fine-tuning is short for it.
    """
    return arm_scores(preset, "reallocation", seed, start).JF, arm_scores(preset, "base", seed, start).JF


def reallocation_open_and_base(preset: str | AblationConfig, seed: int, start: Path | None = None) -> Pair:
    """The same for reallocation within each object's cells, while those of the background stay open, as they were."""
    return arm_scores(preset, "reallocation_open", seed, start).JF, arm_scores(preset, "base", seed, start).JF


def multi_and_single(preset: str | AblationConfig, seed: int, start: Path | None = None) -> Pair:
    """What regularisers change, [C] each, on clips with several objects and on clips with one.

    The change of a clip is the mean J&F of two regularised networks, dropout and reallocation_open, minus that of the
    base; clips are not paired. Closed reallocation is left out: at this training length it loses far more than open
    reallocation loses, with one object too, so the mean would tell of the closing and hide what the others do.
    """
    base = arm_scores(preset, "base", seed, start)
    changed = [arm_scores(preset, "dropout", seed, start), arm_scores(preset, "reallocation_open", seed, start)]
    multi = np.mean([per_clip(scores.multi) for scores in changed], axis=0) - per_clip(base.multi)
    single = np.mean([per_clip(scores.single) for scores in changed], axis=0) - per_clip(base.single)
    return multi, single


def at_test_only(
    preset: str | AblationConfig,
    seed: int,
    start: Path | None = None,
    mode: ReallocationMode = "literal",
    background: Background = "ranked",
) -> Pair:
    """J&F [C] of the base with reallocation switched on at test time, which it never trained for, and of the base.

    By default the equation as printed, over the whole memory: nothing is closed, so that what is lost is lost to the
    factors alone.
    """
    config = _config(preset)
    switched = _scores(config, "base", seed, start, Reallocation(mode, background))
    return switched.JF, arm_scores(config, "base", seed, start).JF


def arm_scores(preset: str | AblationConfig, arm: Arm, seed: int, start: Path | None = None) -> ArmScores:
    """Train one arm, unless that was done before, and score it on the held-out clips."""
    if arm not in get_args(Arm):
        raise InputError(f"arm must be one of {', '.join(get_args(Arm))}; got {arm!r}")
    config = _config(preset)
    acting = regulariser(config, arm)
    return _scores(config, arm, seed, start, acting if isinstance(acting, Reallocation) else None)


@lru_cache(maxsize=64)
def _scores(
    config: AblationConfig, arm: Arm, seed: int, start: Path | None, reallocation: Reallocation | None
) -> ArmScores:
    """An arm read with reallocation, or plainly (None), at test time."""
    net = train_arm(config, arm, seed, start)
    multi, single = held_out(config, seed)
    return ArmScores(score(net, multi, config, reallocation), score(net, single, config, reallocation))


@lru_cache(maxsize=12)
def train_arm(config: AblationConfig, arm: Arm, seed: int, start: Path | None = None) -> STCN:
    """The network of `start` fine-tuned with an arm's regulariser. Kept, so do not change what comes back.

    Raises `MissingDataError` without weights.
    """
    net = load_stcn_small(start, resolve_device(config.device)).net
    fit(
        net, task(config, arm, seed), fit_config(config, seed), device=config.device,
        parameters=parameter_groups(net, trunk_lr=0.25), progress=False,
    )  # fmt: skip
    return net


def regulariser(config: AblationConfig, arm: Arm) -> Regulariser | None:
    """What acts on the attention of an arm while it trains."""
    match arm:
        case "dropout":
            return AffinityDropout("mask_inf", config.rate)
        case "reallocation":
            return Reallocation(config.reallocation, "closed")
        case "reallocation_open":
            return Reallocation(config.reallocation, "open")
        case _:
            return None


def task(config: AblationConfig, arm: Arm, seed: int) -> SpaceTimeTask:
    """Samples and losses of an arm. The samples depend on the random seed alone."""
    clips = _training_clips(config, seed)
    shown = ClipConfig(size=(config.size, config.size), min_pixels=config.min_pixels, paste=0.5, reverse=0.5)
    samples = ClipSamples(clips, shown, seed)
    return SpaceTimeTask(_stage(config), samples, samples, regulariser(config, arm))


def fit_config(config: AblationConfig, seed: int) -> FitConfig:
    """The training loop's settings, the same for all arms."""
    stage = _stage(config)
    return FitConfig(
        steps=stage.steps, batch_size=stage.batch_size, lr=stage.lr, schedule=stage.schedule, clip_norm=1.0,
        weight_decay=1e-7, seed=seed, log_every=max(1, config.steps // 10),
    )  # fmt: skip


def _stage(config: AblationConfig) -> Stage:
    """One run of the optimizer. Mining begins at once, since the easy pixels were learnt before."""
    falling = LearningRate("cosine", warmup=0.05, floor=0.02)
    return Stage("fine-tuning", config.steps, config.batch_size, config.lr, falling, still_share=0.0, mining=(0.0, 0.3))


@lru_cache(maxsize=1)
def _training_clips(config: AblationConfig, seed: int) -> Sequence[Clip]:
    """Rendered once for all arms."""
    return render(config.train_clips, config.train_frames, config.train_size, seed + _TRAINING)


def held_out(config: AblationConfig, seed: int) -> tuple[SelectionClips, SelectionClips]:
    """Clips with three or four look-alikes in turn, and clips with one object of the same kind: equally many."""
    return _clips(config, seed, "several objects", (3, 4)), _clips(config, seed, "one object", (1,))


def _clips(config: AblationConfig, seed: int, name: str, n_objects: tuple[int, ...]) -> SelectionClips:
    """Clips of the scenario "lookalikes", with all objects large enough in frame 0.

    Others are passed over, because reallocation has to be given all objects there. The choice looks at the truth only.
    """
    clips: list[Clip] = []
    draws = 10 * config.eval_clips
    for index in range(draws):
        n = n_objects[len(clips) % len(n_objects)]
        dials = scenario(
            "lookalikes", n_objects=n, lookalikes=n - 1, image_size=config.eval_size, length=config.eval_frames,
            dense_truth=False,
        )  # fmt: skip
        clip = World(dials).dataset(draws, seed + _HELD_OUT)[index]
        if clip.labels is None:
            raise InputError(f"clip {clip.name} of the synthetic world has no labels to score against")
        pixels = clip.labels[0].flatten().bincount(minlength=n + 1)[1 : n + 1]
        if int(pixels.min()) >= config.min_pixels:
            clips.append(Clip(clip.frames, clip.labels, f"{n}-{clip.name}", clip.fps))
        if len(clips) == config.eval_clips:
            return SelectionClips(f"held-out world, {name}", tuple(clips), "youtube_vos", adds_objects=False)
    raise InputError(
        f"only {len(clips)} of {draws} clips show {name} of {config.min_pixels} pixels each in their first frame, "
        f"{config.eval_clips} are needed; lower min_pixels or enlarge eval_size"
    )


def score(net: STCN, clips: SelectionClips, config: AblationConfig, reallocation: Reallocation | None) -> Report:
    """J and F of a network on clips, read with reallocation or, with None, plainly; the memory is the same."""
    if reallocation is None:
        plain = SpaceTimeSegmenter(net, MemoryConfig("every_k", config.mem_every, top_k=config.top_k))
        return evaluate(plain, clips, progress=False)
    changed = ReallocationSegmenter(
        net, reallocation.mode, config.mem_every, config.top_k, background=reallocation.background
    )
    return evaluate(changed, clips, progress=False)


def per_clip(report: Report) -> Float[np.ndarray, "c"]:
    """J&F of each clip, the mean over its objects, in [0, 1]."""
    return np.array([sequence.JF for sequence in report.sequences])


def _config(preset: str | AblationConfig) -> AblationConfig:
    return AblationConfig.preset(preset) if isinstance(preset, str) else preset
