"""Memory policies compared on the same weights and clips: the experiments behind lesson 13's claims about them.

Every run of a policy over the clips of a random seed is kept, so claims that share a run pay for it once. After
Pourganjalikhan (2021), sections 3.5.1 to 3.5.6. Unusual: only the bank differs between two runs (same network, clips,
top_k and interval of writing), and an index of use must also beat eviction at random and by age, which the thesis did
not try.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Float

from course_lib.data.hidden_target import TARGET, clear_frames
from course_lib.data.synthetic import SyntheticClip
from course_lib.errors import InputError
from course_lib.methods.space_time_memory.comparison_clips import (
    ComparisonConfig,
    Kind,
    clips_of,
)
from course_lib.methods.space_time_memory.config import SMALL_MEMORY, MemoryConfig, Policy
from course_lib.methods.space_time_memory.load import load_stcn_small
from course_lib.methods.space_time_memory.session import MemorySession, SpaceTimeSegmenter
from course_lib.metrics.sequence import evaluate_labels
from course_lib.metrics.statistics import statistics
from course_lib.nn.device import resolve_device
from course_lib.vos.engine import segment

Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]
TWO, THREE, FOUR = 2.0, 3.0, 4.0  # frames' worth of cells; two is what the thesis compares at
STANDARD: tuple[tuple[Policy, float], ...] = (
    ("every_k", TWO), ("first_and_latest", TWO), ("adaptive", TWO), ("softmax_index", TWO), ("fifo", TWO),
    ("random", TWO), ("adaptive", FOUR), ("pinned", FOUR), ("merging", FOUR),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PolicyRun:
    """One clip followed with one memory: T frames, K objects, all of them given in frame 0, which is not scored."""

    J: Float[np.ndarray, "k t"]
    F: Float[np.ndarray, "k t"]
    frames_held: Float[np.ndarray, "t"]
    """Frames' worth of cells in the memory that answered each frame; 0 for frame 0."""
    bytes_held: Float[np.ndarray, "t"]
    """Of those cells."""
    after: np.ndarray | None
    """Frames in which the target is clear again after it was hidden; None for clips that hide nothing."""
    seconds: float
    """Wall time in the method."""

    def JF(self, frames: int | None = None) -> float:
        """J&F of the first `frames` frames (None: all): mean over the scored frames, then over objects."""
        return float((self.J[:, 1:frames].mean() + self.F[:, 1:frames].mean()) / 2)

    def J_after(self) -> float:
        """Mean J of the target after it was hidden. Raises `InputError` for a clip that hides nothing."""
        if self.after is None:
            raise InputError("this clip hides nothing; compare on clips of kind 'hidden' or 'hidden_changed'")
        return float(self.J[TARGET - 1, self.after].mean())

    def J_decay(self) -> float:
        """Mean J of the first quarter of the scored frames minus that of the last, mean over objects."""
        return fmean(statistics(row).decay for row in self.J[:, 1:])


@dataclass(frozen=True, eq=False)
class PolicyRow:
    """One policy on the clips of one random seed, for a table."""

    policy: Policy
    capacity: float
    """Frames' worth of cells; a growing memory and first-and-latest do not look at it."""
    JF: Float[np.ndarray, "c"]
    J_after: Float[np.ndarray, "c"] | None
    """J of the target after it was hidden; None for clips that hide nothing."""
    frames_per_second: float
    mean_frames: float
    """In memory."""
    bytes_at_end: int


def small_segmenter(config: ComparisonConfig, memory: MemoryConfig, device: torch.device) -> SpaceTimeSegmenter:
    """The network that is compared, with one memory. Raises `MissingDataError` or `InputError` without its weights."""
    return load_stcn_small(config.weights, device, memory)


def memory_of(config: ComparisonConfig, policy: Policy, capacity: float = TWO, seed: int = 0) -> MemoryConfig:
    """The memory that a comparison runs. `seed` is that of random eviction; the other policies do not look at it."""
    return replace(
        SMALL_MEMORY, policy=policy, capacity=capacity, top_k=config.top_k, mem_every=config.mem_every,
        seed=seed if policy == "random" else 0,
    )  # fmt: skip


@cache
def run_policy(config: ComparisonConfig, seed: int, kind: Kind, memory: MemoryConfig) -> tuple[PolicyRun, ...]:
    """Follow the clips of one kind that a random seed picks, with one memory. Kept: the arrays are not to be changed.

    Raises `MissingDataError` without weights. Built in lesson 13.
    """
    segmenter = small_segmenter(config, memory, resolve_device("auto"))
    return tuple(
        _follow(segmenter, clip, None if kind == "changing" else clear_frames(clip, config.clear)[1])
        for clip in clips_of(config, seed, kind)
    )


def _follow(segmenter: SpaceTimeSegmenter, clip: SyntheticClip, after: np.ndarray | None) -> PolicyRun:
    assert clip.labels is not None
    run = segment(segmenter, clip.frames, clip.labels[0])
    assert isinstance(run.session, MemorySession)
    predicted, cells, held = [], [], []
    for probs in run:
        predicted.append(run.labels(probs).cpu())
        cells.append(run.session.bank.cells.stored)
        held.append(run.session.bank.used_bytes())
    score = evaluate_labels(torch.stack(predicted), clip.labels, ids=clip.ids.tolist())
    frames_held = np.array(cells) / cells[1]  # frame 0 alone was in memory when frame 1 was answered
    return PolicyRun(score.J, score.F, frames_held, np.array(held, dtype=float), after, run.seconds)


def policy_table(
    preset: str | ComparisonConfig,
    seed: int = 0,
    policies: Sequence[tuple[Policy, float]] = STANDARD,
    kind: Kind = "changing",
) -> list[PolicyRow]:
    """One row for each (policy, capacity in frames' worth of cells), on the clips that a random seed picks.

    Speeds are of one run each, in wall time: compare them only roughly, or see `comparison_speed`. Runs are kept, so
    a second table is free. Built in lesson 13.
    """
    config = config_of(preset)
    rows = []
    for policy, capacity in policies:
        runs = run_policy(config, seed, kind, memory_of(config, policy, capacity, seed))
        rows.append(
            PolicyRow(
                policy,
                capacity,
                JF=np.array([run.JF() for run in runs]),
                J_after=None if kind == "changing" else np.array([run.J_after() for run in runs]),
                frames_per_second=sum(run.J.shape[1] for run in runs) / sum(run.seconds for run in runs),
                mean_frames=fmean(run.frames_held[1:].mean() for run in runs),
                bytes_at_end=int(max(run.bytes_held[-1] for run in runs)),
            )
        )
    return rows


def capacity_curve(
    preset: str | ComparisonConfig, seed: int = 0, capacities: Sequence[float] = (1, 2, 3, 4, 5, 6, 7, 8)
) -> Float[np.ndarray, "p c"]:
    """J&F of the adaptive memory on changing clips at each capacity in frames' worth of cells, per clip."""
    config = config_of(preset)
    return np.stack([_JF(config, seed, "adaptive", capacity) for capacity in capacities])


def adaptive_and_first_latest(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] on changing clips: adaptive memory of two frames, and first-and-latest, which holds two as well."""
    config = config_of(preset)
    return _JF(config, seed, "adaptive"), _JF(config, seed, "first_and_latest")


def adaptive_and_every_k_short(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] on the beginning of changing clips: adaptive memory of two frames, and the memory that grows."""
    config = config_of(preset)
    return _JF(config, seed, "adaptive", frames=config.short), _JF(config, seed, "every_k", frames=config.short)


def gap_long_and_short(preset: str | ComparisonConfig, seed: int) -> Pair:
    """How far the adaptive memory of two frames lies behind the growing one in J&F [C]: whole clip, its beginning."""
    config = config_of(preset)
    long, short = (
        _JF(config, seed, "every_k", frames=frames) - _JF(config, seed, "adaptive", frames=frames)
        for frames in (None, config.short)
    )
    return long, short


def adaptive_bytes_end_and_quarter(preset: str | ComparisonConfig, seed: int) -> Pair:
    """Kilobytes [C] of cells in the adaptive memory of two frames at the end of a changing clip, and at a quarter."""
    return _bytes(config_of(preset), seed, "adaptive")


def growth_every_k_and_adaptive(preset: str | ComparisonConfig, seed: int) -> Pair:
    """Bytes at the end of a changing clip over those at a quarter, [C]: of the growing memory, and the adaptive one."""
    config = config_of(preset)
    growing, adaptive = (_bytes(config, seed, policy) for policy in ("every_k", "adaptive"))
    return growing[0] / growing[1], adaptive[0] / adaptive[1]


def count_and_softmax(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] on changing clips with an index of use that counts top-k votes, and one that sums softmax weights."""
    config = config_of(preset)
    return _JF(config, seed, "adaptive"), _JF(config, seed, "softmax_index")


def capacity_four_and_two(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] of the adaptive memory on changing clips at a capacity of four frames, and of two."""
    curve = capacity_curve(preset, seed, (FOUR, TWO))
    return curve[0], curve[1]


def decay_adaptive_and_first_latest(preset: str | ComparisonConfig, seed: int) -> Pair:
    """Decay of J [C] on changing clips: adaptive memory of two frames, and first-and-latest."""
    config = config_of(preset)
    adaptive, latest = (
        np.array([run.J_decay() for run in run_policy(config, seed, "changing", memory_of(config, policy))])
        for policy in ("adaptive", "first_and_latest")
    )
    return adaptive, latest


def adaptive_and_random(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] on changing clips at a capacity of two frames: the least used cells make room, and any cells."""
    config = config_of(preset)
    return _JF(config, seed, "adaptive"), _JF(config, seed, "random")


def adaptive_and_fifo(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J&F [C] on changing clips at a capacity of two frames: the least used cells make room, and the oldest."""
    config = config_of(preset)
    return _JF(config, seed, "adaptive"), _JF(config, seed, "fifo")


def first_latest_and_adaptive_after_hiding(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J [C] of the target after it was hidden, looking as before: first-and-latest, and adaptive memory of two."""
    config = config_of(preset)
    return _J_after(config, seed, "hidden", "first_and_latest"), _J_after(config, seed, "hidden", "adaptive")


def every_k_and_adaptive_after_hiding(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J [C] of the target after it was hidden: memory that keeps all it stored, and adaptive memory of two frames."""
    config = config_of(preset)
    return _J_after(config, seed, "hidden", "every_k"), _J_after(config, seed, "hidden", "adaptive")


def adaptive_and_first_latest_after_change(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J [C] of the target after it was hidden and changed: adaptive memory of two frames, and first-and-latest."""
    config = config_of(preset)
    adaptive, latest = (_J_after(config, seed, "hidden_changed", p) for p in ("adaptive", "first_and_latest"))
    return adaptive, latest


def pinned_and_adaptive_after_hiding(preset: str | ComparisonConfig, seed: int) -> Pair:
    """J [C] of the target after it was hidden, at a capacity of three frames: with frame 0 pinned, and without."""
    config = config_of(preset)
    return _J_after(config, seed, "hidden", "pinned", THREE), _J_after(config, seed, "hidden", "adaptive", THREE)


def config_of(preset: str | ComparisonConfig) -> ComparisonConfig:
    """The config, or that of a preset's name."""
    return preset if isinstance(preset, ComparisonConfig) else ComparisonConfig.preset(preset)


def _JF(
    config: ComparisonConfig, seed: int, policy: Policy, capacity: float = TWO, frames: int | None = None
) -> Float[np.ndarray, "c"]:
    runs = run_policy(config, seed, "changing", memory_of(config, policy, capacity, seed))
    return np.array([run.JF(frames) for run in runs])


def _J_after(
    config: ComparisonConfig, seed: int, kind: Kind, policy: Policy, capacity: float = TWO
) -> Float[np.ndarray, "c"]:
    return np.array([run.J_after() for run in run_policy(config, seed, kind, memory_of(config, policy, capacity))])


def _bytes(config: ComparisonConfig, seed: int, policy: Policy) -> Pair:
    """Kilobytes at the end, and at a quarter of the clip, when a memory of two frames has long been full."""
    runs = run_policy(config, seed, "changing", memory_of(config, policy))
    end, quarter = (np.array([run.bytes_held[t] / 1000 for run in runs]) for t in (-1, config.length // 4))
    return end, quarter
