"""A bandit: one decision, K arms, a softmax policy. Small enough that the policy gradient is known exactly.

Mean and variance of the one-sample REINFORCE gradient are closed forms in the baseline, which shows what a baseline
does: the spread changes, the mean does not. F. Azimi (2024), section 5.2.1; Greensmith et al. (2004) for the best
baseline. Unusual: the best baseline is not the expected reward, unless for instance all arms are equally likely.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError


@dataclass(frozen=True)
class Bandit:
    """K arms; arm a pays `means[a]` plus Gaussian noise of deviation `noise`. Logits are [K], any real numbers.

    Raises `InputError` for fewer than 2 arms, means that are not floating point, or negative noise.
    """

    means: Float[Tensor, "k"]
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.means.ndim != 1 or len(self.means) < 2 or not self.means.is_floating_point():
            raise InputError(
                "expected the mean reward of at least 2 arms, a floating-point tensor [K]; "
                f"got {self.means.dtype} {list(self.means.shape)}"
            )
        if self.noise < 0:
            raise InputError(f"noise is a standard deviation and cannot be negative, got {self.noise}")

    def pull(self, arms: Int[Tensor, "*b"], generator: torch.Generator | None = None) -> Float[Tensor, "*b"]:
        """A reward for each arm pulled; without noise it is the arm's mean."""
        means = self.means[arms]
        noise = torch.randn(means.shape, generator=generator, device=means.device, dtype=means.dtype)
        return means + self.noise * noise

    def expected_reward(self, logits: Float[Tensor, "k"]) -> Float[Tensor, ""]:
        """J = sum over arms of pi(a) * means[a]; differentiable."""
        return (logits.softmax(dim=0) * self.means).sum()

    def exact_gradient(self, logits: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
        """Gradient of J with respect to the logits: pi(a) * (means[a] - J)."""
        pi = logits.softmax(dim=0)
        return pi * (self.means - (pi * self.means).sum())

    def gradient_moments(
        self, logits: Float[Tensor, "k"], baseline: float | Tensor = 0.0
    ) -> tuple[Float[Tensor, "k"], Float[Tensor, "k"]]:
        """Mean and variance, per logit, of one REINFORCE sample (onehot(a) - pi) * (reward - baseline), a from pi.

        The mean is `exact_gradient` for every baseline. Averaging N episodes divides the variance by N.
        """
        pi = logits.softmax(dim=0)
        score = scores(logits)  # [arm pulled, logit]
        samples = score * (self.means - baseline)[:, None]
        mean = (pi[:, None] * samples).sum(dim=0)
        spread = (pi[:, None] * (samples - mean).square()).sum(dim=0)
        return mean, spread + self.noise**2 * (pi[:, None] * score.square()).sum(dim=0)

    def best_baseline(self, logits: Float[Tensor, "k"]) -> Float[Tensor, ""]:
        """The baseline of least total variance: the mean reward, weighted by pi(a) * |score of a|**2."""
        weights = logits.softmax(dim=0) * scores(logits).square().sum(dim=1)
        return (weights * self.means).sum() / weights.sum()


def scores(logits: Float[Tensor, "k"]) -> Float[Tensor, "k k"]:
    """Gradient of log pi(a) with respect to the logits, for every arm a (a row each): onehot(a) - pi."""
    pi = logits.softmax(dim=0)
    return torch.eye(len(pi), dtype=pi.dtype, device=pi.device) - pi


def gradient_samples(
    logits: Float[Tensor, "k"],
    arms: Int[Tensor, "n"],
    rewards: Float[Tensor, "n"],
    baseline: float | Tensor = 0.0,
) -> Float[Tensor, "n k"]:
    """The REINFORCE gradient of each pull on its own, what the histogram of lesson 01 shows."""
    return scores(logits)[arms] * (rewards - baseline)[:, None]
