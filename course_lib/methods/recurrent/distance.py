"""Border-distance classes: how far a pixel is from its object's edge, and on which side, as a class to predict.

F. Azimi (2024), section 6.3, equation 6.6, after Bischke et al. (ICIP 2019). The distance is that to the nearest pixel
of the other class, exact and on any device. Unusual: it is computed in whole numbers (squared), so a bin's edge never
hangs on rounding; and because distances are truncated, a handful of shifts find it without visiting pixels.
"""

from typing import TypeAlias

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError

NO_CLASS = -100  # class of pixels that nobody annotated: what `cross_entropy` leaves out by default

Masks: TypeAlias = Tensor  # [..., H, W] bool, or numbers that are 0, 1 or 255


def n_classes(radius: int, width: int) -> int:
    """Number K of distance classes: bins of `width` pixels up to `radius` on both sides, and far on both sides.

    K = 2 · floor(radius / width) + 2. Raises `InputError` unless 1 <= width <= radius. Built in lesson 04.
    """
    if not 1 <= width <= radius:
        raise InputError(f"bins need 1 <= width <= radius, in pixels; got width {width} and radius {radius}")
    return 2 * (radius // width) + 2


def distance_classes(masks: Masks, radius: int = 20, width: int = 1) -> Int64[Tensor, "*batch h w"]:
    """Class of each pixel by its distance to the nearest pixel of the other class.

    masks   [..., H, W] bool, or 0, 1 and 255 (unknown) of any type; each [H, W] is for itself
    radius  pixels from the edge that still have a bin of their own
    width   pixels per bin; what is left of `radius` after whole bins counts as far

    With k = floor(radius / width) bins a side and d >= 1 the distance, bin b = ceil(d / width) - 1 gives
    k + 1 + min(b, k) inside and k - min(b, k) outside: 0 is far outside, k touches the edge from outside, k + 1 from
    inside, 2k + 1 is deep inside. An object that is absent makes all pixels 0, one that fills the frame all 2k + 1: the
    frame's border is no edge. Unknown pixels get `NO_CLASS` and are no edge for the others either.

    Raises `InputError` for values other than 0, 1, 255 (looked at on the CPU only, where that costs no waiting) and
    for sizes of bins out of range. Built in lesson 04.
    """
    bins = n_classes(radius, width) // 2 - 1  # k
    inside, known = _object_and_known(masks)
    edges = (width * torch.arange(1, bins + 1, device=masks.device)).square()  # squared distances where a bin ends
    squared = _squared_distance(inside, known, bins * width)
    far = torch.bucketize(squared.contiguous(), edges.to(squared.dtype))  # min(b, k), the bins that end before it
    return torch.where(inside, bins + 1 + far, bins - far).masked_fill(~known, NO_CLASS)


def distance_map(masks: Masks, radius: int = 20) -> Float[Tensor, "*batch h w"]:
    """Signed truncated distance D of equation 6.6 in pixels, in [-radius, radius]: positive inside, negative outside.

    Masks as in `distance_classes`; unknown pixels are NaN. For figures: the losses use the classes. No pixel is nearer
    to 0 than 1, because the distance leads to a pixel of the other class, not to a line between pixels.
    """
    n_classes(radius, 1)
    inside, known = _object_and_known(masks)
    distance = _squared_distance(inside, known, radius).float().sqrt().clamp(max=radius)
    return torch.where(inside, distance, -distance).masked_fill(~known, torch.nan)


def _object_and_known(masks: Masks) -> tuple[Tensor, Tensor]:
    """Object pixels and annotated pixels, both bool [..., H, W]."""
    if masks.ndim < 2:
        raise InputError(f"masks must be [..., H, W], got {list(masks.shape)}")
    inside = masks == 1
    known = inside | (masks == 0)
    if masks.device.type == "cpu" and not (known | (masks == IGNORE)).all():
        raise InputError(
            "masks hold 0 (background), 1 (object) and 255 (unknown); got other values as well. Threshold soft masks, "
            "and pick one object of a label map with labels == id"
        )
    return inside, known


def _squared_distance(inside: Tensor, known: Tensor, radius: int) -> Int[Tensor, "*batch h w"]:
    """Squared distance to the nearest pixel of the other class, exact up to radius²; anything larger beyond.

    Two passes, as the square of a distance is a sum over axes: along columns the nearest in doubling steps (1, 2, 4 …
    pixels), along rows the least of squared column distance plus squared shift over all shifts up to the radius.
    Each pass has its axis in front, where a shift is one contiguous block of memory: many times faster on a CPU.
    """
    kind = torch.int16 if radius <= 127 else torch.int32  # must hold (radius + 1)² + radius²
    others = torch.stack([known & ~inside, inside])  # [2, ..., H, W]: what object pixels, background pixels look for
    column = others.movedim(-2, 0).to(kind, memory_format=torch.contiguous_format)  # [H, 2, ..., W]
    column = (1 - column) * (radius + 1)
    reach = 1
    while reach <= min(radius, len(column) - 1):  # distances below `reach` are right; next, those below twice that
        nearer = column.clone()
        _lower(nearer, column + reach, reach)
        column, reach = nearer, 2 * reach
    squared = column.clamp_(max=radius + 1).square_().movedim(-1, 0).contiguous()  # [W, H, 2, ...]
    least = squared.clone()
    for shift in range(1, min(radius, len(squared) - 1) + 1):
        _lower(least, squared + shift * shift, shift)
    to_background, to_object = least.movedim((0, 1), (-1, -2))  # [2, ..., H, W]
    return torch.where(inside, to_background, to_object)


def _lower(values: Tensor, offer: Tensor, shift: int) -> None:
    """values[i] <- min(values[i], offer[i - shift], offer[i + shift]) along the first axis, in place."""
    torch.minimum(values[shift:], offer[:-shift], out=values[shift:])
    torch.minimum(values[:-shift], offer[shift:], out=values[:-shift])
