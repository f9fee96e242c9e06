"""Weather and sensor faults laid over finished frames; the truth stays that of the clean world.

The four kinds and five severities follow the manner of ImageNet-C (Hendrycks and Dietterich, 2019), made coherent in
time: snow falls and fog drifts. All randomness comes from a NumPy generator on the CPU, so devices agree.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from course_lib.data.world.textures import smooth_noise

NOISE_SIGMA = (0.05, 0.08, 0.12, 0.17, 0.24)  # of intensities in [0, 1]
SNOW_FLAKES = (0.004, 0.008, 0.013, 0.02, 0.03)  # flakes per pixel
SNOW_VEIL = (0.06, 0.1, 0.15, 0.2, 0.27)
FOG_DENSITY = (0.3, 0.42, 0.54, 0.65, 0.76)
BLUR_LENGTH = (0.045, 0.07, 0.1, 0.135, 0.18)  # of the shorter image side


def corrupt(
    frames: Float[Tensor, "t 3 h w"], kind: str, severity: int, seed: int, stream: int = 0
) -> Float[Tensor, "t 3 h w"]:
    """Frames in [0, 1] seen through noise, snow, fog or a shaken lens; may leave [0, 1]. severity 1 (mild) to 5.

    The same `seed` gives the same weather. `stream` separates sensors: noise differs between the eyes of a stereo pair.
    """
    if kind == "none":
        return frames
    rng = np.random.default_rng([seed, 2, stream if kind == "gaussian_noise" else 0])
    level = severity - 1
    if kind == "gaussian_noise":
        noise = rng.standard_normal(tuple(frames.shape), np.float32)
        return frames + NOISE_SIGMA[level] * torch.from_numpy(noise).to(frames.device)
    if kind == "motion_blur":
        return _motion_blur(frames, BLUR_LENGTH[level] * min(frames.shape[2:]), rng.uniform(0, math.pi))
    if kind == "fog":
        return _fog(frames, FOG_DENSITY[level], rng)
    return _snow(frames, level, rng)


def _motion_blur(frames: Tensor, length: float, angle: float) -> Tensor:
    """Average along a straight line of `length` pixels, the same in every frame."""
    reach = math.ceil(length / 2) + 1
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    along = axis[None] * math.cos(angle) + axis[:, None] * math.sin(angle)
    across = -axis[None] * math.sin(angle) + axis[:, None] * math.cos(angle)
    kernel = (1 - across.abs()).clamp_min(0) * (length / 2 + 0.5 - along.abs()).clamp(0, 1)
    kernel = (kernel / kernel.sum()).to(frames.device)[None, None]
    t, c, h, w = frames.shape
    padded = F.pad(frames, (reach,) * 4, mode="replicate").reshape(t * c, 1, h + 2 * reach, w + 2 * reach)
    return F.conv2d(padded, kernel).view(t, c, h, w)


def _drifting(field: Tensor, size: tuple[int, int], shift: Tensor) -> Tensor:
    """Windows [T, h, w] of a field [H, W] that repeats at its borders, at offsets shift [T, 2] = (x, y) in pixels."""
    tall, wide = field.shape
    whole = shift.floor()
    part = (shift - whole)[:, :, None, None]
    x, y = whole[:, 0, None].long(), whole[:, 1, None].long()
    columns = torch.arange(size[1] + 1, device=field.device) + x  # [T, w+1]
    rows = torch.arange(size[0] + 1, device=field.device) + y
    window = field[(rows % tall)[:, :, None], (columns % wide)[:, None, :]]  # [T, h+1, w+1]
    window = torch.lerp(window[:, :-1], window[:, 1:], part[:, 1])
    return torch.lerp(window[:, :, :-1], window[:, :, 1:], part[:, 0])


def _fog(frames: Tensor, density: float, rng: np.random.Generator) -> Tensor:
    times, _, height, width = frames.shape
    side = 2 * max(height, width)
    noise = smooth_noise(rng, side, side, side / 5, 4)
    field = torch.from_numpy(np.tanh(noise)).to(frames.device)
    step = torch.arange(times, device=frames.device)[:, None] * torch.tensor([0.006, 0.0015], device=frames.device)
    cover = density * (1 + 0.45 * _drifting(field, (height, width), step * max(height, width)))[:, None]
    white = torch.tensor([0.86, 0.88, 0.9], device=frames.device).view(3, 1, 1)
    return torch.lerp(frames, white.expand_as(frames), cover.clamp(0, 0.96))


def _snow(frames: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    """Two sheets of flakes, the nearer one larger and falling faster, before a slight white veil."""
    times, _, height, width = frames.shape
    unit = min(height, width) / 96
    out = frames * (1 - SNOW_VEIL[level]) + SNOW_VEIL[level] * 0.9
    for size, fall, share in ((0.9, 3.1, 0.7), (1.5, 5.3, 0.3)):
        radius = max(size * unit, 0.8)
        tall, wide = height + 16, width + 16
        count = max(1, round(SNOW_FLAKES[level] * share * tall * wide / unit**2))
        sheet = np.zeros((tall, wide), np.float32)
        cells = rng.integers(tall, size=count), rng.integers(wide, size=count)
        np.maximum.at(sheet, cells, rng.uniform(0.6, 1.0, count).astype(np.float32))
        reach = math.ceil(2.5 * radius)
        axis = np.arange(-reach, reach + 1, dtype=np.float32)
        disc = np.clip(radius + 0.5 - np.hypot(axis[None], axis[:, None] * 0.75), 0, 1)
        around = F.pad(torch.from_numpy(sheet)[None, None], (reach,) * 4, mode="circular")
        flakes = F.conv2d(around, torch.from_numpy(disc)[None, None])
        field = flakes[0, 0].clamp(0, 1).to(frames.device)
        step = torch.arange(times, device=frames.device)[:, None].float()
        gust = fall * unit * torch.tensor([rng.uniform(-0.5, 0.5), -1.0], dtype=torch.float32, device=frames.device)
        cover = 0.92 * _drifting(field, (height, width), step * gust)[:, None]
        out = torch.lerp(out, torch.full_like(out, 0.97), cover)
    return out
