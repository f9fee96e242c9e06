"""Bandit and chain: their closed forms against autograd, enumeration and one another."""

import itertools

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.bandit import Bandit, gradient_samples, scores
from course_lib.methods.spatial_transformer.chain import (
    TabularMDP,
    exact_policy_gradient,
    expected_return,
    make_chain,
    policy_values,
    rollout,
    value_iteration,
    visits,
)

TWO = Bandit(torch.tensor([10.0, 11.0], dtype=torch.float64))
FOUR = Bandit(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64), noise=0.7)
LOGITS = torch.tensor([0.3, 1.2, -0.5, 0.1], dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_baseline_example_of_lesson_01():
    """pi = (1/2, 1/2), rewards 10 and 11: samples 5 and -5.5 for logit 0; with b = 10.5 both are -0.25."""
    even = torch.zeros(2, dtype=torch.float64)
    samples = gradient_samples(even, torch.tensor([0, 1]), TWO.means)
    torch.testing.assert_close(samples[:, 0], torch.tensor([5.0, -5.5], dtype=torch.float64))
    mean, variance = TWO.gradient_moments(even)
    assert (mean[0].item(), variance[0].item()) == pytest.approx((-0.25, 27.5625))
    mean, variance = TWO.gradient_moments(even, baseline=10.5)
    assert (mean[0].item(), variance[0].item()) == pytest.approx((-0.25, 0.0))
    assert TWO.best_baseline(even).item() == pytest.approx(10.5)


def test_exact_gradient_is_that_of_the_expected_reward():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(FOUR.expected_reward(logits), logits)
    torch.testing.assert_close(FOUR.exact_gradient(LOGITS), gradient)


@pytest.mark.parametrize("baseline", [0.0, 2.0, -50.0])
def test_no_baseline_moves_the_mean(baseline):
    mean, variance = FOUR.gradient_moments(LOGITS, baseline)
    torch.testing.assert_close(mean, FOUR.exact_gradient(LOGITS))
    best = FOUR.gradient_moments(LOGITS, FOUR.best_baseline(LOGITS))[1].sum()
    assert variance.sum() > best


def test_best_baseline_is_the_lowest_point_of_the_variance():
    baseline = FOUR.best_baseline(LOGITS).requires_grad_()
    variance = FOUR.gradient_moments(LOGITS, baseline)[1].sum()
    (slope,) = torch.autograd.grad(variance, baseline)
    assert slope.item() == pytest.approx(0, abs=1e-12)
    assert abs(baseline.item() - FOUR.expected_reward(LOGITS).item()) > 0.1  # which is not the expected reward


def test_two_arms_leave_no_variance_at_the_best_baseline():
    """pi = (p, 1 - p): b = (1 - p) * r0 + p * r1, the rewards weighted the other way round."""
    p = 0.8
    logits = torch.tensor([p, 1 - p], dtype=torch.float64).log()
    best = TWO.best_baseline(logits)
    assert best.item() == pytest.approx((1 - p) * 10 + p * 11)
    assert TWO.gradient_moments(logits, best)[1].max().item() == pytest.approx(0, abs=1e-12)


def test_scores_have_zero_mean_and_are_onehot_minus_pi():
    pi = LOGITS.softmax(0)
    torch.testing.assert_close(pi @ scores(LOGITS), torch.zeros_like(pi))
    torch.testing.assert_close(scores(LOGITS), torch.eye(4, dtype=torch.float64) - pi)


def test_sampled_gradients_agree_with_the_closed_form_of_mean_and_variance():
    count = 200_000
    arms = torch.multinomial(LOGITS.softmax(0), count, replacement=True, generator=rng())
    samples = gradient_samples(LOGITS, arms, FOUR.pull(arms, rng(1)), baseline=0.4)
    mean, variance = FOUR.gradient_moments(LOGITS, 0.4)
    assert ((samples.mean(0) - mean).abs() < 4 * (variance / count).sqrt()).all()
    torch.testing.assert_close(samples.var(0), variance, rtol=0.03, atol=0)


def test_a_chain_by_hand():
    """5 states, gamma 0.9, prizes 0.2 and 1: from state 1, right is two more steps from the far prize: 0.9**2."""
    q = value_iteration(make_chain(), 0.9)
    expected = [[0, 0], [0.2, 0.81], [0.9 * 0.81, 0.9], [0.81, 1.0], [0, 0]]
    torch.testing.assert_close(q, torch.tensor(expected, dtype=torch.float64))
    assert value_iteration(make_chain(), 0.3)[1].argmax().item() == 0  # an impatient agent takes the near prize
    torch.testing.assert_close(value_iteration(make_chain(), 0.0)[3, 1], torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize("slip", [0.0, 0.25])
def test_value_iteration_finds_the_best_of_all_policies(slip):
    """Every deterministic policy, solved as a linear system; the best of them is optimal in every state."""
    mdp, gamma = make_chain(slip=slip), 0.9
    rows = torch.arange(mdp.states)
    best = torch.full((mdp.states,), -torch.inf, dtype=torch.float64)
    for policy in itertools.product(range(mdp.actions), repeat=mdp.states):
        walk = mdp.transition[rows, list(policy)]  # [S, S]
        paid = mdp.expected_rewards()[rows, list(policy)]
        best = torch.maximum(best, torch.linalg.solve(torch.eye(mdp.states, dtype=torch.float64) - gamma * walk, paid))
    torch.testing.assert_close(value_iteration(mdp, gamma).amax(1), best, atol=1e-8, rtol=0)


def every_trajectory(mdp: TabularMDP, policy: torch.Tensor, horizon: int):
    """Yield (probability, states, actions, rewards) of everything that can happen, slips included."""
    paths = [(mdp.start[s], [s], [], []) for s in range(mdp.states) if mdp.start[s] > 0]
    for _ in range(horizon):
        paths = [
            (p * policy[s[-1], a] * mdp.transition[s[-1], a, n], s + [n], acts + [a], paid + [mdp.reward[s[-1], a, n]])
            for p, s, acts, paid in paths
            for a in range(mdp.actions)
            for n in range(mdp.states)
            if mdp.transition[s[-1], a, n] > 0
        ]
    return paths


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_return_and_its_gradient_against_enumeration(gamma):
    """J = sum of p(trajectory) * return, its gradient by autograd through that sum: no theorem, no dynamic program."""
    mdp, horizon = make_chain(slip=0.2), 4
    logits = torch.randn(5, 2, generator=rng(), dtype=torch.float64).requires_grad_()
    paths = every_trajectory(mdp, logits.softmax(1), horizon)
    torch.testing.assert_close(sum(p for p, *_ in paths), torch.tensor(1.0, dtype=torch.float64))
    slow = sum(p * sum(gamma**t * r for t, r in enumerate(paid)) for p, _, _, paid in paths)
    (gradient,) = torch.autograd.grad(slow, logits)
    torch.testing.assert_close(expected_return(mdp, logits, horizon, gamma), slow)
    torch.testing.assert_close(exact_policy_gradient(mdp, logits, horizon, gamma), gradient)
    fast = logits.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: expected_return(mdp, z, horizon, gamma), fast)


def test_values_and_visits_agree_on_the_return():
    """Seen from the start, V_0; seen from all visits, what each step pays: the same number."""
    mdp, horizon = make_chain(slip=0.1), 6
    policy = torch.rand(5, 2, generator=rng(), dtype=torch.float64).softmax(1)
    values, q_values = policy_values(mdp, policy, horizon, 1.0)
    paid = (visits(mdp, policy, horizon)[:, :, None] * policy * mdp.expected_rewards()).sum()
    torch.testing.assert_close((mdp.start * values[0]).sum(), paid)
    torch.testing.assert_close(values, (policy * q_values).sum(2))
    torch.testing.assert_close(visits(mdp, policy, horizon).sum(1), torch.ones(horizon, dtype=torch.float64))


def test_rollouts_follow_the_tables():
    mdp, horizon, count = make_chain(slip=0.3), 5, 20_000
    logits = torch.randn(5, 2, generator=rng(), dtype=torch.float64)
    played = rollout(mdp, logits, count, horizon, rng(1))
    seen = torch.nn.functional.one_hot(played.states, 5).double().mean(0)  # [T, S]
    expected = visits(mdp, logits.softmax(1), horizon)
    assert ((seen - expected).abs() <= 4.5 * (expected * (1 - expected) / count).sqrt()).all()
    returns = played.episode.rewards.sum(1)
    error = returns.mean() - expected_return(mdp, logits, horizon)
    assert error.abs() < 4 * returns.std() / count**0.5
    taken = logits.log_softmax(1)[played.states, played.actions]
    torch.testing.assert_close(played.episode.log_probs, taken)


def test_a_terminal_state_holds_the_agent_and_pays_nothing():
    mdp = make_chain()
    after, rewards, done = mdp.step(torch.tensor([0, 4, 3, 2]), torch.tensor([1, 0, 1, 1]))
    assert after.tolist() == [0, 4, 4, 3]
    assert rewards.tolist() == [0, 0, 1, 0] and done.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bandit(torch.tensor([1.0])), r"at least 2 arms.*\[1\]"),
        (lambda: Bandit(torch.tensor([1, 2])), "floating-point.*int64"),
        (lambda: Bandit(torch.tensor([1.0, 2.0]), noise=-1), "cannot be negative"),
        (lambda: make_chain(length=2), "at least 3 states"),
        (lambda: make_chain(start=0), "start between its ends"),
        (lambda: value_iteration(make_chain(), 1.0), "gamma below 1"),
        (lambda: policy_values(make_chain(), torch.ones(5, 3), 4, 1.0), r"policy \[5, 2\]; got 4 and \[5, 3\]"),
        (
            lambda: TabularMDP(
                torch.full((2, 1, 2), 0.6), torch.zeros(2, 1, 2), torch.tensor([False, False]), torch.tensor([1.0, 0.0])
            ),
            "sum to 1",
        ),
        (
            lambda: TabularMDP(
                torch.full((2, 1, 2), 0.5), torch.zeros(2, 1, 2), torch.tensor([False, True]), torch.tensor([1.0, 0.0])
            ),
            "lead to itself",
        ),
        (
            lambda: TabularMDP(torch.ones(2, 1, 3), torch.zeros(2, 1, 2), torch.zeros(2).bool(), torch.ones(2)),
            r"expected transition and reward \[S, A, S\]",
        ),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
