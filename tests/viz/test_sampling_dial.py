"""The sampling dial: the published schedule, and the expected longest run against drawing and against counting."""

import itertools
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.training.schedules import lines
from course_lib.viz.widgets import SamplingDial
from course_lib.viz.widgets.sampling_dial import expected_longest_run


def longest(own) -> int:
    return max((len(list(run)) for value, run in itertools.groupby(own) if value), default=0)


@pytest.mark.parametrize("choices", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("own", [0.0, 0.3, 0.5, 1.0])
def test_longest_run_is_the_sum_over_all_outcomes(choices, own):
    expected = sum(
        longest(outcome) * np.prod([own if o else 1 - own for o in outcome])
        for outcome in itertools.product((False, True), repeat=choices)
    )
    assert expected_longest_run(choices, own) == pytest.approx(expected)


def test_longest_run_of_long_clips_agrees_with_drawing():
    drawn = np.random.default_rng(0).random((4000, 28)) < 0.6
    assert expected_longest_run(28, 0.6) == pytest.approx(np.mean([longest(row) for row in drawn]), abs=0.1)


def test_the_published_schedule():
    shown = SamplingDial()
    assert [round(float(shown.schedule[e]), 3) for e in (0, 300, 350, 400, 425, 750)] == [1, 1, 0.8, 0.6, 0.5, 0.5]
    assert shown.epoch == 362 and shown.epsilon == pytest.approx(0.752)
    straight = [lines(e, ((300, 1.0), (425, 0.5))) for e in range(751)]
    np.testing.assert_allclose(shown.schedule, straight, atol=1e-9)


def test_a_floor_above_one_half_and_no_fall_at_all():
    assert SamplingDial(slope=0.0).schedule.min() == 1 and SamplingDial(slope=0.0).epoch == 300
    assert SamplingDial(100, 10, 0.05, 0.9).schedule[-1] == pytest.approx(0.9)


def test_the_first_step_is_always_fed_the_given_mask():
    shown = SamplingDial(start=0, slope=0.0132, floor=0.0, epoch=750, frames=12)
    assert shown.fed.shape == (5, 11) and shown.fed[:, 0].all() and not shown.fed[:, 1:].any()
    assert shown.epsilon == 0 and shown.longest_run == 10
    shown.epoch = 0
    assert shown.fed.all() and shown.longest_run == 0


def test_less_truth_only_takes_truth_away_and_its_share_is_the_chance():
    shown = SamplingDial(floor=0.0, frames=30, epoch=300)
    before, shares = shown.fed, []
    for epoch in (350, 400, 450, 500):
        shown.epoch = epoch
        assert not (shown.fed & ~before).any()
        before = shown.fed
        found = []
        for draw in range(6):
            shown.draw = draw
            found.append(shown.fed[:, 1:].mean())
        shown.draw = 0
        shares.append(np.mean(found))
    np.testing.assert_allclose(shares, [0.8, 0.6, 0.4, 0.2], atol=0.05)


def test_the_still_and_the_sentence():
    shown = SamplingDial(epoch=425)
    assert "Epoch 425: a true mask with chance 0.50" in shown.summary() and "in use 8" in shown.summary()
    figure = shown.figure()
    assert len(figure.axes[1].patches) == 6 * 9
    plt.close(figure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1}, "at least two epochs"),
        ({"start": 800}, "start must lie in 0 … 750, got 800"),
        ({"slope": 0.1}, "slope must lie in 0 …"),
        ({"floor": -0.1}, "floor must lie in 0 … 1"),
        ({"frames": 2}, "frames must lie in 3 … 30"),
        ({"draw": 6}, "draw must lie in 0 … 5"),
        ({"epoch": 751}, "epoch must lie"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SamplingDial(**settings)


def test_a_bad_turn_leaves_the_dial_where_it_was():
    shown = SamplingDial()
    with pytest.raises(InputError, match="floor"):
        shown.floor = 2.0
    assert shown.floor == 0.5


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = SamplingDial(2000, 600, 0.001, 0.25, frames=24, unit="step")
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"]["frames"] == 24 and embedded["unit"] == "step"
    assert "Step 975" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 40
