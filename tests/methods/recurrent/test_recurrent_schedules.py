"""Clip lengths and scheduled sampling: published values, shares of training, and draws that a batch agrees on."""

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.methods.recurrent.schedules import (
    HS2S_EPOCHS,
    PUBLISHED_LENGTHS,
    PUBLISHED_LENGTHS_HS2S,
    PUBLISHED_SAMPLING,
    S2S_EPOCHS,
    TEACHER_FORCING,
    ClipLengths,
    ScheduledSampling,
    published_clip_length,
    published_truth_probability,
)


def test_published_values_of_the_exercise():
    assert [published_truth_probability(e) for e in (0, 300, 350, 400, 425, 749)] == pytest.approx(
        [1, 1, 0.8, 0.6, 0.5, 0.5]
    )
    assert [published_clip_length(e) for e in (0, 9, 10, 29, 30, 49, 50, 400)] == [5, 5, 6, 7, 8, 9, 10, 10]


def test_shares_of_training_are_the_published_epochs():
    for epoch in range(HS2S_EPOCHS):
        assert PUBLISHED_SAMPLING.at(epoch / HS2S_EPOCHS) == pytest.approx(published_truth_probability(epoch))
        assert PUBLISHED_LENGTHS_HS2S.at(epoch / HS2S_EPOCHS) == published_clip_length(epoch)
    for epoch in range(S2S_EPOCHS):
        assert PUBLISHED_LENGTHS.at(epoch / S2S_EPOCHS) == published_clip_length(epoch)


def test_small_schedules():
    """Lengths 4 to 8 for a fifth of training each, up to rounding; truth for 30 %, then a line down to 0.25."""
    lengths = [ClipLengths().at(step / 1000) for step in range(1000)]
    assert lengths == sorted(lengths) and np.bincount(lengths)[4:].tolist() == [200] * 5
    sampling = ScheduledSampling()
    assert [sampling.at(p) for p in (0, 0.3, 0.65, 1)] == pytest.approx([1, 1, 0.625, 0.25])
    assert {TEACHER_FORCING.at(p) for p in (0, 0.5, 1)} == {1.0}


def test_drawn_lengths_depend_on_the_step_alone_and_cover_the_range():
    drawn = [PUBLISHED_LENGTHS_HS2S.draw(0.5, step, seed=3) for step in range(600)]
    assert drawn == [PUBLISHED_LENGTHS_HS2S.draw(0.5, step, seed=3) for step in range(600)]
    counts = np.bincount(drawn, minlength=11)[5:]
    assert len(counts) == 6 and counts.min() > 60  # 100 expected, standard deviation 9
    assert {PUBLISHED_LENGTHS_HS2S.draw(0.0, step, 3) for step in range(50)} == {5}
    assert {ClipLengths().draw(0.5, step, 3) for step in range(50)} == {6}


def test_values_out_of_range_are_refused():
    for wrong in (ClipLengths, ScheduledSampling):
        with pytest.raises(InputError, match=r"in \[0, 1\]; got 1.5"):
            wrong().at(1.5)
    with pytest.raises(InputError, match="shortest <= longest"):
        ClipLengths(8, 4)
    with pytest.raises(InputError, match="until < end"):
        ScheduledSampling(until=1.0)
    for function in (published_clip_length, published_truth_probability):
        with pytest.raises(InputError, match="epochs count from 0"):
            function(-1)
