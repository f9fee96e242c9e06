"""Short animations for pages that run no scripts, such as the README."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from course_lib.errors import InputError, WriteError

_MAX_COLOURS = 128


def save_gif(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], path: str | Path, fps: float = 8) -> Path:
    """Write pictures [H, W, 3] uint8 (for example from `overlay`) as an endless GIF with one palette for all frames.

    Raises `InputError` on no pictures or unequal sizes, `WriteError` where the file cannot be written.
    """
    if not len(pictures):
        raise InputError("save_gif needs at least one picture")
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise InputError(f"all pictures of a GIF must have one size, got {sorted(sizes)}")
    images = [Image.fromarray(picture) for picture in pictures]
    sample = Image.fromarray(np.concatenate(pictures[:: max(1, len(pictures) // 8)], axis=0))
    palette = sample.quantize(_MAX_COLOURS, method=Image.Quantize.MEDIANCUT)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    path = Path(path)
    try:
        first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=True)
    except OSError as error:
        raise WriteError(f"could not write {path}: {error.strerror or error}") from error
    return path
