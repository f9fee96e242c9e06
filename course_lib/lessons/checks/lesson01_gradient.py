"""Exercises of lesson 01 about the policy gradient: how much better than the others an action did, and the loss of it.

Rows are episodes, columns are steps, so a wrong axis compares what should not be compared. The loss is checked with its
gradient: it may reach the policy and nothing else. `lesson01` lists these exercises.
"""

from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer import returns as library
from course_lib.methods.spatial_transformer.policy_gradient import actor_loss

# -- leave-one-out advantage ------------------------------------------------------------------------------------------


def advantages_leave_one_out(returns: Tensor) -> Tensor:
    return library.advantages(returns, library.batch_mean(returns, leave_one_out=True))


def _others(returns: Tensor, dim: int) -> Tensor:
    """Mean of all but each entry along an axis."""
    return (returns.sum(dim, keepdim=True) - returns) / (returns.shape[dim] - 1)


def _advantage_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(1)
    batch = torch.randn(6, 4, generator=generator)
    drift = torch.rand(3, 5, generator=generator) - torch.arange(5.0)  # returns shrink as an episode goes on
    equal = torch.tensor([[2.0, 1.0, 0.5]]).repeat(4, 1)
    return (
        Case(
            (torch.tensor([[6.0, 1.0], [3.0, 1.0], [0.0, 4.0]]),),
            "three episodes with returns 6, 3, 0 at the first step and 1, 1, 4 at the second",
            expected=(torch.tensor([[4.5, -1.5], [0.0, -1.5], [-4.5, 3.0]]),),
        ),
        Case((torch.tensor([[1.0], [0.0]]),), "two episodes: each is compared with the other"),
        Case((batch,), "6 episodes of 4 steps"),
        Case((drift,), "3 episodes whose returns shrink from step to step"),
        Case((equal,), "four equal episodes", expected=(torch.zeros(4, 3),)),
    )


_OVER_TIME = (
    "The mean runs over the steps of one episode. Returns shrink as an episode goes on, so early actions would look "
    "good only for being early. Compare the same step of the other episodes: dim 0."
)

ADVANTAGES_LEAVE_ONE_OUT = Exercise(
    name="advantages_leave_one_out",
    reference=advantages_leave_one_out,
    cases=_advantage_cases,
    misconceptions=(
        Misconception(
            lambda g: g - g.mean(0),
            "The episode's own return is in the mean it is compared with. It partly cancels itself: every advantage "
            "shrinks by (B - 1) / B. Average the other episodes only.",
        ),
        Misconception(
            lambda g: g - (g.sum(0) - g) / len(g),
            "The other episodes are B - 1, not B: their sum was divided by one too many, so the baseline is too small.",
        ),
        Misconception(
            lambda g: g - g.sum(0) / (len(g) - 1),
            "The sum still holds the episode's own return: subtract it before dividing by B - 1.",
        ),
        Misconception(lambda g: g - g.mean(1, keepdim=True), _OVER_TIME),
        Misconception(lambda g: g - _others(g, 1), _OVER_TIME),
        Misconception(
            lambda g: g - g.mean(),
            "One mean for the whole batch. A step's baseline is the mean at that same step: late steps have less still "
            "to come.",
        ),
        Misconception(
            lambda g: g - _others(g.flatten(), 0).view_as(g),
            "The mean of all other numbers of the batch, whatever their step. Compare the same step: dim 0.",
        ),
        Misconception(lambda g: _others(g, 0), "This is the baseline. The advantage is the return minus the baseline."),
        Misconception(
            lambda g: _others(g, 0) - g,
            "The sign is wrong: an episode that went better than the others has a positive advantage.",
        ),
        Misconception(
            lambda g: (g - g.mean(0)) / (g.std(0) + 1e-8),
            "The advantages were divided by their deviation. That is another estimator, and a biased one: here only "
            "the mean of the others is subtracted.",
        ),
    ),
)


# -- loss of the policy -----------------------------------------------------------------------------------------------


def policy_gradient_loss(log_probs: Tensor, returns: Tensor, baseline: Tensor) -> Tensor:
    return actor_loss(log_probs, library.advantages(returns, baseline))


def _loss_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(2)
    log_probs = torch.rand(4, 3, generator=generator).clamp(min=0.05).log()
    returns, values = torch.randn(2, 4, 3, generator=generator)
    worked = (torch.tensor([[-0.5, -2.0]]), torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 2.0]]))
    return (
        Case(
            worked,
            "one episode: log-probabilities -0.5, -2; returns 3, 1; baseline 1, 2",
            expected=(torch.tensor(-0.5),),
        ),
        Case((log_probs, returns, values), "4 episodes of 3 steps"),
        Case((log_probs, returns, torch.zeros(4, 3)), "a baseline of zeros"),
        Case((log_probs, returns, returns), "returns that are just what was expected", expected=(torch.tensor(0.0),)),
        Case(
            (log_probs, returns, values),
            "4 episodes of 3 steps, the gradient: to log_probs, and to nothing else",
            gradient=True,
        ),
    )


def _advantage(g: Tensor, b: Tensor) -> Tensor:
    return (g - b).detach()


_DESCENT = (
    "The sign is wrong: an optimizer makes the loss smaller, so with this one actions that went well become less "
    "likely. Minimise minus the mean."
)


_LOSS_IDEAS = (
    Misconception(lambda p, g, b: (p * _advantage(g, b)).mean(), _DESCENT),
    Misconception(lambda p, g, b: -(p * _advantage(b, g)).mean(), _DESCENT),
    Misconception(
        lambda p, g, b: -(p * _advantage(g, b)).sum(),
        "The sum over episodes and steps: the size of a training step would grow with the batch. Take the mean.",
    ),
    Misconception(
        lambda p, g, b: -(p * _advantage(g, b)).sum(1).mean(),
        "Summed over the steps, averaged over the episodes: T times too large here. Take the mean over both.",
    ),
    Misconception(
        lambda p, g, b: -(p * g.detach()).mean(),
        "The baseline is not used: an action that earned 10 where 11 was usual would be made more likely.",
    ),
    Misconception(
        lambda p, g, b: -(p * (g + b).detach()).mean(), "The baseline was added. Subtract what was to be expected."
    ),
    Misconception(
        lambda p, g, b: -(p.exp() * _advantage(g, b)).mean(),
        "The probability stands where its logarithm should. Actions were already drawn by their probability; "
        "log pi takes it out again, otherwise likely actions count twice.",
    ),
    Misconception(
        lambda p, g, b: -p.mean() * _advantage(g, b).mean(),
        "The two means were taken separately. Each action is weighted by its own advantage: multiply first, then "
        "take the mean.",
    ),
    Misconception(
        lambda p, g, b: -(p.sum(1) * _advantage(g, b).sum(1)).mean() / p.shape[1],
        "Sums over the episode were multiplied, so every action is credited with all steps. Multiply step by step, "
        "then take the mean.",
    ),
    Misconception(
        lambda p, g, b: -(p * _advantage(g, b) / (_advantage(g, b).std(correction=0) + 1e-8)).mean(),
        "The advantages were divided by their deviation: another, biased estimator. Here they stay as they are.",
    ),
    Misconception(lambda p, g, b: -p.mean(), "Every action is made more likely: returns and baseline are not used."),
    Misconception(
        lambda p, g, b: -(p * (g.detach() - b)).mean(),
        "The value is right, but a gradient reaches the baseline: the critic would be pushed to make this loss "
        "small instead of learning what to expect. Detach the advantage.",
    ),
    Misconception(
        lambda p, g, b: -(p * (g - b)).mean(),
        "The value is right, but a gradient reaches the returns and the baseline. For the policy the advantage is "
        "a plain number: detach it.",
    ),
    Misconception(
        lambda p, g, b: -(p.detach() * (g - b)).mean(),
        "The wrong factor was detached: the gradient must go through log_probs, it is the only way to the policy.",
    ),
)


def _why_not_loss(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.ndim > 0 and torch.allclose(got.mean(), expected, atol=1e-5):
        return "One number per action is left: take the mean over episodes and steps, so that there is one loss."
    if isinstance(got, float):
        return "A Python number carries no gradient, and the policy could not learn from it: return the tensor."
    return first_fault(_LOSS_IDEAS)(case, got, expected)


POLICY_GRADIENT_LOSS = Exercise(
    name="policy_gradient_loss",
    reference=policy_gradient_loss,
    cases=_loss_cases,
    misconceptions=_LOSS_IDEAS,
    diagnose=_why_not_loss,
)
