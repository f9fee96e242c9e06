"""Tracks of followed objects agree with the report of the evaluation, and confidence is that of the right channel."""

import numpy as np
import pytest
import torch

from course_lib.data.clip import Clip
from course_lib.errors import InputError
from course_lib.methods.propagation.mask_flow import CopyFirstMask
from course_lib.metrics.slices import by_size
from course_lib.vos.analysis import first_areas, follow_objects, report_by_size
from course_lib.vos.evaluation import evaluate

SIZE = (20, 30)


def clip(name="one", length=6, ids=(1,), side=6, join=None, annotated=None) -> Clip:
    """Squares that move right by one pixel; the last id joins at frame `join`."""
    labels = torch.zeros(length, *SIZE, dtype=torch.uint8)
    for t in range(length):
        for row, label in enumerate(ids):
            if join is None or label != ids[-1] or t >= join:
                labels[t, 1 + 9 * row : 1 + 9 * row + side, 2 + t : 2 + t + side] = label
    if annotated is not None:
        labels[[t for t in range(length) if t not in annotated]] = 255
    frames = torch.zeros(length, 3, *SIZE, dtype=torch.uint8)
    return Clip(frames, labels, name=name, annotated=annotated)


class Unsure:
    """Answers with its first labels, object k with probability p_k."""

    def __init__(self, *probabilities):
        self.probabilities = torch.tensor(probabilities)

    def start(self, frame, labels):
        return UnsureSession(self.probabilities, labels)


class UnsureSession:
    def __init__(self, probabilities, labels):
        self.probabilities = probabilities
        self.ids = torch.tensor(sorted(set(labels.unique().tolist()) - {0, 255}))
        self.masks = torch.stack([labels == label for label in self.ids.tolist()])

    def step(self, frame):
        objects = self.masks * self.probabilities[: len(self.masks), None, None]
        return torch.cat([1 - objects.sum(0, keepdim=True), objects])

    def add(self, labels):
        new = torch.tensor(sorted(set(labels.unique().tolist()) - {0, 255}))
        self.ids = torch.cat([self.ids, new])
        self.masks = torch.cat([self.masks, torch.stack([labels == label for label in new.tolist()])])
        return self.step(None)

    def memory_bytes(self):
        return 0


DATA = [clip("a", ids=(3, 200)), clip("b", ids=(9,), side=3), clip("c", ids=(4,), annotated=(0, 2, 4))]


@pytest.mark.parametrize("protocol", ["youtube_vos", "davis"])
def test_means_of_tracks_are_those_of_the_report(protocol):
    report = evaluate(CopyFirstMask(), DATA, protocol=protocol, progress=False)
    tracks = follow_objects(CopyFirstMask(), DATA, protocol=protocol)
    assert [track.key for track in tracks] == [("a", 3), ("a", 200), ("b", 9), ("c", 4)]
    for track, scored in zip(tracks, report.objects):
        whole = np.ones(len(track), dtype=bool)
        assert track.mean(whole, "J") == pytest.approx(scored.J_mean)
        assert track.mean(whole, "F") == pytest.approx(scored.F_mean)
        assert track.scored.sum() == scored.frames


def test_a_finished_report_can_be_sliced_by_size_like_the_tracks():
    report = evaluate(CopyFirstMask(), DATA, progress=False)
    one, other = report_by_size(report, DATA, edges=[20]), by_size(follow_objects(CopyFirstMask(), DATA), edges=[20])
    for name in ("up to 20", "over 20"):
        assert one[name].J == other[name].J and one[name].count == other[name].count
    assert one["up to 20"].count == 1
    with pytest.raises(InputError, match=r"object \('a', 3\), which the data set does not give"):
        report_by_size(report, DATA[1:])


def test_confidence_is_of_the_true_pixels_and_not_of_the_frame_that_was_given():
    (first, second) = follow_objects(Unsure(0.9, 0.6), [clip(ids=(3, 200))])
    inside = np.array([6 * (6 - t) / 36 for t in range(6)])  # the answer stays, the object moves on
    expected = inside * 0.4 + (1 - inside) * 0.5  # off the answer p is 0, and sure of it
    np.testing.assert_allclose(first.confidence[1:], expected[1:], rtol=1e-6)
    np.testing.assert_allclose(second.confidence[1:], (inside * 0.1 + (1 - inside) * 0.5)[1:], rtol=1e-6)
    assert np.isnan(first.confidence[0])


def test_objects_that_join_later_are_followed_from_there():
    tracks = follow_objects(Unsure(0.9, 0.8), [clip(ids=(3, 200), join=2)], adds_objects=True)
    assert tracks[1].time.tolist() == [-1, -1, 0, 1, 2, 3]
    assert np.isnan(tracks[1].confidence[:3]).all() and not np.isnan(tracks[1].confidence[3:]).any()
    assert first_areas([clip(ids=(3, 200), join=2)], adds_objects=True) == {("one", 3): 36, ("one", 200): 36}


def test_a_method_that_needs_the_whole_clip_has_no_confidence():
    class Offline:
        def segment(self, frames, labels):
            return labels.expand(len(frames), -1, -1).clone()

    tracks = follow_objects(Offline(), DATA)
    assert all(track.confidence is None for track in tracks)
    online = follow_objects(CopyFirstMask(), DATA)
    for one, other in zip(tracks, online):
        np.testing.assert_array_equal(one.J, other.J)


def test_bad_input_is_explained():
    with pytest.raises(InputError, match="two sequences of the data set are called 'a'"):
        follow_objects(CopyFirstMask(), [DATA[0], DATA[0]])
    with pytest.raises(InputError, match="str is no method"):
        follow_objects("stm", DATA)
