"""Answers carried along flow: labels, probabilities and deep features fetched from where each new pixel was before.

Each output pixel asks where it came from (backward warping; M. Paul, 2023, section 3.3.3, equations 3.1 and 3.2).
Unusual: the printed equation reads a flow that starts in the *old* frame at the *new* pixel, which is right only where
flow is locally constant; that literal form is here as `Motion.literal`, beside the standard one.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.nn.warp import backward_warp, destinations

Engine = Literal["auto", "torch", "opencv"]
_TOGETHER = 16  # channels in one call of OpenCV, which takes 128 or 512 at most, by version


@dataclass(frozen=True, eq=False)
class Motion:
    """Flow between a frame and the one before it, in pixels, x first, on the grid of each.

    to_past [B, 2, H, W] leads each pixel of the new frame to its place in the old one; to_future leads each pixel of
    the old frame to its place in the new one, or is None where nobody asked for it.
    """

    to_past: Float[Tensor, "b 2 h w"]
    to_future: Float[Tensor, "b 2 h w"] | None = None

    @classmethod
    def literal(cls, forward: Float[Tensor, "b 2 h w"]) -> "Motion":
        """Equation 3.1 as printed: the one flow from the old to the new frame serves for both ways, as p - F and p + F.

        Cheaper by one flow, and wrong in a band along moving edges, where the grids of the two frames differ.
        """
        return cls(-forward, forward)


def resize_flow(flow: Float[Tensor, "b 2 h w"], size: tuple[int, int]) -> Float[Tensor, "b 2 h2 w2"]:
    """The flow on a grid of another size (H, W), its vectors in pixels of that grid."""
    _check_flow(flow)
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return F.interpolate(flow, size, mode="bilinear", align_corners=False) * scale


def warp_soft(
    x: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 hf wf"], engine: Engine = "auto"
) -> Float[Tensor, "b c h w"]:
    """Probabilities or features fetched from where the flow leads, bilinear: out(p) = x(p + flow(p)).

    A flow of another resolution is brought to that of `x`, vectors and all. What lies beyond the frame is read at its
    edge. Bilinear weights sum to one, so probabilities stay probabilities.

    engine  "torch": any device, differentiable; "opencv": CPU only, up to twice as fast there, without gradient;
            "auto": opencv for CPU tensors that need no gradient. OpenCV before 5 rounds places to 1/32 pixel.
    """
    if x.ndim != 4 or x.shape[0] != flow.shape[0]:
        raise InputError(f"expected x [B, C, h, w] and a flow of the same batch, got {list(x.shape)}, {_shape(flow)}")
    flow = resize_flow(flow, (x.shape[-2], x.shape[-1])).to(x.device)
    if _engine(engine, x, flow) == "torch":
        return backward_warp(x, flow, outside="edge")
    across, down = (place.numpy() for place in destinations(flow.detach().float()))
    warped = [_remap(image.numpy(), across[i], down[i]) for i, image in enumerate(x.detach().float())]
    return torch.from_numpy(np.stack(warped)).to(x.dtype)


def warp_labels(labels: Integer[Tensor, "b h w"], flow: Float[Tensor, "b 2 hf wf"]) -> Integer[Tensor, "b h w"]:
    """Labels fetched from the nearest pixel to where the flow leads, the frame's edge beyond it.

    Any integer type and device; ids are never mixed. Halves round up. Flow of another resolution as in `warp_soft`.
    """
    if labels.ndim != 3 or labels.is_floating_point() or labels.shape[0] != flow.shape[0]:
        raise InputError(
            f"expected integer labels [B, h, w] and a flow of the same batch, got {_shape(labels)} {labels.dtype} and "
            f"{_shape(flow)}; probabilities go through warp_soft"
        )
    height, width = labels.shape[-2:]
    across, down = destinations(resize_flow(flow, (height, width)).to(labels.device))
    x = (across + 0.5).floor_().clamp_(0, width - 1).long()
    y = (down + 0.5).floor_().clamp_(0, height - 1).long()
    return labels.flatten(1).gather(1, (y * width + x).flatten(1)).view_as(labels)  # [B, h*w] -> [B, h, w]


def compose(near: Float[Tensor, "b 2 h w"], far: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """One flow for two steps: from frame 3 to frame 1, given `near` from 3 to 2 and `far` from 2 to 1.

    near(p) + far(p + near(p)). One warp along it blurs once, where two warps blur, or round, twice. Built in lesson 06.
    """
    if near.shape != far.shape:
        raise InputError(f"both flows must have one shape, got {_shape(near)} and {_shape(far)}")
    return near + backward_warp(far, near, outside="edge")


def _engine(engine: Engine, x: Tensor, flow: Tensor) -> Literal["torch", "opencv"]:
    if engine == "auto":
        tracked = torch.is_grad_enabled() and (x.requires_grad or flow.requires_grad)
        return "torch" if tracked or x.device.type != "cpu" else "opencv"
    if engine not in ("torch", "opencv"):
        raise InputError(f"engine must be 'auto', 'torch' or 'opencv', got {engine!r}")
    if engine == "opencv" and x.device.type != "cpu":
        raise InputError(f"the OpenCV warp works on the CPU, but x lies on {x.device}; use engine='torch'")
    return engine


def _remap(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[C, h, w] read at x, y; many channels of a pixel together, which shares the work of finding its place."""
    read = np.empty_like(image)
    for first in range(0, len(image), _TOGETHER):
        part = image[first : first + _TOGETHER]
        pixels = np.ascontiguousarray(part.transpose(1, 2, 0))  # [C, h, w] -> [h, w, C]
        found = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        read[first : first + _TOGETHER] = found.reshape(pixels.shape).transpose(2, 0, 1)  # it drops a single channel
    return read


def _check_flow(flow: Tensor) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise InputError(f"flow must be [B, 2, H, W] float, in pixels, x first; got {_shape(flow)} {flow.dtype}")


def _shape(x: Tensor) -> list[int]:
    return list(x.shape)
