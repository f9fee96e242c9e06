"""A clip on disk reads the same frame by frame as whole, and tells a method only what it may know."""

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.clip_files import ClipFiles, image_files, read_frame
from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError, MissingDataError


def paint(folder, count=4, size=(6, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for t in range(count):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{t:05d}.png")
    return image_files(folder)


@pytest.fixture
def clip(tmp_path):
    """Four frames, annotated at 1 and 3: object 5 and ignore from frame 1, object 9 new in frame 3."""
    frames = paint(tmp_path / "frames")
    first = torch.zeros(6, 8, dtype=torch.uint8)
    first[:2], first[-1] = 5, 255
    later = torch.zeros(6, 8, dtype=torch.uint8)
    later[0], later[3:5], later[-1] = 5, 9, 255
    labels = []
    for t, image in enumerate([None, first, None, later]):
        labels.append(None if image is None else tmp_path / f"labels{t}.png")
        if image is not None:
            write_labels(labels[-1], image)
    return ClipFiles("toy", frames, tuple(labels), given={1: (5,), 3: (9,)})


def test_reading_by_frame_equals_loading(clip):
    loaded = clip.load()
    assert torch.equal(loaded.frames, torch.stack(list(clip.frames())))
    assert loaded.size == clip.size == (6, 8) and len(clip) == len(loaded) == 4
    assert loaded.annotated == clip.annotated == (1, 3) and clip.start == 1
    assert torch.equal(loaded.labels[3], clip.labels(3)) and clip.labels(2) is None
    assert (loaded.labels[[0, 2]] == 255).all()  # nobody annotated these
    assert loaded.ids.tolist() == [5, 9]


def test_a_method_is_told_new_objects_only(clip):
    assert clip.first_labels.unique().tolist() == [0, 5, 255]
    assert clip.new_labels(0) is None and clip.new_labels(2) is None
    assert clip.new_labels(3).unique().tolist() == [0, 9]  # neither the known object nor ignore
    assert torch.equal(clip.new_labels(3) == 9, clip.labels(3) == 9)


def test_by_default_everything_is_told_at_the_start(clip):
    plain = ClipFiles("toy", clip.frame_paths, clip.label_paths)
    assert torch.equal(plain.first_labels, clip.labels(1)) and plain.new_labels(3) is None


def test_a_new_object_needs_its_annotation(clip):
    wrong = ClipFiles("toy", clip.frame_paths, clip.label_paths, given={1: (5,), 2: (9,)})
    with pytest.raises(MissingDataError, match=r"objects \[9\] first appear in 00002\.png.*no annotation"):
        wrong.new_labels(2)
    with pytest.raises(InputError, match="names no object for frame 1"):
        _ = ClipFiles("toy", clip.frame_paths, clip.label_paths, given={1: (), 3: (9,)}).first_labels


def test_following_begins_with_the_first_object(clip):
    late = ClipFiles("toy", clip.frame_paths, clip.label_paths, given={3: (9,)})
    assert late.start == 3 and late.first_labels.unique().tolist() == [0, 9, 255]


def test_mixed_sizes_are_named(tmp_path, clip):
    Image.new("RGB", (9, 6)).save(clip.frame_paths[2])
    with pytest.raises(InputError, match=r"00002\.png is 6x9 .*first frame is 6x8"):
        clip.load()
    write_labels(clip.label_paths[3], torch.zeros(3, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"labels3\.png is 3x4"):
        clip.labels(3)


def test_a_clip_needs_frames_and_matching_lists(clip):
    with pytest.raises(InputError, match="has no frames"):
        ClipFiles("toy", (), ())
    with pytest.raises(InputError, match="4 frames but 1 label entries"):
        ClipFiles("toy", clip.frame_paths, (None,))
    with pytest.raises(MissingDataError, match="no annotation at all"):
        _ = ClipFiles("toy", clip.frame_paths, (None,) * 4).start


def test_frames_stand_upright(tmp_path):
    stored = np.zeros((4, 6, 3), dtype=np.uint8)
    stored[0, 0] = 255
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: show it rotated 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    frame = read_frame(tmp_path / "a.png")
    assert frame.shape == (3, 6, 4) and frame[:, 0, 3].tolist() == [255] * 3


def test_every_eight_bit_image_becomes_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "1"):
        Image.new(mode, (5, 4), 1 if mode != "RGBA" else (9, 8, 7, 255)).save(tmp_path / f"{mode}.png")
        assert read_frame(tmp_path / f"{mode}.png").shape == (3, 4, 5)
    Image.fromarray(np.full((4, 5), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png .*8 bits per channel"):
        read_frame(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "RGBA.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"cannot read .*cut\.png"):
        read_frame(tmp_path / "cut.png")
