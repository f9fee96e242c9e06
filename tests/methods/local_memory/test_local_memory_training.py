"""Networks with a memory in training: stages, kept features, controls, runs that resume and load again."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from course_lib.commands import research
from course_lib.data.noisy_drives import render_noisy_drives
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.local_memory import experiment
from course_lib.methods.local_memory.experiment import SCORES, TableData, load_row, new_network, train_row
from course_lib.methods.local_memory.load import load_local_memory, train_local_memory
from course_lib.methods.local_memory.rows import ROW_NAMES, ROWS, SHIPPED_ROWS, Row, build_backbone, row_named
from course_lib.methods.local_memory.scoring import (
    answer,
    class_iou,
    clip_iou,
    count_pixels,
    load_counts,
    mean_iou,
    save_counts,
    score_clips,
)
from course_lib.methods.local_memory.train_config import LocalMemoryTraining, Stage
from course_lib.methods.local_memory.train_data import SpoiltClips, SpoiltFrames, encode_clips, keep_features
from course_lib.methods.local_memory.train_task import ClipTask
from course_lib.methods.propagation.erfnet import ERFNet
from course_lib.methods.propagation.pspnet import PSPNet
from course_lib.metrics.confusion import ConfusionMatrix
from course_lib.training.cards import load_card

SMOKE = LocalMemoryTraining.preset("smoke")
WEIGHTS = torch.ones(len(STREET_CLASSES))


@pytest.fixture(scope="module")
def drives():
    return render_noisy_drives(SMOKE.drives, 2, seed=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with the trained segmenter and a row of seed 0."""
    folder = tmp_path_factory.mktemp("table")
    train_row("memory", SMOKE, folder, device="cpu", progress=False)
    return folder


def stacked(task, n):
    samples = [task.sample(i, 0, np.random.default_rng(i)) for i in range(n)]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


@pytest.mark.parametrize("name", ["memory", "size-1", "self", "decoder", "pyramid-memory"])
def test_kept_features_train_like_pictures(name, drives):
    """Same samples, same loss and same gradients, to half precision, whether the encoder runs each time or once."""
    network = new_network(row_named(name), SMOKE, seed=0).set_stage(2)
    network.eval()  # dropout would draw differently for other sizes of features
    pictures = SpoiltClips(drives, seed=3)
    found = []
    for clips in (pictures, keep_features(network.segmenter, pictures)):
        task = ClipTask(clips, WEIGHTS)
        batch = stacked(task, len(drives))
        network.zero_grad()
        loss = task.loss(network, batch, 0)["loss"]
        assert loss.shape == (len(drives),)
        loss.sum().backward()
        gradients = [w.grad.clone() for w in network.parameters() if w.grad is not None]
        found.append((batch["labels"], loss.detach(), gradients))
    (labels, loss, gradients), (labels_kept, loss_kept, gradients_kept) = found
    assert torch.equal(labels, labels_kept)
    torch.testing.assert_close(loss, loss_kept, atol=2e-3, rtol=2e-3)
    assert len(gradients) == len(gradients_kept) > 0
    for one, other in zip(gradients, gradients_kept):
        torch.testing.assert_close(one, other, atol=5e-3, rtol=5e-2)


def test_the_encoder_stays_and_each_stage_trains_its_parts(drives):
    network = new_network(row_named("memory"), SMOKE, seed=0)
    named = {name for name, _ in network.named_parameters()}
    for stage, wanted in ((1, ("memory_heads", "query_heads", "fusion")), (2, ("segmenter.decoder", "memory_heads"))):
        network.set_stage(stage)
        learning = {name for name, weight in network.named_parameters() if weight.requires_grad}
        assert not any(name.startswith("segmenter.encoder") for name in learning)
        assert all(any(name.startswith(part) for name in learning) for part in wanted)
        assert ("segmenter.decoder" in str(learning)) == (stage == 2)
    assert learning < named


def test_clips_alternate_between_troubles_and_are_the_same_each_time(drives):
    clips = SpoiltClips(drives, seed=0)
    one, again, other = clips.clip(1), SpoiltClips(drives, 0).clip(1), SpoiltClips(drives, 7).clip(1)
    assert torch.equal(one["clip"], again["clip"]) and not torch.equal(one["clip"], other["clip"])
    mirrored = torch.equal(one["labels"], drives.labels[1, -1].flip(-1))
    assert mirrored or torch.equal(one["labels"], drives.labels[1, -1])
    clean = drives.frames.float() / 255
    grain = [float((clips.clip(i)["clip"] - clean[i]).abs().median()) for i in range(4)]
    mirror = [float((clips.clip(i)["clip"].flip(-1) - clean[i]).abs().median()) for i in range(4)]
    noise = [min(pair) for pair in zip(grain, mirror)]
    assert noise[0] > 0.1 > noise[1] and noise[2] > 0.1 > noise[3]  # noise, glare, noise, glare
    items = [clips(index)["labels"] for index in range(4)]  # an epoch shows each clip once
    assert sorted(float(x.float().sum()) for x in items) == sorted(
        float(clips.clip(i)["labels"].float().sum()) for i in range(4)
    )


def test_single_frames_see_new_trouble_each_time(drives):
    frames = SpoiltFrames(drives)
    one, same, other = (frames(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one["frames"], same["frames"]) and not torch.equal(one["frames"], other["frames"])
    assert one["frames"].shape == (3, 32, 64) and one["labels"].shape == (32, 64)


def test_controls_differ_from_their_row_only_in_where_the_memory_comes_from():
    for control, row in (("self", "memory"), ("window-1-self", "window-1"), ("pyramid-self", "pyramid-memory")):
        one, other = (asdict(row_named(name).memory(SMOKE)) for name in (control, row))
        assert {key for key in one if one[key] != other[key]} == {"source"}
        nets = [new_network(row_named(name), SMOKE, 0).state_dict() for name in (control, row)]
        assert nets[0].keys() == nets[1].keys() and all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    decoder = new_network(row_named("decoder"), SMOKE, 0).state_dict()
    frame = new_network(row_named("frame"), SMOKE, 0).state_dict()
    assert decoder.keys() == frame.keys() and all(key.startswith("segmenter.") for key in frame)
    for row in ROWS:
        changed = {k for k, v in asdict(row.memory(SMOKE)).items() if v != asdict(SMOKE.memory_of(row.backbone))[k]}
        assert changed <= set(row.changes)
        mine = new_network(row, SMOKE, 0).state_dict()
        start = new_network(row_named(row.frame_row), SMOKE, 0).state_dict()
        assert all(torch.equal(mine[key], start[key]) for key in start)  # all begin with the same segmenter


def test_every_row_trains_equally_long_in_each_stage_that_it_has(table, monkeypatch):
    seen = {}

    def remember(model, task, looks, run, **rest):
        seen.setdefault(run.parent.parent.name, {})[run.name] = (looks, task)
        raise StopIteration

    monkeypatch.setattr(experiment, "fit", remember)
    data = TableData(SMOKE, table)
    for row in ROWS:
        if row.trained and row.backbone == "erf" and row.name != "memory":
            with pytest.raises(StopIteration):
                train_row(row, SMOKE, table, device="cpu", data=data, progress=False)
    assert len(seen) == 12
    assert set(seen["decoder"]) == {"decoder"}  # nothing of stage 1 to train
    assert len({stages["memory"][0] for name, stages in seen.items() if name != "decoder"}) == 1
    clips = {id(task.clips) for stages in seen.values() for _, task in stages.values()}
    assert len(clips) == 1  # features were computed once


def test_smoke_run_writes_weights_card_and_scores_and_reloads_to_the_same_answers(table):
    made = train_row("memory", SMOKE, table, device="cpu", progress=False)
    assert made.weights == table / "memory" / "0" / "memory.safetensors" and made.weights.stat().st_size < 1_000_000
    card = load_card(made.weights)
    assert card.licence == "MIT" and "stage 0 as row 'frame', 2 steps of stage 1, 2 steps of stage 2" in card.budget
    assert card.minutes > load_card(table / "frame" / "0" / "frame.safetensors").minutes
    assert f"mIoU, noise ({2 * SMOKE.test_drives} clips)" in card.metrics
    assert not list(table.glob("*/0/*/checkpoints"))
    assert sorted(made.counts) == ["glare", "noise"] and sorted(made.counts["noise"]) == [1, 2, 3, 4]
    loaded = load_row("memory", SMOKE, made.weights)
    clip = torch.rand(1, 3, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(made.network(clip), loaded(clip))
    again = score_clips(loaded, TableData(SMOKE, table).tests, [2])
    assert all(np.array_equal(again[kind][2], made.counts[kind][2]) for kind in again)
    frame = load_row("frame", SMOKE, table / "frame" / "0" / "frame.safetensors").segmenter.encoder.state_dict()
    mine = made.network.segmenter.encoder.state_dict()
    assert all(torch.equal(mine[key], frame[key]) for key in frame)  # the encoder stayed as it was


def test_a_row_that_was_cut_short_gives_the_same_bytes(tmp_path, table):
    config = replace(SMOKE, memory=Stage(2), decoder=Stage(4))
    whole = train_row("size-1", config, tmp_path / "whole", seed=2, device="cpu", progress=False)
    folder = tmp_path / "cut"
    save = experiment.export_weights

    def broken(network, path, **rest):
        if path.stem == "size-1":
            raise KeyboardInterrupt
        return save(network, path, **rest)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(experiment, "export_weights", broken)
        train_row("size-1", config, folder, seed=2, device="cpu", progress=False)
    stage = folder / "size-1" / "2" / "decoder"
    max((stage / "checkpoints").iterdir(), key=lambda path: path.name).unlink()
    cut = train_row("size-1", config, folder, seed=2, device="cpu", progress=False)
    assert "resumed at step 2 of 4" in (stage / "log.txt").read_text()
    assert cut.weights.read_bytes() == whole.weights.read_bytes()
    assert np.array_equal(cut.counts["noise"][1], whole.counts["noise"][1])
    other = train_row("size-1", config, folder, seed=3, device="cpu", progress=False)
    assert other.weights.read_bytes() != whole.weights.read_bytes()
    with pytest.raises(InputError, match=r"other settings: decoder\.steps was 4, is 2"):
        train_row("size-1", SMOKE, folder, seed=2, device="cpu", progress=False)


def test_answers_are_those_of_the_network_and_of_a_session(drives):
    """Scoring takes features apart; a clip through `forward`, or frame by frame, gives the same classes."""
    torch.manual_seed(0)
    clips = torch.stack([drives.spoilt(i, "noise", np.random.default_rng(i)) for i in range(2)])
    for name in ("memory", "self", "decoder", "pyramid-memory"):
        network = new_network(row_named(name), SMOKE, seed=0).eval()
        with torch.no_grad():
            found = answer(network, encode_clips(network.segmenter, clips), clips[:, -1], 2)
            direct = network.segmenter.upsample(network(clips), (32, 64)).max(dim=1).indices
            session = network.start(2)
            for frame in clips.unbind(1)[-3:]:
                stepped = session.step(frame).max(dim=1).indices
        assert (found == direct).float().mean() > 0.999
        assert (found == stepped).float().mean() > 0.999


def test_pixels_are_counted_like_a_confusion_matrix():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (3, 9, 8), generator=generator, dtype=torch.uint8)
    predicted = torch.randint(0, 4, (3, 9, 8), generator=generator)
    truth[0, :2] = 255
    truth[truth == 3] = 2  # a class that is predicted but never there
    counts = count_pixels(predicted, truth, 4)
    matrix = ConfusionMatrix(4)
    matrix.update(predicted, truth)
    np.testing.assert_allclose(class_iou(counts), matrix.iou().numpy())
    assert mean_iou(counts) == pytest.approx(matrix.mean_iou())
    each = clip_iou(counts)
    for b in range(3):
        one = ConfusionMatrix(4)
        one.update(predicted[b], truth[b])
        assert each[b] == pytest.approx(float(one.iou()[:3].mean()))
    never = np.zeros((1, 2, 3), dtype=np.int64)
    never[0, 0] = 5
    assert np.isnan(class_iou(never)[1]) and mean_iou(never) == 1


def test_scores_survive_the_disk(tmp_path):
    counts = {kind: {2: np.arange(24).reshape(2, 4, 3), 0: np.ones((2, 4, 3), int)} for kind in ("noise", "glare")}
    back = load_counts(save_counts(counts, tmp_path / SCORES))
    assert all(np.array_equal(back[kind][size], counts[kind][size]) for kind in counts for size in (0, 2))
    (tmp_path / SCORES).write_bytes(b"nothing")
    with pytest.raises(InputError, match="does not hold scores"):
        load_counts(tmp_path / SCORES)
    with pytest.raises(InputError, match=r"it has \['noise'\]"):
        load_counts(save_counts({"noise": counts["noise"]}, tmp_path / SCORES))
    with pytest.raises(MissingDataError, match="no scores"):
        load_counts(tmp_path / "none.npz")


def test_bad_input(drives):
    with pytest.raises(InputError, match="a memory of 9 frames needs clips of one frame more, got 5"):
        score_clips(new_network(row_named("memory"), SMOKE, 0), drives, [9])
    with pytest.raises(InputError, match="trains a LocalMemoryNet, got Linear"):
        ClipTask(SpoiltClips(drives), WEIGHTS).loss(torch.nn.Linear(1, 1), {}, 0)
    with pytest.raises(InputError, match="unknown row 'best'; there are frame, decoder"):
        train_row("best", "smoke", "unused")
    with pytest.raises(InputError, match="unknown preset"):
        train_row("memory", "huge", "unused")
    with pytest.raises(InputError, match="memory of 7 frames needs clips of 8"):
        replace(SMOKE, erf=replace(SMOKE.erf, memory_size=7))
    with pytest.raises(InputError, match="at least one step"):
        Stage(0)
    with pytest.raises(InputError, match="length is a share"):
        SMOKE.shortened(float("nan"))
    with pytest.raises(InputError, match="'erf' or 'pyramid'"):
        build_backbone("vgg", SMOKE, 3)
    with pytest.raises(InputError, match="unknown network 'lmanet'; there are lmanet-small"):
        load_local_memory("lmanet")
    with pytest.raises(InputError, match="unknown network"):
        train_local_memory("memory", "smoke", "unused")
    with pytest.raises(MissingDataError, match="course train lmanet-small"):
        load_local_memory(weights="none.safetensors")


def test_presets_are_those_of_the_thesis_at_gpu():
    published = LocalMemoryTraining.preset("gpu")
    with torch.device("meta"):
        assert isinstance(build_backbone("erf", published, 12), ERFNet)
        assert isinstance(build_backbone("pyramid", published, 12), PSPNet)
    memory, second = published.memory_of("erf"), published.memory_of("pyramid")
    assert (memory.memory_size, memory.window, memory.key_channels, memory.value_channels) == (4, 21, 16, 64)
    assert (second.memory_size, second.key_channels, second.value_channels) == (3, 128, None)
    assert (published.batch_size, published.decoder.lr, published.weight_decay) == (10, 2e-4, 1e-4)
    assert not published.keep_features and len(set(ROW_NAMES)) == len(ROW_NAMES)
    assert row_named("memory").sizes(LocalMemoryTraining()) == (1, 2, 3, 4, 6, 8, 12)
    assert Row("x", "x").own_size(published) == 4 and row_named("self").own_size(published) == 0
    assert LocalMemoryTraining().shortened(0.5).decoder.steps == LocalMemoryTraining().decoder.steps // 2


def test_pictures_are_used_where_features_are_not_kept(tmp_path):
    config = replace(SMOKE, keep_features=False)
    made = train_row("self", config, tmp_path, device="cpu", progress=False)
    assert 0 <= mean_iou(made.counts["noise"][0]) <= 1


def test_the_command_trains_what_ships(tmp_path, capsys):
    for name, row in SHIPPED_ROWS.items():
        assert research.Train(name, preset="smoke", run=tmp_path, device="cpu")() == 0
        path = tmp_path / f"{name}.safetensors"
        card = load_card(path)
        assert (card.name, card.command) == (name, f"course train {name} --preset smoke --seed 0")
        assert path.read_bytes() == (tmp_path / row / "0" / f"{row}.safetensors").read_bytes()
        assert load_local_memory(name, path, "cpu").config.source == row_named(row).memory(SMOKE).source
        assert str(path) in capsys.readouterr().out
    before = (tmp_path / "memory" / "0" / SCORES).stat().st_mtime_ns
    train_local_memory("lmanet-small", "smoke", tmp_path, device="cpu", progress=False)
    assert (tmp_path / "memory" / "0" / SCORES).stat().st_mtime_ns == before  # read, not trained again
    train_local_memory("lmanet-small", "smoke", tmp_path, device="cpu", progress=False, fresh=True)
    assert (tmp_path / "memory" / "0" / SCORES).stat().st_mtime_ns > before


def test_one_of_several_processes_removes_nothing(tmp_path, monkeypatch):
    kept = tmp_path / "memory" / "0" / SCORES
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a run")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(InputError, match=r"one of several processes .* remove .*memory.0 and .*frame.0 yourself"):
            train_local_memory("lmanet-small", "smoke", tmp_path, device="cpu", progress=False, fresh=True)
    assert kept.read_bytes() == b"a run"
