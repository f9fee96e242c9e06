"""Exercises of lesson 01 about rewards: what one move earns, and what an action is credited with.

An episode of T moves has T + 1 views, and an action answers for what comes after it: nearly every mistake is off by one
or looks the wrong way in time. `lesson01` lists these exercises.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.compare import difference
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer import returns as library
from course_lib.methods.spatial_transformer.rewards import accuracy_change, loss_decrease, negative_loss

# -- three rewards ----------------------------------------------------------------------------------------------------


def three_rewards(losses: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (
        accuracy_change(correct[:-1] > 0, correct[1:] > 0),
        negative_loss(losses[1:]),
        loss_decrease(losses[:-1], losses[1:]),
    )


_Reward = Callable[[Tensor, Tensor], Tensor]

# Wrong ideas about one of the rewards: which one, the idea, and its cause.
_REWARD_IDEAS: tuple[tuple[int, _Reward, str], ...] = (
    (
        0,
        lambda losses, correct: correct[1:],
        "r1 pays +1 for every right answer. It should pay for a change: +1 if the move made a wrong answer right, "
        "-1 if it made a right one wrong, else 0.",
    ),
    (
        0,
        lambda losses, correct: correct.diff().abs(),
        "r1 pays +1 for any change. A right answer that became wrong costs 1.",
    ),
    (
        0,
        lambda losses, correct: correct.diff().clamp(min=0),
        "r1 does not punish a right answer that became wrong: then breaking and mending in turns earns for ever.",
    ),
    (0, lambda losses, correct: -correct.diff(), "r1 has the wrong sign: wrong before and right after earns +1."),
    (
        0,
        lambda losses, correct: 2 * correct[1:] - 1,
        "r1 looks at the answer after the move only. It pays for a change: where nothing changed it is 0.",
    ),
    (
        1,
        lambda losses, correct: -losses[:-1],
        "r2 uses the loss before the move: the first reward is then the same whatever the agent does. It is minus the "
        "loss after the move.",
    ),
    (1, lambda losses, correct: losses[1:], "r2 pays for a high loss: it is minus the loss after the move."),
    (
        1,
        lambda losses, correct: -losses,
        "r2 has T + 1 values. T moves earn T rewards: the untouched image, entry 0, is before the first move.",
    ),
    (2, lambda losses, correct: losses.diff(), "r3 has the wrong sign: it is positive when the loss went down."),
    (
        2,
        lambda losses, correct: losses[0] - losses[1:],
        "r3 compares with the untouched image, so every move is paid for all moves before it. Compare with the view "
        "just before the move.",
    ),
    (
        2,
        lambda losses, correct: -losses.diff() / losses[:-1],
        "r3 was divided by the loss: it is the plain difference, which adds up to first loss minus last.",
    ),
)


def _with_idea(place: int, idea: _Reward) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    def wrong(losses: Tensor, correct: Tensor) -> tuple[Tensor, ...]:
        rewards = list(three_rewards(losses, correct))
        rewards[place] = idea(losses, correct)
        return tuple(rewards)

    return wrong


def _why_not_rewards(case: Case, got: Any, expected: tuple[Tensor, ...]) -> str | None:
    """The idea behind the first wrong reward, also if another one is wrong too."""
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        return "Three rewards are asked for, in the order r1, r2, r3."
    wrong = [place for place in range(3) if difference(got[place], expected[place]) is not None]
    for place, idea, cause in _REWARD_IDEAS:
        if wrong[:1] == [place] and difference(got[place], idea(*case.fresh_inputs())) is None:
            return cause
    return None


def _episode(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _reward_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    losses, correct = 3 * torch.rand(9, generator=generator), torch.randint(0, 2, (9,), generator=generator).float()
    return (
        Case(
            (_episode(2.3, 2.0, 2.1, 1.2), _episode(0, 1, 0, 1)),
            "losses 2.3, 2.0, 2.1, 1.2; answers wrong, right, wrong, right",
            expected=((_episode(1, -1, 1), _episode(-2.0, -2.1, -1.2), _episode(0.3, -0.1, 0.9)),),
        ),
        Case((losses, correct), "an episode of 8 moves"),
        Case(
            (torch.full((6,), 0.7), torch.ones(6)),
            "five times staying: right all the time, the loss is 0.7",
            expected=((torch.zeros(5), torch.full((5,), -0.7), torch.zeros(5)),),
        ),
        Case(
            (_episode(0.1, 4.0), _episode(1, 0)),
            "one bad move",
            expected=((_episode(-1), _episode(-4), _episode(-3.9)),),
        ),
    )


THREE_REWARDS = Exercise(
    name="three_rewards",
    reference=three_rewards,
    cases=_reward_cases,
    misconceptions=tuple(Misconception(_with_idea(place, idea), cause) for place, idea, cause in _REWARD_IDEAS),
    diagnose=_why_not_rewards,
)


# -- reward-to-go -----------------------------------------------------------------------------------------------------


def rewards_to_go(rewards: Tensor, gamma: float) -> Tensor:
    return library.rewards_to_go(rewards, gamma)


def _powers(rewards: Tensor, gamma: float) -> Tensor:
    """gamma**0, gamma**1, …, one per step, [T]."""
    return torch.tensor(gamma) ** torch.arange(rewards.shape[1])


def _sum_of_rest(values: Tensor) -> Tensor:
    return values.flip(1).cumsum(1).flip(1)


def _only_the_past(rewards: Tensor, gamma: float) -> Tensor:
    return library.rewards_to_go(rewards.flip(1), gamma).flip(1)


def _without_own(rewards: Tensor, gamma: float) -> Tensor:
    return library.rewards_to_go(rewards, gamma) - rewards


def _to_go_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(3, 5, generator=generator)
    long = torch.randn(2, 200, generator=generator)
    worked = torch.tensor([[0.3, -0.1, 0.9]])
    return (
        Case((worked, 0.9), expected=(torch.tensor([[0.939, 0.71, 0.9]]),)),
        Case((batch, 0.95), "3 episodes of 5 steps, gamma 0.95"),
        Case((worked, 1.0), "the worked rewards, gamma 1", expected=(torch.tensor([[1.1, 0.8, 0.9]]),)),
        Case((batch[:, :1], 0.9), "episodes of one step", expected=(batch[:, :1],)),
        Case((batch, 0.0), "gamma 0: only the next reward counts", expected=(batch,)),
        Case((long, 0.5), "2 episodes of 200 steps, gamma 0.5"),
    )


_DIVIDED = (
    "NaN: the sum was divided by gamma**t, which is 0 for gamma 0 and, in long episodes, for any gamma below 1. "
    "Go from the last step to the first instead: G_t = r_t + gamma · G_(t+1)."
)
_ALL = (
    "Every step got the return of the whole episode. An action cannot change rewards that came before it: leave those "
    "out, they only add noise."
)

REWARDS_TO_GO = Exercise(
    name="rewards_to_go",
    reference=rewards_to_go,
    cases=_to_go_cases,
    misconceptions=(
        Misconception(
            library.printed_rewards_to_go,
            "The discount was counted from the end of the episode, gamma**(T - k), as the algorithm is printed: the "
            "latest reward would count most. The reward that follows at once has weight 1, later ones less.",
        ),
        Misconception(
            lambda r, g: _sum_of_rest(r * _powers(r, g).flip(0)),
            "The discount was counted from the end of the episode: the last reward has weight 1 for every step. Count "
            "it from the step itself, gamma**(k - t).",
        ),
        Misconception(library.episode_returns, _ALL),
        Misconception(lambda r, g: r.sum(1, keepdim=True).expand_as(r), f"{_ALL} And gamma is not used."),
        Misconception(
            _only_the_past,
            "This adds up the rewards that came before. Reward-to-go is what is still to come, this step's included.",
        ),
        Misconception(lambda r, g: r.cumsum(1), "This adds up the rewards that came before, without a discount."),
        Misconception(
            _without_own,
            "The step's own reward is missing: the reward r_t follows the action of step t and belongs to it.",
        ),
        Misconception(
            lambda r, g: _without_own(r, g) / g if g else r.roll(-1, 1),
            "Off by one: the sum starts with the reward of the next step. r_t follows the action of step t.",
        ),
        Misconception(lambda r, g: _sum_of_rest(r), "gamma is not used: later rewards count less."),
        Misconception(
            lambda r, g: _sum_of_rest(r * _powers(r, g)),
            "The discount was counted from the start of the episode, gamma**k, so late steps hardly count at all. Each "
            "step counts from itself, gamma**(k - t).",
        ),
        Misconception(
            lambda r, g: g * library.rewards_to_go(r, g),
            "The step's own reward was discounted too: it has weight gamma**0 = 1.",
        ),
        Misconception(
            lambda r, g: library.rewards_to_go(r.T, g).T,
            "The sum runs over the episodes of the batch. Rows are episodes, steps run along dim 1.",
        ),
        Misconception(
            lambda r, g: library.rewards_to_go(r, g) / torch.arange(r.shape[1], 0, -1),
            "The sum was divided by the number of steps left: it is a sum, not a mean.",
        ),
        Misconception(lambda r, g: _sum_of_rest(r * _powers(r, g)) / _powers(r, g), _DIVIDED),
    ),
    tolerance=1e-4,  # sums over many steps in another order
)
