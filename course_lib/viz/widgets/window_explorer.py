"""The window explorer: point at a cell of the current frame and see where in the frames before it looks, and how hard.

Local memory attention (M. Paul, 2023, section 4.3, equations 4.2 to 4.5): one softmax over a window in every stored
frame. The page holds the keys and computes the weights itself. Unusual: where the truth is known a cross marks where
the thing at this cell really was, so a window that is too small can be seen to be too small. Built for lesson 07.
"""

import base64
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib.errors import InputError
from course_lib.viz.embed import encode_within
from course_lib.viz.figure import course_style
from course_lib.viz.overlay import as_picture
from course_lib.viz.palette import HIGHLIGHT, TRUTH
from course_lib.viz.widgets.affinity import quantise_keys
from course_lib.viz.widgets.live import PageWidget, live_script

TEMPERATURES = (0.1, 10.0)  # ends of the dial
_PICTURE_STEPS = ((360, 60), (320, 50), (280, 40), (240, 30), (200, 25), (160, 20))  # width in pixels and quality
_RAMP = tuple(
    tuple(round(255 * v) for v in colour[:3]) for colour in colormaps["inferno"](np.linspace(0.12, 1, 12)).tolist()
)
_ACROSS = 3  # pictures in a line of the still
_NAMES = ("cell", "window", "memory", "temperature")


class WindowExplorer(PageWidget):
    """Attention of one cell of a frame over windows in the frames before it.

    frames       [S + 1, 3, H, W], oldest first, uint8 or floating point in [0, 1]; the last one asks
    query_key    [D, h, w] of the last frame; memory_keys: [S, D, h, w] of the others
    stride       pixels per cell; padding to whole cells is to the right and below
    window       side of the neighbourhood in cells, odd; as large as 2 · max(h, w) - 1, which sees everything
    memory       how many of the stored frames may answer, the newest first; None takes all
    temperature  scores are divided by it before the softmax, 0.1 … 10; 1 is the network's own
    cell         row and column that asks at first; None takes the middle
    origins      [S, 2, h, w] optional truth: displacement (x, y) in pixels from each cell to where it was in each
                 stored frame; NaN where it was not to be seen
    names        what the frames are called; "t - 3" … "t" by default
    channels     directions of the keys that travel; None takes all, or as many as fit in 18 kB. `fidelity` says what
                 leaving some out costs

    `cell`, `window`, `memory` and `temperature` can be read and set from Python and the page alike; `weights`,
    `shares` and `offset` follow. Raises `InputError` where sizes, ranges or values do not fit.
    """

    KIND, MOUNT, STATE = "window", "mountWindow", _NAMES
    SCRIPTS = ("common.js", "charts.js", "window_explorer.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    cell = traitlets.List(traitlets.Int()).tag(sync=True)
    window = traitlets.Int(1).tag(sync=True)
    memory = traitlets.Int(1).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)

    def __init__(
        self,
        frames: Tensor | np.ndarray,
        query_key: Float[Tensor, "d h w"],
        memory_keys: Float[Tensor, "s d h w"],
        *,
        stride: int,
        window: int = 7,
        memory: int | None = None,
        temperature: float = 1.0,
        cell: tuple[int, int] | None = None,
        origins: Float[Tensor, "s 2 h w"] | None = None,
        names: Sequence[str] | None = None,
        channels: int | None = None,
        max_kilobytes: float = 60,
        alt: str = "A frame, and in the frames before it the cells that one of its cells looks at.",
    ) -> None:
        keys = torch.cat([torch.as_tensor(memory_keys), torch.as_tensor(query_key)[None]]).detach().float().cpu()
        self._size = _checked_sizes(frames, keys, stride)
        stored, rows, columns = self._size
        if names is not None and len(names) != stored + 1:
            raise InputError(f"names must name all {stored + 1} frames, got {len(names)}")
        self.stride = stride
        self._exact = keys
        louder = (keys[:-1].abs().max() / keys[-1].abs().max().clamp(min=1e-12)).clamp(min=1e-12).sqrt()
        balance = torch.cat([(1 / louder).expand(stored), louder[None]]).view(-1, 1, 1, 1)  # products stay
        codes, scales, _ = quantise_keys(keys * balance, channels)
        shown = torch.from_numpy(codes * scales).float().view(stored + 1, rows, columns, -1).permute(0, 3, 1, 2)
        self.shown_keys: Float[Tensor, "t d h w"] = shown
        self.origins = None if origins is None else _rounded_origins(origins, self._size, stride)
        self._pictures = [as_picture(frame) for frame in frames]
        memory = stored if memory is None else memory
        cell = (rows // 2, columns // 2) if cell is None else cell
        values = {"cell": list(cell), "window": window, "memory": memory, "temperature": float(temperature)}
        for name, value in values.items():
            self._check(name, value)
        content = {
            "alt": alt,
            "rows": rows,
            "columns": columns,
            "stride": stride,
            "width": frames.shape[3],
            "height": frames.shape[2],
            "names": list(names) if names is not None else [*(f"t - {stored - s}" for s in range(stored)), "t"],
            "keys": base64.b64encode(codes.tobytes()).decode("ascii"),
            "scales": scales.tolist(),
            "origins": None if self.origins is None else _coded(self.origins),
            "widest": self._widest,
            "temperatures": TEMPERATURES,
            "ramp": _RAMP,
            "colours": {"window": HIGHLIGHT, "truth": TRUTH},
        }
        super().__init__(content={**content, "pictures": []}, **values)
        room = 1000 * (max_kilobytes - self.kilobytes)
        pictures = encode_within(self._pictures, room, _PICTURE_STEPS)
        self.content = {**content, "pictures": pictures}

    @property
    def weights(self) -> Float[Tensor, "s h w"]:
        """[S, h, w] weight of each stored cell for the one that asks; 0 outside of the windows; they add up to 1."""
        return self._weights(self.shown_keys)

    @property
    def shares(self) -> Float[Tensor, "s"]:
        """Part of the attention that each stored frame gets, oldest first."""
        return self.weights.sum(dim=(1, 2))

    @property
    def offset(self) -> tuple[int, int, int]:
        """Frame, rows and columns from the cell that asks to the one that answers most."""
        _, rows, columns = self._size
        best = int(self.weights.argmax())
        frame, rest = divmod(best, rows * columns)
        return frame, rest // columns - self.cell[0], rest % columns - self.cell[1]

    @property
    def fidelity(self) -> float:
        """Share of the weight that lies on the same cells as with the keys as they were given; 1 is perfect."""
        return float(torch.minimum(self.weights, self._weights(self._exact)).sum())

    def summary(self) -> str:
        """The setting in a sentence."""
        frame, down, right = self.offset
        return (
            f"Cell ({self.cell[0]}, {self.cell[1]}) looks through a window of {self.window} x {self.window} into "
            f"{self.memory} frame{'s' if self.memory > 1 else ''}, and most of all at {self.content['names'][frame]}, "
            f"{right:+d} columns and {down:+d} rows away."
        )

    def figure(self) -> Figure:
        """The frame that asks, and the weights over each stored frame, newest first."""
        stored = self._size[0]
        weights, names = self.weights.numpy(), self.content["names"]
        with course_style():
            lines = -(-(self.memory + 1) // _ACROSS)
            figure, grid = plt.subplots(lines, _ACROSS, figsize=(9, 1.9 * lines), squeeze=False)
            axes = grid.flat
            self._draw(axes[0], self._pictures[-1], f"{names[-1]} asks", 1)
            for axis in axes[self.memory + 1 :]:
                axis.axis("off")
            for axis, s in zip(axes[1:], range(stored - 1, stored - 1 - self.memory, -1)):
                self._draw(axis, self._pictures[s] * 0.5 / 255, f"{names[s]}: {weights[s].sum():.0%}", self.window)
                high, wide = (side * self.stride - 0.5 for side in self._size[1:])
                heat = np.where(weights[s] > 0, weights[s], np.nan)
                axis.imshow(
                    heat, extent=(-0.5, wide, high, -0.5), cmap="inferno", vmin=0, vmax=weights.max(), alpha=0.8
                )
                height, width = self._pictures[s].shape[:2]
                axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        return figure

    def _draw(self, axis: Axes, picture: np.ndarray, title: str, window: int) -> None:
        axis.imshow(picture)
        row, column = self.cell
        side = window * self.stride
        corner = (column - window // 2) * self.stride - 0.5, (row - window // 2) * self.stride - 0.5
        axis.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=HIGHLIGHT, linewidth=1.5))
        axis.set_title(title, fontsize=9)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)

    @property
    def _widest(self) -> int:
        """The smallest window that sees every cell from every cell."""
        return 2 * max(self._size[1:]) - 1

    def _seen(self) -> Bool[Tensor, "s h w"]:
        """Which stored cells the one that asks may look at."""
        stored, rows, columns = self._size
        reach = self.window // 2
        near = [(torch.arange(side) - at).abs() <= reach for side, at in zip((rows, columns), self.cell)]
        frames = torch.arange(stored) >= stored - self.memory
        return frames[:, None, None] & near[0][:, None] & near[1]

    def _weights(self, keys: Float[Tensor, "t d h w"]) -> Float[Tensor, "s h w"]:
        row, column = self.cell
        scores = torch.einsum("d,sdhw->shw", keys[-1, :, row, column], keys[:-1]) / self.temperature
        scores = scores.masked_fill(~self._seen(), -torch.inf)
        return scores.flatten().softmax(dim=0).view_as(scores)

    @traitlets.validate(*_NAMES)
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        stored, rows, columns = self._size
        if name == "cell" and not (len(value) == 2 and 0 <= value[0] < rows and 0 <= value[1] < columns):
            raise InputError(f"cell must be (row, column) in a grid of {rows} x {columns}, got {tuple(value)}")
        if name == "window" and not (1 <= value <= self._widest and value % 2):
            raise InputError(f"window must be odd and lie in 1 … {self._widest}, got {value}")
        if name == "memory" and not 1 <= value <= stored:
            raise InputError(f"memory must lie in 1 … {stored}, the number of stored frames; got {value}")
        low, high = TEMPERATURES
        if name == "temperature" and not low <= value <= high:
            raise InputError(f"temperature must lie in {low:g} … {high:g}, got {value:g}")


def _checked_sizes(frames: Tensor | np.ndarray, keys: Float[Tensor, "t d h w"], stride: int) -> tuple[int, int, int]:
    """Number of stored frames, rows and columns of cells."""
    if frames.ndim != 4 or frames.shape[1] != 3 or keys.ndim != 4 or len(frames) != len(keys) or len(keys) < 2:
        raise InputError(
            "expected frames [S + 1, 3, H, W], memory keys [S, D, h, w] of all but the last and the query key "
            f"[D, h, w] of the last; got frames {list(frames.shape)} and keys {list(keys.shape)} together"
        )
    if not keys.isfinite().all():
        raise InputError("keys must be finite numbers, got nan or infinity")
    rows, columns = (-(-side // stride) for side in frames.shape[2:]) if stride > 0 else (0, 0)
    if (rows, columns) != tuple(keys.shape[2:]):
        raise InputError(
            f"frames of {frames.shape[2]} x {frames.shape[3]} pixels have {rows} x {columns} cells at a stride of "
            f"{stride}, got keys of {keys.shape[2]} x {keys.shape[3]}; give the stride of the features"
        )
    return len(keys) - 1, rows, columns


def _rounded_origins(origins: Tensor, size: tuple[int, int, int], stride: int) -> Float[np.ndarray, "s 2 h w"]:
    """Displacements in cells, to a tenth; NaN where there is none."""
    given = torch.as_tensor(origins).detach().double().cpu().numpy()
    stored, rows, columns = size
    if given.shape != (stored, 2, rows, columns):
        raise InputError(f"origins must be {[stored, 2, rows, columns]}, one (x, y) per cell and stored frame")
    return np.round(given / stride, 1)


def _coded(origins: Float[np.ndarray, "s 2 h w"]) -> str:
    """Tenths of a cell as 16-bit numbers, little-endian; the lowest stands for NaN. Order: frame, row, column, x y."""
    tenths = np.where(np.isnan(origins), -32768, np.clip(origins * 10, -32767, 32767).round())
    return base64.b64encode(tenths.transpose(0, 2, 3, 1).astype("<i2").tobytes()).decode("ascii")
