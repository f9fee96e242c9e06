"""How actions are drawn: at random less and less often (Q-learning), or from the policy's own probabilities.

Q-learning must try actions that look bad, so a share of its actions is uniform, at first all of them. F. Azimi (2024),
equation 5.11. Unusual: nothing here asks the device for a number, so a rollout never
waits for a GPU, which `torch.multinomial` does to check its input.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError


@dataclass(frozen=True)
class EpsilonSchedule:
    """Probability of a random action after n steps: end + (1 - end) * exp(-n / decay), from 1 down to `end`.

    What a step is has to be said beside every result: counting images or batches shifts the curve by the batch size.
    """

    end: float = 0.05  # the floor, in [0, 1)
    decay: float = 50_000  # steps until the part above the floor has fallen to 1/e

    def __post_init__(self) -> None:
        if not (0 <= self.end < 1 and self.decay > 0):
            raise InputError(f"expected 0 <= end < 1 and decay > 0, got end={self.end} and decay={self.decay}")

    def __call__(self, step: float) -> float:
        """Probability in (end, 1] after `step` >= 0 steps."""
        if step < 0:
            raise InputError(f"steps taken so far cannot be negative, got {step}")
        return self.end + (1 - self.end) * math.exp(-step / self.decay)

    def steps_until(self, probability: float) -> float:
        """After how many steps the probability has fallen to `probability`, which lies above the floor."""
        if not self.end < probability <= 1:
            raise InputError(f"the probability falls from 1 towards {self.end} and never reaches {probability}")
        return self.decay * math.log((1 - self.end) / (probability - self.end))


def epsilon_greedy(
    q: Float[Tensor, "b a"], epsilon: float, generator: torch.Generator | None = None
) -> Int[Tensor, "b"]:
    """For each row on its own: with probability `epsilon` any action, otherwise the one of highest value.

    q          values of the A actions
    epsilon    in [0, 1]; 0 is for evaluation, is deterministic and draws no random number
    generator  on the device of `q`; None is torch's own

    Raises `InputError` for an epsilon outside [0, 1].
    """
    if not 0 <= epsilon <= 1:
        raise InputError(f"epsilon is a probability between 0 and 1, got {epsilon}")
    best = q.argmax(dim=1)
    if epsilon == 0:
        return best
    batch, actions = q.shape
    anything = torch.randint(actions, (batch,), generator=generator, device=q.device)
    explore = torch.rand(batch, generator=generator, device=q.device) < epsilon  # rand < 1, so epsilon 1 is always
    return torch.where(explore, anything, best)


def sample_categorical(logits: Float[Tensor, "*b a"], generator: torch.Generator | None = None) -> Int[Tensor, "*b"]:
    """One draw per row from softmax(logits): every entry runs at its own rate, the first to finish is taken.

    With E exponential, P(argmax_a of logits_a - log E_a = a) is softmax(logits)_a: the exponential race, or Gumbel-max.
    An entry of -inf is never drawn. Carries no gradient. NaN is not noticed here, only in the loss.
    """
    time = torch.empty_like(logits, requires_grad=False).exponential_(generator=generator)
    time.clamp_(min=torch.finfo(time.dtype).tiny)  # an exact 0 would let an impossible entry win
    return (logits.detach() - time.log()).argmax(dim=-1)
