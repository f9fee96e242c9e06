"""The episode player: where an agent looked, what it saw, what it thought of each move; or the reader plays instead.

The page holds the originals and the moves and makes every view itself (backward, composed, sampled once; F. Azimi,
2024, section 5.3), so the copy without a kernel is the same instrument. Unusual: agent and reader have the same moves,
the same number of them and, where a small classifier or the object's box is known, the same judge. Built for lessons
01 and 03.
"""

import base64
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import HIGHLIGHT, PREDICTION, SERIES, TRUTH
from course_lib.viz.widgets.episode_record import EpisodeRecord, PageClassifier, matrices_of, sampled
from course_lib.viz.widgets.live import PageWidget, live_script

_COLOURS = {"agent": SERIES[0], "own": PREDICTION, "frame": HIGHLIGHT, "box": TRUTH}
_SHARES = ("true_iou", "clipped_share")
_STILL_COLUMNS = 6


class EpisodePlayer(PageWidget):
    """Recorded episodes with a slider for the step, and a mode in which the reader makes the moves.

    record         what the agent did; three or four episodes are a good number
    classifier     judges every view, the agent's and the reader's, in place of `record.losses`; `record.labels` must
                   then be its class numbers
    share          how box and view are compared: "true_iou" (falls once the box outgrows the view) or "clipped_share"
    titles         one short name per episode; by default "image 1 (label)" …
    fps            steps a second when played
    max_kilobytes  of the pictures; larger ones are averaged down to fit, which no classifier allows

    `episode`, `step`, `mode` ("watch" or "play") and `own` (the reader's moves, numbers) can be read and set from
    Python and the page alike; `matrix` and `view` follow. Raises `InputError` where sizes, ranges or names do not fit.
    """

    KIND, MOUNT, STATE = "episode", "mountEpisode", ("episode", "step", "mode", "own")
    SCRIPTS = ("common.js", "charts.js", "warp.js", "judge.js", "episode.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    episode = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    mode = traitlets.Unicode("watch").tag(sync=True)
    own = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        record: EpisodeRecord,
        classifier: PageClassifier | None = None,
        *,
        share: Literal["true_iou", "clipped_share"] = "true_iou",
        titles: list[str] | None = None,
        episode: int = 0,
        step: int = 0,
        fps: float = 2,
        max_kilobytes: float = 30,
        alt: str = "Episodes of an agent that moves, zooms and turns its view of an image.",
    ) -> None:
        if share not in _SHARES:
            raise InputError(f"share must be one of {', '.join(_SHARES)}; got {share!r}")
        if not 0 < fps <= 60:
            raise InputError(f"fps must lie in (0, 60], got {fps}")
        if titles is not None and len(titles) != len(record):
            raise InputError(f"{len(record)} episodes need {len(record)} titles, got {len(titles)}")
        if classifier is not None:
            _check_judge(record, classifier)
        self.record, self.classifier = record, classifier
        self._check("episode", episode)
        self._check("step", step)
        pictures = _one_channel(record.images)
        if classifier is None:
            pictures = _fitting(pictures, 1000 * max_kilobytes)
        elif pictures.size * 4 / 3 > 1000 * max_kilobytes:
            raise InputError(
                f"{len(pictures)} pictures of {record.images.shape[1:]} take more than {max_kilobytes:g} kB, and a "
                "classifier needs them as they are; show fewer episodes, or allow more with max_kilobytes"
            )
        elif pictures.shape != record.images.shape:
            pictures = record.images  # the classifier counts channels
        content = {
            "alt": alt,
            "height": pictures.shape[2],
            "width": pictures.shape[3],
            "channels": pictures.shape[1],
            "pictures": [base64.b64encode(picture.tobytes()).decode("ascii") for picture in pictures],
            "names": list(record.names),
            "moves": [_short(move.flatten(), 9) for move in record.moves],
            "fps": fps,
            "share": share,
            "colours": _COLOURS,
            "scores": _scores(record),
            "judge": None if classifier is None else classifier.packed(),
            "episodes": [
                _packed(record, b, titles, pictures.shape[2:], classifier is not None) for b in range(len(record))
            ],
        }
        super().__init__(content=content, episode=episode, step=step)

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Of the view that is shown."""
        actions = self.own if self.mode == "play" else self.record.actions[self.episode].tolist()
        return matrices_of(self.record.moves, actions[: self.step])[-1]

    @property
    def view(self) -> Float[Tensor, "c h w"]:
        """What is seen at the moment, in [0, 1]."""
        return sampled(self.record.images[self.episode], self.matrix[None])[0]

    def summary(self) -> str:
        """Which episode, which step, and what comes next, in a sentence."""
        record, t = self.record, self.step
        where = f"Episode {self.episode + 1} of {len(record)}, {self._title()}, at step {t} of {record.steps}"
        if self.mode == "play":
            return f"{where}, moves made by hand: {', '.join(record.names[a] for a in self.own) or 'none yet'}."
        return f"{where}; the moves are {', '.join(record.names[a] for a in record.actions[self.episode])}."

    def figure(self) -> Figure:
        """Film strip of the episode: originals with the frame of the view above, views below; at most six steps."""
        record, b = self.record, self.episode
        height, width = record.images.shape[2:]
        chosen = np.unique(np.linspace(0, record.steps, min(_STILL_COLUMNS, record.steps + 1)).round().astype(int))
        views, matrices = record.views(b), record.matrices[b]
        with course_style():
            figure, axes = plt.subplots(2, len(chosen), figsize=(1.35 * len(chosen), 3.1), squeeze=False)
            for column, t in enumerate(chosen):
                for axis, picture in zip(axes[:, column], (record.images[b] / 255, views[t].numpy())):
                    axis.imshow(picture.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
                    axis.set(xticks=[], yticks=[])
                    axis.set_facecolor("#606060")
                    axis.grid(visible=False)
                corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) @ matrices[t].T
                places = (corners[:, :2] + 1) * (width / 2, height / 2)  # [4, 2] in pixels
                above = axes[0, column]
                above.add_patch(Polygon(places, fill=False, edgecolor=HIGHLIGHT, linewidth=1.6))
                above.plot(*places[:2].T, color=HIGHLIGHT, linewidth=3.5)
                above.set(xlim=(-width / 5, 1.2 * width), ylim=(1.2 * height, -height / 5))
                made = record.names[record.actions[b, t - 1]] if t else "original"
                above.set_title(f"step {t}\n{made}", fontsize=9, fontweight="normal", loc="center", pad=4)
            axes[0, 0].set_ylabel("frame", fontsize=9)
            axes[1, 0].set_ylabel("view", fontsize=9)
        return figure

    def _title(self) -> str:
        return str(self.content["episodes"][self.episode]["title"])

    @traitlets.validate("episode", "step", "mode", "own")
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        record = self.record
        if name == "mode" and value not in ("watch", "play"):
            raise InputError(f"mode must be 'watch' or 'play', got {value!r}")
        if name == "episode" and not 0 <= value < len(record):
            raise InputError(f"episode must lie in 0 … {len(record) - 1}, got {value}")
        if name == "step" and not 0 <= value <= record.steps:
            raise InputError(f"step must lie in 0 … {record.steps}, got {value}")
        if name == "own" and not (len(value) <= record.steps and all(0 <= a < len(record.names) for a in value)):
            raise InputError(f"own holds at most {record.steps} moves, numbered 0 … {len(record.names) - 1}")


def _check_judge(record: EpisodeRecord, classifier: PageClassifier) -> None:
    classifier.check_size(*record.images.shape[1:])
    for label in record.labels if record.labels is not None else [None]:
        if isinstance(label, (str, type(None))) or not 0 <= int(label) < classifier.outputs:
            raise InputError(
                f"a classifier judges by class numbers 0 … {classifier.outputs - 1} in record.labels, got {label!r}"
            )


def _scores(record: EpisodeRecord) -> dict[str, Any] | None:
    """What the bars show, and their range over all episodes."""
    if record.probabilities is not None:
        return {"what": "probability of each move", "symbol": "π", "low": 0, "high": 1}
    if record.q_values is None:
        return None
    low, high = min(0.0, float(record.q_values.min())), max(0.0, float(record.q_values.max()))
    return {"what": "Q-value of each move", "symbol": "Q", "low": low, "high": high if high > low else low + 1}


def _packed(
    record: EpisodeRecord, b: int, titles: list[str] | None, size: tuple[int, ...], judged: bool
) -> dict[str, Any]:
    """An episode as episode.js wants it; boxes in pixels of pictures of `size`."""
    label = None if record.labels is None else record.labels[b]
    scores = record.probabilities if record.probabilities is not None else record.q_values
    rows = {
        name: None if values is None else _short(values[b], 4)
        for name, values in (("losses", record.losses), ("rewards", record.rewards), ("shares", record.shares))
    }
    scale = np.tile(np.array(size[::-1]) / record.images.shape[:1:-1], 2)  # of x, y, x, y
    return {
        "title": titles[b] if titles is not None else f"image {b + 1}" + ("" if label is None else f" ({label})"),
        "actions": record.actions[b].tolist(),
        "scores": None if scores is None else [_short(row, 3) for row in scores[b]],
        **rows,
        "box": None if record.boxes is None else _short(record.boxes[b] * scale, 6),
        "label": int(label) if judged and label is not None else None,
    }


def _short(values: Float[np.ndarray, "n"], digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]


def _one_channel(images: UInt8[np.ndarray, "b c h w"]) -> UInt8[np.ndarray, "b c2 h w"]:
    """Grey images need one channel only."""
    return images[:, :1] if (images == images[:, :1]).all() else images


def _fitting(images: UInt8[np.ndarray, "b c h w"], room: float) -> UInt8[np.ndarray, "b c h2 w2"]:
    """Averaged down by whole factors until they take at most `room` bytes as base64."""
    height, width = images.shape[2:]
    factor = 1
    while images.shape[0] * images.shape[1] * (height // factor) * (width // factor) * 4 / 3 > room:
        factor += 1
        if min(height, width) // factor < 8:
            raise InputError(f"{len(images)} pictures do not fit in {room / 1000:g} kB; show fewer episodes")
    if factor == 1:
        return images
    small = F.interpolate(torch.from_numpy(images).float(), size=(height // factor, width // factor), mode="area")
    return small.round().byte().numpy()
