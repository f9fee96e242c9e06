"""A segmenter that knows the truth of one clip: what remains wrong in a carried answer is then propagation's own fault.

It needs no training and no time, and measures what M. Paul (2023), figure 3.6, cannot: the error of flow and warping
without that of the network. Unusual: a frame is recognised by its pixels, so the oracle can be used wherever a network
can, and refuses what it has not seen.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import FrameIndex
from course_lib.methods.propagation.segmenter import FrameSegmenter

_SURE = 20.0  # logit of the true class; its probability is 1 in float32


class OracleSegmenter(FrameSegmenter):
    """Answers the frames of one clip with their true labels, at full resolution; features are the one-hot labels.

    frames [T, 3, H, W] uint8; labels [T, H, W] of `classes` classes; pixels labelled 255 get class 0.
    Raises `InputError` for labels out of range, and later for frames that are not of the clip.
    """

    def __init__(self, frames: UInt8[Tensor, "t 3 h w"], labels: UInt8[Tensor, "t h w"], classes: int) -> None:
        super().__init__(classes, stride=1, logits_stride=1, features_stride=1, features_channels=classes)
        if labels.shape != (len(frames), *frames.shape[2:]):
            raise InputError(f"frames and labels do not fit: {list(frames.shape)}, {list(labels.shape)}")
        known = labels[labels != IGNORE]
        if len(known) and int(known.max()) >= classes:
            raise InputError(f"labels reach {int(known.max())}, but there are {classes} classes")
        self._index = FrameIndex(frames)
        self._labels = torch.where(labels == IGNORE, torch.zeros_like(labels), labels)
        self.eval()

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes h w"]:
        truth = torch.stack([self._labels[self._index.find(frame)[0]] for frame in frames]).to(frames.device)
        return F.one_hot(truth.long(), self.classes).permute(0, 3, 1, 2).float()  # [B, H, W, C] -> [B, C, H, W]

    def decode(
        self, features: Float[Tensor, "b classes h w"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h w"]:
        return _SURE * features
