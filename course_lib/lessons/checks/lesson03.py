"""Exercises of lesson 03: exploration, q_target, transport_box, share_and_iou, accepted_accuracy.

Here are those about learning what an action is worth; those about the salient object's box are in `lesson03_boxes`,
about counting right answers in `lesson03_accuracy`. All five names stand above because an exercise is looked for only
where it is mentioned.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.checks.lesson03_accuracy import ACCEPTED_ACCURACY
from course_lib.lessons.checks.lesson03_boxes import SHARE_AND_IOU, TRANSPORT_BOX
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer import q_learning
from course_lib.methods.spatial_transformer.exploration import EpsilonSchedule

# -- exploration ------------------------------------------------------------------------------------------------------


def exploration(step: int, end: float, decay: float) -> float:
    return EpsilonSchedule(end, decay)(step)


EXPLORATION = Exercise(
    name="exploration",
    reference=exploration,
    cases=(
        Case((0, 0.05, 50_000), "no step taken yet, end 0.05, decay 50000", expected=(1.0,)),
        Case((50_000, 0.05, 50_000), "after 50000 steps, end 0.05, decay 50000", expected=(0.39949,)),
        Case((100_000, 0.05, 50_000), "after 100000 steps, end 0.05, decay 50000", expected=(0.17857,)),
        Case((147_222, 0.05, 50_000), "after 147222 steps, end 0.05, decay 50000", expected=(0.1,)),
        Case((10_000_000, 0.05, 50_000), "after ten million steps", expected=(0.05,)),
        Case((3_000, 0.2, 4_000), "after 3000 steps, end 0.2, decay 4000"),
    ),
    tolerance=2e-5,  # the worked numbers are given to five digits
    misconceptions=(
        Misconception(
            lambda n, end, decay: end + math.exp(-n / decay),
            "The probability starts above 1. The part that falls is only what lies above the floor: 1 - end.",
        ),
        Misconception(
            lambda n, end, decay: math.exp(-n / decay),
            "The probability falls to 0: the floor is missing. A little exploration stays for ever.",
        ),
        Misconception(
            lambda n, end, decay: max(end, math.exp(-n / decay)),
            "The curve was cut off at the floor. It should approach it: end + (1 - end) · the falling part.",
        ),
        Misconception(
            lambda n, end, decay: (1 - end) * math.exp(-n / decay),
            "The floor is not added: the probability starts below 1 and falls to 0.",
        ),
        Misconception(
            lambda n, end, decay: max(end, 1 - (1 - end) * n / decay),
            "The probability falls in a straight line. It decays: the part above the floor shrinks to 1/e in every "
            "`decay` steps.",
        ),
        Misconception(
            lambda n, end, decay: end + (1 - end) * 0.5 ** (n / decay),
            "It halves in every `decay` steps. The decay constant is the time until 1/e is left: math.exp.",
        ),
        Misconception(
            lambda n, end, decay: 1 - exploration(n, end, decay),
            "This is the probability of the greedy action. Asked for is the random one, which is 1 at the start.",
        ),
        Misconception(
            lambda n, end, decay: end + (1 - end) * math.exp(n / decay),
            "The probability grows beyond all limits: the exponent is negative.",
        ),
        Misconception(
            lambda n, end, decay: end + (1 - end) / (1 + n / decay),
            "This falls like 1/n, far too slowly at the end. The falling part is e^(-n / decay).",
        ),
        Misconception(
            lambda n, end, decay: end + (1 - end) * math.exp(-n),
            "`decay` is not used: exploration is over after five steps. The exponent is -n / decay.",
        ),
    ),
)


# -- target of Q-learning ---------------------------------------------------------------------------------------------


def q_target(
    rewards: Tensor, done: Tensor, next_target: Tensor, gamma: float, next_online: Tensor | None = None
) -> Tensor:
    return q_learning.q_target(rewards, done, next_target, gamma, next_online)


def _backed_up(r: Tensor, done: Tensor, ahead: Tensor, gamma: float) -> Tensor:
    return torch.where(done, r, r + gamma * ahead).detach()


def _of(values: Tensor, actions: Tensor) -> Tensor:
    return values.gather(1, actions[:, None])[:, 0]


def _target_chooses(r: Tensor, done: Tensor, target: Tensor, gamma: float, online: Tensor | None = None) -> Tensor:
    return _backed_up(r, done, _of(target if online is None else online, target.argmax(1)), gamma)


def _both_online(r: Tensor, done: Tensor, target: Tensor, gamma: float, online: Tensor | None = None) -> Tensor:
    return _backed_up(r, done, (target if online is None else online).amax(1), gamma)


def _smaller_of_two(r: Tensor, done: Tensor, target: Tensor, gamma: float, online: Tensor | None = None) -> Tensor:
    return _backed_up(r, done, (target if online is None else torch.minimum(target, online)).amax(1), gamma)


def _carries_gradient(r: Tensor, done: Tensor, target: Tensor, gamma: float, online: Tensor | None = None) -> Tensor:
    return torch.where(done, r, r + gamma * _of(target, (target if online is None else online).argmax(1)))


def _called(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """The plain use, but with one error for arithmetic on truth values: which one torch raises depends on its version.

    One version raises NotImplementedError, as an exercise that nobody has written does.
    """
    try:
        return function(*inputs)
    except (NotImplementedError, RuntimeError) as error:
        if "bool tensor" in str(error):
            raise InputError(str(error)) from error
        raise


def _target_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(8, generator=generator)
    target, online = torch.randn(2, 8, 6, generator=generator)
    going, some = torch.zeros(8, dtype=torch.bool), torch.arange(8) % 3 == 1
    one, on, over = torch.tensor([1.0]), torch.tensor([False]), torch.tensor([True])
    of_target = torch.tensor([[1.0, 3.0, 2.0, 0.0, 0.0, 0.0]])
    of_online = torch.tensor([[5.0, 1.0, 2.0, 0.0, 0.0, 0.0]])
    worked = "reward 1, gamma 0.95, target network 1, 3, 2, 0, 0, 0"

    def case(about: str, *inputs: Any, expected: Tensor | None = None, gradient: bool = False) -> Case:
        return Case(inputs, about, _called, None if expected is None else (expected,), gradient)

    return (
        case(worked, one, on, of_target, 0.95, expected=torch.tensor([3.85])),
        case(f"the same at the end of an episode: {worked}", one, over, of_target, 0.95, expected=one),
        case(
            f"{worked}; online network 5, 1, 2, 0, 0, 0",
            one,
            on,
            of_target,
            0.95,
            of_online,
            expected=torch.tensor([1.95]),
        ),
        case("8 transitions with 6 actions, none at the end", rewards, going, target, 0.9),
        case("8 transitions, three of them at the end", rewards, some, target, 0.9),
        case("8 transitions, three at the end, with an online network", rewards, some, target, 0.9, online),
        case("the same, and no gradient may flow back", rewards, some, target, 0.9, online, gradient=True),
    )


_MAX_OF_ONLINE = (
    "With an online network given, its own maximum was taken: 5 of our example is just the kind of overestimate that "
    "Double DQN avoids. The online network only chooses; the target network says what the choice is worth."
)

_NUMBER = "`argmax` is the number of the action, not its value. Look the value up."

_TARGET_IDEAS = (
    Misconception(
        lambda r, d, t, g, o=None: r + g * _of(t, (t if o is None else o).argmax(1)).detach(),
        "After the end of an episode there is no next state: its value must not be added. `done` is not used.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: q_target(r, ~d, t, g, o),
        "The mask is inverted: where `done` is True nothing comes after, and the target is the reward alone.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: q_target(r, d, t, g, o) * ~d,
        "At the end of an episode the reward was lost as well. Only the value of the next state falls away.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: q_target(r, d, t, 1.0, o),
        "gamma is not used: what comes a step later counts a little less.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: q_target(r, d, t, g),
        "`next_online` is not used. If it is given, it chooses the action and the target network scores that one.",
    ),
    Misconception(_both_online, _MAX_OF_ONLINE),
    Misconception(
        _target_chooses,
        "The two networks changed places: the online network chooses the action, the target network scores it.",
    ),
    Misconception(
        _smaller_of_two,
        "The smaller of both values was taken first. Double DQN looks up one value: the target network's, at the "
        "online network's best action.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: _backed_up(r, d, t.mean(1), g),
        "The mean over actions: that is what a random agent would earn. The best action counts.",
    ),
    Misconception(lambda r, d, t, g, o=None: _backed_up(r, d, (t if o is None else o).argmax(1), g), _NUMBER),
    Misconception(lambda r, d, t, g, o=None: torch.where(d, r, r + g * (t if o is None else o).argmax(1)), _NUMBER),
    Misconception(
        lambda r, d, t, g, o=None: _backed_up(r, d, t.max().expand_as(r), g),
        "One maximum over the whole batch. Each next state has its own best action: dim 1.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: torch.where(d, r, g * (r + _of(t, (t if o is None else o).argmax(1)))).detach(),
        "The reward was discounted too. gamma belongs to the value of the next state.",
    ),
    Misconception(
        lambda r, d, t, g, o=None: (r + g * t.amax(1) * (1 - d)).detach(),
        "`done` holds truth values, which cannot be subtracted. `~done` is the opposite, and `torch.where(done, a, b)` "
        "chooses by it.",
    ),
    Misconception(
        _carries_gradient,
        "The values are right, but a gradient flows into the target: the network would move its goal towards "
        "itself. The target is a plain number: detach it.",
    ),
)

Q_TARGET = Exercise(
    name="q_target",
    reference=q_target,
    cases=_target_cases,
    misconceptions=_TARGET_IDEAS,
    diagnose=first_fault(_TARGET_IDEAS),
)

EXERCISES = [EXPLORATION, Q_TARGET, TRANSPORT_BOX, SHARE_AND_IOU, ACCEPTED_ACCURACY]
