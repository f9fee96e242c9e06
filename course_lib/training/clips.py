"""Training samples from videos and still images: a few time-ordered frames, changed together, with a few objects.

A sample is a function of its number and its generator, so it is the same in any worker of any process. Unusual: a still
image is a clip in which time stands still (largest gap 0), so both stages of a method's training share this code.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import Clip, object_ids
from course_lib.data.clip_files import ClipFiles
from course_lib.errors import InputError
from course_lib.training import warp
from course_lib.training.augment import Augment
from course_lib.training.paste import paste, window_around
from course_lib.training.samples import epoch_order


class Clips(Protocol):
    """A data set of clips: `SyntheticDataset`, `DavisDataset`, `YouTubeVosDataset`, a list of `Clip`s.

    If it has a method `stream(i)`, only the frames that a sample needs are read from disk.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Clip: ...


class JoinedClips:
    """Several data sets as one, each repeated: `JoinedClips((LongEnough(youtube, 3), 1), (davis, 5))`."""

    def __init__(self, *parts: tuple[Clips, int]) -> None:
        if not parts or any(repeats < 1 or not len(clips) for clips, repeats in parts):
            raise InputError("join at least one data set; each needs clips and is repeated at least once")
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(clips) * repeats for clips, repeats in self.parts)

    def __getitem__(self, index: int) -> Clip:
        clips, position = self._find(index)
        return clips[position]

    def stream(self, index: int) -> Clip | ClipFiles:
        clips, position = self._find(index)
        return open_clip(clips, position)

    def _find(self, index: int) -> tuple[Clips, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        for clips, repeats in self.parts:
            if index < len(clips) * repeats:
                return clips, index % len(clips)
            index -= len(clips) * repeats
        raise AssertionError("unreachable")


class LongEnough:
    """The clips of a data set that have at least `frames` annotated frames, as many as a sample needs.

    YouTube-VOS has shorter ones, which `ClipSamples` would refuse in the middle of a run. `left_out` holds their names.
    Clips that the data set can leave on disk are not decoded here. Raises `InputError` if none is long enough.
    """

    def __init__(self, clips: Clips, frames: int) -> None:
        left_out, numbers = [], []
        for index in range(len(clips)):
            clip = open_clip(clips, index)
            if len(annotated_frames(clip)) >= frames:
                numbers.append(index)
            else:
                left_out.append(clip.name)
        if not numbers:
            raise InputError(f"none of {len(clips)} clips has {frames} annotated frames, which a sample needs")
        self.clips, self._numbers = clips, tuple(numbers)
        self.left_out: tuple[str, ...] = tuple(left_out)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[self._number(index)]

    def stream(self, index: int) -> Clip | ClipFiles:
        return open_clip(self.clips, self._number(index))

    def _number(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        return self._numbers[index]


def open_clip(clips: Clips, index: int) -> Clip | ClipFiles:
    """Clip `index`, left on disk where the data set can."""
    stream = getattr(clips, "stream", None)
    return clips[index] if stream is None else stream(index)


@dataclass(frozen=True)
class ClipConfig:
    """What a training sample holds. Raises `InputError` for values out of range."""

    frames: int = 3
    objects: int = 2
    """Most objects of a sample."""
    size: tuple[int, int] = (384, 384)
    """Height and width in pixels."""
    min_pixels: int = 64
    """An object with fewer pixels in the sample's first frame is not chosen."""
    paste: float = 0.0
    """Probability of pasting an object of another clip in, if fewer than `objects` were chosen."""
    reverse: float = 0.0
    """Probability of playing the sample backwards."""
    tries: int = 50
    """Draws until a sample shows an object, before the data are called unusable."""
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name in ("frames", "objects", "min_pixels", "tries"):
            if getattr(self, name) < 1:
                raise InputError(f"ClipConfig.{name} must be at least 1, got {getattr(self, name)}")
        if min(self.size) < 8 or not 0 <= self.paste <= 1 or not 0 <= self.reverse <= 1:
            raise InputError(f"expected a size of at least 8x8 and probabilities in [0, 1], got {self}")


class ClipSamples:
    """Samples drawn from clips: `samples(index, rng, max_gap)`.

    seed  of the order in which clips are gone through, each once before any comes again
    """

    def __init__(self, clips: Clips, config: ClipConfig, seed: int = 0) -> None:
        if not len(clips):
            raise InputError("there is nothing to learn from: the data set is empty")
        self.clips, self.config, self.seed = clips, config, seed

    def __call__(self, index: int, rng: np.random.Generator, max_gap: int) -> dict[str, Tensor]:
        """Sample `index`. `max_gap` is the largest distance of neighbouring frames; 0 repeats one frame (a still).

        Returns frames [T, 3, H, W] float in [0, 1], labels [T, H, W] uint8 (objects 1..K in random order, 0 everything
        else, 255 ignore), and objects [K] bool: which of 1..K exist. All that exist are seen in the first frame. A
        draw without an object is repeated with another clip; raises `InputError` after `tries` of them.
        """
        config = self.config
        for attempt in range(config.tries):
            number = epoch_order(index, len(self.clips), self.seed) if attempt == 0 else self._any_clip(rng)
            drawn = self._draw(number, rng, max_gap)
            if drawn is None:
                continue
            frames, labels = drawn
            chosen = rng.permutation(self._large_enough(labels))[: config.objects]
            if 0 < len(chosen) < config.objects and rng.uniform() < config.paste:
                pasted = self._with_guest(frames, only(labels, chosen), chosen, rng, max_gap)
                if pasted is not None:
                    frames, labels, chosen = pasted
            if len(chosen):
                objects = torch.arange(config.objects) < len(chosen)
                return {"frames": frames, "labels": renumbered(labels, chosen), "objects": objects}
        raise InputError(
            f"no object of at least {config.min_pixels} pixels was found in {config.tries} draws from "
            f"{len(self.clips)} clips at {config.size[0]}x{config.size[1]}; lower min_pixels, crop less "
            "(Augment.area), or check the labels"
        )

    def _any_clip(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.clips)))

    def _draw(
        self, number: int, rng: np.random.Generator, max_gap: int, guest: bool = False
    ) -> tuple[Tensor, Tensor] | None:
        """Changed frames and labels of one clip, or None if its first chosen frame shows no object.

        As a guest, the window is laid around one object, and the labels hold it alone.
        """
        config, augment = self.config, self.config.augment
        clip = open_clip(self.clips, number)
        times = draw_times(annotated_frames(clip), config.frames, max_gap, rng, clip.name)
        if rng.uniform() < config.reverse:
            times = times[::-1]
        first = labels_at(clip, times[0])
        ids = object_ids(first)
        if not len(ids):
            return None
        labels = torch.stack([first, *(first if t == times[0] else labels_at(clip, t) for t in times[1:])])
        frames = torch.stack([frame_at(clip, t) for t in times])
        if guest:
            chosen = rng.permutation(ids.numpy())[:1]
            labels = only(labels, chosen)
            window = window_around(labels[0] == int(chosen[0]), rng, config.size)
        else:
            window = augment.window(rng, tuple(first.shape), config.size)  # type: ignore[arg-type]
        frames_out, labels_out = warp.apply(augment.warp(rng, len(times), window), frames, labels, config.size)
        return augment.recolour(rng, frames_out), labels_out

    def _with_guest(
        self, frames: Tensor, labels: Tensor, chosen: np.ndarray, rng: np.random.Generator, max_gap: int
    ) -> tuple[Tensor, Tensor, np.ndarray] | None:
        """The sample with an object of another clip pasted in, or None if that left too little of any object."""
        drawn = self._draw(self._any_clip(rng), rng, max_gap, guest=True)
        behind = rng.uniform() < 0.5
        if drawn is None:
            return None
        guest_frames, guest_labels = drawn
        label = next(number for number in range(1, 255) if number not in chosen)
        guest = (guest_labels != 0) & (guest_labels != 255)
        frames, labels = paste(frames, labels, guest_frames, guest, label, behind)
        everyone = np.append(chosen, label)
        if not set(everyone.tolist()) <= set(self._large_enough(labels).tolist()):
            return None
        return frames, labels, rng.permutation(everyone)

    def _large_enough(self, labels: Tensor) -> np.ndarray:
        """Ids of the objects that are large enough in the first frame."""
        counts = torch.bincount(labels[0].flatten(), minlength=256)
        counts[[0, 255]] = 0
        return (counts >= self.config.min_pixels).nonzero()[:, 0].numpy()


def draw_times(
    candidates: range | tuple[int, ...], n: int, max_gap: int, rng: np.random.Generator, name: str = "clip"
) -> list[int]:
    """`n` of the candidate frames in order of time, neighbours at most `max_gap` candidates apart; 0 repeats one.

    Raises `InputError` if there are too few.
    """
    if max_gap < 0:
        raise InputError(f"the largest gap between frames cannot be negative, got {max_gap}")
    needed = n if max_gap else 1
    if len(candidates) < needed:
        raise InputError(
            f"clip {name!r} has {len(candidates)} annotated frames and a sample needs {needed}; leave it out "
            "(`LongEnough`), or take stills from it (max_gap 0)"
        )
    widest = min(max_gap, (len(candidates) - 1) // max(1, n - 1))
    gaps = rng.integers(1, widest, n - 1, endpoint=True) if widest else np.zeros(n - 1, int)
    start = int(rng.integers(len(candidates) - gaps.sum()))
    return [candidates[position] for position in start + np.concatenate([[0], gaps.cumsum()]).astype(int)]


def annotated_frames(clip: Clip | ClipFiles) -> range | tuple[int, ...]:
    """Indices of the frames whose labels are real. Raises `InputError` for a clip without labels."""
    if isinstance(clip, Clip) and clip.labels is None:
        raise InputError(f"clip {clip.name!r} has no labels to learn from")
    return range(len(clip)) if clip.annotated is None else clip.annotated


def frame_at(clip: Clip | ClipFiles, t: int) -> UInt8[Tensor, "3 h w"]:
    """Frame t of a clip in memory or on disk."""
    return clip.frames[t] if isinstance(clip, Clip) else clip.frame(t)


def labels_at(clip: Clip | ClipFiles, t: int) -> UInt8[Tensor, "h w"]:
    """Labels of an annotated frame of a clip in memory or on disk."""
    labels = clip.labels[t] if isinstance(clip, Clip) and clip.labels is not None else clip.labels(t)  # type: ignore
    if labels is None:
        raise InputError(f"frame {t} of clip {clip.name!r} is not annotated")
    return labels


def only(labels: UInt8[Tensor, "t h w"], ids: np.ndarray) -> UInt8[Tensor, "t h w"]:
    """Labels in which the objects that are not in `ids` are background."""
    return renumbered(labels, ids, ids)


def renumbered(
    labels: UInt8[Tensor, "t h w"], ids: np.ndarray, numbers: np.ndarray | None = None
) -> UInt8[Tensor, "t h w"]:
    """Labels in which the objects `ids` are called `numbers` (1, 2, … by default), others 0; 255 stays."""
    table = torch.zeros(256, dtype=torch.uint8)
    table[255] = 255
    table[torch.from_numpy(ids).long()] = torch.from_numpy(
        np.arange(1, len(ids) + 1) if numbers is None else numbers
    ).to(torch.uint8)
    return table[labels.long()]
