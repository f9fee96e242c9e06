"""How sure a network is where the object really is: |p - 0.5| over the true foreground, by size and by time.

F. Azimi (2024), Figure 6.2: for small targets the output hovers near 0.5, and the doubt grows from frame to frame until
the object is lost. Unusual: only true object pixels are looked at, so a map that is surely empty also counts as sure;
read it beside J.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from course_lib.errors import InputError
from course_lib.metrics.bootstrap import Interval, mean_interval
from course_lib.metrics.checks import as_array, as_mask
from course_lib.metrics.object_tracks import ObjectTrack
from course_lib.metrics.slices import size_bins


@dataclass(frozen=True, eq=False)
class ConfidenceTable:
    """Mean |p - 0.5| in [0, 0.5] of S sizes and M spans of time. counts [S, M]: objects; cells: [S][M] intervals."""

    sizes: tuple[str, ...]
    times: tuple[str, ...]
    cells: tuple[tuple[Interval, ...], ...]
    counts: Int[np.ndarray, "s m"]

    @property
    def means(self) -> Float[np.ndarray, "s m"]:
        """Means only, NaN where no object is."""
        return np.array([[cell.mean for cell in row] for row in self.cells])

    def __str__(self) -> str:
        rows = [["mean |p - 0.5|", *self.times]]
        for name, cells, counts in zip(self.sizes, self.cells, self.counts.tolist()):
            shown = [f"{c.mean:.3f} (n {n})" if n else "-" for c, n in zip(cells, counts)]
            rows.append([name, *shown])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def confidence(probs: object, truth: object) -> Float[np.ndarray, "t"]:
    """Mean |p - 0.5| over the object's true pixels in each frame.

    probs [T, H, W] of the object, in [0, 1]; truth [T, H, W] its masks, bool or 0/1 (NumPy or torch). Returns [T] in
    [0, 0.5], NaN where it is not seen. Raises `InputError` for other shapes and for values outside [0, 1].
    """
    masks, values = as_mask(truth, "truth", 3), as_array(probs)
    if values.shape != masks.shape or values.dtype.kind != "f":
        raise InputError(
            f"probs must be floating point {list(masks.shape)} like the truth, got {list(values.shape)} {values.dtype}"
        )
    if not (values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"probs must lie in [0, 1], got {values.min():.3g} … {values.max():.3g}; apply the sigmoid to logits first"
        )
    sure = np.where(masks, np.abs(values.astype(np.float64) - 0.5), 0).sum(axis=(1, 2))
    pixels = masks.sum(axis=(1, 2))
    return np.where(pixels > 0, sure / np.maximum(pixels, 1), np.nan)


def confidence_table(
    tracks: Sequence[ObjectTrack], edges: Sequence[float] | None = None, times: Sequence[int] = (5, 10)
) -> ConfidenceTable:
    """Figure 6.2 in numbers: confidence by size where first seen, and by annotated frames since then.

    edges in pixels or None for terciles, as in `by_size`; times: rising, each begins a new span. The frame that is
    given (t = 0) does not count. Means over objects, intervals over clips. Raises `InputError` if a track has no
    confidence. Built in lesson 04.
    """
    missing = [track.key for track in tracks if track.confidence is None]
    if missing:
        raise InputError(f"no confidence was recorded for {missing[0]}; follow objects with `follow_objects`")
    starts = [1, *times]
    if any(b <= a for a, b in pairwise(starts)):
        raise InputError(f"times must be rising and above 1, got {list(times)}")
    areas = np.array([track.first_area for track in tracks])
    sizes, limits = size_bins(areas, edges)
    bins = np.searchsorted(limits, areas, side="left")
    spans = [*zip(starts, [*times, np.inf])]
    cells, counts = [], []
    for size in range(len(sizes)):
        chosen = [track for track, at in zip(tracks, bins) if at == size]
        columns = [_means(chosen, low, high) for low, high in spans]
        cells.append(tuple(mean_interval([v for _, v in column], [c for c, _ in column]) for column in columns))
        counts.append([len(column) for column in columns])
    names = [*(f"t {low} to {high - 1}" for low, high in zip(starts, times)), f"t from {starts[-1]}"]
    return ConfidenceTable(tuple(sizes), tuple(names), tuple(cells), np.array(counts))


def _means(tracks: Sequence[ObjectTrack], low: float, high: float) -> list[tuple[str, float]]:
    """Clip and mean confidence of each object that is seen in low <= t < high."""
    found = []
    for track in tracks:
        assert track.confidence is not None
        values = track.confidence[(track.time >= low) & (track.time < high)]
        values = values[~np.isnan(values)]
        if len(values):
            found.append((track.clip, float(values.mean())))
    return found
