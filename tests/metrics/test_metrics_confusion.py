"""Mean IoU of semantic labels: by hand, against masks, in parts, on bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from course_lib.errors import InputError
from course_lib.metrics import ConfusionMatrix, region_similarity


def labels(number: int, classes: int, shape: tuple[int, ...] = (3, 12, 17)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(number).integers(0, classes, shape))


def test_by_hand():
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 1, 1, 1, 255]))
    assert matrix.counts.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert matrix.iou()[:2].tolist() == [1 / 2, 2 / 3]
    assert math.isnan(matrix.iou()[2])  # occurs nowhere, so it does not enter the mean
    assert matrix.mean_iou() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert matrix.pixel_accuracy() == 3 / 4


@given(st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([torch.uint8, torch.int32, torch.int64]))
def test_counts_of_scikit_learn_and_iou_of_masks(number, classes, dtype):
    prediction, truth = labels(number, classes), labels(number + 1, classes)
    matrix = ConfusionMatrix(classes)
    matrix.update(prediction.to(dtype), truth.to(dtype))
    wanted = confusion_matrix(truth.flatten(), prediction.flatten(), labels=range(classes))
    np.testing.assert_array_equal(matrix.counts.numpy(), wanted)
    for label, iou in enumerate(matrix.iou().tolist()):
        masks = (prediction == label).flatten(0, 1), (truth == label).flatten(0, 1)
        if any(mask.any() for mask in masks):
            assert iou == pytest.approx(region_similarity(*masks))


@given(st.integers(0, 2**31))
def test_parts_add_up(number):
    prediction, truth = labels(number, 4), labels(number + 1, 4)
    truth[0, 3:5] = 255
    whole, first, second = (ConfusionMatrix(4) for _ in range(3))
    whole.update(prediction, truth)
    first.update(prediction[:1], truth[:1])
    second.update(prediction[1:], truth[1:])
    first.merge(second)
    first.merge(ConfusionMatrix(4))
    assert torch.equal(whole.counts, first.counts)
    assert whole.counts.sum() == (truth != 255).sum()


def test_labels_out_of_range_are_reported_when_the_result_is_read():
    for prediction, truth in (([3, 0], [0, 0]), ([0, 0], [3, 0]), ([-1, 0], [0, 0])):
        matrix = ConfusionMatrix(3)
        matrix.update(torch.tensor(prediction), torch.tensor(truth))
        with pytest.raises(InputError, match=r"1 pixels had a label outside 0\.\.2"):
            matrix.mean_iou()
    without_ignore = ConfusionMatrix(3, ignore=None)
    without_ignore.update(torch.tensor([0]), torch.tensor([255]))
    with pytest.raises(InputError, match="ignore is None"):
        without_ignore.iou()


def test_a_bad_prediction_on_an_ignored_pixel_does_not_count():
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([9, 1]), torch.tensor([255, 1]))
    assert matrix.mean_iou() == 1.0


def test_bad_input_is_refused():
    matrix = ConfusionMatrix(3)
    with pytest.raises(InputError, match=r"logits\.argmax"):
        matrix.update(torch.zeros(4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="one shape"):
        matrix.update(torch.zeros(4, dtype=torch.int64), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(InputError, match="call update first"):
        matrix.mean_iou()
    with pytest.raises(InputError, match="3 and 4 classes"):
        matrix.merge(ConfusionMatrix(4))
    with pytest.raises(InputError, match="1 or more"):
        ConfusionMatrix(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_updates_do_not_wait_for_the_accelerator():
    prediction, truth = labels(0, 4).cuda(), labels(1, 4).cuda()
    matrix = ConfusionMatrix(4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        matrix.update(prediction, truth)
        matrix.update(prediction, truth)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = ConfusionMatrix(4)
    on_cpu.update(prediction.cpu(), truth.cpu())
    assert torch.equal(matrix.counts, 2 * on_cpu.counts)
