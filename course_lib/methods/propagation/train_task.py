"""What a per-frame segmenter learns from: weighted cross-entropy of every labelled pixel, rare classes weighing more.

The weights 1 / ln(1.10 + share of the class) are those of ENet and ERFNet, and of the training in M. Paul (2023),
section 4.3.5. Unusual: a sample's loss is divided by the weight of its own pixels, so that losses come per sample.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.methods.propagation.icnet import AUXILIARY, ICNet
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_data import FrameSource, Sample


def class_weights(frequencies: Float[Tensor, "c"], offset: float = 1.10) -> Float[Tensor, "c"]:
    """1 / ln(offset + share): from 1.35 for a class that is everywhere to 10.5 for one that is nowhere.

    Raises `InputError` unless shares are in [0, 1] and offset > 1.
    """
    if offset <= 1 or not ((frequencies >= 0) & (frequencies <= 1)).all():
        raise InputError(f"expected shares in [0, 1] and an offset above 1, got {frequencies.tolist()} and {offset}")
    return 1 / torch.log(offset + frequencies)


def weighted_cross_entropy(
    logits: Float[Tensor, "b c h w"], labels: UInt8[Tensor, "b h w"], weights: Float[Tensor, "c"]
) -> Float[Tensor, "b"]:
    """Weighted mean of the cross-entropy of each sample's labelled pixels, [B] in nats; 255 is ignored.

    A sample without labelled pixels costs 0. Raises `InputError` for shapes that do not fit. Built in lesson 06.
    """
    if labels.shape != (len(logits), *logits.shape[2:]) or len(weights) != logits.shape[1]:
        raise InputError(
            "logits [B, C, H, W], labels [B, H, W] and weights [C] do not fit: "
            f"{list(logits.shape)}, {list(labels.shape)}, {list(weights.shape)}"
        )
    truth, weights = labels.long(), weights.to(logits)
    costs = F.cross_entropy(logits, truth, weights, ignore_index=IGNORE, reduction="none").flatten(1).sum(dim=1)
    known = (truth != IGNORE).flatten(1)
    total = (weights[truth.clamp(max=len(weights) - 1).flatten(1)] * known).sum(dim=1)  # [B]
    return costs / total.clamp(min=torch.finfo(total.dtype).tiny)


class SegmenterTask:
    """Frames and loss of a segmenter (`course_lib.training.Task`).

    source   of training frames
    weights  of the classes

    Supervised is every pixel, to which logits are brought: labels at the centres of cells would miss half of what is
    one pixel wide. ICNet's two coarser grids are supervised at their cells.
    """

    def __init__(self, source: FrameSource, weights: Float[Tensor, "c"]) -> None:
        self.source, self.weights = source, weights

    def sample(self, index: int, step: int, rng: np.random.Generator) -> Sample:
        """frames [3, H, W] in [0, 1]; labels [H, W] uint8, 255 ignored."""
        return self.source(index, rng)

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """[B]: "loss", and for ICNet "fine", its part of the finest grid."""
        if not isinstance(model, FrameSegmenter):
            raise InputError(f"this task trains a FrameSegmenter, got {type(model).__name__}")
        frames = batch["frames"].contiguous(memory_format=torch.channels_last)
        labels = batch["labels"]
        if isinstance(model, ICNet):
            fine, *coarser = model.training_logits(frames)
            finest = self._at_pixels(model, fine, labels)
            loss = AUXILIARY[0] * finest
            for weight, logits in zip(AUXILIARY[1:], coarser, strict=True):
                loss = loss + weight * self._at_cells(logits, labels)
            return {"loss": loss, "fine": finest.detach()}
        return {"loss": self._at_pixels(model, model(frames).logits, labels)}

    def _at_pixels(self, model: FrameSegmenter, logits: Tensor, labels: Tensor) -> Tensor:
        logits = model.upsample(logits, (labels.shape[1], labels.shape[2]))
        return weighted_cross_entropy(logits.float(), labels, self.weights)

    def _at_cells(self, logits: Tensor, labels: Tensor) -> Tensor:
        small = F.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0]  # [B, h, w]
        return weighted_cross_entropy(logits.float(), small.to(torch.uint8), self.weights)
