"""Small segmenters in training: what they learn from, how losses weigh, and runs that resume, score and load again."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from course_lib.commands import research
from course_lib.data.camvid import CAMVID_CLASSES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.icnet import AUXILIARY, ICNet
from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.load import build_segmenter, class_names, load_segmenter
from course_lib.methods.propagation.scoring import ClassScores, score_frames
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_config import SEGMENTERS, SegmenterTraining
from course_lib.methods.propagation.train_data import (
    AugmentedFrames,
    FramePool,
    camvid_pool,
    class_frequencies,
    driving_pool,
    held_out_pool,
)
from course_lib.methods.propagation.train_segmenter import new_segmenter, parameter_groups, train_segmenter
from course_lib.methods.propagation.train_task import SegmenterTask, class_weights, weighted_cross_entropy
from course_lib.training import FitConfig, fit
from course_lib.training.augment import Augment
from course_lib.training.cards import load_card

SMOKE = SegmenterTraining.preset("smoke", "icnet-small-driving")


@pytest.fixture(scope="module")
def pool():
    return driving_pool(2, 2, (64, 96), seed=3)


@pytest.fixture
def camvid(tmp_path):
    """Three frames to train on and two to test on, split into two classes, with a corner of void."""
    root = tmp_path / "data" / "CamVid"
    for split, numbers in (("train", (30, 60, 90)), ("val", (7, 9))):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number in numbers:
            Image.new("RGB", (120, 90), (number, 90, 20)).save(root / split / f"0016E5_{number:05d}.png")
            truth = Image.new("L", (120, 90), 3)
            truth.paste(8, (0, 0, 60, 90))
            truth.paste(11, (0, 0, 10, 10))
            truth.save(root / f"{split}annot" / f"0016E5_{number:05d}.png")
    return root.parent


def test_weighted_cross_entropy_by_hand():
    """Two pixels of one sample, a third ignored: the weighted mean of -ln p, divided by the sample's own weights."""
    logits = torch.tensor([[[[0.0, 1.0, 9.0]], [[0.0, 0.0, 0.0]]]])  # [1, 2, 1, 3]
    labels = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    weights = torch.tensor([2.0, 3.0])
    by_hand = (2 * math.log(2) + 3 * math.log(1 + math.e)) / 5
    assert float(weighted_cross_entropy(logits, labels, weights)) == pytest.approx(by_hand)
    nothing = torch.full_like(labels, 255)
    assert float(weighted_cross_entropy(logits, nothing, weights)) == 0
    both = weighted_cross_entropy(torch.cat([logits, logits]), torch.cat([labels, nothing]), weights)
    torch.testing.assert_close(both, torch.tensor([by_hand, 0.0]))
    with pytest.raises(InputError, match="do not fit"):
        weighted_cross_entropy(logits, labels, torch.ones(3))


def test_weighted_cross_entropy_equals_the_built_in_one_sample_by_sample():
    torch.manual_seed(0)
    logits, weights = torch.randn(3, 5, 7, 6), torch.rand(5) + 0.5
    labels = torch.randint(0, 5, (3, 7, 6), dtype=torch.uint8)
    labels[torch.rand(3, 7, 6) < 0.2] = 255
    each = [F.cross_entropy(logits[b, None], labels[b, None].long(), weights, ignore_index=255) for b in range(3)]
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights), torch.stack(each))


def test_class_weights_and_frequencies():
    weights = class_weights(torch.tensor([1.0, 0.0]))
    assert weights.tolist() == pytest.approx([1 / math.log(2.1), 1 / math.log(1.1)])
    with pytest.raises(InputError, match="shares in"):
        class_weights(torch.tensor([1.5]))
    labels = torch.tensor([[0, 0, 2], [255, 0, 255]], dtype=torch.uint8)
    assert class_frequencies(labels, 3).tolist() == [0.75, 0, 0.25]
    with pytest.raises(InputError, match="found class 2"):
        class_frequencies(labels, 2)
    with pytest.raises(InputError, match="no labelled pixel"):
        class_frequencies(torch.full((2, 2), 255, dtype=torch.uint8), 3)


def test_pools_of_drives_hold_the_world_and_differ_by_seed(pool):
    again, other = driving_pool(2, 2, (64, 96), seed=3), driving_pool(2, 2, (64, 96), seed=4)
    assert torch.equal(pool.frames, again.frames) and torch.equal(pool.labels, again.labels)
    assert not torch.equal(pool.frames, other.frames)
    assert len(pool) == 4 and pool.size == (64, 96) and pool.class_names == STREET_CLASSES
    assert float(pool.frequencies().sum()) == pytest.approx(1)
    held_out = held_out_pool(SMOKE)
    assert len(held_out) == 2 and "held-out drives (2 clips)" in held_out.name


def test_samples_are_whole_frames_without_changes_and_follow_from_their_generator(pool):
    plain = AugmentedFrames(pool, Augment.none(), pool.size)
    seen = set()
    for index in range(4):
        sample = plain(index, np.random.default_rng(index))
        item = next(i for i in range(4) if torch.equal(sample["labels"], pool.labels[i]))
        torch.testing.assert_close(sample["frames"], pool.frames[item].float() / 255, atol=1e-5, rtol=0)
        seen.add(item)
    assert seen == {0, 1, 2, 3}  # each once per epoch
    changing = AugmentedFrames(pool, SMOKE.augment, (64, 96))
    one, same, other = (changing(5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one["frames"], same["frames"]) and torch.equal(one["labels"], same["labels"])
    assert not torch.equal(one["frames"], other["frames"])


def test_what_a_crop_shows_beyond_the_frame_is_ignored_and_255_stays():
    labels = torch.full((1, 64, 64), 7, dtype=torch.uint8)
    labels[0, :, :32] = 255
    pool = FramePool(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), labels, STREET_CLASSES, "made up")
    shrunk = Augment(0.0, (1.0, 1.0), 1.0, *[0.0] * 5, zoom=0.5, shift=0.0)
    for seed in range(8):
        found = AugmentedFrames(pool, shrunk, (64, 64))(0, np.random.default_rng(seed))["labels"]
        assert set(found.unique().tolist()) == {7, 255}
    corner = [AugmentedFrames(pool, shrunk, (64, 64))(0, np.random.default_rng(s))["labels"][0, -1] for s in range(12)]
    assert {int(value) for value in corner} == {7, 255}  # shrunk: beyond the frame; enlarged: inside


@pytest.mark.parametrize("name", ["icnet-small", "lite"])
def test_the_loss_is_one_number_a_sample_and_falls_on_one_batch(name, pool):
    torch.manual_seed(0)
    network = build_segmenter(name, len(STREET_CLASSES))
    task = SegmenterTask(AugmentedFrames(pool, Augment.none(), pool.size), class_weights(pool.frequencies()))
    batch = {
        key: torch.stack([task.sample(i, 0, np.random.default_rng(i))[key] for i in range(2)])
        for key in ("frames", "labels")
    }
    losses = task.loss(network.train(), batch, 0)
    assert losses["loss"].shape == (2,) and set(losses) == ({"loss", "fine"} if name != "lite" else {"loss"})
    config = FitConfig(steps=8, batch_size=2, lr=3e-3, freeze_batch_norm=False, log_every=2)
    curve = fit(network, task, config, device="cpu", progress=False).curve()[1]
    assert curve[-1] < 0.9 * curve[0]
    with pytest.raises(InputError, match="trains a FrameSegmenter, got Linear"):
        task.loss(torch.nn.Linear(1, 1), batch, 0)


def test_icnet_is_supervised_at_three_grids(pool):
    """The loss is that of every pixel plus 0.4 of either coarser grid, whose labels sit at the centres of cells."""
    torch.manual_seed(0)
    network = build_segmenter("icnet-small", len(STREET_CLASSES)).eval()
    assert isinstance(network, ICNet)
    weights = torch.ones(len(STREET_CLASSES))
    frames, labels = pool.frames.float() / 255, pool.labels
    losses = SegmenterTask(AugmentedFrames(pool, SMOKE.augment, (64, 96)), weights).loss(
        network, {"frames": frames, "labels": labels}, 0
    )
    fine, middle, coarse = network.training_logits(frames)
    whole = F.interpolate(fine, (64, 96), mode="bilinear", align_corners=False)
    parts = [F.cross_entropy(whole, labels.long(), reduction="none").mean((1, 2))]
    for logits, step in ((middle, 4), (coarse, 8)):
        parts.append(
            F.cross_entropy(logits, labels[:, step // 2 :: step, step // 2 :: step].long(), reduction="none").mean(
                (1, 2)
            )
        )
    expected = sum(weight * part for weight, part in zip(AUXILIARY, parts))
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(losses["fine"], parts[0])


class Painter(FrameSegmenter):
    """Answers class 1 where a frame is red, else class 0."""

    def __init__(self):
        super().__init__(2, stride=2, logits_stride=1, features_stride=2, features_channels=1)

    def encode(self, frames):
        return frames[:, :1, ::2, ::2]

    def decode(self, features, frames=None):
        return torch.stack([1 - frames[:, 0], frames[:, 0]], dim=1)


def test_scores_by_hand():
    """Four pixels: one right as class 1, two right as class 0, one of class 0 called 1, one unknown left out."""
    frames = torch.zeros(1, 3, 1, 5, dtype=torch.uint8)
    frames[0, 0, 0] = torch.tensor([255, 255, 0, 0, 255])
    labels = torch.tensor([[[1, 0, 0, 0, 255]]], dtype=torch.uint8)
    scores = score_frames(Painter(), FramePool(frames, labels, ("back", "red"), "made up"))
    assert scores.counts.tolist() == [[2, 1], [0, 1]]
    assert scores.iou.tolist() == pytest.approx([2 / 3, 1 / 2])
    assert scores.metrics("x") == {"mIoU, x": 58.33, "IoU of back, x": 66.67, "IoU of red, x": 50.0}
    nowhere = ClassScores(("back", "red", "never"), torch.tensor([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
    assert nowhere.mean_iou == pytest.approx(7 / 12) and "IoU of never, x" not in nowhere.metrics("x")
    assert "red" in str(scores)
    with pytest.raises(InputError, match="has 3 classes, this Painter has 2"):
        score_frames(Painter(), FramePool(frames, labels, ("a", "b", "c"), "made up"))


def test_smoke_run_writes_weights_and_card_and_reloads_to_the_same_answers(tmp_path):
    made = train_segmenter("icnet-small-driving", "smoke", tmp_path, device="cpu", progress=False)
    assert made.weights.name == "icnet-small-driving.safetensors" and made.weights.stat().st_size < 6_000_000
    card = load_card(made.weights)
    assert card.command == "course train icnet-small-driving --preset smoke --seed 0" and card.licence == "MIT"
    assert card.metrics == made.scores.metrics("held-out drives (2 clips)") and card.budget == "2 steps of 2 frames"
    loaded = load_segmenter("icnet-small-driving", made.weights, "cpu")
    frames = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        before, after = made.network.segment(frames), loaded.segment(frames)
    assert torch.equal(before.logits, after.logits) and after.logits.shape == (1, 12, 50, 70)
    assert torch.equal(score_frames(loaded, held_out_pool(SMOKE)).counts, made.scores.counts)


def test_a_run_that_lost_its_last_step_gives_the_same_bytes(tmp_path):
    config = replace(SMOKE, steps=4)
    whole = train_segmenter("icnet-half-driving", config, tmp_path / "whole", seed=5, device="cpu", progress=False)
    folder = tmp_path / "cut"
    train_segmenter("icnet-half-driving", config, folder, seed=5, device="cpu", progress=False)
    max((folder / "checkpoints").iterdir(), key=lambda path: path.name).unlink()
    cut = train_segmenter("icnet-half-driving", config, folder, seed=5, device="cpu", progress=False)
    assert "resumed at step 2 of 4" in (folder / "log.txt").read_text()
    assert cut.weights.read_bytes() == whole.weights.read_bytes()
    assert [row["loss"] for row in cut.fit.rows] == [row["loss"] for row in whole.fit.rows]
    with pytest.raises(InputError, match="other settings"):
        train_segmenter("icnet-half-driving", config, folder, seed=6, device="cpu", progress=False)


def test_camvid_trains_from_its_folders_and_says_that_its_split_is_optimistic(tmp_path, camvid):
    made = train_segmenter(
        "lite-camvid", "smoke", tmp_path / "run", data_root=camvid, device="cpu", progress=False, length=0.5
    )
    assert (
        made.card.data[0].name == "CamVid" and "optimistic" in made.card.notes and made.card.budget.startswith("1 step")
    )
    assert made.card.command.endswith("--length 0.5 --seed 0") and "mIoU, CamVid val (2 frames)" in made.card.metrics
    assert made.scores.counts.sum() == 2 * (120 * 90 - 100)  # without void
    assert load_segmenter("lite-camvid", made.weights, "cpu").classes == 11
    assert camvid_pool("train", camvid).frequencies()[3] > 0.4
    with pytest.raises(MissingDataError, match="camvid"):
        train_segmenter("lite-camvid", "smoke", tmp_path / "none", data_root=tmp_path, device="cpu", progress=False)
    Image.new("RGB", (60, 90)).save(camvid / "CamVid" / "train" / "0006R0_f00930.png")
    Image.new("L", (60, 90)).save(camvid / "CamVid" / "trainannot" / "0006R0_f00930.png")
    with pytest.raises(InputError, match="bring all frames to one size"):
        camvid_pool("train", camvid)


def test_a_trained_trunk_learns_slowly_and_every_weight_learns_once():
    config = replace(SegmenterTraining.preset("cpu", "lite-driving"), trunk_lr=0.25)
    network = new_segmenter(config, 0)
    rest, trunk = parameter_groups(network, config)
    assert isinstance(network, LiteSegmenter) and trunk["lr_scale"] == 0.25
    ids = [id(weight) for group in (rest, trunk) for weight in group["params"]]
    assert sorted(ids) == sorted(id(weight) for weight in network.parameters())
    assert {id(w) for w in trunk["params"]} == {id(w) for w in network.pyramid.parameters()}
    plain = replace(config, imagenet=False)
    assert len(parameter_groups(new_segmenter(plain, 0), plain)) == 1
    one, same, other = (new_segmenter(SMOKE, seed) for seed in (1, 1, 2))
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters()))
    assert all(torch.equal(a, b) for a, b, _ in pairs) and not all(torch.equal(a, c) for a, _, c in pairs)


def test_presets_and_names():
    for name in SEGMENTERS:
        for preset in ("smoke", "cpu", "gpu"):
            config = SegmenterTraining.preset(preset, name)
            assert config.class_names == class_names(name)
            assert build_segmenter(config.network, 3).classes == 3 or config.network == "icnet"
    assert class_names("lite-camvid") == CAMVID_CLASSES and class_names("lite-driving") == STREET_CLASSES
    published = SegmenterTraining.preset("gpu", "icnet-small-driving")
    assert (published.network, published.optimizer, published.schedule.power) == ("icnet", "sgd", 0.9)
    with pytest.raises(InputError, match="unknown segmenter 'erfnet'; there are icnet-small-driving"):
        SegmenterTraining.preset("cpu", "erfnet")
    with pytest.raises(InputError, match="unknown preset 'huge'"):
        SegmenterTraining.preset("huge", "lite-driving")
    for changes, message in (
        ({"steps": 0}, "steps, batch_size"),
        ({"size": (60, 96)}, "multiples of 32"),
        ({"network": "erfnet"}, "network must be one of"),
        ({"data": "kitti"}, "'driving' or 'camvid'"),
    ):
        with pytest.raises(InputError, match=message):
            replace(SMOKE, **changes)
    with pytest.raises(InputError, match="length is a share"):
        SMOKE.shortened(0)


def test_weights_that_are_not_there_and_networks_that_are_not_known(tmp_path):
    with pytest.raises(MissingDataError, match="train them with `course train lite-driving`"):
        load_segmenter("lite-driving", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="unknown network 'fcn'"):
        build_segmenter("fcn", 3)


def test_the_command_trains_a_segmenter(tmp_path, capsys):
    command = research.Train("icnet-half-driving", preset="smoke", run=tmp_path, device="cpu", length=0.5)
    assert command() == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "icnet-half-driving.safetensors") in printed and "mIoU, held-out drives" in printed
