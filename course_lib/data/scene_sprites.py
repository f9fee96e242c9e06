"""Sprites of any side from one small picture, by matrices of whole numbers.

A row of pixels is resized by a matrix whose weights are whole numbers out of 128; two of them resize a picture, with
one rounding to bytes between. Unusual: every product and sum is a whole number that float32 holds exactly, so the bytes
are the same on the CPU and on a GPU, in whatever order and with whatever short formats it multiplies.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

DETAIL = 28  # pixels of a side at which pictures are kept
WHOLE = 128  # the weights of a resized pixel are whole numbers that sum to this
INK = 25  # of 255; what is darker at the rim of a picture is margin


def resize_weights(greatest: int) -> Float[Tensor, "sides rows s"]:
    """[side, row, DETAIL]: weights of the pixels that make a row of an image resized to `side`; the last row is 0.

    The smoothed (antialiased) bilinear filter in whole numbers that sum to WHOLE.
    """
    weights = torch.zeros(greatest + 1, greatest + 1, DETAIL)
    unit = torch.eye(DETAIL)[None, None]
    for side in range(1, greatest + 1):
        exact = WHOLE * F.interpolate(unit, (side, DETAIL), mode="bilinear", align_corners=False, antialias=True)[0, 0]
        whole = exact.floor()
        missing = (WHOLE - whole.sum(1, keepdim=True)).long()  # given to the weights with the largest remainders
        rank = (exact - whole).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        weights[side, :side] = whole + (rank < missing)
    return weights


def rounded(sums: Tensor) -> Tensor:
    """Weighted sums of whole numbers to whole numbers again; few enough bits for any matrix unit to be exact."""
    return sums.mul_(1 / WHOLE).add_(0.5).floor_()


def trimmed(images: UInt8[Tensor, "p s s"]) -> UInt8[Tensor, "p s s"]:
    """Cut each picture to the square around its ink and enlarge that to the same size. A picture without ink stays."""
    ink = images > INK
    ink |= ~ink.flatten(1).any(1)[:, None, None]
    side, step = images.shape[-1], torch.arange(images.shape[-1])
    centre, half = [], []
    for axis in (1, 2):  # the extent in x, then in y
        hit = ink.any(axis)  # [P, S]
        low = torch.where(hit, step, side).amin(1).clamp(max=side - 1)
        high = torch.where(hit, step + 1, 0).amax(1).clamp(min=1)
        centre.append((low + high) / side - 1)
        half.append((high - low) / side)
    scale = torch.stack(half).amax(0).clamp_min(1 / side)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = torch.stack(centre, 1)
    out = torch.empty_like(images)
    for part in torch.arange(len(images)).split(4096):
        grid = F.affine_grid(theta[part], [len(part), 1, side, side], align_corners=False)
        sampled = F.grid_sample(images[part, None].float(), grid, padding_mode="zeros", align_corners=False)
        out[part] = sampled[:, 0].round().clamp(0, 255).byte()
    return out
