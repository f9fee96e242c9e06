"""The schedule dial: its clock is the library's, printed rows are where they were printed, and guesses lie between."""

import json
import re
from itertools import product

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.methods.propagation.schedule import BASELINE, QUOTED, SOURCE, TABLE, OperatingPoint, published
from course_lib.methods.propagation.throughput import THESIS, StageTimes, rate_hz, timeline
from course_lib.viz.widgets import ScheduleDial
from course_lib.viz.widgets.schedule_clock import frame_lives, kind_at, rate_of

SLOW = StageTimes({1.0: 40.0, 0.5: 21.0}, refine=9.0, warp=3.0, flow=17.0, blend=2.0)


def dial(**settings) -> ScheduleDial:
    return ScheduleDial(TABLE, BASELINE, THESIS, QUOTED, source=SOURCE, **settings)


POINTS = [
    OperatingPoint(S, W, R, D)
    for S, W, R, D in product((1, 2, 3, 5, 17), (True, False), ("off", "last", "all"), (1.0, 0.5))
    if W or R == "off"
]


@pytest.mark.parametrize("times", [THESIS, SLOW], ids=["thesis", "slow"])
def test_the_clock_is_the_library_s(times):
    for point, cores, interval in product(POINTS, (1, 3), (0.0, 33.3)):
        expected = timeline(point, times, 20, interval, cores)
        found = frame_lives(point, times, 20, interval, cores)
        assert [f.kind for f in found] == list(point.kinds(20))
        assert [(f.arrived, f.network, f.flow, f.ready) for f in found] == [
            (e.arrived, e.network, e.flow, e.ready) for e in expected
        ]
        assert rate_of(point, times, cores) == pytest.approx(rate_hz(point, times, cores))


@given(st.integers(1, 17), st.integers(0, 60))
def test_a_period_begins_with_a_key_frame(key_every, step):
    point = OperatingPoint(key_every)
    assert (kind_at(point, step) == "key") == (step % key_every == 0)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_on_a_row_the_dial_shows_what_is_printed(row):
    shown = dial(point=row.point, cores=6)
    assert shown.mIoU == pytest.approx(row.mIoU) and shown.rate == pytest.approx(row.rate, rel=0.03)


def test_guesses_lie_between_rows_and_fall():
    shown = dial()
    scores = []
    for S in range(1, 18):
        shown.key_every = S
        scores.append(shown.mIoU)
    assert scores[0] == BASELINE.mIoU and scores == sorted(scores, reverse=True)
    assert published("EVS 10").mIoU < scores[6] < published("EVS 07").mIoU  # S = 7


def test_the_mean_of_a_period_lies_above_its_worst_frame():
    shown = dial(point=published("EVS 07").point)
    assert shown.mean_mIoU == pytest.approx((67.3 + 66.2 + 64.7 + (64.7 + 62.2) / 2 + 62.2) / 5, abs=0.02)
    shown.refine = "last"  # repairs the last frame only
    assert shown.mean_mIoU == pytest.approx((67.3 + 66.2 + 64.7 + (64.7 + 62.2) / 2 + 63.0) / 5, abs=0.02)


def test_where_the_table_has_nothing_alike_there_is_no_guess():
    shown = dial(point=OperatingPoint(5, True, "all"))
    assert shown.mIoU is None and shown.mean_mIoU is None and "mIoU unknown" in shown.summary()
    plt.close(shown.figure())
    assert dial(point=OperatingPoint(5, True, "last", 0.5)).mIoU is None  # no refined row at half input
    assert dial(point=OperatingPoint(2, True, "all")).mIoU == published("EVS 02").mIoU  # "all" is "the last" there


def test_without_warping_nothing_is_refined():
    shown = dial(point=OperatingPoint(5, True, "last"))
    shown.warp = False
    assert shown.setting.refine == "off" and {f.kind for f in shown.frames} == {"key", "copy"}
    assert shown.rate == pytest.approx(1000 * 5 / 25.84) and shown.mIoU == published("EVS 08").mIoU


def test_too_few_cores_hold_the_network_up():
    shown = dial(point=published("EVS 14").point)
    alone = shown.rate
    shown.cores = 5
    assert alone == pytest.approx(17 * 1000 / (16 * 5)) and shown.rate == pytest.approx(1045, rel=0.03)


def test_a_camera_s_frames_are_answered_after_they_came():
    shown = dial(camera=True)
    lives = shown.frames
    assert [round(f.arrived / lives[1].arrived) for f in lives] == list(range(20))
    assert all(f.ready > f.arrived for f in lives) and lives[5].ready - lives[5].arrived == pytest.approx(25.84)


def test_rows_of_your_own():
    rows = (published("EVS 03"), published("EVS 07"))
    shown = ScheduleDial(rows, BASELINE, StageTimes({1.0: 30.0}, 9.0, 1.0, 5.0))
    assert shown.rate == pytest.approx(1000 * 5 / 34) and shown.mIoU == 62.2
    shown.warp = False
    assert shown.mIoU is None
    with pytest.raises(InputError, match=r"one that was timed, \[1.0\]; got 0.5"):
        shown.input_scale = 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"point": OperatingPoint(18)}, "key_every must lie in 1 … 17, got 18"),
        ({"cores": 0}, "cores must lie in 1 … 6, got 0"),
        ({"point": OperatingPoint(input_scale=0.7)}, "input_scale must be one that was timed"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        dial(**settings)


def test_a_bad_turn_leaves_the_dial_where_it_was():
    shown = dial()
    for name, value in (("refine", "some"), ("key_every", 0), ("cores", 7)):
        before = getattr(shown, name)
        with pytest.raises(InputError, match=name):
            setattr(shown, name, value)
        assert getattr(shown, name) == before


def test_the_still_shows_every_row_and_this_setting():
    figure = dial(point=published("EVS 06").point, cores=2).figure()
    lanes, plane = figure.axes
    assert [t.get_text() for t in lanes.get_yticklabels()] == ["answers", "network", "flow, core 1", "flow, core 2"]
    assert {text.get_text() for text in plane.texts} >= {f"{i:02d}" for i in range(1, 15)} | {"ICNet"}
    plt.close(figure)


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = dial(cores=2)
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"]["key_every"] == 5 and len(embedded["rows"]) == 14
    assert "190 frames per second, mIoU 62.2" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 45
