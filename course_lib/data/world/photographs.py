"""Photographs that lie inside two dependencies, as backdrops and as cut-out objects.

scikit-image and scikit-learn ship a few pictures in their wheels; nothing is downloaded and nothing is copied into this
repository. A cut-out is a polygon traced by hand, in percent of the photograph, so no segmentation software decides
what the truth is. Credits: NASA (astronaut, galaxies, moon), SpaceX (rocket), S. van der Walt (cat), R. Michetti
(coffee), L. Varshney (cameraman), Brooklyn Museum (coins), A. Preuss (horse), CC0Textures (brick, gravel), Linolafett
(grass), D. Scharstein et al. (motorcycle); under CC BY 2.0 danielbuechele (pagoda) and vultilion (dahlia), cropped.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from course_lib.data.world.shapes import REACH, soften
from course_lib.errors import MissingDataError

_SKIMAGE, _SKLEARN = ("skimage", "data"), ("sklearn", "datasets", "images")

_FILES = {
    "astronaut": (*_SKIMAGE, "astronaut.png"), "brick": (*_SKIMAGE, "brick.png"),
    "cameraman": (*_SKIMAGE, "camera.png"), "cat": (*_SKIMAGE, "chelsea.png"), "coffee": (*_SKIMAGE, "coffee.png"),
    "coins": (*_SKIMAGE, "coins.png"), "grass": (*_SKIMAGE, "grass.png"), "gravel": (*_SKIMAGE, "gravel.png"),
    "horse": (*_SKIMAGE, "horse.png"), "galaxies": (*_SKIMAGE, "hubble_deep_field.jpg"),
    "moon": (*_SKIMAGE, "moon.png"), "motorcycle": (*_SKIMAGE, "motorcycle_left.png"),
    "motorcycle_right": (*_SKIMAGE, "motorcycle_right.png"),
    "motorcycle_disparity": (*_SKIMAGE, "motorcycle_disp.npz"), "rocket": (*_SKIMAGE, "rocket.jpg"),
    "pagoda": (*_SKLEARN, "china.jpg"), "dahlia": (*_SKLEARN, "flower.jpg"),
}  # fmt: skip

# Backdrop: file, and the tint of a grey picture (None keeps its own colours).
_BACKDROPS: tuple[tuple[str, tuple[float, float, float] | None], ...] = (
    ("coffee", None), ("rocket", None), ("pagoda", None), ("dahlia", None), ("motorcycle", None), ("cat", None),
    ("astronaut", None), ("galaxies", None), ("grass", (0.62, 0.95, 0.42)), ("gravel", (1.0, 0.93, 0.82)),
    ("brick", (1.0, 0.66, 0.52)), ("moon", (0.86, 0.9, 1.0)),
)  # fmt: skip

_OUTLINES = {  # x, y in percent of width and height, along the contour
    "astronaut": (45, 3, 38, 5.5, 33, 9.5, 30.5, 15, 31, 21, 35, 25, 36, 28.5, 32, 29.5, 27, 32, 24.5, 35, 22.5, 40,
                  17, 44, 11.5, 50, 9.5, 57, 7, 66, 5.5, 77, 7, 86, 13, 92, 21, 96, 23, 99.5, 40, 99.5, 54.5, 99.5,
                  55.5, 94, 56, 84, 60, 76, 65.5, 69.5, 70, 67, 70, 62, 68.5, 56, 65.5, 50.5, 62, 47, 59.5, 45.5,
                  58, 41, 54.5, 36.5, 51, 33.5, 52, 29, 54, 25.5, 57.5, 22, 58.5, 15, 56, 9, 51, 5),
    "cameraman": (40, 12.5, 35, 14.5, 32, 19, 30, 21, 26, 24, 19, 26, 14.5, 29, 10.5, 35, 7.5, 41, 3.5, 47, 0.5, 50.5,
                  0.5, 99.5, 17, 99.5, 20, 89, 26, 96.5, 28, 99.5, 29.5, 99.5, 29, 85, 27.5, 75, 34, 66, 40, 58,
                  45, 60.5, 49, 61, 54, 58, 58.5, 53.5, 58, 50, 57.5, 44, 59, 40, 63, 38.5, 64.5, 35, 63, 32, 63, 28,
                  55, 27.3, 51.5, 28, 51.5, 26, 53, 22, 51, 18, 47, 14),
    "cat": (14, 1, 10, 8, 9, 30, 9.5, 45, 13, 60, 20, 73, 30, 86, 44, 93, 56, 95, 62, 92, 66, 84, 73, 72, 78, 60,
            79.5, 42, 79, 27, 81, 16, 85, 8, 87, 1, 70, 0.5, 40, 0.5),
    "motorcycle": (12.5, 40, 18.5, 39.5, 19, 32.5, 24, 34, 31, 33.5, 35, 38, 40, 39, 47, 37.5, 50, 38, 54, 34, 58, 31,
                   63, 33, 64.5, 30, 63, 25.5, 66, 24, 68.5, 25, 68, 19, 66, 16.5, 69, 16, 72, 20.5, 73, 24, 76.5, 23.3,
                   78.5, 26, 77.5, 29, 75.5, 30.5, 75, 35.5, 74.5, 40, 76, 47, 77.5, 53, 83, 54, 86.5, 58, 89, 63,
                   91.5, 72, 92, 82, 89, 88, 85, 90, 80, 89, 75, 85, 71, 77, 69.5, 68, 68.5, 60, 66, 54, 65, 62,
                   64.5, 70, 60, 75, 50, 75.5, 46, 73.5, 46, 86, 44, 86, 44, 75, 41, 74, 38, 75, 36.5, 78, 31, 80,
                   25, 78.5, 19.5, 72, 16.7, 64, 16.7, 55, 19, 49, 14.5, 48, 15, 45.5, 12.5, 44),
    "pagoda": (32, 7, 30.5, 10, 31, 13, 29.5, 16, 25, 21, 18, 25.5, 15, 28, 16, 31, 19, 32, 19, 38, 13, 41, 14, 45,
               16.3, 46, 16, 56, 10, 63, 12, 66, 12.5, 77, 11.5, 80, 25, 82, 32, 86, 33, 90, 46, 92, 48, 87, 54, 84,
               57.5, 78.5, 54, 76, 53, 66, 55, 61, 50, 57, 50, 46, 51.5, 41, 46, 37, 46, 32, 50, 30, 47, 26, 40, 22,
               36, 17, 33.5, 13, 34, 10),
}  # fmt: skip
_COINS = (  # centre x, y and radius, in percent of the width (radius and x) and height (y)
    (87.3, 14.4, 7.4), (70.5, 39.5, 6.3), (90.5, 61.9, 8.2), (45.0, 86.5, 7.2),
)  # fmt: skip
_METALS = ((1.0, 0.86, 0.5), (0.9, 0.93, 1.0), (1.0, 0.72, 0.52), (1.0, 0.92, 0.72))
SEEN_CUTOUTS = ("astronaut", "cat", "coffee", "coin", "dahlia", "motorcycle")
UNSEEN_CUTOUTS = ("cameraman", "horse", "pagoda")
_MASTER = 256  # side of the square in which a cut-out is kept


def photograph_path(name: str) -> Path:
    """Where a photograph lies. Raises `MissingDataError` if the package was installed without its pictures."""
    package, *rest = _FILES[name]
    found = find_spec(package)  # finds the folder without importing the package
    path = Path(found.origin).parent.joinpath(*rest) if found and found.origin else Path(*_FILES[name])
    if not path.is_file():
        raise MissingDataError(
            f"the photograph {path.name} of {package} is not at {path}; reinstall {package}, "
            "or draw a world without photographs: WorldConfig(photographs=False)"
        )
    return path


@lru_cache(maxsize=4)
def photograph(name: str) -> np.ndarray:
    """A photograph [height, width, 3] float32 in [0, 1]; grey ones have three equal channels. Read-only."""
    with Image.open(photograph_path(name)) as image:
        rgb = np.asarray(image.convert("RGB"), np.float32) / 255
    rgb.setflags(write=False)
    return rgb


@lru_cache(maxsize=48)
def _backdrop_source(index: int, shorter: int) -> np.ndarray:
    """A backdrop shrunk so that its shorter side has `shorter` pixels, tinted; kept, since reading a file is slow."""
    name, tint = _BACKDROPS[index]
    image = photograph(name)
    if name == "rocket":
        image = np.clip(image * 1.5 + 0.03, 0, 1)  # a night picture
    if tint is not None:
        image = np.clip((0.18 + 0.72 * image) * np.array(tint, np.float32), 0, 1)
    scale = shorter / min(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return soften(np.clip(image, 0, 1), 0.7)


def backdrop(rng: Generator, height: int, width: int) -> np.ndarray:
    """A random photographic backdrop [height, width, 3] float32: one of twelve pictures, cropped, perhaps mirrored."""
    index = int(rng.integers(len(_BACKDROPS)))
    zoom = (1.0, 1.2, 1.45)[rng.integers(3)]
    source = _backdrop_source(index, round(max(height, width) * zoom))
    top, left = rng.integers(source.shape[0] - height + 1), rng.integers(source.shape[1] - width + 1)
    image = source[top : top + height, left : left + width]
    return image[:, ::-1] if rng.integers(2) else image


def _cut(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA [256, 256, 4]: the box of alpha > 0, centred, its larger side scaled to the sprite's reach."""
    rows, columns = np.nonzero(alpha.max(1) > 0.5)[0], np.nonzero(alpha.max(0) > 0.5)[0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = max(bottom - top, right - left) / (_MASTER * REACH)
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    to_photograph = np.array([[scale, 0, centre[0] - scale * _MASTER / 2], [0, scale, centre[1] - scale * _MASTER / 2]])
    if scale > 1:  # shrinking: soften first, or texels would be skipped
        image, alpha = cv2.GaussianBlur(image, (0, 0), scale / 2), cv2.GaussianBlur(alpha, (0, 0), scale / 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    colour = cv2.warpAffine(image, to_photograph, (_MASTER, _MASTER), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(alpha, to_photograph, (_MASTER, _MASTER), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return np.dstack([colour, cover])


def _fill(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Coverage [h, w] of a closed polygon [n, 2] in pixels, sampled four times finer and averaged."""
    fine = np.zeros((shape[0] * 4, shape[1] * 4), np.uint8)
    cv2.fillPoly(fine, [np.round(outline * 4).astype(np.int32)], 255)
    return fine.reshape(shape[0], 4, shape[1], 4).mean((1, 3), dtype=np.float32) / 255


def _master(name: str, variant: int) -> np.ndarray:
    if name == "coin":
        image = photograph("coins")
        height, width = image.shape[:2]
        x, y, radius = _COINS[variant]
        ys, xs = np.mgrid[:height, :width] + 0.5
        alpha = np.clip(0.5 + radius * width / 100 - np.hypot(xs - x * width / 100, ys - y * height / 100), 0, 1)
        return _cut(np.clip(image * 1.15 * np.array(_METALS[variant], np.float32), 0, 1), alpha.astype(np.float32))
    if name == "horse":
        image = photograph("horse")  # a black silhouette on white: the coat is painted
        alpha = 1 - image[..., 0]
        coat = np.array(((0.55, 0.33, 0.18), (0.83, 0.78, 0.7), (0.3, 0.24, 0.22), (0.72, 0.52, 0.3))[variant])
        ramp = np.linspace(1.2, 0.75, image.shape[0])[:, None, None]
        return _cut((ramp * coat * np.ones_like(image)).astype(np.float32), alpha)
    image = photograph(name)
    height, width = image.shape[:2]
    if name in _OUTLINES:
        outline = np.array(_OUTLINES[name], float).reshape(-1, 2)
        alpha = _fill(outline * (width / 100, height / 100), (height, width))
    else:
        ys, xs = np.mgrid[:height, :width] + 0.5
        x, y = xs * 100 / width, ys * 100 / height
        inside = np.hypot((x - 48) / 20.6, (y - 52) / 31) < 1  # the dahlia
        if name == "coffee":
            saucer = np.hypot((x - 46.5) / 33, (y - 55.5) / 40.5) < 1
            inside = saucer | (np.hypot((x - 48.5) / 19.4, (y - 28) / 23.3) < 1)
        alpha = inside.astype(np.float32)
    if variant % 2:
        image, alpha = image[:, ::-1], alpha[:, ::-1]
    return _cut(np.ascontiguousarray(image), np.ascontiguousarray(alpha))


@lru_cache(maxsize=256)
def cutout(name: str, variant: int, size: int) -> np.ndarray:
    """RGBA [size, size, 4] float32 of a cut-out object, reaching from -0.8 to 0.8 of its square. Read-only."""
    image = _master(name, variant)
    if size != _MASTER:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < _MASTER else cv2.INTER_LINEAR)
    return soften(image, 0.5)
