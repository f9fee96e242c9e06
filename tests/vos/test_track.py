"""Tracking a video file from start to end: what is written, where, and what an interrupt leaves."""

import numpy as np
import pytest
import torch

from course_lib.data.palette_png import read_labels, write_labels
from course_lib.data.video import VideoReader, VideoWriter
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.mask_flow import CopySession, MaskFlow
from course_lib.vos import track as track_module
from course_lib.vos.track import track

LENGTH, HEIGHT, WIDTH = 8, 72, 96


def box_at(t):
    return 30 + 2 * t, 20, 54 + 2 * t, 44  # x0, y0, x1, y1


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A red square moves right by 2 pixels a frame over a noisy blue ground."""
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    random = np.random.default_rng(0)
    ground = np.repeat(np.repeat(random.integers(0, 60, (18, 24, 3)), 4, axis=0), 4, axis=1) + np.array([20, 40, 120])
    thing = np.repeat(np.repeat(random.integers(0, 60, (6, 6, 3)), 4, axis=0), 4, axis=1) + np.array([180, 30, 30])
    with VideoWriter(path, fps=12, quality=5) as writer:
        for t in range(LENGTH):
            x0, y0, x1, y1 = box_at(t)
            picture = ground.copy()
            picture[y0:y1, x0:x1] = thing
            writer.write(torch.from_numpy(picture.astype(np.uint8)).permute(2, 0, 1).contiguous())
    return path


def iou(labels, box):
    truth = torch.zeros(labels.shape, dtype=torch.bool)
    truth[box[1] : box[3], box[0] : box[2]] = True
    found = labels == 1
    return float((found & truth).sum() / (found | truth).sum())


def test_from_a_loose_box(video, tmp_path, capsys):
    out = tmp_path / "result" / "overlay.mp4"
    result = track(video, box=(24, 14, 60, 50), out=out, masks=tmp_path / "masks", progress=False)
    assert (result.frames, result.visible, result.interrupted, result.ids) == (LENGTH, LENGTH, False, (1,))
    written = VideoReader(out)
    assert written.size == (HEIGHT, WIDTH) and written.fps == pytest.approx(12) and len(list(written)) == LENGTH
    assert result.start_mask == out.with_name("overlay_start.png")
    assert iou(read_labels(result.start_mask), box_at(0)) > 0.9
    masks = sorted((tmp_path / "masks").iterdir())
    assert [m.name for m in masks] == [f"{t:05d}.png" for t in range(LENGTH)]
    assert iou(read_labels(masks[-1]), box_at(LENGTH - 1)) > 0.9
    assert str(out) in str(result) and str(result.start_mask) in str(result)
    original, coloured = next(iter(VideoReader(video))), next(iter(written))
    assert (original.int() - coloured.int()).abs().float().mean() > 3  # the object is painted


def test_the_start_mask_is_shown(video, tmp_path, capsys):
    track(video, box=box_at(0), box_is_mask=True, out=tmp_path / "o.mp4", model="copy")
    captured = capsys.readouterr()
    assert "576 pixels of object [1]" in captured.out + captured.err
    assert str(tmp_path / "o_start.png") in captured.out + captured.err


def test_the_rectangle_as_mask_and_a_smaller_video(video, tmp_path):
    result = track(
        video, box=box_at(0), box_is_mask=True, out=tmp_path / "o.mp4", max_side=48, model=MaskFlow(), progress=False
    )
    assert VideoReader(result.video).size == (36, 48)
    start = read_labels(result.start_mask)
    assert start.shape == (36, 48) and start[10:22, 15:27].eq(1).all() and start.sum() == 144


def test_a_mask_with_several_ids(video, tmp_path):
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    labels[20:44, 30:54] = 12
    labels[50:60, 60:80] = 200
    write_labels(tmp_path / "first.png", labels)
    result = track(
        video, mask=tmp_path / "first.png", out=tmp_path / "o.mp4", masks=tmp_path / "m", max_side=48, progress=False
    )
    assert result.ids == (12, 200)
    assert set(read_labels(tmp_path / "m" / "00007.png").unique().tolist()) == {0, 12, 200}


class Interrupted(MaskFlow):
    """The user presses Ctrl-C while the fourth frame is being answered."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def start(self, frame, labels):
        session, at = CopySession(frame, labels), self.at

        class Pressed:
            ids = session.ids
            steps = 0

            def step(self, image):
                self.steps += 1
                if self.steps == at:
                    raise KeyboardInterrupt
                return session.step(image)

            def memory_bytes(self):
                return 0

        return Pressed()


def test_an_interrupt_closes_the_video_and_says_how_far_it_came(video, tmp_path):
    result = track(video, model=Interrupted(4), box=box_at(0), box_is_mask=True, out=tmp_path / "o.mp4", progress=False)
    assert result.interrupted and result.frames == 4
    assert len(list(VideoReader(result.video))) == 4
    assert "interrupted: the video ends after frame 3" in str(result)
    assert {p.name for p in tmp_path.iterdir()} == {"o.mp4", "o_start.png"}


def test_an_error_on_the_way_leaves_no_half_video(video, tmp_path):
    class Broken(MaskFlow):
        def start(self, frame, labels):
            session = CopySession(frame, labels)
            session.step = lambda image: torch.full((2, *image.shape[1:]), float("nan"))
            return session

    with pytest.raises(InputError, match="Broken answered frame 1 with NaN"):
        track(video, model=Broken(), box=box_at(0), box_is_mask=True, out=tmp_path / "o.mp4", progress=False)
    assert {p.name for p in tmp_path.iterdir()} == {"o_start.png"}


def test_a_packaged_clip_by_name(video, monkeypatch, tmp_path):
    monkeypatch.setattr(track_module, "packaged_clip", lambda name: video)
    result = track("carphone", model="copy", box=box_at(0), box_is_mask=True, out=tmp_path / "o.mp4", progress=False)
    assert result.frames == LENGTH


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a box .* or a mask, one of the two"),
        ({"box": (1, 1, 5, 5), "mask": "m.png"}, "one of the two"),
        ({"mask": "m.png", "box_is_mask": True}, "box_is_mask needs a box"),
        ({"box": (50, 20, 120, 40)}, "the video is 96 wide and 72 high"),
        ({"box": (50, 20, 120, 40), "max_side": 48}, "the video is 96 wide and 72 high"),
        ({"box": (30, 20, 54, 44), "model": "xmen"}, "unknown model 'xmen'"),
        ({"box": (30, 20, 54, 44), "out": "film.gif"}, ".mp4"),
    ],
)
def test_what_cannot_be_tracked(video, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        track(video, **arguments, progress=False)


def test_missing_and_empty_videos(tmp_path):
    with pytest.raises(MissingDataError, match=r"nothing\.mp4"):
        track(tmp_path / "nothing.mp4", box=(0, 0, 5, 5), progress=False)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="empty"):
        track(tmp_path / "empty.mp4", box=(0, 0, 5, 5), progress=False)


def test_a_later_start(video, tmp_path):
    whole = VideoReader(video).frame_count
    result = track(video, box=box_at(3), box_is_mask=True, start=3, out=tmp_path / "late.mp4", progress=False)
    assert result.frames == whole - 3
    assert iou(read_labels(result.start_mask), box_at(3)) == 1
    with pytest.raises(InputError, match=f"no start frame {whole}"):
        track(video, box=box_at(3), start=whole, out=tmp_path / "late.mp4", progress=False)


def test_a_packaged_clip_brings_its_own_start_and_box(tmp_path):
    result = track("bikes", start=230, out=tmp_path / "bikes.mp4", max_side=160, model="copy", progress=False)
    assert result.frames == 20
    assert 0.05 < (read_labels(result.start_mask) == 1).float().mean() < 0.5
