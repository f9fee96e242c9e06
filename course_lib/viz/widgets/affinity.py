"""The affinity explorer: point at a cell of one frame and see which cells of the stored frames answer, and how loudly.

The page holds the keys and computes similarity, top-k and softmax itself (equations of `course_lib.nn.attention_read`),
so the copy without a kernel is the same instrument. Unusual: keys travel turned onto their principal directions and in
8 bits, and Python reads the very same rounded keys, so that both show the same weights. Built for lesson 13.
"""

import base64
import math
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from jaxtyping import Float, Int8, UInt8
from matplotlib import colormaps
from torch import Tensor

from course_lib.errors import InputError
from course_lib.nn.attention_read import affinity, similarity
from course_lib.viz.embed import asset, encode_picture, encode_within, fragment, shrunk
from course_lib.viz.overlay import as_picture
from course_lib.viz.widgets.bundle import with_fallback

METRICS = ("l2", "dot")
SCRIPTS = ("common.js", "affinity.js")
_KEY_BYTES = 18_000  # of all keys, before base64 makes them a third longer
_PICTURE_STEPS = ((280, 60), (280, 40), (240, 30), (200, 25), (160, 20))  # width in pixels and quality
_POSTER_WIDTH = 150  # of each frame in the still
_MARGIN = 6  # white pixels between frames in the still
_STOPS = 60  # of the slider for top_k
_RAMP = tuple(
    tuple(round(255 * v) for v in colour[:3]) for colour in colormaps["inferno"](np.linspace(0.12, 1, 12)).tolist()
)


class AffinityExplorer(anywidget.AnyWidget):
    """Weights with which the cells of stored frames answer one cell of the query frame.

    frames    [T, 3, H, W], uint8 or floating point in [0, 1]
    keys      [T, Ck, h, w] of the same frames, padded evenly to whole cells as networks here do it
    query     index of the frame that asks; the others are stored
    masks     [T-1, h, w] probability in [0, 1] that a stored cell is the object; adds a read-out, "is object: 0.97"
    top_k     how many cells may answer, 1 … N of all stored cells; metric: "l2" or "dot"
    cell      row and column that asks at first; None takes the middle, or with masks the one most surely object
    names     what the T frames are called, "frame 0" … by default
    stride    pixels per cell, each way
    channels  directions of the keys that travel; None takes all, or as many as fit in 18 kB. `fidelity` says what
              leaving some out costs
    max_kilobytes  pictures are made smaller and coarser in order to fit; look at `kilobytes` for what came of it

    `cell`, `top_k` and `metric` can be read and set from Python and the page alike; `weights`, `readout` follow.
    `shown_keys` are the keys as the page knows them.
    Raises `InputError` where sizes, ranges or values do not fit.
    """

    _esm = "\n".join(asset(name) for name in (*SCRIPTS, "affinity_widget.js"))
    _css = asset("viz.css")
    content = traitlets.Dict().tag(sync=True)
    cell = traitlets.List(traitlets.Int()).tag(sync=True)
    top_k = traitlets.Int(8).tag(sync=True)
    metric = traitlets.Unicode("l2").tag(sync=True)

    def __init__(
        self,
        frames: Tensor | np.ndarray,
        keys: Float[Tensor, "t ck h w"] | np.ndarray,
        query: int = -1,
        masks: Float[Tensor, "s h w"] | np.ndarray | None = None,
        top_k: int = 8,
        metric: str = "l2",
        *,
        cell: tuple[int, int] | None = None,
        names: Sequence[str] | None = None,
        stride: int = 16,
        channels: int | None = None,
        max_kilobytes: float = 60,
        alt: str = "A frame, and over earlier frames the weights with which their cells answer one of its cells.",
    ) -> None:
        exact = torch.as_tensor(keys).detach().float().cpu()
        count, height, width = _checked_sizes(frames, exact, stride)
        if not -count <= query < count:
            raise InputError(f"query must be the index of one of {count} frames, got {query}")
        if names is not None and len(names) != count:
            raise InputError(f"names must name all {count} frames, got {len(names)}")
        self.query = query % count
        rows, columns = exact.shape[2:]
        codes, scales, basis = quantise_keys(exact, channels)
        turned = torch.from_numpy(codes * scales) @ torch.from_numpy(basis).T  # [T*h*w, Ck]
        self.shown_keys: Float[Tensor, "t ck h w"] = turned.float().view(count, rows, columns, -1).permute(0, 3, 1, 2)
        self._exact = exact
        self.masks, mask_codes = _rounded_masks(masks, (count - 1, rows, columns))
        self._pictures = [as_picture(frame, size=(height, width)) for frame in frames]
        self._place = (stride, (rows * stride - height) // 2, (columns * stride - width) // 2)
        self._check("top_k", top_k)
        self._check("metric", metric)
        if cell is None:
            cell = (rows // 2, columns // 2) if self.masks is None else self._surest(top_k, metric)
        self._check("cell", cell)
        content = {
            "alt": alt,
            "rows": rows,
            "columns": columns,
            "stride": stride,
            "top": self._place[1],
            "left": self._place[2],
            "width": width,
            "height": height,
            "pictures": [],
            "names": list(names) if names is not None else [f"frame {t}" for t in range(count)],
            "query": self.query,
            "keys": base64.b64encode(codes.tobytes()).decode("ascii"),
            "scales": scales.tolist(),
            "root": math.sqrt(exact.shape[1]),
            "masks": mask_codes,
            "ramp": _RAMP,
            "stops": sorted({round(n) for n in np.geomspace(1, (count - 1) * rows * columns, _STOPS)}),
        }
        super().__init__(content=content, cell=list(cell), top_k=top_k, metric=metric)
        room = 1000 * (max_kilobytes - self.kilobytes)
        pictures = encode_within(self._pictures, room, _PICTURE_STEPS)
        self.content = {**content, "pictures": pictures}

    @property
    def weights(self) -> Float[Tensor, "s h w"]:
        """[T-1, h, w] weight of each stored cell for the chosen cell; they add up to 1."""
        row, column = self.cell
        stored, queries = self._memory(self.shown_keys)
        at = row * self.shown_keys.shape[3] + column
        return affinity(similarity(stored, queries[:, :, at : at + 1], self._metric), self.top_k).view(self._grid)

    @property
    def readout(self) -> float | None:
        """Probability of the object that the chosen cell reads; None without masks."""
        return None if self.masks is None else float((self.weights * self.masks).sum())

    @property
    def fidelity(self) -> float:
        """Share of the weight that lies on the same cells as with the keys as they were given, mean over query cells.

        1 is perfect. At the present `top_k` and `metric`.
        """
        given, shown = (
            affinity(similarity(*self._memory(keys), self._metric), self.top_k)
            for keys in (self._exact, self.shown_keys)
        )
        return float(torch.minimum(given, shown).sum(1).mean())

    @property
    def kilobytes(self) -> float:
        """Size of the copy without a kernel in units of 1000 bytes."""
        return len(self.fallback_html().encode()) / 1000

    def fallback_html(self) -> str:
        """The same instrument without a kernel."""
        data = {**self.content, "state": {"cell": self.cell, "top_k": self.top_k, "metric": self.metric}}
        row, column = self.cell
        alt = f"{self.content['alt']} Cell ({row}, {column}) asks, {self.top_k} cells answer."
        return fragment("affinity", SCRIPTS, "mountAffinity", data, encode_picture(self._still(), quality=30), alt)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        text = (
            f"Affinity explorer: cell {tuple(self.cell)}, top_k {self.top_k}, {self.metric}. Run this cell to use it."
        )
        return with_fallback(super()._repr_mimebundle_(**kwargs), self.fallback_html(), text)

    @property
    def _grid(self) -> tuple[int, int, int]:
        return (self.shown_keys.shape[0] - 1, self.shown_keys.shape[2], self.shown_keys.shape[3])

    @property
    def _metric(self) -> Any:
        return self.metric  # one of METRICS, which the validator has seen to

    def _memory(self, keys: Float[Tensor, "t ck h w"]) -> tuple[Float[Tensor, "1 ck n"], Float[Tensor, "1 ck q"]]:
        """Stored keys, frame after frame, and those of the query frame."""
        stored = keys[[t for t in range(len(keys)) if t != self.query]]
        return stored.transpose(0, 1).flatten(1)[None], keys[self.query].flatten(1)[None]

    def _surest(self, top_k: int, metric: Any) -> tuple[int, int]:
        stored, queries = self._memory(self.shown_keys)
        weights = affinity(similarity(stored, queries, metric), top_k)[0]  # [N, Q]
        assert self.masks is not None
        best = int((self.masks.flatten() @ weights).argmax())
        return divmod(best, self.shown_keys.shape[3])

    @traitlets.validate("cell", "top_k", "metric")
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: Any) -> None:
        stored, rows, columns = self._grid
        if name == "metric" and value not in METRICS:
            raise InputError(f"metric must be 'l2' or 'dot', got {value!r}")
        if name == "top_k" and not 1 <= value <= stored * rows * columns:
            raise InputError(
                f"top_k must lie in 1 … {stored * rows * columns}, the number of stored cells; got {value}"
            )
        if name == "cell" and not (len(value) == 2 and 0 <= value[0] < rows and 0 <= value[1] < columns):
            raise InputError(f"cell must be (row, column) in a grid of {rows} x {columns}, got {tuple(value)}")

    def _still(self) -> UInt8[np.ndarray, "h w 3"]:
        """The chosen cell, and beside it the weights over each stored frame."""
        stride, top, left = self._place
        height, width = self._pictures[0].shape[:2]
        row, column = self.cell
        query = self._pictures[self.query].copy()
        y, x = max(0, row * stride - top), max(0, column * stride - left)
        thick = max(1, width // 120)
        box = query[y : row * stride - top + stride, x : column * stride - left + stride]
        inner = box[thick:-thick, thick:-thick].copy()
        box[:] = (255, 255, 255)
        box[thick:-thick, thick:-thick] = inner
        tiles = [query]
        stored = [picture for t, picture in enumerate(self._pictures) if t != self.query]
        heat = (self.weights / self.weights.max()).numpy().repeat(stride, 1).repeat(stride, 2)
        ramp = np.array(_RAMP)
        for picture, full in zip(stored, heat):
            share = full[top : top + height, left : left + width, None]
            colour = ramp[(share[..., 0] * (len(ramp) - 1)).round().astype(int)]
            tiles.append(np.where(share > 0, 0.2 * picture + 0.8 * colour, 0.6 * picture).astype(np.uint8))
        small = [shrunk(tile, _POSTER_WIDTH) for tile in tiles]
        gap = np.full((small[0].shape[0], _MARGIN, 3), 255, dtype=np.uint8)
        return np.concatenate([part for tile in small for part in (tile, gap)][:-1], axis=1)


def quantise_keys(
    keys: Float[Tensor, "t ck h w"], channels: int | None = None
) -> tuple[Int8[np.ndarray, "n d"], Float[np.ndarray, "d"], Float[np.ndarray, "ck d"]]:
    """Keys as 8-bit codes [T*h*w, d], such that `codes * scales @ basis.T` are nearly the keys, cell by cell.

    `basis` [Ck, d] holds orthonormal directions, the strongest first, so distances and products are those of the codes.
    channels: d; None takes Ck, or as many as fit in 18 kB.
    """
    rows = keys.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()  # [T*h*w, Ck]
    most = min(rows.shape)
    if channels is None:
        channels = min(most, max(1, _KEY_BYTES // len(rows)))
    if not 1 <= channels <= keys.shape[1]:
        raise InputError(f"channels must lie in 1 … {keys.shape[1]}, the channels of the keys; got {channels}")
    basis = np.linalg.svd(rows, full_matrices=False)[2][:channels].T  # [Ck, d]
    turned = rows @ basis
    largest = np.abs(turned).max(axis=0)
    scales = np.array([float(f"{value / 127:.6g}") for value in largest])  # short numbers, the same here and there
    codes = np.divide(turned, scales, out=np.zeros_like(turned), where=scales > 0)
    return codes.round().clip(-127, 127).astype(np.int8), scales, basis


def _checked_sizes(frames: Tensor | np.ndarray, keys: Float[Tensor, "t ck h w"], stride: int) -> tuple[int, int, int]:
    """Number, height and width of the frames, whose cells the keys must be."""
    if frames.ndim != 4 or frames.shape[1] != 3 or keys.ndim != 4 or len(frames) != len(keys):
        raise InputError(
            "expected frames [T, 3, H, W] and their keys [T, Ck, h, w], "
            f"got {list(frames.shape)} and {list(keys.shape)}"
        )
    if len(frames) < 2:
        raise InputError("expected at least two frames: one that asks and one that is stored; got 1")
    if not keys.isfinite().all():
        raise InputError("keys must be finite numbers, got nan or infinity")
    height, width = frames.shape[2:]
    if stride < 1:
        raise InputError(f"stride must be at least 1 pixel per cell, got {stride}")
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    if (rows, columns) != tuple(keys.shape[2:]):
        raise InputError(
            f"frames of {height} x {width} pixels have {rows} x {columns} cells at a stride of {stride}, got keys of "
            f"{keys.shape[2]} x {keys.shape[3]}; give the stride of the network that made the keys"
        )
    return len(frames), height, width


def _rounded_masks(masks: Any, size: tuple[int, int, int]) -> tuple[Float[Tensor, "s h w"] | None, str | None]:
    """Masks in steps of 1/255, and their bytes for the page."""
    if masks is None:
        return None, None
    given = torch.as_tensor(masks).detach().float().cpu()
    if tuple(given.shape) != size:
        raise InputError(
            f"masks must be {list(size)}, one per stored frame at the grid of cells; got {list(given.shape)}"
        )
    if not ((given >= 0) & (given <= 1)).all():
        raise InputError("masks must be probabilities in [0, 1]")
    codes = (given * 255).round().to(torch.uint8)
    return codes.float() / 255, base64.b64encode(codes.numpy().tobytes()).decode("ascii")
