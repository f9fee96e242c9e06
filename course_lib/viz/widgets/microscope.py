"""The metric microscope: drag a mask over the truth and watch what J and F think of it.

The page computes everything itself, so the copy without a kernel is the same instrument; Python repeats the numbers
with `course_lib.metrics`, and a browser test holds both together. Built for lesson 00.
"""

from typing import Any

import anywidget
import numpy as np
import traitlets
from jaxtyping import Bool
from scipy import ndimage
from torch import Tensor

from course_lib.errors import InputError
from course_lib.metrics import contour_accuracy, region_similarity
from course_lib.metrics.contour import tolerance_pixels
from course_lib.metrics.reference import disk
from course_lib.viz.embed import asset, encode_labels, encode_picture, fragment
from course_lib.viz.overlay import as_labels, as_picture, overlay
from course_lib.viz.widgets.bundle import with_fallback

_DISPLAY_WIDTH = 350  # pixels on the page


def thickest_place(truth: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Row and column of the pixel farthest from the outline; the centroid of a ring would lie outside it."""
    row, column = np.unravel_index(ndimage.distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1].argmax(), truth.shape)
    return int(row), int(column)


def altered_mask(
    truth: Bool[np.ndarray, "h w"], dx: int = 0, dy: int = 0, grow: int = 0, hole: int = 0
) -> Bool[np.ndarray, "h w"]:
    """A mask spoiled on purpose: made fatter (`grow` > 0) or thinner, pierced where it is thickest, then moved.

    All in pixels; a hole of radius 0 is none; pixels that leave the picture are lost, and beyond the border nothing
    is background that could eat into the mask.
    """
    mask = truth
    if grow > 0:
        mask = ndimage.binary_dilation(mask, disk(grow))
    elif grow < 0:
        mask = ndimage.binary_erosion(mask, disk(-grow), border_value=1)
    if hole > 0:
        row, column = thickest_place(truth)
        y, x = np.ogrid[: truth.shape[0], : truth.shape[1]]
        mask = mask & ((x - column) ** 2 + (y - row) ** 2 > hole**2)
    height, width = truth.shape
    moved = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + dy, columns + dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved[rows[inside], columns[inside]] = True
    return moved


class MetricMicroscope(anywidget.AnyWidget):
    """A mask over a true mask, with dials to spoil it and J and F live.

    truth: [H, W] bool, or labels of which all but 0 and 255 count as the object. frame: the picture behind, [3, H, W].
    `dx`, `dy`, `grow`, `hole` and `tolerance` (pixels) can be read and set from Python; `mask`, `j` and `f` follow.
    Raises `InputError` on an empty truth or sizes that do not match.
    """

    _esm = "\n".join(asset(name) for name in ("common.js", "microscope.js", "microscope_widget.js"))
    _css = asset("viz.css")
    content = traitlets.Dict().tag(sync=True)
    dx = traitlets.Int(0).tag(sync=True)
    dy = traitlets.Int(0).tag(sync=True)
    grow = traitlets.Int(0).tag(sync=True)
    hole = traitlets.Int(0).tag(sync=True)
    tolerance = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        truth: Tensor | np.ndarray,
        frame: Tensor | np.ndarray | None = None,
        dx: int = 0,
        dy: int = 0,
        grow: int = 0,
        hole: int = 0,
        tolerance: float = 0.008,
        alt: str = "A mask over the true mask of an object.",
    ) -> None:
        labels = as_labels(truth)
        self.truth = (labels != 0) & (labels != 255)
        if not self.truth.any():
            raise InputError("the truth has no object: give the microscope a mask with at least one pixel")
        height, width = self.truth.shape
        side = min(height, width)
        picture = None if frame is None else as_picture(frame, size=(height, width))
        self._backdrop = np.full((height, width, 3), 235, dtype=np.uint8) if picture is None else picture
        limits = {
            "shift": side // 3,
            "grow": max(4, side // 10),
            "hole": max(4, side // 5),
            "tolerance": max(8, side // 12),
        }
        radius = int(np.ceil(tolerance_pixels(tolerance, height, width)))
        for name, value, limit in (
            ("dx", dx, limits["shift"]),
            ("dy", dy, limits["shift"]),
            ("grow", grow, limits["grow"]),
            ("hole", hole, limits["hole"]),
            ("tolerance", radius, limits["tolerance"]),
        ):
            if abs(value) > limit or (name == "hole" and value < 0):
                raise InputError(f"{name} is {value} pixels; for a mask of {height} x {width} at most {limit}")
        content = {
            "alt": alt,
            "width": width,
            "height": height,
            "scale": max(1, round(_DISPLAY_WIDTH / width)),
            "truth": encode_labels(self.truth.astype(np.uint8)),
            "picture": None if picture is None else encode_picture(picture),
            "limits": limits,
            "centre": thickest_place(self.truth),
        }
        super().__init__(content=content, dx=dx, dy=dy, grow=grow, hole=hole, tolerance=radius)

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The mask as it stands."""
        return altered_mask(self.truth, self.dx, self.dy, self.grow, self.hole)

    @property
    def j(self) -> float:
        """Region similarity of `mask`."""
        return region_similarity(self.mask, self.truth)

    @property
    def f(self) -> float:
        """Contour accuracy of `mask` at `tolerance` pixels."""
        return contour_accuracy(self.mask, self.truth, tolerance=self.tolerance)

    def fallback_html(self) -> str:
        """The same instrument without a kernel."""
        state = {name: getattr(self, name) for name in ("dx", "dy", "grow", "hole", "tolerance")}
        data = {**self.content, "state": state}
        still = overlay(self._backdrop, self.mask, scale=self.content["scale"])
        alt = f"{self.content['alt']} J = {self.j:.2f}, F = {self.f:.2f}."
        scripts = ("common.js", "microscope.js")
        return fragment("microscope", scripts, "mountMicroscope", data, encode_picture(still, quality=40), alt)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        text = f"Metric microscope: J = {self.j:.3f}, F = {self.f:.3f}. Run this cell to use it."
        return with_fallback(super()._repr_mimebundle_(**kwargs), self.fallback_html(), text)
