"""HOTA, CLEAR and identity: TrackEval's own numbers, an independent implementation, properties, bad input."""

import json

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.metrics import BoxTracks, box_iou, combine_mot_scores, mot_scores

PLAIN, PREPROCESSED = "without_preprocessing", "with_preprocessing"
VIDEOS = ["medium", "hard", "easy", "gaps", "no_output", "distractor"]


@pytest.fixture(scope="module")
def stored(golden):
    with np.load(golden / "mot_metrics.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def numbers(golden):
    return json.loads((golden / "mot_metrics.json").read_text())


def score(stored, numbers, video: str, mode: str):
    truth = BoxTracks.from_mot(stored[f"{video}__gt"], preprocess=mode == PREPROCESSED)
    return mot_scores(truth, BoxTracks.from_mot(stored[f"{video}__tracker"]), frames=numbers["frames"][video])


def assert_equal_numbers(found, wanted: dict) -> None:
    for part, values in (("hota", "HOTA"), ("clear", "CLEAR"), ("identity", "Identity")):
        for name, value in wanted[values].items():
            if "(" not in name:  # values at the first threshold, which the arrays hold already
                np.testing.assert_allclose(getattr(getattr(found, part), name), value, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("video", "mode"), [(v, m) for v in VIDEOS for m in (PLAIN, PREPROCESSED) if (v, m) != ("distractor", PLAIN)]
)
def test_numbers_of_trackeval(video, mode, stored, numbers, capsys):
    found = score(stored, numbers, video, mode)
    assert_equal_numbers(found, numbers["results"][mode][video])
    assert pytest.approx(np.mean(numbers["results"][mode][video]["HOTA"]["HOTA"]), abs=1e-12) == found.HOTA
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", [PLAIN, PREPROCESSED])
def test_several_videos_as_one(mode, stored, numbers):
    videos = [video for video in numbers["results"][mode] if video != "combined"]
    found = combine_mot_scores([score(stored, numbers, video, mode) for video in videos])
    assert_equal_numbers(found, numbers["results"][mode]["combined"])


def random_tracks(number: int, objects: int = 5, frames: int = 30) -> tuple[BoxTracks, BoxTracks]:
    """A truth, and tracks with noise, misses, false boxes and exchanged identities."""
    rng = np.random.default_rng(number)
    rows, found = [], []
    start, speed = rng.uniform(0, 200, (objects, 2)), rng.normal(0, 3, (objects, 2))
    for t in range(frames):
        for k in range(objects):
            box = np.concatenate([start[k] + t * speed[k], start[k] + t * speed[k] + 30])
            rows.append((t, 10 * k, *box))
            if rng.random() < 0.85:
                identity = (k + (t > frames // 2 and k < 2)) % 2 if k < 2 else k
                found.append((t, identity, *(box + rng.normal(0, 3, 4))))
        if rng.random() < 0.3:
            found.append((t, 100 + t, *rng.uniform(0, 50, 2), *rng.uniform(60, 90, 2)))
    pair = (np.array(table) for table in (rows, found))
    return tuple(BoxTracks(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:]) for table in pair)


@pytest.mark.parametrize("number", range(4))
def test_clear_and_identity_of_py_motmetrics(number):
    motmetrics = pytest.importorskip("motmetrics")
    truth, tracks = random_tracks(number)
    events = motmetrics.MOTAccumulator(auto_id=True)
    for t in range(30):
        a, b = (pair.select(pair.frame == t) for pair in (truth, tracks))
        overlap = box_iou(a.boxes, b.boxes)
        events.update(a.ids, b.ids, np.where(overlap >= 0.5, 1 - overlap, np.nan))
    names = ["mota", "idf1", "num_switches", "num_false_positives", "num_misses", "mostly_lost"]
    wanted = motmetrics.metrics.create().compute(events, metrics=names).iloc[0]
    found = mot_scores(truth, tracks)
    assert pytest.approx(wanted["mota"]) == found.MOTA
    assert pytest.approx(wanted["idf1"]) == found.IDF1
    assert tuple(int(wanted[name]) for name in names[2:]) == (
        found.clear.IDSW,
        found.clear.CLR_FP,
        found.clear.CLR_FN,
        found.clear.ML,
    )


def test_perfect_tracks_and_their_names():
    truth, _ = random_tracks(7)
    renamed = BoxTracks(truth.frame, 1000 - truth.ids, truth.boxes)
    found = mot_scores(truth, renamed)
    assert (found.HOTA, found.DetA, found.AssA, found.MOTA, found.IDF1) == (1, 1, 1, 1, 1)
    assert (found.clear.MT, found.clear.IDSW) == (5, 0)


def test_one_exchange_costs_association_not_detection():
    truth, _ = random_tracks(8, objects=2)
    swapped = np.where((truth.frame >= 15), 10 - truth.ids, truth.ids)
    found = mot_scores(truth, BoxTracks(truth.frame, swapped, truth.boxes))
    assert found.DetA == 1
    assert found.clear.IDSW == 2
    assert found.AssA == pytest.approx(15 / 45)  # 15 boxes shared of 30 + 30 - 15
    assert pytest.approx(0.5) == found.IDF1


def test_order_of_rows_does_not_matter():
    truth, tracks = random_tracks(9)
    order = np.random.default_rng(0).permutation(len(tracks.frame))
    shuffled = BoxTracks(tracks.frame[order], tracks.ids[order], tracks.boxes[order])
    a, b = mot_scores(truth, tracks), mot_scores(truth, shuffled)
    assert pytest.approx((b.HOTA, b.MOTA, b.IDF1)) == (a.HOTA, a.MOTA, a.IDF1)


def test_a_distractor_is_forgiven_and_an_ignored_box_is_not():
    frame, ids = np.array([0, 0]), np.array([1, 2])
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    tracks = BoxTracks(frame, ids, boxes)
    second = np.array([False, True])
    forgiven = mot_scores(BoxTracks(frame, ids, boxes, distractor=second), tracks)
    ignored = mot_scores(BoxTracks(frame, ids, boxes, ignore=second), tracks)
    assert (forgiven.clear.CLR_TP, forgiven.clear.CLR_FP) == (1, 0)
    assert (ignored.clear.CLR_TP, ignored.clear.CLR_FP) == (1, 1)


def test_tracks_of_label_maps():
    labels = np.zeros((3, 10, 20), dtype=np.uint8)
    labels[0, 2:5, 3:9] = 4
    labels[2, 0:2, 0:2] = 4
    labels[2, 9, 19] = 250
    labels[1] = 255
    found = BoxTracks.from_labels(labels)
    assert found.frame.tolist() == [0, 2, 2]
    assert found.ids.tolist() == [4, 4, 250]
    assert found.boxes.tolist() == [[3, 2, 9, 5], [0, 0, 2, 2], [19, 9, 20, 10]]
    assert mot_scores(found, found, frames=3).HOTA == 1
    assert len(BoxTracks.from_labels(np.zeros((2, 4, 4), dtype=np.uint8)).frame) == 0


def test_classes_of_mot_rows():
    rows = np.array(
        [[1, i, 0, 0, 5, 5, mark, kind, 1] for i, (mark, kind) in enumerate([(1, 1), (0, 1), (1, 3), (1, 8)])]
    )
    found = BoxTracks.from_mot(rows)
    assert found.ignore.tolist() == [False, True, True, False]
    assert found.distractor.tolist() == [False, False, False, True]
    plain = BoxTracks.from_mot(rows, preprocess=False)
    assert plain.ignore.tolist() == [False, True, False, False]
    assert not plain.distractor.any()
    assert found.frame.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("frame", "ids", "boxes", "message"),
    [
        ([0, 0], [1, 1], np.zeros((2, 4)), "identity 1 has several boxes in frame 0"),
        ([0, -1], [1, 2], np.zeros((2, 4)), "frames count from 0, got -1"),
        ([0, 1], [1, 2], np.full((2, 4), np.nan), "NaN or infinite"),
        ([0], [1, 2], np.zeros((2, 4)), "frame must be 2 integers"),
        ([0, 1], [0.5, 1], np.zeros((2, 4)), "ids must be 2 integers"),
        ([0, 1], [0, 1], np.zeros((2, 5)), r"boxes \[N, 4\]"),
    ],
)
def test_bad_tracks_are_refused(frame, ids, boxes, message):
    with pytest.raises(InputError, match=message):
        BoxTracks(np.array(frame), np.array(ids), boxes)


def test_other_bad_input_is_refused():
    truth, tracks = random_tracks(1)
    with pytest.raises(InputError, match="frames must be 30 or more, as there is a box in frame 29, got 10"):
        mot_scores(truth, tracks, frames=10)
    with pytest.raises(InputError, match="at least one video"):
        combine_mot_scores([])
    with pytest.raises(InputError, match="6 or more"):
        BoxTracks.from_mot(np.zeros((3, 5)))
    with pytest.raises(InputError, match="ignore must be 1 booleans"):
        BoxTracks(np.array([0]), np.array([1]), np.ones((1, 4)), ignore=np.array([1]))
