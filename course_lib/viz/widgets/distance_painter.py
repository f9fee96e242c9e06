"""The distance-class painter: draw a mask, and see which border-distance class every pixel gets, and which nobody gets.

F. Azimi (2024), section 6.3.1, equation 6.6: distance to the edge, cut off at R and sorted into bins of s pixels on
both sides. Unusual: the classes that stay empty are shown too, because the thesis admits that a thin object has no deep
ones, so the loss adds little for small objects. Built for lesson 04.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import Bool, Int, UInt8
from matplotlib.figure import Figure
from scipy import ndimage
from torch import Tensor

from course_lib.errors import InputError
from course_lib.viz.embed import decode_labels, encode_labels
from course_lib.viz.figure import course_style
from course_lib.viz.overlay import as_labels
from course_lib.viz.widgets.live import PageWidget, live_script

_MOST_RADIUS, _MOST_WIDTH = 24, 12  # pixels, ends of the dials
_OUTSIDE = ((8, 48, 107), (222, 235, 247))  # far, near
_INSIDE = ((254, 230, 206), (127, 39, 4))  # near, deep
_EMPTY = "#D55E00"


def painter_shapes(height: int, width: int) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Masks to start from: a disk, a thin bar, a ring, three small things, and nothing."""
    y, x = np.mgrid[:height, :width]
    side = min(height, width)
    away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    bar = (np.abs(y - height / 2) < max(2, side / 12)) & (np.abs(x - width / 2) < 0.36 * width)
    small = np.zeros((height, width), dtype=np.bool_)
    for row, column, radius in ((0.3, 0.22, 0.1), (0.62, 0.5, 0.065), (0.35, 0.78, 0.04)):
        small |= np.hypot(y - row * height, x - column * width) <= radius * side
    return {
        "disk": away <= 0.38 * side,
        "bar": bar,
        "ring": (away <= 0.4 * side) & (away > 0.24 * side),
        "small objects": small,
        "clear": np.zeros((height, width), dtype=np.bool_),
    }


class DistanceClassPainter(PageWidget):
    """A mask to paint on and the border-distance classes of its pixels, with dials for radius and width of the bins.

    mask    one of "disk", "bar", "ring", "small objects", "clear"; or a mask [H, W], bool or 0/1
    radius  R, pixels from the edge that have a bin of their own, 1 … 24
    width   s, pixels per bin, 1 … 12 and at most the radius
    size    (H, W) of the picture where a shape is named

    `mask_code` (run lengths), `radius` and `width` can be read and set from Python and the page alike; `mask`,
    `classes`, `n_classes` and `empty_classes` follow, and `paint` sets another mask. Raises `InputError` outside of
    these ranges.
    """

    KIND, MOUNT, STATE = "distance", "mountDistance", ("mask_code", "radius", "width")
    SCRIPTS = ("common.js", "charts.js", "distance.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    mask_code = traitlets.Unicode().tag(sync=True)
    radius = traitlets.Int(1).tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)

    def __init__(
        self,
        mask: str | Tensor | np.ndarray = "disk",
        radius: int = 20,
        width: int = 1,
        *,
        size: tuple[int, int] = (60, 80),
        alt: str = "A mask to paint on, and beside it the border-distance class of every pixel.",
    ) -> None:
        if isinstance(mask, str):
            shapes = painter_shapes(*size)
            if mask not in shapes:
                raise InputError(f"mask must be one of {', '.join(shapes)}, or a mask [H, W]; got {mask!r}")
            first = shapes[mask]
        else:
            first = _as_mask(mask)
            shapes = painter_shapes(*first.shape)
        self._size: tuple[int, int] = (first.shape[0], first.shape[1])
        if min(self._size) < 8 or max(self._size) > 160:
            raise InputError(f"the picture must have 8 to 160 pixels a side, got {self._size[0]} x {self._size[1]}")
        _check_bins(radius, width)
        content = {
            "alt": alt,
            "height": self._size[0],
            "width": self._size[1],
            "most": {"radius": _MOST_RADIUS, "width": _MOST_WIDTH},
            "shapes": [[name, _code(shape)] for name, shape in shapes.items()],
            "colours": {"outside": _OUTSIDE, "inside": _INSIDE},
            "empty": _EMPTY,
        }
        super().__init__(content=content, mask_code=_code(first), radius=radius, width=width)

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The mask as it is painted."""
        return decode_labels(self.mask_code, *self._size).astype(np.bool_)

    def paint(self, mask: Tensor | np.ndarray) -> None:
        """Put another mask [H, W] of the same size in its place. Raises `InputError` if it does not fit."""
        new = _as_mask(mask)
        if new.shape != self._size:
            raise InputError(f"the mask must be {list(self._size)}, got {list(new.shape)}")
        self.mask_code = _code(new)

    @property
    def n_classes(self) -> int:
        """K = 2 · floor(R / s) + 2."""
        return 2 * (self.radius // self.width) + 2

    @property
    def classes(self) -> Int[np.ndarray, "h w"]:
        """[H, W] class of every pixel: 0 far outside, K/2 - 1 and K/2 at the edge, K - 1 deep inside."""
        mask, bins = self.mask, self.radius // self.width
        if not mask.any() or mask.all():
            return np.where(mask, 2 * bins + 1, 0)
        distance = np.where(mask, ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask))
        far = np.minimum(np.ceil(distance / self.width).astype(np.int64) - 1, bins)
        return np.where(mask, bins + 1 + far, bins - far)

    @property
    def empty_classes(self) -> list[int]:
        """Classes that no pixel has."""
        return np.flatnonzero(np.bincount(self.classes.ravel(), minlength=self.n_classes) == 0).tolist()

    def summary(self) -> str:
        """The setting and what it leaves empty, in a sentence."""
        return (
            f"Radius {self.radius}, bins of {self.width}: {self.n_classes} classes, of which "
            f"{len(self.empty_classes)} have no pixel."
        )

    def figure(self) -> Figure:
        """The mask, the class of every pixel, and how many pixels each class has."""
        classes = self.classes
        counts = np.bincount(classes.ravel(), minlength=self.n_classes)
        colours = _palette(self.n_classes)
        with course_style():
            figure, axes = plt.subplot_mosaic(
                [["mask", "class"], ["bars", "bars"]], figsize=(8, 4.6), height_ratios=(5, 3)
            )
            axes["mask"].imshow(np.where(self.mask[..., None], (0, 158, 115), (242, 242, 242)).astype(np.uint8))
            axes["class"].imshow(colours[classes])
            for name, title in (("mask", "the mask"), ("class", "the class of every pixel")):
                axes[name].set(title=title, xticks=[], yticks=[])
                axes[name].contour(self.mask, [0.5], colors="#222222", linewidths=0.8)
                axes[name].grid(visible=False)
            places = np.arange(len(counts))
            axes["bars"].bar(places, np.sqrt(counts), 0.9, color=colours / 255, edgecolor="#777777", linewidth=0.5)
            axes["bars"].plot(places[counts == 0], np.zeros((counts == 0).sum()), "x", color=_EMPTY, label="no pixel")
            axes["bars"].set(xlabel="class (0 far outside … deep inside)", ylabel="√ pixels")
            axes["bars"].axvline(len(counts) / 2 - 0.5, color="#222222", linewidth=1)
            if (counts == 0).any():
                axes["bars"].legend(loc="upper right")
        return figure

    @traitlets.validate("mask_code", "radius", "width")
    def _turned(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "mask_code":
            _check_code(value, self._size)
        else:
            bins = {"radius": self.radius, "width": self.width, name: value}
            _check_bins(**bins)
        return value


def _palette(count: int) -> UInt8[np.ndarray, "k 3"]:
    """Colours of the classes: blue outside, orange inside, palest at the edge."""
    share = np.linspace(0, 1, count // 2)[:, None]
    sides = [np.array(a) + share * (np.array(b) - np.array(a)) for a, b in (_OUTSIDE, _INSIDE)]
    return np.concatenate(sides).round().astype(np.uint8)


def _as_mask(mask: Tensor | np.ndarray) -> Bool[np.ndarray, "h w"]:
    labels = as_labels(mask)
    if labels.max(initial=0) > 1:
        raise InputError(f"a mask holds 0 and 1 (or is boolean), got values up to {labels.max()}; pick labels == id")
    return labels.astype(np.bool_)


def _code(mask: Bool[np.ndarray, "h w"]) -> str:
    return encode_labels(mask.astype(np.uint8))


def _check_code(code: str, size: tuple[int, int]) -> None:
    try:
        fits = decode_labels(code, *size).max() <= 1
    except (ValueError, IndexError):
        fits = False
    if not fits:
        raise InputError(f"mask_code is no run-length code of a mask {list(size)}; use paint(mask)")


def _check_bins(radius: int, width: int) -> None:
    if not 1 <= width <= min(radius, _MOST_WIDTH) or not radius <= _MOST_RADIUS:
        raise InputError(
            f"expected 1 <= width <= radius, a radius of at most {_MOST_RADIUS} and a width of at most {_MOST_WIDTH} "
            f"pixels; got radius {radius} and width {width}"
        )
