"""Online training: before a network follows an object, it learns from the one frame whose mask is given.

F. Azimi (2024) compares with methods that do this (tables 6.1, 6.4 and 6.9) without saying how; the recipe is ours:
short clips that begin with the given frame and drift away from it by affine steps. Unusual: what the camera did not see
counts neither as object nor as background, and the network runs as in a test, on its own masks.
"""

import copy
import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.losses import LossConfig, sequence_loss
from course_lib.methods.recurrent.network import RecurrentVOS

Network = TypeVar("Network", RecurrentVOS, BidirectionalVOS)
MASKS_ALONE = LossConfig(segmentation=1.0, distance=0.0)


@dataclass(frozen=True)
class Drift:
    """How far synthetic frames move away from the given one, at most, from one to the next. Uniform in ± each.

    Raises `InputError` for negative values, or a zoom of 1 or more.
    """

    shift: float = 0.05
    """Share of the frame's size."""
    degrees: float = 6.0
    zoom: float = 0.04
    """Change of size; 0.04 is between 1 / 1.04 and 1.04 times."""

    def __post_init__(self) -> None:
        if min(self.shift, self.degrees, self.zoom) < 0 or self.zoom >= 1:
            raise InputError(f"expected shift, degrees and zoom of 0 or more, and zoom below 1, got {self}")


def fine_tune_online(
    network: Network,
    frame: Float[Tensor, "3 h w"],
    mask: Float[Tensor, "1 h w"],
    steps: int = 100,
    lr: float = 1e-4,
    *,
    clips: int = 2,
    frames: int = 4,
    drift: Drift | None = None,
    loss: LossConfig = MASKS_ALONE,
    generator: torch.Generator | None = None,
) -> Network:
    """A copy of `network` that knows the object of `mask` better. The given network stays as it is.

    frame      RGB in [0, 1], sides divisible by the network's stride; the one whose mask is given
    mask       of one object, 0 or 1
    steps, lr  of Adam; 50 to 200 steps at a tenth of the rate the network was trained with are usual
    clips      synthetic clips per step, each of `frames` frames, see `synthetic_clips`
    loss       by default the masks' balanced cross-entropy
    generator  of the clips, on the CPU; None takes one with seed 0. The same generator gives the same network

    The copy is in evaluation mode throughout, so that statistics of one frame do not replace those of a data set.
    Raises `InputError` for shapes that do not fit, an empty mask, and settings out of range. Built in lesson 05.
    """
    if steps < 1 or not 0 < lr < math.inf or min(clips, frames - 1) < 1:
        raise InputError(
            f"expected 1 step or more, lr > 0, 1 clip or more of 2 frames or more; got {steps}, {lr}, {clips}, {frames}"
        )
    _check(frame, mask, network.stride)
    generator = generator or torch.Generator().manual_seed(0)
    tuned = copy.deepcopy(network).eval()
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=lr)
    with torch.enable_grad():
        for _ in range(steps):
            images, truth = synthetic_clips(frame, mask, clips, frames, drift, generator, network.border)
            prediction = tuned(images, truth[:, 0].to(images))
            optimizer.zero_grad(set_to_none=True)
            sequence_loss(prediction, truth[:, 1:], loss)["loss"].mean().backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return tuned


def synthetic_clips(
    frame: Float[Tensor, "3 h w"],
    mask: Float[Tensor, "1 h w"],
    n: int,
    frames: int,
    drift: Drift | None = None,
    generator: torch.Generator | None = None,
    fill: tuple[float, float, float] = (0.485, 0.456, 0.406),
) -> tuple[Float[Tensor, "n t 3 h w"], UInt8[Tensor, "n t 1 h w"]]:
    """Clips that begin with the given frame and move steadily away from it: each has one direction, spin and zoom.

    Frames are bilinear and have the colour `fill` where the given frame shows nothing; masks are 0, 1, and 255 there.
    Random numbers are drawn on the CPU, so every device gets the same clips.
    """
    drift = drift or Drift()
    draws = 2 * torch.rand(n, 4, generator=generator) - 1  # [N, 4] in [-1, 1]: x, y, angle, zoom
    t = torch.arange(frames)
    x, y = (2 * drift.shift * draws[:, i, None] * t for i in (0, 1))  # [N, T] in halves of the frame
    angle = math.radians(drift.degrees) * draws[:, 2, None] * t
    size = (math.log1p(drift.zoom) * draws[:, 3, None] * t).exp()
    height, width = frame.shape[1:]
    cos, sin, tall = angle.cos() / size, angle.sin() / size, height / width  # equal sides for a rotation
    rows = [torch.stack([cos, -sin * tall, x], dim=-1), torch.stack([sin / tall, cos, y], dim=-1)]  # [N, T, 3] each
    theta = torch.stack(rows, dim=-2).flatten(0, 1).to(frame)  # [N * T, 2, 3]
    grid = F.affine_grid(theta, [len(theta), 3, height, width], align_corners=False)
    border = frame.new_tensor(fill)[:, None, None]
    images = F.grid_sample((frame - border).expand(len(theta), -1, -1, -1), grid, align_corners=False) + border
    there = F.grid_sample(mask.to(frame).expand(len(theta), -1, -1, -1), grid, mode="nearest", align_corners=False)
    outside = (grid.abs() > 1).any(dim=-1)[:, None]  # [N * T, 1, H, W]
    truth = (there > 0.5).to(torch.uint8).masked_fill(outside, IGNORE)
    return images.clamp(0, 1).unflatten(0, (n, frames)), truth.unflatten(0, (n, frames))


def _check(frame: Tensor, mask: Tensor, stride: int) -> None:
    if frame.ndim != 3 or len(frame) != 3 or mask.shape != (1, *frame.shape[1:]) or not frame.is_floating_point():
        raise InputError(
            "online training takes a frame [3, H, W] of floating point in [0, 1] and a mask [1, H, W], got "
            f"{list(frame.shape)} {frame.dtype} and {list(mask.shape)}"
        )
    if frame.shape[1] % stride or frame.shape[2] % stride:
        raise InputError(f"the frame's sides must be divisible by {stride}, got {list(frame.shape[1:])}; pad it first")
    if not mask.gt(0.5).any():
        raise InputError("the mask is empty: there is no object to learn from; give the frame in which it appears")
