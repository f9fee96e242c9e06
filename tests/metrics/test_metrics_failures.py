"""Where answers go when they miss: by hand, and refusals."""

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.metrics.failures import failures
from course_lib.metrics.object_tracks import ObjectTrack, object_tracks
from course_lib.metrics.occlusion import after_occlusion
from course_lib.metrics.sequence import evaluate_labels

NAN = np.nan


def track(J, area, claimed, scored=None, clip="a"):
    J, area = np.array(J, dtype=float), np.array(area, dtype=float)
    scored = np.arange(len(J)) > 0 if scored is None else np.array(scored)
    said = None if claimed is None else np.array(claimed, dtype=float)
    return ObjectTrack(clip, 1, J, J, scored, area, None, said)


def test_by_hand():
    # given, found, hidden + invented, hidden + silent, back: elsewhere, nowhere, found, elsewhere
    one = track([1, 0.8, 0, 1, 0.0, 0.0, 0.5, 0.05], [9, 9, 0, 0, 9, 9, 9, 9], [9, 9, 4, 0, 7, 0, 9, 9])
    every = failures([one])
    assert (every.found, every.elsewhere, every.nowhere) == pytest.approx((2 / 5, 2 / 5, 1 / 5))
    assert every.invented == pytest.approx(1 / 2) and every.count == 1
    back = failures([one], after_occlusion())
    assert (back.found, back.elsewhere, back.nowhere) == pytest.approx((1 / 4, 2 / 4, 1 / 4))
    assert "on the object 25%, on something else 50%, no answer 25%" in str(back) and "claimed in 50%" in str(back)


def test_objects_count_alike_and_unscored_frames_not_at_all():
    long, short = track([1] * 10, [5] * 10, [5] * 10), track([1, 0], [5, 5], [5, 0], clip="b")
    both = failures([long, short])
    assert both.found == pytest.approx(0.5) and both.nowhere == pytest.approx(0.5) and np.isnan(both.invented)
    assert "hidden" not in str(both)
    unknown = track([1, NAN, 0], [5, NAN, 5], [5, 5, 5], scored=[False, False, True])
    assert failures([unknown]).elsewhere == 1
    none = failures([track([1], [5], [5])])
    assert np.isnan(none.found) and none.count == 0


def test_a_few_pixels_can_count_as_none():
    few = track([1, 0, 0], [9, 9, 3], [9, 3, 3])
    assert failures([few], tau=0).elsewhere == 1 and failures([few], tau=3).nowhere == 1
    assert failures([few], tau=3).invented == 0


def test_from_label_maps():
    truth = np.zeros((3, 4, 4), dtype=np.uint8)
    truth[:, :2, :2] = 1
    answer = truth.copy()
    answer[1], answer[2] = 0, np.flipud(np.fliplr(truth[2]))
    score = evaluate_labels(answer, truth, protocol="youtube_vos")
    (one,) = object_tracks(score, truth, "clip", predicted=answer)
    assert one.claimed.tolist() == [4, 0, 4]
    found = failures([one])
    assert (found.nowhere, found.elsewhere) == (0.5, 0.5)
    with pytest.raises(InputError, match=r"predicted is \[2, 4, 4\], the truth \[3, 4, 4\]"):
        object_tracks(score, truth, "clip", predicted=answer[:2])


def test_refusals():
    with pytest.raises(InputError, match="does not know what was claimed"):
        failures([track([1, 1], [5, 5], None)])
    with pytest.raises(InputError, match="from 0 up, got -1"):
        failures([], tau=-1)
