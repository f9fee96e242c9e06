"""J and F on slices of a data set: small objects, late frames, what comes after an occlusion; each with its interval.

A mean hides where a method fails. F. Azimi (2024), section 6.4.2, looks at early and late frames (Table 6.6) and behind
occlusions (Table 6.7). Each score here is the mean over objects of their mean over the slice's frames; intervals
resample whole clips. Unusual: a table remembers its single values, so that two methods are compared object by object
and not by their means.
"""

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from course_lib.errors import InputError
from course_lib.metrics.bootstrap import Interval, mean_interval
from course_lib.metrics.object_tracks import Frames, Measure, ObjectTrack, early, every_frame, late
from course_lib.metrics.occlusion import Which, after_occlusion, between, occlusions

Item = tuple[ObjectTrack, Frames, str]  # an object, which of its frames, and what tells it from others of that object


@dataclass(frozen=True, eq=False)
class Slice:
    """Scores of one slice. N objects (or occlusions) with at least one scored frame in it; NaN where there is none.

    keys: N of (clip, id, which), what pairs two methods. values [N, 2]: J and F of each. frames: scored ones in all.
    J, F, JF: means over the N, with intervals over clips.
    """

    name: str
    keys: tuple[tuple[str, int, str], ...]
    values: Float[np.ndarray, "n 2"]
    frames: int
    J: Interval
    F: Interval
    JF: Interval

    @property
    def count(self) -> int:
        """Objects (or occlusions) in this slice."""
        return len(self.keys)

    @property
    def clips(self) -> int:
        """Clips that they come from: what the interval is drawn from."""
        return len({key[0] for key in self.keys})


@dataclass(frozen=True, eq=False)
class SliceTable:
    """Slices of one method's results. `table["small"]` is one of them; `str(table)` prints percent with intervals."""

    title: str
    slices: tuple[Slice, ...]

    def __getitem__(self, name: str) -> Slice:
        for one in self.slices:
            if one.name == name:
                return one
        raise InputError(f"no slice {name!r}; there are {', '.join(repr(one.name) for one in self.slices)}")

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.slices)

    def minus(self, other: "SliceTable") -> "SliceTable":
        """This method minus another on the same objects: the paired differences, with intervals over clips.

        Raises `InputError` if the two were not measured on the same objects.
        """
        return SliceTable(f"{self.title}: difference", tuple(_difference(one, other[one.name]) for one in self.slices))

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
                 for row in rows]  # fmt: skip
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        head, *body = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._rows()]
        head = head.replace("td>", "th>")
        rows = "".join(f"<tr>{row}</tr>" for row in body)
        return (
            f"<table><caption>{html.escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def _rows(self) -> list[list[str]]:
        rows = [["", "n", "clips", "frames", "J", "F", "J&F"]]
        for s in self.slices:
            scores = [percent(interval) for interval in (s.J, s.F, s.JF)]
            rows.append([s.name, str(s.count), str(s.clips), str(s.frames), *scores])
        return rows


@dataclass(frozen=True, eq=False)
class EarlyLate:
    """Table 6.6: early and late frames of the same objects, and how much is lost between them."""

    table: SliceTable
    drop_J: Interval
    drop_F: Interval

    @property
    def early(self) -> Slice:
        """Scores of the early frames."""
        return self.table.slices[0]

    @property
    def late(self) -> Slice:
        """Scores of the late frames."""
        return self.table.slices[1]

    def drop_per_clip(self, measure: Measure = "J") -> dict[str, float]:
        """Early minus late, mean over each clip's objects: what a claim about drift compares between methods."""
        drops = (self.early.values - self.late.values) @ _weights(measure)
        found: dict[str, list[float]] = {}
        for key, drop in zip(self.early.keys, drops.tolist()):
            found.setdefault(key[0], []).append(drop)
        return {clip: float(np.mean(values)) for clip, values in found.items()}

    def __str__(self) -> str:
        return f"{self.table}\ndrop: J {percent(self.drop_J)}, F {percent(self.drop_F)}"


def by_size(tracks: Sequence[ObjectTrack], edges: Sequence[float] | None = None) -> SliceTable:
    """J and F by the area of the object where it first appears.

    edges: rising areas in pixels; an object of exactly such an area belongs to the smaller side. None: terciles of
    these objects, "small", "medium" and "large". Raises `InputError` for fewer than three objects (terciles), edges
    that do not rise. Built in lesson 04.
    """
    areas = np.array([track.first_area for track in tracks])
    names, limits = size_bins(areas, edges)
    bins = np.searchsorted(limits, areas, side="left")  # an area equal to an edge stays below it
    slices = [
        slice_of(name, [(track, every_frame, "") for track, at in zip(tracks, bins) if at == i])
        for i, name in enumerate(names)
    ]
    return SliceTable("by size where first seen", tuple(slices))


def size_bins(areas: Float[np.ndarray, "n"], edges: Sequence[float] | None) -> tuple[list[str], Float[np.ndarray, "e"]]:
    """Names and edges of size bins, in pixels: the given ones, or terciles of `areas`."""
    if edges is None:
        if len(areas) < 3:
            raise InputError(f"terciles need at least three objects, got {len(areas)}; pass edges in pixels")
        return ["small", "medium", "large"], np.quantile(areas, [1 / 3, 2 / 3])
    limits = np.asarray(edges, dtype=np.float64)
    if limits.ndim != 1 or not len(limits) or not (np.diff(limits) > 0).all():
        raise InputError(f"edges must be rising numbers, at least one; got {list(edges)}")
    low = [f"{edge:g}" for edge in limits]
    return [f"up to {low[0]}", *(f"{a} to {b}" for a, b in pairwise(low)), f"over {low[-1]}"], limits


def early_late(tracks: Sequence[ObjectTrack], before: int = 10, after: int = 20) -> EarlyLate:
    """J and F of frames with t < `before` and t > `after`, of the objects that have both; Table 6.6.

    t counts annotated frames from the object's first. With the defaults an object needs more than 21 of them. Raises
    `InputError` unless 1 < before <= after + 1, or if no object is long enough. Built in lesson 05.
    """
    if not 1 < before <= after + 1:
        raise InputError(f"expected 1 < before <= after + 1, got before={before} and after={after}")
    first, last = early(before), late(after)
    long = [t for t in tracks if not math.isnan(t.mean(first(t))) and not math.isnan(t.mean(last(t)))]
    if not long:
        raise InputError(f"no object has scored frames with t < {before} and with t > {after}: take longer clips")
    slices = tuple(
        slice_of(name, [(track, frames, "") for track in long])
        for name, frames in ((f"t < {before}", first), (f"t > {after}", last))
    )
    drops = slices[0].values - slices[1].values  # [N, 2]
    clips = [key[0] for key in slices[0].keys]
    return EarlyLate(SliceTable("early and late", slices), *(mean_interval(drops[:, i], clips) for i in (0, 1)))


def post_occlusion(
    tracks: Sequence[ObjectTrack], taus: Sequence[float] = (0, 50, 100), which: Which = "visible"
) -> SliceTable:
    """J and F over all scored frames of all objects, and over those after their first occlusion; Table 6.7.

    taus: an object of at most so many pixels counts as hidden; those of the table are meant at 256 x 448 (see
    `scaled_tau`). which: only frames in which it is visible again, or all of them. Built in lesson 05.
    """
    slices = [slice_of("all frames", [(track, every_frame, "") for track in tracks])]
    for tau in taus:
        slices.append(slice_of(f"tau = {tau:g}", [(track, after_occlusion(tau, which), "") for track in tracks]))
    return SliceTable(f"after the first occlusion ({which} frames)", tuple(slices))


def by_occlusion_length(
    tracks: Sequence[ObjectTrack], edges: Sequence[int] = (5, 10, 20), tau: float = 0, window: int | None = None
) -> SliceTable:
    """J and F of the visible frames after each occlusion, by how many frames it lasted.

    edges: rising numbers of frames; a length of exactly one stays below it. Every occlusion of an object counts, with
    the frames up to its next one, or the first `window` of them. Built in lesson 05.
    """
    if window is not None and window < 1:
        raise InputError(f"window must be at least one frame, got {window}")
    names, limits = size_bins(np.empty(0), edges)
    bins: list[list[Item]] = [[] for _ in names]
    for track in tracks:
        spans = occlusions(track.area, tau)
        for (hidden, back), (following, _) in zip(spans, [*spans[1:], (len(track), 0)]):
            end = following if window is None else min(following, back + window)
            at = int(np.searchsorted(limits, back - hidden, side="left"))
            bins[at].append((track, between(back, end, tau), f"hidden at {hidden}"))
    slices = tuple(slice_of(f"{name} frames", items) for name, items in zip(names, bins))
    return SliceTable("after each occlusion, by its length", slices)


def slice_of(name: str, items: Iterable[Item]) -> Slice:
    """One slice from objects and the frames to take of each; objects without a scored frame there are left out."""
    keys, values, frames = [], [], 0
    for track, choose, which in items:
        chosen = choose(track)
        J, F = track.mean(chosen, "J"), track.mean(chosen, "F")
        if not math.isnan(J):
            keys.append((track.clip, track.id, which))
            values.append((J, F))
            frames += int((chosen & track.scored).sum())
    return _measured(name, tuple(keys), np.array(values).reshape(-1, 2), frames)


def percent(interval: Interval) -> str:
    """An interval in percent: "63.4 [58.1, 68.7]"; without limits where they are unknown."""
    if math.isnan(interval.mean):
        return "-"
    if math.isnan(interval.low):
        return f"{100 * interval.mean:.1f}"
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _measured(
    name: str, keys: tuple[tuple[str, int, str], ...], values: Float[np.ndarray, "n 2"], frames: int
) -> Slice:
    clips = [key[0] for key in keys]
    J, F, JF = (mean_interval(values @ _weights(measure), clips) for measure in ("J", "F", "JF"))
    return Slice(name, keys, values, frames, J, F, JF)


def _difference(one: Slice, other: Slice) -> Slice:
    if one.keys != other.keys:
        strange = sorted(set(one.keys) ^ set(other.keys))[:3] or "another order"
        raise InputError(f"slice {one.name!r}: the two methods were not scored on the same objects ({strange})")
    return _measured(one.name, one.keys, one.values - other.values, one.frames)


def _weights(measure: Measure) -> Float[np.ndarray, "2"]:
    if measure not in ("J", "F", "JF"):
        raise InputError(f"measure must be 'J', 'F' or 'JF', got {measure!r}")
    return {"J": np.array([1.0, 0.0]), "F": np.array([0.0, 1.0]), "JF": np.array([0.5, 0.5])}[measure]
