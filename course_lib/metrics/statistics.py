"""Mean, recall and decay: what a sequence of J or F values says about an object over time.

Statistics of the DAVIS benchmark (Perazzi et al., 2016). Unusual: the official program keeps the borders of the
quarters in one byte, so its decay is wrong from 256 frames on; whole integers are used here and the byte is an option.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from course_lib.errors import InputError
from course_lib.metrics.checks import as_array

RECALL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Statistics:
    """Summary of the values of one object over the frames of a sequence.

    mean: average value. recall: share of frames whose value lies above 0.5. decay: mean of the first quarter of the
    frames minus mean of the last, positive where a method loses its object.
    """

    mean: float
    recall: float
    decay: float


def finite_mean(values: Float[np.ndarray, "n"]) -> float:
    """Mean of the values that are numbers; NaN where there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan


def quarter_borders(frames: int) -> list[int]:
    """The five frames (from 0) that bound the quarters of a sequence; neighbouring quarters share their border."""
    return [round(float(place)) for place in np.linspace(0, frames - 1, 5) + 1e-10]


def statistics(values: Float[np.ndarray, "t"], *, wrap_uint8_borders: bool = False) -> Statistics:
    """Mean, recall and decay of the J or F values [T] of one object, as the DAVIS evaluation reports them.

    A NaN is left out of the mean and of the quarters and counts as a miss in the recall. No values give NaN three
    times. With `wrap_uint8_borders` the borders of the quarters wrap at 256 as in the official program under
    NumPy 2, whose decay is then wrong or NaN for 256 frames or more: only for comparing with published tables.
    Raises `InputError` unless `values` is one-dimensional.
    """
    values = as_array(values)
    if values.ndim != 1:
        raise InputError(f"statistics needs the values of one object, [T], got shape {list(values.shape)}")
    values = values.astype(np.float64)
    if values.size == 0:
        return Statistics(math.nan, math.nan, math.nan)
    borders = quarter_borders(values.size)
    if wrap_uint8_borders:
        borders = [border % 256 for border in borders]
        first, last = (values[start : (stop + 1) % 256] for start, stop in (borders[:2], borders[3:]))
    else:
        first, last = (values[start : stop + 1] for start, stop in (borders[:2], borders[3:]))
    return Statistics(
        mean=finite_mean(values),
        recall=float(np.mean(values > RECALL_THRESHOLD)),
        decay=finite_mean(first) - finite_mean(last),
    )
