"""Scenes kept in memory as bytes, in three parts: to learn from, to watch while learning, to test.

Unusual: whatever the source, an agent is tested on what is rendered or read once, so two systems of one random seed
meet the same images; and test scenes show other base images than training scenes do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from course_lib.data.scene_batch import SceneBatch
from course_lib.data.scenes import SalientScenes, SceneConfig
from course_lib.data.voc import VocScenes
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.dq_config import DQConfig

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class SalientImages:
    """N scenes: pixels as bytes, and the truth about them."""

    pixels: UInt8[Tensor, "n c h w"]
    truth: SceneBatch
    """Its `images` have no channels, [N, 0, H, W]: they are made from the pixels when asked for."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device | str) -> "SalientImages":
        """The same scenes on a device."""
        return SalientImages(self.pixels.to(device), self.truth.to(device))

    def take(self, which: Int[Tensor, "b"] | slice) -> SceneBatch:
        """Some of the scenes, images in [0, 1]."""
        return self.truth.select(which)._replace(images=self.pixels[which].float() / 255)

    def batches(self, size: int = 256) -> Iterator[SceneBatch]:
        """All of them in order, `size` at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))


Parts = tuple[SalientImages, SalientImages, SalientImages]  # train, validation, test


def in_memory(scenes: Iterable[SceneBatch]) -> SalientImages:
    """Keep batches of scenes as bytes. Raises `InputError` if there are none."""
    pixels, truth = [], []
    for batch in scenes:
        pixels.append((batch.images * 255).round().byte())
        truth.append(batch._replace(images=batch.images[:, :0]))
    if not pixels:
        raise InputError("expected at least one batch of scenes, got none")
    return SalientImages(torch.cat(pixels), SceneBatch(*(torch.cat(parts) for parts in zip(*truth, strict=True))))


def salient_images(config: DQConfig, part: Part, seed: int) -> SalientImages:
    """One part of a training's data, the same for the same arguments; kept, so do not change what comes back.

    seed  of the scenes; photographs are what they are

    Raises `InputError` for another part, `MissingDataError` if the config names photographs that are not there.
    """
    if part not in PARTS:
        raise InputError(f"part must be one of {', '.join(PARTS)}; got {part!r}")
    n = {"train": config.train_images, "validation": config.validation_images, "test": config.test_images}[part]
    if config.scenes is None:
        return _photographs(config.root, config.image[1], part, n)
    return _rendered(config.scenes, part, n, seed)


def salient_parts(config: DQConfig, seed: int) -> Parts:
    """The images of a training: to learn from, to watch while learning, to test."""
    train, validation, test = (salient_images(config, part, seed) for part in PARTS)
    return train, validation, test


@lru_cache(maxsize=8)  # the parts of a few runs, shared by all systems trained on them
def _rendered(scenes: SceneConfig, part: Part, n: int, seed: int) -> SalientImages:
    source = SalientScenes(replace(scenes, split="test" if part == "test" else "train"))
    stream = len(PARTS) * seed + PARTS.index(part)
    starts = range(0, n, _AT_ONCE)
    return in_memory([source.batch(min(_AT_ONCE, n - start), stream, start) for start in starts])


@lru_cache(maxsize=3)
def _photographs(root: Path | None, size: int, part: Part, n: int) -> SalientImages:
    """The first `n` images of a list, or all if it has fewer; validation has the first ones of the training list."""
    voc = VocScenes(root, "test" if part == "test" else "train", size)
    ends = [*range(_AT_ONCE, min(n, len(voc)), _AT_ONCE), min(n, len(voc))]
    return in_memory(voc.batch(range(start, end)) for start, end in pairwise([0, *ends]))
