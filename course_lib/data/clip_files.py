"""A clip left on disk, one image file per frame, read one frame at a time.

The data sets' adapters return it from `stream(i)`, so that scoring a long sequence costs one frame of memory; `load`
reads the same files into a `Clip`. Unusual: every frame is held against the first one's size as it is read.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ImageOps
from torch import Tensor

from course_lib.data.clip import IGNORE, Clip
from course_lib.data.palette_png import open_image, read_labels
from course_lib.errors import InputError, MissingDataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


def read_frame(path: str | Path) -> UInt8[Tensor, "3 h w"]:
    """RGB image [3, H, W] uint8 of a file, upright (a camera's orientation tag is obeyed).

    Raises `MissingDataError`, or `InputError` for a damaged image or one with more than 8 bits per channel.
    """
    path = Path(path)
    image = open_image(path)
    if image.mode not in _EIGHT_BIT:
        raise InputError(
            f"{path} has pixels of mode {image.mode}; expected 8 bits per channel. Convert it to 8-bit RGB"
        )
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()  # [H, W, 3] -> [3, H, W]


def image_files(folder: Path) -> tuple[Path, ...]:
    """Image files directly inside `folder`, sorted by name; hidden files are passed over."""
    return tuple(
        sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    )


@dataclass(frozen=True)
class ClipFiles:
    """Frames and annotations of one video as files.

    `label_paths[t]` is None where nobody annotated frame t. `given` says which object ids are handed to a method at
    which frame; by default all objects of the first annotated frame, and no later ones.
    """

    name: str
    frame_paths: tuple[Path, ...]
    label_paths: tuple[Path | None, ...]
    fps: float = 24.0
    given: Mapping[int, tuple[int, ...]] | None = None
    decode: Callable[[Path], Tensor] = field(default=read_labels, repr=False)

    def __post_init__(self) -> None:
        if not self.frame_paths:
            raise InputError(f"sequence {self.name!r} has no frames")
        if len(self.frame_paths) != len(self.label_paths):
            raise InputError(
                f"sequence {self.name!r}: {len(self.frame_paths)} frames but {len(self.label_paths)} label entries"
            )

    def __len__(self) -> int:
        return len(self.frame_paths)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the first frame in pixels."""
        height, width = read_frame(self.frame_paths[0]).shape[1:]
        return height, width

    @property
    def annotated(self) -> tuple[int, ...]:
        """Indices of the frames that have an annotation file."""
        return tuple(t for t, path in enumerate(self.label_paths) if path is not None)

    @property
    def start(self) -> int:
        """Index of the frame in which the first object is given, where following begins."""
        if self.given:
            return min(self.given)
        if not self.annotated:
            raise MissingDataError(f"sequence {self.name!r} has no annotation at all")
        return self.annotated[0]

    def frame(self, t: int) -> UInt8[Tensor, "3 h w"]:
        """Frame t as RGB [3, H, W]. Raises `InputError` naming the file if it is damaged or of another size."""
        frame = read_frame(self.frame_paths[t])
        self._check_size(frame, self.frame_paths[t])
        return frame

    def frames(self) -> Iterator[UInt8[Tensor, "3 h w"]]:
        """All frames in order, one in memory at a time."""
        return (self.frame(t) for t in range(len(self)))

    def labels(self, t: int) -> UInt8[Tensor, "h w"] | None:
        """Annotation of frame t: [H, W] ids, 255 ignore; None where nobody annotated."""
        path = self.label_paths[t]
        if path is None:
            return None
        labels = self.decode(path)
        self._check_size(labels, path)
        return labels

    def new_labels(self, t: int) -> UInt8[Tensor, "h w"] | None:
        """What a method is told at frame t: ids that first appear there, 0 elsewhere; None where nothing is new."""
        if self.given is None:
            return self.labels(t) if t == self.start else None
        ids = self.given.get(t)
        if not ids:
            return None
        labels = self.labels(t)
        if labels is None:
            raise MissingDataError(
                f"sequence {self.name!r}: objects {list(ids)} first appear in {self.frame_paths[t].name}, "
                "but that frame has no annotation file"
            )
        known = torch.tensor([*ids, IGNORE] if t == self.start else ids, dtype=torch.uint8)
        return torch.where(torch.isin(labels, known), labels, torch.zeros_like(labels))

    @property
    def first_labels(self) -> UInt8[Tensor, "h w"]:
        """What a method is told at frame `start`."""
        labels = self.new_labels(self.start)
        if labels is None:
            raise InputError(f"sequence {self.name!r}: `given` names no object for frame {self.start}")
        return labels

    def load(self) -> Clip:
        """Read everything into a `Clip`; frames without annotation are all 255 there and not in `clip.annotated`."""
        height, width = self.size
        frames = torch.empty(len(self), 3, height, width, dtype=torch.uint8)
        labels = torch.full((len(self), height, width), IGNORE, dtype=torch.uint8)
        for t in range(len(self)):
            frames[t] = self.frame(t)
            truth = self.labels(t)
            if truth is not None:
                labels[t] = truth
        annotated = self.annotated
        return Clip(frames, labels, self.name, self.fps, None if len(annotated) == len(self) else annotated)

    def _check_size(self, image: Tensor, path: Path) -> None:
        if tuple(image.shape[-2:]) != self.size:
            raise InputError(
                f"sequence {self.name!r}: {path} is {image.shape[-2]}x{image.shape[-1]} (height x width), "
                f"but the first frame is {self.size[0]}x{self.size[1]}. All files of a sequence must agree in size"
            )


class ClipSet(ABC):
    """A map-style data set of clips in files: item i is the whole clip, `stream(i)` the same frame by frame."""

    names: tuple[str, ...]

    @abstractmethod
    def stream(self, index: int) -> ClipFiles:
        """Clip `index` as files, for reading frame by frame."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        return self.stream(index).load()

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))
