"""Where training clips come from: the small world, drawn on the fly, or real videos; one object per sample.

F. Azimi (2024), section 6.3.2: no batch holds two objects of one video, and flip and affine map are the same for all
frames of a clip, since a jolt per frame would drown its motion. Unusual: which videos a batch holds follows from its
number alone, so the rule also holds across epochs, workers and resumed runs.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from course_lib.data.clip import object_ids
from course_lib.data.roots import require_root
from course_lib.data.small_world import SmallClips, SmallWorld
from course_lib.data.youtube_vos import YouTubeVosDataset
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.training import warp
from course_lib.training.clips import (
    Clips,
    LongEnough,
    annotated_frames,
    draw_times,
    frame_at,
    labels_at,
    open_clip,
    renumbered,
)
from course_lib.training.course_clips import davis_folder, render, training_sequences

Sample = dict[str, Tensor]
TEST_SEED = 7_000_003  # of the first test set: the same clips for every row and every random seed of training
_WORLD_CLIPS, _WORLD_FRAMES = 90, 20  # of the large world, beside real clips
_ANALYSIS_SHARE = 5  # every fifth YouTube-VOS training video is kept for tests, as in the thesis's 80:20 split
_TRIES = 50


class ClipSource(Protocol):
    """Training clips with one object each, by number."""

    def __call__(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        """frames [T, 3, H, W] float in [0, 1] and masks [T, 1, H, W] uint8: 0, 1, and 255 where nobody annotated."""
        ...


class SmallWorldSource:
    """Clips of the small world; none comes twice. Masks hold the pixels of the target that are visible."""

    def __init__(self, world: SmallWorld) -> None:
        self.world = world

    def __call__(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        clip = self.world(rng, frames)
        assert clip.labels is not None
        return {"frames": clip.frames.float() / 255, "masks": clip.labels[:, None]}


@dataclass(frozen=True)
class Shake:
    """One random flip and affine map for all frames of a clip. Ranges in degrees, and shares of the frame's size."""

    flip: float = 0.5
    degrees: float = 20.0
    zoom: float = 0.25
    shift: float = 0.1
    shear: float = 10.0
    view: tuple[float, float] = (1.0, 1.0)
    """How much of the frame's sides is shown, at least and at most, anywhere in it."""

    def warp(self, rng: np.random.Generator, frames: int, source: tuple[int, int]) -> warp.Warp:
        """Where `frames` frames of height and width `source` are sampled: all alike."""
        mirror = -1.0 if rng.uniform() < self.flip else 1.0
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        slant = math.tan(math.radians(rng.uniform(-self.shear, self.shear)))
        size = 1 / rng.uniform(1 - self.zoom, 1 + self.zoom)  # a map from output to source shrinks what it enlarges
        cos, sin = math.cos(angle) * size, math.sin(angle) * size
        matrix = torch.tensor([[mirror * cos, slant * cos - sin], [mirror * sin, slant * sin + cos]])
        shift = torch.from_numpy(rng.uniform(-2 * self.shift, 2 * self.shift, 2)).float()  # in halves of the frame
        share = rng.uniform(*self.view)
        height, width = share * source[0], share * source[1]
        x, y = rng.uniform(0, 1) * (source[1] - width), rng.uniform(0, 1) * (source[0] - height)
        return warp.Warp((x, y, x + width, y + height), matrix.expand(frames, 2, 2), shift.expand(frames, 2))


class VideoSource:
    """Clips of real videos: one object, frames up to `max_gap` annotated ones apart, flipped and mapped as one.

    clips       each with enough annotated frames for the longest sample
    size        height and width of a sample
    batch_size  samples of one update, which are of different videos
    seed        of the order of videos
    min_pixels  an object smaller than this in the sample's first frame is not followed

    Raises `InputError` for fewer videos than a batch has samples.
    """

    def __init__(
        self, clips: Clips, size: tuple[int, int], batch_size: int, seed: int, max_gap: int = 1, min_pixels: int = 64,
        shake: Shake | None = None,
    ) -> None:  # fmt: skip
        if len(clips) < batch_size:
            raise InputError(
                f"a batch holds {batch_size} objects of different videos, but there are only {len(clips)} videos; use "
                "a smaller batch_size"
            )
        self.clips, self.size, self.batch_size, self.seed = clips, size, batch_size, seed
        self.max_gap, self.min_pixels, self.shake = max_gap, min_pixels, shake or Shake()

    def __call__(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        """Raises `InputError` if 50 draws from the video show no object that is large enough."""
        clip = open_clip(self.clips, different_videos(index, len(self.clips), self.batch_size, self.seed))
        for _ in range(_TRIES):
            times = draw_times(annotated_frames(clip), frames, self.max_gap, rng, clip.name)
            labels = torch.stack([labels_at(clip, t) for t in times])
            warped = self.shake.warp(rng, frames, (labels.shape[1], labels.shape[2]))
            ids = object_ids(labels[0])
            if not len(ids):
                continue
            chosen = rng.permutation(ids.numpy())[:1]
            pixels = torch.stack([frame_at(clip, t) for t in times])
            images, masks = warp.apply(warped, pixels, renumbered(labels, chosen), self.size)
            if int((masks[0] == 1).sum()) >= self.min_pixels:
                return {"frames": images, "masks": masks[:, None]}
        raise InputError(
            f"video {clip.name!r} showed no object of {self.min_pixels} pixels at {self.size[0]}x{self.size[1]} in "
            f"{_TRIES} draws; leave it out, or lower min_pixels"
        )


class MixedSource:
    """Clips of one source or, with probability `share`, of another."""

    def __init__(self, source: ClipSource, other: ClipSource, share: float) -> None:
        self.source, self.other, self.share = source, other, share

    def __call__(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        return (self.other if rng.uniform() < self.share else self.source)(index, frames, rng)


def different_videos(index: int, n: int, batch_size: int, seed: int) -> int:
    """Video of sample `index`, of `n`: a new random order each epoch, cut so that no batch lies across two epochs.

    The few videos that do not fill a batch sit out an epoch, others the next time.
    """
    used = n - n % batch_size
    epoch, position = divmod(index, used)
    return int(np.random.default_rng((seed, epoch, n)).permutation(n)[position])


def clip_source(config: RecurrentTraining, seed: int, root: str | Path | None = None) -> ClipSource:
    """The training clips of a config; `root` holds real data sets, else COURSE_DATA.

    Raises `MissingDataError` for real data that are not there.
    """
    if config.data == "small world":
        return SmallWorldSource(SmallWorld(config.world))
    videos: Clips
    if config.data == "davis":
        videos = training_sequences(davis(root))
    else:
        videos = LongEnough(_youtube(root, kept=False), config.lengths.longest)
    shake = Shake(view=config.view)
    real = VideoSource(videos, config.frame, config.batch_size, seed, config.max_gap, shake=shake)
    if not config.world_share:
        return real
    world = render(_WORLD_CLIPS, _WORLD_FRAMES, config.frame[0], seed)
    return MixedSource(real, VideoSource(world, config.frame, config.batch_size, seed), config.world_share)


def small_tests(config: RecurrentTraining) -> dict[str, SmallClips]:
    """Small clips to test on, by kind; the same whatever was trained. Real ones: see `scoring`."""
    worlds = config.test_worlds()
    return {
        name: SmallWorld(world).clips(config.test_clips, TEST_SEED + number)
        for number, (name, world) in enumerate(worlds.items())
    }


def youtube_tests(root: str | Path | None, most: int, together: bool = False) -> YouTubeVosDataset:
    """The first `most` videos of YouTube-VOS's training set that training leaves out: every fifth by name.

    together  only videos whose objects are all there from the start, for methods that take them nowhere else

    Raises `MissingDataError` where the data set is not there, or no such video.
    """
    videos = _youtube(root, kept=True)
    starts = [{one.frames[0] for one in videos.objects(i)} for i in range(len(videos))]
    names = [name for name, first in zip(videos.names, starts) if not together or len(first) == 1][:most]
    if not names:
        raise MissingDataError(f"{videos.root} has no video to test on")
    return YouTubeVosDataset(videos.root, sequences=names)


def davis(root: str | Path | None) -> Path:
    """The folder of DAVIS. Raises `MissingDataError` where there is none."""
    folder = davis_folder(root)
    if folder is None:
        raise MissingDataError("this network learns from DAVIS, which was not found; set COURSE_DATA or pass data_root")
    return folder


def _youtube(root: str | Path | None, kept: bool) -> YouTubeVosDataset:
    folder = require_root("youtube_vos", root)
    names = YouTubeVosDataset(folder).names
    return YouTubeVosDataset(folder, sequences=[n for i, n in enumerate(names) if (i % _ANALYSIS_SHARE == 0) == kept])
