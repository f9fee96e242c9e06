"""Label maps drawn over frames: a tint per object and a two-tone contour on the exact pixel boundary.

The inner side of a boundary is light and the outer side dark, so a contour shows on snow and at night; ignored pixels
(255) are hatched grey. Unusual: enlarging happens here, before the contour is drawn, because a contour drawn on a
96 x 96 frame and then enlarged is a thick staircase.
"""

import numpy as np
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.viz.palette import object_palette

_HATCH_PERIOD = 8  # pixels of the drawn picture


def as_picture(frame: Tensor | np.ndarray, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as a numpy picture.

    frame: [3, H, W] or [H, W, 3], RGB, uint8 or floating point in [0, 1]; tensor (any device) or array.
    size: the (H, W) that the frame must have; it also settles which axis is colour when both could be.
    Raises `InputError` on other shapes, types, or floating point values outside [0, 1].
    """
    array = _array(frame)
    if array.ndim != 3 or 3 not in (array.shape[0], array.shape[2]):
        raise InputError(f"a frame must be [3, H, W] or [H, W, 3], got {list(array.shape)}")
    channels_first = array.shape[0] == 3 and (size is None or array.shape[1:] == size)
    if channels_first:
        array = array.transpose(1, 2, 0)
    if array.shape[2] != 3 or (size is not None and array.shape[:2] != size):
        raise InputError(
            f"frame {list(_array(frame).shape)} does not match the labels' height and width {list(size or ())}"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"a frame must be uint8 or floating point in [0, 1], got {array.dtype}")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also true for NaN
        raise InputError(
            f"floating point frames must lie in [0, 1], got [{low:.3g}, {high:.3g}]; undo the normalisation first"
        )
    return np.ascontiguousarray((array.clip(0, 1) * 255).round().astype(np.uint8))


def as_labels(labels: Tensor | np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """A label map [H, W] (bool, or integers 0 … 255) as uint8. Raises `InputError` otherwise."""
    array = _array(labels)
    if array.ndim != 2:
        raise InputError(f"labels must be [H, W], got {list(array.shape)}")
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InputError(f"labels must be integers (or a boolean mask), got {array.dtype}; take the argmax first")
    if array.size and not (array.min() >= 0 and array.max() <= 255):
        raise InputError(f"labels must lie in 0 … 255, got {array.min()} … {array.max()}")
    return array.astype(np.uint8)


def enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """Repeat each pixel `scale` x `scale` times; picture [H, W] or [H, W, 3]."""
    if scale < 1:
        raise InputError(f"scale must be a whole number of at least 1, got {scale}")
    return picture if scale == 1 else picture.repeat(scale, axis=0).repeat(scale, axis=1)


def contour_sides(labels: UInt8[np.ndarray, "h w"]) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Inner and outer pixels of the boundaries between labels, 4-connected.

    A pixel is inner if a neighbour has a lower label, outer if one has a higher label and it is not inner: between
    two objects the higher id is inside. 255 counts as background, so ignored areas have no contour of their own.
    """
    rank = np.where(labels == IGNORE, 0, labels).astype(np.int16)
    inner = np.zeros(labels.shape, dtype=bool)
    outer = np.zeros(labels.shape, dtype=bool)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        higher_first, higher_second = rank[first] > rank[second], rank[first] < rank[second]
        inner[first] |= higher_first
        outer[second] |= higher_first
        inner[second] |= higher_second
        outer[first] |= higher_second
    return inner, outer & ~inner


def overlay(
    frame: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    alpha: float = 0.5,
    contour: bool = True,
    scale: int = 1,
) -> UInt8[np.ndarray, "sh sw 3"]:
    """Paint a label map over a frame.

    frame: [3, H, W] or [H, W, 3] RGB, uint8 or float in [0, 1]; labels: [H, W], 0 background, 255 ignore (hatched).
    alpha: strength of the tint in [0, 1]; contour: draw the two-tone boundary; scale: enlarge small frames first
    (nearest neighbour for both). Returns [scale*H, scale*W, 3] uint8. Raises `InputError` on sizes that do not match.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must lie in [0, 1], got {alpha}")
    labels = as_labels(labels)
    picture = enlarge(as_picture(frame, size=labels.shape), scale)
    labels = enlarge(labels, scale)
    colours = object_palette()[labels]  # [H, W, 3]

    painted = picture.astype(np.float32)
    objects = (labels != 0) & (labels != IGNORE)
    painted[objects] = (1 - alpha) * painted[objects] + alpha * colours[objects]
    if contour:
        inner, outer = contour_sides(labels)
        painted[inner] = 0.25 * colours[inner] + 0.75 * 255
        painted[outer] = 0.25 * painted[outer]
    ignored = labels == IGNORE
    if ignored.any():
        rows, columns = np.indices(labels.shape)
        stripe = (rows + columns) % _HATCH_PERIOD < _HATCH_PERIOD // 2
        painted[ignored] = 0.4 * painted[ignored] + 0.6 * 128
        painted[ignored & stripe] *= 0.6
    return painted.round().astype(np.uint8)


def overlay_errors(
    frame: Tensor | np.ndarray,
    prediction: Tensor | np.ndarray,
    truth: Tensor | np.ndarray,
    scale: int = 1,
) -> UInt8[np.ndarray, "sh sw 3"]:
    """Where two label maps of one frame differ.

    Agreement on an object keeps the photograph in full, agreement on background is dimmed; pixels that the prediction
    misses are sky blue, pixels that it claims wrongly (or gives to the wrong object) vermilion. Ignored truth is left
    alone. Shapes and errors as in `overlay`.
    """
    prediction, truth = as_labels(prediction), as_labels(truth)
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {list(prediction.shape)} and truth {list(truth.shape)} differ in size")
    picture = enlarge(as_picture(frame, size=truth.shape), scale).astype(np.float32)
    prediction, truth = enlarge(prediction, scale), enlarge(truth, scale)
    judged = truth != IGNORE
    missed = judged & (truth != 0) & (prediction == 0)
    wrong = judged & (prediction != 0) & (prediction != truth)
    picture[judged & (truth == 0) & (prediction == 0)] *= 0.45
    picture[missed] = 0.2 * picture[missed] + 0.8 * np.array([86, 180, 233])
    picture[wrong] = 0.2 * picture[wrong] + 0.8 * np.array([213, 94, 0])
    inner, _ = contour_sides(np.where(judged, truth, 0).astype(np.uint8))
    picture[inner] = 255
    return picture.round().astype(np.uint8)


def _array(value: Tensor | np.ndarray | Int[np.ndarray, "..."]) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
