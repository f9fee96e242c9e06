"""Hard mining: images that are small, or that a plain classifier got wrong, count more in the reward or in the loss.

F. Azimi (2024), section 5.5.2, Table 5.8: two weights times two places to put them. The text gives neither the constant
nor a limit; 0.5 and 10 are filled in. Unusual: it did not help there, and differences of Table 5.8 are within the noise
of its 8,333 test images.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import InputError

Weighed = Literal["reward", "loss"]
By = Literal["inverse_share", "baseline"]


@dataclass(frozen=True)
class HardMining:
    """What is multiplied by a weight per image, and where the weight comes from.

    H1 reward by inverse share, H2 loss by inverse share, H3 reward by baseline, H4 loss by baseline.
    """

    weighed: Weighed
    """The agent's reward, or the classifier's loss."""
    by: By
    """inverse_share: small objects count more; baseline: what a plain classifier got wrong counts more."""
    easy: float = 0.5
    """Weight of an image that the plain classifier got right; 1 is that of a wrong one."""
    largest: float = 10.0
    """Limit of 1 / share, before the weights are scaled to a mean of 1."""

    def __post_init__(self) -> None:
        if self.weighed not in get_args(Weighed) or self.by not in get_args(By):
            raise InputError(
                f"hard mining weighs {' or '.join(get_args(Weighed))} by {' or '.join(get_args(By))}, got {self}"
            )
        if not 0 <= self.easy < 1 or self.largest < 1:
            raise InputError(f"expected 0 <= easy < 1 and largest >= 1, got {self.easy} and {self.largest}")

    def weights(self, share: Float[Tensor, "n"], baseline_correct: Bool[Tensor, "n"] | None) -> Float[Tensor, "n"]:
        """A weight for each training image.

        share             of the image that its largest object fills, before any move
        baseline_correct  whether the plain classifier gets it right; needed if weighed by that
        """
        if self.by == "inverse_share":
            return inverse_share_weights(share, self.largest)
        if baseline_correct is None:
            raise InputError("weights by baseline need the answers of a plain classifier on the training images")
        return baseline_weights(baseline_correct, self.easy)


def inverse_share_weights(share: Float[Tensor, "n"], largest: float = 10.0) -> Float[Tensor, "n"]:
    """min(1 / share, largest), scaled to a mean of 1. Shares lie in (0, 1]. Built in lesson 03."""
    if not ((share > 0) & (share <= 1)).all():
        raise InputError(f"shares should lie in (0, 1], got {share.min():.3g} … {share.max():.3g}")
    weights = (1 / share).clamp(max=largest)
    return weights / weights.mean()


def baseline_weights(correct: Bool[Tensor, "n"], easy: float = 0.5) -> Float[Tensor, "n"]:
    """1 where the plain classifier is wrong, `easy` where it is right; not scaled, as in the text."""
    one = torch.ones(len(correct), device=correct.device)
    return torch.where(correct, easy * one, one)
