"""Videos come back as written, upright, one frame at a time; broken ones say so and lose nothing readable."""

import struct
import warnings
import weakref

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.packaged import packaged_clip
from course_lib.data.video import TruncatedVideoWarning, VideoReader, VideoWriter, read_clip
from course_lib.errors import InputError, MissingDataError, WriteError


def moving_square(frames: int = 12, height: int = 48, width: int = 64) -> torch.Tensor:
    """[T, 3, H, W] uint8: a colour gradient with a red square in the upper left that moves right."""
    rows = torch.linspace(0, 200, height).view(-1, 1).expand(height, width)
    columns = torch.linspace(0, 200, width).view(1, -1).expand(height, width)
    clip = torch.stack([torch.full_like(rows, 60), rows, columns]).to(torch.uint8).repeat(frames, 1, 1, 1)
    for t in range(frames):
        clip[t, :, 4:16, 4 + t : 16 + t] = torch.tensor([250, 10, 10], dtype=torch.uint8).view(3, 1, 1)
    return clip


def write(path, clip, fps=25.0, **settings):
    with VideoWriter(path, fps, **settings) as out:
        for frame in clip:
            out.write(frame)
    return path


def psnr(a, b) -> float:
    return -10 * float(torch.log10(((a.double() - b.double()) ** 2).mean() / 255**2))


def turn(path, degrees: int):
    """Write a rotation (clockwise, for display) into the track header of an .mp4 file, as phones do."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (value << 16 for value in matrix)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_frames_come_back_as_written(tmp_path):
    clip = moving_square()
    reader = VideoReader(write(tmp_path / "a.mp4", clip, fps=30000 / 1001, quality=5))
    back = torch.stack(list(reader))
    assert back.shape == clip.shape and back.dtype == torch.uint8
    assert min(psnr(x, y) for x, y in zip(back, clip)) > 30
    assert reader.fps == pytest.approx(30000 / 1001) and reader.frame_count == 12 and reader.size == (48, 64)
    assert reader.frames_read == 12 and not reader.truncated and reader.rotation == 0


def test_channels_are_red_green_blue(tmp_path):
    colours = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250]], dtype=torch.uint8)
    clip = colours.view(3, 3, 1, 1).expand(3, 3, 32, 32)
    back = torch.stack(list(VideoReader(write(tmp_path / "a.mp4", clip, quality=0))))
    assert (back[:, :, 16, 16].int() - colours.int()).abs().max() <= 4


@pytest.mark.parametrize("name", ["carphone", "bikes"])
def test_decoding_agrees_with_opencv(name):
    capture = cv2.VideoCapture(str(packaged_clip(name)))
    for t, frame in enumerate(VideoReader(packaged_clip(name))):
        there, bgr = capture.read()
        assert there and np.abs(bgr[..., ::-1].astype(int) - frame.permute(1, 2, 0).numpy()).max() <= 2
        if t == 60:
            break
    capture.release()


def test_a_file_is_what_browsers_play(tmp_path):
    path = write(tmp_path / "a.mp4", moving_square())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 6  # said, so that players do not guess by height
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index comes first: playing starts before all is loaded


@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 47), (31, 45)])
def test_odd_sides_gain_a_repeated_line(tmp_path, height, width):
    clip = moving_square(3, height, width)
    back = torch.stack(list(VideoReader(write(tmp_path / "a.mp4", clip, quality=0))))
    assert back.shape[2:] == (height + height % 2, width + width % 2)
    assert psnr(back[:, :, :height, :width], clip) > 30
    assert (back[:, :, -1, -1].int() - clip[:, :, -1, -1].int()).abs().max() <= 8


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phone_video_stands_upright(tmp_path, degrees):
    clip = moving_square()
    path = write(tmp_path / "a.mp4", clip, quality=5)
    turn(path, degrees)
    reader = VideoReader(path)
    back = torch.stack(list(reader))
    upright = torch.rot90(clip, -degrees // 90, dims=(2, 3))
    assert reader.rotation == degrees and back.shape == upright.shape
    assert psnr(back, upright) > 30
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    assert np.abs(capture.read()[1][..., ::-1].astype(int) - back[0].permute(1, 2, 0).numpy()).max() <= 2


def test_max_side_shrinks_and_never_enlarges():
    small = VideoReader(packaged_clip("bigbuckbunny"), max_side=480)
    assert small.size == (270, 480)
    whole = VideoReader(packaged_clip("bigbuckbunny"))
    assert whole.size == (720, 1280)
    area = cv2.resize(next(iter(whole)).permute(1, 2, 0).numpy(), (480, 270), interpolation=cv2.INTER_AREA)
    assert np.array_equal(next(iter(small)).permute(1, 2, 0).numpy(), area)
    assert VideoReader(packaged_clip("carphone"), max_side=480).size == (144, 176)
    with pytest.raises(InputError, match="max_side must be at least 1"):
        VideoReader(packaged_clip("carphone"), max_side=0)


def test_reading_holds_one_frame_at_a_time():
    alive, most = weakref.WeakSet(), 0
    for frame in VideoReader(packaged_clip("carphone")):
        alive.add(frame)
        most = max(most, len(alive))
    assert most <= 2  # the one in hand and the one just made


def test_each_loop_starts_from_the_beginning():
    reader = VideoReader(packaged_clip("carphone"))
    first = [next(iter(reader)) for _ in range(2)]
    assert torch.equal(*first)
    assert sum(1 for _ in reader) == 120 and reader.frames_read == 120


def test_a_folder_of_images_is_a_video(tmp_path):
    clip = moving_square(3)
    for t in (2, 0, 1):
        Image.fromarray(clip[t].permute(1, 2, 0).numpy()).save(tmp_path / f"{t:05d}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    reader = VideoReader(tmp_path)
    assert torch.equal(torch.stack(list(reader)), clip) and reader.frame_count == 3
    Image.new("RGB", (10, 20)).save(tmp_path / "00003.png")
    with pytest.raises(InputError, match=r"frame 3 is 20x10 .*48x64"):
        list(VideoReader(tmp_path))


def test_a_video_that_breaks_off_gives_its_frames_and_says_how_many(tmp_path):
    clip = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8)  # noise, so that bytes are spread over all frames
    data = write(tmp_path / "whole.mp4", clip).read_bytes()
    whole = list(VideoReader(tmp_path / "whole.mp4"))
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    reader = VideoReader(tmp_path / "cut.mp4")
    with pytest.warns(TruncatedVideoWarning, match=r"cut\.mp4 is truncated or damaged: (1\d|2\d) of about 40 frames"):
        frames = list(reader)
    assert 10 <= len(frames) == reader.frames_read < 30 and reader.truncated
    assert all(torch.equal(a, b) for a, b in zip(frames[:-4], whole))


def test_a_whole_video_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(1 for _ in VideoReader(packaged_clip("carphone"))) == 120


def test_unreadable_videos_are_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"no video .*nowhere\.mp4"):
        VideoReader(tmp_path / "nowhere.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4 is an empty file"):
        VideoReader(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("not a video " * 500)
    with pytest.raises(InputError, match=r"text\.mp4 is not a video"):
        VideoReader(tmp_path / "text.mp4")
    data = packaged_clip("carphone").read_bytes()
    (tmp_path / "no_index.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"no_index\.mp4 is not a video.*cut off"):
        VideoReader(tmp_path / "no_index.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder holds no images"):
        VideoReader(tmp_path / "folder")


def test_a_sound_file_has_no_video_track(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match=r"no video track \(only audio\)"):
        VideoReader(tmp_path / "a.wav")


def test_read_clip_takes_a_range():
    whole = list(VideoReader(packaged_clip("carphone")))
    clip = read_clip(packaged_clip("carphone"), start=10, stop=30, step=5)
    assert torch.equal(clip.frames, torch.stack(whole[10:30:5]))
    assert clip.name == "carphone_pristine" and clip.fps == pytest.approx(30000 / 1001 / 5) and clip.labels is None
    with pytest.raises(InputError, match="has 120 frames, none of them from frame 500 on"):
        read_clip(packaged_clip("carphone"), start=500)
    with pytest.raises(InputError, match="0 <= start < stop"):
        read_clip(packaged_clip("carphone"), start=5, stop=5)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_writer_leaves_the_earlier_file(tmp_path, error):
    path = write(tmp_path / "a.mp4", moving_square(4))
    before = path.read_bytes()
    with pytest.raises(error), VideoWriter(path, 25) as out:
        out.write(moving_square(1)[0])
        raise error
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("quota", [1000, 60_000])  # full at the first bytes; full while frames are written
def test_a_full_disk_is_one_clear_error(tmp_path, disk_quota, quota):
    clip = torch.randint(0, 256, (60, 3, 64, 64), dtype=torch.uint8)
    with disk_quota(quota), pytest.raises(WriteError, match=r"cannot write .*a\.mp4.*free some space"):
        write(tmp_path / "a.mp4", clip)
    assert list(tmp_path.iterdir()) == []


def test_the_disk_may_fill_up_at_the_very_end(tmp_path, disk_quota):
    clip = torch.randint(0, 256, (60, 3, 64, 64), dtype=torch.uint8)
    size = write(tmp_path / "whole.mp4", clip).stat().st_size
    for missing in (1, 40, 400, 1500):  # the index is written, and moved to the front, after the last frame
        with disk_quota(size - missing), pytest.raises(WriteError, match="cannot write"):
            write(tmp_path / "a.mp4", clip)
    assert [p.name for p in tmp_path.iterdir()] == ["whole.mp4"]


def test_unusable_frames_and_settings_are_refused(tmp_path):
    frame = moving_square(1)[0]
    with pytest.raises(InputError, match=r"one of \.mp4"):
        VideoWriter(tmp_path / "a.gif", 25)
    with pytest.raises(InputError, match="fps must be above 0"):
        VideoWriter(tmp_path / "a.mp4", 0)
    with pytest.raises(InputError, match="quality must lie"):
        VideoWriter(tmp_path / "a.mp4", 25, quality=60)
    for bad in (frame.float(), frame[:2], frame[0], frame[:, :0]):
        with pytest.raises(InputError, match=r"\[3, H, W\] uint8"), VideoWriter(tmp_path / "a.mp4", 25) as out:
            out.write(bad)
    with pytest.raises(InputError, match=r"frame 1 is 48x62 .*48x64"), VideoWriter(tmp_path / "a.mp4", 25) as out:
        out.write(frame)
        out.write(frame[:, :, 2:])
    with pytest.raises(InputError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", 25):
        pass
    out = VideoWriter(tmp_path / "b.mp4", 25, size=(48, 64))
    out.write(frame)
    out.close()
    with pytest.raises(InputError, match="already closed"):
        out.write(frame)
    assert [p.name for p in tmp_path.iterdir()] == ["b.mp4"]
