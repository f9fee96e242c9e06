"""Following a flow field: fetch an image from where the flow points, and tell where that cannot be trusted.

A flow lives on the grid of the frame it starts from, so the frame it leads to is fetched back onto that grid (backward
warping, as in Jaderberg et al., NeurIPS 2015). Batched, differentiable in image and flow, on any device; positions are
in pixels, 0 at the centre of the first, x to the right and y down.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError


def destinations(flow: Float[Tensor, "b 2 h w"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """x and y, in pixels, of where each pixel of the grid is led."""
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise InputError(f"flow must be [B, 2, H, W] in pixels, x first; got {list(flow.shape)}")
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))  # half precision has no fractions beyond pixel 1024
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    return x, y


def sample_at(
    images: Float[Tensor, "b c h w"],
    x: Float[Tensor, "b *places"],
    y: Float[Tensor, "b *places"],
    outside: Literal["zero", "edge"] = "zero",
) -> Float[Tensor, "b c *places"]:
    """Values of each image at its places (x, y) in pixels, bilinear.

    outside  what lies beyond the centres of the outermost pixels: zeros, towards which values fall off within one
             pixel, or the nearest pixel of the edge. Built in lesson 05.
    """
    if outside not in ("zero", "edge"):
        raise InputError(f"outside must be 'zero' or 'edge', got {outside!r}")
    if images.ndim != 4 or x.shape != y.shape or len(x) != len(images):
        raise InputError(
            f"sample_at takes images [B, C, H, W] and places x, y [B, ...]; got {list(images.shape)}, {list(x.shape)} "
            f"and {list(y.shape)}"
        )
    height, width = images.shape[-2:]
    if outside == "edge":
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    flat = grid.view(len(images), 1, -1, 2)  # [B, 1, places, 2]
    values = F.grid_sample(images.to(x.dtype), flat, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values.view(*images.shape[:2], *x.shape[1:])


def backward_warp(
    images: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"], outside: Literal["zero", "edge"] = "zero"
) -> Float[Tensor, "b c h w"]:
    """Fetch each pixel from where the flow points: out(p) = images(p + flow(p)), bilinear.

    With the flow from frame a to frame b and `images` of frame b, the result looks like frame a. `outside` as in
    `sample_at`. Raises `InputError` if sizes differ. Built in lesson 05.
    """
    if images.shape[-2:] != flow.shape[-2:]:
        raise InputError(f"images and flow must have one size, got {list(images.shape)} and {list(flow.shape)}")
    return sample_at(images, *destinations(flow), outside)


def stays_inside(flow: Float[Tensor, "b 2 h w"]) -> Bool[Tensor, "b h w"]:
    """Where the flow leads to a place within the frame."""
    x, y = destinations(flow)
    height, width = flow.shape[-2:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def returns(
    there: Float[Tensor, "b 2 h w"], back: Float[Tensor, "b 2 h w"], relative: float = 0.01, absolute: float = 0.5
) -> Bool[Tensor, "b h w"]:
    """Where going `there` and `back` ends close to the start: pixels that both frames see (Sundaram et al., ECCV 2010).

    |there(p) + back(p + there(p))|² < relative · (|there|² + |back|²) + absolute, in pixels². False where `there`
    leads out of the frame. Without gradient, as it is a decision. Built in lesson 05.
    """
    if there.shape != back.shape:
        raise InputError(f"both flows must have one shape, got {list(there.shape)} and {list(back.shape)}")
    there, back = there.detach(), back.detach()
    returned = backward_warp(back, there, outside="edge")
    error = (there + returned).square().sum(dim=1)  # [B, H, W]
    length = there.square().sum(dim=1) + returned.square().sum(dim=1)
    return stays_inside(there) & (error < relative * length + absolute)
