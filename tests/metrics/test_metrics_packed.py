"""Masks in words: every operation against the same one on pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from course_lib.metrics import packed, reference

sizes = st.tuples(st.integers(1, 25), st.sampled_from([1, 3, 63, 64, 65, 128, 150]))


def random_masks(number: int, size: tuple[int, int], density: float, count: int = 2) -> np.ndarray:
    return np.random.default_rng(number).random((count, *size)) < density


def unpack(words: np.ndarray, width: int) -> np.ndarray:
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    return bits[..., :width].astype(bool)


@given(st.integers(0, 2**31), sizes, st.floats(0, 1))
def test_words_hold_the_pixels(number, size, density):
    masks = random_masks(number, size, density, 3)
    words = packed.pack(*masks)
    np.testing.assert_array_equal(unpack(words, size[1]), masks)
    assert packed.areas(words).tolist() == masks.sum(axis=(1, 2)).tolist()
    assert not unpack(words, words.shape[-1] * 64)[..., size[1] :].any()


@given(st.integers(0, 2**31), sizes, st.sampled_from([0.0, 0.002, 0.1, 0.6, 1.0]))
def test_contour_of_the_cut_is_the_contour_of_the_picture(number, size, density):
    masks = random_masks(number, size, density)
    cropped, last_column = packed.crop(packed.pack(*masks), size[1], margin=5)
    edges = packed.boundary(cropped, last_column)
    wanted = [reference.boundary_map(mask) for mask in masks]
    assert packed.areas(edges).tolist() == [int(mask.sum()) for mask in wanted]
    assert packed.areas(edges[:1] & edges[1:])[0] == int((wanted[0] & wanted[1]).sum())
    assert packed.areas(cropped).tolist() == masks.sum(axis=(1, 2)).tolist()


def test_the_cut_is_small():
    mask = np.zeros((480, 854), dtype=bool)
    mask[100:110, 200:230] = True
    cropped, last_column = packed.crop(packed.pack(mask), 854, margin=8)
    assert cropped.shape == (1, 12, 2)  # one row more on either side; one word and a spare one
    assert last_column == 853 - 3 * 64


@given(st.integers(0, 2**31), sizes, st.sampled_from([0.003, 0.05]), st.one_of(st.integers(0, 90), st.floats(1, 20)))
def test_dilation_by_a_disk(number, size, density, radius):
    masks = random_masks(number, size, density)
    spare = int(np.ceil(size[1] / 64)) + 2  # more zero bits than any radius here needs
    words = np.zeros((2, size[0], spare), dtype=np.uint64)
    words[:, :, :-2] = packed.pack(*masks)
    found = unpack(packed.dilate(words, radius), size[1])
    for mask, near in zip(masks, found, strict=True):
        slid = cv2.dilate(mask.astype(np.uint8), reference.disk(radius)).astype(bool)
        np.testing.assert_array_equal(near, slid)
        if mask.any():  # and by the meaning of a disk: the distance to the nearest pixel
            np.testing.assert_array_equal(near, np.round(ndimage.distance_transform_edt(~mask) ** 2) <= radius**2)


@pytest.mark.parametrize("radius", [0, 1, 2.5, 8, 18, 100])
def test_half_widths_describe_the_disk(radius):
    disk = reference.disk(radius)
    widths = packed.half_widths(radius)
    middle = len(disk) // 2
    assert [2 * width + 1 for width in widths] == disk[middle:].sum(axis=1).tolist()
