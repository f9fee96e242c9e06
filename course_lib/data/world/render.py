"""Draw a scene: layers are sampled from their textures and painted over each other, for many clips and times at once.

Each layer is drawn only inside its patch, a rectangle of whole pixels around it, so the cost follows the painted area.
Because a pixel's value depends on its own coordinates alone, the result does not depend on how frames are grouped.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from course_lib.data.world.motion import bend
from course_lib.data.world.scene import NEAR, Layer, Scene, Textures, Views, to_device

CHUNK_PIXELS = 2**18  # frames are drawn in groups of about so many pixels: enough to vectorise, small enough to cache


@dataclass(frozen=True)
class Painting:
    """What the eye sees, for B clips and T times, and what a layer would show if nothing stood before it."""

    frames: Float[Tensor, "b t 3 h w"]  # in [0, 1], lit
    surface: UInt8[Tensor, "b t h w"]  # index of the frontmost layer with alpha >= 0.5
    amodal: Bool[Tensor, "b t k h w"]  # alpha >= 0.5 of each object, whatever hides it
    area: Float[Tensor, "b t k"]  # pixels of the whole object, also beyond the frame
    boxes: Float[Tensor, "b t k 4"]  # around the whole object, may reach beyond the frame; nan for none


@dataclass(frozen=True)
class Patch:
    """Where one layer is drawn: corner [B, T] per frame and a size common to all."""

    left: np.ndarray
    top: np.ndarray
    height: int
    width: int
    present: np.ndarray  # [B, T] bool
    depth: tuple[float, float]  # least and greatest over all corners; (1, 1) on a flat stage


def patch_of(layers: list[Layer], to_image: np.ndarray, size: tuple[int, int], whole: bool) -> Patch | None:
    """The patch of one slot. layers: of each clip; to_image [B, T, 3, 3]; `whole` also covers what is out of frame.

    Returns None if the layer is nowhere to be seen.
    """
    height, width = size
    clips, times = to_image.shape[:2]
    if layers[0].support is None:
        nought = np.zeros((clips, times), int)
        return Patch(nought, nought, height, width, np.ones((clips, times), bool), (1.0, np.inf))
    support = np.array([layer.support for layer in layers])  # [B, 4]
    corners = support[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [B, 4, 2]
    at = np.einsum("btij,bcj->btci", to_image, np.concatenate([corners, np.ones((clips, 4, 1))], 2))
    depth = at[..., 2]
    ahead = depth > NEAR  # [B, T, 4]
    if not ahead.all():  # cut the sheet at the near plane: add the points where its edges cross it
        after, depth_after = np.roll(at, -1, 2), np.roll(depth, -1, 2)
        cuts = ahead != np.roll(ahead, -1, 2)
        share = np.where(cuts, (NEAR - depth) / np.where(cuts, depth_after - depth, 1), 0)[..., None]
        at, ahead = np.concatenate([at, at + share * (after - at)], 2), np.concatenate([ahead, cuts], 2)
    point = at[..., :2] / np.where(ahead, at[..., 2], 1)[..., None]
    low = np.floor(np.where(ahead[..., None], point, np.inf).min(2))  # [B, T, 2]
    high = np.ceil(np.where(ahead[..., None], point, -np.inf).max(2))
    present = ahead.any(2)
    seen = present & (low < [width, height]).all(-1) & (high > 0).all(-1)
    if not whole:
        present = seen
        low, high = np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])
    if not present.any():
        return None
    low, high = (np.where(present[..., None], edge, 0).astype(int) for edge in (low, high))
    extent = (high - low).max((0, 1))
    depths = at[..., 2][ahead & present[..., None]]
    return Patch(low[..., 0], low[..., 1], int(extent[1]), int(extent[0]), present, (depths.min(), depths.max()))


def pull_back(from_image: Float[Tensor, "n 3 3"], x: Tensor, y: Tensor, projective: bool) -> tuple[Tensor, ...]:
    """Image pixels to sprite coordinates. x [n, w], y [n, h] -> u, v [n, h, w], and depth [n, h, w] if projective."""
    m = from_image[..., None]

    def row(i: int) -> Tensor:
        return (m[:, i, 0] * x)[:, None, :] + (m[:, i, 1] * y + m[:, i, 2])[:, :, None]

    if not projective:
        return row(0), row(1)
    nearness = row(2)
    depth = torch.where(nearness > 1e-5, 1 / nearness, -1.0)  # above the horizon a ground plane lies behind the eye
    return row(0) * depth, row(1) * depth, depth


def level_weight(depth: Tensor, sharp_at: Tensor, level: int, count: int) -> Tensor:
    """Weight of a texture level at a depth: linear in the logarithm of depth between neighbouring levels."""
    wanted = torch.log2((depth / sharp_at).clamp(1.0, 2.0 ** (count - 1)))
    return (1 - (wanted - level).abs()).clamp_min(0)


def levels_between(layers: list[Layer], depth: tuple[float, float], count: int) -> range:
    """The texture levels that have weight somewhere between two depths."""
    sharp_at = [layer.sharp_at for layer in layers]
    low, high = np.log2(depth[0] / max(sharp_at)) - 1e-3, np.log2(depth[1] / min(sharp_at)) + 1e-3
    first = int(np.clip(np.floor(low), 0, count - 1))
    return range(first, int(np.clip(np.ceil(high), first, count - 1)) + 1)


def sample(
    levels: tuple[Tensor, ...], clips: int, u: Tensor, v: Tensor, weights: list[Tensor] | None, border: bool
) -> Float[Tensor, "n c h w"]:
    """Texture values at u, v [B*T, h, w]; levels [B, C, th, tw], mixed by `weights` [B*T, h, w] where given."""
    height, width = u.shape[1:]
    grid = torch.stack([u, v], -1)  # [B*T, h, w, 2]
    each = grid.shape[0] // clips
    total = None
    for index, level in enumerate(levels):
        padding = "border" if border else "zeros"
        if clips == 1:
            texture = level.expand(each, *level.shape[1:])
            value = F.grid_sample(texture, grid, "bilinear", padding, align_corners=False)
        else:  # times side by side in one tall grid, so that no texture is copied
            tall = grid.view(clips, each * height, width, 2)
            value = F.grid_sample(level, tall, "bilinear", padding, align_corners=False)  # [B, C, T*h, w]
            value = value.view(clips, -1, each, height, width).transpose(1, 2).reshape(clips * each, -1, height, width)
        if weights is not None:
            value = value * weights[index][:, None]
        total = value if total is None else total + value
    assert total is not None  # a texture has at least one level
    return total


def paint(scenes: list[Scene], textures: Textures, views: Views, size: tuple[int, int], objects: int) -> Painting:
    """Draw B scenes at T times. `objects` is K, the number of labelled objects; 0 leaves out the amodal truth."""
    clips, times = views.to_image.shape[0], views.to_image.shape[2]
    step = max(1, CHUNK_PIXELS // (clips * size[0] * size[1]))
    parts = [
        _paint(scenes, textures, views.frames(slice(start, start + step)), size, objects)
        for start in range(0, times, step)
    ]
    if len(parts) == 1:
        return parts[0]
    return Painting(*(torch.cat([getattr(part, f) for part in parts], 1) for f in Painting.__dataclass_fields__))


def _paint(scenes: list[Scene], textures: Textures, views: Views, size: tuple[int, int], objects: int) -> Painting:
    device = textures.sharp_at.device
    height, width = size
    clips, times = views.to_image.shape[0], views.to_image.shape[2]
    n, area = clips * times, height * width
    slots = [[scene.layers[i] for scene in scenes] for i in range(len(scenes[0].layers))]
    from_image = to_device(views.from_image, device).transpose(0, 1).reshape(len(slots), n, 3, 3)
    waves = None if views.waves is None else to_device(views.waves, device).transpose(0, 1).reshape(len(slots), n, 6)
    drift = None if views.drift is None else to_device(views.drift, device).reshape(n, 1, 1, 1)

    canvas = torch.zeros(n, 3, area + 1, device=device)  # one cell more: whatever falls outside the frame
    surface = torch.zeros(n, area + 1, dtype=torch.uint8, device=device)
    amodal = torch.zeros(clips, times, objects, area + 1, dtype=torch.bool, device=device)
    whole_area = torch.zeros(clips, times, objects, device=device)
    boxes = torch.full((clips, times, objects, 4), torch.nan, device=device)

    for index, layers in enumerate(slots):
        whole = objects > 0 and any(layer.object_id for layer in layers)
        patch = patch_of(layers, views.to_image[:, index], size, whole)
        if patch is None:
            continue
        left, top = (torch.from_numpy(a.reshape(n)).to(device) for a in (patch.left, patch.top))
        columns = left[:, None] + torch.arange(patch.width, device=device)  # [n, w]
        rows = top[:, None] + torch.arange(patch.height, device=device)  # [n, h]
        u, v, *depth = pull_back(from_image[index], columns + 0.5, rows + 0.5, views.projective)
        if waves is not None and any(layer.wobble for layer in layers):
            u, v = bend(u, v, tuple(waves[index, :, i, None, None] for i in range(6)))
        levels, weights = textures.levels[index], None
        if len(levels) > 1:
            sharp_at = textures.sharp_at[:, index].repeat_interleave(times)[:, None, None]
            needed = levels_between(layers, patch.depth, len(levels))
            weights = [level_weight(depth[0], sharp_at, i, len(levels)) for i in needed]
            levels = levels[needed.start : needed.stop]
        value = sample(levels, clips, u, v, weights, index == 0)
        colour, alpha = value[:, :3], value[:, 3:4]
        if drift is not None and value.shape[1] == 7:
            colour = torch.lerp(colour, value[:, 4:], drift)
        if depth:
            alpha = alpha * (depth[0] > NEAR)[:, None]
        if not patch.present.all():
            alpha = alpha * torch.from_numpy(patch.present.reshape(n, 1, 1, 1)).to(device)
        solid = alpha[:, 0] >= 0.5  # [n, h, w]
        if index == 0:
            canvas[:, :, :area] = colour.reshape(n, 3, area)
            continue
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        cell = torch.where(inside, rows[:, :, None] * width + columns[:, None, :], area).reshape(n, -1)  # [n, h*w]
        three = cell[:, None].expand(-1, 3, -1)
        below = canvas.gather(2, three)
        canvas.scatter_(2, three, torch.lerp(below, colour.flatten(2), alpha.flatten(2)))
        shown = torch.where(solid.flatten(1), index, surface.gather(1, cell))
        surface.scatter_(1, cell, shown.to(torch.uint8))
        if whole:
            _record(layers, solid, cell, left, top, amodal, whole_area, boxes)

    frames = canvas[:, :, :area].reshape(clips, times, 3, height, width)
    if views.light is not None:
        frames = frames * to_device(views.light, device)[..., None, None]
    return Painting(
        frames,
        surface[:, :area].reshape(clips, times, height, width),
        amodal[..., :area].reshape(clips, times, objects, height, width),
        whole_area,
        boxes,
    )


def _record(
    layers: list[Layer], solid: Tensor, cell: Tensor, left: Tensor, top: Tensor,
    amodal: Tensor, whole_area: Tensor, boxes: Tensor,
) -> None:  # fmt: skip
    """Write the truth about one slot, which may hold an object of a different id in each clip."""
    clips, times = amodal.shape[:2]
    corner = torch.stack([left, top, left, top], -1).view(clips, times, 4)
    box = box_around(solid).view(clips, times, 4) + corner
    covered = solid.sum((1, 2)).view(clips, times)
    for clip, layer in enumerate(layers):
        if layer.object_id:
            k = layer.object_id - 1
            amodal[clip, :, k].scatter_(1, cell.view(clips, times, -1)[clip], solid.view(clips, times, -1)[clip])
            whole_area[clip, :, k] = covered[clip].to(whole_area.dtype)
            boxes[clip, :, k] = box[clip]


def box_around(mask: Bool[Tensor, "*n h w"]) -> Float[Tensor, "*n 4"]:
    """Tight half-open boxes x0, y0, x1, y1 in pixels around the true cells of each mask; nan where there are none."""
    height, width = mask.shape[-2:]
    across, down = mask.any(-2), mask.any(-1)  # [..., w], [..., h]
    x, y = torch.arange(width, device=mask.device), torch.arange(height, device=mask.device)
    low = [torch.where(hit, at, 1 << 20).amin(-1) for hit, at in ((across, x), (down, y))]
    high = [torch.where(hit, at + 1, 0).amax(-1) for hit, at in ((across, x), (down, y))]
    box = torch.stack([*low, *high], -1).float()
    return torch.where(across.any(-1, keepdim=True), box, torch.nan)
