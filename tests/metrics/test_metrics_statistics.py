"""Mean, recall and decay by hand; averages over objects and videos."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.metrics import SequenceScore, Statistics, davis_summary, statistics, youtube_vos_summary
from course_lib.metrics.statistics import quarter_borders

values = st.lists(st.floats(0, 1), min_size=1, max_size=400).map(np.array)


def test_by_hand():
    found = statistics(np.array([1.0, 0.8, 0.6, 0.5, 0.4, 0.2, 0.0]))
    assert found.mean == pytest.approx(0.5)
    assert found.recall == pytest.approx(3 / 7)  # 0.5 is not above 0.5
    assert quarter_borders(7) == [0, 2, 3, 5, 6]
    assert found.decay == pytest.approx((1.0 + 0.8 + 0.6) / 3 - (0.2 + 0.0) / 2)


def test_quarters_share_their_border_frames():
    assert quarter_borders(9) == [0, 2, 4, 6, 8]
    ramp = np.arange(9) / 8
    assert statistics(ramp).decay == pytest.approx(ramp[0:3].mean() - ramp[6:9].mean())
    assert quarter_borders(1) == [0, 0, 0, 0, 0]


@given(values)
def test_reversing_time_turns_decay_around_and_leaves_the_rest(series):
    forward, backward = statistics(series), statistics(series[::-1])
    assert backward.mean == pytest.approx(forward.mean)
    assert backward.recall == forward.recall
    assert statistics(np.full_like(series, 0.3)).decay == pytest.approx(0, abs=1e-12)
    if len(series) % 4 == 1:  # quarters of equal length
        assert backward.decay == pytest.approx(-forward.decay)


@given(values)
def test_wrapping_matters_only_in_long_videos(series):
    if len(series) < 256:
        assert statistics(series) == statistics(series, wrap_uint8_borders=True)
    assert not math.isnan(statistics(series).decay)


def test_nan_counts_as_a_miss_but_not_in_the_mean():
    found = statistics(np.array([0.9, np.nan, 0.9, 0.9]))
    assert found.mean == pytest.approx(0.9)
    assert found.recall == 0.75


def test_no_values_give_nan():
    assert all(math.isnan(x) for x in (statistics(np.zeros(0)).mean, statistics(np.zeros(0)).decay))
    with pytest.raises(InputError, match="values of one object"):
        statistics(np.zeros((2, 3)))


def score(ids: list[int], J: list[list[float]], scored: list[list[bool]] | None = None) -> SequenceScore:
    array = np.array(J, dtype=float)
    return SequenceScore(
        np.array(ids), array, array / 2, np.ones_like(array, bool) if scored is None else np.array(scored)
    )


def test_davis_averages_over_objects_not_videos():
    summary = davis_summary([score([1], [[1.0, 1.0]]), score([1, 2, 3], [[0.0, 0.0]] * 3)])
    assert summary.objects == 4
    assert Statistics(0.25, 0.25, 0.0) == summary.J
    assert summary.JF_mean == pytest.approx((0.25 + 0.125) / 2)
    with pytest.raises(InputError, match="at least one video"):
        davis_summary([])


def test_youtube_averages_seen_and_unseen_apart():
    first = score([1, 4], [[0.8, 0.8], [0.4, 0.4]])
    second = score([2, 3], [[0.0, 0.6], [9.0, 9.0]], [[False, True], [False, False]])  # object 3 is never scored
    summary = youtube_vos_summary([first, second], [[1], {2}])
    assert (summary.J_seen, summary.J_unseen) == pytest.approx((0.7, 0.4))
    assert (summary.F_seen, summary.F_unseen) == pytest.approx((0.35, 0.2))
    assert summary.overall == pytest.approx((0.7 + 0.4 + 0.35 + 0.2) / 4)
    assert (summary.objects_seen, summary.objects_unseen, summary.objects_unscored) == (2, 1, 1)


def test_youtube_without_unseen_objects_has_no_overall_figure():
    summary = youtube_vos_summary([score([1], [[1.0]])], [[1]])
    assert summary.J_seen == 1.0
    assert math.isnan(summary.J_unseen)
    assert math.isnan(summary.overall)


def test_youtube_refuses_lists_that_do_not_fit():
    with pytest.raises(InputError, match="1 scores but 2 lists"):
        youtube_vos_summary([score([1], [[1.0]])], [[1], [1]])
    with pytest.raises(InputError, match=r"seen names ids \[7\], its score has \[1\]"):
        youtube_vos_summary([score([1], [[1.0]])], [[7]])
