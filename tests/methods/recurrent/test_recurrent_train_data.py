"""Training clips of the recurrent networks: what a sample holds, what a batch must not, and what no test may share."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.clip import IGNORE, Clip
from course_lib.data.small_shapes import SEEN, UNSEEN
from course_lib.data.small_world import SmallWorld, SmallWorldConfig
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.schedules import ClipLengths
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import (
    MixedSource,
    Shake,
    SmallWorldSource,
    VideoSource,
    clip_source,
    different_videos,
    small_tests,
    youtube_tests,
)
from course_lib.training import warp
from course_lib.training.course_clips import KEPT_OUT
from course_lib.training.samples import sample_rng

STILL = Shake(flip=0.0, degrees=0.0, zoom=0.0, shift=0.0, shear=0.0)


def video(value: int, objects: int = 1, frames: int = 6) -> Clip:
    """A clip of one colour with squares of 16x16 that move down by 2 pixels a frame."""
    labels = torch.zeros(frames, 64, 96, dtype=torch.uint8)
    for t in range(frames):
        for k in range(objects):
            labels[t, 8 + 2 * t : 24 + 2 * t, 8 + 30 * k : 24 + 30 * k] = k + 1
    return Clip(torch.full((frames, 3, 64, 96), value, dtype=torch.uint8), labels, f"video-{value}")


def test_small_clips_show_visible_pixels_and_are_deterministic():
    source = SmallWorldSource(SmallWorld(SmallWorldConfig(bar=1.0)))
    sample = source(0, 5, sample_rng(1, 7))
    clip = SmallWorld(SmallWorldConfig(bar=1.0))(sample_rng(1, 7), 5)
    assert sample["frames"].shape == (5, 3, 64, 64) and sample["frames"].dtype == torch.float32
    assert sample["masks"].shape == (5, 1, 64, 64) and sample["masks"].dtype == torch.uint8
    assert torch.equal(sample["masks"][:, 0], clip.labels)
    torch.testing.assert_close(sample["frames"] * 255, clip.frames.float())
    assert 0 <= float(sample["frames"].min()) and float(sample["frames"].max()) <= 1


def test_hidden_pixels_are_no_part_of_the_mask():
    """Where a bar covers the target, the mask is empty though the target is there."""
    source = SmallWorldSource(SmallWorld(SmallWorldConfig(frames=24, bar=1.0, passage=True, radius=(5.0, 9.0))))
    for index in range(5):
        areas = source(index, 24, sample_rng(0, index))["masks"].sum((1, 2, 3))
        assert int(areas[0]) >= 12 and int(areas.min()) == 0 and int(areas[-6:].max()) > 0


def test_no_batch_holds_a_video_twice_and_each_video_comes_equally_often():
    for n, batch in ((10, 4), (8, 4), (7, 7), (5, 1)):
        seen = np.array([different_videos(i, n, batch, seed=3) for i in range(120 * batch)])
        batches = seen.reshape(-1, batch)
        assert all(len(set(row)) == batch for row in batches.tolist())
        counts = np.bincount(seen, minlength=n)
        assert counts.min() > 0.75 * counts.mean()
    epochs = [tuple(different_videos(i, 8, 4, 0) for i in range(e * 8, e * 8 + 8)) for e in range(3)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs) and len(set(epochs)) == 3


def test_a_batch_of_real_clips_holds_different_videos_also_across_objects():
    clips = [video(10 * i + 10, objects=2) for i in range(6)]
    source = VideoSource(clips, (64, 96), batch_size=4, seed=0, shake=STILL)
    for start in range(0, 80, 4):
        colours = [float(source(i, 3, sample_rng(0, i))["frames"][0, 0].mean()) for i in range(start, start + 4)]
        assert len({round(colour, 3) for colour in colours}) == 4


def test_a_sample_follows_one_object_and_keeps_unknown_pixels():
    clip = video(100, objects=3)
    clip.labels[:, 50:] = IGNORE
    source = VideoSource([clip], (64, 96), batch_size=1, seed=0, shake=STILL)
    columns = set()
    for index in range(20):
        masks = source(index, 2, sample_rng(4, index))["masks"]
        assert set(masks.unique().tolist()) == {0, 1, 255} and bool((masks[:, :, 50:] == 255).all())
        columns.add(int((masks[0, 0] == 1).any(0).nonzero()[0, 0]))
    assert columns == {8, 38, 68}


def test_flip_and_affine_map_are_the_same_for_all_frames():
    """A video that stands still stands still after the shake; and another sample is shaken otherwise."""
    still = video(80)
    still.labels[:] = still.labels[:1].clone()
    still.frames[:] = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    source = VideoSource([still], (48, 64), batch_size=1, seed=0)
    first, second = (source(i, 4, sample_rng(0, i)) for i in (0, 1))
    for sample in (first, second):
        for name in ("frames", "masks"):
            assert (sample[name] == sample[name][:1]).all()
    assert not torch.equal(first["masks"], second["masks"])


def test_shake_is_the_map_it_says():
    """Zoom 2 doubles lengths; a quarter turn maps x to y; ranges are kept; the flip comes half of the time."""
    frames, labels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, 24:40, 24:40] = 1
    for zoom, area in ((0.25, (0.75**2, 1.25**2)), (0.0, (1.0, 1.0))):
        shake = Shake(flip=0.0, degrees=30.0, zoom=zoom, shift=0.0, shear=0.0)
        sizes = [
            int(warp.apply(shake.warp(sample_rng(0, i), 1, (64, 64)), frames, labels, (64, 64))[1].sum())
            for i in range(60)
        ]
        assert area[0] * 256 * 0.95 < min(sizes) and max(sizes) < area[1] * 256 * 1.05
        assert zoom == 0 or max(sizes) > 1.3 * 256 > 0.7 * 256 > min(sizes)
    shifted = Shake(0.0, 0.0, 0.0, 0.1, 0.0).warp(np.random.default_rng(1), 2, (40, 80))
    assert torch.equal(shifted.matrices, torch.eye(2).expand(2, 2, 2)) and shifted.window == (0, 0, 80, 40)
    assert float(shifted.shifts.abs().max()) <= 0.2 and torch.equal(shifted.shifts[0], shifted.shifts[1])
    for index in range(50):  # a part of the frame, of its shape, within it
        x0, y0, x1, y1 = Shake(view=(0.5, 0.8)).warp(sample_rng(0, index), 1, (40, 80)).window
        assert 0 <= x0 < x1 <= 80 and 0 <= y0 < y1 <= 40
        assert x1 - x0 == pytest.approx(2 * (y1 - y0)) and 40 <= x1 - x0 <= 64
    flips = [float(Shake().warp(sample_rng(0, i), 1, (9, 9)).matrices.det()) < 0 for i in range(200)]
    assert sum(flips) == pytest.approx(100, abs=25)


def test_a_video_without_a_large_object_is_named():
    source = VideoSource([video(7)], (64, 96), batch_size=1, seed=0, min_pixels=300, shake=STILL)
    with pytest.raises(InputError, match="video 'video-7' showed no object of 300 pixels"):
        source(0, 2, sample_rng(0, 0))
    with pytest.raises(InputError, match="there are only 1 videos"):
        VideoSource([video(7)], (64, 96), batch_size=2, seed=0)


def test_mixture_has_the_asked_share():
    mixed = MixedSource(lambda *_: {"real": 1}, lambda *_: {"world": 1}, 0.3)
    drawn = [next(iter(mixed(i, 2, sample_rng(0, i)))) for i in range(600)]
    assert drawn.count("world") == pytest.approx(180, abs=35)


def test_the_test_sets_are_what_their_names_say_and_share_no_clip_with_training():
    config = replace(RecurrentTraining.preset("cpu"), test_clips=6)
    sets = small_tests(config)
    assert list(sets) == ["plain", "occlusion", "look-alikes", "unseen shapes"]
    clips = {name: [each[i] for i in range(6)] for name, each in sets.items()}
    names = [clip.name for each in clips.values() for clip in each]
    assert len(set(names)) == 24 and all(len(clip) == 24 for each in clips.values() for clip in each)
    for name, each in clips.items():
        assert {clip.shape for clip in each} <= set(UNSEEN if name == "unseen shapes" else SEEN)
        assert all(clip.lookalike == (name == "look-alikes") for clip in each)
        gone = [bool((clip.labels.sum((1, 2)) == 0).sum() >= 3) for clip in each]
        assert all(gone) if name == "occlusion" else sum(gone) <= 2
    assert not set(UNSEEN) & set(config.world.shapes)
    source = SmallWorldSource(SmallWorld(config.world))
    trained = {source(i, 24, sample_rng(s, i))["frames"].sum().item() for s in (0, 1, 2) for i in range(10)}
    assert not trained & {(clip.frames.float() / 255).sum().item() for each in clips.values() for clip in each}


@pytest.fixture
def davis(tmp_path):
    """Three usable sequences beside one kept-out one, whose files are no pictures."""
    root = tmp_path / "DAVIS-2016"
    for number, name in enumerate(("runner", "swan", "walker", KEPT_OUT[0])):
        frames, labels = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
        frames.mkdir(parents=True)
        labels.mkdir(parents=True)
        for t in range(4):
            if name in KEPT_OUT:
                (frames / f"{t:05d}.jpg").write_bytes(b"not to be read")
                (labels / f"{t:05d}.png").write_bytes(b"not to be read")
                continue
            mask = np.zeros((64, 80), np.uint8)
            mask[10:40, 10 + 5 * t : 40 + 5 * t] = 255
            Image.fromarray(np.full((64, 80, 3), 60 * number, np.uint8)).save(frames / f"{t:05d}.jpg")
            Image.fromarray(mask).save(labels / f"{t:05d}.png")
    return root


def youtube(tmp_path, n: int):
    """`n` videos of five frames; in every third one a second object joins late."""
    root, meta = tmp_path / "YouTubeVOS" / "train", {}
    for v in range(n):
        name, late = f"v{v:02d}", v % 3 == 2
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / name).mkdir(parents=True)
        frames = [f"{5 * t:05d}" for t in range(5)]
        for t, frame in enumerate(frames):
            mask = np.zeros((48, 64), np.uint8)
            mask[8:30, 4 + t : 28 + t] = 1
            mask[8:30, 36:60] = 2 if late and t >= 2 else 0
            Image.fromarray(np.full((48, 64, 3), 15 * v, np.uint8)).save(root / "JPEGImages" / name / f"{frame}.jpg")
            picture = Image.fromarray(mask, "P")
            picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
            picture.save(root / "Annotations" / name / f"{frame}.png")
        objects = {"1": {"category": "dog", "frames": frames}}
        meta[name] = {"objects": objects | ({"2": {"category": "cat", "frames": frames[2:]}} if late else {})}
    (root / "meta.json").write_text(json.dumps({"videos": meta}))
    return tmp_path


def test_youtube_vos_is_split_four_to_one(tmp_path):
    """Every fifth video by name is for tests; where objects must be given at the start, videos with late ones go."""
    root = youtube(tmp_path, 15)
    assert youtube_tests(root, 9).names == ("v00", "v05", "v10")
    assert youtube_tests(root, 9, together=True).names == ("v00", "v10")  # an object joins late in v05
    assert youtube_tests(root, 1).names == ("v00",)
    config = replace(
        RecurrentTraining.preset("cpu"), data="youtube_vos", batch_size=4, frame=(48, 64), lengths=ClipLengths(3, 4)
    )
    source = clip_source(config, seed=0, root=root)
    shades = [float(source(i, 3, sample_rng(0, i))["frames"][:, :, 24, 32].mean()) for i in range(60)]
    assert {round(255 * shade / 15) for shade in shades} == set(range(15)) - {0, 5, 10}


def test_davis_without_the_kept_out_sequences(davis, monkeypatch):
    config = RecurrentTraining.lite("smoke")
    source = clip_source(config, seed=0, root=davis.parent)
    for index in range(30):  # reading a kept-out file would fail
        sample = source(index, 2, sample_rng(0, index))
        assert sample["frames"].shape == (2, 3, *config.frame) and int(sample["masks"][0].sum()) >= 64
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(MissingDataError, match="set COURSE_DATA or pass data_root"):
        clip_source(config, seed=0)
    with pytest.raises(MissingDataError, match="youtube_vos"):
        youtube_tests(None, 3)
