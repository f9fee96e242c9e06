"""What every metric asks of its masks and label maps before it counts anything.

Metrics take NumPy arrays and torch tensors alike and count on the CPU; a mask that could be mistaken for something
else (a label map, a probability) is refused, because a wrong mask gives a plausible score.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from course_lib.errors import InputError


def as_array(values: object) -> np.ndarray:
    """A NumPy view of an array or tensor; a tensor on an accelerator is copied to the CPU once."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def as_mask(mask: object, name: str, ndim: int = 2) -> Bool[np.ndarray, "..."]:
    """Boolean array from a bool or 0/1 uint8 mask of `ndim` dimensions. Raises `InputError` on anything else."""
    array = as_array(mask)
    if array.ndim != ndim or array.size == 0:
        shape = "[H, W]" if ndim == 2 else f"{ndim}-dimensional"
        raise InputError(f"{name} must be a mask {shape} with at least one pixel, got shape {list(array.shape)}")
    if array.dtype == np.bool_:
        return array
    if array.dtype != np.uint8:
        raise InputError(
            f"{name} must be boolean or uint8 with values 0 and 1, got {array.dtype}; "
            "threshold probabilities first, for example probs > 0.5"
        )
    if array.max() > 1:
        raise InputError(
            f"{name} must hold only 0 and 1, got values up to {array.max()}; "
            f"choose one object of a label map first, for example labels == {array.max()}"
        )
    return array.view(np.bool_)


def as_labels(labels: object, name: str) -> UInt8[np.ndarray, "t h w"]:
    """Label maps [T, H, W] as a uint8 array. Raises `InputError` on another shape or type."""
    array = as_array(labels)
    if array.ndim != 3 or array.size == 0:
        hint = "; one frame is labels[None]" if array.ndim == 2 else ""
        raise InputError(f"{name} must be label maps [T, H, W], got shape {list(array.shape)}{hint}")
    if array.dtype != np.uint8:
        raise InputError(f"{name} must be uint8 (0 background, 255 ignore, others object ids), got {array.dtype}")
    return np.ascontiguousarray(array)


def same_shape(prediction: np.ndarray, truth: np.ndarray, what: str) -> None:
    """Raise `InputError` unless both have one shape."""
    if prediction.shape != truth.shape:
        raise InputError(
            f"{what}: prediction has shape {list(prediction.shape)}, truth has {list(truth.shape)}; "
            "resize the prediction to the size of the truth (nearest neighbour for label maps)"
        )


def as_boxes(boxes: object, name: str) -> Float[np.ndarray, "n 4"]:
    """Boxes [N, 4] as float64. Raises `InputError` on another shape."""
    array = as_array(boxes)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iuf":
        raise InputError(
            f"{name} must be boxes [N, 4] of numbers (x0, y0, x1, y1), got {list(array.shape)} {array.dtype}"
        )
    return array.astype(np.float64)
