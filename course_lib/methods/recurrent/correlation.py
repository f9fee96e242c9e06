"""How alike every place of one frame is to every place of the next, and a small window of it where flow points to.

Teed and Deng (RAFT, ECCV 2020); F. Azimi (2024), section 6.5.2. The volume is made once; each refinement of the flow
reads (2r + 1)² entries per level around its present guess. Unusual: centres of pooled cells are kept where they are,
half a cell away from where halving a coordinate puts them; and maps too small for all levels read zeros from the rest,
so that one set of weights serves every image size.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.nn.warp import destinations, sample_at


def all_pairs(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w h w"]:
    """Correlation volume: entry i, j, k, l is <a(i, j), b(k, l)> / sqrt(C), in float32 or better.

    (h · w)² entries per sample: 8⁴ = 4096 for an image of 64 x 64 at stride 8. Built in lesson 05.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise InputError(f"both feature maps must be [B, C, h, w], got {list(a.shape)} and {list(b.shape)}")
    precise = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):  # small differences of large sums decide where the best match is
        volume = torch.einsum("bcij,bckl->bijkl", a.to(precise), b.to(precise))
    return volume / a.shape[1] ** 0.5


def pyramid(volume: Float[Tensor, "b h w h w"], levels: int) -> list[Tensor]:
    """The volume and its averages over squares of 2, 4 … places of the second frame: at most `levels` maps
    [B, h, w, h / 2^l, w / 2^l], fewer once a side is a single place. The rest of an odd side is left out."""
    if levels < 1:
        raise InputError(f"a correlation pyramid has at least one level, got {levels}")
    places = volume.shape[:3]
    maps = [volume.flatten(0, 2)[:, None]]  # [B * h * w, 1, h, w]
    while len(maps) < levels and min(maps[-1].shape[-2:]) > 1:
        maps.append(F.avg_pool2d(maps[-1], 2))
    return [level.view(*places, *level.shape[-2:]) for level in maps]


def look_up(
    maps: list[Tensor], flow: Float[Tensor, "b 2 h w"], radius: int, levels: int
) -> Float[Tensor, "b levels*(2*radius+1)**2 h w"]:
    """Correlation around the place each pixel is led to: a window of (2 radius + 1)² entries per level, bilinear.

    maps    from `pyramid`; flow in places of the feature map, x first
    levels  that the result has; those that `maps` lacks are 0

    Windows run along rows (x fastest) and are in cells of their level: they reach twice as far at each. Beyond the map
    entries are 0. Built in lesson 05.
    """
    x, y = destinations(flow)  # [B, h, w]
    steps = torch.arange(-radius, radius + 1, device=flow.device)
    dy, dx = torch.meshgrid(steps, steps, indexing="ij")
    windows = []
    for level, values in enumerate(maps):
        cell = 2**level
        at_x = (x.reshape(-1, 1) + 0.5) / cell - 0.5 + dx.reshape(1, -1)  # [B * h * w, window]
        at_y = (y.reshape(-1, 1) + 0.5) / cell - 0.5 + dy.reshape(1, -1)
        window = sample_at(values.flatten(0, 2)[:, None], at_x, at_y)  # [B * h * w, 1, window]
        windows.append(window.view(*x.shape, -1).movedim(-1, 1))  # [B, window, h, w]
    missing = (levels - len(maps)) * (2 * radius + 1) ** 2
    return F.pad(torch.cat(windows, dim=1), (0, 0, 0, 0, 0, missing))
