"""The truth of the synthetic world: warps reproduce frames, occlusion follows depth, boxes and shares are counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data.synthetic import World, WorldConfig, scenario
from course_lib.data.world.motion import bend, unbend
from course_lib.data.world.scene import Textures, look
from course_lib.data.world.truth import correspond

# Every kind of motion: steady camera, moving camera, rigid, deforming, hidden, fast, far apart in time, in perspective.
MOTIONS = {
    "easy": scenario("easy", length=10),
    "small": scenario("small", length=10),
    "occlusion": scenario("occlusion", length=24),
    "lookalikes": scenario("lookalikes", length=10),
    "crowded": scenario("crowded", length=10),
    "fast": scenario("fast", length=10, blur=0.0),
    "long": scenario("long", length=24, light=0.0, drift=0.0, frame_rate=6.0),
    "wobbly": WorldConfig(n_objects=4, size=0.5, deformation=1.0, camera=0.3, length=10, frame_rate=12.0),
    "procedural": WorldConfig(photographs=False, camera=0.4, height=80, width=128, length=10),
    "driving": scenario("driving", length=8),
}


def contours(surface: Tensor) -> Tensor:
    """[N, H, W] bool: the pixels on either side of an edge between two layers."""
    s = surface.float()[:, None]
    return (F.max_pool2d(s, 3, 1, 1) != -F.max_pool2d(-s, 3, 1, 1))[:, 0]


def fetch(image: Tensor, flow: Tensor) -> Tensor:
    """image [N, C, H, W] at p + flow [N, 2, H, W], bilinearly."""
    _, _, h, w = flow.shape
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    grid = torch.stack([(x + flow[:, 0]) / w * 2 - 1, (y + flow[:, 1]) / h * 2 - 1], -1)
    return F.grid_sample(image.float(), grid, padding_mode="border", align_corners=False)


def psnr(warped: Tensor, wanted: Tensor, where: Tensor) -> Tensor:
    """Per frame, over the pixels `where` [N, H, W]; images in 0..255."""
    error = ((warped - wanted.float()) / 255).square().mean(1)
    return torch.stack([-10 * torch.log10(e[m].mean() + 1e-12) for e, m in zip(error, where, strict=True)])


def directions(clip):
    """(frames here, frames there, surface here, surface there, flow, way back, hidden) forward and backward."""
    now, then = slice(0, -1), slice(1, None)
    f, s = clip.frames, clip.surface
    yield f[now], f[then], s[now], s[then], clip.forward_flow, clip.backward_flow, clip.occluded_forward
    yield f[then], f[now], s[then], s[now], clip.backward_flow, clip.forward_flow, clip.occluded_backward


@pytest.mark.parametrize("name", MOTIONS)
def test_flow_brings_the_other_frame_back(name):
    for seed in (0, 1):
        clip = World(MOTIONS[name]).clip(seed)
        for here, there, surface, _, flow, _, hidden in directions(clip):
            where = ~hidden & ~contours(surface)
            assert where.float().mean() > 0.3
            quality = psnr(fetch(there, flow), here, where)
            assert quality.min() > 30, f"{name} {seed}: {quality.min():.1f} dB"


def test_flow_is_much_better_than_no_flow():
    clip = World(MOTIONS["fast"]).clip(0)
    here, there, surface, _, flow, _, hidden = next(directions(clip))
    where = ~hidden & ~contours(surface)
    gain = psnr(fetch(there, flow), here, where) - psnr(fetch(there, flow * 0), here, where)
    assert gain.min() > 8


def test_forward_backward_check_agrees_with_occlusion():
    union = overlap = 0
    for name in ("fast", "crowded", "lookalikes", "driving", "wobbly"):
        config = replace(MOTIONS[name], frame_rate=8.0)  # large steps, so that there is much to hide
        clip = World(config).clip(2)
        for _, _, surface, surface_there, flow, back, hidden in directions(clip):
            _, _, h, w = flow.shape
            y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            px, py = x + flow[:, 0], y + flow[:, 1]
            lost = (px < 0) | (px >= w) | (py < 0) | (py >= h)
            lost |= (flow + fetch(back, flow)).norm(dim=1) > 0.5
            band = contours(surface) | (fetch(contours(surface_there)[:, None], flow)[:, 0] > 1e-3)
            here_union = ((lost | hidden) & ~band).sum().item()
            here_overlap = (lost & hidden & ~band).sum().item()
            assert here_union > 20, name
            assert here_overlap / here_union >= 0.95, name
            union, overlap = union + here_union, overlap + here_overlap
    assert union > 10_000
    assert overlap / union > 0.99


@pytest.mark.parametrize("name", ["crowded", "wobbly", "driving"])
def test_occlusion_near_contours_equals_the_slow_way(name):
    config = replace(MOTIONS[name], frame_rate=12.0, length=6)
    world = World(config)
    clip, scenes = world.clip(3), [world.plan(3)]
    textures = Textures.upload(scenes, torch.device("cpu"))
    views = look(scenes, np.arange(config.length) / config.frame_rate)
    now, then = slice(0, -1), slice(1, None)
    surface = clip.surface[None]
    flow, hidden = correspond(
        scenes, textures, views.frames(now), views.frames(then), surface[:, now], surface[:, then], prune=False
    )
    assert torch.equal(flow[0], clip.forward_flow)
    different = (hidden[0] != clip.occluded_forward).float().mean()
    assert different < 2e-4  # gaps thinner than a pixel


def test_bending_is_undone_exactly():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1000, generator=generator, dtype=torch.float64) * 2 - 1
    waves = tuple(torch.rand(6, 1, generator=generator, dtype=torch.float64) * 3)  # far beyond any dial
    u, v = bend(x, y, waves)
    assert (u - x).abs().max() > 0.5
    back = unbend(u, v, waves)
    torch.testing.assert_close(torch.stack(back), torch.stack([x, y]), rtol=0, atol=1e-12)


# ---------------------------------------------------------------- an independent renderer: one pixel rule, no patches


def texture_point(layer, matrix: np.ndarray, time: float, x: np.ndarray, y: np.ndarray):
    """Texture coordinates and depth of image points, in float64, by the definition."""
    u, v, w = np.einsum("ij,jn->in", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
    depth = np.where(w > 1e-5, 1 / w, -1.0)
    u, v = u * depth, v * depth
    if layer.wobble is not None:
        a, k, p, b, m, q = layer.wobble(np.array([time]))[0]
        u = u + a * np.sin(k * v + p)
        v = v + b * np.sin(m * u + q)
    return u, v, depth


def look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray, border: bool) -> np.ndarray:
    """Bilinear texture values [C, n] with scipy."""
    from scipy.ndimage import map_coordinates

    _, h, w = texture.shape
    at = [(v + 1) * h / 2 - 0.5, (u + 1) * w / 2 - 0.5]
    mode = "nearest" if border else "grid-constant"
    return np.stack([map_coordinates(channel, at, order=1, mode=mode) for channel in texture.astype(np.float64)])


def layer_values(scene, layer, time, x, y):
    """RGBA [4, n] and depth [n] of one layer at image points."""
    u, v, depth = texture_point(layer, layer.motion(np.array([time]), "left")[0], time, x, y)
    border = layer is scene.layers[0]
    if len(layer.levels) == 1:
        return look_up(layer.levels[0], u, v, border), depth
    wanted = np.log2(np.clip(depth / layer.sharp_at, 1, 2 ** (len(layer.levels) - 1)))
    values = sum(
        look_up(level, u, v, border) * np.clip(1 - np.abs(wanted - i), 0, 1) for i, level in enumerate(layer.levels)
    )
    values[3] *= depth > 0.5
    return values, depth


ORACLE = {
    "crowded": scenario("crowded", length=3, frame_rate=4.0, size=0.45, leave=0.5, image_size=64),
    "occlusion": scenario("occlusion", length=9, image_size=80),
    "driving": scenario("driving", length=3, height=64, width=128, frame_rate=6.0),
}


@pytest.mark.parametrize("name", ORACLE)
def test_agrees_with_an_independent_renderer(name):
    config = ORACLE[name]
    world = World(config)
    scene, clip = world.plan(5), world.clip(5)
    h, w, margin = config.height, config.width, 3 * config.width
    ys, xs = np.mgrid[-margin : h + margin, -margin : w + margin] + 0.5  # far beyond the frame, to count whole objects
    inside = (slice(margin, margin + h), slice(margin, margin + w))
    for t in range(0, config.length, 2):
        time = t / config.frame_rate
        picture, surface = np.zeros((3, h, w)), np.zeros((h, w), int)
        whole = {}
        for index, layer in enumerate(scene.layers):
            grid = (ys, xs) if layer.object_id and not scene.projective else (ys[inside], xs[inside])
            values, _ = layer_values(scene, layer, time, grid[1].ravel(), grid[0].ravel())
            values = values.reshape(4, *grid[0].shape)
            solid = values[3] >= 0.5
            if layer.object_id:
                whole[layer.object_id] = solid
            if solid.shape != (h, w):
                values, solid = values[:, inside[0], inside[1]], solid[inside]
            if index == 0:
                picture = values[:3]
                continue
            picture = picture * (1 - values[3]) + values[:3] * values[3]
            surface[solid] = index
        ids = np.array([layer.object_id for layer in scene.layers])
        labels = ids[surface]
        error = np.abs(clip.frames[t].numpy() - picture * 255)
        assert (error > 0.55).mean() < 1e-3  # rounding to bytes
        assert error.max() < 3  # single precision near the horizon
        assert (clip.surface[t].numpy() != surface).mean() < 1e-3  # alpha 0.5 to the last bit
        assert (clip.labels[t].numpy() != labels).mean() < 1e-3
        for k, mask in whole.items():
            seen = labels == k
            inner = mask if mask.shape == (h, w) else mask[inside]
            assert (clip.amodal[t, k - 1].numpy() != inner).mean() < 1e-3
            if not scene.projective:
                assert clip.visible[t, k - 1].item() == pytest.approx(seen.sum() / max(mask.sum(), 1), abs=0.01)
                rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
                box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - margin
                assert np.abs(clip.amodal_boxes[t, k - 1].numpy() - box).max() <= 1


def test_flow_keeps_the_texture_coordinate():
    config = replace(MOTIONS["wobbly"], length=3)
    world = World(config)
    scene, clip = world.plan(1), world.clip(1)
    ys, xs = np.mgrid[: config.height, : config.width] + 0.5
    flow = clip.forward_flow[0].double().numpy()
    for index, layer in enumerate(scene.layers):
        mine = clip.surface[0].numpy() == index
        if mine.any():
            x, y = xs[mine], ys[mine]
            here = texture_point(layer, layer.motion(np.array([0.0]), "left")[0], 0.0, x, y)
            later = 1 / config.frame_rate
            matrix = layer.motion(np.array([later]), "left")[0]
            there = texture_point(layer, matrix, later, x + flow[0][mine], y + flow[1][mine])
            pixels = np.abs(np.linalg.det(matrix[:2, :2])) ** 0.5  # per unit of texture
            assert np.abs(np.array(here[:2]) - np.array(there[:2])).max() * pixels < 0.01


def test_nearer_street_layers_are_painted_later():
    config = scenario("driving", n_objects=14, height=48, width=96, length=40, frame_rate=4.0, size=0.3)
    ys, xs = np.mgrid[: config.height, : config.width] + 0.5
    for seed in range(4):
        scene = World(config).plan(seed)
        for t in range(0, config.length, 5):
            front = np.full(config.height * config.width, np.inf)
            for layer in scene.layers:
                values, depth = layer_values(scene, layer, t / config.frame_rate, xs.ravel(), ys.ravel())
                solid = values[3] >= 0.5
                assert (depth[solid] <= front[solid] + 1e-6).all()
                front[solid] = depth[solid]


# ---------------------------------------------------------------- boxes, shares, labels


@pytest.mark.parametrize("name", ["crowded", "fast", "driving"])
def test_boxes_are_tight_and_labels_follow_depth(name):
    clip = World(MOTIONS[name]).clip(4)
    order = {int(k): rank for rank, k in enumerate(clip.depth_order)}
    assert sorted(order) == clip.ids.tolist()
    for t in range(len(clip)):
        top = torch.full(clip.size, -1)
        for k in clip.ids.tolist():
            rows, columns = (clip.labels[t] == k).nonzero(as_tuple=True)
            box = clip.boxes[t, k - 1]
            if len(rows) == 0:
                assert box.isnan().all()
                assert clip.visible[t, k - 1] == 0
            else:
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            mask = clip.amodal[t, k - 1]
            top[mask] = top[mask].clamp_min(order[k])
        seen = clip.labels[t] > 0
        rank = torch.tensor([order.get(k, -1) for k in range(256)])[clip.labels[t].long()]
        assert (rank[seen] == top[seen]).all()  # what is seen is the nearest of the objects there


def test_disparity_brings_the_right_eye_to_the_left():
    for config in (scenario("driving", length=4), WorldConfig(stereo=True, n_objects=4, deformation=0.5, length=6)):
        clip = World(config).clip(6)
        assert clip.disparity.min() > -1e-4
        flow = torch.stack([-clip.disparity, torch.zeros_like(clip.disparity)], 1)
        where = ~clip.occluded_right & ~contours(clip.surface)
        assert psnr(fetch(clip.right, flow), clip.frames, where).min() > 30
        assert 0 < clip.occluded_right.float().mean() < 0.4


def test_disparity_of_a_road_is_a_plane():
    config = scenario("driving", speed=0.0, length=1)  # a car at rest looks straight ahead, 1.5 m above the ground
    clip = World(config).clip(0)
    road = clip.semantic[0] == clip.semantic_names.index("road")
    y = (torch.arange(config.height) + 0.5)[:, None].expand(road.shape)
    wanted = 0.3 * (y - 0.46 * config.height) / 1.5  # baseline / eye height x rows below the horizon
    assert road.float().mean() > 0.2
    torch.testing.assert_close(clip.disparity[0][road], wanted[road], rtol=0, atol=2e-3)


def test_what_passes_the_eye_counts_as_lost_and_stays_finite():
    clip = World(scenario("driving", length=4, frame_rate=1.0)).clip(0)
    assert clip.forward_flow.isfinite().all()
    assert clip.occluded_forward[:, -4:].float().mean() > 0.9  # the ground just before the car
