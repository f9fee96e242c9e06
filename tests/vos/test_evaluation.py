"""Evaluation: scores of methods with known answers, resuming, disasters, late objects."""

import csv
import errno
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from course_lib.data.clip import Clip
from course_lib.data.palette_png import read_labels
from course_lib.errors import InputError, WriteError
from course_lib.methods.propagation.mask_flow import CopyFirstMask
from course_lib.metrics.contour import contour_accuracy, region_similarity
from course_lib.vos import evaluation
from course_lib.vos.aggregate import add_objects, one_hot
from course_lib.vos.evaluation import evaluate

SIZE = (20, 30)


def clip(name="one", length=8, ids=(1,), speed=1, join=None):
    """Squares of 6 pixels that move right by `speed`; the last id joins at frame `join`."""
    labels = torch.zeros(length, *SIZE, dtype=torch.uint8)
    for t in range(length):
        for row, label in enumerate(ids):
            if join is None or label != ids[-1] or t >= join:
                labels[t, 2 + 8 * row : 8 + 8 * row, 2 + speed * t : 8 + speed * t] = label
    frames = torch.randint(0, 256, (length, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Clip(frames, labels, name=name)


class Oracle:
    """Answers with the truth of the clip it is told of; counts what it was asked."""

    def __init__(self, *clips):
        self.clips, self.started, self.added = clips, [], []

    def start(self, frame, labels):
        current = next(c for c in self.clips if torch.equal(c.labels[0], labels) and c.name not in self.started)
        self.started.append(current.name)
        return OracleSession(self, current, labels)


class OracleSession:
    def __init__(self, oracle, current, labels):
        self.oracle, self.clip, self.t = oracle, current, 0
        self.ids = torch.tensor(sorted(set(labels.unique().tolist()) - {0, 255}))
        self.probs = one_hot(labels, self.ids)

    def step(self, frame):
        self.t += 1
        self.probs = one_hot(self.clip.labels[self.t], self.ids)
        return self.probs

    def add(self, labels):
        new = torch.tensor(sorted(set(labels.unique().tolist()) - {0, 255}))
        self.oracle.added.append((self.t, new.tolist()))
        self.ids = torch.cat([self.ids, new])
        self.probs = add_objects(self.probs, labels, new)
        return self.probs

    def memory_bytes(self):
        return 100 - self.t


def quiet(model, data, *arguments, **settings):
    return evaluate(model, data, *arguments, progress=False, **settings)


def test_the_truth_scores_one():
    data = [clip("a", ids=(3, 200)), clip("b", ids=(9,))]
    report = quiet(Oracle(*data), data)
    assert report.J == report.F == report.JF == 1
    assert [(s.name, s.frames, [o.id for o in s.objects]) for s in report.sequences] == [
        ("a", 8, [3, 200]),
        ("b", 8, [9]),
    ]
    assert report.peak_memory_bytes == 100  # a maximum over frames, not the last value


def test_copying_the_first_mask_by_hand():
    """The square has moved by t pixels: J = (6 - t) / (6 + t) while they overlap."""
    data = [clip(length=5)]
    report = quiet(CopyFirstMask(), data)
    expected = [(6 - t) / (6 + t) for t in range(5)]
    assert report.J == pytest.approx(np.mean(expected[1:]))  # the first frame was given
    assert report.objects[0].frames == 4
    davis = quiet(CopyFirstMask(), data, protocol="davis")
    assert davis.J == pytest.approx(np.mean(expected[1:-1]))  # nor does the last one count
    assert davis.objects[0].frames == 3


def test_scores_agree_with_the_metrics_frame_by_frame():
    data = [clip(length=6, ids=(1, 2))]
    report = quiet(CopyFirstMask(), data)
    for o in report.objects:
        truth = data[0].labels.numpy() == o.id
        assert o.J_mean == pytest.approx(np.mean([region_similarity(truth[0], m) for m in truth[1:]]))
        assert o.F_mean == pytest.approx(np.mean([contour_accuracy(truth[0], m) for m in truth[1:]]))


def test_pictures_and_reports_in_davis_format(tmp_path):
    data = [clip("a", length=3, ids=(3, 200))]
    report = quiet(Oracle(*data), data, tmp_path, masks=True, name="oracle")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["00000.png", "00001.png", "00002.png"]
    assert Image.open(tmp_path / "a" / "00001.png").mode == "P"
    assert torch.equal(read_labels(tmp_path / "a" / "00002.png"), data[0].labels[2])
    assert json.loads((tmp_path / "report.json").read_text())["model"] == "oracle"
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert rows[-1]["sequence"] == "all" and float(rows[-1]["JF"]) == report.JF
    assert {p.name for p in tmp_path.iterdir()} == {"a", "report.json", "report.csv"}


def test_finished_sequences_are_not_repeated(tmp_path):
    data = [clip("a", ids=(1,)), clip("b", ids=(2,)), clip("c", ids=(3,))]
    first = Oracle(*data)
    quiet(first, data[:2], tmp_path)
    second = Oracle(*data)
    report = quiet(second, data, tmp_path)
    assert first.started == ["a", "b"] and second.started == ["c"]
    assert [s.name for s in report.sequences] == ["a", "b", "c"]
    assert quiet(Oracle(*data), data[1:2], tmp_path).sequences == report.sequences[1:2]  # fewer are asked for
    assert len(quiet(Oracle(*data), data, tmp_path).sequences) == 3  # and the others are still there


def test_an_interrupt_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path):
    data = [clip("a", ids=(1,)), clip("b", ids=(2,))]

    class Stopped(Oracle):
        def start(self, frame, labels):
            session = super().start(frame, labels)
            if session.clip.name == "b":
                raise KeyboardInterrupt
            return session

    stopped = Stopped(*data)
    with pytest.raises(KeyboardInterrupt):
        quiet(stopped, data, tmp_path, masks=True, name="oracle")
    assert {p.name for p in tmp_path.iterdir()} == {"a", "report.json", "report.csv"}

    stopped_again = Stopped(*data)
    stopped_again.start = Oracle(*data).start  # same class, so the same settings
    report = quiet(stopped_again, data, tmp_path, masks=True, name="oracle")
    assert report.JF == 1 and len(report.sequences) == 2 and (tmp_path / "b").is_dir()


def test_missing_pictures_are_made_again(tmp_path):
    data = [clip("a")]
    quiet(Oracle(*data), data, tmp_path)
    again = Oracle(*data)
    quiet(again, data, tmp_path, masks=True)
    assert again.started == ["a"] and len(list((tmp_path / "a").iterdir())) == 8


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    data = [clip("a", ids=(1,)), clip("b", ids=(2,))]
    real, written = evaluation.write_labels, []

    def disk_with_room_for_ten(path, labels):
        if len(written) == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(path, labels)

    monkeypatch.setattr(evaluation, "write_labels", disk_with_room_for_ten)
    with pytest.raises(WriteError, match=r"cannot write .*b: No space left on device.* free some space"):
        quiet(Oracle(*data), data, tmp_path, masks=True)
    assert {p.name for p in tmp_path.iterdir()} == {"a", "report.json", "report.csv"}
    assert len(list((tmp_path / "a").iterdir())) == 8
    monkeypatch.setattr(evaluation, "write_labels", real)
    resumed = Oracle(*data)
    assert len(quiet(resumed, data, tmp_path, masks=True).sequences) == 2
    assert resumed.started == ["b"]


def test_results_of_other_settings_are_not_mixed(tmp_path):
    data = [clip("a")]
    quiet(CopyFirstMask(), data, tmp_path)
    with pytest.raises(
        InputError, match=r"other settings \(model: CopyFirstMask there, Oracle now; method.*fresh=True"
    ):
        quiet(Oracle(*data), data, tmp_path)
    with pytest.raises(InputError, match="protocol: youtube_vos there, davis now"):
        quiet(CopyFirstMask(), data, tmp_path, protocol="davis")
    assert quiet(Oracle(*data), data, tmp_path, fresh=True).JF == 1


def test_other_weights_are_other_settings(tmp_path):
    class Network(nn.Module, CopyFirstMask):
        def __init__(self, value):
            nn.Module.__init__(self)
            self.weight = nn.Parameter(torch.tensor([value]))
            self.device = torch.device("cpu")

    data = [clip("a")]
    quiet(Network(1.0), data, tmp_path)
    quiet(Network(1.0), data, tmp_path)
    with pytest.raises(InputError, match="weights: "):
        quiet(Network(2.0), data, tmp_path)


def test_late_objects_are_given_where_they_appear():
    data = [clip("a", ids=(4, 50), join=3)]
    oracle = Oracle(*data)
    report = quiet(oracle, data, adds_objects=True)
    assert oracle.added == [(3, [50])]
    assert {o.id: o.frames for o in report.objects} == {4: 7, 50: 4}  # the frame in which it is given does not count
    assert report.JF == 1


def test_late_objects_that_nobody_announced_are_unknown_labels():
    data = [clip("a", ids=(4, 50), join=3)]
    with pytest.raises(InputError, match=r"'a': frame 3 holds unknown labels \[50\].*adds_objects=True"):
        quiet(Oracle(*data), data)


def test_the_data_set_says_how_to_be_scored():
    class Data(list):
        adds_objects, protocol, name = True, "youtube_vos", "toys"

    data = Data([clip("a", ids=(4, 50), join=3)])
    report = quiet(Oracle(*data), data)
    assert report.dataset == "toys" and report.settings["adds objects"] == "True" and len(report.objects) == 2


def test_an_annotation_that_starts_later_and_has_gaps():
    whole = clip("a", length=8)
    labels = torch.full_like(whole.labels, 255)
    for t in (2, 4, 6):
        labels[t] = whole.labels[t]
    data = [Clip(whole.frames, labels, name="a", annotated=(2, 4, 6))]
    report = quiet(CopyFirstMask(), data)
    expected = [(6 - t) / (6 + t) for t in (2, 4)]  # two and four frames after the one given
    assert report.J == pytest.approx(np.mean(expected)) and report.sequences[0].frames == 6


def test_ignored_pixels_are_left_out():
    data = [clip("a", length=3)]
    data[0].labels[:, :, 8:] = 255
    report = quiet(CopyFirstMask(), data)
    assert report.J == pytest.approx(np.mean([5 / 6, 4 / 6]))  # the first mask ends at column 8


class Whole:
    """Needs the whole clip, and answers with what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def segment(self, frames, labels):
        assert frames.dtype == torch.float32 and frames.max() <= 1 and not torch.is_grad_enabled()
        return self.answer(frames, labels)


def test_offline_methods_are_scored_too():
    data = [clip("a", length=5)]
    report = quiet(Whole(lambda frames, labels: data[0].labels), data)
    assert report.JF == 1 and report.peak_memory_bytes is None and report.sequences[0].frames == 5
    with pytest.raises(
        InputError, match=r"Whole answered with \[2, 20, 30\] torch.uint8; expected labels \[5, 20, 30\]"
    ):
        quiet(Whole(lambda frames, labels: data[0].labels[:2]), data)
    late = [clip("a", ids=(4, 50), join=3)]
    with pytest.raises(InputError, match=r"objects join at frames \[3\], but Whole takes a whole clip"):
        quiet(Whole(None), late, adds_objects=True)


def test_data_sets_are_read_one_clip_at_a_time():
    opened = []

    class Lazy:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            opened.append(i)
            return clip(f"clip {i}")

    assert len(quiet(CopyFirstMask(), Lazy()).sequences) == 3 and opened == [0, 1, 2]


def test_named_sequences_that_are_finished_are_not_even_opened(tmp_path):
    opened = []

    class Named:
        names = ("x", "y")

        def __len__(self):
            return 2

        def __getitem__(self, i):
            opened.append(i)
            return clip(self.names[i])

    quiet(CopyFirstMask(), Named(), tmp_path)
    quiet(CopyFirstMask(), Named(), tmp_path)
    assert opened == [0, 1]


def test_progress_goes_to_a_bar(capsys):
    evaluate(CopyFirstMask(), [clip("a")], name="copy")
    assert "a J&F" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ([], {}, "data set is empty"),
        ([clip("a"), clip("a")], {}, "two sequences of the data set are called 'a'"),
        ([clip("../a")], {}, "cannot be a folder's name"),
        ([Clip(clip().frames)], {}, "'clip' has no labels"),
        ([SimpleNamespace(name="x")], {}, "item 0 is SimpleNamespace"),
        ([clip("a")], {"masks": True}, "masks=True needs a folder"),
        ([clip("a")], {"protocol": "mine"}, "must be 'davis' or 'youtube_vos', got 'mine'"),
        ([Clip(clip().frames, torch.zeros(8, *SIZE, dtype=torch.uint8))], {}, "gives no object in its first"),
    ],
)
def test_what_cannot_be_evaluated(data, settings, message):
    with pytest.raises(InputError, match=message):
        quiet(CopyFirstMask(), data, **settings)


def test_something_that_is_no_method():
    with pytest.raises(InputError, match="object is no method: expected `start`"):
        quiet(object(), [clip("a")])
