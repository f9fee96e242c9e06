"""Copy-paste: an object of one clip, with its motion, put into another, where single-object data needs a second one.

The guest is cut out with its mask and laid over the host's frames or behind the host's objects. Unusual: it works on
clips, so the same code makes composites of videos and of synthetic views of still images.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError


def window_around(
    mask: Bool[Tensor, "h w"], rng: np.random.Generator, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A window x0, y0, x1, y1 through which the object appears at a random place and size of the output.

    Its longer side takes 20 to 60 % of the output's; its centre is anywhere in the middle 70 %. The window may reach
    beyond the frame. Raises `InputError` for an empty mask.
    """
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if not len(rows):
        raise InputError("cannot place an object without a single pixel")
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    aspect = size[1] / size[0]
    high = max(bottom - top, (right - left) / aspect) / rng.uniform(0.2, 0.6)
    wide = high * aspect
    x0 = (left + right) / 2 - rng.uniform(0.15, 0.85) * wide
    y0 = (top + bottom) / 2 - rng.uniform(0.15, 0.85) * high
    return x0, y0, x0 + wide, y0 + high


def paste(
    frames: Float[Tensor, "t 3 h w"],
    labels: UInt8[Tensor, "t h w"],
    guest_frames: Float[Tensor, "t 3 h w"],
    guest: Bool[Tensor, "t h w"],
    label: int,
    behind: bool = False,
) -> tuple[Float[Tensor, "t 3 h w"], UInt8[Tensor, "t h w"]]:
    """Lay the pixels `guest` of the guest's frames over a clip and give them `label`; the edge is softened.

    behind  only where the clip shows background: its objects occlude the guest

    Raises `InputError` if the clips differ in size or the clip has the label already.
    """
    if frames.shape != guest_frames.shape or labels.shape != guest.shape:
        raise InputError(f"guest and host must agree in size, got {list(guest_frames.shape)} and {list(frames.shape)}")
    if (labels == label).any():
        raise InputError(f"the host has an object {label} already")
    free = labels == 0
    if behind:
        guest = guest & free
    alpha = F.avg_pool2d(guest.float()[:, None], 3, stride=1, padding=1, count_include_pad=False)  # [T, 1, h, w]
    if behind:
        alpha = alpha * free[:, None]
    return torch.lerp(frames, guest_frames, alpha), labels.masked_fill(guest, label)
