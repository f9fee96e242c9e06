"""Whom does online training help? The experiments behind the claims of lesson 05 about it, with S2S of the table.

F. Azimi (2024), tables 6.1 and 6.4, where S2S gains most on categories that training did not show. Unusual: each clip
gets a network of its own, trained from the same weights on its first frame, so a few clips take a minute.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from course_lib.data.small_world import SmallClip
from course_lib.errors import MissingDataError
from course_lib.methods.recurrent.comparisons import TABLES, Pair, results_of
from course_lib.methods.recurrent.experiment import load_row
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.online import fine_tune_online
from course_lib.methods.recurrent.session import RecurrentSegmenter
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import small_tests
from course_lib.presets import of_preset
from course_lib.vos.analysis import follow_objects

ROW = "s2s"  # the system that the thesis quotes with and without
SEEN, UNSEEN = "plain", "unseen shapes"  # kinds of clips that differ in the objects' shapes alone


@dataclass(frozen=True)
class OnlineConfig:
    """How much online training each clip gets, and how many clips of each kind there are."""

    clips: int = 8
    steps: int = 50
    rate: float = 0.1
    """Learning rate, in units of the one that the network was trained with."""
    batch: int = 2
    """Synthetic clips per step,"""
    frames: int = 4
    """and frames of each."""

    @classmethod
    def preset(cls, name: str) -> "OnlineConfig":
        """smoke: seconds; cpu: about a minute per random seed; gpu: more clips, more steps."""
        return of_preset(name, {"smoke": cls(clips=1, steps=1, frames=2), "cpu": cls(), "gpu": cls(60, 200, batch=8)})


@dataclass(frozen=True, eq=False)
class OnlineScores:
    """J [C] of one kind of clips, as the network was and after online training."""

    before: Float[np.ndarray, "c"]
    after: Float[np.ndarray, "c"]


def tuned_and_as_it_was(preset: str, seed: int, folder: str | Path | None = None) -> Pair:
    """J of clips with seen, then with unseen shapes, [C] each: after online training on frame 0, and without it."""
    seen, unseen = online_scores(preset, seed, folder)
    return np.concatenate([seen.after, unseen.after]), np.concatenate([seen.before, unseen.before])


def gain_of_unseen_and_seen(preset: str, seed: int, folder: str | Path | None = None) -> Pair:
    """What online training adds to J, [C] each: on clips with unseen shapes, and with seen ones. Not the same clips."""
    seen, unseen = online_scores(preset, seed, folder)
    return unseen.after - unseen.before, seen.after - seen.before


def online_scores(preset: str, seed: int, folder: str | Path | None = None) -> tuple[OnlineScores, OnlineScores]:
    """On seen and on unseen shapes, the first clips of either test set. Computed once per process.

    Raises `MissingDataError` if the table's folder holds scores of the network but not its weights.
    """
    results_of(preset, (ROW,), seed, folder)  # trains it where it is not there
    weights = TABLES.folder(preset, folder) / ROW / str(seed) / f"{ROW}.safetensors"
    if not weights.is_file():
        raise MissingDataError(
            f"online training begins with the weights of row {ROW!r}, but there is no {weights}; copy them there, or "
            f"remove {weights.parent} so that the row is trained again"
        )
    return _scores(preset, seed, weights)


@lru_cache(maxsize=6)
def _scores(preset: str, seed: int, weights: Path) -> tuple[OnlineScores, OnlineScores]:
    config, online = RecurrentTraining.preset(preset), OnlineConfig.preset(preset)
    network = load_row(ROW, config, weights)
    assert isinstance(network, RecurrentVOS)
    sets = small_tests(config)
    seen, unseen = (
        [sets[kind][i] for i in range(min(online.clips, len(sets[kind])))] for kind in (SEEN, UNSEEN)
    )  # fmt: skip
    return _of_clips(network, seen, config, online, seed), _of_clips(network, unseen, config, online, seed)


def _of_clips(
    network: RecurrentVOS, clips: list[SmallClip], config: RecurrentTraining, online: OnlineConfig, seed: int
) -> OnlineScores:
    before, after = [], []
    for number, clip in enumerate(clips):
        assert clip.labels is not None
        tuned = fine_tune_online(
            network, clip.frames[0].float() / 255, clip.labels[:1].float(), online.steps, online.rate * config.lr,
            clips=online.batch, frames=online.frames, generator=torch.Generator().manual_seed(1000 * seed + number),
        )  # fmt: skip
        before.append(_J(network, clip))
        after.append(_J(tuned, clip))
    return OnlineScores(np.array(before), np.array(after))


def _J(network: RecurrentVOS, clip: SmallClip) -> float:
    """Mean over the frames after the first."""
    (track,) = follow_objects(RecurrentSegmenter(network), [clip])
    return float(track.mean(track.scored, "J"))
