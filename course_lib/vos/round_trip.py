"""Forward, then backward: a check of a method where nobody knows the truth.

Follow the objects to the last frame, reverse the video, start from the last prediction and return. What arrives is
compared with the start mask. Unusual: it bounds errors from one side only. A method that drifts and drifts back, or one
that never moves a mask, returns perfectly; a low score is proof of failure, a high one is not proof of success.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.clip import Clip, object_ids
from course_lib.errors import InputError
from course_lib.vos.engine import segment
from course_lib.vos.protocol import VideoSegmenter


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """Label maps of both ways, in the video's order of time: `backward[0]` is what came back to the first frame.

    ids [K] objects of the start mask; forward, backward [T, H, W] uint8; agreement [K, T] IoU of the two ways in each
    frame, 1 where both see nothing, 1 in the last frame by construction.
    """

    ids: Int[Tensor, "k"]
    forward: UInt8[Tensor, "t h w"]
    backward: UInt8[Tensor, "t h w"]
    agreement: Float[Tensor, "k t"]

    @property
    def iou(self) -> Float[Tensor, "k"]:
        """IoU of what came back with the start mask, per object; 0 for an object that got lost on the way."""
        return self.agreement[:, 0]

    @property
    def mean(self) -> float:
        """Mean of `iou` over objects."""
        return float(self.iou.mean())

    def __str__(self) -> str:
        each = ", ".join(f"object {int(i)}: {float(v):.3f}" for i, v in zip(self.ids, self.iou))
        return f"round trip over {len(self.forward)} frames and back: IoU {self.mean:.3f} ({each})"


def round_trip(
    segmenter: VideoSegmenter, frames: Tensor | Sequence[Tensor] | Clip, labels: UInt8[Tensor, "h w"] | None = None
) -> RoundTrip:
    """Propagate `labels` [H, W] uint8 through `frames` and back, and compare.

    frames: [T, 3, H, W], a `Clip` (whose first labels are the default) or a list of [3, H, W]; the whole clip, as time
    is reversed. Objects that are gone in the last frame count 0. Raises `InputError` as `segment` does.
    Used in lesson 00.
    """
    if isinstance(frames, Clip):
        labels = frames.labels[0] if labels is None and frames.labels is not None else labels
        frames = frames.frames
    if labels is None:
        raise InputError("a round trip needs the labels of the first frame: [H, W] uint8")
    forward = _follow(segmenter, frames, labels)
    if len(object_ids(forward[-1])) == 0:  # nothing left to start from, so nothing comes back
        backward = torch.zeros_like(forward)
    else:
        backward = _follow(segmenter, [frames[t] for t in reversed(range(len(frames)))], forward[-1]).flip(0)
    ids = object_ids(labels).cpu()
    start = torch.where(labels == 255, torch.zeros_like(labels), labels).cpu()
    there = torch.cat([start[None], forward[1:]])
    agreement = torch.stack([_iou(there == i, backward == i) for i in ids])  # [K, T]
    return RoundTrip(ids, forward, backward, agreement)


def _follow(
    segmenter: VideoSegmenter, frames: Tensor | Sequence[Tensor], labels: UInt8[Tensor, "h w"]
) -> UInt8[Tensor, "t h w"]:
    run = segment(segmenter, frames, labels)
    return torch.stack([run.labels(probs).cpu() for probs in run])


def _iou(a: Tensor, b: Tensor) -> Float[Tensor, "t"]:
    both, either = (a & b).sum(dim=(1, 2)), (a | b).sum(dim=(1, 2))
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))
