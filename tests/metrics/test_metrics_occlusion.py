"""When an object is hidden and back, by hand; and the frames that are scored after it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.metrics.object_tracks import ObjectTrack
from course_lib.metrics.occlusion import after_occlusion, between, first_reappearance, occlusions, scaled_tau

NAN = np.nan


def track(areas) -> ObjectTrack:
    areas = np.array(areas, dtype=float)
    values = np.linspace(0, 1, len(areas))
    return ObjectTrack("clip", 1, values, values, ~np.isnan(areas), areas)


@pytest.mark.parametrize(
    ("areas", "tau", "back"),
    [
        ([5, 5, 0, 0, 3, 0, 4], 0, 4),
        ([5, 5, 0, 0, 3, 0, 4], 3, 6),  # 3 pixels are still hidden
        ([5, 5, 0, 0, 3, 0, 4], 4, None),  # never more than 4 pixels again
        ([5, 5, 5], 0, None),
        ([5, 0, 0], 0, None),  # gone for good
        ([0, 0, 5, 5], 0, None),  # it came late, it was not hidden
        ([0, 5, 0, 5], 0, 3),
        ([100, 50, 51], 50, 2),  # exactly tau is hidden
        ([5, 0, NAN, NAN, 3], 0, 4),  # frames without annotation say nothing
        ([5, NAN, 5], 0, None),
        ([], 0, None),
    ],
)
def test_first_reappearance_by_hand(areas, tau, back):
    assert first_reappearance(areas, tau) == back
    assert first_reappearance(torch.tensor(areas, dtype=torch.float32), tau) == back


def test_all_occlusions_with_their_lengths():
    assert occlusions([5, 5, 0, 0, 3, 0, 4, 0]) == [(2, 4), (5, 6)]  # the last one never ends
    assert occlusions([9, 2, 9, 1, 1, 9], tau=1) == [(3, 5)]


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(0, 2))
def test_agrees_with_the_three_searches_of_the_definition(areas, tau):
    def first(condition, start):
        return next((t for t in range(start, len(areas)) if condition(areas[t])), None)

    seen = first(lambda a: a > tau, 0)
    hidden = None if seen is None else first(lambda a: a <= tau, seen + 1)
    back = None if hidden is None else first(lambda a: a > tau, hidden + 1)
    assert first_reappearance(areas, tau) == back
    # frames before the first sight, and a larger picture with a threshold that grows with it, change nothing
    assert first_reappearance([0, *areas], tau) == (None if back is None else back + 1)
    assert first_reappearance([4 * a for a in areas], scaled_tau(tau, 512, 896)) == back


def test_frames_after_the_first_occlusion_are_those_it_is_seen_in_or_all():
    one = track([5, 5, 0, 0, 3, 0, 4])
    assert np.flatnonzero(after_occlusion()(one)).tolist() == [4, 6]
    assert np.flatnonzero(after_occlusion(which="all")(one)).tolist() == [4, 5, 6]
    assert not after_occlusion()(track([5, 5, 5])).any()
    assert np.flatnonzero(after_occlusion(which="all")(track([5, 0, 4, NAN, 4]))).tolist() == [2, 4]
    assert np.flatnonzero(between(1, 5)(one)).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("areas", "tau", "message"),
    [
        ([[1, 2]], 0, r"areas must be \[T\]"),
        ([1, -2], 0, "least area of -2"),
        ([1, 2], -1, "tau -1"),
        ([1, 2], NAN, "tau nan"),
    ],
)
def test_bad_input(areas, tau, message):
    with pytest.raises(InputError, match=message):
        first_reappearance(areas, tau)
    with pytest.raises(InputError, match="'visible' or 'all'"):
        after_occlusion(which="seen")
