"""Label maps survive the disk bit for bit, in VOC colours, and a failed write leaves what was there."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from course_lib.data.palette_png import read_labels, voc_palette, write_labels
from course_lib.errors import InputError, MissingDataError, WriteError


def test_the_palette_is_that_of_pascal_voc():
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    published |= {8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    for label, colour in published.items():
        assert tuple(voc_palette()[label]) == colour
    assert len({tuple(colour) for colour in voc_palette()}) == 256


def test_a_caller_cannot_spoil_the_palette():
    voc_palette()[:] = 0
    assert voc_palette()[1, 0] == 128


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_labels_come_back_as_written(tmp_path_factory, height, width, seed):
    labels = torch.randint(0, 256, (height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    path = tmp_path_factory.mktemp("png") / "00000.png"
    write_labels(path, labels)
    assert torch.equal(read_labels(path), labels)
    shown = np.array(Image.open(path).convert("RGB"))
    assert np.array_equal(shown, voc_palette()[labels.numpy()])


def test_a_transposed_view_is_written_as_seen(tmp_path):
    labels = torch.arange(6, dtype=torch.uint8).view(2, 3).t()
    write_labels(tmp_path / "a.png", labels)
    assert torch.equal(read_labels(tmp_path / "a.png"), labels)


def test_grey_and_one_bit_files_are_read_too(tmp_path):
    values = np.array([[0, 3], [255, 7]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([values] * 3, axis=-1)).save(tmp_path / "grey_as_rgb.png")
    Image.fromarray(values > 0).save(tmp_path / "bit.png")
    assert read_labels(tmp_path / "grey.png").tolist() == values.tolist()
    assert read_labels(tmp_path / "grey_as_rgb.png").tolist() == values.tolist()
    assert read_labels(tmp_path / "bit.png").tolist() == [[0, 1], [1, 1]]


def test_unusable_files_are_named(tmp_path):
    Image.fromarray(np.array([[[200, 0, 0]]], dtype=np.uint8)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"red\.png is a RGB image.*indexed"):
        read_labels(tmp_path / "red.png")
    with pytest.raises(MissingDataError, match=r"nowhere\.png"):
        read_labels(tmp_path / "nowhere.png")
    write_labels(tmp_path / "whole.png", torch.randint(0, 256, (64, 64), dtype=torch.uint8))
    for keep in (0, 20, 600):
        (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:keep])
        with pytest.raises(InputError, match=r"cannot read .*cut\.png"):
            read_labels(tmp_path / "cut.png")


def test_unusable_labels_are_refused(tmp_path):
    for labels in (torch.zeros(2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8), torch.zeros(0, 2, dtype=torch.uint8)):
        with pytest.raises(InputError, match=r"\[H, W\] uint8"):
            write_labels(tmp_path / "a.png", labels)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_earlier_file(tmp_path, disk_quota):
    path = tmp_path / "00000.png"
    write_labels(path, torch.full((4, 4), 7, dtype=torch.uint8))
    noise = torch.randint(0, 256, (200, 200), dtype=torch.uint8)
    with disk_quota(2000), pytest.raises(WriteError, match=r"cannot write .*00000\.png.*free some space"):
        write_labels(path, noise)
    assert read_labels(path).unique().tolist() == [7]
    assert [p.name for p in tmp_path.iterdir()] == ["00000.png"]


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"):
        write_labels(tmp_path / "file" / "00000.png", torch.zeros(2, 2, dtype=torch.uint8))
