"""The bilinear sampler as it is printed: two double sums over all pixels, one for the value and one for its slope.

F. Azimi (2024), equations 5.13 and 5.14 (after Jaderberg et al., NeurIPS 2015); the print of the slope lost the double
sum and counts m = x twice, as 1 and as -1: the sum is restored here and m = x counts as 1, as in the older paper. Slow
on purpose, to check and to explain `torch.nn.functional.grid_sample`. Unusual: at whole-numbered positions, where a
bilinear surface has no slope, the printed formula gives the pixel itself, which is neither of the two one-sided slopes;
PyTorch gives the one to the right.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def bilinear_value(image: Float[Tensor, "h w"], x: Float[Tensor, "n"], y: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Equation 5.13 at N positions in pixels, where 0 is the centre of the first pixel; black outside."""
    return torch.einsum("nm,pn,pm->p", image, _tent(y, image.shape[0]), _tent(x, image.shape[1]))


def bilinear_slope(
    image: Float[Tensor, "h w"], x: Float[Tensor, "n"], y: Float[Tensor, "n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Equation 5.14: slopes of the value in x and in y, per pixel of displacement.

    Only the four pixels around a position count, which is why a sampler's gradient sees no farther than one pixel.
    Built in lesson 01.
    """
    tent_x, tent_y = _tent(x, image.shape[1]), _tent(y, image.shape[0])
    in_x = torch.einsum("nm,pn,pm->p", image, tent_y, _tent_slope(x, image.shape[1]))
    in_y = torch.einsum("nm,pn,pm->p", image, _tent_slope(y, image.shape[0]), tent_x)
    return in_x, in_y


def _tent(places: Float[Tensor, "p"], pixels: int) -> Float[Tensor, "p pixels"]:
    """max(0, 1 - |x - m|) for every pixel m."""
    return (1 - (places[:, None] - torch.arange(pixels, device=places.device)).abs()).clamp(min=0)


def _tent_slope(places: Float[Tensor, "p"], pixels: int) -> Float[Tensor, "p pixels"]:
    """0 where |m - x| >= 1, else 1 where m >= x, else -1."""
    ahead = torch.arange(pixels, device=places.device) - places[:, None]  # m - x
    sign = torch.where(ahead >= 0, 1.0, -1.0).to(places.dtype)
    return torch.where(ahead.abs() >= 1, torch.zeros_like(sign), sign)
