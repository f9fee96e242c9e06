"""A drive through a street: planes in a three-dimensional world seen by a moving pinhole camera.

A point O + aU + bV of a plane lies in the image at K R (O + aU + bV - C), so each layer moves by one 3x3 matrix, whose
last row gives depth: flow and disparity are exact for every surface. Things keep to lanes along the street, disjoint
across it, and what stands nearer to the camera's lane can never be hidden by what stands farther to the side; painting
the lanes from outside in is therefore right at every moment. x points right, y down, z along the street, in metres.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy import pi
from numpy.random import Generator

from course_lib.data.world import street_planes as planes
from course_lib.data.world import street_sprites as sprites
from course_lib.data.world.config import WorldConfig
from course_lib.data.world.scene import Layer, Scene
from course_lib.data.world.stage import CLASS_NAMES, changing_light, support
from course_lib.errors import InputError

STREET_CLASSES = (
    "sky", "building", "vegetation", "terrain", "road", "sidewalk", "fence", "pole", "traffic sign", "person", "car",
    "cyclist",
)  # fmt: skip
METRES_PER_SECOND = 8.0  # of the camera at speed 1
EYE_HEIGHT, EYE_LANE, BASELINE = 1.5, 1.3, 0.3
ROAD, PAVEMENT, WALL, FENCE = 5.0, 8.0, 9.8, 9.3  # distance of their outer edge or plane from the middle of the road
WALL_HEIGHT, FENCE_HEIGHT = 12.0, 1.0
HORIZON = 0.46  # of the image height
VIEW = 75.0  # metres seen ahead
LONGEST = 400.0  # metres of drive
SPRITE_SHARP, GROUND_SHARP = 6.0, 6.0  # depth at which level 0 has a texel per pixel
SPRITE_LEVELS = 3
SHEET = sprites.Footprint(3.0, 6.0)  # metres that the texture of every upright sheet covers


@dataclass(frozen=True)
class StreetCamera:
    """A pinhole camera that drives ahead, weaves within its lane and nods a little."""

    focal: float  # pixels
    centre: np.ndarray  # [2] pixels
    speed: float  # metres per second
    phase: np.ndarray  # [3] of weave, yaw and nod

    def place(self, times: np.ndarray) -> np.ndarray:
        """Position [T, 3]."""
        x = EYE_LANE + 0.2 * np.sin(0.9 * times + self.phase[0]) * (self.speed > 0)
        return np.stack([x, np.full_like(times, -EYE_HEIGHT), self.speed * times], 1)

    def rays(self, times: np.ndarray) -> np.ndarray:
        """K R, [T, 3, 3]: from directions in the world to homogeneous pixels."""
        moving = float(self.speed > 0)
        yaw, nod = (
            size * moving * np.sin(rate * times + phase)
            for size, rate, phase in ((0.015, 0.9, self.phase[1]), (0.004, 5.0, self.phase[2]))
        )
        one, nought = np.ones_like(times), np.zeros_like(times)
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, nought, sin], [nought, one, nought], [-sin, nought, cos]])
        cos, sin = np.cos(nod), np.sin(nod)
        tip = np.array([[one, nought, nought], [nought, cos, -sin], [nought, sin, cos]])
        k = np.array([[self.focal, 0, self.centre[0]], [0, self.focal, self.centre[1]], [0, 0, 1]])
        return k @ tip.transpose(2, 0, 1) @ turn.transpose(2, 0, 1)


@dataclass(frozen=True)
class PlaneMotion:
    """A plane O + aU + bV that moves along the street; `far` planes move with the camera, as the sky does."""

    camera: StreetCamera
    origin: np.ndarray  # [3] metres at time 0
    across: np.ndarray  # [3] U
    down: np.ndarray  # [3] V
    speed: float = 0.0  # along z
    far: bool = False

    def __call__(self, times: np.ndarray, eye: str) -> np.ndarray:
        """Sprite coordinates to homogeneous pixels, [T, 3, 3]."""
        rays = self.camera.rays(times)
        origin = self.origin + np.array([0, 0, self.speed]) * times[:, None]
        origin = origin if self.far else origin - self.camera.place(times)
        across, down = (np.broadcast_to(axis, origin.shape) for axis in (self.across, self.down))
        out = rays @ np.stack([across, down, origin], 2)
        if eye == "right":
            out[:, 0, 2] -= self.camera.focal * BASELINE
        return out


@dataclass(frozen=True)
class Lane:
    """A strip along the street where things of one class follow each other at one speed."""

    x: float
    kind: str
    speed: float  # metres per second
    gap: float  # metres between neighbours
    share: float  # how often it is chosen


def _lanes(drive: float) -> list[Lane]:
    return [
        Lane(EYE_LANE, "car", drive * 1.04, 7.0, 0.18),
        Lane(-1.7, "car", -0.7 * drive, 8.0, 0.2),
        Lane(4.0, "parked", 0.0, 6.5, 0.14),
        Lane(-4.2, "parked", 0.0, 6.5, 0.1),
        Lane(2.75, "cyclist", 0.35 * drive, 3.0, 0.1),
        Lane(-2.95, "cyclist", -0.35 * drive, 3.0, 0.06),
        Lane(5.85, "person", 0.15 * drive, 1.4, 0.06),
        Lane(6.5, "person", -0.14 * drive, 1.4, 0.07),
        Lane(-5.95, "person", 0.13 * drive, 1.4, 0.05),
        Lane(-6.6, "person", -0.15 * drive, 1.4, 0.04),
    ]


def _whole(made: tuple[np.ndarray, ...]) -> tuple[float, float, float, float]:
    """Support of a texture filled to its edges: bilinearly, it fades out over half a texel of its coarsest level."""
    _, rows, columns = made[-1].shape
    return -1 - 1 / columns, -1 - 1 / rows, 1 + 1 / columns, 1 + 1 / rows


@dataclass(frozen=True)
class Standing:
    """An upright sheet, whatever it shows, in a texture of common size: levels, and where in them alpha > 0."""

    levels: tuple[np.ndarray, ...]
    support: tuple[float, float, float, float]
    half: tuple[float, float]  # metres


def _framed(texture: np.ndarray, detail: float) -> Standing:
    """Put a sprite at the foot of the common sheet. As all sheets are of one size, scenes can be drawn together."""
    multiple = 2 ** (SPRITE_LEVELS - 1)
    rows, columns = (int(np.ceil(length * detail / multiple)) * multiple for length in (SHEET.height, SHEET.width))
    above, left = rows - texture.shape[1], (columns - texture.shape[2]) // 2
    pad = ((0, 0), (above, 0), (left, columns - texture.shape[2] - left))
    framed = np.concatenate([np.pad(texture[:3], pad, mode="edge"), np.pad(texture[3:], pad)])
    made = planes.levels(framed, (2, 2), SPRITE_LEVELS)
    return Standing(made, support(framed[3], reach=2.0 * multiple), (columns / detail / 2, rows / detail / 2))


def _stand(sheet: Standing, camera: StreetCamera, x: float, z: float, meaning: str, speed: float = 0.0) -> Layer:
    """A sheet facing the camera, its foot on the ground at (x, z)."""
    half_width, half_height = sheet.half
    motion = PlaneMotion(
        camera, np.array([x, -half_height, z]), np.array([half_width, 0, 0]), np.array([0, half_height, 0]), speed
    )
    return Layer(sheet.levels, motion, sheet.support, semantic=STREET_CLASSES.index(meaning), sharp_at=SPRITE_SHARP)


def _sheets(rng: Generator, config: WorldConfig, camera: StreetCamera, length: float) -> list[Layer]:
    """Sky, hills, meadow, house fronts, fences, pavements and road, in painting order. `length`: metres of street."""
    focal = camera.focal
    start = 1.0
    middle = start + length / 2

    def plane(texture: np.ndarray, shrink: tuple[int, int], motion: PlaneMotion, meaning: str, sharp: float) -> Layer:
        made = planes.levels(texture, shrink, planes.LEVELS)
        return Layer(made, motion, _whole(made), semantic=STREET_CLASSES.index(meaning), sharp_at=sharp)

    def flat(origin: list[float], across: list[float], down: list[float], far: bool = False) -> PlaneMotion:
        return PlaneMotion(camera, np.array(origin), np.array(across), np.array(down), far=far)

    def centres(low: float, high: float, texel: float, multiple: int) -> np.ndarray:
        n = planes.grid(high - low, texel, multiple)
        return low + (np.arange(n) + 0.5) * (high - low) / n

    fine, coarse = 2 ** (planes.LEVELS - 1), 4 ** (planes.LEVELS - 1)

    def ground(left: float, right: float, paint, meaning: str, detail: float = 1.0) -> Layer:
        x = centres(left, right, GROUND_SHARP / focal * detail, fine)
        z = centres(start, start + length, GROUND_SHARP**2 / (focal * EYE_HEIGHT), coarse)
        motion = flat([(left + right) / 2, 0, middle], [(right - left) / 2, 0, 0], [0, 0, length / 2])
        return plane(paint(x, z), (4, 2), motion, meaning, GROUND_SHARP)

    def side(x: float, high: float, paint, meaning: str) -> Layer:
        sharp = max(6.0, abs(x - EYE_LANE) * focal / camera.centre[0])  # nearer, the plane is out of view
        y = centres(0, high, sharp / focal, fine)[::-1]
        z = centres(start, start + length, sharp**2 / (focal * abs(x - EYE_LANE)), coarse)
        motion = flat([x, -high / 2, middle], [0, 0, length / 2], [0, high / 2, 0])
        return plane(paint(y, z), (2, 4), motion, meaning, sharp)

    wide, tall = 1.3 * config.width / focal / 2, 2.4 * config.height / focal / 2
    heaven = flat([0, 0, 1000.0], [1000 * wide, 0, 0], [0, 1000 * tall, 0], far=True)
    texels = max(16, config.height), max(16, config.width)
    end = flat([0, -4.5, start + length + 5], [60.0, 0, 0], [0, 4.5, 0])
    end_texels = max(8, round(9 * focal / VIEW) * 2), max(8, round(120 * focal / VIEW))
    heights, far = planes.sky(rng, *texels), planes.hills(rng, *end_texels)
    return [
        Layer((heights,), heaven, semantic=STREET_CLASSES.index("sky")),
        Layer((far,), end, _whole((far,)), semantic=STREET_CLASSES.index("vegetation")),
        ground(-40, 40, lambda x, z: planes.meadow(rng, x, z), "terrain", detail=4.0),
        side(-WALL, WALL_HEIGHT, lambda y, z: planes.house_fronts(rng, y, z), "building"),
        side(WALL, WALL_HEIGHT, lambda y, z: planes.house_fronts(rng, y, z), "building"),
        side(-FENCE, FENCE_HEIGHT * 1.1, lambda y, z: planes.fence(rng, y, z, FENCE_HEIGHT), "fence"),
        side(FENCE, FENCE_HEIGHT * 1.1, lambda y, z: planes.fence(rng, y, z, FENCE_HEIGHT), "fence"),
        ground(-PAVEMENT, -ROAD, lambda x, z: planes.pavement(rng, x, z), "sidewalk"),
        ground(ROAD, PAVEMENT, lambda x, z: planes.pavement(rng, x, z), "sidewalk"),
        ground(-ROAD, ROAD, lambda x, z: planes.road(rng, x, z, ROAD), "road"),
    ]


@lru_cache(maxsize=128)
def _still_life(kind: str, variant: int, detail: float) -> Standing:
    """One of the eight trees, lamps, posts or plates there are; kept, because painting one takes milliseconds."""
    own = np.random.default_rng(variant)
    if kind == "lamp":
        return _framed(sprites.lamp(own, detail, arm=variant % 2 * 2 - 1), detail)
    paint = {"tree": sprites.tree, "post": sprites.sign_post, "plate": sprites.sign_plate}[kind]
    return _framed(paint(own, detail), detail)


def _furniture(rng: Generator, camera: StreetCamera, travel: float, detail: float) -> list[Layer]:
    """Trees, lamps and signs beside the street; what the camera passes is replaced by what comes into view."""
    out = []

    def put(kind: str, variant: int, x: float, z: float, meaning: str) -> None:
        out.append(_stand(_still_life(kind, variant, detail), camera, x, z, meaning))

    for side in (-1, 1):
        inner = 5.25 if side > 0 else -5.4  # beside the kerb
        for index in range(3 + round(travel / 9)):
            z = 9 + index * 9 + rng.uniform(-2.5, 2.5)
            put("tree", int(rng.integers(8)), side * 8.2 - 0.1, z, "vegetation")
        for index in range(2 + round(travel / 16)):
            z = 12 + index * 16 + 8 * (side < 0) + rng.uniform(-2, 2)
            put("lamp", int(rng.integers(4)) * 2 + (side < 0), inner, z, "pole")
        z, plate = rng.uniform(10, 22), int(rng.integers(8))
        put("post", plate, inner, z, "pole")
        put("plate", plate, inner, z - 0.05, "traffic sign")
    return out


def _traffic(rng: Generator, config: WorldConfig, camera: StreetCamera, travel: float, detail: float) -> list[Layer]:
    """The labelled objects 1..n, each in a lane; twins of object 1, which is a car, are cars of the same look."""
    typical = camera.focal * 1.5 / (config.size * config.shorter_side)  # metres at which a car has the wanted size
    lanes = _lanes(camera.speed)
    taken: dict[int, list[float]] = {}
    looks = int(rng.integers(2**31))  # twins are painted from the same numbers
    cars = [i for i, lane in enumerate(lanes) if lane.kind == "car" or lane.kind == "parked"]
    out = []
    for index in range(config.n_objects):
        odds = np.array([lane.share for lane in lanes])
        twin = index <= config.lookalikes
        if twin:
            odds = np.where(np.isin(np.arange(len(lanes)), cars), odds, 0)
        if index == 0:
            odds = odds * [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]  # seen from behind, and in view from the start
        which = int(rng.choice(len(lanes), p=odds / odds.sum()))
        lane = lanes[which]
        closing = camera.speed - lane.speed
        first = abs(lane.x - EYE_LANE) * camera.focal / camera.centre[0] * 1.15 + 1.5  # nearest depth that is in view
        first = max(first + 0.6 * max(closing, 0) * config.length / config.frame_rate, 4.5)
        z = max(first, typical * rng.uniform(0.75, 1.7))
        while any(abs(z - other) < lane.gap for other in taken.get(which, [])):
            z += 0.5 * lane.gap
        taken.setdefault(which, []).append(z)
        own = np.random.default_rng([looks, 0 if twin else index])
        if lane.kind in ("car", "parked"):
            texture, name = sprites.car(own, detail, front=lane.x < 0), "car"
        elif lane.kind == "person":
            texture, name = sprites.person(own, detail), "person"
        else:
            texture, name = sprites.cyclist(own, detail), "cyclist"
        layer = _stand(_framed(texture, detail), camera, lane.x, z, name, lane.speed)
        out.append(replace(layer, object_id=index + 1, class_index=CLASS_NAMES.index(name)))
    return out


def check_street(config: WorldConfig) -> None:
    """Raise `InputError` if a drive is longer than a street can be."""
    travel = config.speed * METRES_PER_SECOND * config.length / config.frame_rate
    if travel > LONGEST:
        raise InputError(
            f"a drive of {travel:.0f} m; a street is at most {LONGEST:.0f} m long. Take fewer frames or a lower speed"
        )


def compose_street(config: WorldConfig, seed: int) -> Scene:
    """Decide everything about one drive."""
    rng = np.random.default_rng([seed, 3])
    seconds = config.length / config.frame_rate
    drive = config.speed * METRES_PER_SECOND
    focal = 0.9 * np.sqrt(config.height * config.width)
    camera = StreetCamera(
        focal, np.array([config.width / 2, HORIZON * config.height]), drive, rng.uniform(0, 2 * pi, 3)
    )
    travel = drive * seconds
    detail = focal / SPRITE_SHARP
    sheets = _sheets(rng, config, camera, VIEW + travel)
    beside = _furniture(rng, camera, travel, detail) + _traffic(rng, config, camera, travel, detail)

    def outside_in(layer: Layer) -> tuple[float, float]:
        assert isinstance(layer.motion, PlaneMotion)
        x, _, z = layer.motion.origin
        return -round(abs(x - EYE_LANE), 3), -z

    light = changing_light(rng, config)
    return Scene((*sheets, *sorted(beside, key=outside_in)), True, seconds, 0.0, light, STREET_CLASSES)
