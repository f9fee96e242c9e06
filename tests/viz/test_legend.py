"""A legend names every class beside its colour, and wraps where a row is full."""

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.viz.legend import legend_strip
from course_lib.viz.palette import object_palette

NAMES = ("sky", "building", "road", "traffic sign")


def test_colours_stand_in_their_order():
    strip = legend_strip(NAMES, 600, text=12)
    assert strip.shape[1] == 600 and strip.shape[0] % 2 == 0 and strip.dtype == np.uint8
    palette = object_palette()
    columns = [np.flatnonzero((strip == palette[label]).all(axis=2).any(axis=0)) for label in range(1, 5)]
    assert all(len(place) >= 8 for place in columns)
    assert [place.min() for place in columns] == sorted(place.min() for place in columns)


def test_rows_wrap_and_nothing_is_cut():
    tall, wide = legend_strip(NAMES, 130), legend_strip(NAMES, 600)
    assert tall.shape[0] > 2 * wide.shape[0] - 2
    for strip in (tall, wide):
        assert (strip[:, -1] == 255).all()  # no letter runs into the border
    with pytest.raises(InputError, match="'building' needs 84 pixels"):
        legend_strip(NAMES, 60)
