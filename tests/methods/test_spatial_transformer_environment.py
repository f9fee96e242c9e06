"""The batched environment: against one image at a time, what adds up, what stays untouched, and the error messages."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import identity, view, view_step_by_step
from course_lib.methods.spatial_transformer.networks import Mlp

SIDE, B, T = 20, 6, 5
REWARDS = ["accuracy_change", "negative_loss", "loss_decrease", "share_growth", "share_sign", "weighted_sum"]


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    images = F.avg_pool2d(torch.rand(B, 1, SIDE + 4, SIDE + 4, generator=g), 5, 1)
    corner = torch.rand(B, 2, generator=g) * 8 + 3
    return images, torch.randint(10, (B,), generator=g), torch.cat([corner, corner + 6], dim=1)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    network = Mlp((1, SIDE, SIDE))
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(4)  # opinions strong enough to change
    return network


def config(**changes):
    return EnvironmentConfig(**{"actions": ActionSet.search(SIDE), "episode_length": T, **changes})


def moves(t=T, seed=1, n=10):
    return torch.randint(n, (t, B), generator=torch.Generator().manual_seed(seed))


def play(env, batch, actions):
    """Rewards [T, B] and judgements [T + 1] of a whole episode."""
    env.reset(*batch)
    paid, judged = [], [env.judgement]
    for a in actions:
        paid.append(env.step(a).rewards)
        judged.append(env.judgement)
    return torch.stack(paid), judged


@torch.no_grad()
def one_at_a_time(cfg, classifier, image, label, box, actions):
    """The obvious way: one image, Python numbers, formulas of the text. Returns the last view and the rewards."""
    m, seen, paid, before = torch.eye(3), image, [], None
    for t in range(len(actions) + 1):
        if t:
            a = cfg.actions.matrices[int(actions[t - 1])]
            m = m @ a
            seen = view(image[None], m[None])[0] if cfg.sampling == "compose" else view(seen[None], a[None])[0]
        logits = classifier(seen[None])[0]
        loss = float(logits.logsumexp(0) - logits[label])
        right = bool(logits.argmax() == label)
        xs, ys = [], []
        for px in (box[0], box[2]):
            for py in (box[1], box[3]):
                p = torch.linalg.solve(m, torch.tensor([px / (SIDE / 2) - 1, py / (SIDE / 2) - 1, 1.0]))
                xs.append((float(p[0]) + 1) * SIDE / 2)
                ys.append((float(p[1]) + 1) * SIDE / 2)
        w = max(0.0, min(max(xs), SIDE) - max(min(xs), 0))
        h = max(0.0, min(max(ys), SIDE) - max(min(ys), 0))
        area = (max(xs) - min(xs)) * (max(ys) - min(ys))
        share = w * h / (area + SIDE**2 - w * h) if cfg.share == "true_iou" else w * h / SIDE**2
        now = (loss, right, share)
        if before is not None:
            change = share - before[2]
            sign = 0 if abs(change) < 1e-5 else (1 if change > 0 else -1)
            paid.append({
                "accuracy_change": int(right and not before[1]) - int(before[1] and not right),
                "negative_loss": -loss,
                "loss_decrease": before[0] - loss,
                "share_growth": change,
                "share_sign": sign,
                "weighted_sum": before[0] - loss + 0.8 * sign,
            }[cfg.reward])  # fmt: skip
        before = now
    return seen, torch.tensor(paid)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("sampling", ["compose", "resample"])
@pytest.mark.parametrize("share", ["true_iou", "clipped_share"])
def test_equals_one_image_at_a_time(batch, classifier, reward, sampling, share):
    cfg = config(reward=reward, sampling=sampling, share=share)
    env, actions = SpatialTransformerEnv(cfg, classifier), moves()
    paid, _ = play(env, batch, actions)
    assert paid.abs().sum() > 0 or reward == "accuracy_change"
    for i in range(B):
        seen, expected = one_at_a_time(cfg, classifier, *(part[i] for part in batch), actions[:, i])
        assert torch.allclose(paid[:, i], expected.float(), atol=1e-4)
        assert torch.allclose(env.views[i], seen, atol=1e-5)


def test_matrices_and_views_belong_together(batch, classifier):
    """Composed: one sampling of the original. Resampled: the literal sequence of warps."""
    actions = moves()
    composed = SpatialTransformerEnv(config(), classifier)
    literal = SpatialTransformerEnv(config(sampling="resample"), classifier)
    play(composed, batch, actions), play(literal, batch, actions)
    assert torch.equal(composed.matrices, literal.matrices)
    assert torch.equal(composed.views, view(batch[0], composed.matrices))
    stepwise = view_step_by_step(batch[0], composed.config.actions.matrices[actions.T])
    assert torch.equal(literal.views, stepwise)
    assert not torch.allclose(composed.views, literal.views, atol=1e-3)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("sampling", ["compose", "resample"])
def test_staying_changes_and_pays_nothing(batch, classifier, reward, sampling):
    cfg = config(reward=reward, sampling=sampling)
    env = SpatialTransformerEnv(cfg, classifier)
    stay = torch.full((T, B), cfg.actions.index("stay"))
    paid, judged = play(env, batch, stay)
    assert torch.allclose(env.views, batch[0], atol=1e-5)
    assert torch.equal(env.matrices, identity(B))
    expected = -judged[0].loss.expand(T, B) if reward == "negative_loss" else torch.zeros(T, B)
    assert torch.allclose(paid, expected, atol=1e-4)


def test_what_adds_up_over_an_episode(batch, classifier):
    actions = moves()
    paid, judged = play(SpatialTransformerEnv(config(reward="loss_decrease"), classifier), batch, actions)
    assert torch.allclose(paid.sum(0), judged[0].loss - judged[-1].loss, atol=1e-4)
    paid, judged = play(SpatialTransformerEnv(config(reward="accuracy_change"), classifier), batch, actions)
    assert torch.equal(paid.sum(0), judged[-1].correct.float() - judged[0].correct.float())
    assert set(paid.sum(0).tolist()) <= {-1.0, 0.0, 1.0} and set(paid.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    paid, judged = play(SpatialTransformerEnv(config(reward="share_growth")), batch, actions)
    assert torch.allclose(paid.sum(0), judged[-1].share - judged[0].share, atol=1e-5)


def test_the_previous_move_is_told(batch, classifier):
    env = SpatialTransformerEnv(config(), classifier)
    first = env.reset(*batch)
    assert torch.equal(first.images, batch[0]) and torch.equal(first.previous, torch.zeros(B, 10))
    actions = moves()
    for t, a in enumerate(actions):
        step = env.step(a)
        assert torch.equal(step.observation.previous.argmax(1), a) and (step.observation.previous.sum(1) == 1).all()
        assert step.done is (t == T - 1) and env.steps == t + 1
    assert torch.equal(env.reset(*batch).previous, torch.zeros(B, 10))
    assert env.steps == 0 and torch.equal(env.matrices, identity(B))


def test_the_classifier_is_asked_once_a_view_and_without_gradient(batch, classifier):
    calls = []

    def counted(images):
        calls.append(torch.is_grad_enabled())
        return classifier(images)

    play(SpatialTransformerEnv(config(), counted), batch, moves())
    assert calls == [False] * (T + 1)


def test_asking_changes_nothing_in_the_classifier(batch):
    """Batch norm neither sees the views nor lets images of a batch depend on each other; parts keep their modes."""
    torch.manual_seed(0)
    frozen = nn.BatchNorm2d(1).eval()
    network = nn.Sequential(nn.BatchNorm2d(1), frozen, nn.Dropout(0.5), nn.Flatten(), nn.Linear(SIDE**2, 10)).train()
    frozen.eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    env = SpatialTransformerEnv(config(), network)
    together, _ = play(env, batch, moves())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.training and network[0].training and not frozen.training
    alone, _ = play(env, tuple(part[:1] for part in batch), moves()[:, :1])
    assert torch.allclose(alone[:, 0], together[:, 0], atol=1e-5)


def test_no_gradient_in_rewards_but_the_last_view_trains_the_classifier(batch, classifier):
    env = SpatialTransformerEnv(config(), classifier)
    paid, judged = play(env, batch, moves())
    assert not paid.requires_grad and not judged[-1].loss.requires_grad and not env.views.requires_grad
    F.cross_entropy(classifier(env.views), batch[1]).backward()
    assert all(p.grad.abs().sum() > 0 for p in classifier.parameters())


def test_a_learning_classifier_is_asked_as_it_is_now(batch, classifier):
    env = SpatialTransformerEnv(config(), classifier)
    env.reset(*batch)
    first = env.judgement.loss
    with torch.no_grad():
        classifier.layers[-1].bias[0] += 5
    env.reset(*batch)
    assert not torch.allclose(first, env.judgement.loss)


def test_images_do_not_influence_each_other(batch, classifier):
    env, actions = SpatialTransformerEnv(config(reward="weighted_sum"), classifier), moves()
    together, _ = play(env, batch, actions)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(3))
    shuffled, _ = play(env, tuple(part[order] for part in batch), actions[:, order])
    assert torch.allclose(shuffled, together[:, order], atol=1e-4)


def test_the_originals_stay_as_they_were(batch, classifier):
    copy = batch[0].clone()
    play(SpatialTransformerEnv(config(), classifier), batch, moves())
    assert torch.equal(copy, batch[0])


def test_a_greedy_agent_finds_a_larger_share(batch):
    """Trying every move and taking the best one by share never loses, and gains on every small object."""
    cfg = EnvironmentConfig.salient(SIDE, episode_length=8, reward="share_growth")
    images, labels, boxes = batch
    env, probe = SpatialTransformerEnv(cfg), SpatialTransformerEnv(cfg)
    env.reset(images, labels, boxes)
    start, chosen = env.judgement.share, []
    for _ in range(8):
        gains = []
        for a in range(6):
            probe.reset(images, labels, boxes)
            for c in chosen:
                probe.step(c)
            gains.append(probe.step(torch.full((B,), a)).rewards)
        chosen.append(torch.stack(gains).argmax(0))
        assert (env.step(chosen[-1]).rewards >= -1e-6).all()
    assert (env.judgement.share > 2 * start).all()


def test_works_without_a_classifier_or_without_boxes(batch, classifier):
    images, labels, boxes = batch
    env = SpatialTransformerEnv(config(reward="share_sign"))
    env.reset(images, boxes=boxes)
    assert env.judgement.loss is None and env.judgement.correct is None and env.judgement.share.shape == (B,)
    env = SpatialTransformerEnv(config(), classifier)
    env.reset(images, labels)
    assert env.judgement.share is None and env.judgement.loss.shape == (B,)


def test_published_defaults():
    default, salient = EnvironmentConfig(), EnvironmentConfig.salient()
    assert (default.episode_length, default.reward, len(default.actions)) == (40, "loss_decrease", 10)
    assert (salient.episode_length, salient.reward, len(salient.actions)) == (10, "share_sign", 6)
    assert (default.share, default.sampling, default.loss_weight, default.share_weight) == (
        "true_iou",
        "compose",
        1,
        0.8,
    )


def test_errors_say_what_was_expected(batch, classifier):
    images, labels, boxes = batch
    with pytest.raises(InputError, match=r"reward must be one of accuracy_change.*got 'loss'"):
        config(reward="loss")
    with pytest.raises(InputError, match="at least one move"):
        config(episode_length=0)
    with pytest.raises(InputError, match="'loss_decrease' asks a classifier"):
        SpatialTransformerEnv(config())
    env = SpatialTransformerEnv(config(), classifier)
    with pytest.raises(InputError, match="call reset first"):
        env.step(torch.zeros(B, dtype=torch.long))
    with pytest.raises(InputError, match=r"labels \[6\], one per image; got None"):
        env.reset(images)
    with pytest.raises(InputError, match=r"float in \[0, 1\], got \[6, 1, 20, 20\] torch.uint8"):
        env.reset(images.byte(), labels)
    with pytest.raises(InputError, match=r"boxes must be \[6, 4\]"):
        env.reset(images, labels, boxes[:2])
    with pytest.raises(InputError, match=r"needs the objects' boxes \[6, 4\]; got None"):
        SpatialTransformerEnv(config(reward="weighted_sum"), classifier).reset(images, labels)
    env.reset(images, labels)
    with pytest.raises(InputError, match=r"\[6\] int64, one each; got \[2\]"):
        env.step(torch.zeros(2, dtype=torch.long))
    with pytest.raises(InputError, match=r"int64"):
        env.step(torch.zeros(B))
    for wrong in (10, -1):
        with pytest.raises(InputError, match="numbered 0 … 9"):
            env.step(torch.full((B,), wrong))
    for _ in range(T):
        env.step(torch.zeros(B, dtype=torch.long))
    with pytest.raises(InputError, match="over after 5 moves"):
        env.step(torch.zeros(B, dtype=torch.long))


def test_a_step_reads_nothing_back(batch, classifier):
    """On the meta device tensors have no values, so that whatever would wait for a GPU to learn one fails."""
    nowhere = tuple(part.to("meta") for part in batch)
    with pytest.raises((RuntimeError, NotImplementedError)):
        nowhere[0].sum().item()
    for sampling in ("compose", "resample"):
        env = SpatialTransformerEnv(config(reward="weighted_sum", sampling=sampling), classifier.to("meta"))
        paid, judged = play(env, nowhere, moves().to("meta"))
        assert paid.shape == (T, B) and paid.device.type == "meta" and judged[-1].share.shape == (B,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_step_never_waits_for_the_gpu(batch, classifier):
    images, labels, boxes = (part.cuda() for part in batch)
    env, actions = SpatialTransformerEnv(config(reward="weighted_sum"), classifier.cuda()), moves().cuda()
    play(env, (images, labels, boxes), actions)  # moves the actions' matrices and warms up
    torch.cuda.set_sync_debug_mode("error")
    try:
        paid, _ = play(env, (images, labels, boxes), actions)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected, _ = play(SpatialTransformerEnv(config(reward="weighted_sum"), classifier.cpu()), batch, actions.cpu())
    assert torch.allclose(paid.cpu(), expected, atol=1e-3)
