"""DQ-SSTN: what is stored is what was seen, who learns from what, and that a run that was killed goes on as if not."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import course_lib.methods.spatial_transformer.dq_data as data_room
import course_lib.methods.spatial_transformer.dq_training as training_room
from course_lib.data.scene_batch import flip_horizontally
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer import ActionSet, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.dq_config import REWARDS, DQConfig
from course_lib.methods.spatial_transformer.dq_data import SalientImages, salient_images, salient_parts
from course_lib.methods.spatial_transformer.dq_network import DQLearner, answers, play, shares
from course_lib.methods.spatial_transformer.dq_task import AgentTask, ClassifierTask, random_matrices
from course_lib.methods.spatial_transformer.dq_training import (
    evaluate_agent,
    initial_network,
    parameter_groups,
    train_classifier,
    train_dq,
)
from course_lib.methods.spatial_transformer.exploration import EpsilonSchedule
from course_lib.methods.spatial_transformer.geometry import compose, compose_sequence, view
from course_lib.methods.spatial_transformer.hard_mining import HardMining
from course_lib.training import fit

SMOKE = DQConfig.preset("smoke")
TRAIN, VALIDATION, TEST = salient_parts(SMOKE, 0)
B, T = SMOKE.batch_size, SMOKE.episode_length


def learner(config=SMOKE, seed=0):
    return DQLearner(initial_network(config, seed))


def batch(flip=False, first=0):
    return {"index": torch.arange(first, first + B), "flip": torch.full((B,), flip)}


def after_one_loss(task, flip=False, step=0):
    """A learner whose memory holds the episodes of one batch, in rows [T, B], and the losses."""
    model = learner()
    torch.manual_seed(3)
    losses = task.loss(model, batch(flip), step)
    rows = {name: stored[: T * B].unflatten(0, (T, B)) for name, stored in model.memory.rows.named_buffers()}
    return model, losses, rows


# --- images


def test_parts_share_no_scene_and_come_back_the_same():
    again = salient_parts(SMOKE, 0)
    assert [len(part) for part in again] == [64, 16, 48]
    assert torch.equal(TRAIN.pixels, salient_images(replace(SMOKE, lr=0.5), "train", 0).pixels)
    assert not torch.equal(TRAIN.pixels, salient_images(SMOKE, "train", 1).pixels)
    assert not (TRAIN.pixels[:16, None] == VALIDATION.pixels).flatten(2).all(2).any()


def test_bytes_and_truth_are_those_of_the_scenes():
    some = TEST.take(torch.tensor([5, 2]))
    assert some.images.max() <= 1 and torch.equal((some.images * 255).round().byte(), TEST.pixels[[5, 2]])
    assert torch.equal(some.labels, TEST.truth.object_labels[[5, 2], 0])
    assert torch.equal(TEST.truth.share, torch.cat([part.share for part in TEST.batches(7)]))


def test_photographs_are_read_in_order_and_at_most_as_many_as_asked_for(monkeypatch):
    class Voc:
        def __init__(self, root, split, size):
            self.split, self.size = split, size

        def __len__(self):
            return 1500

        def batch(self, indices):
            part = TEST.take(torch.zeros(len(indices), dtype=torch.long))
            return part._replace(
                images=torch.zeros(len(indices), 3, self.size, self.size), labels=torch.tensor(indices)
            )

    monkeypatch.setattr(data_room, "VocScenes", Voc)
    config = DQConfig(image=(3, 8, 8), train_images=1200)
    assert salient_images(config, "train", 0).truth.labels.tolist() == list(range(1200))
    assert salient_images(config, "test", 0).truth.labels.tolist() == list(range(1500))
    data_room._photographs.cache_clear()


# --- episodes and memory


def test_the_memory_holds_whole_episodes():
    task = AgentTask(SMOKE, TRAIN, 0, "share_sign")
    _, losses, rows = after_one_loss(task)
    assert {name: loss.shape for name, loss in losses.items()} == dict.fromkeys(losses, torch.Size([B]))
    assert torch.equal(rows["image"], torch.arange(B).expand(T, B))
    assert rows["done"].all(dim=1).tolist() == [False] * (T - 1) + [True] and not rows["done"][:-1].any()
    moves = SMOKE.actions().matrices[rows["action"]]  # [T, B, 3, 3]
    torch.testing.assert_close(rows["matrix"][1:], compose(rows["matrix"], moves)[:-1])
    share = shares(TRAIN.truth.boxes[:B], compose_all(rows, moves), SMOKE.size)
    expected = share.diff(dim=1)
    torch.testing.assert_close(rows["reward"].T, torch.where(expected.abs() > 1e-5, expected.sign(), 0))
    torch.testing.assert_close(losses["return"], rows["reward"].sum(dim=0))
    torch.testing.assert_close(losses["share"], share[:, -1])


def compose_all(rows, moves):
    """Matrices [B, T + 1, 3, 3] of all views of the stored episodes."""
    last = compose(rows["matrix"][-1], moves[-1])
    return torch.cat([rows["matrix"], last[None]]).transpose(0, 1)


def test_a_mirrored_image_is_stored_as_a_matrix():
    """The recipe, applied to the image as it lies in memory, shows what the agent saw of the mirrored one."""
    _, _, rows = after_one_loss(AgentTask(SMOKE, TRAIN, 0, "share_growth"), flip=True)
    scenes = flip_horizontally(TRAIN.take(torch.arange(B)), torch.ones(B, dtype=torch.bool))
    env = SpatialTransformerEnv(SMOKE.environment("share_growth"))
    seen = env.reset(scenes.images, scenes.labels, scenes.boxes)
    for t in range(T):
        rendered = view(TRAIN.take(rows["image"][t]).images, rows["matrix"][t])
        torch.testing.assert_close(rendered, seen.images, atol=2e-5, rtol=0)
        seen, reward, _ = env.step(rows["action"][t])
        torch.testing.assert_close(rows["reward"][t], reward)


def test_hard_mining_weighs_what_it_says():
    weights = 0.5 + torch.rand(len(TRAIN))
    _, plain, rows = after_one_loss(AgentTask(SMOKE, TRAIN, 0, "share_growth"))
    _, _, weighed = after_one_loss(AgentTask(SMOKE, TRAIN, 0, "share_growth", reward_weights=weights))
    torch.testing.assert_close(weighed["reward"][0], weights[:B] * rows["reward"][0])
    _, loss, same = after_one_loss(AgentTask(SMOKE, TRAIN, 0, "share_growth", loss_weights=weights))
    assert torch.equal(same["reward"], rows["reward"])
    torch.testing.assert_close(loss["loss"], weights[:B] * plain["classifier"] + plain["q"])


def test_exploration_counts_single_images():
    counted = []

    class Counting(EpsilonSchedule):
        def __call__(self, step):
            counted.append(step)
            return super().__call__(step)

    task = AgentTask(replace(SMOKE, exploration=Counting()), TRAIN, 0, "share_sign")
    task.loss(learner(), batch(), step=5)
    assert counted == [5 * T * B, 5 * T * B + B, 5 * T * B + 2 * B]


# --- who learns from what


def test_no_loss_teaches_two_networks():
    model = learner()
    task = AgentTask(SMOKE, TRAIN, 0, "weighted_sum", loss_weights=torch.zeros(len(TRAIN)))
    task.loss(model, batch(), 0)["loss"].sum().backward()
    assert all(not weight.grad.any() for weight in model.network.classifier.parameters())
    assert any(weight.grad.any() for weight in model.network.q_network.parameters())
    assert all(weight.grad is None for weight in model.target.parameters())
    model.zero_grad()
    losses = AgentTask(SMOKE, TRAIN, 0, "weighted_sum").loss(model, batch(), 0)
    losses["loss"].sum().backward()
    grads = [weight.grad.clone() for weight in model.network.classifier.parameters()]
    rows = {name: stored[T * B : 2 * T * B][-B:] for name, stored in model.memory.rows.named_buffers()}
    last = view(
        TRAIN.take(rows["image"]).images, compose(rows["matrix"], SMOKE.actions().matrices[rows["action"]])
    )  # fmt: skip
    model.zero_grad()
    F.cross_entropy(model.network.classifier(last), TRAIN.truth.labels[:B], reduction="sum").backward()
    for weight, grad in zip(model.network.classifier.parameters(), grads, strict=True):
        torch.testing.assert_close(weight.grad, grad)


def test_the_target_network_is_refreshed_every_n_updates_only():
    """`sync_every` is 2: updates 0, 2 and 4 begin with a copy."""
    model, task, seen = learner(), AgentTask(SMOKE, TRAIN, 0, "share_sign"), []

    class Watching:
        sample = task.sample

        def loss(self, network, batch, step):
            before = network.target.head.weight.clone()
            losses = task.loss(network, batch, step)
            seen.append((step, torch.equal(network.target.head.weight, before)))
            assert torch.equal(network.target.head.weight, network.network.q_network.head.weight) == (step % 2 == 0)
            return losses

    fit(model, Watching(), SMOKE.fit(0), parameters=parameter_groups(model, SMOKE), device="cpu", progress=False)
    assert seen == [(0, True), (1, True), (2, False), (3, True), (4, False), (5, True)]


def test_q_network_and_classifier_have_their_own_learning_rates():
    config = replace(SMOKE, lr=1e-2, q=replace(SMOKE.q, learning_rate=1e-3))
    first, second = parameter_groups(learner(config), config)
    assert "lr_scale" not in first and second["lr_scale"] == pytest.approx(0.1)


def test_systems_of_one_random_seed_begin_with_the_same_classifier():
    one, longer, other = (
        initial_network(SMOKE, 0),
        initial_network(replace(SMOKE, episode_length=9), 0),
        initial_network(SMOKE, 1),
    )
    assert torch.equal(one.classifier.head.weight, longer.classifier.head.weight)
    assert not torch.equal(one.classifier.head.weight, other.classifier.head.weight)
    state = torch.random.get_rng_state()
    initial_network(SMOKE, 5)
    assert torch.equal(state, torch.random.get_rng_state())


def test_random_moves_of_full_and_of_any_length():
    """One move, to the right by the whole view: where the view is tells how many were made."""
    only = ActionSet(("right",), ActionSet.search(8).matrices[:1])
    step = only.matrices[0, 0, 2].item()
    torch.manual_seed(0)
    full, any_length = (random_matrices(only, 4000, 3, views)[:, 0, 2] / step for views in ("full", "any_length"))
    assert (full.round() == 3).all()
    counts = torch.bincount(any_length.round().long(), minlength=4)
    assert len(counts) == 4 and counts.min() > 900  # 0 to 3 moves, 1,000 each


def test_a_classifier_task_shows_images_or_random_views():
    images = TRAIN.take(torch.arange(B)).images
    seen = []

    def classifier(views):
        seen.append(views)
        return torch.zeros(len(views), 10)

    ClassifierTask(SMOKE, TRAIN, 0).loss(classifier, batch(), 0)
    ClassifierTask(SMOKE, TRAIN, 0).loss(classifier, batch(flip=True), 0)
    ClassifierTask(SMOKE, TRAIN, 0, "full").loss(classifier, batch(), 0)
    assert torch.equal(seen[0], images) and torch.equal(seen[1], images.flip(-1)) and not torch.equal(seen[2], images)


class NeverAsk(TorchDispatchMode):
    """Fails where an accelerator would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(word in str(func) for word in ("_local_scalar_dense", "nonzero", "masked_select")), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("reward", REWARDS)
def test_an_update_never_asks_the_device_for_a_number(reward, monkeypatch):
    monkeypatch.setattr(SpatialTransformerEnv, "_check_actions", lambda *_: None)  # which looks on the CPU only
    model, task = learner(), AgentTask(SMOKE, TRAIN, 0, reward)
    with NeverAsk():
        task.loss(model, batch(), 1)["loss"].mean().backward()


# --- tests of the trained agent


def test_play_is_greedy_and_what_an_environment_would_show():
    network = initial_network(SMOKE, 0)
    played = play(network, [part.images for part in TEST.batches(20)])
    again = play(network, [TEST.take(slice(None)).images])
    assert torch.equal(played.actions, again.actions) and torch.equal(played.actions, played.q_values.argmax(-1))
    env = SpatialTransformerEnv(SMOKE.environment("share_growth"), network.classifier)
    scenes = TEST.take(slice(None))
    env.reset(scenes.images, scenes.labels, scenes.boxes)
    share = shares(scenes.boxes, played.matrices, SMOKE.size)
    for t in range(T + 1):
        torch.testing.assert_close(env.matrices, played.matrices[:, t])
        torch.testing.assert_close(env.judgement.share, share[:, t])
        torch.testing.assert_close(network.q_network(env.views), played.q_values[:, t]) if t < T else None
        torch.testing.assert_close(network.classifier(env.views), played.logits[:, t])
        env.step(played.actions[:, t]) if t < T else None
    assert torch.equal(env.judgement.correct, played.predictions == scenes.labels)


def test_boxes_and_labels_change_no_answer():
    network = initial_network(SMOKE, 0)
    lie = TEST.truth._replace(boxes=TEST.truth.boxes * float("nan"), labels=torch.full_like(TEST.truth.labels, 7))
    honest, blind = evaluate_agent(network, TEST), evaluate_agent(network, SalientImages(TEST.pixels, lie))
    assert torch.equal(honest.played.actions, blind.played.actions)
    assert torch.equal(honest.predictions, blind.predictions)
    assert blind.shares.isnan().all() and not honest.shares.isnan().any()


def test_true_iou_and_clipped_share_differ_once_the_box_outgrows_the_view():
    zooms = ActionSet.salient(32).matrices[4].expand(3, 3, 3)
    matrices = torch.stack([compose_sequence(zooms[:k]) for k in (0, 1, 2)])[None]
    whole = torch.tensor([[0.0, 0, 32, 32]])
    assert shares(whole, matrices, (32, 32)).tolist()[0] == pytest.approx([1, 0.64, 0.4096])
    assert shares(whole, matrices, (32, 32), clipped=True).tolist()[0] == pytest.approx([1, 1, 1])


def test_it_learns_to_zoom_in_on_a_single_object():
    config = replace(
        DQConfig.preset("cpu"), train_images=512, validation_images=16, test_images=200, steps=80, evaluations=1,
    )  # fmt: skip
    result = train_dq(config, baseline=fake_baseline(config), progress=False, device="cpu")
    assert result.share_after.mean() > result.share_before.mean() + 0.15
    returns = result.fit.curve("return")[1]
    assert returns[-1] > returns[0] + 0.5


def fake_baseline(config, seed=0):
    """Untrained, for tests that are not about it."""
    classifier = initial_network(config, seed).classifier
    test = salient_images(config, "test", seed)
    predictions = answers(classifier, (part.images for part in test.batches()))
    return training_room.ClassifierResult(classifier, predictions, test.truth, None)


def test_results_are_paired_with_the_plain_classifier():
    baseline = train_classifier(SMOKE, progress=False, device="cpu")
    result = train_dq(SMOKE, "share_growth", baseline=baseline, progress=False, device="cpu")
    alone = train_dq(SMOKE, "share_growth", progress=False, device="cpu")
    assert torch.equal(result.correct_before, baseline.predictions == TEST.truth.labels)
    assert torch.equal(alone.correct_before, result.correct_before) and torch.equal(
        alone.predictions, result.predictions
    )
    assert torch.equal(result.correct, result.predictions == TEST.truth.labels) and result.shares.shape == (48, T + 1)
    torch.testing.assert_close(result.share_before, TEST.truth.share)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    options = {"baseline": fake_baseline(SMOKE), "progress": False, "device": "cpu"}
    whole = train_dq(SMOKE, "weighted_sum", **options)
    honest = AgentTask.loss

    def dying(self, model, batch, step):
        if step == 4:
            raise RuntimeError("power cut")
        return honest(self, model, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(AgentTask, "loss", dying)
        with pytest.raises(RuntimeError, match="power cut"):
            train_dq(SMOKE, "weighted_sum", run=tmp_path, **options)
    resumed = train_dq(SMOKE, "weighted_sum", run=tmp_path, **options)

    def curve(result):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in result.fit.rows]

    assert curve(resumed) == curve(whole) and len(curve(whole)) >= 6
    first, second = whole.fit.model.state_dict(), resumed.fit.model.state_dict()
    assert first.keys() == second.keys() and any("memory" in name for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(InputError, match="reward was 'weighted_sum', is 'share_sign'"):
        train_dq(SMOKE, run=tmp_path, **options)


def test_training_goes_on_from_given_weights():
    start = initial_network(SMOKE, 5)
    before = start.classifier.head.weight.clone()
    result = train_dq(SMOKE, start=start, baseline=fake_baseline(SMOKE), progress=False, device="cpu")
    assert torch.equal(start.classifier.head.weight, before)  # a copy was trained
    moved = (result.network.classifier.head.weight - before).abs().max()
    assert 0 < moved < 6.1e-3  # six steps of Adam at 1e-3


@pytest.mark.parametrize(("weighed", "by"), [("reward", "inverse_share"), ("loss", "baseline")])
def test_hard_mining_looks_at_training_images(weighed, by, monkeypatch):
    baseline, asked = fake_baseline(SMOKE), []

    class Recording(AgentTask):
        def __init__(self, *args):
            asked.append(args[-2:])
            super().__init__(*args)

    monkeypatch.setattr(training_room, "AgentTask", Recording)
    train_dq(SMOKE, mining=HardMining(weighed, by), baseline=baseline, progress=False, device="cpu")
    right = answers(baseline.classifier, [TRAIN.take(slice(None)).images]) == TRAIN.truth.labels
    expected = HardMining(weighed, by).weights(TRAIN.truth.share, right)
    rewards, losses = asked[0]
    torch.testing.assert_close(rewards if weighed == "reward" else losses, expected)
    assert (losses if weighed == "reward" else rewards) is None
