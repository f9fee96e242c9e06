"""Clean images of ten classes to build cluttered scenes from, split into training and test images that share nothing.

By default handwritten digits of scikit-learn (Alpaydin and Kaynak, 1998) and digits of the DejaVu fonts in matplotlib,
or garments drawn on the spot, so nothing need be downloaded; MNIST or Fashion-MNIST where they are there. Unusual: the
split goes by writer and by typeface (upright and slanted of one weight together), not by image, or a test digit could
be a training digit bent; garments are split by cut and by cloth.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.garments import garments
from course_lib.data.idx import read_idx
from course_lib.data.roots import require_root
from course_lib.errors import InputError

Source = Literal["builtin", "garments", "mnist", "fashion_mnist"]
Split = Literal["train", "test"]

HANDWRITTEN_TRAIN = 1300  # of 1,797; samples of one writer stand together, so the cut parts writers
FACES = {
    "train": (
        "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSans-BoldOblique",
        "DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic",
    ),
    "test": ("DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique", "DejaVuSerif", "DejaVuSerif-Italic"),
}  # fmt: skip
VARIANTS = {"train": 16, "test": 12}  # bent copies of each printed digit
GLYPH = 64  # pixels at which a printed digit is drawn before it is bent and shrunk


@dataclass(frozen=True)
class BaseImages:
    """M clean images [M, S, S] uint8, ink bright on black, with labels [M] from 0 to 9."""

    images: UInt8[Tensor, "m s s"]
    labels: Int[Tensor, "m"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.images.shape[-1]


def base_images(source: Source, split: Split, sprite: int | None = None, root: str | Path | None = None) -> BaseImages:
    """Clean images of a source and split.

    source  "builtin" digits and drawn "garments" are always there; "mnist" and "fashion_mnist" where downloaded
    sprite  side in pixels; None takes 16 for the built-in digits and the garments, 28 for the others
    root    folder of real data sets, else COURSE_DATA; needed for "mnist" and "fashion_mnist"

    Raises `InputError` for an unknown source or split, `MissingDataError` for a data set that is not there.
    """
    if split not in ("train", "test"):
        raise InputError(f"split must be 'train' or 'test', got {split!r}")
    if sprite is not None and (isinstance(sprite, bool) or not isinstance(sprite, int) or sprite < 4):
        raise InputError(f"sprite must be a whole number of at least 4 pixels, got {sprite!r}")
    if source == "builtin":
        side = sprite or 16
        parts = (handwritten(split, side), printed(split, side))
        return BaseImages(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))
    if source == "garments":
        drawn, kinds = garments(split)
        images = _to_bytes(_resize(torch.tensor(drawn).float() / 255, sprite or 16))
        return BaseImages(images, torch.tensor(kinds))
    if source not in ("mnist", "fashion_mnist"):
        raise InputError(f"source must be 'builtin', 'garments', 'mnist' or 'fashion_mnist', got {source!r}")
    folder = require_root(source, root) / "raw"
    stem = "train" if split == "train" else "t10k"
    images, labels = read_idx(folder / f"{stem}-images-idx3-ubyte"), read_idx(folder / f"{stem}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(
            f"{folder}: images {list(images.shape)} and labels {list(labels.shape)} do not belong together"
        )
    if sprite is not None and sprite != images.shape[-1]:
        images = _to_bytes(_resize(images.float() / 255, sprite))
    return BaseImages(images, labels.long())


def handwritten(split: Split, side: int) -> BaseImages:
    """The 8x8 digits of scikit-learn, enlarged: 1,300 to train on, 497 to test."""
    from sklearn.datasets import load_digits  # slow to import; only this function needs it

    digits = load_digits()
    chosen = slice(0, HANDWRITTEN_TRAIN) if split == "train" else slice(HANDWRITTEN_TRAIN, None)
    images = torch.from_numpy(digits.images[chosen]).float() / 16  # 0..16 -> 0..1
    return BaseImages(_to_bytes(_resize(images, side)), torch.from_numpy(digits.target[chosen]).long())


def printed(split: Split, side: int) -> BaseImages:
    """Digits of the split's typefaces, each slightly turned, slanted, scaled and bent in several ways."""
    glyphs = torch.stack([glyph(face, digit) for face in FACES[split] for digit in range(10)])  # [F*10, G, G]
    labels = torch.arange(10).repeat(len(FACES[split]))
    copies = VARIANTS[split]
    bent = _bend(glyphs.repeat_interleave(copies, 0), torch.Generator().manual_seed(("train", "test").index(split)))
    return BaseImages(_to_bytes(_resize(bent, side)), labels.repeat_interleave(copies))


def glyph(face: str, digit: int) -> Float[Tensor, "g g"]:
    """One digit of a DejaVu face in matplotlib's data folder, centred with a small margin, in [0, 1]."""
    import matplotlib  # only its data folder is used
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    font = ImageFont.truetype(str(path), int(GLYPH * 1.05))
    left, top, right, bottom = font.getbbox(str(digit))
    picture = Image.new("L", (GLYPH, GLYPH))
    corner = ((GLYPH - right - left) / 2, (GLYPH - bottom - top) / 2)
    ImageDraw.Draw(picture).text(corner, str(digit), fill=255, font=font)
    return torch.from_numpy(np.array(picture)).float() / 255


def _bend(images: Float[Tensor, "m g g"], generator: torch.Generator) -> Float[Tensor, "m g g"]:
    """Small random affine maps, and a smooth displacement of at most four in a hundred of the side."""
    m = len(images)

    def uniform(low: float, high: float) -> Float[Tensor, "m"]:
        return torch.rand(m, generator=generator) * (high - low) + low

    angle, slant = uniform(-10, 10) * math.pi / 180, uniform(-0.15, 0.15)
    scale, stretch = uniform(0.95, 1.12), uniform(0.92, 1.08)
    cos, sin = angle.cos(), angle.sin()
    rows = (
        torch.stack([scale * stretch * cos, scale * (slant * cos - sin), torch.zeros(m)], 1),
        torch.stack([scale * sin, scale * (slant * sin + cos), torch.zeros(m)], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), [m, 1, *images.shape[1:]], align_corners=False)  # [M, G, G, 2]
    coarse = torch.rand(m, 2, 4, 4, generator=generator) * 0.16 - 0.08  # the grid spans 2, so 0.08 is 4 %
    wave = F.interpolate(coarse, size=images.shape[1:], mode="bicubic", align_corners=True)
    grid = grid + wave.permute(0, 2, 3, 1)
    return F.grid_sample(images[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]


def _resize(images: Float[Tensor, "m a a"], side: int) -> Float[Tensor, "m side side"]:
    if images.shape[-1] == side:
        return images
    return F.interpolate(images[:, None], (side, side), mode="bilinear", align_corners=False, antialias=True)[:, 0]


def _to_bytes(images: Float[Tensor, "m s s"]) -> UInt8[Tensor, "m s s"]:
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
