"""Scores of slices by hand, what must not change them, and intervals that resample clips and not objects."""

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.metrics.bootstrap import mean_interval, paired_bootstrap
from course_lib.metrics.object_tracks import ObjectTrack, clip_means, early, late, object_tracks
from course_lib.metrics.sequence import evaluate_labels
from course_lib.metrics.slices import by_occlusion_length, by_size, early_late, percent, post_occlusion, slice_of

NAN = np.nan


def track(J, F=None, areas=None, clip="a", label=1, scored=None) -> ObjectTrack:
    J = np.array(J, dtype=float)
    areas = np.full(len(J), 9.0) if areas is None else np.array(areas, dtype=float)
    if scored is None:
        scored = np.arange(len(J)) > 0
    return ObjectTrack(clip, label, J, J.copy() if F is None else np.array(F, dtype=float), np.array(scored), areas)


def random_tracks(count=12, length=30, seed=0) -> list[ObjectTrack]:
    rng = np.random.default_rng(seed)
    return [
        track(rng.random(length), rng.random(length), rng.integers(0, 4, length) * 10.0 + (np.arange(length) == 0),
              f"clip {k // 2}", k % 2 + 1)
        for k in range(count)
    ]  # fmt: skip


# Tracks


def test_tracks_come_from_label_maps():
    truth = np.zeros((4, 6, 8), dtype=np.uint8)
    truth[:, 1:3, 1:4] = 7  # 6 pixels
    truth[2:, 4:, 5:7] = 2  # 4 pixels, from frame 2 on
    truth[3] = 255  # as in frames that nobody annotated
    prediction = np.where(truth == 255, 0, truth)
    prediction[1, 1, 1:4] = 0  # half of object 7 is missed
    score = evaluate_labels(prediction, truth, ids=[2, 7], protocol="youtube_vos", annotated=[0, 1, 2])
    late_one, first_one = object_tracks(score, truth, "pair")
    assert first_one.key == ("pair", 7) and first_one.first_area == 6 and late_one.first_area == 4
    np.testing.assert_array_equal(first_one.area, [6, 6, 6, NAN])
    np.testing.assert_array_equal(late_one.area, [0, 0, 4, NAN])
    assert first_one.time.tolist() == [0, 1, 2, -1] and late_one.time.tolist() == [-1, -1, 0, -1]
    assert first_one.mean(np.ones(4, dtype=bool), "J") == 0.75
    assert np.isnan(late_one.mean(np.ones(4, dtype=bool)))  # it is given in its only annotated frame


def test_time_counts_annotated_frames_from_the_first_sight():
    sparse = track([NAN, 0.1, NAN, 0.2, NAN, 0.3], areas=[NAN, 0, NAN, 5, NAN, 0])
    assert sparse.time.tolist() == [-1, -1, -1, 0, -1, 1]
    never = track([1, 1, 1], areas=[0, 0, 0])
    assert never.time.tolist() == [-1] * 3 and never.first_area == 0


def test_a_slice_is_a_mean_over_objects_not_over_frames():
    long, short = track([0, 1, 1, 1, 1]), track([0, 0], clip="b")
    found = slice_of("all", [(long, lambda t: np.ones(len(t), dtype=bool), "") for long in (long, short)])
    assert found.J.mean == 0.5 and found.frames == 5 and found.count == found.clips == 2


# By size


def test_by_size_with_edges_and_with_terciles():
    tracks = [track([0, s / 10], areas=[s, s], clip=f"clip {s}") for s in range(1, 7)]
    table = by_size(tracks, edges=[2, 4])
    assert [one.name for one in table] == ["up to 2", "2 to 4", "over 4"]
    assert [one.J.mean for one in table] == pytest.approx([0.15, 0.35, 0.55])  # 2 and 4 stay below their edge
    thirds = by_size(tracks)
    assert [one.name for one in thirds] == ["small", "medium", "large"]
    assert [one.count for one in thirds] == [2, 2, 2] and thirds["small"].J.mean == pytest.approx(0.15)
    empty = by_size(tracks, edges=[100])["over 100"]
    assert empty.count == 0 and np.isnan(empty.J.mean)


def test_the_size_that_counts_is_that_of_the_first_frame_with_the_object():
    entering = track([1, 1, 1, 1], areas=[0, 3, 900, 900], scored=[False, False, True, True])
    others = [track([0, 0], areas=[s, s], clip=f"{s}") for s in (50, 60)]
    assert by_size([entering, *others], edges=[10])["up to 10"].J.mean == 1


def test_order_of_objects_and_names_of_clips_do_not_matter():
    tracks = random_tracks()
    renamed = [ObjectTrack(f"x{t.clip}", t.id, t.J, t.F, t.scored, t.area) for t in tracks]
    for make in (by_size, post_occlusion, by_occlusion_length):
        for one, other, third in zip(make(tracks), make(renamed), make(tracks[::-1])):
            assert (one.J, one.F, one.frames) == (other.J, other.F, other.frames)
            assert one.J.mean == pytest.approx(third.J.mean, nan_ok=True) and one.frames == third.frames


# Early and late


def test_early_and_late_by_hand():
    J = np.where(np.arange(30) < 15, 0.9, 0.4)
    J[0] = 1.0  # given, not scored
    J[9], J[10], J[20], J[21] = 0.0, 0.5, 0.5, 0.0  # of these only 9 and 21 count
    result = early_late([track(J), track([1.0] * 5, clip="too short")])
    assert result.early.count == 1 and result.early.frames == 9 and result.late.frames == 9
    assert result.early.J.mean == pytest.approx(8 * 0.9 / 9) and result.late.J.mean == pytest.approx(8 * 0.4 / 9)
    assert result.drop_J.mean == pytest.approx(8 * 0.5 / 9)
    assert result.drop_per_clip() == {"a": pytest.approx(8 * 0.5 / 9)}
    assert "drop: J 44.4, F 44.4" in str(result)


def test_other_bounds_and_objects_that_enter_late():
    J = np.concatenate([np.zeros(7), np.arange(8) / 10])
    entering = track(J, areas=np.arange(15) >= 7, scored=np.arange(15) > 7)
    result = early_late([entering], before=3, after=5)
    assert (result.early.J.mean, result.late.J.mean) == (pytest.approx(0.15), pytest.approx(0.65))  # 1, 2 and 6, 7
    chosen = early(3)(entering) | late(5)(entering)
    assert np.flatnonzero(chosen).tolist() == [7, 8, 9, 13, 14]


def test_a_constant_method_drops_nothing_and_more_frames_of_the_same_change_nothing():
    tracks = [track([0.7] * 40, clip=f"{i}") for i in range(4)]
    result = early_late(tracks)
    assert result.drop_J.mean == pytest.approx(0) and result.drop_J.low == pytest.approx(0)


# Occlusion


def test_scores_after_an_occlusion_by_hand():
    J = [1, 0.8, 1, 1, 0.2, 1, 0.4]
    hidden = track(J, areas=[5, 5, 0, 0, 3, 0, 4])
    seen = track([1] + [0.6] * 6, clip="b")
    table = post_occlusion([hidden, seen], taus=(0, 3))
    assert table["all frames"].J.mean == pytest.approx((np.mean(J[1:]) + 0.6) / 2)
    assert table["tau = 0"].J.mean == pytest.approx(0.3) and table["tau = 0"].count == 1
    assert table["tau = 3"].J.mean == pytest.approx(0.4)  # the 3 pixels of frame 4 do not count as seen
    flattered = post_occlusion([hidden, seen], taus=(0,), which="all")["tau = 0"]
    assert flattered.J.mean == pytest.approx((0.2 + 1 + 0.4) / 3) and flattered.frames == 3


def test_by_occlusion_length_by_hand():
    #          t:  0  1  2    3    4  5  6  7    8
    hidden = track([1, 1, 0.2, 0.4, 1, 1, 1, 0.6, 0.8], areas=[5, 0, 5, 5, 0, 0, 0, 5, 5])
    table = by_occlusion_length([hidden], edges=(1, 3))
    assert [(one.name, one.count) for one in table] == [
        ("up to 1 frames", 1),
        ("1 to 3 frames", 1),
        ("over 3 frames", 0),
    ]
    assert [one.J.mean for one in table][:2] == pytest.approx([0.3, 0.7])
    assert by_occlusion_length([hidden], (1, 3), window=1)["1 to 3 frames"].J.mean == pytest.approx(0.6)


# Comparing two methods


def test_paired_differences_know_more_than_two_means():
    rng = np.random.default_rng(0)
    worse = [track(np.full(4, j), clip=f"{i}", areas=[i + 1.0] * 4) for i, j in enumerate(rng.random(30) * 0.8)]
    better = [ObjectTrack(t.clip, t.id, t.J + 0.05, t.F + 0.05, t.scored, t.area) for t in worse]
    difference = by_size(better).minus(by_size(worse))
    alone = by_size(better)["small"].J
    assert difference["small"].J.mean == pytest.approx(0.05)
    assert difference["small"].J.high - difference["small"].J.low < 1e-6 < alone.high - alone.low
    with pytest.raises(InputError, match="not scored on the same objects"):
        by_size(better).minus(by_size(worse[1:]))


def test_clip_means_pair_by_name():
    tracks = [track([0, 0.2]), track([0, 0.4], label=2), track([0, 1], clip="b"), track([1], clip="no scored frame")]
    assert clip_means(tracks, measure="J") == {"a": pytest.approx(0.3), "b": 1}


# Intervals


def test_objects_of_one_clip_stay_together():
    values = np.repeat(np.random.default_rng(1).normal(size=8), 5)  # five equal objects in each clip
    together = mean_interval(values, np.repeat(np.arange(8), 5))
    apart = mean_interval(values)
    single = mean_interval(values[::5])
    assert (together.low, together.high) == pytest.approx((single.low, single.high))
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for run in range(150):
        clips = np.repeat(np.arange(8), rng.integers(1, 5, 8))
        values = 1 + rng.normal(size=8)[clips] + 0.3 * rng.normal(size=len(clips))
        interval = mean_interval(values, clips, resamples=300, seed=run)
        hits += interval.low <= 1 <= interval.high
    assert hits / 150 >= 0.9


def test_one_value_a_clip_is_what_the_claims_compute_for_one_clip_a_seed():
    values = np.random.default_rng(3).normal(size=20)
    one, other = mean_interval(values, resamples=20_000), paired_bootstrap(values[:, None], resamples=20_000)
    assert one.mean == pytest.approx(other.mean)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.02)


def test_weights_and_few_clips():
    assert mean_interval([1.0, 0.0], weights=[3, 1]).mean == 0.75
    one = mean_interval([0.2, 0.4], clips=["a", "a"])
    assert one.mean == pytest.approx(0.3) and np.isnan(one.low)
    assert np.isnan(mean_interval([]).mean) and percent(mean_interval([])) == "-"
    assert percent(one) == "30.0" and "[" in percent(mean_interval([0.1, 0.2]))


def test_a_table_prints_percent_and_html():
    table = by_size(random_tracks())
    text = str(table)
    assert text.splitlines()[1].split() == ["n", "clips", "frames", "J", "F", "J&F"]
    assert "small" in text and percent(table["small"].J) in text
    assert "J&amp;F" in table._repr_html_() and "<caption>by size" in table._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: by_size(random_tracks(2)), "at least three objects, got 2"),
        (lambda: by_size(random_tracks(), [5, 5]), "rising numbers"),
        (lambda: by_size(random_tracks())["tiny"], "no slice 'tiny'; there are 'small'"),
        (lambda: early_late(random_tracks(), 1, 5), "1 < before"),
        (lambda: early_late(random_tracks(), 20, 10), "before=20 and after=10"),
        (lambda: early_late([track([1, 1])]), "take longer clips"),
        (lambda: by_occlusion_length(random_tracks(), window=0), "at least one frame"),
        (lambda: clip_means(random_tracks(), measure="iou"), "'J', 'F' or 'JF'"),
        (lambda: track([1, 2], areas=[1]), r"everything is \[T\]"),
        (lambda: track([1, 2], scored=[0, 1]), "scored must be boolean"),
        (lambda: mean_interval([1, NAN]), "NaN or infinite"),
        (lambda: mean_interval([1, 2], ["a"]), "one length"),
        (lambda: mean_interval([1, 2], weights=[1, 0]), "positive"),
        (lambda: mean_interval([1, 2], resamples=3), "100 or more"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
