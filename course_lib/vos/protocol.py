"""The contract every video object segmentation method keeps.

A `VideoSegmenter` is the method with its weights; a `Session` is one video being followed. The evaluator, the
leaderboard, the widgets, the command line and the benchmarks know only what stands here.

Frames are handed over on the segmenter's own device (its attribute `device`, else that of its parameters, else the
CPU; see `course_lib.nn.device.device_of`), labels likewise, and probabilities come back there.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, UInt8
from torch import Tensor


@runtime_checkable
class Session(Protocol):
    """One video in progress. Memory is written at the start of the next `step`, so `add` can correct a frame first."""

    ids: Int[Tensor, "k"]  # label of each channel after background; need not be contiguous; `add` appends

    def step(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "k1 h w"]:
        """Segment the next frame (RGB in [0, 1]). Causal. Returns probabilities [K+1, H, W], background first."""
        ...

    def add(self, labels: UInt8[Tensor, "h w"]) -> Float[Tensor, "k1 h w"]:
        """Take in objects that first appear in the frame just stepped; returns that frame's corrected probabilities.

        `labels` holds only new ids (0 elsewhere, 255 belongs to none). Raises `InputError` on a known id.
        """
        ...

    def memory_bytes(self) -> int:
        """Bytes this session holds between frames, for the memory plots."""
        ...


@runtime_checkable
class VideoSegmenter(Protocol):
    """A method that follows objects given in the first frame. Sessions of one segmenter do not affect each other."""

    def start(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> Session:
        """Begin a video: frame [3, H, W] in [0, 1], labels [H, W] uint8 (0 background, 255 ignore, others objects)."""
        ...


@runtime_checkable
class OfflineSegmenter(Protocol):
    """A method that needs the whole clip (it looks into the future, or optimises over time)."""

    def segment(self, frames: Float[Tensor, "t 3 h w"], labels: UInt8[Tensor, "h w"]) -> UInt8[Tensor, "t h w"]:
        """Label every frame of a clip, given the labels of its first frame."""
        ...
