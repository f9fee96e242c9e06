import json
import re

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.synthetic import WorldConfig
from course_lib.errors import InputError
from course_lib.metrics import contour_accuracy, region_similarity
from course_lib.metrics.reference import disk
from course_lib.viz.widgets import DifficultyDials, MetricMicroscope
from course_lib.viz.widgets.microscope import altered_mask, thickest_place

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def blob(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((x - 30) / 14) ** 2 + ((y - 22) / 9) ** 2 <= 1 + 0.3 * np.sin(3 * np.arctan2(y - 22, x - 30))


# Microscope


def test_an_untouched_mask_is_perfect():
    scope = MetricMicroscope(blob())
    assert scope.j == scope.f == 1.0
    assert scope.tolerance == 1  # ceil(0.008 * 80)


def test_numbers_are_those_of_the_metrics():
    scope = MetricMicroscope(torch.from_numpy(blob()), dx=4, dy=-3, grow=2, hole=3, tolerance=2)
    assert scope.j == region_similarity(scope.mask, blob())
    assert scope.f == contour_accuracy(scope.mask, blob(), tolerance=2)
    scope.grow = -2
    assert scope.j == region_similarity(altered_mask(blob(), 4, -3, -2, 3), blob())


@given(st.integers(-6, 6))
def test_growing_agrees_with_opencv(grow):
    kernel = disk(abs(grow)).astype(np.uint8)
    change = cv2.dilate if grow > 0 else cv2.erode
    expected = change(blob().astype(np.uint8), kernel) > 0 if grow else blob()
    np.testing.assert_array_equal(altered_mask(blob(), grow=grow), expected)


def test_moving_loses_what_leaves_the_picture_and_nothing_comes_back():
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 3:6] = True
    moved = altered_mask(mask, dx=2, dy=-2)
    assert moved.sum() == 1 and moved[0, 5]


def test_the_border_does_not_eat_into_a_mask():
    mask = np.ones((8, 8), dtype=bool)
    assert altered_mask(mask, grow=-2).all()


def test_a_hole_lies_where_the_mask_is_thickest():
    y, x = np.mgrid[:61, :61]
    ring = (np.hypot(x - 30, y - 30) <= 25) & (np.hypot(x - 30, y - 30) >= 11)
    row, column = thickest_place(ring)
    assert ring[row, column] and abs(np.hypot(column - 30, row - 30) - 18) < 2
    lost = ring & ~altered_mask(ring, hole=3)
    assert lost.sum() == disk(3).sum()


def test_labels_become_one_object_without_the_ignored():
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[2:6, 2:6], labels[8:10, 8:10], labels[15:, :] = 1, 7, 255
    assert MetricMicroscope(labels).truth.sum() == 16 + 4


def test_output_carries_the_instrument_without_a_kernel():
    scope = MetricMicroscope(blob(), np.zeros((48, 64, 3), np.uint8), dx=3)
    data, _ = scope._repr_mimebundle_()
    assert WIDGET_VIEW in data
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"]["dx"] == 3 and embedded["picture"].startswith("data:image/webp")
    assert f"J = {scope.j:.2f}" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:", html)
    assert "Run this cell" in data["text/plain"]


@pytest.mark.parametrize(
    ("truth", "settings", "message"),
    [
        (np.zeros((9, 9), bool), {}, "no object"),
        (blob(), {"dx": 40}, "dx is 40 pixels"),
        (blob(), {"hole": -1}, "hole is -1"),
        (blob(), {"frame": np.zeros((9, 9, 3), np.uint8)}, "does not match"),
        (blob().astype(float), {}, "must be integers"),
    ],
)
def test_microscope_explains_bad_input(truth, settings, message):
    with pytest.raises(InputError, match=message):
        MetricMicroscope(truth, **settings)


# Dials


def copied(clip) -> tuple[torch.Tensor, float]:
    return clip.labels, 0.25 * len(clip.ids)


@pytest.fixture
def dials() -> DifficultyDials:
    return DifficultyDials(copied, length=8, image_size=48)


def test_turning_a_dial_renders_another_film(dials):
    before = dials.reply
    dials.turn(n_objects=4)
    assert dials.config.n_objects == 4 and len(dials.clip.ids) == 4
    assert dials.reply["clip"]["images"] != before["clip"]["images"]
    assert dials.reply["result"] == "J = 1.000"
    assert dials.reply["number"] == before["number"] + 1


def test_the_film_dial_changes_the_film_and_nothing_else(dials):
    config, first = dials.config, dials.clip.frames
    dials.turn(seed=5)
    assert dials.config == config and not torch.equal(dials.clip.frames, first)
    dials.turn(seed=0)
    assert torch.equal(dials.clip.frames, first)


def test_a_contradiction_is_explained_and_the_last_film_stands(dials):
    film = dials.clip
    dials.turn(occlusion=1.0, size=0.6)
    assert dials.clip is film and dials.reply["clip"] is None
    assert "make it smaller or slower" in dials.reply["error"] or "at most 0.35" in dials.reply["error"]
    dials.turn(occlusion=0.0)
    assert dials.reply["error"] == "" and dials.reply["clip"] is not None


def test_an_error_of_the_method_is_shown(dials):
    def broken(clip):
        raise RuntimeError("out of paint")

    dials._method = broken
    dials.turn(speed=1.0)
    assert dials.reply["error"] == "RuntimeError: out of paint"


def test_unknown_dials_and_films_are_refused(dials):
    with pytest.raises(InputError, match="unknown dial fog; there are n_objects"):
        dials.turn(fog=1)
    with pytest.raises(InputError, match="0 … 99"):
        DifficultyDials(seed=100, length=8, image_size=48)


def test_start_settings_stand_on_the_dials():
    dials = DifficultyDials(start=WorldConfig(n_objects=5, clutter=0.3), length=8, image_size=48)
    assert dials.values["n_objects"] == 5 and dials.values["clutter"] == 0.3
    assert dials.reply["result"] == "" and len(dials.reply["clip"]["tracks"]) == 1


def test_output_carries_a_player_of_the_present_film(dials):
    dials.turn(seed=3)
    data, _ = dials._repr_mimebundle_()
    assert WIDGET_VIEW in data and 'data-course-viz="player"' in data["text/html"]
    assert dials.reply["clip"]["images"][0][0] in data["text/html"]
