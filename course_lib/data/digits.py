"""Cluttered digits: one object at a random place among fragments of others, rendered in batches on any device.

The task of F. Azimi (2024), section 5.3.2, after Mnih et al. (2014): fragments are windows cut from other images, added
up and clipped at white, then the object is added and clipped again; so clutter has the local statistics of the object.
Unusual: sums are taken over whole numbers 0..255, exact in any order, so that a random seed gives the same bytes on the
CPU and on a GPU, and image i of a stream does not depend on the batch in which it is drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from course_lib.data.digit_images import BaseImages, Source, Split, base_images
from course_lib.errors import InputError

BLOCK = 1024  # images whose random numbers are drawn together
MAX_SEED = 2**53


@dataclass(frozen=True)
class ClutterConfig:
    """How a cluttered image is made. Lengths in pixels. Defaults are the laptop size; `published()` is the thesis's.

    Raises `InputError` if a part does not fit on the canvas or a count is negative.
    """

    canvas: int = 40
    n_clutter: int = 8  # fragments; the thesis does not say how many
    clutter_size: int = 5  # side of a fragment
    sprite: int | None = None  # side of the object; None: 16 for built-in digits and garments, else 28
    border: int = 0  # least distance of the object from the edge
    source: Source = "builtin"
    root: str | Path | None = None  # folder of real data sets, else COURSE_DATA
    split: Split = "train"

    def __post_init__(self) -> None:
        for name in ("canvas", "n_clutter", "clutter_size", "border"):
            value = getattr(self, name)
            least = 0 if name in ("n_clutter", "border") else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")

    @classmethod
    def published(
        cls, source: Source = "mnist", split: Split = "train", root: str | Path | None = None
    ) -> "ClutterConfig":
        """Canvas 80 with objects of 28 pixels and fragments of 8, as published; 500,000 images to train on."""
        return cls(canvas=80, n_clutter=8, clutter_size=8, sprite=28, source=source, split=split, root=root)


class DigitBatch(NamedTuple):
    """N images [N, 1, H, W] in [0, 1], labels [N] from 0 to 9, boxes [N, 4] of the object (x0, y0, x1, y1)."""

    images: Float[Tensor, "n 1 h w"]
    labels: Int[Tensor, "n"]
    boxes: Float[Tensor, "n 4"]


class _Draw(NamedTuple):
    """Everything random about N images, on the CPU."""

    main: Int[Tensor, "n"]  # index of the object
    corner: Int[Tensor, "n 2"]  # its left upper corner (x, y)
    fragment: Int[Tensor, "n f"]  # index of the image each fragment is cut from
    cut: Int[Tensor, "n f 2"]  # corner of the cut (x, y)
    put: Int[Tensor, "n f 2"]  # corner where it goes (x, y)


class ClutteredDigits:
    """Endless streams of cluttered images, one per random seed, from the base images of one split.

    Objects come in shuffled passes: each base image once per pass. Fragments come from any image of the same split.
    Built in lesson 01.
    """

    def __init__(self, config: ClutterConfig | None = None) -> None:
        self.config = config or ClutterConfig()
        self.base: BaseImages = base_images(self.config.source, self.config.split, self.config.sprite, self.config.root)
        side, room = self.base.side, self.config.canvas - 2 * self.config.border
        if side > room:
            raise InputError(
                f"an object of {side} pixels does not fit on a canvas of {self.config.canvas} with a border of "
                f"{self.config.border}; make the canvas at least {side + 2 * self.config.border}, or the sprite smaller"
            )
        if self.config.n_clutter and self.config.clutter_size > side:
            raise InputError(
                f"fragments of {self.config.clutter_size} pixels cannot be cut from images of {side}; "
                "make clutter_size smaller"
            )
        self._pixels: dict[torch.device, Tensor] = {}

    @property
    def positions(self) -> int:
        """In how many places the object can be."""
        return (self.config.canvas - 2 * self.config.border - self.base.side + 1) ** 2

    def batch(
        self, n: int, seed: int | torch.Generator = 0, start: int = 0, device: torch.device | str = "cpu"
    ) -> DigitBatch:
        """Images `start` to `start + n` of the stream of `seed`; a generator draws a seed for this batch.

        The same arguments give the same bytes on every device. Raises `InputError` for a negative n, seed or start.
        """
        if isinstance(seed, torch.Generator):
            seed = int(torch.randint(MAX_SEED, (), generator=seed, device=seed.device))
        if n < 0 or start < 0 or not 0 <= seed < MAX_SEED:
            raise InputError(f"n, start and seed must not be negative (seed below 2**53), got {n}, {start}, {seed}")
        device = torch.device(device)
        width = self.config.canvas
        images = torch.empty(n, 1, width, width, device=device)
        labels = torch.empty(n, dtype=torch.long, device=device)
        boxes = torch.empty(n, 4, device=device)
        done = 0
        while done < n:  # one block at a time, whose canvases stay in the cache of the processor
            block, first = divmod(start + done, BLOCK)
            count = min(BLOCK - first, n - done)
            draw = _Draw(*(part[first : first + count] for part in self._draw(seed, block)))
            part = slice(done, done + count)
            labels[part], boxes[part] = self._render(draw, images[part])
            done += count
        return DigitBatch(images, labels, boxes)

    def stream(self, batch_size: int, seed: int = 0, device: torch.device | str = "cpu") -> Iterator[DigitBatch]:
        """Batches of the stream of `seed`, one after the other, without end."""
        start = 0
        while True:
            yield self.batch(batch_size, seed, start, device)
            start += batch_size

    def dataset(self, n: int, seed: int = 0) -> "DigitDataset":
        """The first `n` images of the stream of `seed` as a map-style data set."""
        return DigitDataset(self, n, seed)

    def with_split(self, split: Split) -> "ClutteredDigits":
        """The same task with the base images of the other split."""
        return ClutteredDigits(replace(self.config, split=split))

    def _draw(self, seed: int, block: int) -> _Draw:
        """The random numbers of one block of images."""
        config, base, count = self.config, self.base, len(self.base)
        g = stream_generator(seed, 0, block)
        places = config.canvas - 2 * config.border - base.side + 1
        corner = torch.randint(places, (BLOCK, 2), generator=g) + config.border
        shape = (BLOCK, config.n_clutter)
        fragment = torch.randint(count, shape, generator=g)
        cut = torch.randint(max(base.side - config.clutter_size, 0) + 1, (*shape, 2), generator=g)
        put = torch.randint(max(config.canvas - config.clutter_size, 0) + 1, (*shape, 2), generator=g)
        index = torch.arange(block * BLOCK, (block + 1) * BLOCK)
        turns = range(int(index[0]) // count, int(index[-1]) // count + 1)
        order = torch.cat([torch.randperm(count, generator=stream_generator(seed, 1, turn)) for turn in turns])
        return _Draw(order[index - turns[0] * count], corner, fragment, cut, put)

    def _render(self, draw: _Draw, images: Tensor) -> tuple[Tensor, Tensor]:
        """Fill `images` [N, 1, W, W] and return labels [N] and boxes [N, 4]."""
        config, side, device = self.config, self.base.side, images.device
        width, n = config.canvas, len(images)
        if device not in self._pixels:  # whole numbers 0..255; float32 adds them without rounding
            self._pixels[device] = self.base.images.to(device).float()
        pixels = self._pixels[device]
        main, corner, fragment, cut, put = (part.to(device) for part in draw)
        canvas = images.view(-1).zero_()
        rows = torch.arange(n, device=device) * (width * width)
        if config.n_clutter:
            c = config.clutter_size
            # Every c x c window of every base image, without a copy: [M, S-c+1, S-c+1, c, c].
            pieces = pixels.unfold(1, c, 1).unfold(2, c, 1)[fragment, cut[..., 1], cut[..., 0]]  # [N, F, c, c]
            at = rows[:, None] + put[..., 1] * width + put[..., 0]  # [N, F]
            canvas.index_add_(0, (at[..., None] + _square(c, width, device)).flatten(), pieces.flatten())
            canvas.clamp_(max=255)
        at = rows + corner[:, 1] * width + corner[:, 0]  # [N]
        canvas.index_add_(0, (at[:, None] + _square(side, width, device)).flatten(), pixels[main].flatten())
        canvas.clamp_(max=255).mul_(1 / 255)  # a division would round differently on a GPU
        boxes = torch.cat([corner, corner + side], dim=1).float()
        return self.base.labels.to(device)[main], boxes


class DigitDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A fixed number of cluttered images; item i is (image [1, H, W], label, box [4]).

    A DataLoader asks for whole batches (`__getitems__`), which are rendered at once.
    """

    def __init__(self, digits: ClutteredDigits, n: int, seed: int = 0) -> None:
        if n < 1:
            raise InputError(f"a data set needs at least one image, got n={n}")
        self.digits, self.n, self.seed = digits, n, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Items of several indices, in their order."""
        if any(not -self.n <= i < self.n for i in indices):
            raise IndexError(f"an index of {list(indices)[:5]} is outside a data set of {self.n} images")
        wanted = [i % self.n for i in indices]
        by_block: dict[int, _Draw] = {}
        for i in wanted:
            if i // BLOCK not in by_block:
                by_block[i // BLOCK] = self.digits._draw(self.seed, i // BLOCK)
        rows = [[part[i % BLOCK] for part in by_block[i // BLOCK]] for i in wanted]
        images = torch.empty(len(wanted), 1, self.digits.config.canvas, self.digits.config.canvas)
        labels, boxes = self.digits._render(_Draw(*(torch.stack(parts) for parts in zip(*rows, strict=True))), images)
        return list(zip(images, labels, boxes, strict=True))


def stream_generator(seed: int, purpose: int, index: int) -> torch.Generator:
    """A random generator for one purpose and one place in a stream; nearby seeds give unrelated streams."""
    mixed = seed
    for value in (purpose, index):  # splitmix64, as in Steele et al. (2014)
        mixed = (mixed + 0x9E3779B97F4A7C15 * (value + 1)) % 2**64
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed % 2**63)


def _square(side: int, width: int, device: torch.device) -> Int[Tensor, "side2"]:
    """Flat offsets of a side x side square on a canvas of this width."""
    steps = torch.arange(side, device=device)
    return (steps[:, None] * width + steps).flatten()
