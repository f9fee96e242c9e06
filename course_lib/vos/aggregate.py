"""From one mask per object to one distribution per pixel, and from there to a label map.

Each object is judged on its own, so their probabilities need not sum to one. Soft aggregation (Wug Oh et al., STM,
ICCV 2019) lets them compete: background has probability prod_k (1 - p_k), and all K+1 odds are normalised:

    p_0 = prod_k (1 - p_k),   P_k = odds(p_k) / sum_j odds(p_j),   odds(p) = p / (1 - p).

Unusual: background takes part with its own odds, so one object alone does not keep its probability exactly. The
label is the same: for K = 1 the object wins where p > 1/2.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.errors import InputError

EPS = 1e-7  # probabilities stay this far from 0 and 1, so that odds are finite


def aggregation_logits(probs: Float[Tensor, "*b k h w"]) -> Float[Tensor, "*b k1 h w"]:
    """Log odds of background and of each object: softmax over channels gives `soft_aggregate`. For losses."""
    background = (1 - probs).prod(dim=-3, keepdim=True)  # [*B, 1, H, W]
    every = torch.cat([background, probs], dim=-3).clamp(EPS, 1 - EPS)  # [*B, K+1, H, W]
    return torch.logit(every)


def soft_aggregate(probs: Float[Tensor, "*b k h w"]) -> Float[Tensor, "*b k1 h w"]:
    """Let K independent masks compete for each pixel.

    probs: [K, H, W] or [B, K, H, W] in [0, 1], K may be 0. Returns [(B,) K+1, H, W], background first, summing to one
    over channels. Differentiable. Source: Wug Oh et al., 2019; Cheng et al., 2021. Used from lesson 06 on.
    """
    return aggregation_logits(probs).softmax(dim=-3)


def one_hot(labels: UInt8[Tensor, "h w"], ids: Int[Tensor, "k"]) -> Float[Tensor, "k1 h w"]:
    """Probabilities that say exactly what a label map says: [K+1, H, W] of zeros and ones, background first.

    Pixels of no object in `ids`, 255 included, are background.
    """
    objects = labels == ids.to(labels.device).to(torch.uint8)[:, None, None]  # [K, H, W]
    return torch.cat([~objects.any(dim=0, keepdim=True), objects]).float()


def labels_from_probs(probs: Float[Tensor, "k1 h w"], ids: Int[Tensor, "k"]) -> UInt8[Tensor, "h w"]:
    """Label of the most probable channel, as the object's id; a tie goes to the earlier channel, background first.

    probs [K+1, H, W], ids [K] with values 1 … 254. Returns [H, W] uint8 on the device of `probs`.
    """
    if probs.ndim != 3 or len(probs) != len(ids) + 1:
        raise InputError(
            f"probabilities must be [K+1, H, W], one channel for background and one for each of the {len(ids)} ids; "
            f"got {list(probs.shape)}"
        )
    table = torch.cat([ids.new_zeros(1), ids]).to(device=probs.device, dtype=torch.uint8)  # [K+1]
    return table[probs.argmax(dim=0)]


def add_objects(
    probs: Float[Tensor, "k1 h w"], labels: UInt8[Tensor, "h w"], new_ids: Int[Tensor, "n"]
) -> Float[Tensor, "kn1 h w"]:
    """Merge newly given objects into the probabilities of a frame.

    Pixels annotated as a new object belong to it entirely; elsewhere everything stays. Returns [K+N+1, H, W].
    """
    given = one_hot(labels, new_ids)  # [N+1, H, W]
    return torch.cat([probs * given[:1], given[1:]])
