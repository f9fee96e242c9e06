"""Samples from clips: in order of time, with objects that are there, the same wherever and whenever they are drawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.clip import Clip
from course_lib.data.davis import DavisDataset
from course_lib.data.synthetic import World, scenario
from course_lib.data.youtube_vos import YouTubeVosDataset
from course_lib.errors import InputError
from course_lib.training.augment import Augment
from course_lib.training.clips import ClipConfig, ClipSamples, JoinedClips, LongEnough, draw_times, renumbered
from course_lib.training.paste import paste, window_around
from course_lib.training.samples import sample_rng

CONFIG = ClipConfig(size=(40, 48), min_pixels=8, paste=0.7)


@pytest.fixture(scope="module")
def clips():
    world = World(scenario("easy", image_size=48, dense_truth=False, length=8))
    return [world.clip(seed) for seed in range(5)]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@given(st.integers(3, 60), st.integers(1, 5), st.integers(0, 30), st.integers(0, 1000))
def test_frames_are_in_order_and_within_the_gap(length, n, max_gap, seed):
    if length < n and max_gap:
        return
    candidates = tuple(range(100, 100 + 2 * length, 2))
    times = draw_times(candidates, n, max_gap, np.random.default_rng(seed))
    gaps = np.diff([candidates.index(t) for t in times])
    assert len(times) == n
    assert (gaps >= 1).all() and (gaps <= max_gap).all() if max_gap else (gaps == 0).all()


def test_all_gaps_and_all_starts_come_up():
    rng = np.random.default_rng(0)
    draws = [draw_times(range(9), 3, 3, rng) for _ in range(2000)]
    assert {tuple(np.diff(times)) for times in draws} == {(a, b) for a in (1, 2, 3) for b in (1, 2, 3)}
    assert {times[0] for times in draws} == set(range(7)) and {times[-1] for times in draws} == set(range(2, 9))


@pytest.mark.parametrize("max_gap", [0, 3])
def test_samples_have_what_they_promise(clips, max_gap):
    samples = ClipSamples(clips, replace(CONFIG, objects=3))
    kinds = set()
    for index in range(40):
        sample = samples(index, sample_rng(0, index), max_gap)
        frames, labels, objects = sample["frames"], sample["labels"], sample["objects"]
        assert frames.shape == (3, 3, 40, 48) and frames.dtype == torch.float32
        assert 0 <= frames.min() and frames.max() <= 1
        assert labels.shape == (3, 40, 48) and labels.dtype == torch.uint8 and objects.shape == (3,)
        k = int(objects.sum())
        assert k >= 1 and objects[:k].all(), "objects are 1..K without holes"
        counts = torch.bincount(labels[0].flatten().long(), minlength=256)
        assert (counts[1 : k + 1] >= CONFIG.min_pixels).all() and counts[k + 1 : 255].sum() == 0
        assert set(labels.unique().tolist()) <= {*range(k + 1), 255}
        kinds.add(k)
    assert kinds >= {2, 3}


def test_a_sample_depends_on_its_number_and_seed_alone(clips):
    samples = ClipSamples(clips, CONFIG)
    torch.manual_seed(1)
    forward = [samples(i, sample_rng(0, i), 3) for i in range(6)]
    torch.manual_seed(2)
    np.random.seed(2)
    backward = [ClipSamples(clips, CONFIG)(i, sample_rng(0, i), 3) for i in reversed(range(6))][::-1]
    assert all(equal(a, b) for a, b in zip(forward, backward))
    assert not any(equal(a, b) for i, a in enumerate(forward) for b in forward[:i])
    assert not equal(forward[0], samples(0, sample_rng(1, 0), 3))


def test_unchanged_samples_are_frames_of_the_clip_in_order(clips):
    config = ClipConfig(size=(48, 48), objects=5, min_pixels=1, augment=Augment.none())
    for index in range(5):
        sample = ClipSamples(clips, config)(index, sample_rng(0, index), 2)
        frames = (sample["frames"] * 255).round().to(torch.uint8)
        found = [
            (i, [int((clip.frames == frame).flatten(1).all(1).nonzero()[0]) for frame in frames])
            for i, clip in enumerate(clips)
            if all((clip.frames == frame).flatten(1).all(1).any() for frame in frames)
        ]
        ((number, times),) = found
        assert 1 <= times[1] - times[0] <= 2 and 1 <= times[2] - times[1] <= 2
        truth = clips[number].labels[times]
        first = set(truth[0].unique().tolist()) - {0}
        for mine in range(1, int(sample["objects"].sum()) + 1):  # the same objects under new numbers
            here = sample["labels"] == mine
            (theirs,) = set(truth[here].unique().tolist())
            assert torch.equal(here, truth == theirs) and theirs in first


def test_backwards_is_the_same_in_reverse(clips):
    config = ClipConfig(size=(48, 48), min_pixels=1, augment=Augment.none(), objects=9)
    rng = lambda: sample_rng(0, 1)  # noqa: E731
    forward = ClipSamples(clips, config)(1, rng(), 3)
    backward = ClipSamples(clips, replace(config, reverse=1.0))(1, rng(), 3)
    torch.testing.assert_close(forward["frames"].flip(0), backward["frames"])


def test_every_clip_comes_once_per_epoch(clips):
    marked = [Clip(torch.full_like(c.frames, 40 * i), torch.ones_like(c.labels)) for i, c in enumerate(clips)]
    samples = ClipSamples(marked, ClipConfig(size=(16, 16), augment=Augment.none()), seed=4)
    colours = [round(samples(i, sample_rng(0, i), 1)["frames"].mean().item() * 255 / 40) for i in range(10)]
    assert sorted(colours[:5]) == sorted(colours[5:]) == list(range(5))


def test_ignored_pixels_stay_ignored_and_other_objects_become_background():
    labels = torch.tensor([0, 3, 9, 255], dtype=torch.uint8).view(1, 2, 2)
    assert renumbered(labels, np.array([9])).flatten().tolist() == [0, 0, 1, 255]
    assert renumbered(labels, np.array([9, 3])).flatten().tolist() == [0, 2, 1, 255]


def half(value):
    labels = torch.zeros(1, 20, 20, dtype=torch.uint8)
    labels[:, :, :10] = value
    return labels


def test_pasting_by_hand():
    frames, guest_frames = torch.zeros(1, 3, 20, 20), torch.ones(1, 3, 20, 20)
    guest = torch.zeros(1, 20, 20, dtype=torch.bool)
    guest[:, 5:15, 5:15] = True
    front, labels = paste(frames, half(1), guest_frames, guest, 2)
    assert torch.equal(labels == 2, guest) and torch.equal(labels == 1, (half(1) == 1) & ~guest)
    assert (front[:, :, 6:14, 6:14] == 1).all() and (front[:, :, :4] == 0).all()
    assert 0 < front[0, 0, 5, 10] < 1 and 0 < front[0, 0, 4, 10] < 1, "the edge is soft"
    back, labels = paste(frames, half(1), guest_frames, guest, 2, behind=True)
    assert torch.equal(labels == 2, guest & (half(1) == 0)) and torch.equal(labels == 1, half(1) == 1)
    assert (back[..., :10] == 0).all(), "no trace of the guest on the object before it"


@given(st.integers(0, 500), st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_an_object_is_placed_at_the_promised_size(seed, top, left, high, wide):
    mask = torch.zeros(32, 40, dtype=torch.bool)
    mask[top : top + high, left : left + wide] = True
    x0, y0, x1, y1 = window_around(mask, np.random.default_rng(seed), (30, 60))
    assert (x1 - x0) / (y1 - y0) == pytest.approx(2)
    assert 0.2 - 1e-6 <= max(high / (y1 - y0), wide / (x1 - x0)) <= 0.6 + 1e-6
    assert 0.14 < ((left + wide / 2) - x0) / (x1 - x0) < 0.86 and 0.14 < ((top + high / 2) - y0) / (y1 - y0) < 0.86


def test_single_objects_are_pasted_into_pairs(clips):
    single = [Clip(c.frames, (c.labels == 1).to(torch.uint8)) for c in clips]
    samples = ClipSamples(single, replace(CONFIG, paste=1.0))
    pairs = [int(samples(i, sample_rng(0, i), 2)["objects"].sum()) for i in range(20)]
    assert np.mean(pairs) > 1.6 and set(pairs) <= {1, 2}
    alone = ClipSamples(single, replace(CONFIG, paste=0.0))
    assert all(alone(i, sample_rng(0, i), 2)["objects"].sum() == 1 for i in range(10))


class OnDisk:
    """A data set that counts what is read of it."""

    def __init__(self, clip):
        self.clip, self.read = clip, []

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise AssertionError("the whole clip was read")

    def stream(self, index):
        return self

    def labels(self, t):
        self.read.append(("labels", t))
        return self.clip.labels[t]

    def frame(self, t):
        self.read.append(("frame", t))
        return self.clip.frames[t]

    name, annotated = "on disk", (1, 4, 6)


def test_only_the_needed_frames_are_read_and_only_annotated_ones_used(clips):
    disk = OnDisk(clips[0])
    disk.__class__.__len__ = lambda self: 1
    ClipSamples(disk, replace(CONFIG, paste=0.0))(0, sample_rng(0, 0), 5)
    assert disk.read == [("labels", t) for t in (1, 4, 6)] + [("frame", t) for t in (1, 4, 6)]


def test_joined_data_sets(clips):
    joined = JoinedClips((clips[:2], 1), (clips[2:], 3))
    assert len(joined) == 2 + 9
    assert [next(i for i, c in enumerate(clips) if joined[k] is c) for k in range(11)] == [0, 1] + [2, 3, 4] * 3
    assert joined.stream(2) is clips[2]
    with pytest.raises(IndexError):
        joined[11]
    with pytest.raises(InputError, match="repeated at least once"):
        JoinedClips((clips, 0))


def test_clips_with_too_few_annotated_frames_are_left_out(tmp_path):
    """YouTube-VOS layout, annotations of 2, 3 and 4 frames; the pictures are none, so nothing can have been decoded."""
    videos = {}
    for name, annotated in (("four", 4), ("three", 3), ("two", 2)):
        for kind, count in (("JPEGImages", 5), ("Annotations", annotated)):
            folder = tmp_path / "train" / kind / name
            folder.mkdir(parents=True)
            for t in range(count):
                (folder / f"{t:05d}{'.jpg' if kind == 'JPEGImages' else '.png'}").write_bytes(b"not to be read")
        videos[name] = {"objects": {"1": {"category": "ape", "frames": ["00000", "00001"]}}}
    (tmp_path / "train" / "meta.json").write_text(json.dumps({"videos": videos}))
    dataset = YouTubeVosDataset(tmp_path)
    usable = LongEnough(dataset, 3)
    assert (usable.left_out, len(usable)) == (("two",), 2)
    assert [usable.stream(i).name for i in range(2)] == ["four", "three"]
    with pytest.raises(IndexError):
        usable.stream(2)
    with pytest.raises(InputError, match="none of 3 clips has 5 annotated frames"):
        LongEnough(dataset, 5)


def test_what_is_long_enough_can_be_sampled(clips):
    """With a clip of two frames among them, samples of three fail sooner or later; without it they never do."""
    short = Clip(clips[0].frames[:2], clips[0].labels[:2], "short")
    mixed = [*clips, short]
    config = replace(CONFIG, paste=0.0)
    with pytest.raises(InputError, match=r"'short' has 2 annotated frames .*`LongEnough`"):
        for index in range(len(mixed)):
            ClipSamples(mixed, config)(index, sample_rng(0, index), 2)
    usable = LongEnough(mixed, 3)
    assert usable.left_out == ("short",) and [usable[i] for i in range(len(usable))] == clips
    joined = JoinedClips((usable, 2))
    for index in range(len(joined)):
        assert ClipSamples(joined, config)(index, sample_rng(0, index), 2)["frames"].shape[0] == 3


def test_unusable_data_are_an_error(clips):
    empty = [Clip(c.frames, torch.zeros_like(c.labels)) for c in clips]
    with pytest.raises(InputError, match="no object of at least 8 pixels was found in 50 draws from 5 clips at 40x48"):
        ClipSamples(empty, CONFIG)(0, sample_rng(0, 0), 2)
    with pytest.raises(
        InputError, match=r"has 1 annotated frames and a sample needs 3; leave it out \(`LongEnough`\), or"
    ):
        ClipSamples([Clip(clips[0].frames, clips[0].labels, annotated=(2,))], CONFIG)(0, sample_rng(0, 0), 2)
    with pytest.raises(InputError, match="has no labels"):
        ClipSamples([Clip(clips[0].frames)], CONFIG)(0, sample_rng(0, 0), 2)
    with pytest.raises(InputError, match="data set is empty"):
        ClipSamples([], CONFIG)
    with pytest.raises(InputError, match="at least 8x8"):
        ClipConfig(size=(4, 4))
    with pytest.raises(InputError, match="objects must be at least 1"):
        ClipConfig(objects=0)
    with pytest.raises(InputError, match="an object 1 already"):
        paste(torch.zeros(1, 3, 20, 20), half(1), torch.zeros(1, 3, 20, 20), half(1) > 0, 1)


def test_real_sequences(course_data):
    davis = DavisDataset(course_data / "DAVIS-2016-240p")
    config = ClipConfig(size=(96, 96), paste=1.0, augment=Augment.for_stills())
    for max_gap in (0, 25):
        samples = ClipSamples(davis, config)
        drawn = [samples(i, sample_rng(0, i), max_gap) for i in range(6)]
        assert sum(int(sample["objects"].sum()) for sample in drawn) >= 9
