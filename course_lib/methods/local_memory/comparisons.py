"""The experiments behind the claims of lesson 07: rows of the ablation table, compared drive by drive.

M. Paul (2023), section 4.4. Unusual: an experiment is data that can be called; it names the rows it compares, and all
claims share one table, whose finished runs cost nothing. A number is the mean over what was cut out of one drive, seen
through noise and seen with glare, because these are not independent. What reading costs stands in `comparison_cost`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import stats

from course_lib.data.noisy_drives import TROUBLES
from course_lib.errors import InputError
from course_lib.methods.local_memory.ablation import EVERY, AblationResults, run_ablation
from course_lib.methods.local_memory.train_config import LocalMemoryTraining
from course_lib.training.tables import Tables

Preset = str | LocalMemoryTraining
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

TABLES = Tables("COURSE_LOCAL_MEMORY", Path("runs/local_memory"))


def results_of(preset: Preset, rows: tuple[str, ...], seed: int, folder: str | Path | None = None) -> AblationResults:
    """A table that holds these rows with this random seed; what is missing is trained, minutes for each row.

    Raises `InputError` for unknown rows, and for a folder whose rows were trained with other settings than the preset.
    """
    place = TABLES.folder(preset, folder)
    return run_ablation(preset, place, rows, (seed,), progress=False)


@dataclass(frozen=True)
class Score:
    """mIoU of a row, one number for each drive of the tests.

    trouble  "noise", "glare", or "all": the mean of both
    longest  read with the longest memory that the row was tested with, not with its own
    """

    row: str
    trouble: str = EVERY
    longest: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows that must be trained for it."""
        return (self.row,)

    def of(self, results: AblationResults, seed: int) -> Float[np.ndarray, "c"]:
        """[drives]."""
        place = results.seeds(self.row).index(seed)
        size = max(results.sizes(self.row)) if self.longest else None
        windows = results.training["drives"]["windows"]
        kinds = TROUBLES if self.trouble == EVERY else (self.trouble,)
        clips = np.mean([results.clip_iou(self.row, kind, size)[place] for kind in kinds], axis=0)  # [drives * windows]
        return clips.reshape(-1, windows).mean(axis=1)


@dataclass(frozen=True)
class Gain:
    """What one score has more than another."""

    of_row: Score
    over: Score

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows that must be trained for it."""
        return (self.of_row.row, self.over.row)

    def of(self, results: AblationResults, seed: int) -> Float[np.ndarray, "c"]:
        """[drives]."""
        return self.of_row.of(results, seed) - self.over.of(results, seed)


@dataclass(frozen=True)
class Comparison:
    """Two numbers of the same drives. Called with a preset and a random seed, it gives both, [C] each."""

    first: Score | Gain
    second: Score | Gain

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the table that it needs."""
        return tuple(dict.fromkeys((*self.first.rows, *self.second.rows)))

    def __call__(self, preset: Preset, seed: int, folder: str | Path | None = None) -> Pair:
        results = results_of(preset, self.rows, seed, folder)
        return self.first.of(results, seed), self.second.of(results, seed)


@dataclass(frozen=True)
class ClassRanks:
    """Rank correlation (Spearman) over classes: IoU of `base` against what `row` gains over `over`; beside it 0.

    One number for each random seed. Classes without a pixel in the tests are left out.
    """

    base: str
    row: str
    over: str

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the table that it needs."""
        return tuple(dict.fromkeys((self.base, self.row, self.over)))

    def __call__(self, preset: Preset, seed: int, folder: str | Path | None = None) -> Pair:
        results = results_of(preset, self.rows, seed, folder)
        base, after, before = (
            results.class_iou(row)[results.seeds(row).index(seed)] for row in (self.base, self.row, self.over)
        )
        known = np.isfinite(base) & np.isfinite(after) & np.isfinite(before)
        if known.sum() < 3:
            raise InputError(f"ranks need three classes or more, the tests show {known.sum()}")
        return np.array([rank_correlation(base[known], (after - before)[known])]), np.zeros(1)


def rank_correlation(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
    """Spearman's, in [-1, 1]; 0 where all values of one side are equal, so that there is no order."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(stats.spearmanr(x, y).statistic)


def _rows(first: str, second: str, trouble: str = EVERY) -> Comparison:
    return Comparison(Score(first, trouble), Score(second, trouble))


def _gains(first: tuple[str, str], second: tuple[str, str]) -> Comparison:
    one, two = (Gain(Score(row), Score(over)) for row, over in (first, second))
    return Comparison(one, two)


# What a memory is worth: L1 and L2. "memory" remembers two frames, and has windows of 7 cells.
one_frame_and_none = _rows("size-1", "frame")
four_frames_and_none = _rows("size-4", "frame")
memory_and_longer_training = _rows("memory", "decoder")
memory_and_self = _rows("memory", "self")
one_frame_and_self = _rows("size-1", "self")
four_frames_and_self = _rows("size-4", "self")
memory_and_self_noise = _rows("memory", "self", "noise")
memory_and_self_glare = _rows("memory", "self", "glare")
four_frames_and_one = _rows("size-4", "size-1")
first_frame_and_further = _gains(("size-1", "frame"), ("size-4", "size-1"))
first_frame_and_further_over_self = _gains(("size-1", "self"), ("size-4", "size-1"))

# Where it looks and how it is fused: L3, L4 and L7.
window_and_same_place = _rows("memory", "window-1")
large_window_and_same_place = _rows("window-11", "window-1")
window_and_same_place_over_self = _gains(("memory", "self"), ("window-1", "window-1-self"))
local_and_global = _rows("memory", "window-all")
gated_and_concatenated = _rows("memory", "concat")
plain_and_scaled = _rows("memory", "scale-sqrt")

# Longer memories and another network: L8 and L9.
read_longer = Comparison(Score("memory", longest=True), Score("memory"))
four_frames_read_longer = Comparison(Score("size-4", longest=True), Score("size-4"))
second_network = _rows("pyramid-memory", "pyramid-frame")
second_network_and_self = _rows("pyramid-memory", "pyramid-self")

# Which classes gain: L10.
class_ranks = ClassRanks("frame", "memory", "frame")
class_ranks_over_self = ClassRanks("frame", "memory", "self")
