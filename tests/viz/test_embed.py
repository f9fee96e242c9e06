"""Pictures that must fit into a page give up size and sharpness, in that order, and no more than they must."""

import base64
import io

import numpy as np
from PIL import Image

from course_lib.viz.embed import encode_picture, encode_within, shrunk

STEPS = ((64, 80), (32, 80), (32, 10))


def size_of(code):
    return Image.open(io.BytesIO(base64.b64decode(code.split(",")[1]))).size


def test_the_first_step_that_fits_is_taken():
    pictures = [np.random.default_rng(i).integers(0, 255, (40, 80, 3), dtype=np.uint8) for i in range(3)]
    full, half, last = ([encode_picture(shrunk(p, w), q) for p in pictures] for w, q in STEPS)
    lengths = [sum(map(len, codes)) for codes in (full, half, last)]
    assert lengths == sorted(lengths, reverse=True)
    assert encode_within(pictures, lengths[0], STEPS) == full
    assert encode_within(pictures, lengths[0] - 1, STEPS) == half
    assert encode_within(pictures, 10, STEPS) == last  # what cannot fit is still shown
    assert size_of(full[0]) == (64, 32) and size_of(half[0]) == (32, 16)


def test_small_pictures_are_left_alone():
    picture = np.zeros((10, 20, 3), dtype=np.uint8)
    assert shrunk(picture, 20) is picture and shrunk(picture, 10).shape == (5, 10, 3)
