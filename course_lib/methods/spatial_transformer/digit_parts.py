"""Cluttered digits rendered once and kept as bytes, in three parts: to learn from, to choose a checkpoint, to test.

Unusual: the validation part shows objects that training never sees (a tenth of the training split's base images is set
aside for it), and the test part is of the other split; so nothing is ever chosen on test images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.digit_images import BaseImages
from course_lib.data.digits import ClutterConfig, ClutteredDigits
from course_lib.errors import InputError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
VALIDATION_SHARE = 10  # one base image in ten of the training split is kept for validation
_RENDERED_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class DigitImages:
    """N rendered images as bytes, their labels, and the boxes of their objects."""

    images: UInt8[Tensor, "n 1 h w"]
    labels: Int[Tensor, "n"]
    boxes: Float[Tensor, "n 4"]  # x0, y0, x1, y1 in pixels

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "DigitImages":
        """The same images on a device."""
        return DigitImages(self.images.to(device), self.labels.to(device), self.boxes.to(device))

    def take(self, which: Int[Tensor, "b"] | slice) -> tuple[Tensor, Tensor, Tensor]:
        """Images [B, 1, H, W] in [0, 1], labels [B] and boxes [B, 4] of some of them."""
        return self.images[which].float() / 255, self.labels[which], self.boxes[which]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What `take` gives for all of them in order, `size` at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))


@lru_cache(maxsize=9)  # three parts of three random seeds, shared by all systems trained on them
def render_part(scenes: ClutterConfig, part: Part, n: int, seed: int) -> DigitImages:
    """The first `n` images of a part, the same for the same arguments, and different for another part or seed.

    Kept, so do not change what comes back. Raises `InputError` for another part or fewer than one image.
    """
    if part not in PARTS or n < 1:
        raise InputError(f"part must be one of {', '.join(PARTS)} and n at least 1; got {part!r} and {n}")
    digits = ClutteredDigits(replace(scenes, split="test" if part == "test" else "train"))
    if part != "test":
        order = torch.randperm(len(digits.base), generator=torch.Generator().manual_seed(0))  # the same in every run
        kept_out = len(order) // VALIDATION_SHARE
        chosen = order[:kept_out] if part == "validation" else order[kept_out:]
        digits.base = BaseImages(digits.base.images[chosen], digits.base.labels[chosen])
    side = scenes.canvas
    pixels = torch.empty(n, 1, side, side, dtype=torch.uint8)
    labels, boxes = torch.empty(n, dtype=torch.long), torch.empty(n, 4)
    for start in range(0, n, _RENDERED_AT_ONCE):
        batch = digits.batch(min(_RENDERED_AT_ONCE, n - start), len(PARTS) * seed + PARTS.index(part), start)
        here = slice(start, start + len(batch.labels))
        pixels[here] = (batch.images * 255).round().byte()  # the images are whole numbers over 255
        labels[here], boxes[here] = batch.labels, batch.boxes
    return DigitImages(pixels, labels, boxes)
