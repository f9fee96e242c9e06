"""CamVid from a tiny tree: drives, rates, void, and damaged copies."""

import pytest
import torch
from PIL import Image

from course_lib.data.camvid import CAMVID_CLASSES, CamVidDataset, read_classes
from course_lib.errors import InputError, MissingDataError


def add(root, split, stem, value=0, suffix=".png", size=(8, 6)):
    for folder in (split, f"{split}annot"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 10, 20)).save(root / split / f"{stem}{suffix}")
    labels = Image.new("L", size, value)
    labels.putpixel((0, 0), 11)
    labels.save(root / f"{split}annot" / f"{stem}.png")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "CamVid"
    for number in (870, 901, 930, 2400, 2430):  # two drives of one film; a step of 31 is no gap
        add(root, "train", f"0016E5_{number:05d}", value=number // 30 % 11)
    for number in (930, 960):
        add(root, "train", f"0006R0_f{number:05d}", value=3, suffix=".jpg")
    for number in (7959, 7961, 7963):
        add(root, "val", f"0016E5_{number:05d}", value=8)
    return root


def test_drives_in_order(tree):
    data = CamVidDataset(tree)
    assert data.names == ("0006R0/930", "0016E5/870", "0016E5/2400")
    assert [len(data.stream(i)) for i in range(3)] == [2, 3, 2]
    assert [data.stream(i).fps for i in range(3)] == [1.0, 1.0, 1.0]
    assert [path.stem for path in data.stream(1).frame_paths] == ["0016E5_00870", "0016E5_00901", "0016E5_00930"]
    val = CamVidDataset(tree.parent, "val")  # also the folder above
    assert val.names == ("0016E5/7959",) and val.stream(0).fps == 15.0 and len(val) == 1


def test_clips_and_single_frames_agree_and_void_is_255(tree):
    data = CamVidDataset(tree)
    clip = data[1]
    assert clip.frames.shape == (3, 3, 6, 8) and clip.fps == 1.0 and clip.annotated is None
    assert data.frames_total == 7 and len(data.class_names) == 11
    single = data.frame(3)  # the second of the second drive
    assert torch.equal(single.frame, clip.frames[1]) and torch.equal(single.labels, clip.labels[1])
    assert single.labels[0, 0] == 255 and set(single.labels.flatten()[1:].tolist()) == {901 // 30 % 11}
    assert torch.equal(data.frame(-1).frame, data.frame(6).frame)
    with pytest.raises(IndexError, match="frame 7 of a data set of 7"):
        data.frame(7)


def test_what_is_missing_is_named(tree, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'train', 'val' or 'test'"):
        CamVidDataset(tree, "trainval")
    with pytest.raises(MissingDataError, match=r"there is no folder .*test"):
        CamVidDataset(tree, "test")
    (tree / "valannot" / "0016E5_07961.png").unlink()
    with pytest.raises(MissingDataError, match=r"0016E5_07961\.png has no annotation"):
        CamVidDataset(tree, "val")
    (tree / "val" / "0016E5_07961.png").unlink()
    (tree / "val" / "0016E5_07959.png").unlink()
    with pytest.raises(MissingDataError, match=r"0016E5_07959\.png has no frame"):
        CamVidDataset(tree, "val")
    for path in (tree / "val").iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match="holds no images"):
        CamVidDataset(tree, "val")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(MissingDataError, match="Brostow"):
        CamVidDataset()
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="CamVid-360p"):
        CamVidDataset(tmp_path / "empty")


def test_wrong_files_are_named(tree):
    add(tree, "val", "street", value=1)
    with pytest.raises(InputError, match=r"street.png is not named"):
        CamVidDataset(tree, "val")
    path = tree / "valannot" / "0016E5_07959.png"
    Image.new("L", (8, 6), 12).save(path)
    with pytest.raises(InputError, match="holds the value 12"):
        read_classes(path)
    Image.new("RGB", (8, 6), (64, 0, 128)).save(path)
    with pytest.raises(InputError, match="RGB image"):
        read_classes(path)
    path.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="cannot read"):
        read_classes(path)


def test_frames_of_a_drive_agree_in_size(tree):
    add(tree, "val", "0016E5_07965", value=1, size=(10, 6))
    with pytest.raises(InputError, match="must agree in size"):
        CamVidDataset(tree, "val").stream(0).load()


def test_the_real_one(course_data):
    train, val = CamVidDataset(course_data), CamVidDataset(course_data, "val")
    assert (train.frames_total, val.frames_total) == (367, 101)
    assert [len(train.stream(i)) for i in range(len(train))] == [62, 101, 68, 120, 16]
    assert val.stream(0).fps == 15.0 and {train.stream(i).fps for i in range(5)} == {1.0}
    labels = val.frame(20).labels
    assert labels.shape == (360, 480)
    road, sky = (labels == CAMVID_CLASSES.index(name) for name in ("road", "sky"))
    assert road[-60:].float().mean() > 0.5 and road[:120].sum() < 10  # the order of classes is the one we think
    assert sky[-120:].sum() < 10 and sky[:100].sum() > 1000
