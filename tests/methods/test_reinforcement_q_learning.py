"""Q-learning: targets by hand, exploration in numbers, and convergence to the exact values of a chain."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.chain import make_chain, rollout, value_iteration
from course_lib.methods.spatial_transformer.exploration import EpsilonSchedule, epsilon_greedy
from course_lib.methods.spatial_transformer.policy_gradient import PolicyGradientConfig, policy_gradient_losses
from course_lib.methods.spatial_transformer.q_learning import QConfig, QLearner, Transitions, q_target
from course_lib.methods.spatial_transformer.replay import ReplayMemory


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- exploration


@pytest.mark.parametrize(("step", "probability"), [(0, 1.0), (50_000, 0.3995), (100_000, 0.1786)])
def test_epsilon_in_numbers(step, probability):
    assert EpsilonSchedule()(step) == pytest.approx(probability, abs=5e-5)


def test_epsilon_falls_to_its_floor_and_meets_a_tenth_at_147_222():
    schedule = EpsilonSchedule()
    assert schedule.steps_until(0.1) == pytest.approx(147_222, abs=1)
    assert schedule(schedule.steps_until(0.37)) == pytest.approx(0.37)
    probabilities = [schedule(n) for n in range(0, 2_000_000, 50_000)]
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[-1] == pytest.approx(0.05, abs=1e-6)


def test_what_counts_as_a_step_matters():
    """8,218 images, 10 moves: one epoch of images gives 0.23; 50 epochs of batches of 32 still 0.12."""
    assert EpsilonSchedule()(8_218 * 10) == pytest.approx(0.23, abs=0.005)
    assert EpsilonSchedule()(8_218 / 32 * 10 * 50) == pytest.approx(0.12, abs=0.005)


def test_evaluation_is_deterministic_and_draws_nothing():
    q, generator = torch.randn(100, 6, generator=rng()), rng(1)
    state = generator.get_state()
    assert torch.equal(epsilon_greedy(q, 0.0, generator), q.argmax(1))
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_share_of_random_actions(epsilon):
    """Random actions may be the best one too, so the best is taken with probability 1 - epsilon + epsilon / 6."""
    q = torch.zeros(60_000, 6)
    q[:, 2] = 1
    seen = epsilon_greedy(q, epsilon, rng()).bincount(minlength=6) / len(q)
    expected = torch.full((6,), epsilon / 6)
    expected[2] += 1 - epsilon
    assert ((seen - expected).abs() < 4 * (expected * (1 - expected) / len(q)).sqrt()).all()


# --- targets

ONE = torch.ones(1)
TARGET = torch.tensor([[1.0, 3.0, 2.0, 0.0, 0.0, 0.0]])
ONLINE = torch.tensor([[5.0, 1.0, 2.0, 0.0, 0.0, 0.0]])
GOING = torch.tensor([False])


def test_targets_by_hand():
    assert q_target(ONE, GOING, TARGET, 0.95).item() == pytest.approx(3.85)
    assert q_target(ONE, GOING, TARGET, 0.95, ONLINE).item() == pytest.approx(1.95)
    assert q_target(ONE, ~GOING, TARGET, 0.95).item() == 1
    assert q_target(ONE, ~GOING, TARGET, 0.95, ONLINE).item() == 1


def test_nothing_of_the_next_state_leaks_past_the_end():
    broken = torch.full((1, 6), torch.nan)
    assert q_target(ONE, ~GOING, broken, 0.95).item() == 1
    assert q_target(ONE, GOING, TARGET * torch.inf, 0.0).isnan().item()  # not masked by a discount of 0


def test_targets_carry_no_gradient_and_double_with_one_network_is_dqn():
    values = torch.randn(20, 6, generator=rng()).requires_grad_()
    rewards, done = torch.randn(20, generator=rng(1)).requires_grad_(), torch.rand(20, generator=rng(2)) < 0.5
    plain, double = q_target(rewards, done, values, 0.9), q_target(rewards, done, values, 0.9, values)
    assert not plain.requires_grad and torch.equal(plain, double)
    rows = zip(rewards.tolist(), done.tolist(), values.tolist(), strict=True)
    slow = [reward + (0 if over else 0.9 * max(row)) for reward, over, row in rows]
    torch.testing.assert_close(plain, torch.tensor(slow))


def test_dqn_overestimates_noisy_values_and_double_dqn_does_not():
    """All actions are worth 0, seen through noise of deviation 1: the largest of 6 is 1.267 too high on average."""
    count = 40_000
    rewards, done = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    one, two = torch.randn(2, count, 6, generator=rng())
    assert q_target(rewards, done, one, 1.0).mean().item() == pytest.approx(1.267, abs=0.02)
    assert q_target(rewards, done, one, 1.0, two).mean().item() == pytest.approx(0, abs=0.02)


# --- the learner


def table(states: int = 5, actions: int = 2) -> nn.Module:
    """Q-values as a table: the simplest network there is."""
    network = nn.Embedding(states, actions, dtype=torch.float64)
    nn.init.zeros_(network.weight)
    return network


def transitions(count: int = 16, seed: int = 0) -> Transitions:
    draw = torch.randint(5, (2, count), generator=rng(seed))
    actions = torch.randint(2, (count,), generator=rng(seed + 1))
    done = torch.rand(count, generator=rng(seed + 2)) < 0.3
    return Transitions(draw[0], actions, torch.randn(count, generator=rng(seed + 3)).double(), draw[1], done)


def one_step(reward: float) -> Transitions:
    state = torch.tensor([1])
    rewards = torch.tensor([reward], dtype=torch.float64)
    return Transitions(state, torch.tensor([0]), rewards, state, torch.tensor([True]))


@pytest.mark.parametrize(("reward", "loss", "slope"), [(0.5, 0.125, 0.5), (3.0, 2.5, 1.0), (-3.0, 2.5, -1.0)])
def test_huber_by_hand(reward, loss, slope):
    """Quadratic to delta 1, then linear: an outlier pulls no harder than an error of 1."""
    network = table()
    learner = QLearner(network, QConfig(), torch.optim.SGD(network.parameters(), lr=1.0))
    update = learner.update(one_step(reward))
    assert update.loss.item() == pytest.approx(loss) and update.td_errors.item() == pytest.approx(reward)
    moved = torch.zeros(5, 2, dtype=torch.float64)
    moved[1, 0] = slope  # only the action that was taken, in the state it was taken in
    torch.testing.assert_close(network.weight.detach(), moved)


def test_the_target_network_changes_only_every_n_updates():
    learner = QLearner(table(), QConfig(sync_every=4, learning_rate=0.1))
    for update in range(1, 13):
        before = learner.target.weight.clone()
        synced = learner.update(transitions(seed=update)).synced
        assert synced == (update % 4 == 0)
        assert torch.equal(learner.target.weight, learner.network.weight if synced else before)
        assert not torch.equal(before, learner.network.weight)
    assert all(not parameter.requires_grad for parameter in learner.target.parameters())


@pytest.mark.parametrize("double", [False, True])
def test_targets_come_from_the_target_network(double):
    learner = QLearner(table(), QConfig(double=double))
    nn.init.normal_(learner.network.weight, generator=rng())
    nn.init.normal_(learner.target.weight, generator=rng(1))
    batch, online, target = transitions(), learner.network.weight.detach(), learner.target.weight
    ahead = target[batch.next_states]
    chosen = (online if double else target)[batch.next_states].argmax(1)
    slow = batch.rewards + 0.95 * ahead[torch.arange(16), chosen] * (~batch.done)
    torch.testing.assert_close(learner.targets(batch), slow)
    other = QLearner(table(), QConfig(double=not double))
    other.load_state_dict(learner.state_dict())
    assert not torch.allclose(other.targets(batch), slow)


def test_looking_does_not_disturb_batch_norm():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 6))
    network.train()
    network[1].eval()  # frozen on purpose, must stay so
    learner, views = QLearner(network, QConfig(double=True)), torch.randn(10, 3)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    modes = [module.training for module in network.modules()]
    values = learner.values(views)
    torch.testing.assert_close(values[:1], learner.values(views[:1]))  # no mixing of images, no dropout
    assert torch.equal(learner.act(views), values.argmax(1))
    assert [module.training for module in network.modules()] == modes
    network[1].train()
    learner.targets(Transitions(views, torch.zeros(10).long(), torch.zeros(10), views, torch.zeros(10).bool()))
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    network(views)  # moves the statistics
    learner.sync()
    assert torch.equal(learner.target[1].running_mean, network[1].running_mean)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("slip", [0.0, 0.2])
def test_it_converges_to_the_exact_values_of_the_chain(double, slip):
    """Off-policy: transitions come from walking at random, and still Q* of value iteration is found."""
    mdp, gamma, generator = make_chain(slip=slip), 0.9, rng()
    memory = ReplayMemory(20_000)
    states = torch.randint(1, 4, (20_000,), generator=generator)
    actions = torch.randint(2, (20_000,), generator=generator)
    after, rewards, done = mdp.step(states, actions, generator)
    memory.add({"states": states, "actions": actions, "rewards": rewards, "next_states": after, "done": done})
    network = table()
    optimizer = torch.optim.SGD(network.parameters(), lr=6.0)
    learner = QLearner(network, QConfig(gamma, double, sync_every=20), optimizer)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=1000)
    for _ in range(1000):
        learner.update(Transitions(**memory.sample(256, generator)))
        schedule.step()
    exact = value_iteration(mdp, gamma)
    inner = slice(1, 4)  # nothing is ever taken in a terminal state
    assert (learner.network.weight[inner] - exact[inner]).abs().max().item() < (0.03 if slip else 1e-3)
    assert torch.equal(learner.act(torch.arange(1, 4)), exact[inner].argmax(1))


def test_it_learns_while_exploring():
    """Algorithm 2 in small: epsilon-greedy episodes of fixed length, replay, one update per batch of moves."""
    mdp, gamma, generator = make_chain(), 0.9, rng()
    network = table()
    learner = QLearner(network, QConfig(gamma, sync_every=10), torch.optim.SGD(network.parameters(), lr=4.0))
    memory, epsilon, moves = ReplayMemory(2000), EpsilonSchedule(end=0.1, decay=3000), 0
    for _ in range(60):
        state = mdp.reset(16, generator)
        for _ in range(10):
            action = learner.act(state, epsilon(moves), generator)
            after, reward, done = mdp.step(state, action, generator)
            memory.add({"states": state, "actions": action, "rewards": reward, "next_states": after, "done": done})
            state, moves = after, moves + 16
            learner.update(Transitions(**memory.sample(64, generator)))
    assert learner.act(torch.arange(1, 4)).tolist() == [1, 1, 1]
    assert learner.values(torch.tensor([1]))[0, 1].item() == pytest.approx(0.81, abs=0.02)


@pytest.mark.parametrize(("done", "delta", "worth"), [(False, 100.0, 10.0), (True, 100.0, 2.5), (True, 1.0, 5.0)])
def test_a_last_step_that_the_state_does_not_show(done, delta, worth):
    """One view, reward 1, three steps, gamma 0.9. Without the mask Q = 1 + 0.9 Q = 10, which no episode can earn.

    With it, the mean of the three targets solves Q = 1 + 0.9 * 2/3 * Q = 2.5. A Huber delta of 1 lets the last step
    pull with 1 only, against 2 * (1 + 0.9 Q - Q) of the others: 5.0, more than any step can earn (2.71).
    """
    nothing, last = torch.zeros(3, dtype=torch.int64), torch.tensor([False, False, done])
    network = table(1, 1)
    config = QConfig(0.9, sync_every=1, huber_delta=delta)
    learner = QLearner(network, config, torch.optim.SGD(network.parameters(), lr=1.0))
    for _ in range(300):
        learner.update(Transitions(nothing, nothing, torch.ones(3).double(), nothing, last))
    assert network.weight.item() == pytest.approx(worth, rel=1e-3)


def test_a_resumed_learner_goes_on_as_the_first():
    one, two = (QLearner(table(), QConfig(sync_every=3, learning_rate=0.1)) for _ in range(2))
    for seed in range(5):
        one.update(transitions(seed=seed))
    two.load_state_dict(one.state_dict())
    for seed in range(5, 9):
        for learner in (one, two):
            learner.update(transitions(seed=seed))
        assert torch.equal(one.network.weight, two.network.weight) and torch.equal(one.target.weight, two.target.weight)


class NeverAsk(TorchDispatchMode):
    """Fails where an accelerator would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        asking = ("_local_scalar_dense", "nonzero", "masked_select")
        assert not any(word in str(func) for word in asking), func
        return func(*args, **(kwargs or {}))


def test_rollouts_and_updates_never_ask_the_device_for_a_number():
    mdp, network = make_chain(slip=0.1), table()
    learner = QLearner(network, QConfig(sync_every=2), torch.optim.SGD(network.parameters(), lr=0.1))
    logits = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
    memory, generator, config = ReplayMemory(10), rng(), PolicyGradientConfig(0.9, "batch_mean", True, 0.01, True)
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NeverAsk():
        torch.ones(1).item()
    with NeverAsk():
        policy_gradient_losses(rollout(mdp, logits, 8, 5, generator).episode, config).total.backward()
        state = mdp.reset(8, generator)
        for _ in range(4):
            action = learner.act(state, 0.5, generator)
            after, reward, done = mdp.step(state, action, generator)
            memory.add({"states": state, "actions": action, "rewards": reward, "next_states": after, "done": done})
            state = after
            learner.update(Transitions(**memory.sample(16, generator)))


def batch(**changed: Tensor) -> Transitions:
    good = {
        "states": torch.zeros(3, 2),
        "actions": torch.zeros(3).long(),
        "rewards": torch.zeros(3),
        "next_states": torch.zeros(3, 2),
        "done": torch.zeros(3).bool(),
    }
    return Transitions(**(good | changed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EpsilonSchedule(end=1.0), "0 <= end < 1"),
        (lambda: EpsilonSchedule(decay=0), "decay > 0"),
        (lambda: EpsilonSchedule()(-1), "cannot be negative"),
        (lambda: EpsilonSchedule().steps_until(0.05), "never reaches 0.05"),
        (lambda: epsilon_greedy(TARGET, 1.1), "between 0 and 1, got 1.1"),
        (lambda: QConfig(gamma=-0.1), "discount"),
        (lambda: QConfig(sync_every=0), "sync_every >= 1"),
        (lambda: q_target(ONE, torch.zeros(1), TARGET, 0.9), "done .N. of bool.*float32"),
        (lambda: q_target(ONE, GOING, TARGET[0], 0.9), r"\[1, A\]; got \[6\]"),
        (lambda: q_target(ONE, GOING, TARGET, 0.9, ONLINE[:, :5]), r"\[1, 6\] from the target.*\[1, 5\]"),
        (lambda: batch(rewards=torch.zeros(3).long()), "rewards .N. of floating point.*int64"),
        (lambda: batch(actions=torch.zeros(3)), r"actions should be int64 \[3\], got torch.float32"),
        (lambda: batch(next_states=torch.zeros(3, 4)), r"of one shape; got \[3, 2\] and \[3, 4\]"),
        (lambda: QLearner(table()).load_state_dict({"network": {}}), r"lacks \['optimizer', 'target', 'updates'\]"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
