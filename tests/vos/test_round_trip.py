"""Forward and back: perfect methods return, lossy ones do not, lost objects count zero."""

import pytest
import torch

from course_lib.data.clip import Clip
from course_lib.errors import InputError
from course_lib.methods.propagation.mask_flow import CopyFirstMask, MaskFlow
from course_lib.vos.aggregate import one_hot
from course_lib.vos.round_trip import round_trip


def labels(*columns, size=(4, 10)):
    out = torch.zeros(size, dtype=torch.uint8)
    for label, (x0, x1) in columns:
        out[:, x0:x1] = label
    return out


class Shift:
    """Moves masks right by `step` columns a frame, or left if the frame says that time runs backward."""

    def __init__(self, lossy=False):
        self.lossy = lossy

    def start(self, frame, start_labels):
        self.ids = start_labels.unique()[start_labels.unique() != 0]
        self.labels, self.time = start_labels.clone(), float(frame[0, 0, 0])
        return self

    def step(self, frame):
        now = float(frame[0, 0, 0])
        direction = 1 if now > self.time else -1
        self.labels, self.time = self.labels.roll(direction, dims=1), now
        if self.lossy:
            self.labels[0] = 0
        return one_hot(self.labels, self.ids)

    def memory_bytes(self):
        return 0


FRAMES = torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 3, 4, 10)


def test_a_perfect_method_returns():
    trip = round_trip(Shift(), FRAMES, labels((7, (1, 3)), (2, (5, 6))))
    assert trip.ids.tolist() == [2, 7] and trip.iou.tolist() == [1, 1] and trip.mean == 1
    assert trip.forward.shape == trip.backward.shape == (4, 4, 10)
    assert torch.equal(trip.forward[-1], labels((7, (4, 6)), (2, (8, 9))))
    assert torch.equal(trip.backward[0], labels((7, (1, 3)), (2, (5, 6))))
    assert trip.agreement.eq(1).all()


def test_what_is_lost_on_the_way_is_counted():
    trip = round_trip(Shift(lossy=True), FRAMES, labels((1, (1, 3))))
    assert trip.iou.tolist() == [0.75]  # one row of four is gone


def test_an_object_that_vanished_counts_zero_and_the_others_go_on():
    class Forgetful(Shift):
        def step(self, frame):
            super().step(frame)
            self.labels[self.labels == 9] = 0
            return one_hot(self.labels, self.ids)

    trip = round_trip(Forgetful(), FRAMES, labels((9, (1, 3)), (4, (5, 6))))
    assert dict(zip(trip.ids.tolist(), trip.iou.tolist())) == {9: 0.0, 4: 1.0} and trip.mean == 0.5


def test_all_gone_is_zero_not_an_error():
    class Blind(Shift):
        def step(self, frame):
            return one_hot(torch.zeros_like(self.labels), self.ids)

    trip = round_trip(Blind(), FRAMES, labels((1, (1, 3))))
    assert trip.mean == 0 and trip.backward.eq(0).all()
    assert trip.agreement[0].tolist() == [0, 1, 1, 1]  # where both see nothing they agree


def test_copying_is_perfect_though_wrong():
    assert round_trip(CopyFirstMask(), FRAMES, labels((1, (1, 3)))).mean == 1


def test_a_clip_brings_its_labels_and_ignored_pixels_do_not_count():
    frames = torch.randint(0, 255, (3, 3, 32, 40), dtype=torch.uint8)
    truth = torch.zeros(3, 32, 40, dtype=torch.uint8)
    truth[:, 8:20, 8:20] = 5
    truth[:, 25:, 25:] = 255
    trip = round_trip(CopyFirstMask(), Clip(frames, truth))
    assert trip.ids.tolist() == [5] and trip.mean == 1
    assert "object 5: 1.000" in str(trip)


def test_flow_on_a_still_video_returns():
    frames = torch.rand(1, 3, 48, 64).expand(5, -1, -1, -1)
    assert round_trip(MaskFlow(), frames, labels((1, (20, 40)), size=(48, 64))).mean > 0.9


def test_labels_are_needed():
    with pytest.raises(InputError, match="needs the labels of the first frame"):
        round_trip(CopyFirstMask(), FRAMES)
