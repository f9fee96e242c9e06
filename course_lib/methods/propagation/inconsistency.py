"""Where carried labels cannot be trusted: those that change when they are sent back to the past and forth again.

M. Paul (2023), section 3.3.4, equations 3.3 and 3.4. Labels are compared, not vectors, so a wrong flow that lands on
the same class counts as right. Unusual, and not said in the thesis: with *exact* flow this check stays silent at a
plain disocclusion, because the ghost that the warp leaves there travels to the object it was copied from and back. It
finds errors of the estimated flow; the check of vectors, here beside it, also finds what had no past.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.label_warp import Motion, resize_flow, warp_labels
from course_lib.nn.warp import destinations, sample_at

_LARGE = 256  # cells of the shorter side from which on the wider mask is used; the thesis works at 512 x 256


@dataclass(frozen=True)
class AttentionConfig:
    """How the mask of inconsistent cells is found and made soft.

    check      "labels": equation 3.3; "vectors": flow that does not return to its start (Sundaram et al., 2010), or
               leaves the frame; "either"
    dilation   side of the square that each inconsistent cell grows to, odd
    smoothing  standard deviation of the Gaussian laid over it, in cells; 0 keeps the mask hard

    The thesis gives no sizes. `fitting` takes 7 and 2 cells on its grid of 512 x 256, 3 and 1 on smaller ones.
    """

    check: Literal["labels", "vectors", "either"] = "labels"
    dilation: int = 7
    smoothing: float = 2.0

    def __post_init__(self) -> None:
        if self.check not in ("labels", "vectors", "either"):
            raise InputError(f"check must be 'labels', 'vectors' or 'either', got {self.check!r}")
        if self.dilation < 1 or self.dilation % 2 == 0 or self.smoothing < 0:
            raise InputError(
                f"dilation must be odd and positive and smoothing not negative, got {self.dilation}, {self.smoothing}"
            )

    @classmethod
    def fitting(
        cls, size: tuple[int, int], check: Literal["labels", "vectors", "either"] = "labels"
    ) -> "AttentionConfig":
        """The sizes for a grid of (h, w) cells."""
        return cls(check) if min(size) >= _LARGE else cls(check, dilation=3, smoothing=1.0)


def round_trip(carried: Integer[Tensor, "b h w"], motion: Motion) -> Integer[Tensor, "b h w"]:
    """Labels of the new frame sent to the old frame's grid and back (L_BF of labels L_F), nearest each time."""
    return warp_labels(warp_labels(carried, _future(motion)), motion.to_past)


def inconsistent_labels(carried: Integer[Tensor, "b h w"], motion: Motion) -> Bool[Tensor, "b h w"]:
    """Where labels carried into the new frame do not survive the round trip (equation 3.3).

    `motion` may have another resolution. Raises `InputError` if it lacks the flow to the future. Built in lesson 06.
    """
    return carried != round_trip(carried, motion)


def inconsistent_flow(
    motion: Motion, size: tuple[int, int], relative: float = 0.01, absolute: float = 0.5
) -> Bool[Tensor, "b h w"]:
    """Where, on a grid of `size`, flow to the past leaves the frame or does not come back to its start.

    |past(p) + future(p + past(p))|² >= relative · (|past|² + |future|²) + absolute, in cells², as in Sundaram et al.
    A place within half a cell of the frame's edge still counts as inside: it lies in the outermost cell.
    """
    past, future = resize_flow(motion.to_past, size), resize_flow(_future(motion), size)
    x, y = destinations(past)
    back = sample_at(future, x, y, outside="edge")
    error = (past + back).square().sum(dim=1)  # [B, h, w]
    length = past.square().sum(dim=1) + back.square().sum(dim=1)
    inside = (x >= -0.5) & (x <= size[1] - 0.5) & (y >= -0.5) & (y <= size[0] - 0.5)
    return ~inside | (error >= relative * length + absolute)


def find_inconsistent(
    carried: Float[Tensor, "b c h w"], motion: Motion, config: AttentionConfig
) -> Bool[Tensor, "b h w"]:
    """Cells of carried probabilities that `config.check` does not trust."""
    size = (carried.shape[-2], carried.shape[-1])
    found = torch.zeros(carried.shape[0], *size, dtype=torch.bool, device=carried.device)
    if config.check != "vectors":
        found = found | inconsistent_labels(carried.max(dim=1).indices, motion)
    if config.check != "labels":
        found = found | inconsistent_flow(motion, size).to(found.device)
    return found


def soften(mask: Bool[Tensor, "b h w"], config: AttentionConfig) -> Float[Tensor, "b 1 h w"]:
    """The mask dilated, then smoothed: weights in [0, 1], ready to be multiplied with probabilities."""
    grown = F.max_pool2d(mask[:, None].float(), config.dilation, stride=1, padding=config.dilation // 2)
    if config.smoothing == 0:
        return grown
    reach = max(1, round(3 * config.smoothing))
    places = torch.arange(-reach, reach + 1, device=grown.device, dtype=grown.dtype)
    kernel = torch.exp(-0.5 * (places / config.smoothing) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(grown, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1)).clamp(0, 1)  # rounding may pass 1 by one part in ten million


def refine_inside(
    attention: Float[Tensor, "b 1 h w"], refined: Float[Tensor, "b c h w"], carried: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """Equation 3.4: refined probabilities where attention is 1, carried ones where it is 0. Built in lesson 06."""
    if refined.shape != carried.shape:
        raise InputError(f"refined and carried probabilities differ: {list(refined.shape)}, {list(carried.shape)}")
    return attention * refined + (1 - attention) * carried


def blend_with_past(
    attention: Float[Tensor, "b 1 h w"],
    new: Float[Tensor, "b c h w"],
    carried: Float[Tensor, "b c h w"],
    keep: float = 0.5,
) -> Float[Tensor, "b c h w"]:
    """A new answer blended with the carried past (EVS 01): new where inconsistent, elsewhere `keep` of the past.

    keep=1 is equation 3.4 read literally, under which consistent pixels would never be refreshed.
    """
    if not 0 <= keep <= 1:
        raise InputError(f"keep is a share in [0, 1], got {keep}")
    return refine_inside(attention, new, keep * carried + (1 - keep) * new)


def _future(motion: Motion) -> Tensor:
    if motion.to_future is None:
        raise InputError("the check needs flow both ways: give the motion its to_future (motion_between(…, both=True))")
    return motion.to_future
