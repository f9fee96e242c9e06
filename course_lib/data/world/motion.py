"""How layers move: smooth paths for objects and camera, and a deformation whose inverse is exact.

Paths are sums of sinusoids, so they are known at every moment, never end, and have a chosen root-mean-square speed.
The deformation is two shears in turn: each shifts one coordinate by a function of the other alone and is undone by
subtracting the same shift, so images of any wobble can be inverted without iteration (the idea of coupling layers,
Dinh et al., 2015). All of this is float64 on the CPU; devices only receive the resulting matrices.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy import pi
from numpy.random import Generator
from torch import Tensor


@dataclass(frozen=True)
class Wander:
    """A path: value(t) = centre + sum over j of amplitude_j sin(frequency_j t + phase_j). Arrays are [D, J]."""

    centre: np.ndarray  # [D]
    amplitude: np.ndarray
    frequency: np.ndarray  # radians per second
    phase: np.ndarray

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Values [T, D] at times [T] in seconds."""
        angle = self.frequency[None] * times[:, None, None] + self.phase[None]
        return self.centre + (self.amplitude * np.sin(angle)).sum(-1)


def wander(rng: Generator, centre: np.ndarray, reach: np.ndarray, speed: float) -> Wander:
    """A random path about `centre` [D] that stays within `reach` [D] of it, with root-mean-square speed `speed`."""
    share = rng.uniform(0.7, 0.85, (len(centre), 1))
    amplitude = np.concatenate([share, 1 - share], 1) * reach[:, None]
    frequency = rng.uniform(0.8, 1.25, (len(centre), 2)) * [1.0, 2.3]
    mean_square = ((amplitude * frequency) ** 2).sum() / 2
    frequency = frequency * (speed / np.sqrt(mean_square) if mean_square > 0 else 0.0)
    return Wander(np.asarray(centre, float), amplitude, frequency, rng.uniform(0, 2 * pi, (len(centre), 2)))


def swing(rng: Generator, centre: float, reach: float, frequency: float) -> Wander:
    """One sinusoid about `centre`, `frequency` in radians per second."""
    one = np.ones((1, 1))
    return Wander(np.array([centre]), reach * one, frequency * one, rng.uniform(0, 2 * pi, (1, 1)))


def similarity(position: np.ndarray, angle: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Matrices [T, 3, 3] of x -> position + R(angle) diag(scale) x. position [T, 2], angle [T], scale [T, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.zeros((len(angle), 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = cos * scale[:, 0], -sin * scale[:, 1], position[:, 0]
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = sin * scale[:, 0], cos * scale[:, 1], position[:, 1]
    out[:, 2, 2] = 1
    return out


@dataclass(frozen=True)
class Camera:
    """A camera above a flat stage: it wanders, rolls and zooms a little. Maps stage pixels to image pixels."""

    position: Wander
    roll: Wander
    zoom: Wander  # log of the magnification
    image_centre: np.ndarray  # [2] pixels

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Stage to image, [T, 3, 3]."""
        zoom = np.exp(self.zoom(times)[:, 0])
        turn = similarity(np.zeros((len(times), 2)), self.roll(times)[:, 0], np.stack([zoom, zoom], 1))
        shift = np.tile(np.eye(3), (len(times), 1, 1))
        shift[:, :2, 2] = -self.position(times)
        out = turn @ shift
        out[:, :2, 2] += self.image_centre
        return out


@dataclass(frozen=True)
class StageMotion:
    """A sprite on the stage under a camera; `disparity` is its shift to the left in the right eye, in pixels."""

    camera: Camera
    path: Wander  # stage pixels from the image centre
    angle: Wander
    growth: Wander  # log of the scale
    half_size: np.ndarray  # [2] pixels per unit of sprite coordinates; a negative x mirrors
    disparity: float

    def __call__(self, times: np.ndarray, eye: str) -> np.ndarray:
        """Sprite coordinates to image pixels, [T, 3, 3], for eye "left" or "right"."""
        scale = np.exp(self.growth(times)) * self.half_size  # [T, 2]
        out = self.camera(times) @ similarity(self.path(times), self.angle(times)[:, 0], scale)
        if eye == "right":
            out[:, 0, 2] -= self.disparity
        return out


@dataclass(frozen=True)
class Wobble:
    """Two travelling waves in sprite coordinates: x is shifted by a wave in y, then y by a wave in the new x."""

    amplitude: np.ndarray  # [2]
    wavenumber: np.ndarray  # [2] radians per unit
    frequency: np.ndarray  # [2] radians per second
    phase: np.ndarray  # [2]

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Rows (a, k, phase, b, l, phase) [T, 6] for `bend` and `unbend`."""
        phase = self.phase + self.frequency * times[:, None]  # [T, 2]
        ones = np.ones_like(times)
        a, b = self.amplitude
        k, m = self.wavenumber
        return np.stack([a * ones, k * ones, phase[:, 0], b * ones, m * ones, phase[:, 1]], 1)


def wobble(rng: Generator, strength: float) -> Wobble:
    """A random deformation; strength 1 moves the contour by about a sixth of the sprite."""
    return Wobble(
        amplitude=strength * rng.uniform(0.07, 0.14, 2),
        wavenumber=rng.uniform(2.0, 4.0, 2),
        frequency=rng.uniform(3.0, 6.0, 2) * rng.choice([-1, 1], 2),
        phase=rng.uniform(0, 2 * pi, 2),
    )


def bend(x: Tensor, y: Tensor, waves: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Object coordinates to texture coordinates; `waves` are the six columns of `Wobble`, broadcastable to x and y."""
    a, k, phase, b, m, psi = waves
    x = x + a * torch.sin(k * y + phase)
    return x, y + b * torch.sin(m * x + psi)


def unbend(x: Tensor, y: Tensor, waves: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The exact inverse of `bend`: the same shifts subtracted in the opposite order."""
    a, k, phase, b, m, psi = waves
    y = y - b * torch.sin(m * x + psi)
    return x - a * torch.sin(k * y + phase), y
