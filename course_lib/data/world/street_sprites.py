"""Cars, people, cyclists, trees, lamps and signs, painted from simple shapes at four times the resolution they need.

Each painter works in metres: x to the right of the middle, y up from the ground. It returns the RGBA of the rectangle
given by its `Footprint`, at a number of texels per metre.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from course_lib.data.world.shapes import SUPERSAMPLING, soften
from course_lib.data.world.textures import oklch, smooth_noise

DARK = (0.1, 0.1, 0.12)


@dataclass(frozen=True)
class Footprint:
    """Size in metres of the rectangle that a sprite's texture covers; it stands on the ground, centred."""

    width: float
    height: float


CAR, PERSON, CYCLIST = Footprint(2.1, 1.7), Footprint(0.9, 1.95), Footprint(0.9, 2.0)
TREE, LAMP, SIGN = Footprint(3.0, 6.0), Footprint(1.8, 5.4), Footprint(1.0, 3.2)


class _Easel:
    """A fine canvas in metres on which masks are filled one over another."""

    def __init__(self, size: Footprint, texels_per_metre: float) -> None:
        self.rows = max(4, round(size.height * texels_per_metre))
        self.columns = max(4, 2 * round(size.width * texels_per_metre / 2))
        fine = self.rows * SUPERSAMPLING, self.columns * SUPERSAMPLING
        ys = (1 - (np.arange(fine[0], dtype=np.float32) + 0.5) / fine[0]) * size.height
        xs = ((np.arange(fine[1], dtype=np.float32) + 0.5) / fine[1] - 0.5) * size.width
        self.x, self.y = np.meshgrid(xs, ys)
        self.colour = np.zeros((*fine, 3), np.float32)
        self.alpha = np.zeros(fine, np.float32)

    def fill(self, mask: np.ndarray, colour) -> None:
        """Paint where the mask is true; colour [3] or [h, w, 3]."""
        self.colour[mask] = np.broadcast_to(np.asarray(colour, np.float32), self.colour.shape)[mask]
        self.alpha[mask] = 1

    def box(
        self, left: float, right: float, low: float, high: float, corner: float = 0.0, taper: float = 0.0
    ) -> np.ndarray:
        """Mask of a rounded box whose sides lean inwards by `taper` metres towards the top."""
        lean = taper * np.clip((self.y - low) / (high - low), 0, 1)
        dx = np.maximum(np.maximum(left + lean - self.x, self.x - right + lean) + corner, 0)
        dy = np.maximum(np.maximum(low - self.y, self.y - high) + corner, 0)
        return dx * dx + dy * dy < max(corner, 1e-4) ** 2

    def disc(self, x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
        """Mask of an ellipse."""
        return ((self.x - x) / rx) ** 2 + ((self.y - y) / (rx if ry is None else ry)) ** 2 < 1

    def finish(self) -> np.ndarray:
        """RGBA [4, rows, columns] float32; colour bleeds outwards, so that no edge turns black when it is blended."""
        weight = self.alpha[..., None]
        shape = (self.rows, SUPERSAMPLING, self.columns, SUPERSAMPLING)
        alpha = self.alpha.reshape(shape).mean((1, 3))
        colour = (self.colour * weight).reshape(*shape, 3).mean((1, 3))
        spread, cover = colour.copy(), alpha.copy()
        for sigma in (1.5, 4.0, 12.0):
            more = cv2.GaussianBlur(colour, (0, 0), sigma), cv2.GaussianBlur(alpha, (0, 0), sigma)
            thin = cover < 0.02
            spread[thin], cover[thin] = more[0][thin], more[1][thin]
        colour = spread / np.maximum(cover, 1e-4)[..., None]
        rgba = soften(np.dstack([np.clip(colour, 0, 1), alpha]), 0.5)
        return np.ascontiguousarray(rgba.transpose(2, 0, 1))


def car(rng: Generator, texels_per_metre: float, front: bool) -> np.ndarray:
    """A car from behind, or from the front."""
    art = _Easel(CAR, texels_per_metre)
    paint = oklch(rng.uniform(0.35, 0.85), rng.choice([0.02, 0.14, 0.17]), rng.uniform(0, 6.28))
    roof, belt = rng.uniform(1.4, 1.6), rng.uniform(0.82, 0.92)
    for side in (-1, 1):
        art.fill(art.box(side * 0.68 - 0.13, side * 0.68 + 0.13, 0.0, 0.42, 0.05), DARK)
    light = (1.12 - 0.22 * (belt - art.y).clip(0, 1))[..., None]
    art.fill(art.box(-0.87, 0.87, 0.24, belt + 0.06, 0.14, 0.05), np.clip(paint * light, 0, 1))
    art.fill(art.box(-0.76, 0.76, belt - 0.1, roof, 0.12, 0.16), np.clip(paint * 1.08, 0, 1))
    glass = np.array([0.24, 0.32, 0.4]) * (0.6 + 0.7 * ((art.y - belt) / (roof - belt)).clip(0, 1)[..., None])
    art.fill(art.box(-0.64, 0.64, belt + 0.02, roof - 0.09, 0.06, 0.1), glass)
    lamp = (1.0, 0.96, 0.8) if front else (0.86, 0.1, 0.09)
    for side in (-1, 1):
        art.fill(art.box(side * 0.68 - 0.14, side * 0.68 + 0.14, belt - 0.22, belt - 0.06, 0.05), lamp)
    art.fill(art.box(-0.84, 0.84, 0.26, 0.4, 0.06), np.clip(paint * 0.55, 0, 1))
    if front:
        art.fill(art.box(-0.42, 0.42, 0.5, 0.66, 0.05), DARK)
    art.fill(art.box(-0.24, 0.24, 0.41, 0.51, 0.02), (0.93, 0.93, 0.86))
    return art.finish()


def _body(art: _Easel, rng: Generator, hips: float, shoulder: float) -> None:
    coat = oklch(rng.uniform(0.4, 0.8), rng.choice([0.03, 0.13, 0.16]), rng.uniform(0, 6.28))
    skin = oklch(rng.uniform(0.5, 0.82), 0.065, 0.95)
    art.fill(art.box(-0.27, 0.27, hips - 0.12, shoulder - 0.04, 0.09, 0.03), np.clip(coat * 0.85, 0, 1))  # arms
    art.fill(art.box(-0.21, 0.21, hips - 0.06, shoulder, 0.1), coat)
    art.fill(art.disc(0, shoulder + 0.17, 0.115, 0.145), skin)
    hair = art.disc(0, shoulder + 0.2, 0.12, 0.15) & (art.y > shoulder + 0.19)
    art.fill(hair, oklch(rng.uniform(0.2, 0.6), 0.05, 1.0))


def person(rng: Generator, texels_per_metre: float) -> np.ndarray:
    """Somebody walking."""
    art = _Easel(PERSON, texels_per_metre)
    trousers = oklch(rng.uniform(0.25, 0.5), rng.uniform(0.01, 0.08), rng.uniform(0, 6.28))
    stride = rng.uniform(0.03, 0.12)
    for side in (-1, 1):
        knee = art.x - side * (0.1 + stride * (0.85 - art.y) / 0.85)
        art.fill((np.abs(knee) < 0.085) & (art.y < 0.9) & (art.y > 0.04 + 0.03 * side), trousers)
        art.fill(art.disc(side * (0.1 + stride), 0.05 + 0.02 * side, 0.1, 0.05), DARK)
    _body(art, rng, 0.85, 1.45)
    return art.finish()


def cyclist(rng: Generator, texels_per_metre: float) -> np.ndarray:
    """Somebody on a bicycle, seen along the road."""
    art = _Easel(CYCLIST, texels_per_metre)
    art.fill(art.disc(0, 0.36, 0.075, 0.36), DARK)
    trousers = oklch(rng.uniform(0.25, 0.5), 0.04, rng.uniform(0, 6.28))
    for side in (-1, 1):
        art.fill(art.box(side * 0.15 - 0.075, side * 0.15 + 0.075, 0.35 + 0.1 * side, 1.0, 0.05), trousers)
    art.fill(art.box(-0.32, 0.32, 0.97, 1.03, 0.03), (0.25, 0.25, 0.27))
    _body(art, rng, 1.0, 1.55)
    art.fill(art.disc(0, 1.8, 0.14, 0.1) & (art.y > 1.77), oklch(0.7, 0.17, rng.uniform(0, 6.28)))
    return art.finish()


def tree(rng: Generator, texels_per_metre: float) -> np.ndarray:
    """A trunk and a leafy crown above two metres."""
    art = _Easel(TREE, texels_per_metre)
    art.fill(art.box(-0.16, 0.16, 0.0, 3.2, 0.02, 0.05), (0.34, 0.25, 0.18))
    hue, bright = rng.uniform(2.1, 2.6), rng.uniform(0.42, 0.58)
    speckle = smooth_noise(rng, *art.x.shape, 0.35 * texels_per_metre * SUPERSAMPLING, 2)
    light = (0.85 + 0.16 * speckle + 0.1 * (art.y - 4)).clip(0.5, 1.5)[..., None]
    crown = art.disc(0, 4.1, 1.0, 1.5)
    for _ in range(7):
        radius = rng.uniform(0.45, 0.75)
        crown |= art.disc(rng.uniform(-1, 1) * (1.2 - radius), rng.uniform(2.4 + radius, 5.8 - radius), radius)
    art.fill(crown, np.clip(oklch(bright, 0.11, hue) * light, 0, 1))
    return art.finish()


def lamp(rng: Generator, texels_per_metre: float, arm: int) -> np.ndarray:
    """A street lamp whose arm points left (-1) or right (1)."""
    art = _Easel(LAMP, texels_per_metre)
    grey = rng.uniform(0.25, 0.5) * np.array([1.0, 1.03, 1.06])
    art.fill(art.box(-0.09, 0.09, 0.0, 5.2, 0.02, 0.03), grey)
    ends = sorted((0.0, arm * 0.75))
    art.fill(art.box(ends[0], ends[1], 5.1, 5.2, 0.02), grey)
    art.fill(art.disc(arm * 0.7, 5.08, 0.17, 0.09), (0.98, 0.94, 0.78))
    return art.finish()


def sign_post(rng: Generator, texels_per_metre: float) -> np.ndarray:
    """The post that carries a sign."""
    art = _Easel(SIGN, texels_per_metre)
    art.fill(art.box(-0.06, 0.06, 0.0, 2.9, 0.02), rng.uniform(0.45, 0.65) * np.ones(3))
    return art.finish()


def sign_plate(rng: Generator, texels_per_metre: float) -> np.ndarray:
    """A round or square plate at the height of a sign."""
    art = _Easel(SIGN, texels_per_metre)
    kind = rng.integers(3)
    if kind == 0:
        art.fill(art.disc(0, 2.7, 0.42), (0.8, 0.09, 0.1))
        art.fill(art.disc(0, 2.7, 0.29), (0.96, 0.96, 0.96))
    elif kind == 1:
        art.fill(art.box(-0.4, 0.4, 2.3, 3.1, 0.06), (0.1, 0.3, 0.72))
        art.fill(art.box(-0.09, 0.09, 2.42, 2.98, 0.02), (0.96, 0.96, 0.96))
    else:
        art.fill(np.abs(art.x) + np.abs(art.y - 2.7) < 0.48, (0.97, 0.97, 0.97))
        art.fill(np.abs(art.x) + np.abs(art.y - 2.7) < 0.36, (0.98, 0.75, 0.1))
    return art.finish()
