"""Colours of objects: a palette that stays apart under the three common colour-vision deficiencies.

The first seven ids take the colours of Okabe and Ito (2008); every later id takes the displayable colour whose nearest
earlier colour is farthest, in the worst of normal, protanopic and deuteranopic vision. Distances are Euclidean in
Oklab (Ottosson, 2020), dichromacy is simulated after Machado, Oliveira and Fernandes (2009). Unusual: the palette is
computed, not tabled; and it is not the Pascal VOC palette, whose first two colours are a dark red and a dark green.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

IGNORE_GREY = (128, 128, 128)  # colour of label 255

OKABE_ITO = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)

# Named roles, so that truth is never blue in one figure and orange in the next.
TRUTH = "#009E73"
PREDICTION = "#D55E00"
BASELINE = "#56B4E9"
MEMORY = "#0072B2"
HIGHLIGHT = "#E69F00"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6000", "#5B5B5B")

_PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
_TRITANOPIA = np.array(
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
)
VISIONS = {"normal": np.eye(3), "protanopia": _PROTANOPIA, "deuteranopia": _DEUTERANOPIA, "tritanopia": _TRITANOPIA}


def linear(colours: UInt8[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """sRGB bytes to linear light in [0, 1]."""
    value = np.asarray(colours, dtype=np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(light: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Linear RGB in [0, 1] to Oklab, where Euclidean distance is close to seen difference (white to black is 1)."""
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(light @ to_cones.T) @ to_lab.T


def seen(colours: UInt8[np.ndarray, "n 3"], vision: str = "normal") -> Float[np.ndarray, "n 3"]:
    """Oklab coordinates of sRGB colours as seen with `vision`, one of `VISIONS`."""
    return oklab(np.clip(linear(colours) @ VISIONS[vision].T, 0, 1))


@lru_cache(maxsize=1)
def _computed() -> UInt8[np.ndarray, "256 3"]:
    steps = np.linspace(0, 255, 16).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)  # [4096, 3]
    lightness = seen(candidates)[:, 0]
    candidates = candidates[(lightness > 0.35) & (lightness < 0.93)]  # black and white belong to the contours

    visions = ("normal", "protanopia", "deuteranopia")
    coordinates = [seen(candidates, vision) for vision in visions]
    nearest = np.full(len(candidates), np.inf)  # distance to the nearest colour already taken, in the worst vision

    def take(colour: tuple[int, int, int]) -> None:
        for vision, points in zip(visions, coordinates):
            distance = np.linalg.norm(points - seen(np.array([colour], dtype=np.uint8), vision), axis=1)
            np.minimum(nearest, distance, out=nearest)

    for colour in (IGNORE_GREY, (0, 0, 0), (255, 255, 255), *OKABE_ITO):
        take(colour)
    table = [(0, 0, 0), *OKABE_ITO]
    while len(table) < 255:
        red, green, blue = (int(c) for c in candidates[nearest.argmax()])
        colour = (red, green, blue)
        table.append(colour)
        take(colour)
    return np.array([*table, IGNORE_GREY], dtype=np.uint8)


def object_palette() -> UInt8[np.ndarray, "256 3"]:
    """sRGB colour of every label: 0 black, 1 … 254 objects, 255 (ignore) grey. A fresh copy; computed once."""
    return _computed().copy()


def object_colour(label: int) -> str:
    """Hex colour of one label, for plots that match the overlays."""
    return "#{:02X}{:02X}{:02X}".format(*(int(c) for c in _computed()[label]))
