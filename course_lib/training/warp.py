"""Deformations of images together with their labels: crop, affine map and thin-plate bend, in one resampling.

A warp says for each output pixel where in the source it comes from. Unusual: all steps are composed before anything is
sampled, so an image is interpolated once; labels take the nearest source pixel and stay whole ids.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError

CONTROL_POINTS = 4  # a side of the grid that bends are given on
FILL = (0.485, 0.456, 0.406)  # colour beyond the border of the source: the mean of natural images
_COARSE = 16  # bends are smooth: they are evaluated on a grid of this side, then interpolated
_ALIASING = 1.5  # shrinking by more than this is preceded by a low-pass filter


@dataclass(frozen=True)
class Warp:
    """Where the pixels of T output frames come from. u in [-1, 1]² is a place in the output, x right and y down:

        source(u) = centre + half · (matrix @ (u + bend(u)) + shift)

    in pixels of the source, whose corner is 0, 0. `matrices` act in pixels of equal sides, so a rotation stays one in
    a window that is not square.
    """

    window: tuple[float, float, float, float]  # x0, y0, x1, y1 in source pixels; shown whole by the identity
    matrices: Float[Tensor, "t 2 2"]
    shifts: Float[Tensor, "t 2"]  # in halves of the window
    bends: Float[Tensor, "t p 2"] | None = None  # displacement of control points, in units of u; None bends nothing

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        if x1 <= x0 or y1 <= y0:
            raise InputError(f"a window is x0, y0, x1, y1 with x1 > x0 and y1 > y0, got {self.window}")

    def places(self, size: tuple[int, int]) -> Float[Tensor, "t h w 2"]:
        """Source pixel coordinates (x, y) of every output pixel's centre."""
        x0, y0, x1, y1 = self.window
        half_w, half_h = (x1 - x0) / 2, (y1 - y0) / 2
        ux, uy = centres(size).unbind(-1)  # [h, w] each
        if self.bends is not None:
            bent = bend(self.bends, size)
            ux, uy = ux + bent[..., 0], uy + bent[..., 1]  # [T, h, w] each
        # Plain multiplications: a product with 2x2 matrices is many times slower on a CPU.
        xx, xy, yx, yy = self.matrices.reshape(-1, 4, 1, 1).unbind(1)  # [T, 1, 1] each
        shift_x, shift_y = self.shifts.reshape(-1, 2, 1, 1).unbind(1)
        x = (xx * half_w) * ux + (xy * half_h) * uy + ((x0 + x1) / 2 + shift_x * half_w)
        y = (yx * half_w) * ux + (yy * half_h) * uy + ((y0 + y1) / 2 + shift_y * half_h)
        return torch.stack([x, y], dim=-1)


def centres(size: tuple[int, int]) -> Float[Tensor, "h w 2"]:
    """Coordinates (x, y) in [-1, 1] of pixel centres."""
    height, width = size
    y = (torch.arange(height) + 0.5) * 2 / height - 1
    x = (torch.arange(width) + 0.5) * 2 / width - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def apply(
    warp: Warp, frames: UInt8[Tensor, "t 3 h w"], labels: UInt8[Tensor, "t h w"], size: tuple[int, int]
) -> tuple[Float[Tensor, "t 3 h2 w2"], UInt8[Tensor, "t h2 w2"]]:
    """Frames in [0, 1] and labels of height and width `size`. What lies beyond the source is `FILL`, labelled 0."""
    height, width = frames.shape[-2:]
    grid = (
        warp.places(size).mul_(2 / torch.tensor([width, height])).sub_(1)
    )  # [-1, 1] in the source, whatever its resolution
    x0, y0, x1, y1 = warp.window
    shrink = max((y1 - y0) / size[0], (x1 - x0) / size[1])
    if shrink > _ALIASING:
        smaller = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        frames = F.interpolate(frames, smaller, mode="bilinear", antialias=True)
    fill = torch.tensor(FILL).view(3, 1, 1)
    sampled = F.grid_sample(frames / 255 - fill, grid, mode="bilinear", align_corners=False).add_(fill)
    nearest = F.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
    return sampled.clamp_(0, 1), nearest.to(torch.uint8)


def bend(displacements: Float[Tensor, "t p 2"], size: tuple[int, int]) -> Float[Tensor, "t h w 2"]:
    """The smoothest displacement field through given ones at a regular grid of control points (thin-plate spline).

    Least bending energy of all (Bookstein, 1989); linear in the displacements, so one matrix serves all of them.
    """
    if displacements.shape[1] != CONTROL_POINTS**2:
        raise InputError(f"bends need {CONTROL_POINTS**2} control points, got {displacements.shape[1]}")
    coarse = (_spline_matrix() @ displacements).view(-1, _COARSE, _COARSE, 2)  # [T, c², p] @ [T, p, 2]
    field = F.interpolate(coarse.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)  # [T, 2, h, w]
    return field.permute(0, 2, 3, 1)


def thin_plate(points: Float[Tensor, "p 2"], places: Float[Tensor, "q 2"]) -> Float[Tensor, "q p"]:
    """Matrix that takes values at `points` to the values at `places` of the thin-plate spline through them."""
    n = len(points)
    system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    system[:n, :n] = _energy(torch.cdist(points, points).double())
    system[:n, n:] = torch.cat([torch.ones(n, 1), points], dim=1)
    system[n:, :n] = system[:n, n:].T
    weights = torch.linalg.solve(system, torch.eye(n + 3, n, dtype=torch.float64))  # [p + 3, p]
    basis = torch.cat([_energy(torch.cdist(places, points).double()), torch.ones(len(places), 1), places], dim=1)
    return (basis @ weights).float()


def _energy(distance: Tensor) -> Tensor:
    """r² log r, the bending of a thin plate that is pushed at one point."""
    return torch.where(distance > 0, distance**2 * distance.clamp(min=1e-12).log(), 0.0)


@lru_cache(maxsize=1)
def _spline_matrix() -> Tensor:
    """[_COARSE², CONTROL_POINTS²]"""
    line = torch.linspace(-1, 1, CONTROL_POINTS)
    points = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(-1, 2)
    return thin_plate(points, centres((_COARSE, _COARSE)).view(-1, 2))
