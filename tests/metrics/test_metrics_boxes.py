"""Boxes and single-object tracks: by hand, against torchvision and masks, on bad input."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.metrics import box_iou, box_track_score, boxes_from_masks, region_similarity


def random_boxes(number: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    corner = rng.uniform(0, 40, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, 30, (count, 2))], axis=1)


@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(0, 5))
def test_overlap_of_torchvision(number, n, m):
    a, b = random_boxes(number, n), random_boxes(number + 1, m)
    wanted = torchvision.ops.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(box_iou(a, torch.from_numpy(b)), wanted, rtol=1e-12, atol=1e-15)


def test_empty_and_absent_boxes():
    boxes = np.array([[0.0, 0, 2, 2], [1, 1, 1, 5], [np.nan] * 4])
    found = box_iou(boxes, boxes)
    assert found[0].tolist()[:2] == [1, 0]
    assert found[1, 1] == 0
    assert np.isnan(found[2]).all()


@given(st.integers(0, 2**31))
def test_boxes_of_filled_rectangles_overlap_as_their_masks_do(number):
    rng = np.random.default_rng(number)
    masks = np.zeros((2, 20, 30), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, 20), rng.integers(0, 30)
        mask[y : rng.integers(y + 1, 21), x : rng.integers(x + 1, 31)] = True
    boxes = boxes_from_masks(masks)
    assert box_iou(boxes[:1], boxes[1:])[0, 0] == pytest.approx(region_similarity(*masks))
    np.testing.assert_array_equal(boxes, torchvision.ops.masks_to_boxes(torch.from_numpy(masks)).numpy() + [0, 0, 1, 1])


def test_box_of_a_pixel_and_of_nothing():
    masks = np.zeros((2, 6, 9), dtype=np.uint8)
    masks[0, 5, 3] = 1
    found = boxes_from_masks(masks)
    assert found[0].tolist() == [3, 5, 4, 6]
    assert np.isnan(found[1]).all()
    with pytest.raises(InputError, match="masks must be a mask 3-dimensional"):
        boxes_from_masks(masks[0])
    with pytest.raises(InputError, match=r"a must be boxes \[N, 4\]"):
        box_iou(found[:, :3], found)


def test_a_perfect_track():
    truth = random_boxes(1, 12)
    score = box_track_score(truth, truth)
    assert score.success.tolist() == [1] * 20 + [0]  # no overlap is above 1
    assert score.success_auc == pytest.approx(20 / 21)
    assert score.precision_20 == score.normalised_precision_auc == 1
    assert score.frames == 12


def test_a_shifted_track_by_hand():
    truth = np.tile([10.0, 10, 50, 30], (4, 1))
    prediction = truth + np.array([[0], [10], [20], [100]]) * [1, 0, 1, 0]  # overlap 1, 30/50, 20/60, 0
    score = box_track_score(prediction, torch.from_numpy(truth))
    assert score.success[0] == 0.75
    assert score.success[10] == 0.5
    assert score.success[13] == 0.25
    assert score.precision[[0, 9, 10, 20, 50]].tolist() == [0.25, 0.25, 0.5, 0.75, 0.75]
    assert score.normalised_precision[[0, 24, 25, 50]].tolist() == [0.25, 0.25, 0.5, 0.75]  # 10 of 40 pixels is 0.25


@given(st.integers(0, 2**31), st.floats(0.1, 20), st.floats(-50, 50))
def test_success_ignores_scale_and_place(number, scale, shift):
    truth, prediction = random_boxes(number, 9), random_boxes(number, 9) + 1.7
    a, b = box_track_score(prediction, truth), box_track_score(prediction * scale + shift, truth * scale + shift)
    np.testing.assert_allclose(a.success, b.success, atol=1 / 9 + 1e-9)  # an overlap on a threshold may fall either way
    assert (np.diff(a.success) <= 0).all()
    assert (np.diff(a.precision) >= 0).all()


def test_absent_targets_are_left_out_and_missing_boxes_are_misses():
    truth, prediction = random_boxes(2, 6), random_boxes(2, 6)
    truth[1], prediction[1] = np.nan, 5
    prediction[2] = np.nan
    score = box_track_score(prediction, truth)
    assert score.frames == 5
    assert score.success[0] == score.precision[50] == score.normalised_precision[50] == 0.8


def test_bad_tracks_are_refused():
    boxes = random_boxes(3, 4)
    half, empty = boxes.copy(), boxes.copy()
    half[2, 0] = np.nan
    empty[1, 2] = empty[1, 0]
    for prediction, truth, message in (
        (boxes[:3], boxes, "boxes: prediction has shape"),
        (boxes, half, "truth: box of frame 2 is partly NaN"),
        (half, boxes, "prediction: box of frame 2 is partly NaN"),
        (boxes, empty, "no area"),
        (boxes, np.full_like(boxes, np.nan), "present in no frame"),
    ):
        with pytest.raises(InputError, match=message):
            box_track_score(prediction, truth)
