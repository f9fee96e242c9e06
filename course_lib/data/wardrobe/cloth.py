"""Cloth: plain, striped, checked, knitted, printed or dipped, woven in bolts and seen in a soft light.

A bolt fixes everything but where a piece is cut; garments of one split share the bolts of that split and no others.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

from course_lib.data.wardrobe.parts import Uniform

FAMILIES = ("plain", "stripes", "checks", "knit", "print", "dip")
WORN = (0.3, 0.2, 0.1, 0.16, 0.13, 0.11)  # shares of the families among the bolts
LEATHER = ("plain", "print", "dip")  # the families for shoes and bags


@dataclass(frozen=True)
class Bolts:
    """K bolts of cloth. A pattern runs from -1 to 1; contrast says how much darker its lows are than its highs."""

    family: Int[np.ndarray, "k"]  # index into FAMILIES
    ground: Float[np.ndarray, "k"]  # brightness of the highs
    contrast: Float[np.ndarray, "k"]
    period: Float[np.ndarray, "k"]  # pixels
    angle: Float[np.ndarray, "k"]  # radians
    crisp: Float[np.ndarray, "k"]  # sharpness of edges
    waves: Float[np.ndarray, "k 4 2"]  # radians a pixel, of the prints

    def __getitem__(self, index: Int[np.ndarray, "m"]) -> "Bolts":
        """The chosen bolts."""
        return Bolts(*(getattr(self, field.name)[index] for field in fields(self)))


def woven(rng: np.random.Generator, k: int) -> Bolts:
    """K new bolts."""
    family = rng.choice(len(FAMILIES), k, p=WORN)
    knit = family == FAMILIES.index("knit")
    along = rng.integers(0, 2, k) * np.pi / 2  # stripes lie across or along the body
    return Bolts(
        family=family,
        ground=np.where(rng.random(k) < 0.15, rng.uniform(0.45, 0.7, k), rng.uniform(0.75, 1.0, k)),
        contrast=rng.uniform(0.2, 0.6, k),
        period=np.where(knit, rng.uniform(2.3, 3.4, k), rng.uniform(3.5, 9.0, k)),
        angle=along + rng.uniform(-0.1, 0.1, k),
        crisp=rng.uniform(0.8, 4.0, k),
        waves=rng.uniform(0.25, 0.9, (k, 4, 1)) * _directions(rng.uniform(0, 2 * np.pi, (k, 4))),
    )


def pieces(stock: Bolts, phase: Float[np.ndarray, "m 6"], side: int) -> Float[np.ndarray, "m side side"]:
    """A piece of each bolt, cut where `phase` (radians) says; brightness in (0, 1]."""
    pixel = np.arange(side, dtype=np.float32)
    y, x = np.meshgrid(pixel, pixel, indexing="ij")
    pattern = np.empty((len(phase), side, side), dtype=np.float32)
    for index, family in enumerate(FAMILIES):
        rows = np.flatnonzero(stock.family == index)
        piece, start = stock[rows], phase[rows]
        turn = _directions(piece.angle) * (2 * np.pi / piece.period)[:, None]  # [R, 2]
        across = _wave(turn, start[:, 0], x, y)
        along = _wave(turn[:, ::-1] * (-1, 1), start[:, 1], x, y)
        crisp = piece.crisp[:, None, None].astype(np.float32)
        if family == "plain":
            pattern[rows] = 1
        elif family == "stripes":
            pattern[rows] = np.tanh(crisp * across)
        elif family == "checks":
            pattern[rows] = (np.tanh(crisp * across) + np.tanh(crisp * along)) / 2
        elif family == "knit":
            pattern[rows] = 0.85 * across + 0.15 * along
        elif family == "print":
            blots = sum(_wave(piece.waves[:, i], start[:, 2 + i], x, y) for i in range(4))
            pattern[rows] = np.tanh(crisp * blots)
        else:  # dipped: fades from one end to the other
            pattern[rows] = np.tanh(((y / side * 2 - 1) * np.sign(np.cos(start[:, 0]))[:, None, None]) * 2)
    depth = (stock.contrast / 2)[:, None, None].astype(np.float32)
    return stock.ground[:, None, None].astype(np.float32) * (1 - depth * (1 - pattern))


def light(u: Uniform, side: int) -> Float[np.ndarray, "m side side"]:
    """Rounded towards the sides, a slant of light, and upright folds; at most 1."""
    t = np.linspace(-1, 1, side)
    x, y = t[None, None, :], t[None, :, None]
    column = tuple(value[:, None, None] for value in (u(0.0, 0.2), u(-0.1, 0.1), u(0.0, 0.06), u(4, 10), u(0, 6.3)))
    round_, slant, fold, count, phase = column
    shade = 1 - round_ * x**2 - np.abs(slant) + slant * y - fold * (1 + np.sin(count * x + y + phase))
    return shade.astype(np.float32)


def _wave(turn: np.ndarray, phase: np.ndarray, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "r side side"]:
    """A plane wave for each row: turn [R, 2] radians a pixel, phase [R]."""
    kx, ky, start = (value[:, None, None].astype(np.float32) for value in (turn[:, 0], turn[:, 1], phase))
    return np.sin(kx * x + ky * y + start)


def _directions(angle: np.ndarray) -> np.ndarray:
    """Unit vectors [..., 2], pointing down the image at angle 0, so that a wave at 0 makes level stripes."""
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)
