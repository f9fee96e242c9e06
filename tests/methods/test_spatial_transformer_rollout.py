"""Episodes: against the same moves one by one, whom a gradient reaches, that an agent learns to zoom, and errors."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.networks import BodyConfig, Mlp
from course_lib.methods.spatial_transformer.policies import AgentConfig, Critic, Policy
from course_lib.methods.spatial_transformer.policy_gradient import PolicyGradientConfig, policy_gradient_losses
from course_lib.methods.spatial_transformer.rollout import evaluate_policy, rollout

SIDE, B, T = 20, 6, 5
IMAGE = (1, SIDE, SIDE)
BODY = BodyConfig((4, 4), (5, 3), 2, 1, hidden=12)
RECURRENT = AgentConfig(BODY, memory=8)


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    return F.avg_pool2d(torch.rand(B, 1, SIDE + 4, SIDE + 4, generator=g), 5, 1)


@pytest.fixture
def labels():
    return torch.randint(10, (B,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    network = Mlp(IMAGE)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(4)  # opinions strong enough to change
    return network


@pytest.fixture
def policy():
    torch.manual_seed(2)
    network = Policy(RECURRENT, IMAGE, 10)
    with torch.no_grad():
        network.head.weight.mul_(10)  # preferences strong enough that draws and the likeliest move are often the same
    return network


@pytest.fixture
def critic():
    torch.manual_seed(3)
    return Critic(RECURRENT, IMAGE, 10)


def env_of(classifier, **changes):
    config = EnvironmentConfig(**{"actions": ActionSet.search(SIDE), "episode_length": T, **changes})
    return SpatialTransformerEnv(config, classifier)


def draws(seed=7):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampling", ["compose", "resample"])
def test_an_episode_is_the_same_moves_made_one_by_one(images, labels, classifier, policy, sampling):
    env = env_of(classifier, sampling=sampling)
    made = rollout(env, policy, images, labels, generator=draws(), keep_views=True)
    again = env_of(classifier, sampling=sampling)
    again.reset(images, labels)
    for t in range(T):
        assert torch.equal(made.views[:, t], again.views) and torch.equal(made.matrices[:, t], again.matrices)
        assert torch.equal(made.losses[:, t], again.judgement.loss)
        assert torch.equal(made.correct[:, t], again.judgement.correct)
        assert torch.equal(made.episode.rewards[:, t], again.step(made.actions[:, t]).rewards)
    assert torch.equal(made.final, again.views) and torch.equal(made.views[:, T], again.views)
    assert torch.allclose(made.episode.rewards.sum(1), made.losses[:, 0] - made.losses[:, T], atol=1e-5)  # telescopes


def test_policy_and_critic_see_the_episode_as_a_whole_one_would(images, labels, classifier, policy, critic):
    """`unroll` goes through all views at once: logits, probabilities and values of the steps must be its."""
    made = rollout(env_of(classifier), policy, images, labels, critic=critic, generator=draws(), keep_views=True)
    moves = torch.eye(10)[made.actions]
    previous = torch.cat([torch.zeros(B, 1, 10), moves[:, :-1]], dim=1)
    logits = policy.unroll(made.views[:, :-1], previous)  # [B, T, A]
    assert torch.allclose(made.logits, logits, atol=1e-5) and not made.logits.requires_grad
    taken = (logits.log_softmax(-1) * moves).sum(-1)
    assert torch.allclose(made.episode.log_probs, taken, atol=1e-5)
    assert torch.allclose(made.episode.values, critic.unroll(made.views[:, :-1], previous), atol=1e-5)


def test_every_episode_begins_without_memory(images, labels, classifier, policy):
    env = env_of(classifier)
    first, second = (rollout(env, policy, images, labels, generator=draws()) for _ in range(2))
    assert torch.equal(first.logits, second.logits) and torch.equal(first.actions, second.actions)
    other = rollout(env, policy, images, labels, generator=draws(8))
    assert not torch.equal(first.actions, other.actions)


def test_greedy_takes_the_likeliest_move_and_draws_nothing(images, labels, classifier, policy):
    state = torch.get_rng_state()
    made = rollout(env_of(classifier), policy, images, labels, greedy=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made.actions, made.logits.argmax(dim=-1))


def test_gradients_stay_where_they_belong(images, labels, classifier, policy, critic):
    """Actor's loss: policy alone. Critic's: critic alone. Classifier's, on the last view: classifier alone."""
    networks = (policy, critic, classifier)
    made = rollout(env_of(classifier), policy, images, labels, critic=critic, generator=draws())
    losses = policy_gradient_losses(made.episode, PolicyGradientConfig(baseline="critic", entropy_weight=0.1))
    answer = F.cross_entropy(classifier(made.final), labels)
    for loss, owner in zip((losses.actor, losses.critic, answer), networks):
        for network in networks:
            slopes = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
            reached = [slope is not None and bool(slope.abs().sum() > 0) for slope in slopes]
            assert all(reached) if network is owner else not any(reached)
    assert not any(t.requires_grad for t in (made.final, made.losses, made.matrices, made.episode.rewards))


def test_an_agent_learns_to_zoom_in_on_a_bright_square():
    """No classifier: paid by the share of the view that the square fills, which only centring and zooming raises."""
    side, batch = 16, 48
    torch.manual_seed(0)
    config = EnvironmentConfig(ActionSet.salient(side, pixels=2), episode_length=5, reward="share_growth")
    env = SpatialTransformerEnv(config)
    policy = Policy(AgentConfig(BodyConfig((8,), (5,), 2, 1, hidden=16), None, False), (1, side, side), 6)
    adam = torch.optim.Adam(policy.parameters(), 5e-3)
    estimator = PolicyGradientConfig(gamma=1.0, baseline="leave_one_out", entropy_weight=0.003)

    def scenes(n, seed):
        corner = torch.randint(0, side - 5, (n, 2), generator=torch.Generator().manual_seed(seed)).float()
        boxes = torch.cat([corner, corner + 6], dim=1)  # squares of 6 pixels
        line = torch.arange(side)
        x, y = ((line >= corner[:, i, None]) & (line < corner[:, i, None] + 6) for i in (0, 1))
        return (y[:, :, None] & x[:, None, :]).float()[:, None], boxes

    def growth(policy_or_none, greedy):
        pixels, boxes = scenes(200, 10_000)
        with torch.no_grad():
            return float(rollout(env, policy_or_none, pixels, boxes=boxes, greedy=greedy).episode.rewards.sum(1).mean())

    before = growth(policy, greedy=False)
    for step in range(220):
        pixels, boxes = scenes(batch, step)
        loss = policy_gradient_losses(rollout(env, policy, pixels, boxes=boxes).episode, estimator).actor
        adam.zero_grad()
        loss.backward()
        adam.step()
    # Random moves gain little; three zooms on a centred square reach a share of (6 / 16 / 0.8**3)**2 = 0.54.
    assert before < 0.1 and growth(policy, greedy=True) > before + 0.15


def test_evaluation_counts_what_a_loop_over_images_counts(images, labels, classifier, policy):
    env = env_of(classifier)
    pieces = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    scores = evaluate_policy(env, policy, pieces, greedy=True)
    counts, right, loss = torch.zeros(T, 10, dtype=torch.long), [], torch.zeros(T + 1)
    for image, label in zip(images, labels):
        env.reset(image[None], label[None])
        memory, row = None, [bool(env.judgement.correct)]
        loss[0] += env.judgement.loss[0].detach() / B
        for t in range(T):
            logits, memory = policy(env.views, env.previous, memory)
            move = int(logits.argmax())
            counts[t, move] += 1
            env.step(torch.tensor([move]))
            row.append(bool(env.judgement.correct))
            loss[t + 1] += env.judgement.loss[0] / B
        right.append(row)
    assert scores.correct.tolist() == right and torch.equal(scores.action_counts, counts)
    assert torch.allclose(scores.loss, loss, atol=1e-5)
    assert torch.allclose(scores.accuracy, torch.tensor(right).float().mean(0))
    assert scores.action_counts.sum(1).tolist() == [B] * T
    assert float(scores.accuracy[0]) == float((classifier(images).argmax(1) == labels).float().mean())


def test_evaluation_says_what_it_needs(images, labels, classifier, policy):
    sightless = SpatialTransformerEnv(EnvironmentConfig(ActionSet.search(SIDE), T, "share_growth"))
    with pytest.raises(InputError, match="needs a classifier"):
        evaluate_policy(sightless, policy, [(images, labels)])
    with pytest.raises(InputError, match="no images"):
        evaluate_policy(env_of(classifier), policy, [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_the_gpu(images, labels, classifier, policy, critic):
    networks = [network.cuda() for network in (classifier, policy, critic)]
    env = env_of(networks[0])
    pixels, answers = images.cuda(), labels.cuda()
    rollout(env, networks[1], pixels, answers, critic=networks[2])  # moves the matrices there, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = rollout(env, networks[1], pixels, answers, critic=networks[2])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert isinstance(env.classifier, nn.Module) and made.final.is_cuda
