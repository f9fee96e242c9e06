"""Operating points, and the printed rates that four times explain."""

from itertools import pairwise

import pytest

from course_lib.errors import InputError
from course_lib.methods.propagation.schedule import BASELINE, QUOTED, SOURCE, TABLE, OperatingPoint, published
from course_lib.methods.propagation.throughput import (
    THESIS,
    StageTimes,
    cycle_ms,
    flow_cores,
    rate_hz,
    timeline,
)


def kinds(text):
    names = {"k": "key", "b": "blend", "w": "warp", "r": "refine", "c": "copy"}
    return tuple(names[letter] for letter in text)


@pytest.mark.parametrize(
    ("point", "wanted"),
    [
        (OperatingPoint(1), "kkkk"),
        (OperatingPoint(1, refine="last"), "kbbb"),
        (OperatingPoint(1, refine="all"), "kbbb"),
        (OperatingPoint(2, refine="last"), "krkrk"),
        (OperatingPoint(3), "kwwkwwk"),
        (OperatingPoint(4, refine="last"), "kwwrkwwrk"),
        (OperatingPoint(4, refine="all"), "krrrkrrr"),
        (OperatingPoint(3, warp=False), "kcckcck"),
    ],
)
def test_what_happens_to_each_frame(point, wanted):
    assert point.kinds(len(wanted)) == kinds(wanted)
    period = point.kinds(2 * point.key_every)[point.key_every :]
    assert point.refined_per_period == period.count("refine")
    assert point.carries_features == ("r" in wanted)


def test_impossible_points_are_refused():
    for wrong in ({"key_every": 0}, {"key_every": True}, {"key_every": 2.0}):
        with pytest.raises(InputError, match="whole number"):
            OperatingPoint(**wrong)
    with pytest.raises(InputError, match="'off', 'last' or 'all'"):
        OperatingPoint(refine=True)
    for scale in (0.0, 1.5):
        with pytest.raises(InputError, match=r"\(0, 1\]"):
            OperatingPoint(input_scale=scale)
    with pytest.raises(InputError, match="needs warp=True"):
        OperatingPoint(warp=False, refine="last")
    with pytest.raises(InputError, match="counted from 0"):
        OperatingPoint().kind(-1)


def test_the_table_says_what_the_thesis_prints():
    assert [row.name for row in TABLE] == [f"EVS {n:02d}" for n in range(1, 15)]
    row = published("EVS 12")
    assert (row.point, row.rate, row.mIoU) == (OperatingPoint(10, input_scale=0.5), 634, 50.7)
    assert published("EVS 06").point == OperatingPoint(5, refine="last")
    assert published("ICNet") is BASELINE and "table 3.2" in SOURCE and len(QUOTED) == 11
    warped, copied = (published(name).mIoU for name in ("EVS 10", "EVS 11"))
    assert warped - copied == pytest.approx(19.5)  # W at S = 10
    with pytest.raises(InputError, match=r"EVS 01, .*, EVS 14, ICNet"):
        published("EVS 15")


@pytest.mark.parametrize("row", [*TABLE, BASELINE], ids=lambda row: row.name)
def test_four_times_explain_every_printed_rate(row):
    assert rate_hz(row.point) == pytest.approx(row.rate, rel=0.02)


def test_refining_every_frame_does_not_explain_them():
    point = OperatingPoint(5, refine="all")
    assert cycle_ms(point) == pytest.approx(25.84 + 4 * 0.11 + 4 * 14.6)
    assert rate_hz(point) == pytest.approx(59, abs=1)  # 122 is printed


def test_the_hidden_condition_on_cores():
    needed = [flow_cores(published(f"EVS {n:02d}").point) for n in (14, 12, 10, 7, 8)]
    assert needed == pytest.approx([4.87, 2.87, 1.68, 0.76, 0], abs=0.04)
    fast = published("EVS 14").point
    assert rate_hz(fast, cores=8) == rate_hz(fast)
    assert rate_hz(fast, cores=1) == pytest.approx(1000 * 17 / (16 * 5.0))  # one core: flow is the limit
    with pytest.raises(InputError, match="cores must be positive"):
        rate_hz(fast, cores=0)


def test_times_must_be_measured():
    with pytest.raises(InputError, match=r"timed at the scales \[0.5, 1.0\], not at 0.7"):
        cycle_ms(OperatingPoint(input_scale=0.7))
    with pytest.raises(InputError, match="milliseconds"):
        StageTimes({1.0: 0.0}, 1, 1, 1)


@pytest.mark.parametrize("name", ["EVS 03", "EVS 05", "EVS 06", "EVS 07", "EVS 10", "EVS 14"])
def test_the_simulated_pipeline_reaches_the_rate_of_the_model(name):
    """With cores enough, over many periods; warps overlap there, so it may be a little faster."""
    point = published(name).point
    periods = 40
    frames = timeline(point, length=periods * point.key_every + 1, cores=12)
    first, last = frames[10 * point.key_every].ready, frames[-1].ready
    simulated = 1000 * (periods - 10) * point.key_every / (last - first)
    assert rate_hz(point) * 0.99 <= simulated <= rate_hz(point) * 1.13


def test_throughput_is_not_delay():
    point = published("EVS 14").point
    assert rate_hz(point) > 1000
    live = timeline(point, length=40, interval=1000 / 30, cores=1)
    assert live[0].delay == pytest.approx(14.76)  # far more than the 1 ms that the rate suggests
    assert live[1].delay == pytest.approx(5.11)
    batch = timeline(point, length=40, interval=0, cores=12)
    assert max(frame.delay for frame in batch) > 14.76
    assert all(a.ready <= b.ready for a, b in pairwise(batch))  # in order


def test_lanes_are_used_once_at_a_time():
    times = StageTimes({1.0: 10.0}, refine=6.0, warp=1.0, flow=3.0, blend=1.0)
    for point in (OperatingPoint(4, refine="all"), OperatingPoint(1, refine="last"), OperatingPoint(3, warp=False)):
        frames = timeline(point, times, length=13)
        for lane in ("network", "flow"):
            busy = [getattr(frame, lane) for frame in frames if getattr(frame, lane) is not None]
            assert all(a[1] <= b[0] for a, b in pairwise(busy))
    by_hand = timeline(OperatingPoint(2, refine="last"), times, length=3)
    assert by_hand[0].network == (0, 10) and by_hand[1].flow == (0, 6)  # both directions for the check
    assert by_hand[1].network == (11, 17) and by_hand[1].ready == 17
    assert by_hand[2].network == (17, 27)
    with pytest.raises(InputError, match="length >= 1"):
        timeline(OperatingPoint(), THESIS, length=0)
