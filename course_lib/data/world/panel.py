"""An object that passes behind a panel: how large, how fast and how far, so that the hiding can be promised.

Relative to the panel the object swings as A sin(w t - pi/2). Its half extent along the way is r. At its fastest it
moves A w, so a panel of half extent r + 1.5 A w / frame_rate hides it wholly for three frame intervals, in which three
frames fall whatever the phase; and at the ends of the swing a quarter of it shows if A exceeds that less r / 2.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy import pi
from numpy.random import Generator

from course_lib.data.world.config import WorldConfig
from course_lib.data.world.photographs import photograph
from course_lib.data.world.shapes import REACH, soften
from course_lib.data.world.textures import oklch, palette, smooth_noise
from course_lib.errors import InputError

FILL = 0.9  # share of its texture, each way, that the panel fills
SWAY = 0.04  # how far a moving panel drifts from its place, in shorter sides
TILT = 0.06  # radians that the object turns while it passes
FRAMES_HIDDEN = 3


@lru_cache(maxsize=8)
def _wall(name: str, step: int) -> np.ndarray:
    return soften(photograph(name), step * 0.6)


@dataclass(frozen=True)
class Passage:
    """Geometry of one pass behind a panel, in pixels and radians per second."""

    swing: float  # A
    frequency: float  # w
    half_extent: float  # of the panel, along the way


def check_passage(config: WorldConfig, camera_reach: float) -> None:
    """Raise `InputError` if the largest object that this config can draw would not get past its panel."""
    if config.occlusion > 0:
        half = config.size * config.shorter_side / 2 / REACH * (REACH + 0.06 + 0.14 * config.deformation)
        passage(config, half * (np.cos(TILT) + np.sin(TILT)), camera_reach)


def strip(alpha: np.ndarray, way: int, share: float) -> float:
    """Half extent, in texture coordinates, of the central strip across `way` (0: x) that holds a share of a sprite."""
    profile = (alpha >= 0.5).sum(way)
    distance = np.abs(np.arange(len(profile)) + 0.5 - len(profile) / 2)
    order = np.argsort(distance, kind="stable")
    inside = np.cumsum(profile[order]) / profile.sum()
    return float((distance[order][np.searchsorted(inside, share)] + 0.5) / len(profile) * 2)


def passage(config: WorldConfig, radius: float, camera_reach: float) -> Passage:
    """Plan the pass of an object of half extent `radius` pixels. Raises `InputError` where there is no room or time."""
    longer = max(config.height, config.width)
    swing = min(longer / 2 - camera_reach - radius - SWAY * config.shorter_side, 1.5 * config.shorter_side)
    wanted = np.sqrt(2) * config.speed * config.shorter_side / max(swing, 1e-6)
    frequency = max(wanted, pi / (config.length - 1) * config.frame_rate)  # at least once across
    half_extent = config.occlusion * radius
    if config.occlusion == 1:
        half_extent = radius + 1 + FRAMES_HIDDEN / 2 * swing * frequency / config.frame_rate
    if swing < half_extent - radius / 2:
        raise InputError(
            f"an object of size {config.size} at speed {config.speed} cannot hide for {FRAMES_HIDDEN} frames and show "
            f"again within {config.length} frames at {config.frame_rate:g} frames per second in {config.height}x"
            f"{config.width} pixels; make it smaller or slower, or the clip longer"
        )
    return Passage(swing, frequency, half_extent)


def panel_texture(rng: Generator, along: int, across: int, photographs: bool) -> np.ndarray:
    """A wall, hedge, curtain or board as RGBA [4, across, along] float32 with soft corners and a darker rim."""
    kind = rng.choice(["brick", "grass", "gravel", "curtain", "boards"] if photographs else ["curtain", "boards"])
    if kind in ("brick", "grass", "gravel"):
        tint = {"brick": (1.1, 0.72, 0.56), "grass": (0.5, 0.85, 0.35), "gravel": (0.85, 0.83, 0.8)}[kind]
        step = max(1, round(512 / max(along, across) / 1.5))
        source = _wall(str(kind), step)
        rows, columns = (np.arange(across) * step) % source.shape[0], (np.arange(along) * step) % source.shape[1]
        colour = source[np.ix_(rows, columns)] * np.array(tint, np.float32) + 0.03
    elif kind == "curtain":  # folds along its width
        folds = 0.8 + 0.2 * np.sin(np.linspace(0, 2 * pi * max(1, along / 12), along) + rng.uniform(0, 6))
        colour = np.broadcast_to(folds[None, :, None] * palette(rng, vivid=0.8)[0], (across, along, 3))
    else:  # planks with a grain
        plank = np.linspace(0, max(2, round(along / 11)), along, endpoint=False)
        grain = smooth_noise(rng, across // 6 + 2, along, 5, 2).repeat(6, 0)[:across]
        grain = cv2.GaussianBlur(grain, (1, 13), 0.01, sigmaY=3)
        tone = rng.uniform(0.85, 1.1, int(plank[-1]) + 1)[plank.astype(int)]
        tone = tone * (1 - 0.35 * (2 * np.abs(plank % 1 - 0.5)) ** 4)  # darker where two planks meet
        wood = oklch(rng.uniform(0.45, 0.65), 0.075, rng.uniform(0.9, 1.2))
        colour = wood * (tone[None] * (1 + 0.13 * grain))[..., None]
    x = np.abs(np.linspace(-1, 1, along))[None] / FILL
    y = np.abs(np.linspace(-1, 1, across))[:, None] / FILL
    inside = np.clip(0.5 + np.minimum((1 - x) * along * FILL / 2, (1 - y) * across * FILL / 2), 0, 1)
    shade = 0.72 + 0.28 * np.clip((1 - x) * along / 12, 0, 1)  # a darker rim gives it thickness
    rgba = np.dstack([np.clip(colour * shade[..., None], 0, 1), inside]).astype(np.float32)
    return np.ascontiguousarray(soften(rgba, 0.7).transpose(2, 0, 1))
