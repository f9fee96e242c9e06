"""What an action is credited with: discounted reward-to-go, a baseline to compare it with, and their difference.

An action cannot change rewards that came before it, so they are left out; what any action would have earned is
subtracted. F. Azimi (2024), equation 5.8 and Algorithm 1; Williams (1992). Unusual: the algorithm as printed discounts
from the wrong end; that version is kept under its own name, for the lesson that asks to find the mistake.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError


def rewards_to_go(rewards: Float[Tensor, "b t"], gamma: float = 1.0) -> Float[Tensor, "b t"]:
    """G_t = sum over k >= t of gamma**(k - t) * r_k, from the back: G_t = r_t + gamma * G_(t+1).

    rewards  [B, T], the reward that followed the action of each step
    gamma    discount in [0, 1]; at 1, a reward counts the same however late it comes

    Raises `InputError` for other shapes, whole-number rewards, or another gamma. Built in lesson 01.
    """
    check_gamma(gamma)
    check_steps(rewards, "rewards")
    ahead = torch.zeros_like(rewards[:, 0])
    to_go = []
    for reward in rewards.flip(1).unbind(1):  # from the last step to the first; [B] each
        ahead = reward + gamma * ahead
        to_go.append(ahead)
    return torch.stack(to_go[::-1], dim=1)


def episode_returns(rewards: Float[Tensor, "b t"], gamma: float = 1.0) -> Float[Tensor, "b t"]:
    """The whole discounted return of the episode, sum of gamma**k * r_k, as the credit of every step.

    This is REINFORCE before causality is used: the same mean gradient at gamma 1, with more variance.
    """
    return rewards_to_go(rewards, gamma)[:, :1].expand_as(rewards)


def discount_weights(steps: int, gamma: float) -> Float[Tensor, "t k"]:
    """The definition as a matrix: row t holds the weight gamma**(k - t) of reward k >= t, and 0 for the past.

    `rewards @ discount_weights(T, gamma).T` equals `rewards_to_go`. In float64.
    """
    check_gamma(gamma)
    t, k = torch.arange(steps)[:, None], torch.arange(steps)[None]
    return torch.where(k >= t, torch.tensor(gamma, dtype=torch.float64) ** (k - t).clamp(min=0), 0.0)


def printed_discount_weights(steps: int, gamma: float) -> Float[Tensor, "t k"]:
    """The weights that the printed algorithm gives, gamma**(T - k) for k >= t: the latest reward counts most.

    Wrong unless gamma is 1; here to be found. With T = 10 and gamma 0.95, the first reward weighs 0.599 instead of 1.
    """
    from_the_end = torch.tensor(gamma, dtype=torch.float64) ** (steps - torch.arange(steps))  # [T]
    return torch.where(discount_weights(steps, 1.0) > 0, from_the_end, 0.0)


def printed_rewards_to_go(rewards: Float[Tensor, "b t"], gamma: float) -> Float[Tensor, "b t"]:
    """Reward-to-go as printed, with the discount counted from the end of the episode: wrong unless gamma is 1."""
    check_gamma(gamma)
    check_steps(rewards, "rewards")
    return rewards @ printed_discount_weights(rewards.shape[1], gamma).to(rewards).mT


def batch_mean(returns: Float[Tensor, "b t"], leave_one_out: bool = False) -> Float[Tensor, "b t"]:
    """A baseline for each step: the mean return of the episodes in the batch, at that step.

    leave_one_out  average the other episodes only. The plain mean contains the very return it is subtracted from,
                   which shrinks the expected gradient by (B - 1) / B; without it there is no bias at all

    Raises `InputError` for a batch of one, whose mean is its own return, so that nothing would be learnt.
    """
    check_steps(returns, "returns")
    episodes = returns.shape[0]
    if episodes < 2:
        raise InputError("a batch mean compares episodes and needs at least 2, got 1; use a critic, or no baseline")
    total = returns.sum(dim=0, keepdim=True)  # [1, T]
    return (total - returns) / (episodes - 1) if leave_one_out else (total / episodes).expand_as(returns)


def advantages(
    returns: Float[Tensor, "b t"], baseline: Float[Tensor, "b t"] | None = None, normalise: bool = False
) -> Float[Tensor, "b t"]:
    """How much better than the baseline each step went; carries no gradient, to the critic or to the rewards.

    baseline   what the state was worth before the action, [B, T]; must not depend on the action. None is 0
    normalise  subtract the mean and divide by the standard deviation over batch and time. Not in the source: it
               makes the step size independent of the scale of the rewards, and the gradient no longer unbiased
    """
    check_steps(returns, "returns")
    if baseline is not None:
        check_steps(baseline, "baseline", returns.shape)
        returns = returns - baseline
    advantage = returns.detach()
    if normalise:
        spread = advantage.std(correction=0)
        advantage = (advantage - advantage.mean()) / (spread + torch.finfo(advantage.dtype).eps)
    return advantage


def check_gamma(gamma: float) -> None:
    """Raise `InputError` unless `gamma` is a discount."""
    if not 0 <= gamma <= 1:
        raise InputError(f"gamma is a discount between 0 and 1, got {gamma}")


def check_steps(numbers: Tensor, name: str, shape: torch.Size | None = None) -> None:
    """Raise `InputError` unless `numbers` holds one real number per episode and step, of `shape` if that is given."""
    if numbers.ndim != 2 or 0 in numbers.shape or not numbers.is_floating_point():
        raise InputError(
            f"{name} should be a floating-point tensor [episodes, steps], got {numbers.dtype} {list(numbers.shape)}; "
            "stack the steps along dimension 1"
        )
    if shape is not None and numbers.shape != shape:
        raise InputError(f"{name} should be {list(shape)}, one per episode and step; got {list(numbers.shape)}")
