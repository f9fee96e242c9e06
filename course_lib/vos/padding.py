"""Frames padded so that a network's strides divide them, and outputs cut back.

Padding is split evenly between the two sides, so that the picture stays centred; an odd pixel goes right or below.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from course_lib.errors import InputError


class Pads(NamedTuple):
    """Pixels added on each side, in the order that `torch.nn.functional.pad` wants."""

    left: int
    right: int
    top: int
    bottom: int


def pad_to_multiple(
    x: Float[Tensor, "*b h w"], multiple: int, value: float = 0.0
) -> tuple[Float[Tensor, "*b hp wp"], Pads]:
    """Pad the last two axes with `value` up to the next multiples of `multiple`; `unpad` takes the result back.

    Returns the padded tensor (the same one, if it already fits) and the `Pads`.
    """
    if multiple < 1 or x.ndim < 2:
        raise InputError(f"expected [..., H, W] and a multiple of at least 1, got {list(x.shape)} and {multiple}")
    down, across = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    pads = Pads(across // 2, across - across // 2, down // 2, down - down // 2)
    return (pad(x, pads, value=value) if any(pads) else x), pads


def unpad(x: Float[Tensor, "*b hp wp"], pads: Pads) -> Float[Tensor, "*b h w"]:
    """Cut away what `pad_to_multiple` added, from any tensor of the padded size."""
    height, width = x.shape[-2:]
    return x[..., pads.top : height - pads.bottom, pads.left : width - pads.right]
