"""Score a segmenter on labelled frames: intersection over union of each class, counted over all frames together.

M. Paul (2023), chapters 3 and 4, score one frame in thirty; here every frame of a pool counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_data import FramePool
from course_lib.metrics.confusion import ConfusionMatrix
from course_lib.nn.device import device_of

_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Pixels by true class (row) and predicted class (column), and the measures they give."""

    class_names: tuple[str, ...]
    counts: Int[Tensor, "c c"]

    @property
    def iou(self) -> Float[Tensor, "c"]:
        """Of each class, in [0, 1]; NaN for a class in neither truth nor prediction."""
        counts = self.counts.double()
        shared = counts.diagonal()
        return shared / (counts.sum(0) + counts.sum(1) - shared)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur, in [0, 1]."""
        return float(self.iou.nanmean())

    def metrics(self, where: str) -> dict[str, float]:
        """Percent for a card: the mean first, then every class that occurs."""
        each = {f"IoU of {name}, {where}": float(iou) for name, iou in zip(self.class_names, self.iou)}
        found = {f"mIoU, {where}": self.mean_iou, **each}
        return {name: round(100 * value, 2) for name, value in found.items() if value == value}

    def __str__(self) -> str:
        """One line a class, in percent."""
        rows: Mapping[str, float] = {"mean": self.mean_iou, **dict(zip(self.class_names, self.iou.tolist()))}
        return "\n".join(f"{name:16}{100 * value:6.1f}" for name, value in rows.items())


@torch.no_grad()
def score_frames(segmenter: FrameSegmenter, pool: FramePool) -> ClassScores:
    """Segment every frame of a pool and count. Puts the network in evaluation mode.

    Raises `InputError` if the network tells apart another number of classes. Built in lesson 06.
    """
    if segmenter.classes != len(pool.class_names):
        raise InputError(
            f"{pool.name} has {len(pool.class_names)} classes, this {type(segmenter).__name__} has {segmenter.classes}"
        )
    segmenter.eval()
    device, matrix = device_of(segmenter), ConfusionMatrix(segmenter.classes)
    for begin in range(0, len(pool), _AT_ONCE):
        frames = pool.frames[begin : begin + _AT_ONCE].to(device).float() / 255
        logits = segmenter.segment(frames.contiguous(memory_format=torch.channels_last)).logits
        matrix.update(logits.max(dim=1).indices, pool.labels[begin : begin + _AT_ONCE].to(device))
    return ClassScores(pool.class_names, matrix.counts)
