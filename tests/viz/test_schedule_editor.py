"""The schedule editor: presets are shown as given, points become a schedule that can be trained with."""

import json
import math
import re

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.viz.widgets import EpisodeRecord, ScheduleEditor

T = 20
LINEAR = [max(0, T - epoch // 5) for epoch in range(101)]
COSINE = [max(0, math.floor(T * math.cos(epoch * math.pi / 200) + 1e-9)) for epoch in range(101)]
EXPONENTIAL = [math.floor(T * math.exp(-epoch / 30)) for epoch in range(101)]
DYNAMIC = [max(0, 64 - epoch) for epoch in range(101)]
STEPS = {"linear": LINEAR, "cosine": COSINE, "exponential": EXPONENTIAL}


def editor(steps=None, processed=None, images=2, **settings) -> ScheduleEditor:
    generator = torch.Generator().manual_seed(0)
    moves = ActionSet.curriculum(16)
    actions = torch.randint(0, 8, (images, T), generator=generator)
    episodes = EpisodeRecord(torch.rand(images, 1, 16, 16, generator=generator), actions, moves.names, moves.matrices)
    return ScheduleEditor(
        episodes.images, episodes.matrices, STEPS if steps is None else steps, processed or {}, **settings
    )


def test_presets_are_the_schedules_that_were_given():
    shown = editor(processed={"dynamic": DYNAMIC})
    means = {}
    for name, values in {**STEPS, "dynamic": DYNAMIC}.items():
        shown.preset = name
        np.testing.assert_array_equal(shown.schedule, values)
        assert shown.ends_on_originals and shown.kind == ("processed" if name == "dynamic" else "steps")
        means[name] = shown.schedule[:100].mean()
    assert [round(means[name], 1) for name in STEPS] == [10.5, 12.3, 5.4]


def test_points_are_joined_by_lines_and_halves_go_up():
    shown = editor(steps={"all": [T] * 11}, points=3)
    shown.points = [20, 10, 0]
    assert shown.schedule.tolist() == [20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0]
    shown.points = [1, 0, 15]
    assert shown.schedule.tolist() == [1, 1, 1, 0, 0, 0, 3, 6, 9, 12, 15]  # 0.8 0.6 0.4 0.2
    assert not shown.ends_on_originals
    shown.points = [0, 2.5, 0]
    assert shown.schedule.tolist() == [0, 1, 1, 2, 2, 3, 2, 2, 1, 1, 0]  # 0.5, 1.5 and 2.5 are rounded up
    shown.points = []
    assert shown.schedule.tolist() == [T] * 11


def test_another_preset_takes_the_points_back():
    shown = editor(processed={"dynamic": DYNAMIC}, preset="dynamic")
    shown.points = [64] * 11
    assert shown.schedule.tolist() == [64] * 101
    shown.preset = "linear"
    assert shown.points == [] and shown.schedule.tolist() == LINEAR


def test_a_schedule_that_is_changed_does_not_change_the_preset():
    shown = editor()
    shown.schedule[:] = 0
    assert shown.schedule.tolist() == LINEAR


def test_accuracies_become_a_mean_with_its_range():
    runs = np.array([[0.2, 0.6, 0.8], [0.4, 0.8, 0.9]])
    shown = editor(accuracy={"linear": runs, "baseline": [0.5, 0.5]})
    curve, reference = shown.content["curves"]
    assert curve["epochs"] == [0, 50, 100] and curve["mean"] == [0.3, 0.7, 0.85]
    assert curve["low"] == [0.2, 0.6, 0.8] and curve["high"] == [0.4, 0.8, 0.9]
    assert reference["name"] == "baseline" and reference["low"] is None and reference["epochs"] == [0, 100]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": {"high": [21, 0]}}, r"'high' must lie in 0 … 20, got 0 … 21"),
        ({"steps": {"broken": [1.5, 0]}}, "whole number"),
        ({"steps": {"short": [0] * 5, "long": [0] * 6}}, "one number of epochs, got {'short': 5, 'long': 6}"),
        ({"processed": {"linear": DYNAMIC}}, "names of their own"),
        ({"processed": {"much": [65] * 101}}, "0 … 64"),
        ({"steps": {}}, "got none"),
        ({"points": 1}, "2 … 101"),
        ({"preset": "sine"}, "linear, cosine, exponential; got 'sine'"),
        ({"accuracy": {"linear": [50, 60]}}, r"numbers in \[0, 1\]"),
        ({"accuracy": {"linear": [0.5, 0.6]}, "accuracy_epochs": [0, 101]}, "0 … 100"),
        ({"accuracy": {"linear": [0.5, 0.6]}, "accuracy_epochs": [0]}, "must be 2 epochs"),
    ],
)
def test_bad_input_is_explained(settings, message):
    with pytest.raises(InputError, match=message):
        editor(**settings)


def test_matrices_must_belong_to_the_images():
    with pytest.raises(InputError, match=r"matrices must be \[2, T\+1, 3, 3\]"):
        ScheduleEditor(torch.zeros(2, 1, 8, 8), torch.eye(3).repeat(3, 5, 1, 1), {"a": [1, 0]})


def test_bad_turns_are_refused():
    shown = editor()
    for name, value, message in (
        ("points", [1.0, 2.0], "11 heights"),
        ("points", [21.0] * 11, "0 … 20"),
        ("preset", "sine", "preset must be"),
    ):
        with pytest.raises(InputError, match=message):
            setattr(shown, name, value)


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = editor(processed={"dynamic": DYNAMIC}, images=4, accuracy={"linear": np.full((3, 21), 0.5)})
    shown.points = [20] * 11
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"preset": "linear", "points": [20] * 11} and len(embedded["matrices"][3]) == T + 1
    assert "Drawn by hand, from linear: 20 steps at epoch 0, 20 at epoch 100" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 60
