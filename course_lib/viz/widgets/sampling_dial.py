"""The sampling dial: how often a training step is fed the true mask, and how many of its own masks it meets in a row.

Scheduled sampling (Bengio et al., NeurIPS 2015) as F. Azimi (2024), section 6.4.2, trains with it: first true masks
only, then a falling share of them. Unusual: the row of the network in use stands below the training clips, because the
distance between the two is the whole point. Built for lesson 05.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import MEMORY, PREDICTION, TRUTH
from course_lib.viz.widgets.live import PageWidget, live_script

_CLIPS, _DRAWS, _MOST_FRAMES = 5, 6, 30
_NAMES = ("start", "slope", "floor", "epoch", "frames", "draw")


def expected_longest_run(choices: int, own: float) -> float:
    """Expected length of the longest run of own masks among `choices`, each own with probability `own`; exact.

    The sum over k of the chance of a run of k or more; that of none in m choices follows from fewer choices.
    """
    expected = 0.0
    for k in range(1, choices + 1):
        none = [1.0] * k + [1 - own**k]
        for m in range(k + 1, choices + 1):
            none.append(none[m - 1] - (1 - own) * own**k * none[m - k - 1])
        expected += 1 - none[choices]
    return expected


class SamplingDial(PageWidget):
    """The chance of a true mask over training, and clips in which each step is fed a true mask or an own one.

    epochs  length of training, in any unit (`unit`)
    start   until this epoch every mask is true
    slope   by how much the chance falls per epoch from then on
    floor   it never falls below this
    epoch   the one that is looked at; by default in the middle of the fall
    frames  T of a clip, 3 … 30: steps 1 … T - 1, of which the first is always fed the given mask
    draw    which of six draws of five clips is shown

    All but `epochs` and `unit` can be read and set from Python and the page alike; `epsilon`, `schedule`, `fed`,
    `longest_run` follow. Defaults: those of the published training. Raises `InputError` outside of these ranges.
    """

    KIND, MOUNT, STATE = "sampling", "mountSampling", _NAMES
    SCRIPTS = ("common.js", "charts.js", "sampling.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    start = traitlets.Int(0).tag(sync=True)
    slope = traitlets.Float().tag(sync=True)
    floor = traitlets.Float().tag(sync=True)
    epoch = traitlets.Int(0).tag(sync=True)
    frames = traitlets.Int(3).tag(sync=True)
    draw = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        epochs: int = 750,
        start: int = 300,
        slope: float = 0.004,
        floor: float = 0.5,
        *,
        epoch: int | None = None,
        frames: int = 10,
        draw: int = 0,
        unit: str = "epoch",
        alt: str = "The chance of a true mask over training, and which mask each step of some clips is fed.",
    ) -> None:
        if epochs < 2:
            raise InputError(f"training needs at least two epochs, got {epochs}")
        self.epochs = epochs
        self._step = 10.0 ** np.floor(np.log10(0.5 / epochs))  # of the slope's dial
        self._steepest = float(np.ceil(10 / epochs / self._step) * self._step)
        if epoch is None:
            epoch = min(epochs, start + round((1 - floor) / slope / 2)) if slope > 0 else start
        values = {"start": start, "slope": slope, "floor": floor, "epoch": epoch, "frames": frames, "draw": draw}
        for name, value in values.items():
            self._check(name, value)
        self._luck = np.random.default_rng(7).integers(0, 1000, size=(_DRAWS, _CLIPS, _MOST_FRAMES - 1))
        content = {
            "alt": alt,
            "epochs": epochs,
            "unit": unit,
            "most": {"slope": self._steepest, "frames": _MOST_FRAMES},
            "least": {"slope": self._step},
            "luck": self._luck.tolist(),
            "colours": {"truth": TRUTH, "own": PREDICTION, "curve": MEMORY},
            "presets": [
                ["as given", {"start": start, "slope": slope, "floor": floor}],
                ["only true masks", {"start": epochs, "slope": slope, "floor": floor}],
                ["only its own", {"start": 0, "slope": self._steepest, "floor": 0.0}],
            ],
        }
        super().__init__(content=content, **values)

    @property
    def schedule(self) -> Float[np.ndarray, "e"]:
        """[epochs + 1] chance of a true mask at epochs 0 … epochs."""
        fallen = 1 - self.slope * (np.arange(self.epochs + 1) - self.start)
        return np.where(fallen >= 1, 1.0, np.maximum(self.floor, fallen))

    @property
    def epsilon(self) -> float:
        """Chance of a true mask at `epoch`."""
        return float(self.schedule[self.epoch])

    @property
    def fed(self) -> Bool[np.ndarray, "clips steps"]:
        """[5, T - 1] whether steps 1 … T - 1 of the clips shown are fed a true mask."""
        fed = self._luck[self.draw, :, : self.frames - 1] / 1000 < self.epsilon
        fed[:, 0] = True
        return fed

    @property
    def longest_run(self) -> float:
        """Expected longest run of own masks in a clip of T frames, at `epoch`."""
        return expected_longest_run(self.frames - 2, 1 - self.epsilon)

    def summary(self) -> str:
        """The setting in a sentence."""
        return (
            f"{self.content['unit'].capitalize()} {self.epoch}: a true mask with chance {self.epsilon:.2f}; in a clip "
            f"of {self.frames} frames the longest stretch of own masks is {self.longest_run:.1f} on average, in use "
            f"{self.frames - 2}."
        )

    def figure(self) -> Figure:
        """Above, the chance over training; below, what the steps of some clips are fed, and those in use."""
        rows = np.concatenate([self.fed, np.zeros((1, self.frames - 1), dtype=np.bool_)])
        rows[-1, 0] = True
        names = [*(f"clip {i + 1}" for i in range(_CLIPS)), "when used"]
        with course_style():
            figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.4), height_ratios=(4, 5))
            above.plot(self.schedule, color=MEMORY)
            above.plot(self.epoch, self.epsilon, "o", color=MEMORY, markersize=9)
            above.set(xlabel=self.content["unit"], ylabel="chance ε of truth", ylim=(0, 1.05))
            for row, fed in enumerate(rows):
                for step, truth in enumerate(fed.tolist(), 1):
                    at = (step - 0.47, row - 0.42)
                    below.add_patch(Rectangle(at, 0.94, 0.84, color=TRUTH if truth else PREDICTION))
                    below.text(step, row, "y" if truth else "ŷ", color="white", ha="center", va="center", fontsize=9)
            below.set(
                xlim=(0.4, self.frames - 0.4), ylim=(len(rows) - 0.4, -0.6), xlabel="step t is fed the mask of t - 1"
            )
            below.set_yticks(range(len(names)), names)
            below.grid(visible=False)
        return figure

    @traitlets.validate(*_NAMES)
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: float) -> None:
        low, high = {
            "start": (0, self.epochs),
            "slope": (0, self._steepest),
            "floor": (0, 1),
            "epoch": (0, self.epochs),
            "frames": (3, _MOST_FRAMES),
            "draw": (0, _DRAWS - 1),
        }[name]
        if not low <= value <= high:
            raise InputError(f"{name} must lie in {low:g} … {high:g}, got {value:g}")
