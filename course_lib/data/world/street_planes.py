"""The large sheets of a street: road, pavement, meadow, house fronts, fences, sky and far hills.

Each is one plane in the world, drawn as a texture in metres and kept at four resolutions, because a plane that runs to
the horizon shows hundreds of metres in one pixel there.
"""

import cv2
import numpy as np
from numpy import pi
from numpy.random import Generator

from course_lib.data.world.shapes import soften
from course_lib.data.world.textures import oklch, smooth_noise

LEVELS = 4


def levels(rgba: np.ndarray, shrink: tuple[int, int], count: int) -> tuple[np.ndarray, ...]:
    """The texture [4, h, w] and coarser copies, each smaller by `shrink` (rows, columns); colours weighted by alpha."""
    out = [np.ascontiguousarray(rgba, dtype=np.float32)]
    for _ in range(count - 1):
        last = out[-1]
        size = last.shape[2] // shrink[1], last.shape[1] // shrink[0]
        weight = np.maximum(last[3], 1e-4)
        cover = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)  # the mean over whole blocks
        colour = [cv2.resize(band * weight, size, interpolation=cv2.INTER_AREA) / cover for band in last[:3]]
        out.append(np.stack([*colour, cover - 1e-4]).clip(0, 1))
    return tuple(out)


def grid(length: float, texel: float, multiple: int) -> int:
    """Number of texels for a length in metres, a multiple of `multiple`."""
    return max(1, int(np.ceil(length / texel / multiple))) * multiple


def _solid(colour: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    colour = soften(np.clip(colour, 0, 1).astype(np.float32), 0.6)
    alpha = np.ones(colour.shape[:2], np.float32) if alpha is None else soften(alpha.astype(np.float32), 0.5)
    return np.ascontiguousarray(np.dstack([colour, alpha]).transpose(2, 0, 1), dtype=np.float32)


def _ramp(at: np.ndarray, edge: float, texel: float) -> np.ndarray:
    """Smooth step, one texel wide, from 0 below `edge` to 1 above."""
    return np.clip((at - edge) / texel + 0.5, 0, 1).astype(np.float32)


def road(rng: Generator, x: np.ndarray, z: np.ndarray, half: float) -> np.ndarray:
    """Asphalt [4, len(z), len(x)] with a dashed centre line and edge lines; x, z: texel centres in metres."""
    dx, dz = x[1] - x[0], z[1] - z[0]
    colour = np.empty((len(z), len(x), 3), np.float32)
    colour[:] = oklch(rng.uniform(0.38, 0.46), 0.008, 4.5)
    grain = 0.07 * smooth_noise(rng, len(z), len(x), 9, 2) + 0.05 * smooth_noise(rng, len(z), len(x), 40, 1)
    colour *= 1 + grain[..., None]

    def stripe(centre: float, width: float) -> np.ndarray:
        return _ramp(x, centre - width / 2, dx) - _ramp(x, centre + width / 2, dx)

    phase = (z + rng.uniform(0, 6)) % 6
    dashes = _ramp(phase, 1.0, dz) - _ramp(phase, 4.0, dz)
    paint = np.maximum(dashes[:, None] * stripe(0, 0.16), stripe(-half + 0.35, 0.14) + stripe(half - 0.35, 0.14))
    crossing = rng.uniform(12, 45)  # a zebra crossing somewhere ahead
    bars = np.clip(0.5 + 2.5 * np.sin(x * 2 * pi / 1.1), 0, 1)
    across = _ramp(z, crossing, dz) - _ramp(z, crossing + 3, dz)
    paint = np.maximum(paint * (1 - across[:, None]), across[:, None] * bars[None] * (np.abs(x) < half - 0.4))
    white = np.array([0.86, 0.86, 0.83], np.float32)
    return _solid(colour * (1 - paint[..., None]) + white * paint[..., None])


def pavement(rng: Generator, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Slabs with joints, and a pale kerb on the side where x is nearest to the road."""
    colour = np.empty((len(z), len(x), 3), np.float32)
    colour[:] = oklch(rng.uniform(0.62, 0.7), 0.015, rng.uniform(0.5, 1.5))
    joints = np.maximum(np.cos(x * 2 * pi / 0.9)[None] ** 12, np.cos(z * 2 * pi / 1.8)[:, None] ** 12)
    colour *= (1 - 0.13 * joints + 0.05 * smooth_noise(rng, len(z), len(x), 12, 2))[..., None]
    near = np.abs(x) - np.abs(x).min()
    kerb = (1 - _ramp(near, 0.22, abs(x[1] - x[0])))[None, :, None]
    return _solid(colour * (1 - kerb) + 0.78 * kerb)


def meadow(rng: Generator, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Grass in uneven light."""
    noise = 0.1 * smooth_noise(rng, len(z), len(x), 8, 2) + 0.08 * smooth_noise(rng, len(z), len(x), 50, 1)
    return _solid(oklch(rng.uniform(0.5, 0.6), 0.11, rng.uniform(1.9, 2.3)) * (1 + noise)[..., None])


def house_fronts(rng: Generator, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A row of houses [4, len(y), len(z)]; y is height above ground, transparent above the roofs and in some gaps."""
    dy, dz = abs(y[1] - y[0]), abs(z[1] - z[0])
    y, z = y.astype(np.float32), z.astype(np.float32)
    colour = np.full((len(y), len(z), 3), 0.5, np.float32)
    alpha = np.zeros((len(y), len(z)), np.float32)
    start = float(z.min() - rng.uniform(0, 8))
    while start < z.max():
        width, floors = float(rng.uniform(7, 14)), int(rng.integers(2, 4))
        height, period = floors * 3.0 + float(rng.uniform(0.6, 1.6)), float(rng.uniform(2.2, 3.2))
        inside = np.nonzero((z > start - dz) & (z < start + width + dz))[0]
        if len(inside):
            part = slice(inside[0], inside[-1] + 1)
            zz = z[part] - start
            wall = oklch(rng.uniform(0.6, 0.85), rng.uniform(0.02, 0.09), rng.uniform(0.3, 1.6))
            trim = np.clip(wall * (0.6 if rng.random() < 0.5 else 1.25), 0, 1)
            front = np.broadcast_to(wall, (len(y), len(zz), 3)) * (0.9 + 0.02 * y[:, None, None])
            windows = _openings((zz % period) / period, 0.28, 0.72, dz / period)
            rows = (y % 3.0) / 3.0
            storeys = _openings(rows, 0.32, 0.8, dy / 3.0) * (y < floors * 3.0)
            frame = (
                _openings((zz % period) / period, 0.23, 0.77, dz / period)
                * (_openings(rows, 0.27, 0.85, dy / 3.0) * (y < floors * 3.0))[:, None]
            )
            pane = windows * storeys[:, None]
            glass = np.array([0.3, 0.38, 0.47], np.float32) + 0.22 * rows[:, None, None]
            front = front * (1 - frame[..., None]) + trim * frame[..., None]
            front = front * (1 - pane[..., None]) + glass * pane[..., None]
            roof = _ramp(y, height - 0.5, dy)[:, None, None]
            front = front * (1 - roof) + oklch(0.4, 0.06, 0.6) * roof
            cover = (_ramp(zz, 0, dz) * (1 - _ramp(zz, width, dz)))[None] * (1 - _ramp(y, height, dy))[:, None]
            fresh = cover > alpha[:, part]
            colour[:, part][fresh] = front[fresh].astype(np.float32)
            alpha[:, part] = np.maximum(alpha[:, part], cover)
        start += width + (float(rng.uniform(1.5, 4)) if rng.random() < 0.3 else 0.0)
    return _solid(colour, alpha)


def _openings(phase: np.ndarray, low: float, high: float, texel: float) -> np.ndarray:
    return _ramp(phase, low, texel) * (1 - _ramp(phase, high, texel))


def fence(rng: Generator, y: np.ndarray, z: np.ndarray, height: float) -> np.ndarray:
    """Boards with a rail, in stretches."""
    dz = abs(z[1] - z[0])
    boards = (0.85 + 0.15 * np.cos(z * 2 * pi / 0.8))[None, :, None]
    rail = 1 - 0.2 * np.exp(-(((y - 0.7 * height) / 0.08) ** 2))[:, None, None]
    colour = oklch(rng.uniform(0.5, 0.75), rng.uniform(0.02, 0.07), rng.uniform(0.8, 1.4)) * boards * rail
    bays = np.sin(z * 2 * pi / rng.uniform(22, 34) + rng.uniform(0, 6)) * 9
    alpha = np.clip(0.5 + (bays + 2) / dz / 4, 0, 1)[None] * (1 - _ramp(y, height, abs(y[1] - y[0])))[:, None]
    return _solid(colour, alpha)


def sky(rng: Generator, rows: int, columns: int) -> np.ndarray:
    """Blue above, pale at the horizon in the middle of the sheet, with a few clouds."""
    height = np.linspace(1, -1, rows)[:, None, None]  # 0 at the horizon
    high, low = oklch(rng.uniform(0.62, 0.75), 0.1, 4.35), oklch(0.93, 0.025, rng.uniform(0.8, 4.3))
    share = np.clip(height * 1.7, 0, 1)
    clouds = np.clip(smooth_noise(rng, rows, columns, columns / 6, 4) * 1.3 - 0.25, 0, 1)[..., None]
    clouds = clouds * np.clip(height * 4, 0, 1)
    return _solid((low * (1 - share) + high * share) * (1 - 0.85 * clouds) + 0.97 * 0.85 * clouds)


def hills(rng: Generator, rows: int, columns: int) -> np.ndarray:
    """A line of trees on hills at the end of the street, hazy."""
    height = np.linspace(1, 0, rows)[:, None]
    x = np.linspace(0, 1, columns)
    edge = 0.5 + 0.13 * np.sin(x * 9 + rng.uniform(0, 6)) + 0.07 * smooth_noise(rng, 1, columns, 6, 2)[0]
    edge = cv2.GaussianBlur(edge[None].astype(np.float32), (0, 0), 0.8)[0]
    alpha = np.clip(0.5 + (edge[None] - height) * rows, 0, 1)
    colour = oklch(0.6, 0.06, 2.4) * (1 + 0.08 * smooth_noise(rng, rows, columns, 7, 2))[..., None]
    return _solid(colour * (0.85 + 0.25 * (1 - height[..., None])), alpha)
