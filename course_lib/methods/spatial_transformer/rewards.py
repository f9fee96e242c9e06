"""What a move is worth: to a classifier that judges the views, or by the share of the view that the object fills.

F. Azimi (2024), equations 5.15-5.17 (a change of correctness, the loss itself, a change of loss) and 5.18-5.20 (a
change of share, its sign, a weighted sum). Unusual: which of them add up over an episode to last minus first, so that
going in circles earns nothing, is said at each one: all but the loss itself and the sign.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RewardName = Literal["accuracy_change", "negative_loss", "loss_decrease", "share_growth", "share_sign", "weighted_sum"]
NEEDS_CLASSIFIER: tuple[RewardName, ...] = ("accuracy_change", "negative_loss", "loss_decrease", "weighted_sum")
NEEDS_BOXES: tuple[RewardName, ...] = ("share_growth", "share_sign", "weighted_sum")

SIGN_TOLERANCE = 1e-5  # smaller changes of share are rounding; one pixel of 224 x 224 is twice as much


def accuracy_change(before: Bool[Tensor, "b"], after: Bool[Tensor, "b"]) -> Float[Tensor, "b"]:
    """+1 where a wrong answer became right, -1 where a right one became wrong, else 0 (equation 5.15).

    Adds up to right at the end minus right at the beginning. Sparse: most moves earn 0.
    """
    return after.float() - before.float()


def negative_loss(after: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Minus the loss after the move, at most 0 (equation 5.16). Pays for being good early; ignores what changed."""
    return -after


def loss_decrease(before: Float[Tensor, "b"], after: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """By how much the move lowered the loss (equation 5.17). Adds up to the first loss minus the last."""
    return before - after


def share_growth(before: Float[Tensor, "b"], after: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """By how much the object's share of the view grew, in [-1, 1] (equation 5.18). Adds up to last minus first."""
    return after - before


def share_sign(
    before: Float[Tensor, "b"], after: Float[Tensor, "b"], tolerance: float = SIGN_TOLERANCE
) -> Float[Tensor, "b"]:
    """-1, 0 or +1: did the share shrink, stay or grow (equation 5.19). The same scale for small and large objects.

    Does not telescope: two small gains and one large loss still earn +1. A shift of an object that stays inside the
    view leaves its share alone; `tolerance` keeps the rounding of such a shift from being paid.
    """
    change = after - before
    return torch.where(change.abs() > tolerance, change.sign(), torch.zeros_like(change))


def weighted_sum(
    loss_part: Float[Tensor, "b"], share_part: Float[Tensor, "b"], alpha: float = 1.0, beta: float = 0.8
) -> Float[Tensor, "b"]:
    """alpha times the decrease of the loss plus beta times the sign of the share's change (equation 5.20)."""
    return alpha * loss_part + beta * share_part
