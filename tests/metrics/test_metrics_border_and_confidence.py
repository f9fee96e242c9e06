"""Errors by distance to the border, and confidence by size and time: by hand, and against slow obvious versions."""

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.metrics.border_error import border_distance, border_errors
from course_lib.metrics.confidence import confidence, confidence_table
from course_lib.metrics.object_tracks import ObjectTrack

NAN = np.nan


def bar() -> np.ndarray:
    """[1, 9, 20]: columns 5 … 12 are the object, so distances are whole numbers along a row."""
    mask = np.zeros((1, 9, 20), dtype=bool)
    mask[:, :, 5:13] = True
    return mask


def test_distance_is_that_to_the_nearest_pixel_of_the_other_class():
    rng = np.random.default_rng(0)
    mask = rng.random((11, 13)) < 0.3
    found = border_distance(mask)
    for y, x in np.ndindex(*mask.shape):
        other = np.argwhere(mask != mask[y, x])
        assert found[y, x] == pytest.approx(np.hypot(*(other - (y, x)).T).min())
    assert np.isinf(border_distance(np.ones((3, 3), dtype=bool))).all()


def test_errors_are_counted_where_they_lie():
    truth = bar()
    guess = truth.copy()
    guess[0, :, 5] = False  # the left edge of the object: half of the pixels at distance 1 inside
    guess[0, :3, 15] = True  # three pixels at distance 3 outside
    found = border_errors([guess], [truth], limits=(1, 2, 4))
    assert found.names == ["up to 1", "1 to 2", "2 to 4", "over 4"]
    assert [rate.mean for rate in found.inside] == pytest.approx([0.5, 0, 0, NAN], nan_ok=True)
    assert found.inside_pixels.tolist() == [18, 18, 36, 0]  # columns 5, 12; 6, 11; 7 … 10
    assert [rate.mean for rate in found.outside] == pytest.approx([0, 0, 3 / 36, 0])
    assert found.outside_pixels.tolist() == [18, 18, 36, 36]  # 4, 13; 3, 14; 1 … 2, 15 … 16; 0, 17 … 19


def test_clips_with_more_pixels_weigh_more_and_intervals_go_over_clips():
    truth, tall = bar(), np.concatenate([bar(), bar()], axis=1)
    wrong = ~tall
    found = border_errors([truth, torch.from_numpy(wrong)], [truth, torch.from_numpy(tall)])
    assert found.inside[0].mean == pytest.approx(2 / 3)
    assert found.inside[0].low < 2 / 3 < found.inside[0].high
    assert np.isnan(border_errors([truth], [truth]).inside[0].low)


def test_a_frame_without_the_object_is_background_far_from_any_border():
    truth = np.zeros((1, 4, 5), dtype=bool)
    found = border_errors([~truth], [truth], limits=(1, 8))
    assert found.outside_pixels.tolist() == [0, 0, 20] and found.outside[2].mean == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: border_errors([], []), "at least one"),
        (lambda: border_errors([bar()], [bar()], [0.5]), "1 or more"),
        (lambda: border_errors([bar()], [bar()], [2, 2]), "rising"),
        (lambda: border_errors([bar()[:, 1:]], [bar()]), "masks: prediction has shape"),
        (lambda: border_errors([bar() * 0.3], [bar()]), "threshold probabilities"),
    ],
)
def test_bad_masks_are_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_confidence_by_hand():
    truth = np.zeros((3, 2, 2), dtype=bool)
    truth[0], truth[1, 0] = True, True
    probs = np.array([[[1, 0], [0.5, 0.7]], [[0.5, 0.9], [0, 0]], [[1, 1], [1, 1]]])
    np.testing.assert_allclose(confidence(probs, truth), [(0.5 + 0.5 + 0 + 0.2) / 4, 0.2, NAN])
    turned = confidence(1 - torch.from_numpy(probs).float(), torch.from_numpy(truth))
    np.testing.assert_allclose(turned, [0.3, 0.2, NAN], rtol=1e-5)  # sure of the wrong thing is as sure


def sure(values, area, clip) -> ObjectTrack:
    values = np.array(values)
    ones = np.ones(len(values))
    return ObjectTrack(clip, 1, ones, ones, ones > 0, area * ones, values)


def test_confidence_by_size_and_time():
    tracks = [
        sure([0.5, 0.1, 0.3, 0.0, 0.2], 4, "a"), sure([0.5, 0.2, 0.2, 0.1, NAN], 5, "b"),
        sure([0.5, 0.5, 0.5, 0.4, 0.4], 90, "c"),
    ]  # fmt: skip
    table = confidence_table(tracks, edges=[10], times=(3,))
    assert table.sizes == ("up to 10", "over 10") and table.times == ("t 1 to 2", "t from 3")
    np.testing.assert_allclose(table.means, [[0.2, 0.1], [0.5, 0.4]])  # the given frame, t = 0, does not count
    assert table.counts.tolist() == [[2, 2], [1, 1]]
    assert "0.200 (n 2)" in str(table) and len(str(table).splitlines()) == 3
    assert confidence_table(tracks).sizes == ("small", "medium", "large")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confidence(np.full((1, 2, 2), 3.0), np.ones((1, 2, 2), dtype=bool)), "apply the sigmoid"),
        (lambda: confidence(np.full((1, 2, 2), NAN), np.ones((1, 2, 2), dtype=bool)), r"lie in \[0, 1\]"),
        (lambda: confidence(np.zeros((1, 2, 3)), np.ones((1, 2, 2), dtype=bool)), "like the truth"),
        (lambda: confidence_table([sure([0.1], 3, "a")], [5], times=(4, 4)), "rising"),
        (
            lambda: confidence_table([ObjectTrack("a", 1, *np.ones((2, 2)), np.ones(2) > 0, np.ones(2))], [5]),
            r"no confidence was recorded for \('a', 1\)",
        ),
    ],
)
def test_bad_confidence_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
