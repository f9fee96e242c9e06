"""Segmentation losses, one number per sample: bootstrapped cross-entropy, soft Jaccard, dice, balanced binary CE.

The mean over a batch is taken by the training loop, so the loss of a batch does not depend on how it was dealt out to
processes. Unusual: hard pixels are therefore chosen within each sample and never across the batch; balancing over the
batch, as one thesis has it, is the exception and has to be asked for. 255 is ignored.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError


def bootstrapped_cross_entropy(
    logits: Float[Tensor, "b c *size"], labels: UInt8[Tensor, "b *size"], share: float = 1.0
) -> Float[Tensor, "b"]:
    """Cross-entropy over the hardest `share` of each sample's annotated pixels.

    logits  [B, C, H, W] (or [B, C, T, H, W]); labels [B, H, W] class of each pixel, 255 ignored. [B] in nats.

    floor(share · P) of P annotated pixels are kept, one at least; a sample without any costs 0. share 1 is the plain
    mean. Raises `InputError` for a share outside (0, 1] or shapes that do not fit. Built in lesson 13.
    """
    if not 0 < share <= 1:
        raise InputError(f"the share of hard pixels must be in (0, 1], got {share}")
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise InputError(f"logits [B, C, …] and labels [B, …] do not fit: {list(logits.shape)}, {list(labels.shape)}")
    pixels = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="none").flatten(1)  # [B, P]
    annotated = (labels != IGNORE).flatten(1).sum(dim=1)  # [B]
    if share == 1:
        return pixels.sum(dim=1) / annotated.clamp(min=1)  # ignored pixels are 0 already
    most = max(1, int(share * pixels.shape[1]))  # what a fully annotated sample needs; known without asking the device
    kept = (annotated * share).floor().clamp(min=1, max=most)  # [B]
    hardest = pixels.topk(most, dim=1).values  # [B, most], falling; ignored pixels are 0 and so come last
    used = torch.arange(most, device=pixels.device) < kept[:, None]
    return (hardest * used).sum(dim=1) / kept


def soft_jaccard(
    probs: Float[Tensor, "b k *size"],
    targets: Float[Tensor, "b k *size"],
    objects: Bool[Tensor, "b k"] | None = None,
    smooth: float = 1.0,
) -> Float[Tensor, "b"]:
    """1 - intersection / union with soft masks, averaged over each sample's objects. [B] in [0, 1].

    probs, targets  [B, K, H, W] in [0, 1]; objects [B, K] says which of them exist (all by default), a sample without
    any costs 0. `smooth` pixels are added to both, so predicting nothing where nothing is costs 0.
    """
    intersection, total = _overlaps(probs, targets)
    return _over_objects(1 - (intersection + smooth) / (total - intersection + smooth), objects)


def dice(
    probs: Float[Tensor, "b k *size"],
    targets: Float[Tensor, "b k *size"],
    objects: Bool[Tensor, "b k"] | None = None,
    smooth: float = 1.0,
) -> Float[Tensor, "b"]:
    """1 - 2 · intersection / (sum of both) with soft masks, averaged over each sample's objects. [B] in [0, 1].

    Arguments as in `soft_jaccard`; `smooth` is added to numerator and denominator.
    """
    intersection, total = _overlaps(probs, targets)
    return _over_objects(1 - (2 * intersection + smooth) / (total + smooth), objects)


def object_weight(
    targets: Shaped[Tensor, "b *size"], ceiling: float = 0.95, over: Literal["sample", "batch"] = "sample"
) -> Float[Tensor, "b"]:
    """β of each sample, the share of background among annotated pixels, at most `ceiling` (F. Azimi, 2024, eq. 6.5).

    targets  0 or 1, 255 ignored; any dimensions after the first
    over     the pixels that are counted: of each sample, or of the whole batch, whose samples then have the same β

    Object pixels that weigh β and background pixels that weigh 1 - β weigh the same in sum. A sample without annotated
    pixels has β 0. Raises `InputError` for a ceiling outside [0.5, 1]. Built in lesson 04.
    """
    if not 0.5 <= ceiling <= 1:
        raise InputError(f"the ceiling of the object's weight must be in [0.5, 1], got {ceiling}")
    if over not in ("sample", "batch"):
        raise InputError(f"the object's weight is counted over 'sample' or 'batch', got {over!r}")
    targets = targets.flatten(1)  # [B, P]
    negative, pixels = (targets == 0).sum(dim=1), (targets != IGNORE).sum(dim=1)  # [B]
    if over == "batch":
        negative, pixels = negative.sum().expand(len(targets)), pixels.sum().expand(len(targets))
    return (negative / pixels.clamp(min=1)).clamp(max=ceiling)


def balanced_bce(
    logits: Float[Tensor, "b *size"],
    targets: Shaped[Tensor, "b *size"],
    ceiling: float = 0.95,
    over: Literal["sample", "batch"] = "sample",
) -> Float[Tensor, "b"]:
    """Binary cross-entropy in which object and background weigh the same, however small the object. [B] in nats.

    targets  0 or 1, 255 ignored; any dimensions after the first, all of one sample together: pass the frames of a clip
             as [B, T, H, W], so that a frame without the object counts
    over     where object and background are balanced: within each sample, or in the batch as a whole

    Object pixels weigh `object_weight`, background pixels the rest to 1 (F. Azimi, 2024, equation 6.5), then the mean
    over pixels is taken. The weight is capped by `ceiling`: at 1 a sample without the object would cost nothing, and
    seeing things that are not there would never be punished. Counting over the batch cures that too, unless no sample
    has its object; but a batch is then what goes through the network at once: how it was dealt out to processes and to
    pieces of gradient accumulation changes the loss a little, as each of them counts its own pixels.
    """
    if logits.shape != targets.shape:
        raise InputError(f"logits and targets must agree in shape, got {list(logits.shape)} and {list(targets.shape)}")
    beta = object_weight(targets, ceiling, over).to(logits.dtype)[:, None]  # [B, 1]
    logits, targets = logits.flatten(1), targets.flatten(1)  # [B, P]
    costs = -beta * (targets == 1) * F.logsigmoid(logits) - (1 - beta) * (targets == 0) * F.logsigmoid(-logits)
    return costs.sum(dim=1) / (targets != IGNORE).sum(dim=1).clamp(min=1)


def _overlaps(probs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Soft intersection, and the sum of both areas: [B, K] each."""
    if probs.shape != targets.shape or probs.ndim < 3:
        raise InputError(f"probs and targets must both be [B, K, …], got {list(probs.shape)} and {list(targets.shape)}")
    probs, targets = probs.flatten(2), targets.flatten(2).to(probs.dtype)
    return (probs * targets).sum(dim=2), probs.sum(dim=2) + targets.sum(dim=2)


def _over_objects(costs: Tensor, objects: Tensor | None) -> Tensor:
    """[B, K] -> [B], the mean over the objects that exist."""
    if objects is None:
        return costs.mean(dim=1)
    if objects.shape != costs.shape:
        raise InputError(f"objects must be [B, K] = {list(costs.shape)}, got {list(objects.shape)}")
    return (costs * objects).sum(dim=1) / objects.sum(dim=1).clamp(min=1)
