"""The distance-class painter: its classes are the library's, and it says which of them nobody gets."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.methods.recurrent.distance import distance_classes, n_classes
from course_lib.viz.widgets import DistanceClassPainter
from course_lib.viz.widgets.distance_painter import painter_shapes


@given(st.integers(0, 5), st.integers(1, 24), st.integers(1, 12))
def test_classes_are_those_of_the_library(seed, radius, width):
    width = min(width, radius)
    mask = np.random.default_rng(seed).random((14, 19)) < (0.0, 0.02, 0.3, 0.7, 0.98, 1.0)[seed]
    shown = DistanceClassPainter(mask, radius, width)
    expected = distance_classes(torch.from_numpy(mask)[None], radius, width)[0]
    np.testing.assert_array_equal(shown.classes, expected)
    assert shown.n_classes == n_classes(radius, width)


@pytest.mark.parametrize("name", ["disk", "bar", "ring", "small objects", "clear"])
def test_every_shape_to_start_from_is_drawn_in_full(name):
    shown = DistanceClassPainter(name)
    np.testing.assert_array_equal(shown.mask, painter_shapes(60, 80)[name])
    expected = distance_classes(torch.from_numpy(shown.mask)[None], 20, 1)[0]
    np.testing.assert_array_equal(shown.classes, expected)


def test_a_large_disk_fills_all_classes_and_a_thin_bar_leaves_the_deep_ones_empty():
    assert DistanceClassPainter("disk").empty_classes == []
    bar = DistanceClassPainter("bar", radius=20, width=1)
    assert bar.n_classes == 42 and bar.empty_classes == list(range(26, 42))  # 9 or 10 rows: 5 pixels deep
    bar.radius = 5
    assert bar.n_classes == 12 and bar.empty_classes == [11]
    assert DistanceClassPainter("clear").empty_classes == list(range(1, 42))


def test_painting_from_python_moves_the_classes():
    shown = DistanceClassPainter("clear", 3, 1, size=(9, 11))
    mask = np.zeros((9, 11), dtype=bool)
    mask[:, 4:7] = True
    shown.paint(mask)
    assert shown.classes[0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0]
    assert "8 classes, of which 2" in shown.summary()


def test_the_still_shows_mask_classes_and_counts():
    figure = DistanceClassPainter("ring", 12, 3).figure()
    bars = [patch.get_height() ** 2 for patch in figure.axes[-1].patches]
    assert sum(bars) == pytest.approx(60 * 80) and len(bars) == 10
    plt.close(figure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 25}, "radius of at most 24"),
        ({"radius": 4, "width": 5}, "got radius 4 and width 5"),
        ({"width": 0}, "1 <= width"),
        ({"mask": "star"}, "disk, bar, ring, small objects, clear, or a mask"),
        ({"mask": np.full((9, 9), 7)}, "up to 7; pick labels == id"),
        ({"mask": np.zeros((4, 9), dtype=bool)}, "8 to 160 pixels a side, got 4 x 9"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DistanceClassPainter(**settings)


def test_a_bad_turn_leaves_the_dials_where_they_were():
    shown = DistanceClassPainter("disk", 6, 3)
    for name, value, message in (("radius", 2, "got radius 2 and width 3"), ("mask_code", "!", "use paint")):
        with pytest.raises(InputError, match=message):
            setattr(shown, name, value)
    with pytest.raises(InputError, match=r"must be \[60, 80\]"):
        shown.paint(np.zeros((8, 8), dtype=bool))
    assert (shown.radius, shown.width) == (6, 3) and shown.mask.any()


def test_a_page_may_turn_both_dials_at_once():
    shown = DistanceClassPainter("disk", 6, 3)
    shown.set_state({"radius": 2, "width": 1})
    assert (shown.radius, shown.width) == (2, 1)


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = DistanceClassPainter("bar", 20, 10)
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"mask_code": shown.mask_code, "radius": 20, "width": 10}
    assert "6 classes, of which 2 have no pixel" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 40
