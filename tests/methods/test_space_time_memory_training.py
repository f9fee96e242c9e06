"""Training the small space-time memory network: what it learns from, what it must not see, and what comes out."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.clip import Clip
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory import SMALL, STCN
from course_lib.methods.space_time_memory.experiment import parameter_groups, score_clips, train_small
from course_lib.methods.space_time_memory.load import load_stcn_small
from course_lib.methods.space_time_memory.train_config import Stage, TrainingConfig
from course_lib.methods.space_time_memory.train_data import (
    KEPT_OUT,
    SelectionClips,
    held_out_world,
    kept_out,
    mixed,
    render,
    training_data,
    training_sequences,
)
from course_lib.methods.space_time_memory.train_task import SpaceTimeTask, predict
from course_lib.training import FitConfig, LearningRate, fit
from course_lib.training.augment import Augment
from course_lib.training.cards import load_card
from course_lib.training.clips import ClipConfig, ClipSamples
from course_lib.vos.aggregate import aggregation_logits

SMOKE = TrainingConfig.preset("smoke")
STAGE = SMOKE.stages[0]


@pytest.fixture
def no_real_data(monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)


@pytest.fixture(scope="module")
def batch():
    """Two samples of 48x48: one with two objects, one with one."""
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.uniform(size=(2, 3, 3, 48, 48))).float()
    labels = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
    labels[:, :, 8:28, 8:28] = 1
    labels[0, :, 30:44, 20:44] = 2
    return {"frames": frames, "labels": labels, "objects": torch.tensor([[True, True], [True, False]])}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return STCN(SMALL, imagenet=True)


@pytest.fixture
def task():
    clips = render(2, 6, 64, seed=0)
    samples = ClipSamples(clips, ClipConfig(size=(64, 64), min_pixels=16))
    return SpaceTimeTask(STAGE, samples, samples)


def square_clip() -> Clip:
    """A striped square that walks over a smooth background."""
    rng = np.random.default_rng(3)
    ramp = torch.linspace(60, 120, 64).expand(3, 64, 64)
    frames, labels = ramp.clone().repeat(6, 1, 1, 1), torch.zeros(6, 64, 64, dtype=torch.uint8)
    stripes = torch.from_numpy(rng.integers(140, 255, (3, 24, 1))).float().expand(3, 24, 24)
    for t in range(6):
        frames[t, :, 12 : 12 + 24, 6 + 5 * t : 30 + 5 * t] = stripes
        labels[t, 12 : 12 + 24, 6 + 5 * t : 30 + 5 * t] = 1
    return Clip(frames.to(torch.uint8), labels, "square")


@pytest.fixture
def davis(tmp_path):
    """Two usable sequences beside the kept-out ones, whose files are no pictures."""
    root = tmp_path / "DAVIS-2016"
    for name in ("walker", "runner", *KEPT_OUT):
        frames, labels = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
        frames.mkdir(parents=True)
        labels.mkdir(parents=True)
        for t in range(4):
            if name in KEPT_OUT:
                (frames / f"{t:05d}.jpg").write_bytes(b"not to be read")
                (labels / f"{t:05d}.png").write_bytes(b"not to be read")
                continue
            mask = np.zeros((64, 80), np.uint8)
            mask[10:40, 10 + 5 * t : 40 + 5 * t] = 255
            Image.fromarray(np.repeat(mask[..., None] // 2 + 60, 3, axis=2)).save(frames / f"{t:05d}.jpg")
            Image.fromarray(mask).save(labels / f"{t:05d}.png")
    return root


def test_network_learns_a_clip_by_heart_and_loss_falls():
    """Memorised in 60 steps: the session that users run then follows the object with J > 0.9."""
    clip = square_clip()
    stage = Stage("video", 60, 2, 1e-3, LearningRate("cosine", warmup=0.1), still_share=0.0, gaps=(1, 3))
    plain = ClipConfig(size=(64, 64), augment=Augment.none(), objects=1)
    task = SpaceTimeTask(stage, ClipSamples([clip], plain), ClipSamples([clip], plain))
    torch.manual_seed(0)
    net = STCN(SMALL, imagenet=True)
    config = FitConfig(steps=60, batch_size=2, lr=1e-3, schedule=stage.schedule, clip_norm=1.0, log_every=10)
    result = fit(net, task, config, device="cpu", parameters=parameter_groups(net, 0.25), progress=False)
    _, losses = result.curve("loss")
    assert losses[-1] < 0.2 * losses[0]
    assert score_clips(net, SelectionClips("one clip", (clip,), "youtube_vos", False)).J > 0.9


def test_gradient_reaches_both_encoders_and_the_decoder(net, task, batch):
    """The value encoder through the mask of frame 1 too: frame 2's loss alone moves what frame 1 wrote."""
    net.zero_grad()
    task.loss(net, batch, 0)["loss"].mean().backward()
    for part in (net.key_encoder.trunk, net.key_encoder.key, net.value_encoder, net.decoder):
        assert sum(float(w.grad.abs().sum()) for w in part.parameters() if w.grad is not None) > 0
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.value_encoder.parameters())


def test_predicted_mask_is_fed_back_with_its_gradient(net, batch):
    """The answer for frame 2 depends, differentiably, on the probabilities of frame 1 as the value encoder got them."""
    seen = []
    handle = net.value_encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[2]))
    predict(net, batch["frames"], batch["labels"], batch["objects"])
    handle.remove()
    first, second = seen  # [B, K, 2, H, W]
    assert set(first.unique().tolist()) == {0.0, 1.0} and not first.requires_grad
    assert second.requires_grad and 0 < float(second[:, 0, 0].mean().detach()) < 1


def test_predictions_equal_a_slow_version(net, batch):
    """One sample and one object at a time, distances and softmax written out."""
    with torch.no_grad():
        answers = predict(net, batch["frames"], batch["labels"], batch["objects"])
        for b, objects in ((0, 2), (1, 1)):
            frames = batch["frames"][b]
            features = [net.encode_key(frame[None]) for frame in frames]
            masks = torch.stack([batch["labels"][b, 0] == k + 1 for k in range(objects)]).float()[None]
            memory_keys, memory_values = [], []
            for t in (1, 2):
                memory_keys += features[t - 1].key[0].flatten(1).T
                value = net.encode_value(frames[t - 1][None], features[t - 1], masks)[0].flatten(2)  # [K, Cv, N]
                memory_values += value.permute(2, 0, 1)
                query = features[t].key[0].flatten(1).T
                distance = torch.cdist(query.double(), torch.stack(memory_keys).double()) ** 2
                weights = (-distance / 64**0.5).softmax(dim=1).float()  # [Q, N]
                readout = torch.einsum("qn,nkc->kcq", weights, torch.stack(memory_values))
                readout = readout.unflatten(2, features[t].key.shape[2:])[None]
                expected = aggregation_logits(net.decode(readout, features[t]).sigmoid())[0]
                masks = expected.softmax(0)[None, 1:]
                torch.testing.assert_close(answers[t - 1][b, : objects + 1], expected, atol=2e-4, rtol=1e-3)


def test_objects_that_do_not_exist_change_nothing(net, batch):
    """A padded slot gets no pixel, and the sample's loss is that of the sample without the slot."""
    with torch.no_grad():
        padded = predict(net, batch["frames"][1:], batch["labels"][1:], batch["objects"][1:])
        alone = predict(net, batch["frames"][1:], batch["labels"][1:], batch["objects"][1:, :1])
    for with_slot, without in zip(padded, alone):
        torch.testing.assert_close(with_slot[:, :2], without, atol=1e-4, rtol=1e-4)
        assert float(with_slot.softmax(1)[:, 2].max()) < 1e-5


def test_loss_mines_hard_pixels_late_and_adds_both_frames(net, task, batch):
    with torch.no_grad():
        early, late = task.loss(net, batch, 0), task.loss(net, batch, STAGE.steps)
    torch.testing.assert_close(early["loss"], early["frame1"] + early["frame2"])
    assert (late["loss"] > early["loss"]).all()  # the mean of the hardest 15 % is above the mean of all


def test_gap_curriculum_and_share_of_stills():
    """Stills repeat one frame; the widest gap is asked for in the middle of a stage, the narrowest at its ends."""
    asked = []

    def draw(index, rng, max_gap):
        asked.append(max_gap)
        return {}

    stage = replace(STAGE, steps=1000, gaps=(5, 25), still_share=0.4)
    task = SpaceTimeTask(stage, draw, draw)
    for step in (0, 250, 500, 950):
        for index in range(50):
            task.sample(index, step, np.random.default_rng(index))
    quarters = [set(asked[i : i + 50]) for i in range(0, 200, 50)]
    assert quarters == [{0, 5}, {0, 15}, {0, 25}, {0, 5}]
    assert asked[:50].count(0) == pytest.approx(20, abs=8)


def test_kept_out_sequences_are_never_read(davis):
    """Their files are no pictures: training runs through all of the data without opening one, selection cannot."""
    assert training_sequences(davis).names == ("runner", "walker")
    with pytest.raises(InputError):
        kept_out(davis)
    for name in KEPT_OUT[1:]:
        for kind in ("JPEGImages", "Annotations"):
            folder = davis / kind / "480p" / name
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    blank = davis / "JPEGImages" / "480p" / KEPT_OUT[0]
    for t in range(4):  # readable now for selection; unmistakable if it were trained on
        Image.new("RGB", (80, 64), (255, 0, 255)).save(blank / f"{t:05d}.jpg")
        mask = Image.new("L", (80, 64))
        mask.paste(255, (10, 10, 70, 50))
        mask.save(davis / "Annotations" / "480p" / KEPT_OUT[0] / f"{t:05d}.png")
    data = training_data(replace(SMOKE, paste=1.0), davis, seed=0)
    assert [clip.name for clip in data.selection.clips] == [KEPT_OUT[0]]
    for samples in (data.clips, data.stills):
        real = samples.clips.parts[0][0]
        assert real.names == ("runner", "walker")
        gap = 0 if samples is data.stills else 1
        for index in range(30):
            frames = samples(index, np.random.default_rng(index), gap)["frames"]
            magenta = (frames[:, 0] > 0.8) & (frames[:, 1] < 0.2) & (frames[:, 2] > 0.8)
            assert float(magenta.float().mean()) < 0.5


def test_real_data_keep_out_the_same_names(course_data):
    from course_lib.methods.space_time_memory.train_data import davis_folder

    root = davis_folder(course_data)
    if root is None:
        pytest.skip("COURSE_DATA has no DAVIS")
    assert not set(training_sequences(root).names) & set(KEPT_OUT)


def test_real_share_of_a_mixture():
    real, world = render(3, 3, 32, 0), render(30, 1, 32, 0)
    joined = mixed(real, world, 0.7)
    assert (len(joined) - len(world)) / len(joined) == pytest.approx(0.7, abs=0.02)


def test_held_out_world_has_other_clips_than_training():
    config = replace(SMOKE, world_clips=6, eval_clips=6)
    train = render(config.world_clips, config.world_frames, config.world_size, seed=0)
    names = {clip.name for clip in train} | {clip.name for clip in render(6, 1, 64, seed=1)}
    assert not names & {clip.name for clip in held_out_world(config, seed=0).clips}


def test_smoke_run_resumes_and_its_card_and_weights_load(tmp_path, no_real_data):
    """Three steps, chosen and exported; a run that lost its last step does it again and gives the same bytes."""
    first = train_small("smoke", tmp_path, device="cpu", world_only=True, budget="one minute", progress=False)
    assert first.stages[-1].steps == STAGE.steps and first.stages[-1].best is not None
    assert first.weights.name == "stcn-small-world.safetensors" and first.weights.stat().st_size <= 8_000_000
    card = load_card(first.weights)
    assert card.licence == "MIT" and card.budget.startswith("one minute (planned ") and card.metrics
    assert json.loads((tmp_path / "plan.json").read_text())["begun"] in card.budget
    bytes_before = first.weights.read_bytes()
    *earlier, last = sorted((tmp_path / "video" / "checkpoints").iterdir())
    assert earlier
    last.unlink()
    again = train_small("smoke", tmp_path, device="cpu", world_only=True, progress=False)
    assert again.weights.read_bytes() == bytes_before
    assert [row["step"] for row in again.stages[0].rows] == [row["step"] for row in first.stages[0].rows]
    assert "resumed at step 2 of 3" in (tmp_path / "video" / "log.txt").read_text()
    assert again.card.budget == card.budget  # a budget cannot be changed afterwards
    loaded = load_stcn_small(first.weights, torch.device("cpu")).net.state_dict()
    for name, tensor in first.network.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, atol=2e-3, rtol=2e-3)
    with pytest.raises(InputError, match="other settings"):
        train_small("smoke", tmp_path, device="cpu", world_only=True, seed=1, progress=False)


def test_card_of_weights_trained_on_davis_says_non_commercial(tmp_path, davis):
    for name in KEPT_OUT:
        for t in range(4):
            folder = davis / "JPEGImages" / "480p" / name
            Image.new("RGB", (80, 64), (40, 90, 10)).save(folder / f"{t:05d}.jpg")
            mask = Image.new("L", (80, 64))
            mask.paste(255, (10, 10, 70, 50))
            mask.save(davis / "Annotations" / "480p" / name / f"{t:05d}.png")
    config = replace(SMOKE, stages=(replace(STAGE, steps=1),))
    made = train_small(config, tmp_path / "run", davis.parent, "cpu", progress=False)
    assert made.weights.name == "stcn-small.safetensors"
    assert made.card.licence == "CC BY-NC 4.0" and "DAVIS" in [source.name for source in made.card.data]


def test_card_compares_and_says_what_chose_the_checkpoint(tmp_path, no_real_data):
    """J&F of two methods without training beside the network's; half the length is in the command that repeats it."""
    two = replace(SMOKE, stages=(replace(STAGE, steps=4),))
    made = train_small(two, tmp_path / "own", device="cpu", world_only=True, length=0.5, progress=False)
    assert made.stages[-1].steps == 2 and "see plan.json" in made.card.command
    name = "held-out world (1 clips)"
    measured = {f"{measure}, {name}" for measure in ("J&F", "J", "F", "J&F of 'flow'", "J&F of 'copy'")}
    assert set(made.card.metrics) == measured | {f"frames per second, {name}", "step of the checkpoint"}
    assert all(0 <= made.card.metrics[key] <= 100 for key in measured)
    assert made.card.notes.startswith(f"The best of 1 evaluations of the last stage by J&F on: {name}")
    assert "optimistic" in made.card.notes
    named = train_small("smoke", tmp_path / "named", device="cpu", world_only=True, length=0.34, progress=False)
    assert named.stages[-1].steps == 1
    assert named.card.command == "course train stcn-small-world --preset smoke --length 0.34 --seed 0"
    named.weights.unlink()  # a finished run writes its weights and card again, and trains no step
    again = train_small("smoke", tmp_path / "named", device="cpu", world_only=True, length=0.34, progress=False)
    assert again.card.weights_sha256 == named.card.weights_sha256 and again.card.minutes == named.card.minutes
    with pytest.raises(InputError, match="other settings"):
        train_small("smoke", tmp_path / "named", device="cpu", world_only=True, progress=False)


TWO_PROCESSES = """
import os, sys, torch
torch.set_num_threads(1)
from dataclasses import replace
from course_lib.methods.space_time_memory import experiment
from course_lib.methods.space_time_memory.train_config import TrainingConfig

config = TrainingConfig.preset("smoke")
stage = replace(config.stages[0], steps=2)
config = replace(config, stages=(stage, replace(stage, name="again")))
scored, score = [], experiment.score_methods
experiment.score_methods = lambda *inputs: scored.append(1) or score(*inputs)
made = experiment.train_small(config, sys.argv[1], device="cpu", world_only=True, progress=False)
text = f"{os.environ['RANK']} {len(scored)} {made.card.weights_sha256} {made.weights.is_file()}"
open(f"{sys.argv[1]}/rank{os.environ['RANK']}.txt", "w").write(text)
"""


def test_of_two_processes_one_scores_and_writes(tmp_path, no_real_data):
    program = tmp_path / "two.py"
    program.write_text(TWO_PROCESSES)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, program, tmp_path / "run"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [(tmp_path / "run" / f"rank{rank}.txt").read_text().split() for rank in (0, 1)]
    checksum = load_card(tmp_path / "run" / "stcn-small-world.safetensors").weights_sha256
    assert ranks == [["0", "1", checksum, "True"], ["1", "0", checksum, "True"]]


def test_davis_is_asked_for_where_it_is_missing(tmp_path, no_real_data):
    with pytest.raises(MissingDataError, match="world_only=True"):
        train_small("smoke", tmp_path, device="cpu", progress=False)


def test_published_schedule():
    """Two stages of 300,000 and 150,000 steps, Adam's 1e-5, mining from 20,000 to 70,000 in each."""
    static, video = TrainingConfig.preset("gpu").stages
    assert (static.steps, static.batch_size, video.steps, video.batch_size) == (300_000, 16, 150_000, 8)
    for stage in (static, video):
        assert [share * stage.steps for share in stage.mining] == pytest.approx([20_000, 70_000])
    assert video.schedule.factor(124_999, video.steps) == 1 and video.schedule.factor(125_000, video.steps) == 0.1


def test_shortening_multiplies_steps_and_nothing_else():
    for preset in ("smoke", "cpu", "gpu"):
        config = TrainingConfig.preset(preset)
        assert config.shortened(1.0) == config
        half = config.shortened(0.5)
        assert [s.steps for s in half.stages] == [max(1, round(s.steps / 2)) for s in config.stages]
        assert replace(half, stages=config.stages) == config
        assert [replace(s, steps=1) for s in half.stages] == [replace(s, steps=1) for s in config.stages]
        assert all(stage.steps == 1 for stage in config.shortened(1e-9).stages)
    for length in (0, -0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="share of the preset's steps"):
            SMOKE.shortened(length)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="multiple of 16"):
        replace(SMOKE, size=60)
    with pytest.raises(InputError, match="different names"):
        replace(SMOKE, stages=(STAGE, STAGE))
    with pytest.raises(InputError, match="smoke, cpu, gpu"):
        TrainingConfig.preset("tpu")
    with pytest.raises(InputError, match="still_share"):
        replace(STAGE, still_share=1.5)
