"""Deep Q-learning: learn what each action is worth from r + gamma * (worth of the best action after it).

The worth of the next state comes from a target network, a copy that is refreshed now and then, so that the network does
not chase itself. F. Azimi (2024), equation 5.10 and Algorithm 2; van Hasselt et al. (2016). Unusual: what the thesis
calls "double" is the target network alone, which is `double=False` here; `double=True` is Double DQN of the literature.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.exploration import epsilon_greedy
from course_lib.methods.spatial_transformer.returns import check_gamma


@dataclass(frozen=True)
class QConfig:
    """How Q-values are learnt. Defaults are those of F. Azimi (2024), section 5.5."""

    gamma: float = 0.95  # discount
    double: bool = False  # the online network picks the next action, the target network scores it
    sync_every: int = 100  # updates between two copies to the target network
    learning_rate: float = 5e-6  # of Adam
    huber_delta: float = 1.0  # errors beyond it count linearly, towards a median; the source gives none

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if self.sync_every < 1 or self.huber_delta <= 0 or self.learning_rate <= 0:
            raise InputError(
                "expected sync_every >= 1, huber_delta > 0 and learning_rate > 0; got "
                f"{self.sync_every}, {self.huber_delta} and {self.learning_rate}"
            )


@dataclass(frozen=True)
class Transitions:
    """N steps of any episodes: in `states` the `actions` were taken, gave `rewards` and led to `next_states`.

    done  [N] bool, nothing comes after: the end of the episode, be it a terminal state or the last step of a fixed
          length. If the state does not show the step, one view has several true worths: the mask keeps their learnt
          compromise finite, a mean where they differ by less than the Huber delta and nearer to a median beyond it

    Raises `InputError` for shapes or types that do not fit, integer rewards and float flags included.
    """

    states: Tensor  # [N, ...], what the network takes
    actions: Int[Tensor, "n"]
    rewards: Float[Tensor, "n"]
    next_states: Tensor  # [N, ...]
    done: Bool[Tensor, "n"]

    def __post_init__(self) -> None:
        _check_rewards(self.rewards, self.done)
        count = len(self.rewards)
        if self.actions.shape != (count,) or self.actions.dtype != torch.int64:
            raise InputError(f"actions should be int64 [{count}], got {self.actions.dtype} {list(self.actions.shape)}")
        if len(self.states) != count or self.states.shape != self.next_states.shape:
            raise InputError(
                f"states and next_states should both be [{count}, ...] and of one shape; "
                f"got {list(self.states.shape)} and {list(self.next_states.shape)}"
            )


def q_target(
    rewards: Float[Tensor, "n"],
    done: Bool[Tensor, "n"],
    next_target: Float[Tensor, "n a"],
    gamma: float,
    next_online: Float[Tensor, "n a"] | None = None,
) -> Float[Tensor, "n"]:
    """What Q(s, a) should become: r + gamma * worth of the next state, and r alone where the episode is over.

    next_target  the target network's values of the next states
    next_online  the online network's. Given, it picks the action that `next_target` scores (Double DQN): the maximum
                 of noisy values is too high on average, and two networks seldom err for the same action.
                 None takes the maximum of `next_target` (DQN)

    Carries no gradient. Raises `InputError` for shapes that do not fit. Built in lesson 03.
    """
    check_gamma(gamma)
    _check_rewards(rewards, done)
    judge = next_target if next_online is None else next_online
    if next_target.ndim != 2 or len(next_target) != len(rewards) or judge.shape != next_target.shape:
        raise InputError(
            f"expected values of all actions in each next state, [{len(rewards)}, A]; got "
            f"{list(next_target.shape)} from the target network and {list(judge.shape)} from the one that chooses"
        )
    best = judge.argmax(dim=1, keepdim=True)  # [N, 1]
    ahead = next_target.gather(1, best).squeeze(1)  # [N]
    return torch.where(done, rewards, rewards + gamma * ahead).detach()


def q_losses(
    network: nn.Module, target: nn.Module, batch: Transitions, config: QConfig
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Huber loss of each transition, and its error (target minus value) without gradient.

    The gradient reaches `network` alone, through the values of the actions taken. It runs in whichever mode it is in;
    what is only looked at runs in evaluation mode.
    """
    targets = _targets(network, target, batch, config)
    values = network(batch.states).gather(1, batch.actions[:, None]).squeeze(1)  # [N]
    losses = F.huber_loss(values, targets, delta=config.huber_delta, reduction="none")
    return losses, (targets - values).detach()


@dataclass(frozen=True)
class QUpdate:
    """What one update saw, without gradient and without waiting for the device."""

    loss: Float[Tensor, ""]
    td_errors: Float[Tensor, "n"]  # target minus value, before the update
    synced: bool  # whether the target network was refreshed after it


class QLearner:
    """A network of Q-values, its target network and its optimizer.

    network    [N, ...] -> [N, A]; trained in place
    optimizer  over the network's parameters; None is Adam at `config.learning_rate`
    """

    def __init__(
        self, network: nn.Module, config: QConfig | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        self.network = network
        self.config = config or QConfig()
        self.optimizer = optimizer or torch.optim.Adam(network.parameters(), lr=self.config.learning_rate)
        self.target = deepcopy(network).requires_grad_(False)
        self.updates = 0

    def values(self, states: Tensor) -> Float[Tensor, "n a"]:
        """Q-values of the online network, without gradient and in evaluation mode."""
        return _values(self.network, states)

    def act(self, states: Tensor, epsilon: float = 0.0, generator: torch.Generator | None = None) -> Int[Tensor, "n"]:
        """An action for each state; with `epsilon` 0, as in evaluation, the best one and the same every time."""
        return epsilon_greedy(self.values(states), epsilon, generator)

    def targets(self, batch: Transitions) -> Float[Tensor, "n"]:
        """What the values of the actions taken should become, by DQN or Double DQN as configured."""
        return _targets(self.network, self.target, batch, self.config)

    def update(self, batch: Transitions) -> QUpdate:
        """One step on the Huber loss of a minibatch; every `sync_every`-th also refreshes the target network.

        The network runs in whichever mode it is in, so train with `network.train()` if it has batch norm or dropout.
        """
        losses, td_errors = q_losses(self.network, self.target, batch, self.config)
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.updates += 1
        synced = self.updates % self.config.sync_every == 0
        if synced:
            self.sync()
        return QUpdate(loss.detach(), td_errors, synced)

    def sync(self) -> None:
        """Copy the network, buffers such as batch-norm statistics included, to the target network."""
        self.target.load_state_dict(self.network.state_dict())

    def state_dict(self) -> dict[str, object]:
        """Copies of both networks, the optimizer and the number of updates, so that a resumed run goes on unchanged."""
        state = {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }
        return deepcopy(state)

    def load_state_dict(self, state: Mapping) -> None:
        """Restore what `state_dict` gave, for a network of the same architecture."""
        missing = {"network", "target", "optimizer", "updates"} - state.keys()
        if missing:
            raise InputError(f"the saved state of a Q-learner lacks {sorted(missing)}; save it with `state_dict()`")
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # which would keep the tensors it is given
        self.updates = int(state["updates"])


def _targets(network: nn.Module, target: nn.Module, batch: Transitions, config: QConfig) -> Tensor:
    next_online = _values(network, batch.next_states) if config.double else None
    return q_target(batch.rewards, batch.done, _values(target, batch.next_states), config.gamma, next_online)


@torch.no_grad()
def _values(network: nn.Module, states: Tensor) -> Tensor:
    """Values in evaluation mode, so that looking ahead neither moves batch-norm statistics nor mixes images.

    Every module's own mode is put back, which `network.train()` would not do for layers that were frozen on purpose.
    """
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        return network(states)
    finally:
        for module in training:
            module.training = True


def _check_rewards(rewards: Tensor, done: Tensor) -> None:
    if rewards.ndim != 1 or not rewards.is_floating_point() or done.shape != rewards.shape or done.dtype != torch.bool:
        raise InputError(
            "expected rewards [N] of floating point and done [N] of bool, got "
            f"{rewards.dtype} {list(rewards.shape)} and {done.dtype} {list(done.shape)}"
        )
