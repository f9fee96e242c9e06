"""Curves behind dials: which curve is shown, what is refused, and that the page holds every setting."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.viz.widgets import CurveDials

X = (1.0, 2.0, 4.0)
DIALS = {"moved by": ("4 px", "8 px"), "clips": ("plain", "look-alikes", "hidden")}
LABELS = {"x_label": "frame", "y_label": "points lost", "alt": "Two curves."}


def two_dials(**more) -> CurveDials:
    one = np.arange(18.0).reshape(2, 3, 3)  # [moved by, clips, x]
    return CurveDials(X, {"first": one, "second": -one}, DIALS, **LABELS, **more)


def embedded(shown: CurveDials) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.fallback_html(), re.DOTALL)[1])


def test_the_setting_chooses_the_curves():
    shown = two_dials()
    assert shown.at == [0, 0] and shown.shown["first"].tolist() == [0, 1, 2]
    shown.at = [1, 2]
    assert shown.shown["first"].tolist() == [15, 16, 17] and shown.shown["second"].tolist() == [-15, -16, -17]
    assert shown.summary() == "moved by 8 px, clips hidden; points lost at 4: first 17.0, second -17.0."


def test_the_page_holds_every_setting_with_the_last_dial_fastest():
    shown = two_dials(at=(1, 0), mark=(2.0, "the blow"))
    data = embedded(shown)
    assert data["state"] == {"at": [1, 0]} and data["mark"] == [2.0, "the blow"]
    name, _, settings = data["curves"][0]
    assert name == "first" and settings == np.arange(18).reshape(6, 3).tolist()
    assert settings[1 * 3 + 0] == shown.shown["first"].tolist()


def test_one_dial_missing_values_and_limits():
    values = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 1234.567]])
    shown = CurveDials(X, {"only": values}, {"size": ("small", "large")}, limits=(0, 10), **LABELS)
    data = embedded(shown)
    assert data["curves"][0][2] == [[1.0, None, 3.0], [4.0, 5.0, 1235.0]] and data["limits"] == [0, 10]
    free = CurveDials(X, {"only": values[:1]}, {"size": ("small",)}, **LABELS)
    assert free.content["limits"] == pytest.approx((0.9, 3.1))
    flat = CurveDials(X, {"only": np.ones((1, 3))}, {"size": ("small",)}, **LABELS)
    assert flat.content["limits"] == (0.0, 2.0)


def test_the_still_shows_the_present_setting():
    shown = two_dials(at=(0, 1), mark=(2.0, "the blow"))
    figure = shown.figure()
    drawn = figure.axes[0].lines
    assert [line.get_ydata().tolist() for line in drawn[:2]] == [[3, 4, 5], [-3, -4, -5]]
    assert figure.axes[0].texts[0].get_text() == " the blow" and figure.axes[0].get_ylabel() == "points lost"
    plt.close(figure)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dials": {}}, "one or two dials"),
        ({"dials": {"a": ()}}, "one or two dials"),
        ({"dials": {"a": "x", "b": "y", "c": "z"}}, "one or two dials"),
        ({"curves": {}}, "one to 8 curves"),
        ({"curves": {"one": np.zeros((3, 2, 3))}}, r"curve 'one' must have shape \(2, 3, 3\), dials first"),
        ({"curves": {"one": np.full((2, 3, 3), np.nan)}}, "no number"),
        ({"x": (1.0,)}, "at least two rising numbers"),
        ({"x": (1.0, 3.0, 2.0)}, "at least two rising numbers"),
        ({"at": (0,)}, "one setting for each of moved by, clips"),
        ({"at": (0, 3)}, "dial 'clips' has settings 0 … 2, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"x": X, "curves": {"one": np.zeros((2, 3, 3))}, "dials": DIALS, **LABELS, **change}
    with pytest.raises(InputError, match=message):
        CurveDials(given.pop("x"), given.pop("curves"), given.pop("dials"), **given)


def test_a_bad_turn_leaves_the_dials_where_they_were():
    shown = two_dials()
    with pytest.raises(InputError, match="dial 'moved by'"):
        shown.at = [2, 0]
    assert shown.at == [0, 0]


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    data, _ = two_dials()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and two_dials().kilobytes < 30
    assert "moved by 4 px, clips plain" in re.search(r'alt="([^"]*)"', data["text/html"])[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", data["text/html"])
