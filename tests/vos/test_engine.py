"""The streaming loop: what it hands over, what it holds, and what it refuses."""

import gc
import weakref

import numpy as np
import pytest
import torch

from course_lib.data.clip import Clip
from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError
from course_lib.methods.propagation.mask_flow import CopyFirstMask
from course_lib.vos.aggregate import add_objects, one_hot
from course_lib.vos.engine import segment, segment_video

SIZE = (6, 8)


def frame(value=0.5, size=SIZE):
    return torch.full((3, *size), value)


def mask(*ids, size=SIZE):
    """One row per id, from the top; the last row is ignored."""
    labels = torch.zeros(size, dtype=torch.uint8)
    for row, label in enumerate(ids):
        labels[row] = label
    labels[-1] = 255
    return labels


class Recorder:
    """A method that writes down what it is given and answers with its masks, or with what it is told to."""

    def __init__(self, answer=None):
        self.given, self.grad, self.answer = [], [], answer

    def start(self, first, labels):
        self.given.append(first)
        self.ids = labels.unique()[(labels.unique() != 0) & (labels.unique() != 255)]
        self.probs = one_hot(labels, self.ids)
        return self

    def step(self, image):
        self.given.append(image)
        self.grad.append(torch.is_grad_enabled())
        return self.probs if self.answer is None else self.answer

    def add(self, labels):
        new = torch.tensor(sorted(set(labels.unique().tolist()) - {0, 255}))
        self.ids = torch.cat([self.ids, new])
        self.probs = add_objects(self.probs, labels, new)
        return self.probs

    def memory_bytes(self):
        return 7


def test_frame_zero_is_its_labels_and_every_frame_is_answered():
    run = segment(CopyFirstMask(), [frame()] * 4, mask(9, 200))
    answers = list(run)
    assert len(answers) == 4 and run.index == 3
    assert run.ids.tolist() == [9, 200]  # not contiguous
    assert torch.equal(answers[0], one_hot(mask(9, 200), torch.tensor([9, 200])))
    assert answers[0][0, -1].eq(1).all()  # ignored pixels belong to no object
    assert run.labels(answers[0])[:2, 0].tolist() == [9, 200]


def test_uint8_and_float_frames_are_the_same_to_a_method():
    levels = torch.arange(3 * 48, dtype=torch.uint8).view(3, *SIZE)
    methods = Recorder(), Recorder()
    for method, frames in zip(methods, ([levels] * 2, [levels.float() / 255] * 2)):
        list(segment(method, frames, mask(1)))
    for a, b in zip(methods[0].given, methods[1].given):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(a, b)


def test_it_is_lazy_and_holds_one_frame():
    taken, alive = [], []

    def camera():
        for t in range(50):
            image = frame(t / 50)
            taken.append(t)
            alive.append(weakref.ref(image))
            yield image
            del image

    run = segment(CopyFirstMask(), camera(), mask(1))
    assert taken == [0]
    next(run)
    assert taken == [0]  # frame 0 needs no further frame
    for _ in range(30):
        next(run)
    gc.collect()
    assert taken[-1] == 30
    assert sum(ref() is not None for ref in alive) <= 2  # the one just answered, and at most the camera's own


def test_the_frame_answered_is_at_hand():
    frames = [frame(v) for v in (0.1, 0.2, 0.3)]
    run = segment(CopyFirstMask(), frames, mask(1))
    for t, _ in enumerate(run):
        assert run.index == t and run.frame is frames[t]
    assert run.memory_bytes() > 0 and run.seconds > 0


def test_gradients_are_off_in_a_session():
    method = Recorder()
    list(segment(method, [frame()] * 2, mask(1)))
    assert method.grad == [False]


def test_an_object_joins_at_its_frame():
    later = torch.zeros(SIZE, dtype=torch.uint8)
    later[2] = 40
    run = segment(Recorder(), [frame()] * 4, mask(3), {2: later})
    channels = []
    for probs in run:
        channels.append(len(probs))
        if run.index == 2:
            assert run.labels(probs)[2].eq(40).all()
    assert channels == [2, 2, 3, 3] and run.ids.tolist() == [3, 40]


class Elsewhere(Recorder):
    """Claims to live on the meta device, which computes nothing but knows where tensors are."""

    device = torch.device("meta")

    def start(self, first, labels):
        assert labels.device.type == "meta"
        self.given.append(first)
        self.ids = torch.tensor([1])
        return self


def test_frames_and_labels_go_to_the_method_s_device():
    method = Elsewhere()
    run = segment(method, [frame().double()] * 2, mask(1))
    next(run)
    assert method.given[0].device.type == "meta"


@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        ([], mask(1), "no frames"),
        ([frame()], mask(1, size=(6, 9)), "labels of frame 0 are 6 x 9 but the frame is 6 x 8"),
        ([frame()], torch.zeros(SIZE, dtype=torch.uint8), "no object, only 0: mark at least one"),
        ([frame()], torch.full(SIZE, 255, dtype=torch.uint8), "only 255: 255 means ignore"),
        ([frame()], mask(1).long(), r"must be uint8 .*got torch.int64"),
        ([frame()], mask(1)[None], r"tensor \[H, W\] of object ids, got \[1, 6, 8\]"),
        ([frame()], None, "got NoneType"),
        ([frame().int()], mask(1), "uint8 or floating point in .0, 1., got torch.int32"),
        ([frame() * 255], mask(1), "frame 0 holds values from 127.5 to 127.5.* divide by 255"),
        ([frame(float("nan"))], mask(1), "nan"),
        ([frame().permute(1, 2, 0)], mask(1), r"\[3, H, W\] .*got \[6, 8, 3\]"),
        ([np.zeros((3, 6, 8))], mask(1), "got ndarray"),
    ],
)
def test_bad_beginnings(frames, labels, message):
    with pytest.raises(InputError, match=message):
        segment(CopyFirstMask(), frames, labels)


def test_mixed_sizes_name_the_frame():
    run = segment(CopyFirstMask(), [frame(), frame(), frame(size=(6, 9))], mask(1))
    next(run), next(run)
    with pytest.raises(InputError, match="frame 2 is 6 x 9 but the frames before it are 6 x 8"):
        next(run)


def test_what_comes_back_from_a_method_is_checked():
    for answer, message in (
        (torch.full((2, *SIZE), float("nan")), "Recorder answered frame 1 with NaN or infinity"),
        (torch.full((2, *SIZE), float("inf")), "NaN or infinity"),
        (torch.zeros(3, *SIZE), r"answered frame 1 with \[3, 6, 8\]; expected probabilities \[2, 6, 8\]"),
        ("nothing", "answered frame 1 with str"),
    ):
        run = segment(Recorder(answer), [frame()] * 2, mask(1))
        next(run)
        with pytest.raises(InputError, match=message):
            next(run)


def test_objects_that_cannot_join():
    with pytest.raises(InputError, match="already follows"):
        list(segment(CopyFirstMask(), [frame()] * 3, mask(4), {1: mask(4)}))
    with pytest.raises(InputError, match="frames 1, 2"):
        segment(CopyFirstMask(), [frame()], mask(1), {0: mask(2)})
    with pytest.raises(InputError, match=r"name frames \[7\], but the video ended after 3 frames"):
        list(segment(CopyFirstMask(), [frame()] * 3, mask(4), {7: mask(5)}))
    with pytest.raises(InputError, match="labels of frame 1 hold no object"):
        list(segment(CopyFirstMask(), [frame()] * 3, mask(4), {1: torch.zeros(SIZE, dtype=torch.uint8)}))


def test_an_offline_method_is_told_where_to_go():
    class Whole:
        def segment(self, frames, labels):
            return labels

    with pytest.raises(InputError, match=r"Whole has no method `start`.*OfflineSegmenter"):
        segment(Whole(), [frame()], mask(1))


def test_every_form_of_a_video_gives_the_same(tmp_path):
    frames = torch.randint(0, 256, (3, 3, 16, 24), dtype=torch.uint8)
    labels = mask(5, size=(16, 24))
    clip = Clip(frames, labels.expand(3, -1, -1).clone())
    write_labels(tmp_path / "first.png", labels)
    forms = [
        segment_video("copy", clip),
        segment_video(CopyFirstMask(), frames, labels),
        segment_video(CopyFirstMask(), (f for f in frames), labels.numpy()),
        segment_video(CopyFirstMask(), list(frames), tmp_path / "first.png"),
    ]
    answers = [torch.stack(list(run)) for run in forms]
    assert all(torch.equal(answers[0], a) for a in answers[1:])


def test_a_folder_of_pictures_is_streamed(tmp_path):
    from PIL import Image

    for t in range(3):
        Image.fromarray(np.full((16, 24, 3), 40 * t, dtype=np.uint8)).save(tmp_path / f"{t:05d}.png")
    run = segment_video("copy", tmp_path, mask(5, size=(16, 24)))
    means = [float(run.frame.float().mean()) for _ in run]
    assert means == [0, 40, 80]


def test_segment_video_says_what_it_lacks():
    with pytest.raises(InputError, match="labels of the first frame are needed"):
        segment_video("copy", Clip(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)))
    with pytest.raises(InputError, match=r"\[T, 3, H, W\]"):
        segment_video("copy", torch.zeros(3, 4, 4), torch.ones(4, 4, dtype=torch.uint8))
