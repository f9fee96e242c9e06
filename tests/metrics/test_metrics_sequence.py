"""Label maps of whole videos: which objects and frames count, void, unknown labels, errors; many videos at once."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.metrics import SequenceScore, evaluate_labels, evaluate_sequences, reference
from course_lib.metrics.sequence import labels_present


def blocks(frames: int = 6, size: tuple[int, int] = (20, 70), ids: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Label maps with one block per object that moves to the right."""
    labels = np.zeros((frames, *size), dtype=np.uint8)
    for t in range(frames):
        for row, label in enumerate(ids):
            labels[t, 2 + 6 * row : 7 + 6 * row, 3 + 2 * t : 15 + 2 * t] = label
    return labels


def test_each_entry_is_the_score_of_one_mask():
    truth, prediction = blocks(), np.roll(blocks(), 2, axis=2)
    score = evaluate_labels(prediction, truth)
    assert score.ids.tolist() == [1, 2]
    assert score.J.shape == score.F.shape == score.scored.shape == (2, 6)
    assert score.J.dtype == score.F.dtype == np.float64
    assert score.scored.all()
    for k, label in enumerate(score.ids):
        for t in range(6):
            masks = prediction[t] == label, truth[t] == label
            assert score.J[k, t] == reference.region_similarity(*masks)
            assert score.F[k, t] == reference.contour_accuracy(*masks)
    assert score.J_mean == pytest.approx(score.J.mean())
    assert score.JF_mean == pytest.approx((score.J.mean() + score.F.mean()) / 2)


def test_tensors_score_as_arrays_do():
    truth, prediction = blocks(), np.roll(blocks(), 3, axis=2)
    a = evaluate_labels(prediction, truth)
    b = evaluate_labels(torch.from_numpy(prediction), torch.from_numpy(truth).clone())
    np.testing.assert_array_equal(a.J, b.J)
    np.testing.assert_array_equal(a.F, b.F)


def test_renaming_the_objects_changes_nothing_but_their_names():
    truth, prediction = blocks(), np.roll(blocks(), 2, axis=2)
    names = np.zeros(256, dtype=np.uint8)
    names[[1, 2]] = 200, 7
    a, b = evaluate_labels(prediction, truth), evaluate_labels(names[prediction], names[truth])
    assert b.ids.tolist() == [7, 200]
    np.testing.assert_array_equal(a.J[::-1], b.J)
    np.testing.assert_array_equal(a.F[::-1], b.F)


def test_unannotated_pixels_do_not_count():
    truth = blocks()
    truth[:, :, 30:] = 255
    prediction = np.where(truth == 255, np.roll(truth, 5, axis=1), truth).astype(np.uint8)
    prediction[prediction == 255] = 0
    score = evaluate_labels(prediction, truth)
    assert (score.J == 1).all()
    assert (score.F == 1).all()
    assert score.ids.tolist() == [1, 2]


def test_a_truth_with_void_agrees_with_itself():
    truth = blocks()
    truth[2, :9] = 255
    assert (evaluate_labels(truth, truth).J == 1).all()


def test_davis_protocol_counts_objects_of_the_first_frame_and_inner_frames():
    truth = blocks(ids=(1, 3))
    truth[2:, 16:19, 40:50] = 5  # appears later, with a higher id: not an object of this protocol
    prediction = np.where(truth == 5, 0, truth).astype(np.uint8)
    score = evaluate_labels(prediction, truth, protocol="davis")
    assert score.ids.tolist() == [1, 2, 3]
    assert (score.J[1] == 1).all()  # a skipped id agrees while nobody predicts it
    assert score.scored.tolist() == [[False, True, True, True, True, False]] * 3
    with pytest.raises(InputError, match=r"labels \[5\] in frame 2"):
        evaluate_labels(truth, truth, protocol="davis")


def test_davis_protocol_takes_void_as_background():
    truth = blocks()
    truth[:, :, 30:] = 255
    prediction = np.where(truth == 255, 1, truth).astype(np.uint8)
    with_void = evaluate_labels(prediction, truth, ids=[1])
    as_background = evaluate_labels(prediction, truth, ids=[1], protocol="davis")
    assert (with_void.J == 1).all()
    assert (as_background.J < 0.2).all()


def test_youtube_protocol_starts_after_the_first_appearance():
    truth = blocks(frames=8)
    truth[:3][truth[:3] == 2] = 0  # object 2 appears in frame 3
    truth[7] = 9  # nobody annotated frame 7: what is stored there is no truth
    prediction = np.zeros_like(truth)
    prediction[5][truth[5] == 2] = 2
    score = evaluate_labels(prediction, truth, protocol="youtube_vos", annotated=[0, 1, 3, 5])
    assert score.ids.tolist() == [1, 2]
    assert np.flatnonzero(score.scored[0]).tolist() == [1, 3, 5]
    assert np.flatnonzero(score.scored[1]).tolist() == [5]
    assert np.isnan(score.J[:, [2, 4, 6, 7]]).all()
    assert score.J_statistics()[1].mean == 1.0
    assert score.J_statistics()[0].mean == 0.0


def test_an_object_that_leaves_agrees_only_with_nothing():
    truth, prediction = blocks(), blocks()
    truth[3:][truth[3:] == 2] = 0
    score = evaluate_labels(prediction, truth)
    assert score.J[1].tolist() == score.F[1].tolist() == [1, 1, 1, 0, 0, 0]


def test_chosen_ids_come_in_the_order_given():
    truth, prediction = blocks(), np.roll(blocks(), 2, axis=2)
    whole, part = evaluate_labels(prediction, truth), evaluate_labels(prediction, truth, ids=[2, 1])
    assert part.ids.tolist() == [2, 1]
    np.testing.assert_array_equal(part.J, whole.J[::-1])
    assert evaluate_labels(prediction, truth, ids=[2]).J.shape == (1, 6)  # object 1 is known, though not asked for


def test_unknown_label_is_refused_or_taken_as_background():
    truth, prediction = blocks(), blocks()
    prediction[4, :2, :5] = 77
    with pytest.raises(InputError, match=r"labels \[77\] in frame 4.*unknown='background'"):
        evaluate_labels(prediction, truth)
    assert (evaluate_labels(prediction, truth, unknown="background").J == 1).all()
    prediction[4, :2, :5] = 255
    with pytest.raises(InputError, match="255 marks unannotated pixels"):
        evaluate_labels(prediction, truth)


def test_more_than_255_frames():
    truth = np.tile(blocks(1), (300, 1, 1))
    prediction = truth.copy()
    prediction[225:][prediction[225:] == 1] = 0  # the first object is lost in the last quarter
    entry = evaluate_labels(prediction, truth).J_statistics()[0]
    assert entry.mean == pytest.approx(0.75)
    assert entry.decay == pytest.approx(1.0, abs=0.02)


@given(st.integers(0, 2**31), st.sampled_from([2, 8, 9, 256]), st.integers(1, 40), st.integers(1, 40))
def test_labels_present(number, values, height, width):
    frame = np.random.default_rng(number).integers(0, values, (height, width)).astype(np.uint8)
    assert labels_present(frame) == set(frame.reshape(-1).tolist())


L = blocks()


@pytest.mark.parametrize(
    ("prediction", "truth", "options", "message"),
    [
        (L[0], L, {}, r"prediction must be label maps \[T, H, W\].*labels\[None\]"),
        (L[:3], L, {}, r"prediction has shape \[3, 20, 70\], truth has \[6, 20, 70\]"),
        (L.astype(np.int64), L, {}, "prediction must be uint8"),
        (L, np.zeros_like(L), {}, "holds no object"),
        (L, L, {"ids": [1, 1]}, "different labels"),
        (L, L, {"ids": [0]}, "from 1 to 254"),
        (L, L, {"ids": []}, "nothing to score"),
        (L, L, {"annotated": [6]}, "frames from 0 to 5"),
        (L, L, {"annotated": []}, "frames from 0 to 5"),
        (L, L, {"protocol": "davis", "annotated": [1, 2]}, "frame 0"),
        (L[:2], L[:2], {"protocol": "davis"}, "2 frames leave nothing"),
        (L, L, {"protocol": "davis2017"}, "'all_frames', 'davis' or 'youtube_vos', got 'davis2017'"),
        (L, L, {"unknown": "drop"}, "'raise' or 'background'"),
        (L, L, {"tolerance": -1}, "tolerance"),
    ],
)
def test_bad_input_is_refused_with_advice(prediction, truth, options, message):
    with pytest.raises(InputError, match=message):
        evaluate_labels(prediction, truth, **options)


def same(a: SequenceScore, b: SequenceScore) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("ids", "J", "F", "scored"))


@pytest.mark.parametrize("workers", [1, 2])
def test_many_videos_in_order_from_arrays_and_functions(workers):
    videos = [(np.roll(blocks(), shift, axis=2), blocks()) for shift in range(6)]
    pairs = [partial(tuple, video) if i % 2 else video for i, video in enumerate(videos)]
    found = list(evaluate_sequences(iter(pairs), protocol="davis", workers=workers))
    wanted = [evaluate_labels(*video, protocol="davis") for video in videos]
    assert len(found) == 6
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_many_videos_are_read_only_as_they_are_needed():
    taken = []

    def pairs():
        for i in range(100):
            taken.append(i)
            yield blocks(), blocks()

    scores = evaluate_sequences(pairs())
    next(scores)
    assert taken == [0]


def test_error_of_one_video_arrives():
    scores = evaluate_sequences([(L, L), (L, L[:2])], workers=1)
    assert next(scores).J_mean == 1.0
    with pytest.raises(InputError, match="truth has"):
        next(scores)
    with pytest.raises(InputError, match="workers must be 1 or more"):
        evaluate_sequences([], workers=0)
