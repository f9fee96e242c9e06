"""The clip: frames and, where they are known, labels. Every data source of the course returns one."""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.errors import InputError

IGNORE = 255  # label of pixels that nobody annotated


def object_ids(labels: Tensor) -> Tensor:
    """Ids of the objects in a label map of any shape: sorted, without 0 (background) and 255 (ignore). Returns [K]."""
    ids = labels.unique()
    return ids[(ids != 0) & (ids != IGNORE)]


@dataclass(frozen=True)
class Clip:
    """A video with its annotation.

    frames [T, 3, H, W] uint8 RGB; labels [T, H, W] uint8 (0 background, 255 ignore) or None where there is no truth.
    `annotated` lists the frames whose labels are real; None means all of them. Raises `InputError` on wrong shapes.
    """

    frames: UInt8[Tensor, "t 3 h w"]
    labels: UInt8[Tensor, "t h w"] | None = None
    name: str = "clip"
    fps: float = 24.0
    annotated: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[1] != 3 or self.frames.dtype != torch.uint8:
            raise InputError(
                f"clip {self.name!r}: frames must be [T, 3, H, W] uint8, "
                f"got {list(self.frames.shape)} {self.frames.dtype}"
            )
        if self.labels is not None:
            wanted = (self.frames.shape[0], *self.frames.shape[2:])
            if tuple(self.labels.shape) != wanted or self.labels.dtype != torch.uint8:
                raise InputError(
                    f"clip {self.name!r}: labels must be {list(wanted)} uint8 to match the frames, "
                    f"got {list(self.labels.shape)} {self.labels.dtype}"
                )

    def __len__(self) -> int:
        return self.frames.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.frames.shape[2], self.frames.shape[3]

    @property
    def ids(self) -> Tensor:
        """[K] ids of all objects that appear anywhere in the labels."""
        if self.labels is None:
            raise InputError(f"clip {self.name!r} has no labels")
        return object_ids(self.labels)
