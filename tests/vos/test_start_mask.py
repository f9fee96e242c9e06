"""Start masks: from a box by GrabCut, as the box itself, and from pictures."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError
from course_lib.vos.start_mask import StartMaskWarning, box_labels, grabcut_labels, read_mask, resize_labels


def ball(height=80, width=100, noise=8):
    """A red ball of radius 15 at (40, 50) on a bluish ground: frame [3, H, W] uint8 and its mask."""
    y, x = np.mgrid[:height, :width]
    mask = (y - 40) ** 2 + (x - 50) ** 2 <= 15**2
    picture = np.where(mask[..., None], (200, 40, 40), (40, 60, 160)).astype(np.int16)
    picture += np.random.default_rng(0).integers(-noise, noise + 1, picture.shape, dtype=np.int16)
    frame = torch.from_numpy(picture.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
    return frame, torch.from_numpy(mask)


def test_grabcut_finds_the_ball_in_a_loose_box():
    frame, truth = ball()
    labels = grabcut_labels(frame, (28, 18, 72, 62))
    found = labels == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.95
    assert set(labels.unique().tolist()) == {0, 1}


def test_grabcut_gives_the_same_answer_twice():
    frame, _ = ball(noise=40)
    assert torch.equal(grabcut_labels(frame, (28, 18, 72, 62)), grabcut_labels(frame, (28, 18, 72, 62)))


def test_grabcut_that_finds_nothing_says_so_and_takes_the_box(monkeypatch):
    import cv2

    def blind(picture, state, *arguments):
        state[:] = cv2.GC_BGD

    monkeypatch.setattr(cv2, "grabCut", blind)
    frame, _ = ball()
    with pytest.warns(StartMaskWarning, match=r"found no object inside the box.*--mask first.png"):
        labels = grabcut_labels(frame, (10, 20, 30, 60))
    assert torch.equal(labels, box_labels((10, 20, 30, 60), (80, 100)))


def test_crumbs_far_smaller_than_the_object_are_dropped():
    frame, truth = ball(noise=0)
    frame[:, 60, 70] = torch.tensor([200, 40, 40], dtype=torch.uint8)  # one red pixel in the box, apart from the ball
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = grabcut_labels(frame, (28, 18, 75, 65))
    assert labels[60, 70] == 0 and (labels == 1)[truth].float().mean() > 0.95


def test_a_box_is_half_open():
    labels = box_labels((2, 1, 5, 3), (4, 6))
    assert labels.sum() == 6 and labels[1:3, 2:5].eq(1).all()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 7, 4), "0 <= x0 < x1 <= 6"),
        ((-1, 0, 3, 3), "does not fit"),
        ((3, 1, 3, 3), "does not fit"),
        ((4, 1, 2, 3), "does not fit"),
        ((0, 0, 6, 5), "6 wide and 4 high"),
        ((1, 2, 3), "got 3 numbers"),
    ],
)
def test_boxes_that_do_not_fit(box, message):
    with pytest.raises(InputError, match=message):
        box_labels(box, (4, 6))


def test_a_box_that_fills_the_frame_leaves_nothing_to_learn_from():
    frame, _ = ball()
    with pytest.raises(InputError, match=r"fills the whole frame.*--box-is-mask"):
        grabcut_labels(frame, (0, 0, 100, 80))


def test_masks_of_every_kind(tmp_path):
    objects = torch.tensor([[0, 3], [200, 255]], dtype=torch.uint8)
    write_labels(tmp_path / "palette.png", objects)
    assert torch.equal(read_mask(tmp_path / "palette.png", (2, 2)), objects)
    Image.fromarray(objects.numpy()).save(tmp_path / "grey.png")
    assert torch.equal(read_mask(tmp_path / "grey.png", (2, 2)), objects)
    black_white = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(black_white).save(tmp_path / "bw.png")
    assert read_mask(tmp_path / "bw.png", (2, 2)).tolist() == [[0, 1], [1, 0]]
    Image.fromarray(black_white).convert("1").save(tmp_path / "bit.png")
    assert read_mask(tmp_path / "bit.png", (2, 2)).tolist() == [[0, 1], [1, 0]]


def test_masks_that_cannot_be_used(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"empty.png holds no object"):
        read_mask(tmp_path / "empty.png", (3, 4))
    with pytest.raises(InputError, match=r"is 3 x 4 but the video is 6 x 8 \(height x width\)"):
        read_mask(tmp_path / "empty.png", (6, 8))


def test_shrinking_keeps_ids_and_refuses_to_lose_an_object():
    labels = torch.zeros(20, 40, dtype=torch.uint8)
    labels[4:12, 10:30] = 17
    small = resize_labels(labels, (10, 20))
    assert small.shape == (10, 20) and small[3, 8] == 17 and (small == 17).sum() == 40
    labels[15, 39] = 3
    with pytest.raises(InputError, match=r"objects \[3\] vanish when the video is shrunk to 5 x 10"):
        resize_labels(labels, (5, 10))
