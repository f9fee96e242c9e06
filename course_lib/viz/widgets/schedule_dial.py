"""The schedule dial: which frames are segmented, carried or repaired, when network and flow work, and what that buys.

M. Paul (2023), section 3.4: four knobs lead from careful to fast (table 3.2). Three views of one setting: the frames,
the lanes of network and CPU in time, and its place among finished rows. Unusual: settings between the rows get a guess
of their accuracy, drawn hollow, and none at all where the table has nothing alike. Built for lesson 06.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import BASELINE, HIGHLIGHT, MEMORY, PREDICTION
from course_lib.viz.widgets.live import PageWidget, live_script
from course_lib.viz.widgets.schedule_clock import FrameLife, Setting, Times, frame_lives, rate_of

Kind = Literal["warp", "copy", "refined"]

MOST_KEY_EVERY, MOST_CORES, FRAMES = 17, 6, 20
CAMERA_MS = 1000 / 30
COLOURS = {"key": MEMORY, "blend": "#CC79A7", "refine": HIGHLIGHT, "warp": BASELINE, "copy": "#9A9A9A"}
_MARKERS: dict[Kind, str] = {"warp": "o", "copy": "s", "refined": "^"}
_NAMES = ("key_every", "warp", "refine", "input_scale", "cores", "camera")


class Row(Protocol):
    """A finished setting: frames per second, and mIoU in percent of the last frame of a period."""

    @property
    def name(self) -> str: ...
    @property
    def point(self) -> Setting: ...
    @property
    def rate(self) -> float: ...
    @property
    def mIoU(self) -> float: ...


@dataclass(frozen=True)
class Dialled:
    """The setting that a dial stands on."""

    key_every: int
    warp: bool
    refine: Literal["off", "last", "all"]
    input_scale: float


class ScheduleDial(PageWidget):
    """An operating point to turn: S, W, R, D, the cores that flow may use, and whether frames come from a camera.

    rows      finished settings to stand among and to guess between
    baseline  the row of every frame through the network
    times     milliseconds of the stages
    quoted    other methods in the background: name, frames per second, mIoU
    point     where it stands at first; None takes S = 5 with warping
    source    whence the rows are, in a few words

    `key_every`, `warp`, `refine`, `input_scale`, `cores` and `camera` can be read and set from Python and the page
    alike; `setting`, `rate`, `mIoU`, `mean_mIoU` and `frames` follow. While `warp` is off nothing is refined.
    Raises `InputError` for values out of range, and for a scale without a time.
    """

    KIND, MOUNT, STATE = "schedule", "mountSchedule", _NAMES
    SCRIPTS = ("common.js", "charts.js", "schedule_dial.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    key_every = traitlets.Int(5).tag(sync=True)
    warp = traitlets.Bool(True).tag(sync=True)
    refine = traitlets.Unicode("off").tag(sync=True)
    input_scale = traitlets.Float(1.0).tag(sync=True)
    cores = traitlets.Int(1).tag(sync=True)
    camera = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        rows: Sequence[Row],
        baseline: Row,
        times: Times,
        quoted: Sequence[tuple[str, float, float]] = (),
        *,
        point: Setting | None = None,
        cores: int = 1,
        camera: bool = False,
        source: str = "",
        alt: str = "Which frames are segmented and which carried, when network and flow work, and rate against mIoU.",
    ) -> None:
        first = Dialled(5, True, "off", max(times.segment)) if point is None else point
        self.times, self.rows, self.baseline = times, tuple(rows), baseline
        self._scales = sorted(times.segment, reverse=True)
        values = {name: getattr(first, name) for name in ("key_every", "warp", "refine", "input_scale")}
        values |= {"cores": cores, "camera": camera}
        for name, value in values.items():
            self._check(name, value)
        self._curves = {(scale, kind): self._curve(scale, kind) for scale in self._scales for kind in _MARKERS}
        stages = {name: getattr(times, name) for name in ("refine", "warp", "flow", "blend")}
        content = {
            "alt": alt,
            "frames": FRAMES,
            "most": {"key_every": MOST_KEY_EVERY, "cores": MOST_CORES},
            "interval": CAMERA_MS,
            "times": {**stages, "segment": [[scale, times.segment[scale]] for scale in self._scales]},
            "rows": [_as_data(row) for row in self.rows],
            "baseline": _as_data(baseline),
            "quoted": [list(other) for other in quoted],
            "curves": [[scale, kind, curve] for (scale, kind), curve in self._curves.items()],
            "colours": COLOURS,
            "dot": PREDICTION,
            "source": source,
        }
        super().__init__(content=content, **values)

    @property
    def setting(self) -> Dialled:
        """What is dialled, with refinement off where nothing is warped."""
        refine: Any = self.refine if self.warp else "off"
        return Dialled(self.key_every, self.warp, refine, self.input_scale)

    @property
    def rate(self) -> float:
        """Frames per second, with `cores` for flow."""
        return rate_of(self.setting, self.times, self.cores)

    @property
    def mIoU(self) -> float | None:
        """Percent of a period's last frame: a row's, or guessed between rows; None where there is nothing alike."""
        setting = self.setting
        if setting.refine == "all" and self.key_every > 2:
            return None
        return self._curves[self.input_scale, _kind(setting)][self.key_every - 1]

    @property
    def mean_mIoU(self) -> float | None:
        """Percent, mean over the frames of a period: nearer to what a viewer sees than the worst of them."""
        before = self._curves[self.input_scale, "warp" if self.warp else "copy"][: self.key_every - 1]
        known = [value for value in (*before, self.mIoU) if value is not None]
        return float(np.mean(known)) if len(known) == self.key_every else None

    @property
    def frames(self) -> tuple[FrameLife, ...]:
        """When each stage works on each of the first frames."""
        return frame_lives(self.setting, self.times, FRAMES, CAMERA_MS if self.camera else 0.0, self.cores)

    def summary(self) -> str:
        """The setting in a sentence."""
        s, mIoU = self.setting, self.mIoU
        score = "mIoU unknown" if mIoU is None else f"mIoU {mIoU:.1f}"
        return (
            f"S = {s.key_every}, W {'on' if s.warp else 'off'}, R {s.refine}, D = {s.input_scale:g}: "
            f"{self.rate:.0f} frames per second, {score}."
        )

    def figure(self) -> Figure:
        """Above, the lanes of network and flow; below, rate against mIoU with the rows."""
        with course_style():
            figure, (lanes, plane) = plt.subplots(2, 1, figsize=(8, 6), height_ratios=(2, 3))
            self._draw_lanes(lanes)
            self._draw_plane(plane)
        return figure

    def _curve(self, scale: float, kind: Kind) -> list[float | None]:
        """mIoU after 0 … 16 steps: rows where there are, straight lines between and beyond them, else None."""
        known = self._known(scale, kind)
        if scale == self.baseline.point.input_scale:
            known = {0: self.baseline.mIoU} | known
        elif kind == "copy" and len(warped := self._known(scale, "warp")) > 1:
            known = {0: _on_line(warped, 0)} | known  # with no step there is nothing to warp or to copy
        if len(known) < 2:
            return [None] * MOST_KEY_EVERY
        return [round(_on_line(known, step), 2) for step in range(MOST_KEY_EVERY)]

    def _known(self, scale: float, kind: Kind) -> dict[int, float]:
        """mIoU of the rows by steps since the key frame."""
        alike = [row for row in self.rows if row.point.input_scale == scale and _kind(row.point) == kind]
        return {row.point.key_every - 1: row.mIoU for row in alike}

    def _draw_lanes(self, axis: Axes) -> None:
        for frame in self.frames:
            colour = COLOURS[frame.kind]
            axis.plot([frame.ready], [0], "|", color=colour, markersize=16, markeredgewidth=3)
            for lane, span in ((1, frame.network), (2 + (frame.core or 0), frame.flow)):
                if span is not None:
                    axis.barh(lane, span[1] - span[0], left=span[0], height=0.7, color=colour, edgecolor="white")
        names = ["answers", "network", *(f"flow, core {i + 1}" for i in range(self.cores if self.warp else 0))]
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="milliseconds", ylim=(len(names) - 0.4, -0.6), title=self.summary().removesuffix("."))

    def _draw_plane(self, axis: Axes) -> None:
        for row in (*self.rows, self.baseline):
            face = "white" if row.point.input_scale < 1 else "#555555"
            axis.plot(row.rate, row.mIoU, _MARKERS[_kind(row.point)], color="#555555", markerfacecolor=face)
            shift = (-5, -13) if _kind(row.point) == "refined" else (5, 4)
            axis.annotate(_short(row.name), (row.rate, row.mIoU), shift, textcoords="offset points", fontsize=9)
        if self.mIoU is None:
            axis.axvline(self.rate, color=PREDICTION)
        else:
            axis.plot(self.rate, self.mIoU, "o", color=PREDICTION, markersize=12)
        axis.set(xscale="log", xlabel="frames per second", ylabel="mIoU (%), last of a period")

    @traitlets.validate(*_NAMES)
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        most = {"key_every": MOST_KEY_EVERY, "cores": MOST_CORES}
        if name in most and not 1 <= value <= most[name]:
            raise InputError(f"{name} must lie in 1 … {most[name]}, got {value}")
        if name == "refine" and value not in ("off", "last", "all"):
            raise InputError(f"refine must be 'off', 'last' or 'all', got {value!r}")
        if name == "input_scale" and value not in self._scales:
            raise InputError(f"input_scale must be one that was timed, {self._scales}; got {value}")


def _kind(point: Setting) -> Kind:
    if not point.warp and point.key_every > 1:
        return "copy"
    return "warp" if point.refine == "off" else "refined"


def _short(name: str) -> str:
    """ "EVS 07" -> "07"; other names stay."""
    return name.rpartition(" ")[2] if name[-1].isdigit() else name


def _as_data(row: Row) -> dict[str, Any]:
    state = {name: getattr(row.point, name) for name in ("key_every", "warp", "refine", "input_scale")}
    kind, short = _kind(row.point), _short(row.name)
    return {"name": row.name, "short": short, "state": state, "kind": kind, "rate": row.rate, "mIoU": row.mIoU}


def _on_line(known: dict[int, float], step: int) -> float:
    """Straight lines through known points, the first and last of them continued."""
    places = sorted(known)
    before = max((place for place in places[:-1] if place <= step), default=places[0])
    after = places[places.index(before) + 1]
    return known[before] + (known[after] - known[before]) * (step - before) / (after - before)
