"""The schedule editor: a curriculum as a curve that can be dragged, and what a batch looks like along it.

Two kinds of curricula after F. Azimi (2024), section 5.4: all images after the same number of the agent's steps, or a
number of images per batch after all of them and the rest untouched. Unusual: the schedules are data, given by whoever
trains with them, so that what is drawn is what was trained; a schedule drawn by hand comes back as data. Built for
lesson 02.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import SERIES
from course_lib.viz.widgets.episode_record import as_bytes, sampled
from course_lib.viz.widgets.live import PageWidget, live_script

Values = Sequence[float] | np.ndarray | Tensor
_LINES = ("-", "--", "-.", ":")


class ScheduleEditor(PageWidget):
    """Schedules side by side, each with a strip of what it shows, points to drag, and accuracies where known.

    images     [B, C, H, W] originals, uint8 or in [0, 1]; one to four, drawn as rows
    matrices   [B, T+1, 3, 3] of the views after 0 … T steps of the agent (`EpisodeRecord.matrices`)
    steps      name -> [E] whole numbers 0 … T, steps at each epoch, for all images alike
    processed  name -> [E] whole numbers 0 … batch, images of each batch after all T steps, the others untouched
    batch      images in a batch
    accuracy   name -> [n], or [R, n] of R runs: accuracy in [0, 1] on original images. Names other than those of
               schedules are drawn as references
    accuracy_epochs  [n] epochs of these; by default evenly from 0 to E-1
    preset     which schedule is shown at first; the first one by default
    points     how many points can be dragged

    `preset` and `points` (their heights; empty while the preset is untouched) can be read and set from Python and the
    page alike, and a change of preset empties the points; `schedule` and `kind` follow and can be trained with. Raises
    `InputError` where sizes or ranges do not fit.
    """

    KIND, MOUNT, STATE = "schedules", "mountSchedules", ("preset", "points")
    SCRIPTS = ("common.js", "charts.js", "warp.js", "schedules.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    preset = traitlets.Unicode().tag(sync=True)
    points = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(
        self,
        images: Float[Tensor, "b c h w"] | np.ndarray,
        matrices: Float[Tensor, "b t1 3 3"] | np.ndarray,
        steps: Mapping[str, Values],
        processed: Mapping[str, Values] | None = None,
        *,
        batch: int = 64,
        accuracy: Mapping[str, Any] | None = None,
        accuracy_epochs: Values | None = None,
        preset: str | None = None,
        points: int = 11,
        alt: str = "Difficulty of the training images against the epoch, and the images at that difficulty.",
    ) -> None:
        self.images, self.matrices = as_bytes(images), _array(matrices).astype(np.float64)
        if self.matrices.ndim != 4 or self.matrices.shape[::2] != (len(self.images), 3) or self.matrices.shape[1] < 2:
            raise InputError(
                f"matrices must be [{len(self.images)}, T+1, 3, 3], for each image those of its views after 0 … T "
                f"steps; got {list(self.matrices.shape)}"
            )
        self.steps, self.batch = self.matrices.shape[1] - 1, batch
        kinds = [(steps, "steps", self.steps), (processed or {}, "processed", batch)]
        self.presets = {n: _whole(n, values, limit) for given, _, limit in kinds for n, values in given.items()}
        self._kinds = {name: kind for given, kind, _ in kinds for name in given}
        lengths = {name: len(values) for name, values in self.presets.items()}
        if len(self.presets) != len(steps) + len(processed or {}) or len(set(lengths.values())) != 1:
            raise InputError(f"schedules need names of their own and one number of epochs, got {lengths or 'none'}")
        self.epochs = next(iter(lengths.values()))
        if not 2 <= points <= self.epochs:
            raise InputError(f"points must lie in 2 … {self.epochs}, the number of epochs; got {points}")
        self._places = np.linspace(0, self.epochs - 1, points).round().astype(int)
        self.curves = _curves(accuracy or {}, accuracy_epochs, self.epochs)
        preset = next(iter(self.presets)) if preset is None else preset
        self._check("preset", preset)
        content = {
            "alt": alt,
            "epochs": self.epochs,
            "steps": self.steps,
            "batch": batch,
            "height": self.images.shape[2],
            "width": self.images.shape[3],
            "channels": self.images.shape[1],
            "pictures": [base64.b64encode(picture.tobytes()).decode("ascii") for picture in self.images],
            "matrices": [[_short(matrix.flatten(), 6) for matrix in row] for row in self.matrices],
            "presets": [
                {"name": name, "kind": self._kinds[name], "values": values.tolist(), "colour": colour}
                for (name, values), colour in zip(self.presets.items(), SERIES * 4)
            ],
            "curves": [
                {"name": name, **{key: None if v is None else _short(v, 4) for key, v in curve.items()}}
                for name, curve in self.curves.items()
            ],
            "places": self._places.tolist(),
        }
        super().__init__(content=content, preset=preset, points=[])

    @property
    def kind(self) -> str:
        """What the schedule counts: "steps" of every image, or "processed" images of a batch."""
        return self._kinds[self.preset]

    @property
    def schedule(self) -> Int[np.ndarray, "e"]:
        """[E] as it stands: the preset, or the points joined by lines and rounded, halves up."""
        if not self.points:
            return self.presets[self.preset].copy()
        return np.floor(np.interp(np.arange(self.epochs), self._places, self.points) + 0.5).astype(np.int64)

    @property
    def ends_on_originals(self) -> bool:
        """Whether the last epoch shows untouched images only, as a test does."""
        return bool(self.schedule[-1] == 0)

    def summary(self) -> str:
        """The schedule in a sentence."""
        schedule = self.schedule
        what = "steps" if self.kind == "steps" else f"processed images of {self.batch}"
        return (
            f"{'Drawn by hand, from ' if self.points else ''}{self.preset}: {schedule[0]} {what} at epoch 0, "
            f"{schedule[-1]} at epoch {self.epochs - 1}, {schedule.mean():.1f} on average."
        )

    def figure(self) -> Figure:
        """All schedules as shares of the most there is, then the chosen one's images, then accuracies where known."""
        rows = 3 if self.curves else 2
        with course_style():
            figure, axes = plt.subplots(rows, 1, figsize=(8, 1.2 + 1.9 * rows), height_ratios=(3, 1, 3)[:rows])
            for i, (name, values) in enumerate(self.presets.items()):
                chosen = name == self.preset and not self.points
                axes[0].step(
                    np.arange(self.epochs),
                    values / self._limit(name),
                    _LINES[i % 4],
                    where="post",
                    label=name,
                    color=SERIES[i % 8],
                    linewidth=3 if chosen else 1.4,
                )
            if self.points:
                drawn = self.schedule / self._limit(self.preset)
                axes[0].step(np.arange(self.epochs), drawn, "k", where="post", label="drawn by hand")
            axes[0].set(ylabel="share of steps, or of batch", xlim=(0, self.epochs - 1), ylim=(0, 1.05))
            figure.legend(loc="outside upper center", ncols=6)
            axes[1].imshow(self._strip(), cmap="gray")
            axes[1].set(xticks=[], yticks=[], title="")
            axes[1].set_xlabel(f"images along the schedule “{self.preset}”" + (", as drawn" if self.points else ""))
            axes[1].grid(visible=False)
            for name, curve in self.curves.items():
                at = list(self.presets).index(name) if name in self.presets else None
                style = {"color": "#555555", "linestyle": ":"} if at is None else {"color": SERIES[at % 8]}
                axes[2].plot(curve["epochs"], curve["mean"], **style, linewidth=3 if name == self.preset else 1.4)
                axes[2].set(xlabel="epoch", ylabel="accuracy", xlim=(0, self.epochs - 1))
        return figure

    def _strip(self) -> UInt8[np.ndarray, "h w c"]:
        """The first image at each of the epochs of the points; in a mixed batch, the kind that most of it is."""
        chosen = self.schedule[self._places]
        taken = chosen if self.kind == "steps" else np.where(2 * chosen >= self.batch, self.steps, 0)
        views = sampled(self.images[0], self.matrices[0][taken])  # [n, C, H, W]
        tiles = np.pad((views.numpy() * 255).round().astype(np.uint8), ((0, 0), (0, 0), (0, 0), (2, 2)), "maximum")
        tiles[..., :2], tiles[..., -2:] = 255, 255
        return np.concatenate(list(tiles.transpose(0, 2, 3, 1)), axis=1)

    @traitlets.observe("preset")
    def _start_afresh(self, change: Any) -> None:
        self.points = []  # heights of another schedule, perhaps of another kind

    @traitlets.validate("preset", "points")
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        if name == "preset" and value not in self.presets:
            raise InputError(f"preset must be one of {', '.join(self.presets)}; got {value!r}")
        if name == "points" and value:
            most, count = self._limit(self.preset), len(self._places)
            if len(value) != count or not 0 <= min(value) <= max(value) <= most:
                raise InputError(f"points must be {count} heights of 0 … {most}, or none; got {list(value)}")

    def _limit(self, preset: str) -> int:
        """The most a schedule of this kind can reach."""
        return self.steps if self._kinds[preset] == "steps" else self.batch


def _whole(name: str, values: Values, limit: int) -> Int[np.ndarray, "e"]:
    """A schedule as whole numbers 0 … limit."""
    array = _array(values)
    if array.ndim != 1 or len(array) < 2 or not (array == np.round(array)).all():
        raise InputError(f"schedule {name!r} must be a whole number for each of at least two epochs")
    if not 0 <= array.min() <= array.max() <= limit:
        raise InputError(f"schedule {name!r} must lie in 0 … {limit}, got {array.min()} … {array.max()}")
    return array.astype(np.int64)


def _curves(accuracy: Mapping[str, Any], at: Values | None, epochs: int) -> dict[str, dict[str, Any]]:
    """Mean and range over runs of each accuracy curve."""
    curves = {}
    for name, values in accuracy.items():
        runs = np.atleast_2d(_array(values).astype(np.float64))  # [R, n]
        if runs.ndim != 2 or not ((runs >= 0) & (runs <= 1)).all():
            raise InputError(f"accuracy of {name!r} must be [n] or [R, n] numbers in [0, 1], got {list(runs.shape)}")
        where = np.linspace(0, epochs - 1, runs.shape[1]) if at is None else _array(at).astype(np.float64)
        if where.shape != runs.shape[1:] or where.min() < 0 or where.max() > epochs - 1:
            raise InputError(
                f"accuracy_epochs must be {runs.shape[1]} epochs in 0 … {epochs - 1} for {name!r}, got {where.tolist()}"
            )
        spread = len(runs) > 1
        curves[name] = {
            "epochs": where,
            "mean": runs.mean(axis=0),
            "low": runs.min(axis=0) if spread else None,
            "high": runs.max(axis=0) if spread else None,
        }
    return curves


def _short(values: Float[np.ndarray, "n"], digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
