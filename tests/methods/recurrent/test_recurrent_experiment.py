"""Train a row, test it, load it again; a table of rows that goes on, and can be compared clip by clip."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import course_lib.training.turns as turns
from course_lib.commands import research
from course_lib.data.small_world import SmallWorld, SmallWorldConfig
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent import ablation
from course_lib.methods.recurrent.ablation import COLUMNS, RESULTS, collect, load_results, run_ablation, ship
from course_lib.methods.recurrent.ablation_rows import row_named
from course_lib.methods.recurrent.experiment import TRACKS, load_row, new_network, parameter_groups, train_row
from course_lib.methods.recurrent.schedules import ClipLengths
from course_lib.methods.recurrent.scoring import follow_small, load_tracks, mean_over, metrics, save_tracks
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import clip_source
from course_lib.methods.recurrent.train_task import RecurrentTask
from course_lib.metrics.bootstrap import paired_bootstrap
from course_lib.metrics.object_tracks import ObjectTrack
from course_lib.training import FitConfig, fit
from course_lib.training.cards import load_card
from course_lib.training.course_clips import KEPT_OUT, davis_folder
from course_lib.training.run_directory import plain
from course_lib.training.turns import take_turn
from course_lib.vos.analysis import follow_objects

SMOKE = RecurrentTraining.preset("smoke")


MEASURED = ("J", "F", "scored", "area")


def same_tracks(one: list[ObjectTrack], other: list[ObjectTrack], tolerance: float, names=(*MEASURED, "confidence")):
    assert [track.key for track in one] == [track.key for track in other]
    for a, b in zip(one, other):
        for name in names:
            left, right = getattr(a, name), getattr(b, name)
            assert (left is None) == (right is None)
            if left is not None:
                np.testing.assert_allclose(left, right, atol=tolerance)


def test_smoke_run_writes_weights_and_card_and_reloads_to_the_same_predictions(tmp_path):
    made = train_row("s2s-plus-plus", "smoke", tmp_path, device="cpu", progress=False, name="s2s-plus-plus-small")
    assert made.weights.name == "s2s-plus-plus-small.safetensors" and made.weights.stat().st_size < 4_000_000
    card = load_card(made.weights)
    assert card.command == "course train s2s-plus-plus-small --preset smoke --seed 0" and card.licence == "MIT"
    assert card.budget == "2 steps of 2 clips" and "no checkpoint was chosen" in card.notes
    assert {"J&F, plain (2 clips)", "J, occlusion (2 clips)", "F, unseen shapes (2 clips)"} <= set(card.metrics)
    loaded = load_row("s2s-plus-plus", "smoke", made.weights)
    clip = SmallWorld(SMOKE.world)(np.random.default_rng(0), 4)
    frames, first = clip.frames[None].float() / 255, clip.labels[None, :1].float()
    with torch.no_grad():
        before, after = made.network.unroll(frames, first), loaded.unroll(frames, first)
    torch.testing.assert_close(before.logits, after.logits, atol=2e-2, rtol=2e-2)  # weights were halved
    stored = load_tracks(tmp_path / TRACKS)
    for name, tracks in made.tracks.items():
        same_tracks(tracks, stored[name], 1e-4)


def test_a_run_that_lost_its_last_step_gives_the_same_bytes(tmp_path):
    """Clips, lengths, coins and weights: all of them come back as they were. Another run's settings are refused."""
    config = replace(SMOKE, steps=4, lengths=ClipLengths(2, 4, drawn=True))
    whole = train_row("hs2s", config, tmp_path / "whole", seed=5, device="cpu", progress=False)
    folder = tmp_path / "cut"
    train_row("hs2s", config, folder, seed=5, device="cpu", progress=False)
    max((folder / "checkpoints").iterdir(), key=lambda path: path.name).unlink()
    cut = train_row("hs2s", config, folder, seed=5, device="cpu", progress=False)
    assert "resumed at step 2 of 4" in (folder / "log.txt").read_text()
    assert cut.weights.read_bytes() == whole.weights.read_bytes()
    assert [row["loss"] for row in cut.fit.rows] == [row["loss"] for row in whole.fit.rows]
    with pytest.raises(InputError, match="other settings"):
        train_row("hs2s", config, tmp_path / "whole", seed=6, device="cpu", progress=False)
    with pytest.raises(InputError, match=r"other settings: row was 'hs2s', is 's2s'"):
        train_row("s2s", config, tmp_path / "whole", seed=5, device="cpu", progress=False)
    other = train_row("hs2s", config, tmp_path / "other", seed=6, device="cpu", progress=False)
    assert other.weights.read_bytes() != whole.weights.read_bytes()


def test_first_weights_follow_from_the_seed_and_a_start_is_taken_over():
    row = row_named("s2s")
    one, same, other = (new_network(row, SMOKE, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    new_network(row, SMOKE, 0)
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are left alone
    begun = new_network(row, SMOKE, 9, start=one)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), begun.parameters()))
    with pytest.raises(InputError, match="network to start row 'hs2s' from do not fit"):
        new_network(row_named("hs2s"), SMOKE, 0, start=one)


@pytest.mark.parametrize("name", ["s2s-plus-plus", "hs2s", "mask-guided", "bi-hs2s"])
def test_a_batch_of_clips_scores_like_sessions_one_by_one(name):
    """The fast test and the course's general one, which follows each clip frame by frame, agree."""
    row = row_named(name)
    network = new_network(row, SMOKE, 0).eval()
    with torch.no_grad():  # random weights answer nothing; shift the last bias until about half is object
        decoder = (network.net if name == "bi-hs2s" else network).decoder
        head = decoder.head.mask or decoder.head.segment
        clips = SmallWorld(SmallWorldConfig(size=32, frames=5, radius=(4.0, 8.0))).clips(3, seed=1)
        frames = torch.stack([clips[i].frames for i in range(3)]).float() / 255
        first = torch.stack([clips[i].labels[:1] for i in range(3)]).float()
        head.bias -= network.unroll(frames, first).logits.median()
    fast = follow_small(network, clips)
    model = BidirectionalSegmenter(network) if name == "bi-hs2s" else RecurrentSegmenter(network)
    slow = follow_objects(model, clips)
    same_tracks(fast, slow, 0.03, MEASURED)  # a pixel at the threshold may fall to either side
    assert 0 < mean_over(fast) < 100
    if name == "bi-hs2s":
        assert fast[0].confidence is None
        return
    for quick, merged in zip(fast, slow):  # a session's map has met the background, which makes it surer
        assert np.isnan(quick.confidence[0]) and (merged.confidence[1:] > quick.confidence[1:]).all()


def test_numbers_of_a_card():
    """J&F is the mean; early, late and after an occlusion take their frames; what no clip has is left out."""
    t = np.arange(24.0)
    area = np.where((t >= 10) & (t < 13), 0.0, 50.0)
    scored = t > 0
    track = ObjectTrack("a", 1, t / 100, t / 50, scored, area)
    assert mean_over([track]) == pytest.approx(100 * np.arange(1, 24).mean() / 100)
    numbers = metrics({"plain": [track]})
    assert numbers["J&F, plain (1 clips)"] == pytest.approx(0.5 * (12 + 24))
    assert numbers["J first 8 frames, plain (1 clips)"] == pytest.approx(4.5)
    assert numbers["J after frame 17, plain (1 clips)"] == pytest.approx(20.5)
    assert numbers["J after an occlusion, plain (1 clips)"] == pytest.approx(np.arange(13, 24).mean())
    always = ObjectTrack("a", 1, t / 100, t / 50, scored, np.full(24, 50.0))
    assert "J after an occlusion, plain (1 clips)" not in metrics({"plain": [always]})


def test_tracks_survive_the_disk(tmp_path):
    J = np.array([np.nan, 0.12345, 1.0])
    track = ObjectTrack("a", 3, J, J, np.array([False, True, True]), np.array([7.0, 8, np.nan]), np.array([np.nan] * 3))
    bare = ObjectTrack("b", 1, J, J, np.array([False, True, True]), np.array([7.0, 8, 9]))
    path = save_tracks({"x": [track], "y": [bare]}, tmp_path / "tracks.json")
    back = load_tracks(path)
    same_tracks(back["x"], [track], 1e-4)
    same_tracks(back["y"], [bare], 1e-4)
    path.write_text('{"x": [{"clip": "a"}]}')
    with pytest.raises(InputError, match="does not hold tracks"):
        load_tracks(path)
    with pytest.raises(MissingDataError, match="no tracks"):
        load_tracks(tmp_path / "none.json")


def test_a_table_goes_on_skips_what_is_done_and_pairs_rows_clip_by_clip(tmp_path, monkeypatch):
    results = run_ablation("smoke", tmp_path, rows=("s2s", "s2s-star-plus"), seeds=(0, 1), device="cpu", progress=False)
    assert list(results.scores) == ["s2s", "s2s-skip1-distance"] and results.training["steps"] == 2
    assert not (tmp_path / "s2s" / "0" / "checkpoints").exists()
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*.safetensors")}
    assert len(weights) == 4
    again = run_ablation("smoke", tmp_path, rows=("s2s", "rgmp"), seeds=(0, 1), device="cpu", progress=False)
    assert {path: path.stat().st_mtime_ns for path in weights} == weights  # nothing was trained twice
    assert list(again.scores) == ["s2s", "s2s-skip1-distance", "rgmp"]  # the table's order
    assert set(again.clips) == {"plain", "occlusion", "look-alikes", "unseen shapes"}
    one, other = (again.of(row, "plain", "JF") for row in ("s2s", "s2s-star-plus"))
    assert one.shape == other.shape == (2, SMOKE.test_clips)
    paired_bootstrap(one - other, clips="same")
    tracks = load_tracks(tmp_path / "rgmp" / "1" / TRACKS)["plain"]
    expected = [track.J[1:].mean() for track in tracks]
    assert again.of("rgmp", "plain", "J")[1].tolist() == pytest.approx(expected, abs=1e-3)
    assert again.of("rgmp", "plain", "first area")[0].tolist() == [t.first_area for t in tracks]
    assert set(again.scores["s2s"][0]["plain"]) == set(COLUMNS)
    assert "rgmp" in str(again) and "±" in str(again)
    stored = load_results(tmp_path / RESULTS)
    assert str(stored) == str(again)
    np.testing.assert_array_equal(stored.of("rgmp", "plain", "J"), again.of("rgmp", "plain", "J"))


def test_a_table_refuses_what_could_not_be_compared(tmp_path):
    run_ablation("smoke", tmp_path, rows=("s2s",), seeds=(0,), device="cpu", progress=False)
    with pytest.raises(InputError, match="Rows must train alike"):
        run_ablation("smoke", tmp_path, rows=("rgmp",), seeds=(0,), length=2.0, device="cpu", progress=False)
    with pytest.raises(InputError, match="no equal steps"):
        run_ablation("gpu", tmp_path / "gpu")
    with pytest.raises(InputError, match="unknown row 'stm'"):
        run_ablation("smoke", tmp_path, rows=("stm",))
    path = tmp_path / "s2s" / "0" / TRACKS
    (tmp_path / "rgmp" / "0").mkdir(parents=True)
    table = json.loads(path.read_text())
    table["plain"][0]["clip"] = "another"
    (tmp_path / "rgmp" / "0" / TRACKS).write_text(json.dumps(table))
    with pytest.raises(InputError, match="tested on other clips"):
        collect(tmp_path)
    with pytest.raises(MissingDataError, match="no finished run"):
        collect(tmp_path / "empty")
    results = load_results(tmp_path / RESULTS)
    for arguments, message in (
        (("rgmp", "plain", "J"), "no results of row"),
        (("s2s", "night", "J"), "no test set 'night'"),
        (("s2s", "plain", "K"), "no column 'K'"),
    ):
        with pytest.raises(InputError, match=message):
            results.of(*arguments)


def test_a_row_leaves_its_table_under_the_name_that_makes_it_again(tmp_path):
    run = tmp_path / "table" / "s2s" / "0"
    made = train_row("s2s", "smoke", run, device="cpu", progress=False)
    settings = tmp_path / "table" / "training.json"
    settings.write_text(json.dumps(plain(RecurrentTraining.preset("cpu"))), encoding="utf-8")
    weights = ship(tmp_path / "table", "s2s-small", tmp_path)
    card = load_card(weights)
    assert weights.read_bytes() == made.weights.read_bytes() and card.metrics == made.card.metrics
    assert (card.name, card.command) == ("s2s-small", "course train s2s-small --preset cpu --seed 0")
    with pytest.raises(InputError, match="'s3s' is no network that ships from this table; there are s2s-small"):
        ship(tmp_path / "table", "s3s", tmp_path)
    with pytest.raises(MissingDataError, match=r"hs2s\.safetensors"):
        ship(tmp_path / "table", "hs2s-small", tmp_path)
    settings.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="other settings"):
        ship(tmp_path / "table", "s2s-small", tmp_path)


def test_a_network_learns_a_still_disk_by_heart():
    """One clip over and over: in 40 steps its loss falls to a fifth, and the disk is found (a little too large, as
    balanced losses have it)."""
    world = SmallWorldConfig(size=32, frames=4, radius=(6.0, 6.0), speed=(1.0, 1.0), distractor=0.0, bar=0.0, drift=0.0)
    config = replace(SMOKE, steps=40, lr=3e-3, batch_size=1, world=world, lengths=ClipLengths(4, 4))
    row = row_named("s2s-distance")
    drawn = SmallWorld(world)
    source = clip_source(config, 0)
    task = RecurrentTask(row, config, lambda index, frames, rng: source(0, frames, np.random.default_rng(1)))
    network = new_network(row, config, 0)
    result = fit(network, task, FitConfig(steps=40, batch_size=1, lr=3e-3, clip_norm=1.0, log_every=5), device="cpu",
                 progress=False)  # fmt: skip
    _, losses = result.curve("segmentation")
    assert losses[-1] < 0.2 * losses[0]
    clip = drawn(np.random.default_rng(1), 4)
    with torch.no_grad():
        probs = network.unroll(clip.frames[None].float() / 255, clip.labels[None, :1].float()).logits.sigmoid()[0, :, 0]
    found, truth = probs > 0.5, clip.labels[1:].bool()
    assert float((found & truth).sum() / (found | truth).sum()) > 0.7


def test_trained_backbones_learn_with_their_share_of_the_rate():
    """Every weight is in one group; the slow one holds both backbones and nothing else."""
    config = RecurrentTraining.lite("smoke")
    network = new_network(row_named("hs2s"), config, 0)
    rest, trunks = parameter_groups(network, 0.25)
    assert trunks["lr_scale"] == 0.25
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert all(".trunk." in names[id(weight)] for weight in trunks["params"])
    together = [id(weight) for group in (rest, trunks) for weight in group["params"]]
    assert len(together) == len(set(together)) == sum(weight.requires_grad for weight in network.parameters())
    assert len(parameter_groups(new_network(row_named("hs2s"), SMOKE, 0), 0.25)) == 1


def test_course_train_makes_the_networks_that_ship(tmp_path, capsys):
    assert research.Train("bi-hs2s-small", preset="smoke", run=tmp_path, device="cpu", budget="a minute")() == 0
    assert "bi-hs2s-small.safetensors" in capsys.readouterr().out
    card = load_card(tmp_path / "bi-hs2s-small.safetensors")
    assert (card.name, card.budget) == ("bi-hs2s-small", "a minute")


def test_lite_learns_from_davis_and_is_scored_on_its_kept_out_sequences(course_data, tmp_path):
    if davis_folder(course_data) is None:
        pytest.skip("COURSE_DATA has no DAVIS")
    made = train_row("hs2s", "smoke", tmp_path, name="hs2s-lite", data_root=course_data, device="cpu", progress=False)
    assert {track.clip for track in made.tracks["kept-out DAVIS"]} <= set(KEPT_OUT)
    assert made.card.licence == "CC BY-NC 4.0" and made.card.data[0].name == "DAVIS"
    assert made.card.command == "course train hs2s-lite --preset smoke --seed 0"


def test_processes_share_a_table(tmp_path, monkeypatch):
    """What another process is at comes last; what it has finished by then is not trained again."""
    order = []

    def train(name, config, run, seed, **rest):
        order.append((name, seed))
        (run / TRACKS).write_text("")

    monkeypatch.setattr(ablation, "train_row", train)
    monkeypatch.setattr(ablation, "collect", lambda folder: None)
    with take_turn(tmp_path / "s2s" / "0", wait=False):

        def other_finishes(*_):
            (tmp_path / "s2s" / "0" / TRACKS).write_text("")
            (tmp_path / "s2s" / "0" / "turn.json").unlink()

        monkeypatch.setattr(turns.time, "sleep", other_finishes)
        run_ablation("smoke", tmp_path, ("s2s", "rgmp"), (0, 1), device="cpu", progress=False)
    assert order == [("rgmp", 0), ("s2s", 1), ("rgmp", 1)]
