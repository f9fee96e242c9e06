import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from course_lib.errors import InputError
from course_lib.viz import object_palette, overlay, overlay_errors
from course_lib.viz.overlay import as_picture, contour_sides


def frame(height: int = 10, width: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square(height: int = 10, width: int = 12) -> np.ndarray:
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[3:7, 4:9] = 1
    return labels


def test_every_way_to_give_a_frame_gives_the_same_picture():
    picture, labels = frame(), square()
    chw = torch.from_numpy(picture).permute(2, 0, 1)
    expected = overlay(picture, labels)
    for given_frame in (chw, chw.numpy(), chw.float() / 255, picture / 255.0, chw.double() / 255):
        np.testing.assert_array_equal(overlay(given_frame, torch.from_numpy(labels)), expected)
    np.testing.assert_array_equal(overlay(picture, labels.astype(bool)), expected)


def test_a_three_by_three_frame_is_read_channels_first():
    picture = torch.arange(27, dtype=torch.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(
        overlay(picture, torch.zeros(3, 3, dtype=torch.uint8)), picture.permute(1, 2, 0).numpy()
    )


def test_background_is_untouched_and_the_inside_is_mixed_with_the_object_colour():
    picture, labels = frame(), square()
    painted = overlay(picture, labels, alpha=0.25, contour=False)
    np.testing.assert_array_equal(painted[labels == 0], picture[labels == 0])
    expected = 0.75 * picture[labels == 1] + 0.25 * object_palette()[1]
    assert np.abs(painted[labels == 1].astype(float) - expected).max() <= 0.5 + 1e-3


def test_alpha_zero_without_contour_changes_nothing():
    np.testing.assert_array_equal(overlay(frame(), square(), alpha=0, contour=False), frame())


def test_contour_of_a_square_counted_by_hand():
    inner, outer = contour_sides(square())
    assert inner.sum() == 2 * 5 + 2 * 2  # rim of a 4 x 5 block
    assert outer.sum() == 2 * 5 + 2 * 4  # 4-neighbours around it, no corners
    assert not (inner & outer).any()


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_a_contour_is_light_and_dark_on_any_ground(ground):
    labels = square()
    painted = overlay(np.full((10, 12, 3), ground, dtype=np.uint8), labels).astype(int)
    inner, outer = contour_sides(labels)
    assert painted[inner].mean() > 190
    assert painted[outer].mean() < 80
    assert painted[inner].mean() - painted[outer].mean() > 120


@given(arrays(np.uint8, (7, 6), elements=st.sampled_from([0, 1, 2, 9, 255])))
def test_contours_agree_with_a_look_at_each_neighbour(labels):
    rank = np.where(labels == 255, 0, labels).astype(int)
    inner, outer = contour_sides(labels)
    for y in range(7):
        for x in range(6):
            around = [
                rank[v, u] for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if 0 <= v < 7 and 0 <= u < 6
            ]
            is_inner = any(other < rank[y, x] for other in around)
            assert inner[y, x] == is_inner
            assert outer[y, x] == (not is_inner and any(other > rank[y, x] for other in around))


def test_enlarging_comes_before_the_contour():
    labels = square()
    picture = overlay(frame(), labels, scale=3)
    assert picture.shape == (30, 36, 3)
    inner, _ = contour_sides(labels.repeat(3, 0).repeat(3, 1))
    assert inner.sum() == 2 * 15 + 2 * 10  # one pixel wide, not three
    np.testing.assert_array_equal(
        overlay(frame(), labels, contour=False, scale=2),
        overlay(frame(), labels, contour=False).repeat(2, 0).repeat(2, 1),
    )


def test_ignored_pixels_are_hatched_grey_and_have_no_colour():
    labels = np.full((16, 16), 255, dtype=np.uint8)
    painted = overlay(np.full((16, 16, 3), 200, dtype=np.uint8), labels)
    assert (painted == painted[..., :1]).all()
    assert len(np.unique(painted)) == 2


def test_errors_are_blue_where_missed_and_red_where_invented():
    truth, prediction = square(), np.roll(square(), 2, axis=1)
    truth[0, 0] = 255
    prediction[0, 0] = 1
    picture = np.full((10, 12, 3), 100, dtype=np.uint8)
    painted = overlay_errors(picture, prediction, truth).astype(int)
    assert painted[5, 9, 0] > painted[5, 9, 2]  # claimed, not true
    assert painted[4, 5, 2] > painted[4, 5, 0]  # true, not claimed
    assert painted[5, 7].tolist() == [100, 100, 100]  # both
    assert painted[9, 11].tolist() == [45, 45, 45]  # neither
    assert painted[0, 0].tolist() == [100, 100, 100]  # not judged


@pytest.mark.parametrize(
    ("bad_frame", "labels", "message"),
    [
        (np.zeros((10, 12), np.uint8), square(), r"\[3, H, W\] or \[H, W, 3\], got \[10, 12\]"),
        (frame(8, 8), square(), r"does not match the labels' height and width \[10, 12\]"),
        (frame().astype(np.float32), square(), r"must lie in \[0, 1\], got .*undo the normalisation"),
        (np.full((10, 12, 3), np.nan), square(), r"must lie in \[0, 1\]"),
        (frame().astype(np.int32), square(), "uint8 or floating point"),
        (frame(), square()[None], r"labels must be \[H, W\], got \[1, 10, 12\]"),
        (frame(), square().astype(np.float32), "take the argmax first"),
        (frame(), square().astype(np.int64) * 300, r"0 … 255, got 0 … 300"),
    ],
)
def test_bad_input_is_explained(bad_frame, labels, message):
    with pytest.raises(InputError, match=message):
        overlay(bad_frame, labels)


@pytest.mark.parametrize(("settings", "message"), [({"alpha": 1.5}, "alpha must lie"), ({"scale": 0}, "at least 1")])
def test_bad_settings_are_explained(settings, message):
    with pytest.raises(InputError, match=message):
        overlay(frame(), square(), **settings)


def test_float_frames_round_to_the_nearest_byte():
    assert as_picture(np.full((2, 2, 3), 0.5, np.float32)).max() == 128
