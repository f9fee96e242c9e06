"""Every policy-gradient estimator against the exact gradient of a bandit and of a chain, and who may learn from what.

A batch that holds each trajectory as often as its probability says is an expectation: its mean is exact, not sampled.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.bandit import Bandit
from course_lib.methods.spatial_transformer.chain import (
    exact_policy_gradient,
    expected_return,
    make_chain,
    policy_values,
    rollout,
)
from course_lib.methods.spatial_transformer.exploration import sample_categorical
from course_lib.methods.spatial_transformer.policy_gradient import (
    Choice,
    Episode,
    PolicyGradientConfig,
    choose,
    policy_gradient_losses,
)

T = 4
CHAIN = make_chain(length=4, near=0.3, far=1.0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quarters() -> Tensor:
    """A policy of the chain, [4, 2], whose probabilities are whole quarters."""
    return torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25]], dtype=torch.float64)


def all_paths() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, actions and rewards [16, T] of all action sequences from the start, and their probabilities [16]."""
    actions = torch.tensor(list(itertools.product(range(2), repeat=T)))
    state, states, rewards = torch.ones(len(actions), dtype=torch.int64), [], []
    for t in range(T):
        states.append(state)
        state, reward, _ = CHAIN.step(state, actions[:, t])
        rewards.append(reward)
    where = torch.stack(states, 1)
    return where, actions, torch.stack(rewards, 1), quarters()[where, actions].prod(1)


def expectation(logits: Tensor) -> tuple[Episode, Tensor]:
    """4**T episodes of the chain in exact proportion, and the states they visit."""
    states, actions, rewards, probabilities = all_paths()
    copies = (probabilities * 4**T).round().long()
    assert copies.sum() == 4**T
    states, actions, rewards = (each.repeat_interleave(copies, 0) for each in (states, actions, rewards))
    return Episode(logits.log_softmax(1)[states, actions], rewards), states


def climbs(loss: Tensor, logits: Tensor) -> Tensor:
    """The loss averages over T steps and is minimised; the gradient of the expected return is -T times its own."""
    return -T * torch.autograd.grad(loss, logits, retain_graph=True)[0]


def test_log_probability_of_a_choice_has_gradient_onehot_minus_pi():
    logits = torch.randn(6, 10, generator=rng(), dtype=torch.float64).requires_grad_()
    choice = choose(logits, rng())
    (gradient,) = torch.autograd.grad(choice.log_probs.sum(), logits)
    onehot = torch.nn.functional.one_hot(choice.actions, 10)
    torch.testing.assert_close(gradient, onehot - logits.softmax(1).detach())


def test_score_has_zero_mean():
    logits = torch.randn(5, dtype=torch.float64, generator=rng()).requires_grad_()
    log_pi = logits.log_softmax(0)
    scores = torch.stack([torch.autograd.grad(log_pi[a], logits, retain_graph=True)[0] for a in range(5)])
    torch.testing.assert_close(log_pi.exp().detach() @ scores, torch.zeros(5, dtype=torch.float64))


def test_choices_follow_the_policy():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf])
    count = 50_000
    pi = logits.softmax(0)
    seen = sample_categorical(logits.expand(count, 5), rng()).bincount(minlength=5)
    assert seen[4] == 0
    chi_square = ((seen - count * pi)[:4] ** 2 / (count * pi[:4])).sum()
    assert chi_square < 16.3  # 0.999 quantile, 3 degrees of freedom


def test_greedy_choices_are_the_likeliest_and_draw_nothing():
    logits, generator = torch.randn(50, 10, generator=rng()), rng(5)
    state = generator.get_state()
    choice = choose(logits, generator, greedy=True)
    assert torch.equal(choice.actions, logits.argmax(1)) and torch.equal(generator.get_state(), state)
    assert choose(logits.bfloat16(), greedy=True).log_probs.dtype == torch.float32


def test_entropy_of_even_odds_is_log_a():
    torch.testing.assert_close(choose(torch.zeros(1, 10), rng()).entropies, torch.tensor([math.log(10)]))
    assert choose(torch.tensor([[100.0, 0.0]]), rng()).entropies.item() < 1e-6


@pytest.mark.parametrize(("baseline", "variance"), [(0.0, 27.5625), (10.5, 0.0)])
def test_a_baseline_changes_the_variance_and_not_the_mean(baseline, variance):
    """pi = (1/2, 1/2), rewards 10 and 11: gradient samples for logit 0, each by autograd through the loss."""
    samples = []
    for arm, reward in ((0, 10.0), (1, 11.0)):
        logits = torch.zeros(1, 2, requires_grad=True)
        episode = Episode(
            logits.log_softmax(1)[:, arm, None], torch.tensor([[reward]]), values=torch.tensor([[baseline]])
        )
        loss = policy_gradient_losses(episode, PolicyGradientConfig(gamma=1, baseline="critic")).actor
        samples.append(-torch.autograd.grad(loss, logits)[0][0, 0])
    samples = torch.stack(samples)
    assert samples.mean().item() == pytest.approx(-0.25)
    assert samples.var(correction=0).item() == pytest.approx(variance)


def bandit_pairs() -> tuple[Bandit, Tensor, Tensor, list[tuple[int, int]]]:
    bandit = Bandit(torch.tensor([1.0, 3.0], dtype=torch.float64))
    logits = torch.tensor([0.4, -0.3], dtype=torch.float64).requires_grad_()
    return bandit, logits, logits.detach().softmax(0), list(itertools.product(range(2), repeat=2))


@pytest.mark.parametrize(
    ("baseline", "scale"), [("none", 1.0), ("leave_one_out", 1.0), ("batch_mean", 0.5), ("critic", 1.0)]
)
def test_expected_gradient_over_all_batches_of_two_pulls(baseline, scale):
    """All four batches, weighted by their probability. Only the plain batch mean shrinks it, by (B - 1) / B = 1/2."""
    bandit, logits, pi, batches = bandit_pairs()
    total = torch.zeros(2, dtype=torch.float64)
    for arms in batches:
        pulled = torch.tensor(arms)
        log_probs, rewards = logits.log_softmax(0)[pulled], bandit.means[pulled]
        episode = Episode(log_probs[:, None], rewards[:, None], torch.full((2, 1), 1.7))
        loss = policy_gradient_losses(episode, PolicyGradientConfig(baseline=baseline)).actor
        total -= pi[pulled].prod() * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(total, scale * bandit.exact_gradient(logits.detach()))


@pytest.mark.parametrize("reward_to_go", [True, False])
@pytest.mark.parametrize("baseline", ["none", "batch_mean", "critic"])
def test_every_estimator_has_the_exact_gradient_of_the_chain_as_its_mean(baseline, reward_to_go):
    logits = quarters().log().requires_grad_()
    episode, states = expectation(logits)
    if baseline == "critic":  # any function of the state will do, even a wrong one
        episode = Episode(episode.log_probs, episode.rewards, torch.tensor([9.0, -2.0, 0.7, 4.0])[states].double())
    losses = policy_gradient_losses(episode, PolicyGradientConfig(1.0, baseline, reward_to_go))
    exact = exact_policy_gradient(CHAIN, logits, T)
    assert exact.abs().max() > 0.05
    torch.testing.assert_close(climbs(losses.actor, logits), exact)


def test_below_gamma_1_reward_to_go_leaves_out_the_discount_of_the_step():
    gamma = 0.7
    logits = quarters().log().requires_grad_()
    episode, _ = expectation(logits)
    exact = exact_policy_gradient(CHAIN, logits, T, gamma)
    whole = policy_gradient_losses(episode, PolicyGradientConfig(gamma, reward_to_go=False))
    torch.testing.assert_close(climbs(whole.actor, logits), exact)
    usual = policy_gradient_losses(episode, PolicyGradientConfig(gamma))
    assert not torch.allclose(climbs(usual.actor, logits), exact, atol=1e-3)
    discounted = -(gamma ** torch.arange(T) * episode.log_probs * usual.advantages).mean()
    torch.testing.assert_close(climbs(discounted, logits), exact)


def test_causality_and_then_the_critic_lower_the_variance():
    """Variance of the gradient of a single episode, over all 16, exactly."""
    states, actions, rewards, probabilities = all_paths()
    values, _ = policy_values(CHAIN, quarters(), T, 1.0)
    critic = torch.stack([values[t, states[:, t]] for t in range(T)], 1)
    spread = {}
    for name, config in {
        "whole episode": PolicyGradientConfig(1.0, reward_to_go=False),
        "reward-to-go": PolicyGradientConfig(1.0),
        "critic": PolicyGradientConfig(1.0, "critic"),
    }.items():
        samples = []
        for i in range(len(states)):
            logits = quarters().log().requires_grad_()
            log_probs = logits.log_softmax(1)[states[i], actions[i]][None]
            loss = policy_gradient_losses(Episode(log_probs, rewards[i, None], critic[i, None]), config).actor
            samples.append(climbs(loss, logits))
        gradients = torch.stack(samples)  # [16, S, A]
        mean = torch.einsum("n,nsa->sa", probabilities, gradients)
        torch.testing.assert_close(mean, exact_policy_gradient(CHAIN, quarters().log(), T))
        spread[name] = torch.einsum("n,nsa->", probabilities, (gradients - mean) ** 2).item()
    assert spread["whole episode"] > spread["reward-to-go"] > spread["critic"]


def test_sampled_gradients_scatter_around_the_exact_one():
    logits = quarters().log().requires_grad_()
    runs = []
    for seed in range(30):
        played = rollout(CHAIN, logits, 400, T, rng(seed))
        runs.append(climbs(policy_gradient_losses(played.episode, PolicyGradientConfig(1.0)).actor, logits))
    runs = torch.stack(runs)
    error = runs.mean(0) - exact_policy_gradient(CHAIN, logits, T)
    assert (error.abs() <= 4 * runs.std(0) / len(runs) ** 0.5 + 1e-12).all()


def test_the_critic_learns_the_value_of_the_state():
    """The table with the least critic loss, over all trajectories, is the mean reward-to-go from each state."""
    values = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    episode, states = expectation(quarters().log())
    for _ in range(200):
        seen = Episode(episode.log_probs, episode.rewards, values[states])
        loss = policy_gradient_losses(seen, PolicyGradientConfig(1.0, "critic")).critic
        (gradient,) = torch.autograd.grad(loss, values)
        values = (values - 2 * gradient).detach().requires_grad_()
    returns = policy_gradient_losses(episode, PolicyGradientConfig(1.0)).returns
    for state in (1, 2):
        torch.testing.assert_close(values[state].detach(), returns[states == state].mean(), atol=1e-6, rtol=0)


def small_agent() -> tuple[nn.Module, nn.Module, nn.Module, Episode]:
    """Actor, critic and a classifier whose loss is the reward, left attached to its graph on purpose."""
    torch.manual_seed(0)
    actor, critic, classifier = nn.Linear(6, 3), nn.Linear(6, 1), nn.Linear(6, 2)
    choices, rewards, values = [], [], []
    for _ in range(5):
        view = torch.randn(8, 6)
        choices.append(choose(actor(view), rng()))
        values.append(critic(view).squeeze(1))
        rewards.append(-nn.functional.cross_entropy(classifier(view), torch.zeros(8).long(), reduction="none"))
    return actor, critic, classifier, Episode.from_steps(choices, rewards, values)


def learners(loss: Tensor, *modules: nn.Module) -> list[bool]:
    """Which modules a loss would move."""
    found = []
    for module in modules:
        gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
        found.append(any(g is not None and bool((g != 0).any()) for g in gradients))
    return found


@pytest.mark.parametrize("baseline", ["none", "batch_mean", "leave_one_out", "critic"])
def test_no_loss_reaches_a_network_that_is_not_its_own(baseline):
    actor, critic, classifier, episode = small_agent()
    config = PolicyGradientConfig(baseline=baseline, entropy_weight=0.01, normalise=True)
    losses = policy_gradient_losses(episode, config)
    assert learners(losses.actor, actor, critic, classifier) == [True, False, False]
    assert learners(losses.critic, actor, critic, classifier) == [False, True, False]
    assert learners(losses.total, actor, critic, classifier) == [True, True, False]
    assert not losses.returns.requires_grad and not losses.advantages.requires_grad


@pytest.mark.parametrize("baseline", ["none", "batch_mean", "leave_one_out"])
def test_the_rewarded_action_wins(baseline):
    """One state, two actions, reward only for action 1: 200 updates (batch 64, Adam 0.05) give pi(1) > 0.95."""
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    generator = rng()
    for _ in range(200):
        choice = choose(logits.expand(64, 2), generator)
        episode = Episode.from_steps([choice], [choice.actions.float()])
        optimizer.zero_grad()
        policy_gradient_losses(episode, PolicyGradientConfig(baseline=baseline)).actor.backward()
        optimizer.step()
    assert logits.softmax(0)[1].item() > 0.95


def test_actor_critic_walks_past_the_near_prize():
    """Near 0.2, far 1.0 over 3 steps more: the learnt policy earns almost all there is."""
    mdp = make_chain(length=5, dtype=torch.float32)
    logits, values = torch.zeros(5, 2, requires_grad=True), torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.Adam([logits, values], lr=0.05)
    config, generator = PolicyGradientConfig(gamma=1.0, baseline="critic"), rng()
    before = expected_return(mdp, logits.detach(), 10).item()
    for _ in range(150):
        played = rollout(mdp, logits, 64, 10, generator, values)
        optimizer.zero_grad()
        policy_gradient_losses(played.episode, config).total.backward()
        optimizer.step()
    assert before < 0.5 and expected_return(mdp, logits.detach(), 10).item() > 0.97


def test_entropy_bonus_alone_evens_the_odds():
    logits = torch.tensor([2.0, 0.0, -1.0], requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for step in range(200):
        choice = choose(logits.expand(4, 3), rng(step))
        episode = Episode.from_steps([choice], [torch.zeros(4)])
        optimizer.zero_grad()
        policy_gradient_losses(episode, PolicyGradientConfig(entropy_weight=0.1)).actor.backward()
        optimizer.step()
    torch.testing.assert_close(logits.softmax(0).detach(), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_an_episode_gathers_steps_in_order():
    choices = [Choice(torch.zeros(2).long(), torch.full((2,), float(t)), torch.ones(2)) for t in range(3)]
    episode = Episode.from_steps(choices, [torch.tensor([t, 10.0 * t]) for t in range(3)])
    assert episode.rewards.tolist() == [[0, 1, 2], [0, 10, 20]]
    assert episode.log_probs.tolist() == [[0, 1, 2]] * 2 and episode.values is None


def numbers(*shape: int) -> Tensor:
    return torch.zeros(*shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Episode(numbers(3, 4), numbers(4, 3)), r"rewards should be \[3, 4\].*got \[4, 3\]"),
        (lambda: Episode(numbers(3), numbers(3)), r"log_probs should be .*\[episodes, steps\]"),
        (lambda: Episode(numbers(3, 4), numbers(3, 4), numbers(3, 4, 1)), "values should be"),
        (lambda: Episode(numbers(3, 4), numbers(3, 4).long()), "rewards should be a floating-point.*int64"),
        (lambda: Episode.from_steps([], []), "at least one"),
        (lambda: Episode.from_steps([choose(numbers(2, 2))], [numbers(2)], []), "1 rewards and 0 values"),
        (lambda: PolicyGradientConfig(gamma=2), "discount"),
        (lambda: PolicyGradientConfig(baseline="mean"), "one of none, batch_mean, leave_one_out, critic; got 'mean'"),
        (lambda: PolicyGradientConfig(entropy_weight=-1), "not be negative"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PolicyGradientConfig(baseline="critic"), "needs the critic's values"),
        (PolicyGradientConfig(entropy_weight=0.1), "needs the entropies"),
        (PolicyGradientConfig(baseline="batch_mean"), "at least 2, got 1"),
    ],
)
def test_a_config_that_the_episode_cannot_serve_is_explained(config, message):
    with pytest.raises(InputError, match=message):
        policy_gradient_losses(Episode(numbers(1, 4), numbers(1, 4)), config)
