"""The ablation of attention regularisers: its arms differ in the regulariser alone, in training and at test time."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory import SMALL, STCN, ablation, reallocation
from course_lib.methods.space_time_memory.ablation import AblationConfig
from course_lib.methods.space_time_memory.experiment import parameter_groups
from course_lib.methods.space_time_memory.load import load_stcn_small
from course_lib.methods.space_time_memory.reallocation import support_cells
from course_lib.methods.space_time_memory.regularisers import AffinityDropout, Reallocation, drop
from course_lib.methods.space_time_memory.train_task import SpaceTimeTask, predict
from course_lib.training import fit
from course_lib.training.export import export_weights
from course_lib.training.samples import collate, sample_rng

TINY = replace(AblationConfig.preset("smoke"), device="cpu")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Weights that never learnt anything."""
    torch.manual_seed(0)
    return export_weights(STCN(SMALL), tmp_path_factory.mktemp("weights") / "random.safetensors")


@pytest.fixture
def net(start):
    return load_stcn_small(start, CPU).net


@pytest.fixture(scope="module")
def batch():
    base = ablation.task(TINY, "base", 0)
    return collate([base.sample(index, 0, sample_rng(0, index)) for index in range(2)])


def losses(net, batch, arm) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return ablation.task(TINY, arm, 0).loss(net, batch, 0)["loss"]


def same(first, second) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_arms_see_the_same_samples_in_the_same_order(monkeypatch, start):
    """What reaches the losses, step by step, through the training loop itself."""
    seen = {arm: [] for arm in get_args(ablation.Arm)}
    for arm, batches in seen.items():
        own = SpaceTimeTask.loss

        def spy(self, model, batch, step, batches=batches, own=own):
            batches.append({name: tensor.clone() for name, tensor in batch.items()})
            return own(self, model, batch, step)

        with monkeypatch.context() as patch:
            patch.setattr(SpaceTimeTask, "loss", spy)
            ablation.train_arm.__wrapped__(TINY, arm, 0, start)
    assert len(seen["base"]) == TINY.steps and not same(*seen["base"])
    for arm in ("dropout", "reallocation", "reallocation_open"):
        assert len(seen[arm]) == TINY.steps and all(same(*pair) for pair in zip(seen["base"], seen[arm]))


def test_base_arm_is_plain_training_and_the_others_are_not(net, start):
    """Bit for bit the training of a task that knows of no regulariser."""
    base = ablation.task(TINY, "base", 0)
    plain = SpaceTimeTask(base.stage, base.stills, base.clips)
    groups = parameter_groups(net, trunk_lr=0.25)
    fit(net, plain, ablation.fit_config(TINY, 0), device="cpu", parameters=groups, progress=False)
    trained = {arm: ablation.train_arm(TINY, arm, 0, start).state_dict() for arm in get_args(ablation.Arm)}
    assert same(net.state_dict(), trained["base"])
    assert not same(net.state_dict(), load_stcn_small(start, CPU).net.state_dict())
    assert not any(same(*pair) for pair in itertools.combinations(trained.values(), 2))


def test_a_regulariser_changes_the_loss_and_its_limit_does_not(net, batch):
    plain = losses(net, batch, "base")
    for arm in ("dropout", "reallocation", "reallocation_open"):
        assert not torch.allclose(losses(net, batch, arm), plain, atol=1e-6)
    task = ablation.task(TINY, "base", 0)
    task.regulariser = AffinityDropout(rate=0.0)
    with torch.no_grad():
        torch.testing.assert_close(task.loss(net, batch, 0)["loss"], plain, atol=1e-4, rtol=1e-4)


def test_a_regulariser_is_told_where_objects_are(net, batch):
    """[B, K, N] of frame 0 from the true mask; for frame 2 also the cells of frame 1, from the predicted one."""
    told = []

    def spy(scores, support):
        told.append((scores.detach(), support))
        return scores.softmax(dim=1)

    labels, objects = batch["labels"], batch["objects"]
    with torch.no_grad():
        first, _ = predict(net, batch["frames"], labels, objects, spy)
    numbers = torch.arange(1, 3)[:, None, None]
    truth = support_cells(((labels[:, :1] == numbers) & objects[:, :, None, None]).float())  # [B, K, N]
    answer = support_cells(first.softmax(dim=1)[:, 1:] * objects[:, :, None, None])
    assert [list(scores.shape) for scores, _ in told] == [[2, 16, 16], [2, 32, 16]]
    assert all(scores.max() < 1e-3 for scores, _ in told)  # negative distances
    assert torch.equal(told[0][1], truth)
    assert torch.equal(told[1][1], torch.cat([truth, answer], dim=2))


@pytest.mark.parametrize(
    "regulariser",
    [
        lambda scores, support: drop(scores, torch.ones_like(scores, dtype=torch.bool), "mask_inf"),
        lambda scores, support: drop(scores, torch.rand_like(scores) < 0.95, "mask_inf"),
        lambda scores, support: Reallocation("post_softmax")(scores, torch.zeros_like(support)),
        lambda scores, support: Reallocation("post_softmax", "open")(scores, torch.zeros_like(support)),
        Reallocation("post_softmax"),
        Reallocation("literal"),
        Reallocation("post_softmax", "open"),
        Reallocation("literal", "ranked"),
    ],
    ids=[
        "everything dropped",
        "nearly everything dropped",
        "closed, objects without a cell",
        "open, objects without a cell",
        "post_softmax",
        "literal",
        "post_softmax open",
        "literal ranked",
    ],
)
def test_gradients_stay_finite(net, batch, regulariser):
    task = ablation.task(TINY, "base", 0)
    task.regulariser = regulariser
    loss = task.loss(net, batch, 0)["loss"].mean()
    loss.backward()
    gradients = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


def test_dropout_is_off_at_test_time_and_reallocation_is_on(monkeypatch, start):
    """Each arm's score is that of its own network, read plainly or with reallocation; no connection is dropped."""
    acting = {
        "base": None,
        "dropout": None,
        "reallocation": Reallocation("post_softmax", "closed"),
        "reallocation_open": Reallocation("post_softmax", "open"),
    }
    nets = {arm: ablation.train_arm(TINY, arm, 0, start) for arm in acting}

    def forbidden(self, scores, support=None):
        raise AssertionError("dropout at test time")

    monkeypatch.setattr(AffinityDropout, "__call__", forbidden)
    multi, single = ablation.held_out(TINY, 0)
    for arm, read in acting.items():
        scores = ablation.arm_scores(TINY, arm, 0, start)
        by_hand = [ablation.per_clip(ablation.score(nets[arm], clips, TINY, read)) for clips in (multi, single)]
        np.testing.assert_array_equal(scores.JF, np.concatenate(by_hand))
        assert scores.multi.model == ("SpaceTimeSegmenter" if read is None else "ReallocationSegmenter")


def test_both_ways_to_read_differ_in_the_reallocation_alone(monkeypatch, net):
    """With ranks that do nothing, reallocation at test time gives the scores of the plain memory."""
    clips, _ = ablation.held_out(TINY, 0)
    plain = ablation.score(net, clips, TINY, None)
    changed = ablation.score(net, clips, TINY, Reallocation())
    monkeypatch.setattr(reallocation, "reallocate", lambda scores, mode, support, background: scores)
    unchanged = ablation.score(net, clips, TINY, Reallocation())
    np.testing.assert_allclose(ablation.per_clip(unchanged), ablation.per_clip(plain), atol=1e-3)
    assert np.abs(ablation.per_clip(changed) - ablation.per_clip(plain)).max() > 2e-3


def test_reallocation_at_test_only_takes_the_whole_memory(start, net):
    """Unless told otherwise: the trained base, read with the equation as printed and nothing closed."""
    clips = ablation.held_out(TINY, 0)
    trained = ablation.train_arm(TINY, "base", 0, start)
    by_hand = [
        ablation.per_clip(ablation.score(trained, each, TINY, Reallocation("literal", "ranked"))) for each in clips
    ]
    switched, _ = ablation.at_test_only(TINY, 0, start)
    np.testing.assert_array_equal(switched, np.concatenate(by_hand))
    closed, _ = ablation.at_test_only(TINY, 0, start, background="closed")
    assert not np.array_equal(switched, closed)


def test_held_out_clips():
    """As many with several objects as with one; all there in frame 0; the same again, others for another seed."""
    multi, single = ablation.held_out(TINY, 0)
    assert len(multi) == len(single) == TINY.eval_clips
    for clips, counts in ((multi, [3, 4]), (single, [1, 1])):
        for clip, count in zip(clips.clips, counts):
            assert clip.frames.shape == (TINY.eval_frames, 3, TINY.eval_size, TINY.eval_size)
            pixels = clip.labels[0].flatten().bincount()[1:]
            assert len(pixels) == count and pixels.min() >= TINY.min_pixels
            assert clip.labels.max() == count
    again, _ = ablation.held_out(TINY, 0)
    other, _ = ablation.held_out(TINY, 1)
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(multi.clips, again.clips))
    assert not {clip.name for clip in multi.clips} & {clip.name for clip in other.clips}
    seeds = lambda clips: {clip.name.rsplit("-", 1)[1] for clip in clips}  # noqa: E731
    trained_on = ablation.task(TINY, "base", 0).clips.clips
    assert not seeds(multi.clips + single.clips) & seeds(trained_on)


def test_too_few_usable_clips_are_an_error():
    with pytest.raises(InputError, match="2 are needed; lower min_pixels or enlarge eval_size"):
        ablation.held_out(replace(TINY, min_pixels=3000, eval_frames=2), 0)


def test_everything_is_computed_once(monkeypatch, start):
    """All comparisons of a random seed: four trainings, and six evaluations of two sets."""
    config = replace(TINY, eval_frames=2, eval_clips=1, lr=2e-4)
    counts = {"fit": 0, "evaluate": 0}
    for name in counts:
        original = getattr(ablation, name)

        def counted(*args, name=name, original=original, **named):
            counts[name] += 1
            return original(*args, **named)

        monkeypatch.setattr(ablation, name, counted)
    for _ in range(2):
        dropped, base = ablation.dropout_and_base(config, 0, start)
        reallocated, base_again = ablation.reallocation_and_base(config, 0, start)
        opened, base_opened = ablation.reallocation_open_and_base(config, 0, start)
        multi, single = ablation.multi_and_single(config, 0, start)
        literal, base_at_test = ablation.at_test_only(config, 0, start)
        ablation.at_test_only(config, 0, start, "post_softmax", "open")
        assert counts == {"fit": 4, "evaluate": 12}
    assert len(dropped) == len(reallocated) == len(opened) == len(literal) == 2 * config.eval_clips
    assert len(multi) == len(single) == config.eval_clips
    np.testing.assert_array_equal(base, base_again)
    np.testing.assert_array_equal(base, base_opened)
    np.testing.assert_array_equal(base, base_at_test)
    np.testing.assert_allclose(np.concatenate([multi, single]), (dropped + opened) / 2 - base)


def test_harm_by_hand(monkeypatch):
    """Two clips of each kind. With several objects dropout costs 0.2 and open reallocation 0.4, with one 0 and 0.1.

    Closed reallocation, which loses nearly everything, does not count.
    """

    def report(*values):
        return SimpleNamespace(sequences=[SimpleNamespace(JF=value) for value in values])

    made = {
        "base": ablation.ArmScores(report(0.9, 0.7), report(0.8, 0.6)),
        "dropout": ablation.ArmScores(report(0.7, 0.5), report(0.8, 0.6)),
        "reallocation": ablation.ArmScores(report(0.1, 0.1), report(0.0, 0.0)),
        "reallocation_open": ablation.ArmScores(report(0.5, 0.3), report(0.7, 0.5)),
    }
    monkeypatch.setattr(ablation, "arm_scores", lambda preset, arm, seed, start: made[arm])
    multi, single = ablation.multi_and_single("smoke", 0)
    np.testing.assert_allclose(multi, [-0.3, -0.3])
    np.testing.assert_allclose(single, [-0.05, -0.05])
    dropped, base = ablation.dropout_and_base("smoke", 0)
    np.testing.assert_allclose(dropped - base, [-0.2, -0.2, 0, 0], atol=1e-12)


def test_missing_weights_and_unknown_names(tmp_path):
    with pytest.raises(MissingDataError, match=r"nothing\.safetensors.*train them with `course train stcn-small`"):
        ablation.dropout_and_base(TINY, 0, tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="base, dropout, reallocation, reallocation_open; got 'both'"):
        ablation.arm_scores(TINY, "both", 0)
    with pytest.raises(InputError, match="smoke, cpu, gpu"):
        ablation.dropout_and_base("tpu", 0)
    with pytest.raises(InputError, match="multiple of 16"):
        replace(TINY, size=60)
    with pytest.raises(InputError, match="3 frames to train on"):
        replace(TINY, train_frames=2)
