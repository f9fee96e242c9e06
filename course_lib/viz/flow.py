"""Optical flow as colour: hue is direction, strength is speed, white is rest.

The convention of Baker et al. ("A Database and Evaluation Methodology for Optical Flow", 2011) on a plain hue circle:
to the right is red, and hue turns clockwise through yellow-green (down), cyan (left) and violet (up).
"""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import hsv_to_rgb
from torch import Tensor

from course_lib.errors import InputError


def flow_to_color(
    flow: Float[Tensor, "2 h w"] | np.ndarray, max_flow: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of a flow field.

    flow: [2, H, W] (x to the right, y down) in pixels. max_flow: the speed in pixels shown in full strength; faster
    motion keeps full strength. None takes the fastest pixel, so give it where pictures are to be compared.
    Pixels without flow (NaN or infinite) are black. Raises `InputError` on other shapes.
    """
    field = flow.detach().cpu().numpy() if isinstance(flow, Tensor) else np.asarray(flow)
    if field.ndim != 3 or field.shape[0] != 2:
        raise InputError(f"flow must be [2, H, W], x first; got {list(field.shape)}")
    field = field.astype(np.float64)
    known = np.isfinite(field).all(axis=0)
    x, y = np.where(known, field, 0)
    speed = np.hypot(x, y)
    if max_flow is None:
        max_flow = float(speed.max(initial=0)) or 1.0
    if not max_flow > 0:
        raise InputError(f"max_flow must be a positive number of pixels, got {max_flow}")
    hue = (np.arctan2(y, x) / (2 * np.pi)) % 1.0
    strength = np.minimum(speed / max_flow, 1)
    colours = hsv_to_rgb(np.stack([hue, strength, np.ones_like(hue)], axis=-1))
    colours[~known] = 0
    return (colours * 255).round().astype(np.uint8)


def flow_wheel(size: int = 96) -> UInt8[np.ndarray, "s s 3"]:
    """The key to `flow_to_color`: a disk whose colour at each place is that of motion from the centre to there."""
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / (size / 2)
    wheel = flow_to_color(np.stack([x, y]), max_flow=1.0)
    wheel[np.hypot(x, y) > 1] = 255
    return wheel
