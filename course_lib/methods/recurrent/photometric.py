"""Learning flow without labels: a frame fetched back along the right flow looks like the frame before it.

F. Azimi (2024), section 6.5.2, equation 6.14, after Jonschkowski et al. (ECCV 2020). The source prints the bare sum of
differences; masking what left the frame or is hidden, smoothness and the weights of the iterations are the field's
standard and ours. Unusual: the mean is over visible pixels, else pushing pixels out of the frame would pay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.nn.warp import backward_warp, returns, stays_inside


@dataclass(frozen=True)
class PhotometricConfig:
    """How the flow loss is put together. Raises `InputError` for values out of range."""

    smoothness: float = 1.0
    """Weight of the smoothness term; 0 leaves it out."""
    edge: float = 10.0
    """How soon smoothness gives way at edges of the image: its weight is exp(-edge · colour difference)."""
    decay: float = 0.8
    """Weight of the last iteration but n: decay^n."""

    def __post_init__(self) -> None:
        if self.smoothness < 0 or self.edge < 0 or not 0 < self.decay <= 1:
            raise InputError(f"smoothness and edge must be >= 0 and decay in (0, 1], got {self}")


def photometric_loss(
    image_a: Float[Tensor, "b c h w"],
    image_b: Float[Tensor, "b c h w"],
    flows: Sequence[Float[Tensor, "b 2 h w"]],
    back: Float[Tensor, "b 2 h w"] | None = None,
    config: PhotometricConfig | None = None,
) -> Float[Tensor, "b"]:
    """Σ_n decay^(N-n) · (|a - warp(b, flow_n)| averaged over visible pixels + smoothness), per sample.

    image_a, image_b  two frames in [0, 1]
    flows             from a to b in pixels, one per iteration of the head, the last one the best
    back              flow from b to a: pixels where the last of `flows` and it do not cancel are taken as hidden in b
                      and left out. None takes every pixel as seen

    Pixels led out of the frame are left out too, per iteration. What is left out has no gradient but for smoothness; a
    sample of which nothing is visible costs its smoothness alone. Raises `InputError` for no flows or unlike sizes.
    A lower loss need not be a better flow: shadows, noise and hidden pixels break the assumption. Built in lesson 05.
    """
    config = config or PhotometricConfig()
    if not flows:
        raise InputError("the photometric loss needs at least one flow")
    if image_a.shape != image_b.shape or any(flow.shape[-2:] != image_a.shape[-2:] for flow in flows):
        raise InputError(
            f"images must have one shape and flows their size, got {list(image_a.shape)}, {list(image_b.shape)} and "
            f"{[list(flow.shape) for flow in flows]}"
        )
    visible = returns(flows[-1], back) if back is not None else None
    total = image_a.new_zeros(len(image_a))
    for flow in flows:
        cost = photometric_error(image_a, image_b, flow, visible)
        if config.smoothness:
            cost = cost + config.smoothness * roughness(flow, image_a, config.edge)
        total = config.decay * total + cost  # in the end, cost n has been multiplied N - n times
    return total


def photometric_error(
    image_a: Float[Tensor, "b c h w"],
    image_b: Float[Tensor, "b c h w"],
    flow: Float[Tensor, "b 2 h w"],
    visible: Bool[Tensor, "b h w"] | None = None,
) -> Float[Tensor, "b"]:
    """Mean absolute difference of a and b fetched along the flow, over channels and pixels that stay in the frame.

    `visible` leaves out further pixels. 0 where no pixel is left.
    """
    seen = stays_inside(flow.detach())
    if visible is not None:
        seen = seen & visible
    difference = (image_a - backward_warp(image_b, flow)).abs().mean(dim=1)  # [B, H, W]
    return torch.where(seen, difference, 0.0).flatten(1).sum(dim=1) / seen.flatten(1).sum(dim=1).clamp(min=1)


def roughness(
    flow: Float[Tensor, "b 2 h w"], image: Float[Tensor, "b c h w"], edge: float = 10.0
) -> Float[Tensor, "b"]:
    """Mean absolute difference of the flow between neighbours, in pixels; less where the image has an edge there.

    Neighbours count exp(-edge · mean absolute difference of their colours): objects may move unlike their background.
    """
    costs = []
    for axis in (-1, -2):
        if flow.shape[axis] > 1:
            weight = torch.exp(-edge * image.diff(dim=axis).abs().mean(dim=1, keepdim=True))
            costs.append((weight * flow.diff(dim=axis).abs()).flatten(1).mean(dim=1))
    return sum(costs, flow.new_zeros(len(flow)))


def end_point_error(flow: Float[Tensor, "b 2 h w"], truth: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    """Distance in pixels between where two flows lead each pixel. Built in lesson 05."""
    if flow.shape != truth.shape or flow.ndim != 4 or flow.shape[1] != 2:
        raise InputError(f"both flows must be [B, 2, H, W], got {list(flow.shape)} and {list(truth.shape)}")
    return torch.linalg.vector_norm(flow - truth, dim=1)
