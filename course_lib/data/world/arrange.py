"""One still picture of the world with its objects where one wants them: apart, or some share of one under the others.

`stage.compose` lets objects wander; here sizes are given, places are tried until the boxes fit, and the rendered truth
has the last word. Smaller objects are in front. Unusual: a trial costs a few rectangles, only promising ones are drawn.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.random import Generator
from torch import Tensor

from course_lib.data.scene_batch import areas, overlap_with_first
from course_lib.data.world.config import WorldConfig
from course_lib.data.world.motion import similarity
from course_lib.data.world.render import box_around, paint
from course_lib.data.world.scene import Layer, Scene, Textures, look
from course_lib.data.world.stage import Sprite, class_pool, compose, draw_sprite, texture_side
from course_lib.errors import InputError

ATTEMPTS = 120  # arrangements of a scene before it counts as impossible
PATIENCE = 40  # of them that insist on a place for every object
REDRAW = 10  # of them with the same sprites
PLACES = 256  # places tried for each object of an arrangement
TILT = 0.35  # radians that an object may lean to a side


@dataclass(frozen=True)
class Arrangement:
    """What is to be seen. Sizes are square roots of box areas in pixels."""

    kinds: tuple[int, ...]  # classes as indices into `stage.class_pool`, the largest object first
    size: float  # of the largest object
    smaller: tuple[float, float]  # range of the sizes of the others, over that of the largest
    needed: int  # how many objects there must be; further ones are left out where no place for them is found
    overlap: tuple[float, float]  # range of the share of the largest box that lies under others
    apart: bool  # whether no two boxes may overlap
    visible: float  # least share of the pixels of each object that is seen


@dataclass(frozen=True)
class Still:
    """A picture and its K objects, the one with the largest box first."""

    image: UInt8[Tensor, "3 h w"]
    boxes: Float[Tensor, "k 4"]  # around the pixels that are seen
    kinds: tuple[int, ...]


@dataclass(frozen=True)
class _Placed:
    """A motion that stands still."""

    matrix: np.ndarray  # [3, 3] sprite coordinates to image pixels

    def __call__(self, times: np.ndarray, eye: str) -> np.ndarray:
        return np.repeat(self.matrix[None], len(times), 0)


def arrange(rng: Generator, config: WorldConfig, wanted: Arrangement) -> Still:
    """Draw one scene as wanted, before a backdrop (and clutter) of the world of `config`.

    Raises `InputError` if none of ATTEMPTS arrangements comes out as wanted.
    """
    stage = compose(config, int(rng.integers(2**63)))
    behind = tuple(layer for layer in stage.layers if not layer.object_id)
    for attempt in range(ATTEMPTS):
        if attempt % REDRAW == 0:
            cast = _cast(rng, config, wanted)
        objects = _place(rng, config, wanted, cast)
        if len(objects) >= (len(cast) if attempt < PATIENCE else wanted.needed):
            scene = Scene((*behind, *objects), False, stage.seconds)
            still = _look_at(scene, config, wanted, len(objects))
            if still is not None:
                return still
    raise InputError(
        f"no scene was found in {ATTEMPTS} attempts with a largest object of {wanted.size:.0f} pixels of which "
        f"{wanted.overlap} lies under others, and {wanted.visible} of each object is seen; widen overlap_range, lower "
        "visible, or make the objects smaller"
    )


def _cast(rng: Generator, config: WorldConfig, wanted: Arrangement) -> list[tuple[Sprite, float]]:
    """Sprites and their sizes, the largest first."""
    low, high = wanted.smaller
    smaller = wanted.size * rng.uniform(low, high, len(wanted.kinds) - 1)
    if wanted.overlap[0] > 0:  # one of them covers enough by itself
        smaller[0] = wanted.size * rng.uniform(max(low, min(1.05 * wanted.overlap[0] ** 0.5, high)), high)
    sizes = [wanted.size, *sorted(smaller, reverse=True)]
    names = [class_pool(config)[kind] for kind in wanted.kinds]
    sides = [texture_side(config, size / config.shorter_side) for size in sizes]
    return [(draw_sprite(rng, name, side, False), size) for name, side, size in zip(names, sides, sizes, strict=True)]


def _place(rng: Generator, config: WorldConfig, wanted: Arrangement, cast: list[tuple[Sprite, float]]) -> list[Layer]:
    """Layers of the objects, from back to front; fewer than cast where there is no place for more."""
    frame = np.array([config.width, config.height], float)
    layers: list[Layer] = []
    boxes = np.zeros((0, 4))
    for (sprite, size), kind in zip(cast, wanted.kinds, strict=True):
        turn = similarity(np.zeros((1, 2)), rng.uniform(-TILT, TILT, 1), np.array([[rng.choice([-1.0, 1.0]), 1.0]]))[0]
        outline = _outline(sprite) @ turn[:2, :2].T  # [P, 2]
        low, high = outline.min(0), outline.max(0)
        scale = min(size / np.sqrt(np.prod(high - low)), ((frame - 2) / (high - low)).min())
        corner = rng.uniform(0, 1, (PLACES, 2)) * (frame - scale * (high - low))
        tried = np.concatenate([corner, corner + scale * (high - low)], 1)  # [P, 4]
        good = _suits(tried, boxes, wanted)
        if not good.any():
            continue
        best = int(good.argmax())
        matrix = turn.copy()
        matrix[:2] *= scale
        matrix[:2, 2] = corner[best] - scale * low
        layers.append(Layer((sprite.texture,), _Placed(matrix), sprite.support, len(layers) + 1, kind))
        boxes = np.concatenate([boxes, tried[best : best + 1]])
    return layers


def _suits(tried: np.ndarray, boxes: np.ndarray, wanted: Arrangement) -> np.ndarray:
    """Which of P boxes [P, 4] may join the K boxes [K, 4] that are there, the largest of them first."""
    if not len(boxes):
        return np.ones(len(tried), bool)
    joined = np.concatenate([np.repeat(boxes[None], len(tried), 0), tried[:, None]], 1)
    if wanted.apart:
        apart = (tried[:, None, :2] >= boxes[None, :, 2:]) | (tried[:, None, 2:] <= boxes[None, :, :2])  # [P, K, 2]
        return np.all(np.any(apart, axis=2), axis=1)
    share = overlap_with_first(torch.from_numpy(joined)).numpy()
    return (wanted.overlap[0] <= share) & (share <= wanted.overlap[1])


def _outline(sprite: Sprite) -> np.ndarray:
    """Corners [P, 2] of the convex hull of where a sprite is opaque, in sprite coordinates."""
    solid = (sprite.texture[3] >= 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0]
    return (hull + 0.5) / solid.shape[0] * 2 - 1


@torch.no_grad()
def _look_at(scene: Scene, config: WorldConfig, wanted: Arrangement, objects: int) -> Still | None:
    """Render a scene; None if what is seen is not what was wanted."""
    scenes, now = [scene], np.zeros(1)
    painting = paint(scenes, Textures.upload(scenes, torch.device("cpu")), look(scenes, now),
                     (config.height, config.width), objects)  # fmt: skip
    first = len(scene.layers) - objects
    masks = painting.surface[0, 0] == torch.arange(first, len(scene.layers))[:, None, None]  # [K, H, W]
    visible = masks.sum((1, 2)) / painting.area[0, 0]
    if not bool((visible >= wanted.visible).all()):
        return None
    boxes = box_around(masks)
    size = areas(boxes)
    share = float(overlap_with_first(boxes[None]))
    largest = objects == 1 or bool(size[0] > size[1:].max())
    if not largest or not wanted.overlap[0] <= share <= wanted.overlap[1]:
        return None
    order = size.argsort(descending=True, stable=True)
    kinds = tuple(scene.layers[first + k].class_index for k in order.tolist())
    image = (painting.frames[0, 0] * 255).round().clamp(0, 255).to(torch.uint8)
    return Still(image, boxes[order], kinds)
