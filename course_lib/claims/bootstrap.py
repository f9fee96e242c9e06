"""How sure a measured effect is: a paired bootstrap over random seeds and clips, and the verdict it gives.

Differences between two conditions on the same clip are resampled on two levels, seeds and clips (Davison and Hinkley,
1997, section 3.8; Owen, 2007, for the crossed case). Unusual: the spread of such a bootstrap is too small by
sqrt((n-1)/n) and knows nothing of the t distribution, which with three seeds turns "95 %" into 75 %; so it is widened
by both factors. In simulation the intervals then hold the truth in 94 % to 100 % of all cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from course_lib.errors import InputError

HOLDS = "holds"
FAILS = "does not hold here"
INCONCLUSIVE = "inconclusive"
UNTESTABLE = "not testable at this scale"
NOT_MEASURED = "not measured yet"


@dataclass(frozen=True)
class Interval:
    """Mean effect and its confidence interval, in the unit of the differences."""

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

    clips "own":    each seed has its own clips, as many as it likes; seeds are resampled, then clips within a seed.
                    A seed counts as one, however many clips it has.
    clips "same": all seeds have the same clips in the same order; seeds and clips are resampled independently.
    Treating such clips as own would be far too sure: what is odd about a clip would seem to average out over seeds.

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
    if resamples < 100 or not 0 < level < 1:
        raise InputError(f"resamples must be 100 or more and level between 0 and 1, got {resamples} and {level}")
    generator = np.random.default_rng(seed)
    picked = generator.integers(len(rows), size=(resamples, len(rows)))  # [R, S]
    if clips == "same":
        if len({len(row) for row in rows}) > 1:
            raise InputError(f"the same clips: every seed needs the same number, got {[len(row) for row in rows]}")
        table = np.stack(rows)  # [S, C]
        seed_weight = _counts(picked, len(rows))  # [R, S]
        clip_weight = _counts(generator.integers(table.shape[1], size=(resamples, table.shape[1])), table.shape[1])
        means = np.einsum("rs,sc,rc->r", seed_weight, table, clip_weight) / table.size
        units = min(table.shape) if table.shape[1] > 1 else table.shape[0]
    elif clips == "own":
        drawn = np.empty((resamples, len(rows)))
        for s, row in enumerate(rows):  # a seed drawn twice gets two independent draws of its clips
            times = picked == s
            drawn[times] = row[generator.integers(len(row), size=(int(times.sum()), len(row)))].mean(axis=1)
        means = drawn.mean(axis=1)
        units = len(rows)
    else:
        raise InputError(f"clips must be 'own' or 'same', got {clips!r}")
    mean = float(np.mean([row.mean() for row in rows]))
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    wider = np.sqrt(units / (units - 1)) * stats.t.isf(tail, units - 1) / stats.norm.isf(tail)
    return Interval(mean, float(mean + (low - mean) * wider), float(mean + (high - mean) * wider), level)


def verdict(interval: Interval, direction: Literal["greater", "less"], threshold: float = 0.0) -> str:
    """What an interval says about a claim: "holds" if all of it lies on the claimed side of `threshold`,
    "does not hold here" if all of it lies on the other side, "inconclusive" otherwise.
    """
    if direction not in ("greater", "less"):
        raise InputError(f"direction must be 'greater' or 'less', got {direction!r}")
    above, below = interval.low > threshold, interval.high < threshold
    if not above and not below:
        return INCONCLUSIVE
    return HOLDS if above == (direction == "greater") else FAILS


def _counts(picked: np.ndarray, n: int) -> np.ndarray:
    """How often each of n items was drawn in each resample: [R, m] indices -> [R, n]."""
    flat = picked + n * np.arange(len(picked))[:, None]
    return np.bincount(flat.ravel(), minlength=n * len(picked)).reshape(len(picked), n).astype(np.float64)
