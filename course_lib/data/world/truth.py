"""Where does the surface point seen in one view lie in another one, and is it seen there?

One function answers both for forward flow (the next frame), backward flow (the one before) and stereo (the other eye):
the pixel is pulled back to its layer's texture in the first view and pushed forward in the second. It is hidden if it
leaves the frame or if a nearer layer is opaque exactly where it lands.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from course_lib.data.world.motion import bend, unbend
from course_lib.data.world.render import level_weight
from course_lib.data.world.scene import NEAR, Scene, Textures, Views, to_device

CLOSEST = 1e-3  # least ratio of the depth there to the depth here


def correspond(
    scenes: list[Scene],
    textures: Textures,
    here: Views,
    there: Views,
    surface_here: UInt8[Tensor, "b t h w"],
    surface_there: UInt8[Tensor, "b t h w"],
    prune: bool = True,
) -> tuple[Float[Tensor, "b t 2 h w"], Bool[Tensor, "b t h w"]]:
    """Displacement (x, y) in pixels of each pixel's surface point, and whether it is hidden or outside there.

    A point that passes the eye has no image there: it counts as outside, with a huge but finite displacement.

    With `prune`, only points near a contour there are looked up exactly; without, all are: the slow and obvious way,
    for the tests.
    """
    device = surface_here.device
    clips, times, height, width = surface_here.shape
    n, layers = clips * times, len(scenes[0].layers)
    rows = _Rows(here, there, device)
    index = surface_here.reshape(n, height * width).long()  # [n, h*w]
    x = (torch.arange(width, device=device) + 0.5).repeat(height)  # [h*w]
    y = (torch.arange(height, device=device) + 0.5).repeat_interleave(width)

    m = rows.displacement  # [n, 9, N]: there @ here^-1 - identity
    parts = [m[:, i].gather(1, index) for i in range(9 if here.projective else 6)]
    dx = torch.addcmul(torch.addcmul(parts[2], parts[0], x), parts[1], y)
    dy = torch.addcmul(torch.addcmul(parts[5], parts[3], x), parts[4], y)
    if here.projective:  # (p + Dp) / (1 + w) - p, with D the displacement matrix and w its third row times p:
        # the third row of there @ here^-1 times p is the ratio of the two depths, so it needs no scaling
        w = torch.addcmul(torch.addcmul(parts[8], parts[6], x), parts[7], y)
        passed = w < CLOSEST - 1
        ratio = (1 + w).clamp_min(CLOSEST)
        dx, dy = (dx - w * x) / ratio, (dy - w * y) / ratio
    if rows.waves_here is not None:
        soft = torch.tensor([[layer.wobble is not None for layer in s.layers] for s in scenes], device=device)
        chosen = soft.repeat_interleave(times, 0).gather(1, index)
        frame, cell = chosen.nonzero(as_tuple=True)
        to = rows.carry(frame, index[frame, cell], x[cell], y[cell])
        dx[frame, cell], dy[frame, cell] = to[0] - x[cell], to[1] - y[cell]

    px, py = x + dx, y + dy
    outside = ~((px >= 0) & (px < width) & (py >= 0) & (py < height))
    if here.projective:
        outside |= passed
    hidden = outside.clone()
    high = torch.full_like(index, layers)
    if prune:
        nearest = (py.clamp(0, height - 1).long() * width + px.clamp(0, width - 1).long()).view(n, height * width)
        low, high = (extreme.view(n, height * width).gather(1, nearest) for extreme in _extremes(surface_there))
        mine = surface_here.reshape(n, height * width)
        surely = (low > mine) & (low == high)  # one nearer layer all around; between two there may be a gap
        hidden |= surely
        doubtful = (high > mine) & ~surely & ~outside
    else:
        doubtful = ~outside
    frame, cell = doubtful.nonzero(as_tuple=True)
    covered = torch.zeros(len(frame), dtype=torch.bool, device=device)
    ax, ay, mine, top = px[frame, cell], py[frame, cell], index[frame, cell], high[frame, cell]
    for layer in range(layers - 1, 0, -1):  # front to back: what is already covered need not be asked again
        at = ((mine < layer) & (layer <= top) & ~covered).nonzero()[:, 0]
        if len(at):
            alpha = rows.alpha_there(textures, scenes, layer, frame[at], ax[at], ay[at], times)
            covered[at] |= alpha >= 0.5
    hidden[frame, cell] |= covered
    return torch.stack([dx, dy], 1).view(clips, times, 2, height, width), hidden.view(clips, times, height, width)


def _extremes(surface: UInt8[Tensor, "b t h w"]) -> tuple[Tensor, Tensor]:
    """Lowest and highest layer in the 3x3 neighbourhood of each pixel, [B*T, h, w] uint8."""
    sheet = surface.flatten(0, 1)
    out = []
    for pick in (torch.minimum, torch.maximum):
        grown = sheet
        for axis in (1, 2):
            last = grown.shape[axis] - 1
            before = torch.cat([grown.narrow(axis, 0, 1), grown.narrow(axis, 0, last)], axis)
            after = torch.cat([grown.narrow(axis, 1, last), grown.narrow(axis, last, 1)], axis)
            grown = pick(pick(grown, before), after)
        out.append(grown)
    return out[0], out[1]


class _Rows:
    """The matrices of two views as rows that single points can pick: [n, N, 9] with n = clips x times."""

    def __init__(self, here: Views, there: Views, device: torch.device) -> None:
        clips, layers, times = here.to_image.shape[:3]

        def rows(array: np.ndarray, last: int) -> Tensor:
            return to_device(array, device).transpose(1, 2).reshape(clips * times, layers, last)

        shape = (clips, layers, times, 9)
        composed = there.to_image @ here.from_image
        self.displacement = rows((composed - np.eye(3)).reshape(shape), 9).transpose(1, 2).contiguous()
        self.from_here = rows(here.from_image.reshape(shape), 9)
        self.to_there = rows(there.to_image.reshape(shape), 9)
        self.from_there = rows(there.from_image.reshape(shape), 9)
        self.waves_here = None if here.waves is None else rows(here.waves, 6)
        self.waves_there = None if there.waves is None else rows(there.waves, 6)
        self.projective = here.projective

    def carry(self, frame: Tensor, layer: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Points x, y [Q] of a layer from here to there, through the texture."""
        u, v, _ = _apply(self.from_here[frame, layer], x, y, self.projective)
        if self.waves_here is not None:
            u, v = bend(u, v, self.waves_here[frame, layer].unbind(-1))
            assert self.waves_there is not None  # both views show the same scenes
            u, v = unbend(u, v, self.waves_there[frame, layer].unbind(-1))
        x, y, _ = _apply(self.to_there[frame, layer], u, v, self.projective)
        return x, y

    def alpha_there(
        self, textures: Textures, scenes: list[Scene], layer: int, frame: Tensor, x: Tensor, y: Tensor, times: int
    ) -> Float[Tensor, "q"]:
        """Alpha of a layer at image points [Q] of the other view, by the renderer's rule."""
        u, v, depth = _apply(self.from_there[frame, layer], x, y, self.projective)
        if self.waves_there is not None and any(scene.layers[layer].wobble for scene in scenes):
            u, v = bend(u, v, self.waves_there[frame, layer].unbind(-1))
        total = torch.zeros_like(u)
        levels = textures.levels[layer]
        rows, columns = levels[-1].shape[2:]
        near = (u.abs() < 1 + 1 / columns) & (v.abs() < 1 + 1 / rows)  # elsewhere the texture is transparent
        near = near.nonzero()[:, 0]
        clip, u, v = frame[near] // times, u[near], v[near]
        found = torch.zeros_like(u)
        for i, level in enumerate(levels):
            value = _bilinear(level[:, 3], clip, u, v)
            if len(levels) > 1:
                assert depth is not None  # only projective scenes have coarser levels
                value = value * level_weight(depth[near], textures.sharp_at[clip, layer], i, len(levels))
            found = found + value
        total[near] = found
        return total if depth is None else total * (depth > NEAR)


def _apply(m: Tensor, x: Tensor, y: Tensor, projective: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Apply matrices [Q, 9] to points [Q]; the third result is the reciprocal of the homogeneous coordinate."""
    a = m[:, 0] * x + (m[:, 1] * y + m[:, 2])
    b = m[:, 3] * x + (m[:, 4] * y + m[:, 5])
    if not projective:
        return a, b, None
    scale = m[:, 6] * x + (m[:, 7] * y + m[:, 8])
    scale = torch.where(scale > 1e-5, 1 / scale, -1.0)
    return a * scale, b * scale, scale


def _bilinear(image: Float[Tensor, "b h w"], clip: Tensor, u: Tensor, v: Tensor) -> Float[Tensor, "q"]:
    """Values of image[clip] at u, v in [-1, 1], zero outside, as `grid_sample(align_corners=False)` has them."""
    height, width = image.shape[1:]
    x, y = (u + 1) * (width / 2) - 0.5, (v + 1) * (height / 2) - 0.5
    x0, y0 = x.floor(), y.floor()
    total = torch.zeros_like(u)
    flat, base = image.reshape(-1), clip * (height * width)
    for dy in (0, 1):
        for dx in (0, 1):
            c, r = x0 + dx, y0 + dy
            weight = (1 - (x - c).abs()) * (1 - (y - r).abs())
            weight = weight * ((c >= 0) & (c < width) & (r >= 0) & (r < height))
            cell = base + (r.clamp(0, height - 1) * width + c.clamp(0, width - 1)).long()
            total = total + flat[cell] * weight
    return total
