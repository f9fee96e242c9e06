"""Label maps as palette PNGs: the pixel value is the object's id, the palette only makes it visible.

This is the file format of PASCAL VOC, DAVIS and YouTube-VOS (Everingham et al., 2010; Pont-Tuset et al., 2017).
Unusual: the palette is not tabled but computed, by dealing the bits of an id to red, green and blue in turn.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError

_INDEX_MODES = ("P", "L", "1")  # palette, 8-bit grey, one bit


@lru_cache(maxsize=1)
def _voc_table() -> UInt8[np.ndarray, "256 3"]:
    ids = np.arange(256)
    table = np.zeros((256, 3), dtype=np.int64)
    for place in range(8):  # bits 3k, 3k+1, 3k+2 of the id are bit 7-k of red, green, blue
        for channel in range(3):
            table[:, channel] |= ((ids >> (3 * place + channel)) & 1) << (7 - place) if 3 * place + channel < 8 else 0
    return table.astype(np.uint8)


def voc_palette() -> UInt8[np.ndarray, "256 3"]:
    """RGB colour of every label in PASCAL VOC's files: 0 black, 1 dark red, 2 dark green …, 255 cream. A fresh copy."""
    return _voc_table().copy()


def open_image(path: Path) -> Image.Image:
    """Open and fully decode an image file, so that a truncated one fails here and not as grey rows later.

    Raises `MissingDataError` where there is no file, `InputError` naming the file where it is not a readable image.
    """
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no file {path}") from error
    except Exception as error:  # a damaged file makes the decoders fail in many ways, all of which mean the same here
        raise InputError(
            f"cannot read {path}: {error}. Expected a whole image file (JPEG or PNG); copy or download it again"
        ) from error
    return image


def indices(image: Image.Image, path: Path) -> UInt8[Tensor, "h w"]:
    """Pixel values of a palette, grey or one-bit image. A colour image passes only if it is grey throughout."""
    if image.mode in _INDEX_MODES:
        return torch.from_numpy(np.array(image, dtype=np.uint8))
    if image.mode in ("RGB", "RGBA"):
        colour = np.array(image.convert("RGB"))
        if (colour == colour[..., :1]).all():
            return torch.from_numpy(colour[..., 0].copy())
    raise InputError(
        f"{path} is a {image.mode} image; labels are expected as a palette or 8-bit grey PNG whose pixel value is the "
        "object's id (0 background, 255 ignore). Save it in indexed colours, or use write_labels"
    )


def read_labels(path: str | Path) -> UInt8[Tensor, "h w"]:
    """Object ids of a palette PNG (the index, not the colour) or of an 8-bit grey PNG: [H, W], 0 … 255, as stored.

    A one-bit PNG gives 0 and 1. Raises `MissingDataError`, or `InputError` for a damaged or a coloured image.
    """
    path = Path(path)
    return indices(open_image(path), path)


def write_labels(path: str | Path, labels: UInt8[Tensor, "h w"]) -> None:
    """Write a label map [H, W] uint8 as a palette PNG in VOC colours; the file appears whole or not at all.

    Raises `InputError` for another shape or type, `WriteError` when the disk is full or the folder is read-only.
    """
    labels = torch.as_tensor(labels)
    if labels.ndim != 2 or labels.dtype != torch.uint8 or labels.numel() == 0:
        raise InputError(f"labels must be [H, W] uint8 and not empty, got {list(labels.shape)} {labels.dtype}")
    image = Image.fromarray(np.ascontiguousarray(labels.cpu().numpy()))
    image.putpalette(_voc_table().tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
