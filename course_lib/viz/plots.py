"""The plots that every lesson needs: frames in a row, scores over time, memory over time, bars with intervals.

Each returns a matplotlib figure in the style of the course, for `show(figure, alt=...)`. Series differ in colour and in
line style or marker, so that they can be told apart in grey.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.overlay import as_picture, overlay

Series = Sequence[float] | np.ndarray | Tensor
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "xx")
_BAR_COLOURS = ("#0072B2", "#BDBDBD", "#E69F00", "#009E73", "#CC79A7")


def frame_strip(
    frames: Sequence[Tensor | np.ndarray] | Tensor,
    labels: Sequence[Tensor | np.ndarray] | Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    scale: int = 1,
) -> Figure:
    """Contact sheet of frames, painted with labels where given.

    frames: n of [3, H, W] or [H, W, 3]; labels: n of [H, W]; titles: n lines. columns: pictures in a row (None: up to
    6). scale: enlarge small frames before contours are drawn. Raises `InputError` where the numbers differ.
    """
    count = len(frames)
    for name, values in (("labels", labels), ("titles", titles)):
        if values is not None and len(values) != count:
            raise InputError(f"{count} frames need {count} {name}, got {len(values)}")
    if count == 0:
        raise InputError("frame_strip needs at least one frame")
    columns = min(columns or 6, count)
    rows = -(-count // columns)
    height, width = as_picture(frames[0]).shape[:2]
    cell = min(10 / columns, 3.6)  # inches
    title_room = 0.12 + 0.17 * (1 + max(str(t).count("\n") for t in titles)) if titles is not None else 0.06
    with course_style():
        figure, axes = plt.subplots(
            rows, columns, squeeze=False, figsize=(cell * columns, rows * (cell * height / width + title_room))
        )
        for i, axis in enumerate(axes.flat):
            axis.axis("off")
            if i < count:
                picture = as_picture(frames[i]) if labels is None else overlay(frames[i], labels[i], scale=scale)
                axis.imshow(picture)
                if titles is not None:
                    axis.set_title(titles[i], loc="center", fontsize=10, fontweight="normal", pad=4)
    return figure


def plot_over_time(
    series: Mapping[str, Series],
    ylabel: str = "J",
    title: str = "",
    hidden: Series | None = None,
    limits: tuple[float, float] | None = (0, 1.02),
) -> Figure:
    """Scores over the frames of a clip, with the spans shaded in which the object cannot be seen.

    series: name -> [T]; NaN leaves a gap. hidden: [T] bool, True where the object is fully occluded.
    limits: range of the y axis, None for automatic. Raises `InputError` where lengths differ.
    """
    values = {name: _values(s) for name, s in series.items()}
    lengths = {name: len(v) for name, v in values.items()} | ({} if hidden is None else {"hidden": len(hidden)})
    if len(set(lengths.values())) != 1:
        raise InputError(f"all series must have one length, got {lengths or 'none'}")
    with course_style():
        figure, axis = plt.subplots(figsize=(8, 3.4))
        if hidden is not None:
            shade_spans(axis, hidden)
        for i, (name, v) in enumerate(values.items()):
            axis.plot(v, _LINES[i % 4], label=name)
        axis.set(xlabel="frame", ylabel=ylabel, title=title, xlim=(0, max(1, len(v) - 1)))
        if limits is not None:
            axis.set_ylim(*limits)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def shade_spans(axis: Axes, hidden: Series, label: str = "fully hidden") -> None:
    """Shade on `axis` the runs of frames where `hidden` [T] is True, half a frame wider on each side."""
    flags = np.concatenate([[False], _values(hidden).astype(bool), [False]])
    starts, ends = np.flatnonzero(flags[1:] & ~flags[:-1]), np.flatnonzero(~flags[1:] & flags[:-1])
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis.axvspan(start - 0.5, end - 0.5, color="#E3E3E3", linewidth=0, zorder=0, label=label if i == 0 else None)


def plot_memory(series: Mapping[str, Series], title: str = "Memory held between frames") -> Figure:
    """Bytes that methods hold after each frame. series: name -> [T] bytes (`Session.memory_bytes`)."""
    if not series:
        raise InputError("plot_memory needs at least one series")
    with course_style():
        figure, axis = plt.subplots(figsize=(8, 3.4))
        for i, (name, bytes_held) in enumerate(series.items()):
            axis.plot(_values(bytes_held) / 2**20, _LINES[i % 4], label=name)
        axis.set(xlabel="frame", ylabel="memory (MiB)", title=title)
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def bootstrap_interval(values: Series, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` [n] without NaN; a single value gives itself twice."""
    values = _values(values)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_bars(
    groups: Sequence[str],
    scores: Mapping[str, Sequence[Series]],
    ylabel: str = "J&F",
    title: str = "",
    limits: tuple[float, float] | None = (0, 1.02),
) -> Figure:
    """Mean of each method in each group as a bar, with its 95 % bootstrap interval over the single values.

    groups: names of n groups. scores: method -> n sequences of values, one value per clip. Raises `InputError` where a
    method has not one sequence per group.
    """
    for name, rows in scores.items():
        if len(rows) != len(groups):
            raise InputError(f"{name!r} has scores for {len(rows)} groups, expected {len(groups)}: {', '.join(groups)}")
    if not scores or not groups:
        raise InputError("interval_bars needs at least one group and one method")
    places = np.arange(len(groups))
    width = 0.8 / len(scores)
    with course_style():
        figure, axis = plt.subplots(figsize=(9, 3.6))
        for i, (name, rows) in enumerate(scores.items()):
            means = np.array([np.nanmean(_values(row)) for row in rows])
            ends = np.array([bootstrap_interval(row) for row in rows])  # [groups, 2]
            axis.bar(
                places + (i - (len(scores) - 1) / 2) * width,
                means,
                width * 0.92,
                yerr=np.abs(ends.T - means),
                label=name,
                color=_BAR_COLOURS[i % 5],
                hatch=_HATCHES[i % 4],
                edgecolor="white",
                linewidth=0,
                error_kw={"elinewidth": 1.6, "capsize": 3, "ecolor": "#222222"},
            )
        axis.set_xticks(places, groups)
        axis.set(ylabel=ylabel, title=title)
        axis.grid(visible=False, axis="x")
        if limits is not None:
            axis.set_ylim(*limits)
        figure.legend(loc="outside upper right", ncols=len(scores))
    return figure


def _values(series: Series) -> np.ndarray:
    array = series.detach().cpu().numpy() if isinstance(series, Tensor) else np.asarray(series)
    return array.astype(np.float64)
