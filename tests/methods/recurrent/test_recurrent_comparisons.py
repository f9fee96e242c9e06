"""Experiments read the table as they say: same clips, same order, missing values in pairs, nothing trained twice."""

import json

import numpy as np
import pytest

import course_lib.methods.recurrent.comparisons as comparisons
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent import online_comparison
from course_lib.methods.recurrent.ablation import collect
from course_lib.methods.recurrent.comparisons import (
    EVERY,
    SIZED,
    BySize,
    Comparison,
    Score,
    drop,
    gain,
    results_of,
)
from course_lib.methods.recurrent.experiment import TRACKS
from course_lib.methods.recurrent.online_comparison import gain_of_unseen_and_seen, tuned_and_as_it_was
from course_lib.methods.recurrent.rows import s2s
from course_lib.methods.recurrent.scoring import save_tracks
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.metrics.object_tracks import ObjectTrack
from course_lib.training.run_directory import plain

CLIPS, FRAMES = 7, 24


def track(kind: str, number: int, run: int) -> ObjectTrack:
    """Scores are random; the area says which clip it is; behind a bar the object is hidden in frames 8 to 10."""
    rng = np.random.default_rng((EVERY.index(kind), number, run))
    J, F = rng.random((2, FRAMES)).round(3)
    area = np.full(FRAMES, 100.0 + (37 * number) % 41)
    if kind == "occlusion" and number != 2:
        area[8:11] = 0
    J[0] = F[0] = 1
    scored = np.arange(FRAMES) > 0
    return ObjectTrack(f"{kind}-{number}", 1, J, F, scored, area, rng.random(FRAMES).round(3) / 2)


def tracks(run: int) -> dict[str, list[ObjectTrack]]:
    return {kind: [track(kind, number, run) for number in range(CLIPS)] for kind in EVERY}


RUNS = {("s2s", 0): 1, ("s2s", 1): 2, ("s2s-skip1", 0): 3, ("s2s-skip1", 1): 4}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished table of two rows and two random seeds, as the environment names it. Training is forbidden."""
    place = tmp_path / "cpu"
    for (row, seed), run in RUNS.items():
        (place / row / str(seed)).mkdir(parents=True)
        save_tracks(tracks(run), place / row / str(seed) / TRACKS)
    (place / "training.json").write_text(json.dumps(plain(RecurrentTraining.preset("cpu"))))
    collect(place)

    def trained(*arguments, **named):
        raise AssertionError(f"trained: {arguments}")

    monkeypatch.setattr(comparisons, "run_ablation", trained)
    monkeypatch.setenv(comparisons.TABLES.variable, str(tmp_path))
    return place


def by_hand(row, seed, kind, number, begin=1, end=FRAMES):
    """Mean J of a clip over some frames, from its track."""
    return track(kind, number, RUNS[row, seed]).J[begin:end].mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_of_the_same_clips_in_the_same_order(folder, seed):
    first, second = Comparison(Score("s2s-skip1", "J"), Score("s2s", "J"))("cpu", seed)
    for values, row in ((first, "s2s-skip1"), (second, "s2s")):
        expected = [by_hand(row, seed, kind, number) for kind in EVERY for number in range(CLIPS)]
        np.testing.assert_allclose(values, expected, atol=1e-4)


def test_a_drop_is_early_minus_late_and_a_gain_row_minus_row(folder):
    first, second = Comparison(drop("s2s"), gain("J late", "s2s-skip1", over="s2s"), ("plain",))("cpu", 1)
    for number in range(CLIPS):
        early, late = by_hand("s2s", 1, "plain", number, 1, 9), by_hand("s2s", 1, "plain", number, 18)
        assert first[number] == pytest.approx(early - late, abs=2e-4)
        expected = by_hand("s2s-skip1", 1, "plain", number, 18) - late
        assert second[number] == pytest.approx(expected, abs=2e-4)


def test_clips_without_the_frames_asked_for_drop_out_in_pairs(folder):
    """Nothing is hidden in clip 2 behind the bar, nor in any other kind; all random seeds lose the same clips."""
    after = Comparison(gain("J after", "s2s-skip1", over="s2s"), gain("J", "s2s-skip1", over="s2s"))
    for seed in (0, 1):
        first, second = after("cpu", seed)
        assert len(first) == len(second) == CLIPS - 1
        for place, number in enumerate(n for n in range(CLIPS) if n != 2):
            rows = [by_hand(row, seed, "occlusion", number, 11) for row in ("s2s-skip1", "s2s")]
            assert first[place] == pytest.approx(rows[0] - rows[1], abs=2e-4)
    with pytest.raises(InputError, match="no test clip has 'J after' of plain"):
        Comparison(Score("s2s", "J after"), Score("s2s-skip1", "J after"), ("plain",))("cpu", 0)


def test_small_and_large_objects_are_paired_by_rank(folder):
    """Areas of the seven clips rise in the order 0, 5, 1, 6, 2, 3, 4 (37 n modulo 41): two are small, two large."""
    order = sorted(range(CLIPS), key=lambda n: (37 * n) % 41)
    first, second = BySize(Score("s2s", "J"), "large", "small")("cpu", 0)
    assert len(first) == len(second) == 2 * len(SIZED)
    for place, kind in enumerate(SIZED):
        large, small = order[-2:], order[:2]
        expected = [by_hand("s2s", 0, kind, n) for n in large], [by_hand("s2s", 0, kind, n) for n in small]
        np.testing.assert_allclose(first[2 * place : 2 * place + 2], expected[0], atol=1e-4)
        np.testing.assert_allclose(second[2 * place : 2 * place + 2], expected[1], atol=1e-4)
    only, _ = Comparison(Score("s2s", "J"), Score("s2s-skip1", "J"), ("plain",), third="small")("cpu", 0)
    np.testing.assert_allclose(only, second[:2])


def test_only_what_is_missing_is_trained(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(comparisons, "run_ablation", lambda *a, **k: asked.append((a, k)))
    results_of("cpu", ("s2s", "s2s-skip1"), 1)
    assert not asked
    results_of("cpu", ("s2s", "hs2s"), 1)
    results_of("cpu", ("s2s",), 2)
    results_of("smoke", ("s2s",), 0)
    assert [a for a, _ in asked] == [
        ("cpu", folder, ("s2s", "hs2s"), (1,)),
        ("cpu", folder, ("s2s",), (2,)),
        ("smoke", folder.parent / "smoke", ("s2s",), (0,)),
    ]


def test_a_table_that_has_grown_is_read_again(folder):
    assert "hs2s" not in results_of("cpu", ("s2s",), 0).scores
    (folder / "hs2s" / "0").mkdir(parents=True)
    save_tracks(tracks(9), folder / "hs2s" / "0" / TRACKS)
    collect(folder)
    assert "hs2s" in results_of("cpu", ("s2s",), 0).scores


def test_where_tables_lie(folder, monkeypatch, tmp_path):
    assert comparisons.TABLES.folder("cpu") == folder
    monkeypatch.delenv(comparisons.TABLES.variable)
    assert comparisons.TABLES.folder("smoke").as_posix() == "runs/recurrent/smoke"
    with pytest.raises(InputError, match="pass `folder`"):
        comparisons.TABLES.folder(RecurrentTraining.preset("smoke"))
    smoke = RecurrentTraining.preset("smoke")
    with pytest.raises(InputError, match="not trained as the preset says"):
        results_of(smoke, ("s2s",), 0, folder)


def test_rows_are_told_without_training():
    assert comparisons.distance_contour.rows == ("s2s-distance", "s2s")
    assert BySize(gain("J", "a", over="b"), "small", "large").rows == ("a", "b")


def test_a_real_table_at_smoke_size(tmp_path, monkeypatch):
    """Two rows are trained once; then one network practises on the first frames of its test clips."""
    monkeypatch.setenv(comparisons.TABLES.variable, str(tmp_path))
    first, second = comparisons.recurrence("smoke", 0)
    assert first.shape == second.shape == (4 * RecurrentTraining.preset("smoke").test_clips,)
    assert np.isfinite(first).all() and (first != second).any()
    finished = tmp_path / "smoke" / "s2s" / "0" / TRACKS
    changed = finished.stat().st_mtime_ns
    large, small = comparisons.large_and_small("smoke", 0)
    assert large.shape == small.shape == (3,)
    with pytest.raises(InputError, match="'J late'"):
        Comparison(Score("s2s", "J late"), Score("mask-guided", "J late"))("smoke", 0)

    after, before = tuned_and_as_it_was("smoke", 0)
    unseen, seen = gain_of_unseen_and_seen("smoke", 0)
    assert finished.stat().st_mtime_ns == changed
    np.testing.assert_allclose(after - before, np.concatenate([seen, unseen]))
    table = results_of("smoke", ("s2s",), 0).of("s2s", "plain", "J")
    assert before[0] == pytest.approx(table[0, 0], abs=0.02)  # weights in half precision, one clip at a time
    online_comparison._scores.cache_clear()

    (finished.parent / "s2s.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"no .*s2s\.safetensors; copy them there, or remove"):
        tuned_and_as_it_was("smoke", 0)


def test_each_clip_begins_from_the_same_network(monkeypatch):
    """What is learnt on one clip is not carried to the next."""
    given = []

    def noting(network, frame, mask, *arguments, generator, **named):
        given.append((id(network), tuple(frame.shape), generator.initial_seed()))
        return network

    config = RecurrentTraining.preset("smoke")
    network = s2s(config.size)
    monkeypatch.setattr(online_comparison, "fine_tune_online", noting)
    clips = [online_comparison.small_tests(config)["plain"][i] for i in range(2)]
    scores = online_comparison._of_clips(network, clips, config, online_comparison.OnlineConfig.preset("smoke"), 1)
    assert given == [(id(network), (3, 32, 32), 1000), (id(network), (3, 32, 32), 1001)]
    assert (scores.before == scores.after).all()
