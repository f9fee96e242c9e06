"""Metrics of salient-object classification and weights of hard images, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.hard_mining import HardMining, baseline_weights, inverse_share_weights
from course_lib.methods.spatial_transformer.salient import (
    FIFTHS,
    accepted,
    accuracy_at_equal_size,
    bias_table,
    bin_of,
    equal_bins,
    overlap_groups,
    overlap_table,
    share_table,
    standard_error,
    violations,
)

NAN = float("nan")

# Five images: labels of their objects, the largest first.
OBJECTS = torch.tensor([[3, 5, -1], [3, 5, 7], [3, 5, 7], [3, -1, -1], [3, 3, 9]])
ANSWERS = torch.tensor([3, 5, 7, 5, 9])


def test_the_answer_stays_one_and_the_accepted_labels_grow():
    right = accepted(ANSWERS, OBJECTS)
    assert right.top1.tolist() == [True, False, False, False, False]
    assert right.top2.tolist() == [True, True, False, False, False]
    assert right.any.tolist() == [True, True, True, False, True]
    assert right.accuracies == pytest.approx((0.2, 0.4, 0.8))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), m=st.integers(1, 5))
def test_each_reading_accepts_what_the_stricter_one_does(seed, n, m):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 4, (n, m), generator=g)
    labels[:, 0] = torch.randint(4, (n,), generator=g)
    top1, top2, anything = accepted(torch.randint(4, (n,), generator=g), labels)
    assert (top1 <= top2).all() and (top2 <= anything).all()
    if m == 1:
        assert torch.equal(top1, anything)


def test_shares_and_accuracies_by_hand():
    before, after = torch.tensor([0.1, 0.19, 0.2, 0.9, 1.0]), torch.tensor([0.3, 0.5, 0.6, 0.8, 0.7])
    right = torch.tensor([False, True, True, True, False]), torch.tensor([True, True, False, True, True])
    first, second, *empty, last = share_table(before, after, *right)
    assert (first.low, first.high, first.images) == (0.0, 0.2, 2)
    assert first.share_before == pytest.approx(0.145) and first.share_after == pytest.approx(0.4)
    assert (first.accuracy_before, first.accuracy_after, first.gain) == (0.5, 1.0, 0.5)
    assert (second.images, second.gain) == (1, -1.0)  # 0.2 belongs to the bin that begins there
    assert last.images == 2 and last.share_before == pytest.approx(0.95)  # 1.0 is in the last bin
    assert [row.images for row in empty] == [0, 0] and all(math.isnan(row.accuracy_after) for row in empty)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_bins_as_a_loop_would_fill_them(values):
    share = torch.tensor(values, dtype=torch.float64)
    slow = [sum(v >= edge for edge in FIFTHS[1:-1]) for v in values]
    assert bin_of(share, FIFTHS).tolist() == slow


def test_bins_of_equal_count():
    share = torch.rand(900, generator=torch.Generator().manual_seed(0))
    assert torch.bincount(bin_of(share, equal_bins(share, 3))).tolist() == [300, 300, 300]
    single = share_table(share, share, share > 0, share > 0, equal_bins(share, 1))
    assert single[0].images == 900


def test_the_published_total_comes_out_if_below_leaves_out_no_overlap():
    """Table 5.10: 52.11 % without overlap at 86.05 %, 14.75 % above the threshold at 64.88 %, the rest at 82.83 %."""
    n, groups = 10_000, ((5211, 0.8605, 0.0), (3314, 0.8283, 0.2), (1475, 0.6488, 0.9))
    overlap = torch.cat([torch.full((count,), cover) for count, _, cover in groups])
    correct = torch.cat([torch.arange(count) < round(count * share) for count, share, _ in groups])
    whole, none, below, above = overlap_table(correct, overlap)
    assert [row.images for row in (whole, none, below, above)] == [n, 5211, 3314, 1475]
    assert [row.accuracy for row in (whole, none, below, above)] == pytest.approx(
        [0.8186, 0.8605, 0.8283, 0.6488], abs=1e-4
    )
    assert violations(overlap, (0.1, 0.4, 0.95)) == pytest.approx([0.4789, 0.1475, 0.0])


def test_the_threshold_itself_is_below():
    assert overlap_groups(torch.tensor([0.0, 1e-6, 0.4, 0.401, 1.0]), 0.4).tolist() == [0, 1, 1, 2, 2]
    rows = overlap_table(torch.tensor([True]), torch.tensor([0.0]))
    assert rows[1].images == 1 and math.isnan(rows[3].accuracy)


def test_equal_size_undoes_a_difference_that_is_only_one_of_size():
    """Small objects are known to 40 %, large ones to 90 %, covered or not; but covered ones are mostly large."""
    counts = {(0, 0): 100, (1, 0): 20, (0, 1): 20, (1, 1): 100}  # (size, group): images
    share, group, correct = [], [], []
    for (size, kind), count in counts.items():
        share += [0.1 + 0.5 * size + 0.001 * i / count for i in range(count)]
        group += [kind] * count
        correct += [i < round(count * (0.9 if size else 0.4)) for i in range(count)]
    share, group, correct = torch.tensor(share), torch.tensor(group), torch.tensor(correct)
    plain = [correct[group == kind].double().mean().item() for kind in (0, 1)]
    assert plain == pytest.approx([58 / 120, 98 / 120])
    assert accuracy_at_equal_size(correct, share, group, groups=2, bins=2) == pytest.approx([0.65, 0.65])


def test_equal_size_leaves_out_sizes_that_a_group_lacks():
    share = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    group, correct = torch.tensor([0, 1, 0, 1, 1, 1]), torch.tensor([1, 0, 1, 1, 0, 0]).bool()
    first, second = accuracy_at_equal_size(correct, share, group, groups=2, bins=3)
    assert (first, second) == (1.0, 0.5)  # of the two lower thirds
    with pytest.raises(InputError, match="no bin of size has images of all 2 groups"):
        accuracy_at_equal_size(correct, share, (share > 0.35).long(), groups=2, bins=2)


def test_bias_by_hand():
    """Class 9 is the dominant one. Images whose largest object is a 9 say nothing about it."""
    labels = torch.tensor([[1, 9], [1, 9], [1, 9], [1, 2], [1, 2], [9, 9], [9, 1], [1, -1]])
    answers = torch.tensor([9, 9, 2, 9, 2, 1, 1, 1])
    present, absent = bias_table(answers, labels, dominant=9)
    assert (present.present, present.errors) == (True, 3) and present.dominant == pytest.approx(2 / 3)
    assert (absent.present, absent.errors) == (False, 2) and absent.dominant == 0.5
    assert math.isnan(bias_table(labels[:, 0], labels, 9)[0].dominant)  # no errors at all


def test_noise_of_the_published_accuracies():
    assert 100 * standard_error(0.8, 8333) == pytest.approx(0.438, abs=1e-3)
    assert standard_error(1.0, 10) == 0


def test_weights_by_inverse_share():
    share = torch.tensor([0.05, 0.1, 0.5, 1.0])  # 20, which is limited to 10, then 10, 2, 1
    torch.testing.assert_close(inverse_share_weights(share), torch.tensor([10.0, 10, 2, 1]) / 5.75)
    assert inverse_share_weights(torch.linspace(0.01, 1, 100)).mean().item() == pytest.approx(1)
    torch.testing.assert_close(
        HardMining("loss", "inverse_share", largest=4).weights(share, None)[0], 4 / torch.tensor(2.75)
    )


def test_weights_by_baseline():
    right = torch.tensor([True, False])
    assert baseline_weights(right).tolist() == [0.5, 1.0]
    assert HardMining("reward", "baseline", easy=0.2).weights(torch.ones(2), right).tolist() == pytest.approx(
        [0.2, 1.0]
    )


ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accepted(ANSWERS, OBJECTS[0]), r"object_labels \[N, M\].*got \[5\] and \[3\]"),
        (lambda: accepted(ANSWERS[:0], OBJECTS[:0]), "at least 1"),
        (lambda: accepted(ANSWERS, OBJECTS.flip(1)), "largest object and must be there; got -1"),
        (lambda: share_table(ONE, ONE, ONE, torch.ones(2)), r"one number per image.*\[2\]"),
        (lambda: bin_of(2 * ONE, FIFTHS), "between the edges 0.0 and 1.0, got 2"),
        (lambda: bin_of(NAN * ONE, FIFTHS), "between the edges"),
        (lambda: bin_of(ONE, (0, 0, 1)), "increase"),
        (lambda: equal_bins(ONE, 2), "1 images cannot be dealt out to 2"),
        (lambda: equal_bins(torch.ones(9), 2), "same size for 2 bins"),
        (lambda: overlap_groups(ONE, 1.0), "between 0 and 1, got 1.0"),
        (lambda: standard_error(81.0, 10), r"accuracy in \[0, 1\]"),
        (lambda: inverse_share_weights(0 * ONE), r"lie in \(0, 1\], got 0"),
        (lambda: HardMining("loss", "size"), "inverse_share or baseline"),
        (lambda: HardMining("loss", "baseline", easy=1.0), "0 <= easy < 1"),
        (lambda: HardMining("loss", "baseline").weights(ONE, None), "answers of a plain classifier"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
