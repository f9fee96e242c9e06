"""Curves behind one or two dials: every setting was measured before, so turning a dial only looks it up.

Made for the part of a lesson that breaks a method. Unusual: the axes stay where they are while a dial turns, so that
what moves is the method. Built for lessons 04 and 05.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import SERIES
from course_lib.viz.widgets.live import PageWidget, live_script

_STROKES = ("-", "--", "-.", ":")


class CurveDials(PageWidget):
    """Named curves over one axis, for every setting of one or two dials.

    x       numbers along the axis, rising, at least two
    curves  name -> array [settings of dial 1, settings of dial 2, len(x)] (one dial: [settings, len(x)]); NaN: no value
    dials   name -> the names of its settings, in their order
    at      which setting each dial stands at; can be read and set from Python and the page alike
    limits  of the vertical axis; by default they hold all curves of all settings
    mark    a place on the axis to draw a line at, and what happens there

    Raises `InputError` for arrays that do not fit, for more than two dials or eight curves, and for a setting that is
    not there.
    """

    KIND, MOUNT, STATE = "curves", "mountCurves", ("at",)
    SCRIPTS = ("common.js", "charts.js", "curves.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    at = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        x: Sequence[float],
        curves: Mapping[str, Float[np.ndarray, "..."]],
        dials: Mapping[str, Sequence[str]],
        *,
        x_label: str,
        y_label: str,
        alt: str,
        at: Sequence[int] | None = None,
        limits: tuple[float, float] | None = None,
        mark: tuple[float, str] | None = None,
    ) -> None:
        if not 1 <= len(dials) <= 2 or not all(dials.values()):
            raise InputError(f"one or two dials with settings are needed, got {dict(dials)}")
        if not 1 <= len(curves) <= len(SERIES):
            raise InputError(f"one to {len(SERIES)} curves can be told apart, got {len(curves)}")
        if len(x) < 2 or not np.all(np.diff(x) > 0):
            raise InputError(f"x must be at least two rising numbers, got {list(x)}")
        self.dials = {name: tuple(settings) for name, settings in dials.items()}
        wanted = (*(len(settings) for settings in self.dials.values()), len(x))
        for name, values in curves.items():
            if np.shape(values) != wanted:
                raise InputError(f"curve {name!r} must have shape {wanted}, dials first, got {np.shape(values)}")
        self.x = tuple(float(value) for value in x)
        self.curves = {name: np.asarray(values, dtype=np.float64) for name, values in curves.items()}
        start = list(at) if at is not None else [0] * len(dials)
        self._check(start)
        super().__init__(content=self._content(x_label, y_label, alt, limits, mark), at=start)

    def _content(
        self, x_label: str, y_label: str, alt: str, limits: tuple[float, float] | None, mark: tuple[float, str] | None
    ) -> dict[str, Any]:
        everything = np.concatenate([values.ravel() for values in self.curves.values()])
        if not np.isfinite(everything).any():
            raise InputError("the curves hold no number")
        if limits is None:
            low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
            rim = 0.05 * (high - low) or 1.0
            limits = (low - rim, high + rim)
        return {
            "alt": alt,
            "x": self.x,
            "xLabel": x_label,
            "yLabel": y_label,
            "limits": limits,
            "mark": mark,
            "dials": [[name, list(settings)] for name, settings in self.dials.items()],
            "curves": [
                [name, SERIES[i], [_numbers(values[setting]) for setting in self._settings()]]
                for i, (name, values) in enumerate(self.curves.items())
            ],
        }

    def _settings(self) -> list[tuple[int, ...]]:
        """All settings, those of the last dial changing fastest."""
        return list(product(*(range(len(settings)) for settings in self.dials.values())))

    @property
    def shown(self) -> dict[str, Float[np.ndarray, "x"]]:
        """The curves at the present setting."""
        return {name: values[tuple(self.at)] for name, values in self.curves.items()}

    @property
    def _where(self) -> str:
        return ", ".join(f"{name} {settings[i]}" for i, (name, settings) in zip(self.at, self.dials.items()))

    def summary(self) -> str:
        """The setting, and where each curve ends."""
        last = {name: values[-1].round(1) + 0.0 for name, values in self.shown.items()}  # no minus before a zero
        ends = ", ".join(f"{name} {value:.1f}" if np.isfinite(value) else f"{name} –" for name, value in last.items())
        return f"{self._where}; {self.content['yLabel']} at {self.x[-1]:g}: {ends}."

    def figure(self) -> Figure:
        """The curves at the present setting."""
        with course_style():
            figure, axis = plt.subplots(figsize=(7, 3.2))
            for i, (name, values) in enumerate(self.shown.items()):
                axis.plot(self.x, values, f"o{_STROKES[i % 4]}", color=SERIES[i], markersize=4, label=name)
            if self.content["mark"]:
                place, text = self.content["mark"]
                axis.axvline(place, color="#888888", linewidth=1)
                axis.text(place, self.content["limits"][1], f" {text}", va="top", fontsize=8)
            axis.set(xlabel=self.content["xLabel"], ylabel=self.content["yLabel"], ylim=self.content["limits"])
            axis.set_title(self._where, fontsize=10)
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
        return figure

    @traitlets.validate("at")
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["value"])
        return proposal["value"]

    def _check(self, at: Sequence[int]) -> None:
        sizes = {name: len(settings) for name, settings in self.dials.items()}
        if len(at) != len(sizes):
            raise InputError(f"at needs one setting for each of {', '.join(sizes)}, got {list(at)}")
        for index, (name, size) in zip(at, sizes.items()):
            if not 0 <= index < size:
                raise InputError(f"dial {name!r} has settings 0 … {size - 1}, got {index}")


def _numbers(values: Float[np.ndarray, "x"]) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
