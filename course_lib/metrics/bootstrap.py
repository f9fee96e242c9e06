"""How sure a mean is: bootstrap intervals over clips, or over random seeds and clips, paired or not.

What is resampled is what was drawn at random: clips and random seeds, never single frames or objects, which come
together (Davison and Hinkley, 1997, section 3.8). Unusual: the spread of such a bootstrap is too small by
sqrt((n-1)/n) and knows nothing of the t distribution, which with three seeds turns "95 %" into 75 %; so it is widened
by both factors. Where all seeds share their clips, seeds and clips are resampled on their own and widened on their own,
three seeds far more than a hundred clips, and the two half-widths are joined at right angles (Zou and Donner, 2008). In
simulation the intervals then hold the truth in 92 % to 99 % of all cases.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from course_lib.errors import InputError


@dataclass(frozen=True)
class Interval:
    """Mean effect and its confidence interval, in the unit of what was averaged. Unknown limits are NaN."""

    mean: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_bootstrap(
    differences: Sequence[Sequence[float] | Float[np.ndarray, "c"]] | Float[np.ndarray, "s c"],
    *,
    clips: Literal["own", "same"] = "own",
    resamples: int = 5000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of the mean of `differences[s][c]`, first minus second condition, seed s, clip c.

    clips "own":  each seed has its own clips, as many as it likes; seeds are resampled, then clips within a seed. A
                  seed counts as one, however many clips it has.
    clips "same": all seeds have the same clips in the same order; the doubt about seeds and that about clips add up as
                  variances do. Treating such clips as own would be far too sure: what is odd about a clip would seem to
                  average out over seeds. A single clip gives the doubt about seeds alone.

    Returns the plain mean over seeds of the mean over clips, and the widened percentile interval. The same input and
    random seed give the same interval. Raises `InputError` for fewer than two seeds, empty or ragged rows, NaN.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in differences]
    if len(rows) < 2:
        raise InputError(f"a spread over random seeds needs at least two of them, got {len(rows)}")
    if any(row.ndim != 1 or not len(row) for row in rows):
        raise InputError(f"each seed needs a list of at least one difference, got shapes {[row.shape for row in rows]}")
    if not all(np.isfinite(row).all() for row in rows):
        raise InputError("differences hold NaN or infinite values; leave such clips out of both conditions")
    _check_settings(resamples, level)
    generator = np.random.default_rng(seed)
    mean = float(np.mean([row.mean() for row in rows]))
    if clips == "own":
        picked = generator.integers(len(rows), size=(resamples, len(rows)))  # [R, S]
        drawn = np.empty((resamples, len(rows)))
        for s, row in enumerate(rows):  # a seed drawn twice gets two independent draws of its clips
            times = picked == s
            drawn[times] = row[generator.integers(len(row), size=(int(times.sum()), len(row)))].mean(axis=1)
        return _widened(mean, drawn.mean(axis=1), len(rows), level)
    if clips != "same":
        raise InputError(f"clips must be 'own' or 'same', got {clips!r}")
    if len({len(row) for row in rows}) > 1:
        raise InputError(f"the same clips: every seed needs the same number, got {[len(row) for row in rows]}")
    table = np.stack(rows)  # [S, C]
    parts = [_resampled(table.mean(axis=1), mean, resamples, level, generator)]
    if table.shape[1] > 1:
        parts.append(_resampled(table.mean(axis=0), mean, resamples, level, generator))
    below, above = (math.hypot(*sides) for sides in zip(*((mean - p.low, p.high - mean) for p in parts)))
    return Interval(mean, mean - below, mean + above, level)


def mean_interval(
    values: Sequence[float] | Float[np.ndarray, "n"],
    clips: Sequence[Hashable] | None = None,
    weights: Sequence[float] | Float[np.ndarray, "n"] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of `values` and its confidence interval, when whole clips are drawn at random.

    values   [N], one for each object (or difference of two methods on it, for a paired comparison)
    clips    [N] which clip each value comes from: values of one clip stay together; None: each is a clip of its own
    weights  [N] positive, the mean is weighted by them; None: all the same

    A clip with many objects counts more than one with few, as in the mean itself. No values give NaN three times, those
    of a single clip a mean without limits. Raises `InputError` for NaN, lengths that differ, weights that are not
    positive.
    """
    _check_settings(resamples, level)
    numbers = np.asarray(values, dtype=np.float64)
    heavy = np.ones_like(numbers) if weights is None else np.asarray(weights, dtype=np.float64)
    names = list(range(len(numbers))) if clips is None else list(clips)
    if numbers.ndim != 1 or heavy.shape != numbers.shape or len(names) != len(numbers):
        raise InputError(
            f"values [N], clips [N] and weights [N] must have one length, got {list(numbers.shape)}, "
            f"{len(names)} and {list(heavy.shape)}"
        )
    if not np.isfinite(numbers).all():
        raise InputError("values hold NaN or infinite numbers; leave such objects out")
    if not (np.isfinite(heavy).all() and (heavy > 0).all()):
        raise InputError("weights must be positive numbers")
    if not len(numbers):
        return Interval(math.nan, math.nan, math.nan, level)
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    at = np.array([places[name] for name in names])
    sums = np.bincount(at, weights=heavy * numbers)  # [C]
    totals = np.bincount(at, weights=heavy)
    mean = float(sums.sum() / totals.sum())
    if len(places) < 2:
        return Interval(mean, math.nan, math.nan, level)
    generator = np.random.default_rng(seed)
    chosen = _counts(generator.integers(len(places), size=(resamples, len(places))), len(places))  # [R, C]
    return _widened(mean, (chosen @ sums) / (chosen @ totals), len(places), level)


def _resampled(
    values: Float[np.ndarray, "n"], mean: float, resamples: int, level: float, generator: np.random.Generator
) -> Interval:
    """The widened interval of a mean of single values."""
    drawn = values[generator.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    return _widened(mean, drawn, len(values), level)


def _widened(mean: float, resampled: Float[np.ndarray, "r"], units: int, level: float) -> Interval:
    """The percentile interval of resampled means, widened around the mean for so few units."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    wider = np.sqrt(units / (units - 1)) * stats.t.isf(tail, units - 1) / stats.norm.isf(tail)
    return Interval(mean, float(mean + (low - mean) * wider), float(mean + (high - mean) * wider), level)


def _check_settings(resamples: int, level: float) -> None:
    if resamples < 100 or not 0 < level < 1:
        raise InputError(f"resamples must be 100 or more and level between 0 and 1, got {resamples} and {level}")


def _counts(picked: np.ndarray, n: int) -> np.ndarray:
    """How often each of n items was drawn in each resample: [R, m] indices -> [R, n]."""
    flat = picked + n * np.arange(len(picked))[:, None]
    return np.bincount(flat.ravel(), minlength=n * len(picked)).reshape(len(picked), n).astype(np.float64)
