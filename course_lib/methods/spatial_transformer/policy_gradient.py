"""REINFORCE and Monte-Carlo actor-critic: make actions that went better than expected more likely.

The gradient of the expected reward is the mean of (gradient of log pi) * (what the action earned), so the reward itself
needs no gradient. F. Azimi (2024), equations 5.3-5.8 and Algorithm 1; Williams (1992). Unusual: no
bootstrapping, the critic only supplies the baseline; actor and critic never see each other's gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.exploration import sample_categorical
from course_lib.methods.spatial_transformer.returns import (
    advantages,
    batch_mean,
    check_gamma,
    check_steps,
    episode_returns,
    rewards_to_go,
)

Baseline = Literal["none", "batch_mean", "leave_one_out", "critic"]
BASELINES: tuple[Baseline, ...] = ("none", "batch_mean", "leave_one_out", "critic")


@dataclass(frozen=True)
class PolicyGradientConfig:
    """Which estimator of the policy gradient. "critic" is the source's actor-critic, "none" its policy gradient."""

    gamma: float = 0.95  # discount; the source gives none for this chapter's first part
    baseline: Baseline = "none"
    reward_to_go: bool = True  # False credits every action with the whole episode
    entropy_weight: float = 0.0  # reward for staying undecided; an addition of the course
    normalise: bool = False  # advantages to mean 0 and deviation 1; an addition of the course

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if self.baseline not in BASELINES:
            raise InputError(f"baseline should be one of {', '.join(BASELINES)}; got {self.baseline!r}")
        if self.entropy_weight < 0:
            raise InputError(f"entropy_weight should not be negative, got {self.entropy_weight}")


@dataclass(frozen=True)
class Choice:
    """What a policy did at one step, for each episode of the batch."""

    actions: Int[Tensor, "b"]
    log_probs: Float[Tensor, "b"]  # of the actions taken; carries the gradient
    entropies: Float[Tensor, "b"]  # nats; carries the gradient


def choose(logits: Float[Tensor, "b a"], generator: torch.Generator | None = None, greedy: bool = False) -> Choice:
    """Draw an action per row from softmax(logits), or take the likeliest (`greedy`, for evaluation).

    The draw has no gradient; the log-probability of what was drawn has: onehot(action) - softmax(logits), per logit.
    Computed in at least 32 bits, whatever the network's precision.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    log_pi = logits.log_softmax(dim=1)  # [B, A]
    actions = log_pi.argmax(dim=1) if greedy else sample_categorical(log_pi, generator)
    taken = log_pi.gather(1, actions[:, None]).squeeze(1)  # [B]
    return Choice(actions, taken, -(log_pi.exp() * log_pi).sum(dim=1))


@dataclass(frozen=True)
class Episode:
    """A batch of episodes of equal length, one number per episode and step: [B, T] each.

    log_probs  log pi(a_t | s_t) of the actions taken, with gradient to the policy
    rewards    what followed each action; any gradient in them is ignored
    values     the critic's V(s_t) before the action, with gradient to the critic; None without a critic
    entropies  of pi(. | s_t), with gradient to the policy; needed for an entropy bonus only

    Raises `InputError` if one is not of floating point or not [B, T].
    """

    log_probs: Float[Tensor, "b t"]
    rewards: Float[Tensor, "b t"]
    values: Float[Tensor, "b t"] | None = None
    entropies: Float[Tensor, "b t"] | None = None

    def __post_init__(self) -> None:
        check_steps(self.log_probs, "log_probs")
        named = (("rewards", self.rewards), ("values", self.values), ("entropies", self.entropies))
        for name, numbers in named:
            if numbers is not None:
                check_steps(numbers, name, self.log_probs.shape)

    @classmethod
    def from_steps(
        cls, choices: Sequence[Choice], rewards: Sequence[Tensor], values: Sequence[Tensor] | None = None
    ) -> "Episode":
        """Gather what a rollout collected step by step: T choices, T rewards [B] and, with a critic, T values [B]."""
        counts = {len(choices), len(rewards), len(choices if values is None else values)}
        if len(counts) > 1 or not choices:
            raise InputError(
                f"an episode needs as many choices as rewards and values, at least one; got {len(choices)} choices, "
                f"{len(rewards)} rewards and {'no' if values is None else len(values)} values"
            )
        return cls(
            torch.stack([choice.log_probs for choice in choices], dim=1),  # [B, T]
            torch.stack(list(rewards), dim=1),
            None if values is None else torch.stack(list(values), dim=1),
            torch.stack([choice.entropies for choice in choices], dim=1),
        )


@dataclass(frozen=True)
class PolicyGradientLosses:
    """Losses to minimise and, without gradient, what they were made of, for plots."""

    actor: Float[Tensor, ""]  # reaches only the policy
    critic: Float[Tensor, ""] | None  # reaches only the critic; None if the episode has no values
    returns: Float[Tensor, "b t"]  # reward-to-go, what the critic learns
    advantages: Float[Tensor, "b t"]  # what weighted the log-probabilities

    @property
    def total(self) -> Float[Tensor, ""]:
        """Sum of both; as they share no weights, one backward pass is the same as two."""
        return self.actor if self.critic is None else self.actor + self.critic


def actor_loss(log_probs: Float[Tensor, "b t"], advantage: Float[Tensor, "b t"]) -> Float[Tensor, ""]:
    """-mean(log pi * advantage): minimising it climbs the expected reward.

    The mean is over steps too: its gradient is that of the expected return, divided by -T. Built in lesson 01.
    """
    return -(log_probs * advantage.detach()).mean()


def critic_loss(values: Float[Tensor, "b t"], returns: Float[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Mean squared error of V(s_t) against the reward-to-go seen from s_t."""
    return F.mse_loss(values, returns.detach())


def policy_gradient_losses(episode: Episode, config: PolicyGradientConfig) -> PolicyGradientLosses:
    """Both losses of Algorithm 1, corrected, from one batch of episodes.

    In expectation the actor's gradient is exactly that of the expected return at gamma 1, with baseline "none",
    "leave_one_out" or "critic" ("batch_mean" scales it by (B - 1) / B). Below 1, `reward_to_go` follows the usual
    practice and leaves out the factor gamma**t of step t; without `reward_to_go` it is the gradient of the
    discounted return.

    Raises `InputError` if the config asks for values or entropies that the episode lacks. Built in lesson 01.
    """
    to_go = rewards_to_go(episode.rewards.detach(), config.gamma)
    credit = to_go if config.reward_to_go else episode_returns(episode.rewards.detach(), config.gamma)
    baseline = _baseline(episode, credit, config.baseline)
    advantage = advantages(credit, baseline, config.normalise)
    actor = actor_loss(episode.log_probs, advantage)
    if config.entropy_weight:
        if episode.entropies is None:
            raise InputError("an entropy bonus needs the entropies of the policy: give the episode its `entropies`")
        actor = actor - config.entropy_weight * episode.entropies.mean()
    critic = None if episode.values is None else critic_loss(episode.values, to_go)
    return PolicyGradientLosses(actor, critic, to_go, advantage)


def _baseline(episode: Episode, credit: Tensor, kind: Baseline) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "critic":
        if episode.values is None:
            raise InputError("baseline 'critic' needs the critic's values: give the episode its `values`")
        return episode.values
    return batch_mean(credit, leave_one_out=kind == "leave_one_out")
