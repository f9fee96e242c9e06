"""Every scheme trains on what its curriculum says, for as long as all others, and is tested without the agent."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from course_lib.data.digits import ClutterConfig
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.curriculum import Augmentation, FixedSteps, GivenSteps, MixedBatch
from course_lib.methods.spatial_transformer.curriculum_schemes import CurriculumConfig, Scheme, scheme
from course_lib.methods.spatial_transformer.curriculum_training import (
    ViewTask,
    classified,
    difficulty_by_step,
    make_data,
    new_classifier,
    percent,
    train_scheme,
)
from course_lib.methods.spatial_transformer.digit_parts import DigitImages
from course_lib.methods.spatial_transformer.geometry import view
from course_lib.methods.spatial_transformer.networks import BodyConfig
from course_lib.methods.spatial_transformer.policies import AgentConfig, Policy
from course_lib.methods.spatial_transformer.trajectories import OraclePolicy, record, views_at, wander
from course_lib.training.samples import collate, sample_rng

ALL = ("originals", "augmented", "mixed 4", "dynamic", "linear", "cosine", "exponential", "processed")
SIDE = 20
SMALL = replace(
    CurriculumConfig.preset("smoke"),
    clutter=ClutterConfig(canvas=SIDE, n_clutter=2, clutter_size=3, sprite=10),
    train_images=100, validation_images=20, test_images=30, batch_size=16, body=BodyConfig((4,), (3,), 2, 1, 8),
)  # fmt: skip
MOVES = ActionSet.curriculum(SIDE)


@pytest.fixture(scope="module")
def data():
    return make_data(SMALL, seed=5)


def batch_of(task, step, size=16):
    return collate([task.sample(i, step, sample_rng(0, i)) for i in range(step * size, (step + 1) * size)])


def task_of(data, curriculum, episodes=(), augmentation=None, epochs=4, size=16):
    return ViewTask(Scheme("test", curriculum, augmentation), data.train, episodes, epochs, size, seed=0)


def test_schemes_by_name():
    config = CurriculumConfig.preset("gpu")
    assert scheme("mixed 16", config).curriculum == MixedBatch(40, 16)
    assert scheme("originals", config).curriculum.longest == 0
    assert scheme("augmented", config).augmentation == Augmentation()
    assert scheme("processed", config).curriculum.steps(0, 2).tolist() == [40, 40]
    linear, one = scheme("linear", config).curriculum, scheme("linear", config, longest=1).curriculum
    assert [linear.depth(e) for e in (0, 37, 199, 200)] == [40, 33, 1, 0]
    assert [one.depth(e) for e in (0, 4, 5)] == [1, 1, 0], "the pace is that of the long one"
    assert scheme("dynamic", config).curriculum.processed(10) == 54
    with pytest.raises(InputError, match="unknown scheme 'mixed four'"):
        scheme("mixed four", config)
    with pytest.raises(InputError, match="longest must be 1 … 40, got 41"):
        scheme("linear", config, longest=41)


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu"])
def test_every_schedule_ends_on_originals_before_training_does(preset):
    """A gain or a loss would otherwise be that of a schedule cut short."""
    config = CurriculumConfig.preset(preset)
    for name in ("dynamic", "linear", "cosine", "exponential"):
        last = config.epochs - 1
        assert not scheme(name, config).curriculum.steps(last, 64).any(), name


def test_senseless_configs_are_refused():
    with pytest.raises(InputError, match="unknown preset 'huge'; use one of smoke, cpu, gpu"):
        CurriculumConfig.preset("huge")
    with pytest.raises(InputError, match="epochs must be positive"):
        CurriculumConfig(epochs=0)
    with pytest.raises(InputError, match="an update per epoch"):
        CurriculumConfig(train_images=10)


def test_a_pass_shows_every_image_once_and_all_schemes_the_same_ones(data):
    one, other = task_of(data, FixedSteps(0)), task_of(data, FixedSteps(2), (wander(100, MOVES, 3),))
    seen = [int(one.sample(i, i // 16, sample_rng(0, i))["image"]) for i in range(200)]
    assert sorted(seen[:100]) == sorted(seen[100:]) == list(range(100))
    assert seen == [int(other.sample(i, i // 16, sample_rng(0, i))["image"]) for i in range(200)]


def test_a_batch_holds_what_the_curriculum_says(data):
    episodes = (wander(100, MOVES, 3),)
    mixed = task_of(data, MixedBatch(3, 5), episodes)
    for step in (0, 7):
        assert batch_of(mixed, step)["steps"].bincount(minlength=4).tolist() == [11, 0, 0, 5]
    falling = task_of(data, GivenSteps((3, 1, 0)), episodes)
    epochs = [step * 16 // 100 for step in range(24)]
    for step, epoch in enumerate(epochs):  # a batch across two passes belongs to the first of them
        assert batch_of(falling, step)["steps"].tolist() == [(3, 1, 0, 0)[epoch]] * 16


def test_the_loss_is_that_of_the_views(data):
    first, second = wander(100, MOVES, 3, seed=1), wander(100, MOVES, 3, seed=2)
    task = task_of(data, MixedBatch(3, 5), (first, second))
    model = new_classifier(SMALL, 0)
    for step, episodes in ((0, first), (6, first), (7, second), (13, first)):  # passes end after 6.25 updates
        batch = batch_of(task, step)
        images, labels, _ = data.train.take(batch["image"])
        seen = views_at(images, episodes.matrices[batch["image"]], batch["steps"])
        expected = F.cross_entropy(model(seen), labels, reduction="none")
        losses = task.loss(model, batch, step)
        assert torch.allclose(losses["loss"], expected, atol=1e-5)
        assert torch.equal(losses["accuracy"], (model(seen).argmax(1) == labels).float())


def test_augmentation_shows_random_affine_views(data):
    task = task_of(data, FixedSteps(0), augmentation=Augmentation(20, 0.2))
    model, batch = new_classifier(SMALL, 0), batch_of(task, 0)
    images, labels, _ = data.train.take(batch["image"])
    assert len({tuple(matrix.flatten().tolist()) for matrix in batch["affine"]}) == 16
    expected = F.cross_entropy(model(view(images, batch["affine"])), labels, reduction="none")
    assert torch.allclose(task.loss(model, batch, 0)["loss"], expected, atol=1e-5)
    assert "affine" not in batch_of(task_of(data, FixedSteps(0)), 0)


def test_all_schemes_get_the_same_number_of_updates(data):
    episodes = (wander(100, MOVES, 3),)
    runs = [train_scheme(scheme(name, SMALL), SMALL, data, episodes, device="cpu") for name in ALL]
    assert {run.epochs[-1] for run in runs} == {SMALL.epochs}
    assert {len(run.curve) for run in runs} == {2}
    assert all(0 <= run.accuracy <= 100 and run.correct.shape == (30,) for run in runs)
    ends = [torch.cat([w.flatten() for w in run.classifier.parameters()]) for run in runs]
    assert torch.equal(ends[4], ends[5]), "with three moves in three epochs, linear and cosine are the same"
    assert len({tuple(end.tolist()) for end in ends}) == len(ALL) - 1, "other schemes, other classifiers"
    again = train_scheme(scheme("linear", SMALL), SMALL, data, episodes, device="cpu")
    assert torch.equal(torch.cat([w.flatten() for w in again.classifier.parameters()]), ends[4])


def test_the_agent_is_never_asked_after_its_episodes_are_recorded(data, monkeypatch):
    """Test images are originals; nothing of the agent is left in training or evaluation."""
    policy = Policy(AgentConfig(SMALL.body, memory=4), (1, SIDE, SIDE), len(MOVES))
    episodes = record(policy, data.train.images, MOVES, 3)

    def refuse(*_):
        raise AssertionError("the agent was asked")

    monkeypatch.setattr(Policy, "forward", refuse)
    monkeypatch.setattr(Policy, "_answer", refuse)
    monkeypatch.setattr(OraclePolicy, "__call__", refuse)
    with pytest.raises(AssertionError, match="the agent was asked"):
        record(policy, data.train.images, MOVES, 3)
    run = train_scheme(scheme("linear", SMALL), SMALL, data, (episodes,), device="cpu")
    with torch.no_grad():
        direct = run.classifier(data.test.images.float() / 255).argmax(dim=1) == data.test.labels
    assert torch.equal(run.correct, direct)


def test_classified_looks_through_matrices_where_they_are_given(data):
    model = new_classifier(SMALL, 1).train()
    matrices = wander(30, MOVES, 3).after(3)
    warped = view(data.test.images.float() / 255, matrices)
    with torch.no_grad():
        expected = model(warped).argmax(dim=1) == data.test.labels
    assert torch.equal(classified(model, data.test, matrices), expected)
    assert model.training


def test_parts_share_no_image(data):
    parts = (data.train, data.validation, data.test)
    rows = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    again = make_data(SMALL, seed=5)
    assert torch.equal(again.train.images, data.train.images)


@pytest.mark.parametrize(
    ("name", "episodes", "message"),
    [
        ("linear", (), "pass their trajectories"),
        ("linear", (wander(100, MOVES, 2),), "needs 3 moves of 100 images; got 2 moves of 100"),
        ("processed", (wander(99, MOVES, 3),), "needs 3 moves of 100 images; got 3 moves of 99"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(data, name, episodes, message):
    with pytest.raises(InputError, match=message):
        train_scheme(scheme(name, SMALL), SMALL, data, episodes, device="cpu")


def test_other_images_than_the_config_counts_are_refused(data):
    fewer = replace(
        data, train=DigitImages(*(t[:50] for t in (data.train.images, data.train.labels, data.train.boxes)))
    )
    with pytest.raises(InputError, match="100 training images, got 50"):
        train_scheme(scheme("originals", SMALL), SMALL, fewer, device="cpu")


def test_easier_views_and_the_wrong_distribution():
    """Perfect views are easier for a new classifier, and do not teach it originals; at any size."""
    config = replace(
        SMALL, clutter=ClutterConfig(canvas=SIDE, n_clutter=1, clutter_size=3, sprite=10), train_images=600,
        test_images=500, epochs=20, longest=8, batch_size=32, lr=5e-3, body=BodyConfig((8,), (5,), pool=4, hidden=32),
    )  # fmt: skip
    data = make_data(config, seed=1)
    oracle = OraclePolicy(ActionSet.curriculum(SIDE, 2.0), (SIDE, SIDE))
    train, test = oracle.record(data.train.boxes, 8), oracle.record(data.test.boxes, 8)
    hard, easy = difficulty_by_step(config, data, train, test, (0, 8), device="cpu")
    assert easy > hard + 20  # measured: 86 and 43 %
    finished_only = train_scheme(scheme("processed", config), config, data, (train,), device="cpu")
    assert finished_only.accuracy < hard - 15  # measured: 14 %, near chance
    assert percent(classified(finished_only.classifier, data.test, test.after(8))) == easy, "the same classifier"
