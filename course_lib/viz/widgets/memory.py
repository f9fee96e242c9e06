"""The memory explorer: recorded runs of memory policies, and what each memory held at every moment.

A dial picks a run, a second run lies beside it for comparison; accuracy, the memory's content by birth frame, and its
bytes share one time axis and one cursor. Unusual: a run that leaves a dial out stands for all its values, so a policy
without a capacity is recorded once. Everything is in the page, so the copy without a kernel is the same instrument.
Built for lesson 13.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image

from course_lib.errors import InputError
from course_lib.viz.embed import asset, encode_picture, fragment
from course_lib.viz.figure import course_style
from course_lib.viz.palette import MEMORY, PREDICTION, SERIES
from course_lib.viz.widgets.bundle import with_fallback

Setting = str | int | float
SCRIPTS = ("common.js", "memory.js")
FIRST = SERIES[3]  # colour of the first frame's cells, which viridis does not hold
_REFERENCE = "every_k"  # the accuracy reference, where there is such a run


@dataclass(frozen=True, eq=False)
class MemoryRun:
    """One video followed with one memory; T frames.

    settings  where the dials stood: name -> text or number. A dial that is left out has no effect on the run
    J         [T] region similarity of the object, in [0, 1]; nan where nothing was scored
    bytes     [T] bytes of the cells from which frame t was read
    births    T arrays: of each of those cells, the frame it was born in, 0 … t; of any order and length
    seconds   time that the method took for all frames, or None
    hidden    [T] True where the object is not to be seen, or None

    Raises `InputError` where lengths or ranges do not fit.
    """

    settings: Mapping[str, Setting]
    J: Float[np.ndarray, "t"]
    bytes: Int[np.ndarray, "t"]
    births: Sequence[Int[np.ndarray, "n"]]
    seconds: float | None = None
    hidden: Bool[np.ndarray, "t"] | None = None

    def __post_init__(self) -> None:
        name = f"run {_said(self.settings)}"
        for field, kind in (("J", float), ("bytes", np.int64)):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype=kind))
        hidden = np.zeros(len(self.J), dtype=bool) if self.hidden is None else np.asarray(self.hidden, dtype=bool)
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "births", [np.asarray(born, dtype=np.int64).reshape(-1) for born in self.births])
        lengths = {"J": len(self.J), "bytes": len(self.bytes), "births": len(self.births), "hidden": len(hidden)}
        if len(set(lengths.values())) > 1 or len(self.J) < 2:
            raise InputError(f"{name}: expected one entry per frame of at least two frames, got {lengths}")
        if not (np.isnan(self.J) | ((self.J >= 0) & (self.J <= 1))).all():
            raise InputError(f"{name}: J must lie in [0, 1] or be nan, got up to {np.nanmax(np.abs(self.J)):.3g}")
        if (self.bytes < 0).any():
            raise InputError(f"{name}: bytes must be at least 0, got {self.bytes.min()}")
        for t, born in enumerate(self.births):
            if len(born) and not (born.min() >= 0 and born.max() <= t):
                raise InputError(
                    f"{name}: a cell held at frame {t} was born in 0 … {t}, got {born.min()} … {born.max()}"
                )
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"{name}: seconds must be above 0, got {self.seconds}")

    def __len__(self) -> int:
        return len(self.J)

    @property
    def mean_j(self) -> float:
        """Mean of J over the scored frames after the first, which was given; nan if there is none."""
        scored = self.J[1:][~np.isnan(self.J[1:])]
        return float(scored.mean()) if len(scored) else float("nan")

    @property
    def frames_per_second(self) -> float | None:
        """Frames a second, None where time was not taken."""
        return None if self.seconds is None else len(self) / self.seconds

    def first_share(self, t: int) -> float:
        """Share of the cells held at frame `t` that were born in frame 0; 0 for an empty memory."""
        born = self.births[t]
        return float((born == 0).mean()) if len(born) else 0.0

    def by_birth(self, bins: int) -> Int[np.ndarray, "t b"]:
        """[T, B] cells held at each frame: column 0 holds those of frame 0, the others equal spans of later births.

        B is `bins` + 1, or T if that is less.
        """
        spans = min(bins, len(self) - 1)
        table = np.zeros((len(self), spans + 1), dtype=np.int64)
        for row, born in zip(table, self.births):
            row += np.bincount(np.where(born == 0, 0, 1 + (born - 1) * spans // (len(self) - 1)), minlength=spans + 1)
        return table


class MemoryExplorer(anywidget.AnyWidget):
    """Runs of memory policies side by side, with dials that choose among them.

    runs     one for each combination of the dials' values; a run that lacks a dial answers for all values of it
    dials    settings to choose by: names, or name -> label. Text becomes a list, numbers a slider. The first one also
             chooses the second run
    start    where the dials stand at first; by default at their first values
    compare  value of the first dial for the second run; "every_k" by default where there is one, else the first value
    time     frame of the cursor at first; bins: spans of birth frames that are told apart by colour

    `selection`, `compare` and `time` can be read and set from Python and the page alike; `run` and `comparison` follow.
    Raises `InputError` if a combination has no run or two, or a value is unknown.
    """

    _esm = "\n".join(asset(name) for name in (*SCRIPTS, "memory_widget.js"))
    _css = asset("viz.css")
    content = traitlets.Dict().tag(sync=True)
    selection = traitlets.Dict().tag(sync=True)
    compare = traitlets.Any().tag(sync=True)
    time = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        runs: Sequence[MemoryRun],
        dials: Sequence[str] | Mapping[str, str],
        *,
        start: Mapping[str, Setting] | None = None,
        compare: Setting | None = None,
        time: int = 0,
        bins: int = 24,
        alt: str = "Accuracy, content and size of a memory over the frames of a video.",
    ) -> None:
        labels = dict(dials) if isinstance(dials, Mapping) else {name: name.replace("_", " ") for name in dials}
        if not runs or not labels:
            raise InputError("the memory explorer needs at least one run and one dial")
        self.runs = list(runs)
        self._values = {name: _values_of(name, self.runs) for name in labels}
        self._table = _run_of_each_combination(self.runs, self._values)
        first = next(iter(labels))
        if compare is None:
            compare = _REFERENCE if _REFERENCE in self._values[first] else self._values[first][0]
        selection = {name: values[0] for name, values in self._values.items()} | dict(start or {})
        for name, value in (("selection", selection), ("compare", compare), ("time", time)):
            self._check(name, value)
        content = {
            "alt": alt,
            "dials": [{"name": n, "label": labels[n], "values": values} for n, values in self._values.items()],
            "table": [self._table[key] for key in itertools.product(*self._values.values())],
            "runs": [_packed(run, bins) for run in self.runs],
            "colours": {"run": MEMORY, "compare": PREDICTION, "first": FIRST, "later": _viridis(bins)},
        }
        super().__init__(content=content, selection=selection, compare=compare, time=time)

    @property
    def run(self) -> MemoryRun:
        """The chosen run."""
        return self._find(self.selection)

    @property
    def comparison(self) -> MemoryRun:
        """The second run: as chosen, but for the first dial."""
        return self._find({**self.selection, next(iter(self._values)): self.compare})

    @property
    def kilobytes(self) -> float:
        """Size of the copy without a kernel in units of 1000 bytes."""
        return len(self.fallback_html().encode()) / 1000

    def fallback_html(self) -> str:
        """The same instrument without a kernel."""
        state = {"selection": self.selection, "compare": self.compare, "time": self.time}
        data = {**self.content, "state": state}
        alt = f"{self.content['alt']} {self._summary()}."
        poster = encode_picture(_still(self.run, self.comparison, self._name(self.selection), str(self.compare)), 30)
        return fragment("memory", SCRIPTS, "mountMemory", data, poster, alt)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        text = f"Memory explorer: {self._summary()}. Run this cell to use it."
        return with_fallback(super()._repr_mimebundle_(**kwargs), self.fallback_html(), text)

    def _summary(self) -> str:
        return (
            f"{_said(self.selection)}: mean J = {self.run.mean_j:.2f}, "
            f"compared with {self.compare}: {self.comparison.mean_j:.2f}"
        )

    def _name(self, selection: Mapping[str, Setting]) -> str:
        return str(selection[next(iter(self._values))])

    def _find(self, selection: Mapping[str, Setting]) -> MemoryRun:
        return self.runs[self._table[tuple(selection[name] for name in self._values)]]

    @traitlets.validate("selection", "compare", "time")
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        if name == "time":
            longest = max(map(len, self.runs))
            if not 0 <= value < longest:
                raise InputError(f"time must be a frame of 0 … {longest - 1}, got {value}")
            return
        given = value if name == "selection" else {next(iter(self._values)): value}
        if name == "selection" and set(given) != set(self._values):
            raise InputError(f"the dials are {', '.join(self._values)}; got {', '.join(map(str, given)) or 'none'}")
        for dial, setting in given.items():
            if setting not in self._values[dial]:
                raise InputError(f"{dial} must be one of {', '.join(map(str, self._values[dial]))}; got {setting!r}")


def _values_of(dial: str, runs: Sequence[MemoryRun]) -> list[Setting]:
    """Values of a dial: numbers in order, text as it comes."""
    values = list(dict.fromkeys(run.settings[dial] for run in runs if dial in run.settings))
    if not values:
        raise InputError(
            f"no run has a setting {dial!r}; there are {', '.join(sorted({n for r in runs for n in r.settings}))}"
        )
    texts = sum(isinstance(value, str) for value in values)
    if texts not in (0, len(values)):
        raise InputError(f"dial {dial!r} mixes text and numbers: {', '.join(map(repr, values))}")
    return values if texts else sorted(values, key=float)


def _run_of_each_combination(
    runs: Sequence[MemoryRun], values: Mapping[str, Sequence[Setting]]
) -> dict[tuple[Setting, ...], int]:
    """Index of the one run that answers each combination."""
    table = {}
    for combination in itertools.product(*values.values()):
        wanted = dict(zip(values, combination))
        found = [i for i, run in enumerate(runs) if all(run.settings.get(n, v) == v for n, v in wanted.items())]
        if len(found) != 1:
            problem = f"{len(found)} runs answer" if found else "no run answers"
            raise InputError(
                f"{problem} {_said(wanted)}; give one run for each combination of {', '.join(values)} "
                "(a run that lacks a dial answers for all its values)"
            )
        table[combination] = found[0]
    return table


def _packed(run: MemoryRun, bins: int) -> dict[str, Any]:
    """A run as memory.js wants it; what stays the same from frame to frame is sent once."""
    held = run.by_birth(bins)
    changes = [t for t in range(len(run)) if t == 0 or (held[t] != held[t - 1]).any()]
    steps = [t for t in range(len(run)) if t == 0 or run.bytes[t] != run.bytes[t - 1]]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(run.hidden), [False]]).astype(int)))
    return {
        "length": len(run),
        "j": [None if np.isnan(value) else round(1000 * value) for value in run.J.tolist()],
        "mean": None if np.isnan(run.mean_j) else round(run.mean_j, 4),
        "rate": None if run.seconds is None else float(f"{run.frames_per_second:.3g}"),
        "bytes": [[t, int(run.bytes[t])] for t in steps],
        "hidden": edges.reshape(-1, 2).tolist(),
        "spans": held.shape[1] - 1,
        "held": [[t, *(int(v) for b in np.flatnonzero(held[t]) for v in (b, held[t, b]))] for t in changes],
    }


def _viridis(count: int) -> list[str]:
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 1, count))]


def _said(settings: Mapping[str, Setting]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items()) or "without settings"


def _still(run: MemoryRun, other: MemoryRun, name: str, other_name: str) -> UInt8[np.ndarray, "h w 3"]:
    """The three curves of both runs, for readers without scripts."""
    with course_style():
        figure, (top, middle, low) = plt.subplots(3, 1, figsize=(6.6, 4.4), sharex=True)
        for style, color, label, one in (("-", MEMORY, name, run), ("--", PREDICTION, other_name, other)):
            width = 2.2 if style == "-" else 1.3
            top.plot(one.J, style, color=color, linewidth=width, label=label)
            low.step(range(len(one)), one.bytes / 1024, style, where="post", color=color, linewidth=width)
        held = run.by_birth(24)
        colours = [FIRST, *_viridis(max(1, held.shape[1] - 1))]
        middle.stackplot(np.arange(len(run)), held.T, colors=colours, step="post")
        for start, stop in _packed(run, 1)["hidden"]:
            top.axvspan(start, stop, color="#5B5B5B", alpha=0.2, linewidth=0)
        top.set(ylabel="J", ylim=(0, 1.03))
        middle.set(ylabel="cells by birth")
        low.set(ylabel="KiB", xlabel="frame", ylim=(0, None))
        top.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", facecolor="white")
        plt.close(figure)
    return np.asarray(Image.open(buffer).convert("RGB"))
