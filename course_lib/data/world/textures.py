"""Procedural textures and palettes: smooth, band-limited pictures drawn from a random generator.

A texture mixes two or three related colours by a smooth pattern whose finest detail is some texels wide, so that
sampling it between texels, and warping the rendered frame, loses little. Colours are drawn in OKLCH (Ottosson, 2020),
where equal steps of hue look equally different.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy import pi
from numpy.random import Generator

Field = np.ndarray

_LMS_FROM_LAB = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def oklch(lightness: float, chroma: float, hue: float) -> np.ndarray:
    """sRGB colour [3] float32 in [0, 1]; hue in radians. Colours outside the sRGB gamut are moved to its border."""
    lab = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    linear = np.clip(_RGB_FROM_LMS @ (_LMS_FROM_LAB @ lab) ** 3, 0, 1)
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def palette(rng: Generator, vivid: float = 1.0, hue: float | None = None) -> np.ndarray:
    """Three colours [3, 3] that go together: a base, a lighter or darker relative, and an accent."""
    hue = rng.uniform(0, 2 * pi) if hue is None else hue
    lightness, chroma = rng.uniform(0.55, 0.75), rng.uniform(0.11, 0.18) * vivid
    step = rng.choice([-1, 1])
    return np.stack(
        [
            oklch(lightness, chroma, hue),
            oklch(lightness + step * rng.uniform(0.18, 0.28), chroma * 0.8, hue + rng.uniform(-0.5, 0.5)),
            oklch(rng.uniform(0.5, 0.88), chroma, hue + step * rng.uniform(1.6, 3.1)),
        ]
    )


def smooth_noise(rng: Generator, height: int, width: int, cell: float, octaves: int = 2) -> Field:
    """Value noise [height, width] float32 of about zero mean and unit range, with blobs of `cell` texels."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        pitch = max(cell / 2**octave, 3.0)
        rows, columns = int(np.ceil(height / pitch)) + 2, int(np.ceil(width / pitch)) + 2
        coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def _axes(height: int, width: int) -> tuple[Field, Field]:
    """x, y [height, width] in texels, from the centre."""
    return np.meshgrid(
        np.arange(width, dtype=np.float32) - (width - 1) / 2, np.arange(height, dtype=np.float32) - (height - 1) / 2
    )


def _along(rng: Generator, height: int, width: int, angle: float | None = None) -> Field:
    angle = rng.uniform(0, pi) if angle is None else angle
    x, y = _axes(height, width)
    return (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32)


def _wave(phase: Field, hardness: float = 1.6) -> Field:
    """A soft square wave in [0, 1] of a phase in radians."""
    return (0.5 + 0.5 * np.tanh(hardness * np.sin(phase)) / np.tanh(hardness)).astype(np.float32)


def _period(rng: Generator, size: int) -> float:
    """Texels per period: three to five periods a sprite, never finer than six texels."""
    return max(size / rng.uniform(3.5, 6), 6.0)


def _gradient(rng: Generator, height: int, width: int) -> Field:
    ramp = _along(rng, height, width) / max(height, width) * 1.6 + 0.5
    return np.clip(ramp + 0.25 * smooth_noise(rng, height, width, max(height, width) / 3, 1), 0, 1)


def _clouds(rng: Generator, height: int, width: int) -> Field:
    return _wave(smooth_noise(rng, height, width, max(height, width) / 5, 2) * 2.2, 1.2)


def _stripes(rng: Generator, height: int, width: int) -> Field:
    return _wave(_along(rng, height, width) * 2 * pi / _period(rng, max(height, width)) + rng.uniform(0, 2 * pi))


def _waves(rng: Generator, height: int, width: int) -> Field:
    period, angle = _period(rng, max(height, width)) * 1.3, rng.uniform(0, pi)
    across = _along(rng, height, width, angle + pi / 2)
    along = _along(rng, height, width, angle) + 0.35 * period * np.sin(across * pi / period)
    return _wave(along * 2 * pi / period)


def _checks(rng: Generator, height: int, width: int) -> Field:
    angle, period = rng.uniform(0, pi), _period(rng, max(height, width)) * 1.3
    a = np.sin(_along(rng, height, width, angle) * 2 * pi / period + 1)
    b = np.sin(_along(rng, height, width, angle + pi / 2) * 2 * pi / period + 1)
    return (0.5 + 0.5 * np.tanh(3.0 * a * b)).astype(np.float32)


def _dots(rng: Generator, height: int, width: int) -> Field:
    angle, period = rng.uniform(0, pi), _period(rng, max(height, width))
    waves = [np.cos(_along(rng, height, width, angle + k * pi / 3) * 2 * pi / period) for k in range(3)]
    return (0.5 + 0.5 * np.tanh(1.6 * (sum(waves) - 0.6))).astype(np.float32)


def _rings(rng: Generator, height: int, width: int) -> Field:
    x, y = _axes(height, width)
    radius = np.hypot(x - rng.uniform(-0.2, 0.2) * width, y - rng.uniform(-0.2, 0.2) * height)
    return _wave(radius * 2 * pi / _period(rng, max(height, width)) + rng.uniform(0, 2 * pi))


def _wood(rng: Generator, height: int, width: int) -> Field:
    size = max(height, width)
    bent = _along(rng, height, width) + 0.12 * size * smooth_noise(rng, height, width, size / 2, 2)
    return 0.75 * _wave(bent * 2 * pi / _period(rng, max(height, width)), 0.9) + 0.25 * _clouds(rng, height, width)


def _marble(rng: Generator, height: int, width: int) -> Field:
    size = max(height, width)
    bent = _along(rng, height, width) * 9 / size + 1.6 * smooth_noise(rng, height, width, size / 4, 2)
    return (1 - np.abs(np.sin(bent)) ** 0.7).astype(np.float32)


def _patches(rng: Generator, height: int, width: int) -> Field:
    noise = smooth_noise(rng, height, width, max(height, width) / 5, 1)
    return (0.5 + 0.5 * np.tanh(5 * noise)).astype(np.float32)


PATTERNS: tuple[Callable[[Generator, int, int], Field], ...] = (
    _gradient, _clouds, _stripes, _waves, _checks, _dots, _rings, _wood, _marble, _patches,
)  # fmt: skip
QUIET_PATTERNS = (_gradient, _clouds, _marble)


def pattern(rng: Generator, height: int, width: int, colours: np.ndarray, quiet: bool = False) -> np.ndarray:
    """A random texture [height, width, 3] float32 in [0, 1] from three colours [3, 3]."""
    choices = QUIET_PATTERNS if quiet else PATTERNS
    mix = choices[rng.integers(len(choices))](rng, height, width)[..., None]
    tint = 0.5 + 0.5 * np.tanh(2 * smooth_noise(rng, height, width, max(height, width) / 2.5, 1))[..., None]
    base = colours[0] * (1 - 0.5 * tint) + 0.5 * tint * (0.6 * colours[0] + 0.4 * colours[2])
    return np.clip(base * (1 - mix) + colours[1] * mix, 0, 1).astype(np.float32)


def shaded(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give a flat sprite some body: lit from its upper left, darker near the rim. colour [h, w, 3], alpha [h, w]."""
    height, width = alpha.shape
    depth = cv2.GaussianBlur(alpha, (0, 0), max(height, width) * 0.05)
    x, y = _axes(height, width)
    light = 1.06 - 0.1 * (x / width + y / height) - 0.55 * (1 - depth) * alpha
    return np.clip(colour * light[..., None], 0, 1).astype(np.float32)
