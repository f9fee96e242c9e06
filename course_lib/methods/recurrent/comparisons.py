"""The experiments behind the claims of lessons 04 and 05: rows of the ablation table, compared clip by clip.

F. Azimi (2024), chapter 6. Unusual: an experiment is data that can be called. It names the rows, the column and the
clips it compares, so what a claim rests on can be read off, and all claims share one table: rows that the table's
folder holds cost nothing, others are trained. Where not said otherwise, clips are of all kinds.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from course_lib.errors import InputError
from course_lib.methods.recurrent.ablation import RESULTS, AblationResults, load_results, run_ablation
from course_lib.methods.recurrent.ablation_rows import ALIASES
from course_lib.methods.recurrent.measured import Third, size_thirds
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.training.run_directory import plain
from course_lib.training.tables import Tables

Preset = str | RecurrentTraining
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

TABLES = Tables("COURSE_RECURRENT", Path("runs/recurrent"))
EVERY = ("plain", "occlusion", "look-alikes", "unseen shapes")
SIZED = ("plain", "look-alikes", "unseen shapes")  # objects of all sizes; behind bars there are no large ones
HIDING = ("occlusion",)


def results_of(preset: Preset, rows: tuple[str, ...], seed: int, folder: str | Path | None = None) -> AblationResults:
    """A table that holds these rows with this random seed; what is missing is trained, minutes for each row.

    Raises `InputError` for unknown rows, and for a folder whose rows were trained with other settings than the preset.
    """
    place = TABLES.folder(preset, folder)
    path = place / RESULTS
    if path.is_file():
        known = _read(path, path.stat().st_mtime_ns)
        if all(seed in known.scores.get(ALIASES.get(row, row), {}) for row in rows):
            config = RecurrentTraining.preset(preset) if isinstance(preset, str) else preset
            if known.training != plain(config):
                raise InputError(
                    f"{path} was not trained as the preset says now; name another folder in {TABLES.variable}, or "
                    "move it away"
                )
            return known
    return run_ablation(preset, place, rows, (seed,), progress=False)


@dataclass(frozen=True)
class Score:
    """A number per clip: a column of a row, or with `less` that minus another number. See `gain` and `drop`."""

    row: str
    column: str
    less: "Score | None" = None

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows that must be trained for it."""
        return (self.row,) if self.less is None else (self.row, *self.less.rows)

    def of(self, results: AblationResults, seed: int, kind: str) -> Float[np.ndarray, "c"]:
        """For every clip of a kind, NaN where it has no such frame."""
        place = sorted(results.scores[ALIASES.get(self.row, self.row)]).index(seed)
        values = results.of(self.row, kind, self.column)[place]
        return values if self.less is None else values - self.less.of(results, seed, kind)


def gain(column: str, row: str, over: str) -> Score:
    """What one row has more than another, in one column."""
    return Score(row, column, less=Score(over, column))


def drop(row: str) -> Score:
    """J of the first 8 scored frames minus J of the last 6."""
    return Score(row, "J early", less=Score(row, "J late"))


@dataclass(frozen=True)
class Comparison:
    """Two scores of the same clips. Called with a preset and a random seed, it gives both, [C] each.

    kinds  of clips
    third  of each kind: only clips with the smallest or the largest objects; None takes all
    """

    first: Score
    second: Score
    kinds: tuple[str, ...] = EVERY
    third: Third | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the table that it needs."""
        return tuple(dict.fromkeys((*self.first.rows, *self.second.rows)))

    def __call__(self, preset: Preset, seed: int, folder: str | Path | None = None) -> Pair:
        results = results_of(preset, self.rows, seed, folder)
        pairs = []
        for kind in self.kinds:
            both = np.stack([score.of(results, seed, kind) for score in (self.first, self.second)])  # [2, C]
            if self.third is not None:
                both = both[:, size_thirds(_areas(results, self.first, seed, kind))[self.third]]
            pairs.append(both)
        return _known(pairs, f"{self.first.column!r} of {', '.join(self.kinds)}")


@dataclass(frozen=True)
class BySize:
    """One score on clips with small and on clips with large objects, paired by rank of size within a kind of clips.

    The pairs are of different clips, so their differences spread more than those of a row against another; what
    matters is that a pair is the same pair for every random seed.
    """

    score: Score
    first: Third
    second: Third
    kinds: tuple[str, ...] = SIZED

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the table that it needs."""
        return tuple(dict.fromkeys(self.score.rows))

    def __call__(self, preset: Preset, seed: int, folder: str | Path | None = None) -> Pair:
        results = results_of(preset, self.rows, seed, folder)
        pairs = []
        for kind in self.kinds:
            thirds = size_thirds(_areas(results, self.score, seed, kind))
            values = self.score.of(results, seed, kind)
            pairs.append(np.stack([values[thirds[self.first]], values[thirds[self.second]]]))  # [2, C // 3]
        return _known(pairs, f"{self.score.column!r} of {', '.join(self.kinds)}")


# What a recurrent network remembers: section 6.3.
recurrence = Comparison(Score("s2s", "J"), Score("mask-guided", "J"))
recurrence_lookalikes = Comparison(Score("s2s", "J"), Score("mask-guided", "J"), ("look-alikes",))
large_and_small = BySize(Score("s2s", "J"), "large", "small")
sure_of_large_and_small = BySize(Score("s2s", "confidence"), "large", "small")
skip_memory = Comparison(Score("s2s-skip1", "J"), Score("s2s", "J"))
skip_memory_by_size = BySize(gain("J", "s2s-skip1", over="s2s"), "small", "large")
second_skip_memory = Comparison(Score("s2s-plus-plus", "J"), Score("s2s-skip1-distance", "J"))
distance = Comparison(Score("s2s-distance", "J"), Score("s2s", "J"))
distance_contour = Comparison(gain("F", "s2s-distance", over="s2s"), gain("J", "s2s-distance", over="s2s"))
both_and_distance = Comparison(Score("s2s-skip1-distance", "JF"), Score("s2s-distance", "JF"))
both_and_skip_memory = Comparison(Score("s2s-skip1-distance", "JF"), Score("s2s-skip1", "JF"))
s2s_plus_plus = Comparison(Score("s2s-plus-plus", "JF"), Score("s2s", "JF"))
classes_22_and_6 = Comparison(Score("s2s-plus-plus-22", "JF"), Score("s2s-plus-plus-6", "JF"))
classes_42_and_6 = Comparison(Score("s2s-plus-plus-42", "JF"), Score("s2s-plus-plus-6", "JF"))
balanced_small = Comparison(Score("s2s", "J"), Score("s2s-plain-bce", "J"), SIZED, third="small")

# Recurrence and matching together: section 6.4. The baseline is S2S with the same skip-memory and distance classes.
hybrid = Comparison(Score("hs2s", "JF"), Score("s2s", "JF"))
hybrid_equal_parts = Comparison(Score("hs2s", "JF"), Score("s2s-star-plus", "JF"))
hybrid_and_matching = Comparison(Score("hs2s", "JF"), Score("rgmp", "JF"))
first_reference = Comparison(Score("hs2s-first", "JF"), Score("s2s-star-plus", "JF"))
previous_reference = Comparison(Score("hs2s-previous", "JF"), Score("s2s-star-plus", "JF"))
both_and_first = Comparison(Score("hs2s", "JF"), Score("hs2s-first", "JF"))
both_and_previous = Comparison(Score("hs2s", "JF"), Score("hs2s-previous", "JF"))
early_to_late = Comparison(drop("hs2s"), drop("s2s-star-plus"))
late_frames = Comparison(Score("hs2s", "J late"), Score("s2s-star-plus", "J late"))
after_occlusion = Comparison(Score("hs2s", "J after"), Score("s2s-star-plus", "J after"), HIDING)
after_occlusion_and_all = Comparison(
    gain("J after", "hs2s", over="s2s-star-plus"), gain("J", "hs2s", over="s2s-star-plus"), HIDING
)
zeros_and_initializer = Comparison(Score("hs2s", "JF"), Score("hs2s-initializer", "JF"))
own_and_shared_encoder = Comparison(Score("hs2s", "JF"), Score("hs2s-shared", "JF"))
sampled_and_taught = Comparison(Score("hs2s", "J"), Score("hs2s-teacher", "J"))
sampled_late_and_early = Comparison(
    gain("J late", "hs2s", over="hs2s-teacher"), gain("J early", "hs2s", over="hs2s-teacher")
)
blind_and_seeing = Comparison(Score("hs2s-blind", "JF"), Score("hs2s", "JF"))
blind_and_seeing_late = Comparison(Score("hs2s-blind", "J late"), Score("hs2s", "J late"), ("plain",))
blind_hybrid_equal_parts = Comparison(Score("hs2s-blind", "JF"), Score("s2s-star-plus", "JF"))

# Variants and choices: section 6.5.
convolution_and_cosine = Comparison(Score("hs2s", "JF"), Score("hs2s-cosine", "JF"))
attention_and_convolution = Comparison(Score("hs2s-attention", "JF"), Score("hs2s", "JF"))
both_ways = Comparison(Score("bi-hs2s", "JF"), Score("hs2s", "JF"))
both_ways_after_and_all = Comparison(gain("J after", "bi-hs2s", over="hs2s"), gain("J", "bi-hs2s", over="hs2s"), HIDING)
flow_objective = Comparison(Score("raft-hs2s", "JF"), Score("hs2s", "JF"))
tensor_train = Comparison(Score("hs2s-tt", "JF"), Score("hs2s", "JF"))
shallow_and_deep = Comparison(Score("hs2s", "JF"), Score("hs2s-deep", "JF"))
residual_and_plain = Comparison(Score("hs2s-residual", "JF"), Score("hs2s", "JF"))
dilated_and_residual = Comparison(Score("hs2s-dilated", "JF"), Score("hs2s-residual", "JF"))
without_and_with_aspp = Comparison(Score("hs2s-dilated", "JF"), Score("hs2s-dilated-aspp", "JF"))
residual_and_axial = Comparison(Score("hs2s-residual", "JF"), Score("hs2s-axial", "JF"))


def _areas(results: AblationResults, score: Score, seed: int, kind: str) -> Float[np.ndarray, "c"]:
    """Pixels of each clip's object where it first appears; any row tells."""
    return Score(score.row, "first area").of(results, seed, kind)


def _known(pairs: list[Float[np.ndarray, "2 c"]], what: str) -> Pair:
    """First and second of all clips; a clip without one of them drops out with both.

    Which clips have the frames asked for depends on their truth alone, so all random seeds keep the same.
    """
    both = np.concatenate(pairs, axis=1)
    both = both[:, np.isfinite(both).all(axis=0)]
    if not both.shape[1]:
        raise InputError(f"no test clip has {what}: such short clips show no late frames; use the preset cpu")
    return both[0], both[1]


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> AblationResults:
    """The results as they are since the file was last written."""
    return load_results(path)
