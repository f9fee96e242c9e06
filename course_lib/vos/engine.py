"""A method and a stream of frames in, a stream of probabilities out.

`segment` is the loop that everything stands on: it holds one frame at a time, so an hour of video costs what the
session costs. Unusual: it is an iterator with attributes, because objects may join midway and a consumer then needs to
know which channel is whom (`.ids`) and which frame the answer belongs to (`.frame`, `.index`).

Gradients are off while a session runs; a method that adapts at test time turns them on for itself
(`torch.enable_grad`).
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.clip import Clip
from course_lib.errors import InputError
from course_lib.nn.device import device_of
from course_lib.vos.aggregate import labels_from_probs, one_hot
from course_lib.vos.checks import as_float_frame, check_labels, check_new_labels, check_probs
from course_lib.vos.models import load_model
from course_lib.vos.protocol import Session, VideoSegmenter


class Segmentation(Iterator[Tensor]):
    """One pass over a video; made by `segment` and `segment_video`.

    Iterating gives probabilities [K+1, H, W], background first, one per frame; frame 0 gives its labels as zeros and
    ones. Between two answers these attributes describe the last one:

    session  the method's session
    frame    the frame answered, [3, H, W] as it was given
    index    its index, -1 before the first
    seconds  wall time spent in the method so far; reading the video and using the answers is not in it
    """

    def __init__(
        self,
        segmenter: VideoSegmenter,
        frames: Iterable[Tensor],
        first_labels: UInt8[Tensor, "h w"],
        later_labels: Mapping[int, UInt8[Tensor, "h w"]] | None = None,
    ) -> None:
        if not hasattr(segmenter, "start"):
            hint = (
                "; it is an OfflineSegmenter, call its `segment` on the whole clip"
                if hasattr(segmenter, "segment")
                else ""
            )
            raise InputError(f"{type(segmenter).__name__} has no method `start`, so it is no VideoSegmenter{hint}")
        self._method = type(segmenter).__name__
        self._device = device_of(segmenter)
        self._later = dict(later_labels or {})
        if any(t < 1 for t in self._later):
            raise InputError(
                f"later_labels are for frames 1, 2, …, got {sorted(self._later)}; frame 0 has first_labels"
            )
        self._frames = iter(frames)
        first = next(self._frames, None)
        if first is None:
            raise InputError("the video has no frames; expected at least the one that the labels belong to")
        image = as_float_frame(first, device=self._device)
        self._size: tuple[int, int] = (image.shape[1], image.shape[2])
        check_labels(first_labels, self._size)
        labels = first_labels.to(self._device)
        began = perf_counter()
        with torch.no_grad():
            self.session: Session = segmenter.start(image, labels)
        self.seconds = perf_counter() - began
        self._pending: Tensor | None = one_hot(labels, self.session.ids)
        self.frame: Tensor = first
        self.index = -1

    def __next__(self) -> Float[Tensor, "k1 h w"]:
        if self._pending is not None:
            probs, self._pending = self._pending, None
            self.index = 0
            return probs
        frame = next(self._frames, None)
        if frame is None:
            self._refuse_leftovers()
            raise StopIteration
        index = self.index + 1
        image = as_float_frame(frame, index, self._size, self._device)
        began = perf_counter()
        with torch.no_grad():
            probs = self.session.step(image)
            check_probs(probs, self.session.ids, self._size, index, self._method)
            new = self._later.pop(index, None)
            if new is not None:
                check_new_labels(new, self._size, index, self.session.ids)
                probs = self.session.add(new.to(self._device))
                check_probs(probs, self.session.ids, self._size, index, self._method)
        self.seconds += perf_counter() - began  # check_probs has waited for the device
        self.frame, self.index = frame, index
        return probs

    @property
    def ids(self) -> Int[Tensor, "k"]:
        """Label of each channel after background, as of the last answer; grows when objects join."""
        return self.session.ids

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video in pixels."""
        return self._size

    def labels(self, probs: Float[Tensor, "k1 h w"]) -> UInt8[Tensor, "h w"]:
        """Label map of the last answer."""
        return labels_from_probs(probs, self.ids)

    def memory_bytes(self) -> int:
        """Bytes the session holds between frames."""
        return self.session.memory_bytes()

    def _refuse_leftovers(self) -> None:
        if self._later:
            raise InputError(
                f"later_labels name frames {sorted(self._later)}, but the video ended after {self.index + 1} frames"
            )


def segment(
    segmenter: VideoSegmenter,
    frames: Iterable[Tensor],
    first_labels: UInt8[Tensor, "h w"],
    later_labels: Mapping[int, UInt8[Tensor, "h w"]] | None = None,
) -> Segmentation:
    """Follow the objects of `first_labels` through `frames`.

    frames        RGB [3, H, W] each, uint8 or float in [0, 1]; consumed one at a time, never stored
    first_labels  [H, W] uint8: 0 background, 255 belongs to none, other values are object ids in any order
    later_labels  frame index -> [H, W] uint8 holding only ids that join there

    Returns an iterator of probabilities [K+1, H, W] with `.ids`, `.labels(probs)`, `.memory_bytes()`.
    Raises `InputError` for sizes, types or ids that do not fit, naming the frame. Built in lesson 00.
    """
    return Segmentation(segmenter, frames, first_labels, later_labels)


def segment_video(
    model: VideoSegmenter | str,
    video: str | Path | Clip | Tensor | Iterable[Tensor],
    labels: UInt8[Tensor, "h w"] | np.ndarray | str | Path | None = None,
    later_labels: Mapping[int, UInt8[Tensor, "h w"]] | None = None,
) -> Segmentation:
    """As `segment`, for a video in any form.

    model   a segmenter, or a name for `load_model`
    video   a video file or a folder of pictures (streamed), a `Clip`, frames [T, 3, H, W], or any iterable of frames
    labels  [H, W] tensor or array, the path of a palette PNG, or None to take those of the clip's first frame
    """
    if isinstance(model, str):
        model = load_model(model)
    if isinstance(labels, str | Path):
        from course_lib.data.palette_png import read_labels

        labels = read_labels(labels)
    if labels is None:
        if not isinstance(video, Clip) or video.labels is None:
            raise InputError("labels of the first frame are needed: [H, W] uint8 with an id from 1 to 254 per object")
        labels = video.labels[0]
    if isinstance(labels, np.ndarray):
        labels = torch.from_numpy(labels)
    return segment(model, frames_of(video), labels, later_labels)


def frames_of(video: str | Path | Clip | Tensor | Iterable[Tensor]) -> Iterable[Tensor]:
    """Frames [3, H, W] of a video in any of the forms that `segment_video` takes; files are streamed."""
    if isinstance(video, str | Path):
        from course_lib.data.video import VideoReader

        return VideoReader(video)
    if isinstance(video, Clip):
        return video.frames
    if isinstance(video, Tensor) and (video.ndim != 4 or video.shape[1] != 3):
        raise InputError(f"frames must be [T, 3, H, W] (RGB, channels first), got {list(video.shape)}")
    return video
