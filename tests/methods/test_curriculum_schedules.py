"""Schedules against the table that was worked out by hand from the thesis's words, and what they may never do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.curriculum import (
    Augmentation,
    DynamicMixedBatch,
    FixedSteps,
    GivenSteps,
    IncrementalDifficulty,
    MixedBatch,
    cosine_steps,
    difficulty_histogram,
    exponential_steps,
    linear_steps,
    printed_cosine,
    printed_exponential,
)

EPOCHS = (0, 10, 20, 30, 40, 50, 60, 80, 90, 100)
REFERENCE = {  # T = 20, horizon 100 epochs, decay 30 epochs
    "linear": (20, 18, 16, 14, 12, 10, 8, 4, 2, 0),
    "cosine": (20, 19, 19, 17, 16, 14, 11, 6, 3, 0),
    "exponential": (20, 14, 10, 7, 5, 3, 2, 1, 0, 0),
}


@pytest.mark.parametrize("shape", REFERENCE)
def test_reference_table(shape):
    curriculum = IncrementalDifficulty(20, shape)
    assert tuple(curriculum.depth(epoch) for epoch in EPOCHS) == REFERENCE[shape]
    assert curriculum.steps(10, 3).tolist() == [REFERENCE[shape][1]] * 3


@pytest.mark.parametrize(("shape", "mean"), [("linear", 10.5), ("cosine", 12.3), ("exponential", 5.4)])
def test_mean_moves_over_a_hundred_epochs(shape, mean):
    shares = difficulty_histogram(IncrementalDifficulty(20, shape), epochs=100)
    assert float((shares * torch.arange(21)).sum(dim=1).mean()) == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize(
    ("longest", "shape", "first"),
    [(20, "linear", 100), (40, "linear", 200), (20, "cosine", 97), (20, "exponential", 90), (40, "exponential", 111)],
)
def test_first_epoch_of_originals_only(longest, shape, first):
    curriculum = IncrementalDifficulty(longest, shape)
    depths = [curriculum.depth(epoch) for epoch in range(250)]
    zero = depths.index(0)
    assert zero == first
    assert not any(depths[zero:])


def test_linear_at_the_published_pace_takes_one_move_away_every_five_epochs():
    assert [linear_steps(e, 40, 200) for e in range(250)] == [max(0, 40 - e // 5) for e in range(250)]
    assert linear_steps(37, 40, 200) == 33
    assert (linear_steps(199, 40, 200), linear_steps(200, 40, 200)) == (1, 0)


def test_the_print_with_its_factor_put_back_is_a_special_case():
    assert [exponential_steps(e, 20, 30 / 20) for e in range(6)] == [20, 10, 5, 2, 1, 0]
    assert [exponential_steps(e, 20, 30 / 20) for e in range(6)] == [
        math.floor(20 * math.exp(-e * 20 / 30)) for e in range(6)
    ]
    assert cosine_steps(20, 20, 20) == 0
    assert cosine_steps(19, 20, 20) == 1


def test_the_formulas_as_printed_are_no_schedules():
    assert {printed_cosine(e, 20) for e in range(200)} == {-1, 0, 1}
    assert [printed_exponential(e, 20) for e in range(4)] == [1, 0, 0, 0]


@given(st.integers(1, 60), st.integers(1, 200), st.sampled_from(list(REFERENCE)), st.floats(0.2, 60))
def test_schedules_begin_at_all_moves_and_never_rise(longest, epochs, shape, decay):
    curriculum = IncrementalDifficulty(longest, shape, epochs, decay)
    depths = [curriculum.depth(e) for e in range(epochs + 60)]
    assert depths[0] == longest
    assert min(depths) >= 0
    assert depths == sorted(depths, reverse=True)
    if shape != "exponential":
        assert not any(depths[epochs:])


def test_cosine_is_not_tripped_by_rounding():
    """cos(60 degrees) is a half, which floating point may miss from below."""
    assert [cosine_steps(2 * n, 20, 3 * n) for n in range(1, 60)] == [10] * 59


def test_dynamic_takes_out_one_image_per_epoch():
    dynamic = DynamicMixedBatch(40)
    assert [dynamic.processed(e) for e in (0, 10, 63, 64, 200)] == [64, 54, 1, 0, 0]
    for epoch in (0, 10, 64):
        steps = dynamic.steps(epoch, 64)
        assert set(steps.tolist()) <= {0, 40}
        assert int((steps == 40).sum()) == dynamic.processed(epoch)


def test_mixed_batch_holds_its_share_for_ever():
    mixed = MixedBatch(40, 16)
    for epoch in (0, 99):
        assert mixed.steps(epoch, 64).bincount(minlength=41).tolist() == [48] + [0] * 39 + [16]
    with pytest.raises(InputError, match="a batch of 8 cannot hold 16 processed"):
        mixed.steps(0, 8)


def test_histogram_says_who_trained_where():
    rows = difficulty_histogram(DynamicMixedBatch(3), epochs=65, batch_size=64)
    assert rows.shape == (65, 4)
    assert torch.equal(rows.sum(dim=1), torch.ones(65))
    assert torch.equal(rows[:, 3], (64 - torch.arange(65)) / 64)
    assert difficulty_histogram(FixedSteps(0), 2, longest=3).tolist() == [[1, 0, 0, 0]] * 2
    assert difficulty_histogram(GivenSteps((2, 1)), 3).tolist() == [[0, 0, 1], [0, 1, 0], [0, 1, 0]]
    with pytest.raises(InputError, match="goes to 3 moves, the histogram only to 2"):
        difficulty_histogram(DynamicMixedBatch(3), 5, longest=2)


def test_augmentation_turns_shifts_and_scales_within_its_ranges():
    rng = np.random.default_rng(0)
    matrices = torch.stack([Augmentation(10, 0.1, (0.5, 2.0)).matrix(rng) for _ in range(500)])
    seen = matrices[:, 0, :2].norm(dim=1)  # of an upright similarity: 1 / scale
    angle = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    assert torch.allclose(torch.linalg.det(matrices), seen**2, atol=1e-5)
    for values, low, high in ((1 / seen, 0.5, 2.0), (angle, -10, 10), (matrices[:, :2, 2], -0.2, 0.2)):
        span = high - low
        assert low - 1e-5 <= values.min() < low + 0.05 * span
        assert high - 0.05 * span < values.max() <= high + 1e-5


def test_augmentation_above_one_enlarges():
    matrix = Augmentation(0, 0, (1.25, 1.25)).matrix(np.random.default_rng(0))
    assert torch.allclose(matrix, torch.diag(torch.tensor([0.8, 0.8, 1.0])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedSteps(-1), "longest must be at least 0"),
        (lambda: MixedBatch(0), "longest must be at least 1"),
        (lambda: MixedBatch(5, -1), "cannot be negative"),
        (lambda: DynamicMixedBatch(5, 0), "epochs must be at least 1"),
        (lambda: IncrementalDifficulty(5, "square"), "linear, cosine, exponential; got 'square'"),
        (lambda: IncrementalDifficulty(5, "exponential", decay=0), "decay is a number of epochs above 0"),
        (lambda: GivenSteps(()), "for each epoch"),
        (lambda: GivenSteps((3, -1)), "0 or more"),
        (lambda: linear_steps(-1, 5, 5), "counted from 0"),
        (lambda: Augmentation(scale=(1.2, 0.8)), "scale in order"),
    ],
)
def test_senseless_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
