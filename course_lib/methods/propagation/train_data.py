"""Single labelled frames to train and test segmenters on: drives of the synthetic world, rendered once, and CamVid.

Unusual: rendering a drive costs far more than another frame of it, so a pool holds a few frames, a quarter of a second
apart, of many drives; and what a crop shows beyond the border of its frame is labelled 255, which no loss counts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from course_lib.data.camvid import CAMVID_CLASSES, CamVidDataset
from course_lib.data.clip import IGNORE
from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import InputError
from course_lib.methods.propagation.train_config import SegmenterTraining
from course_lib.training.augment import Augment
from course_lib.training.samples import epoch_order
from course_lib.training.warp import apply

Sample = dict[str, Tensor]
TEST_SEED = 7_000_003  # of the drives that segmenters are scored on: the same for all of them


class FrameSource(Protocol):
    """Training frames by number."""

    def __call__(self, index: int, rng: np.random.Generator) -> Sample:
        """frames [3, H, W] float in [0, 1] and labels [H, W] uint8, 255 where nobody knows."""
        ...


@dataclass(frozen=True, eq=False)
class FramePool:
    """Labelled frames in memory."""

    frames: UInt8[Tensor, "n 3 h w"]
    labels: UInt8[Tensor, "n h w"]  # index into class_names, 255 ignored
    class_names: tuple[str, ...]
    name: str
    """What was scored, in words, for a card."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.frames.shape[2], self.frames.shape[3]

    def frequencies(self) -> Float[Tensor, "c"]:
        """Share of each class among the labelled pixels."""
        return class_frequencies(self.labels, len(self.class_names))


class AugmentedFrames:
    """Frames of a pool in a new order each epoch, each flipped, cropped and recoloured anew.

    size  height and width of a sample
    seed  of the order
    """

    def __init__(self, pool: FramePool, augment: Augment, size: tuple[int, int], seed: int = 0) -> None:
        self.pool, self.augment, self.size, self.seed = pool, augment, size, seed

    def __call__(self, index: int, rng: np.random.Generator) -> Sample:
        item = epoch_order(index, len(self.pool), self.seed)
        warp = self.augment.warp(rng, 1, self.augment.window(rng, self.pool.size, self.size))
        # `apply` labels what lies beyond the frame 0, so classes make room: bytes wrap, 255 becomes 0 and comes back.
        images, labels = apply(warp, self.pool.frames[item, None], self.pool.labels[item, None] + 1, self.size)
        return {"frames": self.augment.recolour(rng, images)[0], "labels": labels[0] - 1}


def class_frequencies(labels: UInt8[Tensor, "..."], classes: int) -> Float[Tensor, "c"]:
    """Share of each class among the pixels that are labelled. Raises `InputError` if none is, or for other classes."""
    counts = torch.zeros(IGNORE + 1, dtype=torch.int64)
    for part in labels.flatten().split(2**24):  # counting needs 8 bytes a pixel
        counts += torch.bincount(part, minlength=IGNORE + 1)
    known, strange = counts[:classes], counts[classes:IGNORE]
    if not known.any() or strange.any():
        found = "no labelled pixel" if not known.any() else f"class {classes + int(strange.nonzero()[0])}"
        raise InputError(f"expected labels 0 to {classes - 1}, and 255 to ignore; found {found}")
    return known.float() / known.sum()


def driving_pool(
    clips: int, frames: int, size: tuple[int, int], seed: int, frame_rate: float = 4.0, progress: bool = False
) -> FramePool:
    """The first `frames` frames of `clips` drives, `frame_rate` a second; another seed gives other drives.

    About 35 ms of one core a frame at 128 x 256 with four frames a drive.
    """
    config = scenario("driving", image_size=size, length=frames, frame_rate=frame_rate, stereo=False, dense_truth=False)
    drives = World(config).dataset(clips, seed)
    pictures = torch.empty(clips * frames, 3, *size, dtype=torch.uint8)
    labels = torch.empty(clips * frames, *size, dtype=torch.uint8)
    for i in tqdm(range(clips), desc="rendering drives", disable=not progress):
        clip = drives[i]
        assert clip.semantic is not None  # the scenario has classes
        pictures[i * frames : (i + 1) * frames], labels[i * frames : (i + 1) * frames] = clip.frames, clip.semantic
    return FramePool(pictures, labels, STREET_CLASSES, f"held-out drives ({clips} clips)")


def camvid_pool(split: Literal["train", "val", "test"], root: str | Path | None = None) -> FramePool:
    """All frames of a split of CamVid. Raises `MissingDataError` where it is not, `InputError` for mixed sizes."""
    dataset = CamVidDataset(root, split)
    first = dataset.frame(0)
    pictures = torch.empty(dataset.frames_total, *first.frame.shape, dtype=torch.uint8)
    labels = torch.empty(dataset.frames_total, *first.labels.shape, dtype=torch.uint8)
    for i in range(dataset.frames_total):
        frame, truth = dataset.frame(i)
        if frame.shape != first.frame.shape:
            raise InputError(
                f"frame {i} of CamVid {split!r} has the size {list(frame.shape[1:])}, the first "
                f"{list(first.frame.shape[1:])}; bring all frames to one size"
            )
        pictures[i], labels[i] = frame, truth
    return FramePool(pictures, labels, CAMVID_CLASSES, f"CamVid {split} ({len(pictures)} frames)")


def training_pool(
    config: SegmenterTraining, seed: int, root: str | Path | None = None, progress: bool = False
) -> FramePool:
    """What a config trains on. Raises `MissingDataError` for real data that are not there."""
    if config.data == "camvid":
        return camvid_pool("train", root)
    return driving_pool(config.clips, config.frames_per_clip, config.size, seed, config.frame_rate, progress)


def held_out_pool(config: SegmenterTraining, root: str | Path | None = None) -> FramePool:
    """What it is scored on: drives it never saw, or CamVid's validation frames. Raises as `training_pool`."""
    if config.data == "camvid":
        return camvid_pool("val", root)
    return driving_pool(config.test_clips, config.frames_per_clip, config.size, TEST_SEED, config.frame_rate)
