"""What a recurrent segmenter is trained on: balanced cross-entropy of the masks, plus the distance to their edges.

F. Azimi (2024), sections 6.3 and 6.4, equations 6.5 to 6.7. Unusual: sums over pixels and frames are means here, so
that the size of the image and the length of the clip do not change the learning rate; and object and background are
balanced over the whole batch, because a frame that balances itself is free of charge while its object is hidden.
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.methods.recurrent.distance import NO_CLASS, distance_classes, n_classes
from course_lib.training.losses import balanced_bce, soft_jaccard


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms and how they are computed. Defaults: λ L_seg + (1 - λ) L_dist with λ = 0.8, as printed.

    Raises `InputError` for weights below 0 or all 0, and for settings out of range.
    """

    segmentation: float = 0.8
    """Weight of the balanced cross-entropy of the mask (equation 6.5)."""
    jaccard: float = 0.0
    """Weight of -log of the soft overlap: not in the text, see `THREE_TERMS`."""
    distance: float = 0.2
    """Weight of the cross-entropy of the distance classes. In nats it is the far larger term: log both."""
    radius: int = 20
    """Pixels from the edge that have distance bins."""
    width: int = 1
    """Pixels per distance bin."""
    balance: Literal["frame", "sample", "batch"] = "batch"
    """Pixels that β, the share of background, is counted over."""
    ceiling: float = 1.0
    """Largest β. Below 1 it keeps a frame, sample or batch without its object from being free of charge."""

    def __post_init__(self) -> None:
        weights = (self.segmentation, self.jaccard, self.distance)
        if min(weights) < 0 or sum(weights) <= 0:
            raise InputError(f"the weights of the loss must be >= 0 and not all 0, got {weights}")
        if self.balance not in ("frame", "sample", "batch"):
            raise InputError(f"balance must be 'frame', 'sample' or 'batch', got {self.balance!r}")
        if not 0.5 <= self.ceiling <= 1:
            raise InputError(f"the ceiling of the object's weight must be in [0.5, 1], got {self.ceiling}")
        n_classes(self.radius, self.width)

    @property
    def classes(self) -> int:
        """Number of distance classes."""
        return n_classes(self.radius, self.width)

    def without_distance(self) -> "LossConfig":
        """For networks without a distance head: the other terms, with the same proportions and weights summing to 1."""
        rest = self.segmentation + self.jaccard
        if rest == 0:
            raise InputError("without the distance term nothing is left of this loss: it is the only one with a weight")
        return replace(self, segmentation=self.segmentation / rest, jaccard=self.jaccard / rest, distance=0.0)


TWO_TERMS = LossConfig()  # the text
THREE_TERMS = LossConfig(segmentation=0.6, jaccard=0.2, distance=0.2)  # the author's release: L_seg in two parts


class Scores(Protocol):
    """What a network says about the frames t = 1..T-1 of a clip (`Prediction`, stacked over time)."""

    @property
    def logits(self) -> Tensor:
        """[B, T-1, 1, H, W] of the object."""

    @property
    def distance(self) -> Tensor | None:
        """[B, T-1, K, H, W] scores of the distance classes, or None without such a head."""


def sequence_loss(
    predictions: Scores, masks: Shaped[Tensor, "b t 1 h w"], config: LossConfig = TWO_TERMS
) -> dict[str, Float[Tensor, "b"]]:
    """Loss of a clip, per sample: "loss" to minimise; "segmentation", "jaccard", "distance" to log, unweighted.

    predictions  logits [B, T-1, 1, H, W] and distance scores [B, T-1, K, H, W] of the frames after the first
    masks        [B, T-1, 1, H, W] truth of the same frames: 0, 1, and 255 where nobody annotated

    Terms of weight 0 are neither computed nor returned. All are in nats, means over a sample's annotated pixels and
    frames, without gradient except "loss". Over the batch, balance depends on how a batch is dealt out, see
    `balanced_bce`. Raises `InputError` if shapes do not fit, or if the distance term has a weight but the network no
    such head, or one of another number of classes. Built in lesson 04.
    """
    logits = predictions.logits.float()
    if logits.ndim != 5 or logits.shape[2] != 1 or logits.shape != masks.shape:
        raise InputError(
            "the loss of a clip takes logits and masks [B, T-1, 1, H, W] of the frames after the first, got "
            f"{list(logits.shape)} and {list(masks.shape)}"
        )
    total = torch.zeros(len(logits), device=logits.device)
    terms = {}
    if config.segmentation:
        terms["segmentation"] = _segmentation(logits, masks, config)
        total = total + config.segmentation * terms["segmentation"]
    if config.jaccard:
        terms["jaccard"] = _log_jaccard(logits, masks)
        total = total + config.jaccard * terms["jaccard"]
    if config.distance:
        terms["distance"] = _distance(predictions.distance, masks, config)
        total = total + config.distance * terms["distance"]
    return {"loss": total} | {name: term.detach() for name, term in terms.items()}


def _segmentation(logits: Tensor, masks: Tensor, config: LossConfig) -> Float[Tensor, "b"]:
    """Equation 6.5 with means for sums."""
    if config.balance == "frame":
        frames = balanced_bce(logits.flatten(0, 1), masks.flatten(0, 1), config.ceiling)  # [B * (T-1)]
        return frames.view(len(logits), -1).mean(dim=1)
    return balanced_bce(logits, masks, config.ceiling, config.balance)


def _log_jaccard(logits: Tensor, masks: Tensor) -> Float[Tensor, "b"]:
    """-log of intersection over union of the soft masks of all frames of a sample."""
    known = (masks != IGNORE).transpose(1, 2)  # [B, 1, T-1, H, W]: the clip is one object seen at several times
    probs = logits.sigmoid().transpose(1, 2) * known
    return -torch.log1p(-soft_jaccard(probs, (masks == 1).transpose(1, 2)))


def _distance(scores: Tensor | None, masks: Tensor, config: LossConfig) -> Float[Tensor, "b"]:
    """Cross-entropy of the distance classes."""
    expected = (*masks.shape[:2], config.classes, *masks.shape[3:])
    if scores is None or scores.shape != expected:
        raise InputError(
            f"the distance term of radius {config.radius} and width {config.width} needs scores [B, T-1, K, H, W] = "
            f"{list(expected)}, got {None if scores is None else list(scores.shape)}. A network without this head "
            "trains with config.without_distance()"
        )
    classes = distance_classes(masks[:, :, 0], config.radius, config.width)  # [B, T-1, H, W]
    each = scores.float().movedim(2, -1).flatten(0, 3)  # [B * (T-1) * H * W, K]: in rows, twice as fast on a CPU
    pixels = F.cross_entropy(each, classes.flatten(), ignore_index=NO_CLASS, reduction="none")
    return pixels.view(len(masks), -1).sum(dim=1) / (classes != NO_CLASS).flatten(1).sum(dim=1).clamp(min=1)
