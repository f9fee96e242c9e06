"""The open scene: objects wander before a backdrop, one perhaps behind a panel, some out of the frame and back.

`compose(config, seed)` draws every random decision from one generator in a fixed order, so a clip depends on its config
and seed only. Counts and texture sizes depend on the config alone, so that scenes of one config can be drawn together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy import pi
from numpy.random import Generator

from course_lib.data.world.config import WorldConfig
from course_lib.data.world.motion import Camera, StageMotion, Wander, swing, wander, wobble
from course_lib.data.world.panel import FILL, SWAY, TILT, panel_texture, passage, strip
from course_lib.data.world.photographs import SEEN_CUTOUTS, UNSEEN_CUTOUTS, backdrop, cutout
from course_lib.data.world.scene import Layer, Scene
from course_lib.data.world.shapes import REACH, SEEN_SHAPES, UNSEEN_SHAPES, VARIANTS, shape_alpha, soften
from course_lib.data.world.textures import palette, pattern, shaded

CLASS_NAMES: tuple[str, ...] = (
    *SEEN_SHAPES, *SEEN_CUTOUTS, *UNSEEN_SHAPES, *UNSEEN_CUTOUTS, "car", "person", "cyclist",
)  # fmt: skip
CAMERA_REACH, CAMERA_ROLL, CAMERA_ZOOM = 0.1, 0.05, 0.06  # at most: shorter sides, radians, log of magnification
GROWTH = 0.1  # log of scale


@dataclass(frozen=True)
class Sprite:
    """What an object looks like: texture [4 or 7, S, S] and where in it alpha > 0."""

    texture: np.ndarray
    support: tuple[float, float, float, float]
    class_index: int


def class_pool(config: WorldConfig) -> list[str]:
    """Names of the classes that objects of this config are drawn from."""
    pools: dict[str, list[tuple[Iterable[str], Iterable[str]]]] = {
        "seen": [(SEEN_SHAPES, SEEN_CUTOUTS)],
        "unseen": [(UNSEEN_SHAPES, UNSEEN_CUTOUTS)],
    }
    pools["all"] = pools["seen"] + pools["unseen"]
    chosen = pools[config.classes]
    shapes = [name for names, _ in chosen for name in names]
    return shapes + [name for _, names in chosen for name in names if config.photographs]


def texture_side(config: WorldConfig, size: float) -> int:
    """Texels across a sprite's texture: about one a pixel."""
    return int(np.clip(np.ceil(size * config.shorter_side / REACH / 4) * 4, 16, 512))


def support(alpha: np.ndarray, reach: float = 1.0) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of alpha [h, w] > 0 in texture coordinates, and `reach` texels more.

    Under bilinear sampling a texel shows up to one texel further than it lies.
    """

    def ends(profile: np.ndarray) -> tuple[float, float]:
        filled = np.nonzero(profile > 1e-4)[0]
        n = len(profile)
        return float((filled[0] + 0.5 - reach) / n * 2 - 1), float((filled[-1] + 0.5 + reach) / n * 2 - 1)

    (left, right), (top, bottom) = ends(alpha.max(0)), ends(alpha.max(1))
    return left, top, right, bottom


def draw_sprite(rng: Generator, name: str, side: int, second_coat: bool) -> Sprite:
    """A random member of a class: shape variant, pattern and colours. A second coat is what its texture drifts into."""
    variant = int(rng.integers(VARIANTS))
    if name in SEEN_SHAPES or name in UNSEEN_SHAPES:
        alpha = shape_alpha(name, variant, side)
        colour = soften(shaded(pattern(rng, side, side, palette(rng)), alpha), 0.4)
    else:
        rgba = cutout(name, variant, side)
        colour, alpha = rgba[..., :3], rgba[..., 3]
    parts = [colour, alpha[..., None]]
    if second_coat:
        parts.append(soften(shaded(pattern(rng, side, side, palette(rng)), alpha), 0.4))
    texture = np.ascontiguousarray(np.concatenate(parts, 2).transpose(2, 0, 1))
    return Sprite(texture, support(alpha), CLASS_NAMES.index(name))


def camera_share(config: WorldConfig) -> float:
    """How much of the camera's full reach a config uses: all of it from speed 0.1 on."""
    return min(1.0, config.camera / CAMERA_REACH)


def camera_reach(config: WorldConfig) -> float:
    """Pixels that the camera may move to a side."""
    return camera_share(config) * CAMERA_REACH * config.shorter_side


def _camera(rng: Generator, config: WorldConfig) -> Camera:
    unit = config.shorter_side
    share = camera_share(config)
    position = wander(rng, np.zeros(2), np.full(2, camera_reach(config)), config.camera * unit)
    slow = position.frequency.mean() * 0.8
    return Camera(
        position,
        swing(rng, 0.0, CAMERA_ROLL * share, slow),
        swing(rng, 0.0, CAMERA_ZOOM * share, slow * 0.7),
        np.array([config.width / 2, config.height / 2]),
    )


def _backdrop(rng: Generator, config: WorldConfig, camera: Camera) -> Layer:
    """A sheet just large enough that no camera pose sees beyond it."""
    half = np.array([config.width, config.height]) / 2
    share = camera_share(config)
    half = (half + half[::-1] * np.sin(CAMERA_ROLL * share)) * np.exp(CAMERA_ZOOM * share) + camera_reach(config)
    columns, rows = np.ceil(half * 2 + 2).astype(int)
    if config.photographs and rng.random() < 0.7:
        image = backdrop(rng, rows, columns)
    else:
        image = soften(pattern(rng, rows, columns, palette(rng, vivid=0.5), quiet=True), 0.5)
    rgba = np.dstack([image, np.ones((rows, columns), np.float32)]).astype(np.float32)
    still = swing(rng, 0.0, 0.0, 0.0)
    place = Wander(np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)))
    motion = StageMotion(camera, place, still, still, np.array([columns / 2, rows / 2]), 0.0)
    return Layer((np.ascontiguousarray(rgba.transpose(2, 0, 1)),), motion)


def _start_apart(rng: Generator, taken: list[np.ndarray], draw) -> Wander:
    """The one of eight random paths that starts farthest from where others start, so a clip opens with all in view."""
    paths = [draw(rng) for _ in range(8)]
    starts = [path(np.zeros(1))[0] for path in paths]
    room = [min((np.hypot(*(start - other)) for other in taken), default=0.0) for start in starts]
    return paths[int(np.argmax(room))]


def _wander_inside(config: WorldConfig, radius: float):
    unit = config.shorter_side
    reach = np.maximum(np.array([config.width, config.height]) / 2 - 0.9 * radius, 0.12 * unit)
    return lambda rng: wander(rng, np.zeros(2), reach, config.speed * unit)


def _leave(rng: Generator, config: WorldConfig, radius: float, margin: float) -> Wander:
    """A swing across one side of the frame: wholly inside at one end, wholly outside at the other, near mid-clip.

    However slow the speed, the swing goes out and back once within the clip.
    """
    half = np.array([config.width, config.height]) / 2
    side, sign = int(rng.integers(2)), rng.choice([-1.0, 1.0])
    reach = np.array([0.0, 0.0])
    reach[side], reach[1 - side] = 1.25 * radius + margin + 2, 0.35 * half[1 - side]
    centre = np.zeros(2)
    centre[side] = sign * half[side]
    centre[1 - side] = rng.uniform(-0.3, 0.3) * half[1 - side]
    seconds = config.length / config.frame_rate
    wanted = np.sqrt(2) * config.speed * config.shorter_side / np.hypot(*reach)
    frequency = max(wanted, 2 * pi / seconds) * np.ones((2, 1))
    out_at = rng.uniform(0.35, 0.65) * seconds
    phase = np.array([[0.0], [rng.uniform(0, 2 * pi)]])
    phase = phase if side == 0 else phase[::-1].copy()
    phase[side] = sign * pi / 2 - frequency[side] * out_at  # sin = sign at out_at
    return Wander(centre, reach[:, None], frequency, phase)


def _hide(
    rng: Generator, config: WorldConfig, alpha: np.ndarray, pixels: float, radius: float
) -> tuple[Wander, Wander, float, int]:
    """Paths of the main object and of its panel, the panel's half extent along the way, and the way: 0 is x, 1 is y.

    alpha: of the object's sprite; pixels: length of a unit of texture coordinates; radius: half extent along the way.
    """
    plan = passage(config, radius, camera_reach(config))
    way = int(rng.integers(2)) if config.height == config.width else int(config.height > config.width)
    along = plan.half_extent if config.occlusion == 1 else strip(alpha, way, config.occlusion) * pixels
    unit = config.shorter_side
    sway = SWAY * unit * rng.integers(2)
    amplitude, frequency, phase = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    amplitude[way, 0], frequency[way, 0], phase[way, 0] = sway, plan.frequency * 0.37, rng.uniform(0, 2 * pi)
    still = Wander(np.zeros(2), amplitude.copy(), frequency.copy(), phase.copy())
    amplitude[way, 1], frequency[way, 1], phase[way, 1] = plan.swing, plan.frequency, rng.choice([-pi / 2, pi / 2])
    other = 1 - way
    amplitude[other, 1] = 0.08 * unit
    frequency[other, 1], phase[other, 1] = plan.frequency * 0.8, rng.uniform(0, 2 * pi)
    centre = np.zeros(2)
    centre[other] = rng.uniform(-0.12, 0.12) * unit
    return Wander(centre, amplitude, frequency, phase), still, along, way


def _sprites(rng: Generator, config: WorldConfig) -> list[Sprite]:
    """The looks of object 1, 2, …; the first `lookalikes` after object 1 are its twins."""
    pool, side = class_pool(config), texture_side(config, config.size)
    names: list[str] = []
    while len(names) < config.n_objects:
        names += [pool[i] for i in rng.permutation(len(pool))]
    sprites = [draw_sprite(rng, names[0], side, config.drift > 0)]
    sprites += [sprites[0]] * config.lookalikes
    sprites += [draw_sprite(rng, n, side, config.drift > 0) for n in names[1 : config.n_objects - config.lookalikes]]
    return sprites


def _motion(
    rng: Generator, config: WorldConfig, camera: Camera, path: Wander, size: float, tilt: float, growth: float
) -> StageMotion:
    pixels = size * config.shorter_side / 2 / REACH
    rate = max(float(path.frequency[:, 0].mean()), float(path.frequency[:, -1].mean()))
    mirror = rng.choice([-1.0, 1.0])
    return StageMotion(
        camera, path, swing(rng, 0.0, tilt, rate * 0.9), swing(rng, 0.0, growth, rate * 0.7),
        np.array([mirror * pixels, pixels]), 0.0,
    )  # fmt: skip


def _clutter(rng: Generator, config: WorldConfig, camera: Camera) -> list[Layer]:
    """Unlabelled shapes behind the objects; every third one moves."""
    layers = []
    half = np.array([config.width, config.height]) / 2
    for index in range(round(8 * config.clutter)):
        size = config.size * rng.uniform(0.55, 0.95)
        shapes = [name for name in class_pool(config) if name in SEEN_SHAPES or name in UNSEEN_SHAPES]
        sprite = draw_sprite(rng, shapes[rng.integers(len(shapes))], texture_side(config, config.size * 0.75), False)
        path = wander(rng, rng.uniform(-0.95, 0.95, 2) * half, 0.3 * half, 0.6 * config.speed * config.shorter_side)
        if index % 3:
            path = replace(path, frequency=path.frequency * 0)
        layers.append(Layer((sprite.texture,), _motion(rng, config, camera, path, size, 0.3, 0.0), sprite.support))
    return layers


def changing_light(rng: Generator, config: WorldConfig):
    """Gain of each colour channel over time: brightness swings by e^0.4 each way, tint by a third of that."""
    if config.light == 0:
        return None
    seconds = config.length / config.frame_rate
    strength = config.light * np.array([0.4, 0.14, 0.14, 0.14])[:, None]
    frequency = rng.uniform(0.6, 1.2, (4, 1)) * 2 * pi / seconds
    path = Wander(np.zeros(4), strength, frequency, rng.uniform(0, 2 * pi, (4, 1)))

    def gain(times: np.ndarray) -> np.ndarray:
        value = path(times)
        return np.exp(value[:, :1] + value[:, 1:] - 0.1 * config.light)

    return gain


def compose(config: WorldConfig, seed: int) -> Scene:
    """Decide everything about one clip. Raises `InputError` where the dials contradict each other."""
    rng = np.random.default_rng([seed, 1])
    camera = _camera(rng, config)
    reach = camera_reach(config)
    layers = [_backdrop(rng, config, camera), *_clutter(rng, config, camera)]
    sprites = _sprites(rng, config)
    hidden = config.occlusion > 0
    leavers = round(config.leave * config.n_objects)
    objects, panel, taken = [], None, []
    for index, sprite in enumerate(sprites):
        size = config.size * rng.uniform(0.85, 1.15)
        bends = wobble(rng, config.deformation) if config.deformation > 0 else None
        slack = bends.amplitude if bends else np.zeros(2)
        box = np.array(sprite.support) + np.concatenate([-slack, slack])
        half = np.abs(box).reshape(2, 2).max(0)  # [2] x, y
        pixels = size * config.shorter_side / 2 / REACH
        tilt, growth = 0.35, GROWTH
        if hidden and index == 0:
            size, tilt, growth = config.size, TILT, 0.0
            pixels = size * config.shorter_side / 2 / REACH
            radius = pixels * (max(half) * np.cos(TILT) + min(half) * np.sin(TILT))
            path, panel_path, along, way = _hide(rng, config, sprite.texture[3], pixels, radius)
            panel = (panel_path, along, way)
            taken.append(panel_path(np.zeros(1))[0])
        elif index >= config.n_objects - leavers:
            radius = pixels * np.hypot(*half) * np.exp(growth + CAMERA_ZOOM)
            path = _leave(rng, config, radius, reach)
        else:
            path = _start_apart(rng, taken, _wander_inside(config, pixels * max(half)))
        taken.append(path(np.zeros(1))[0])
        motion = _motion(rng, config, camera, path, size, tilt, growth)
        objects.append(
            Layer((sprite.texture,), motion, tuple(box), index + 1, sprite.class_index, sprite.class_index + 1, bends)
        )
    order = rng.permutation(len(objects))
    if hidden:  # object 1 in front of the others, so that only the panel decides when it is seen
        order = np.append(order[order != 0], 0)
    layers += [objects[i] for i in order]
    if panel:
        layers.append(_panel(rng, config, camera, *panel))
    light = changing_light(rng, config)
    disparities = [config.shorter_side * (0.01 + 0.08 * i / len(layers)) for i in range(len(layers))]
    layers = [_shifted(layer, disparity) for layer, disparity in zip(layers, disparities, strict=True)]
    seconds = config.length / config.frame_rate
    return Scene(tuple(layers), False, seconds, config.drift, light, ("background", *CLASS_NAMES))


def _shifted(layer: Layer, disparity: float) -> Layer:
    """The same layer as near as its disparity between the eyes, in pixels, says."""
    assert isinstance(layer.motion, StageMotion)
    return replace(layer, motion=replace(layer.motion, disparity=disparity))


def _panel(rng: Generator, config: WorldConfig, camera: Camera, path: Wander, along: float, way: int) -> Layer:
    nominal = (0.5 * config.occlusion * config.size + 0.1 * (config.occlusion == 1)) * config.shorter_side
    across = 0.75 * max(config.height, config.width)
    if rng.random() < 0.4:  # a block instead of a wall across the whole frame
        across = 0.45 * config.shorter_side
    texels = max(8, int(np.ceil(2 * nominal / FILL))), int(np.ceil(1.5 * max(config.height, config.width) / FILL))
    texture = panel_texture(rng, *texels, config.photographs)
    still, turn = swing(rng, 0.0, 0.0, 0.0), swing(rng, way * pi / 2, 0.0, 0.0)
    motion = StageMotion(camera, path, turn, still, np.array([along, across]) / FILL, 0.0)
    return Layer((texture,), motion, support(texture[3]))
