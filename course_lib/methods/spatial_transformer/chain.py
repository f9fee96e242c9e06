"""A chain of states with a prize at either end, and the exact answers that learning should find.

Walk left to a small prize nearby or right to a large one far away; a step may slip. Tables instead of networks make
everything computable: optimal values by value iteration, the policy gradient by the policy-gradient theorem (Sutton
et al., 2000). Unusual: a terminal state keeps the agent and pays nothing, so that episodes of a batch are equally long.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.exploration import sample_categorical
from course_lib.methods.spatial_transformer.policy_gradient import Choice, Episode, choose
from course_lib.methods.spatial_transformer.returns import check_gamma


@dataclass(frozen=True)
class TabularMDP:
    """A Markov decision process with S states and A actions, written out as tables.

    transition  P(s' | s, a), sums to 1 over s'
    reward      for the step from s to s' by a
    terminal    states that cannot be left and pay nothing
    start       P(s_0)

    Raises `InputError` if shapes differ, probabilities do not sum to 1 or a terminal state can be left or pays.
    """

    transition: Float[Tensor, "s a s"]
    reward: Float[Tensor, "s a s"]
    terminal: Bool[Tensor, "s"]
    start: Float[Tensor, "s"]

    def __post_init__(self) -> None:
        states = len(self.start)
        actions = self.transition.shape[1] if self.transition.ndim == 3 else 0
        table = (states, actions, states)
        if self.transition.shape != table or self.reward.shape != table or self.terminal.shape != (states,):
            raise InputError(
                f"expected transition and reward [S, A, S], terminal and start [S]; got {list(self.transition.shape)}, "
                f"{list(self.reward.shape)}, {list(self.terminal.shape)} and {list(self.start.shape)}"
            )
        sums = torch.cat([self.transition.sum(dim=2).flatten(), self.start.sum()[None]])
        negative = bool((self.transition < 0).any() | (self.start < 0).any())
        if negative or not torch.allclose(sums, torch.ones_like(sums), atol=1e-5):
            raise InputError("probabilities of transition[s, a] and of start should be at least 0 and sum to 1")
        stay = self.transition.diagonal(dim1=0, dim2=2)  # [A, S]
        if not bool((stay[:, self.terminal] == 1).all() & (self.reward[self.terminal] == 0).all()):
            raise InputError("a terminal state should lead to itself with probability 1 and pay 0")

    @property
    def states(self) -> int:
        """Number of states, terminal ones included."""
        return self.transition.shape[0]

    @property
    def actions(self) -> int:
        """Number of actions, the same in every state."""
        return self.transition.shape[1]

    def expected_rewards(self) -> Float[Tensor, "s a"]:
        """Mean reward of each action in each state."""
        return (self.transition * self.reward).sum(dim=2)

    def reset(self, batch: int, generator: torch.Generator | None = None) -> Int[Tensor, "b"]:
        """First states of a batch of episodes."""
        return sample_categorical(self.start.log().expand(batch, -1), generator)

    def step(
        self, states: Int[Tensor, "b"], actions: Int[Tensor, "b"], generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, "b"], Float[Tensor, "b"], Bool[Tensor, "b"]]:
        """Next states, rewards, and whether the next state is terminal."""
        after = sample_categorical(self.transition[states, actions].log(), generator)
        return after, self.reward[states, actions, after], self.terminal[after]


def make_chain(
    length: int = 5,
    slip: float = 0.0,
    near: float = 0.2,
    far: float = 1.0,
    start: int = 1,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> TabularMDP:
    """States 0 to length - 1 in a row, both ends terminal; action 0 goes left, action 1 right.

    slip   probability of going the other way
    near   prize for reaching state 0
    far    prize for reaching the last state
    start  where every episode begins; 1 is one step from the near prize

    Raises `InputError` for a chain without inner states, or a start or slip out of range.
    """
    if length < 3 or not 0 < start < length - 1 or not 0 <= slip <= 1:
        raise InputError(
            "a chain needs at least 3 states, a start between its ends and a slip in [0, 1]; "
            f"got length={length}, start={start}, slip={slip}"
        )
    transition = torch.zeros(length, 2, length, dtype=dtype)
    inner = torch.arange(1, length - 1)
    transition[inner, 0, inner - 1] = transition[inner, 1, inner + 1] = 1 - slip
    transition[inner, 0, inner + 1] = transition[inner, 1, inner - 1] = slip
    reward = torch.zeros_like(transition)
    reward[1, :, 0] = near
    reward[length - 2, :, length - 1] = far
    terminal = torch.zeros(length, dtype=torch.bool)
    terminal[[0, length - 1]] = True
    transition[terminal, :, terminal] = 1
    first = torch.eye(length, dtype=dtype)[start]
    return TabularMDP(transition.to(device), reward.to(device), terminal.to(device), first.to(device))


def value_iteration(mdp: TabularMDP, gamma: float, tolerance: float = 1e-9) -> Float[Tensor, "s a"]:
    """Optimal Q* to within `tolerance`: apply Q(s, a) <- E[r + gamma * max Q(s', .)] until nothing can change.

    Every sweep shrinks the error by gamma, so the number of sweeps is known beforehand. Needs gamma < 1.
    """
    check_gamma(gamma)
    if gamma == 1 or tolerance <= 0:
        raise InputError(f"value iteration needs gamma below 1 and a positive tolerance, got {gamma} and {tolerance}")
    mean = mdp.expected_rewards()
    worst = float(mean.abs().max()) / (1 - gamma)  # error of the first guess, all zeros
    sweeps = 1 if gamma == 0 or worst == 0 else max(1, math.ceil(math.log(tolerance / worst) / math.log(gamma)))
    q = torch.zeros_like(mean)
    for _ in range(sweeps):
        q = mean + gamma * mdp.transition @ q.amax(dim=1)
    return q


def policy_values(
    mdp: TabularMDP, policy: Float[Tensor, "s a"], horizon: int, gamma: float
) -> tuple[Float[Tensor, "t s"], Float[Tensor, "t s a"]]:
    """V_t(s) and Q_t(s, a) of a policy when `horizon` steps are played: from the last step back. Differentiable.

    They depend on t because less remains to be won as the end comes nearer.
    """
    check_gamma(gamma)
    if horizon < 1 or policy.shape != (mdp.states, mdp.actions):
        raise InputError(
            f"expected a horizon of at least 1 step and a policy [{mdp.states}, {mdp.actions}]; "
            f"got {horizon} and {list(policy.shape)}"
        )
    mean, ahead = mdp.expected_rewards(), torch.zeros_like(policy[:, 0])
    values, q_values = [], []
    for _ in range(horizon):
        q = mean + gamma * mdp.transition @ ahead
        ahead = (policy * q).sum(dim=1)
        q_values.append(q)
        values.append(ahead)
    return torch.stack(values[::-1]), torch.stack(q_values[::-1])


def expected_return(
    mdp: TabularMDP, logits: Float[Tensor, "s a"], horizon: int, gamma: float = 1.0
) -> Float[Tensor, ""]:
    """J: mean discounted return of the policy softmax(logits) from the start. Differentiable."""
    values, _ = policy_values(mdp, logits.softmax(dim=1), horizon, gamma)
    return (mdp.start * values[0]).sum()


def visits(mdp: TabularMDP, policy: Float[Tensor, "s a"], horizon: int) -> Float[Tensor, "t s"]:
    """P(s_t = s) under a policy, for each of the first `horizon` steps."""
    walk = torch.einsum("sa,sau->su", policy, mdp.transition)
    where = [mdp.start]
    for _ in range(horizon - 1):
        where.append(where[-1] @ walk)
    return torch.stack(where)


def exact_policy_gradient(
    mdp: TabularMDP, logits: Float[Tensor, "s a"], horizon: int, gamma: float = 1.0
) -> Float[Tensor, "s a"]:
    """Gradient of J with respect to the logits, by the policy-gradient theorem.

    sum over t of gamma**t * P(s_t = s) * pi(a | s) * (Q_t(s, a) - V_t(s)); the bracket is the advantage.
    """
    policy = logits.detach().softmax(dim=1)
    values, q_values = policy_values(mdp, policy, horizon, gamma)
    discount = torch.tensor([gamma**t for t in range(horizon)], dtype=policy.dtype, device=policy.device)
    weight = discount[:, None] * visits(mdp, policy, horizon)  # [T, S]
    return (weight[:, :, None] * policy * (q_values - values[:, :, None])).sum(dim=0)


@dataclass(frozen=True)
class Rollout:
    """A batch of episodes: where the agent was, what it did, and what the losses need."""

    states: Int[Tensor, "b t"]
    actions: Int[Tensor, "b t"]
    episode: Episode


def rollout(
    mdp: TabularMDP,
    logits: Float[Tensor, "s a"],
    batch: int,
    horizon: int,
    generator: torch.Generator | None = None,
    values: Float[Tensor, "s"] | None = None,
) -> Rollout:
    """Play `batch` episodes of `horizon` steps with the policy softmax(logits); `values` is a critic's table."""
    state = mdp.reset(batch, generator)
    states: list[Tensor] = []
    choices: list[Choice] = []
    rewards: list[Tensor] = []
    for _ in range(horizon):
        states.append(state)
        choices.append(choose(logits[state], generator))
        state, reward, _ = mdp.step(state, choices[-1].actions, generator)
        rewards.append(reward)
    critic = None if values is None else [values[state] for state in states]
    actions = torch.stack([choice.actions for choice in choices], dim=1)  # [B, T]
    return Rollout(torch.stack(states, dim=1), actions, Episode.from_steps(choices, rewards, critic))
