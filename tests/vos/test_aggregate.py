"""Soft aggregation: numbers worked out by hand, and what must hold for any numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.vos.aggregate import add_objects, aggregation_logits, labels_from_probs, one_hot, soft_aggregate


def pixel(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def test_two_objects_by_hand():
    # p = 0.8, 0.5: background (1-0.8)(1-0.5) = 0.1; odds 0.1/0.9 = 1/9, 0.8/0.2 = 4, 0.5/0.5 = 1; sum 46/9
    expected = pixel(1 / 46, 36 / 46, 9 / 46)
    torch.testing.assert_close(soft_aggregate(pixel(0.8, 0.5)), expected)


def test_one_object_by_hand():
    # p = 0.75: background 0.25; odds 1/3 and 3; the object gets 9/10, not 0.75: competition sharpens
    torch.testing.assert_close(soft_aggregate(pixel(0.75)), pixel(0.1, 0.9))


def test_no_object_leaves_background():
    torch.testing.assert_close(soft_aggregate(torch.zeros(0, 2, 3)), torch.ones(1, 2, 3))


def test_certain_masks_stay_finite_and_win():
    probs = soft_aggregate(torch.tensor([1.0, 0.0])[:, None, None])
    assert torch.isfinite(probs).all() and probs[1] > 0.999
    both = soft_aggregate(torch.tensor([1.0, 1.0])[:, None, None])  # doubly claimed: half each
    torch.testing.assert_close(both[1:].flatten(), torch.tensor([0.5, 0.5]))


@given(st.integers(1, 5), st.integers(0, 1000))
def test_sums_to_one_and_follows_permutations(k, seed):
    random = torch.Generator().manual_seed(seed)
    masks = torch.rand(k, 4, 5, generator=random, dtype=torch.float64)
    probs = soft_aggregate(masks)
    torch.testing.assert_close(probs.sum(0), torch.ones(4, 5, dtype=torch.float64))
    order = torch.randperm(k, generator=random)
    torch.testing.assert_close(soft_aggregate(masks[order]), probs[torch.cat([torch.zeros(1).long(), order + 1])])


def test_a_batch_is_its_items():
    masks = torch.rand(3, 2, 4, 5)
    torch.testing.assert_close(soft_aggregate(masks), torch.stack([soft_aggregate(m) for m in masks]))


def test_logits_agree_with_probabilities_and_have_gradients():
    masks = (torch.rand(2, 3, 3, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    torch.testing.assert_close(aggregation_logits(masks).softmax(0), soft_aggregate(masks))
    assert torch.autograd.gradcheck(soft_aggregate, (masks,))


def test_labels_are_ids_not_channels():
    ids = torch.tensor([7, 3])
    probs = torch.tensor([[0.5, 0.1, 0.2], [0.3, 0.2, 0.7], [0.2, 0.7, 0.1]])[:, None]  # [3, 1, 3]
    labels = labels_from_probs(probs, ids)
    assert labels.dtype == torch.uint8 and labels.tolist() == [[0, 3, 7]]


def test_a_tie_goes_to_background():
    assert labels_from_probs(torch.full((2, 1, 1), 0.5), torch.tensor([9])).item() == 0


def test_labels_refuse_the_wrong_number_of_channels():
    with pytest.raises(InputError, match=r"each of the 1 ids; got \[3, 4, 4\]"):
        labels_from_probs(torch.rand(3, 4, 4), torch.tensor([1]))


def test_one_hot_and_back_leaves_out_ignored_pixels():
    labels = torch.tensor([[0, 12, 255], [200, 12, 0]], dtype=torch.uint8)
    ids = torch.tensor([12, 200], dtype=torch.uint8)
    probs = one_hot(labels, ids)
    assert probs.sum(0).eq(1).all()
    assert labels_from_probs(probs, ids).tolist() == [[0, 12, 0], [200, 12, 0]]


def test_a_new_object_takes_its_pixels_and_nothing_else():
    probs = soft_aggregate(torch.rand(2, 2, 2))
    labels = torch.tensor([[5, 0], [0, 255]], dtype=torch.uint8)
    merged = add_objects(probs, labels, torch.tensor([5]))
    torch.testing.assert_close(merged.sum(0), torch.ones(2, 2))
    assert merged[:, 0, 0].tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(merged[:3, 0, 1], probs[:, 0, 1])
    torch.testing.assert_close(merged[:3, 1, 1], probs[:, 1, 1])  # ignored: stays as it was
