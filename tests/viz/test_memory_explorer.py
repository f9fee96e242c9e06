"""The memory explorer: every combination of the dials has one run, and what it shows is what was recorded."""

import json
import re

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.viz.widgets import MemoryExplorer, MemoryRun


def run(length=12, births=None, **settings) -> MemoryRun:
    """A run whose memory takes one frame of four cells every fourth frame."""
    if births is None:
        births = [np.repeat(np.arange(0, t, 4), 4) for t in range(length)]
    J = np.linspace(1, 0.5, length)
    return MemoryRun(settings, J, np.array([10 * len(b) for b in births]), births, seconds=2.0)


def runs() -> list[MemoryRun]:
    bounded = [run(policy=p, capacity=c) for p in ("adaptive", "random") for c in (2, 4)]
    return [*bounded, run(policy="every_k")]


def explorer(**settings) -> MemoryExplorer:
    return MemoryExplorer(runs(), {"policy": "memory policy", "capacity": "frames"}, **settings)


def test_means_leave_out_the_given_frame_and_what_was_not_scored():
    shown = MemoryRun({}, [1.0, 0.5, np.nan, 0.9], [0, 4, 4, 4], [[], [0], [0], [0, 2]], seconds=0.5)
    assert shown.mean_j == pytest.approx(0.7) and shown.frames_per_second == 8
    assert shown.first_share(3) == 0.5 and shown.first_share(0) == 0
    assert np.isnan(MemoryRun({}, [1.0, np.nan], [0, 0], [[], []]).mean_j)


def test_cells_are_counted_by_birth_with_the_first_frame_apart():
    shown = run(length=13)
    table = shown.by_birth(100)
    assert table.shape == (13, 13)
    assert table[12].tolist() == [4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0]  # one column per frame
    coarse = shown.by_birth(3)  # frames 1-4, 5-8, 9-12
    assert coarse[12].tolist() == [4, 4, 4, 0]
    np.testing.assert_array_equal(coarse.sum(1), [len(b) for b in shown.births])


def test_a_run_without_a_dial_answers_for_all_its_values():
    shown = explorer()
    for capacity in (2, 4):
        shown.selection = {"policy": "every_k", "capacity": capacity}
        assert shown.run is shown.runs[4]
    shown.selection = {"policy": "random", "capacity": 4}
    assert shown.run is shown.runs[3] and shown.comparison is shown.runs[4]
    shown.compare = "adaptive"
    assert shown.comparison is shown.runs[1]


def test_every_k_is_the_comparison_unless_another_is_named():
    assert explorer().compare == "every_k"
    assert explorer(compare="random").compare == "random"
    assert MemoryExplorer(runs()[:4], ["policy", "capacity"]).compare == "adaptive"


def test_the_page_gets_what_was_recorded():
    source = run(policy="adaptive")
    hidden = np.zeros(12, dtype=bool)
    hidden[[3, 4, 11]] = True
    J = np.where(hidden, np.nan, source.J)
    shown = MemoryExplorer([MemoryRun(source.settings, J, source.bytes, source.births, 2.0, hidden)], ["policy"])
    packed = shown.content["runs"][0]
    assert packed["hidden"] == [[3, 5], [11, 12]]
    assert [value is None for value in packed["j"]] == hidden.tolist()
    assert packed["rate"] == 6 and packed["bytes"] == [[0, 0], [1, 40], [5, 80], [9, 120]]
    bins = packed["spans"]
    table = np.zeros((12, bins + 1), dtype=int)
    for start, *pairs in packed["held"]:
        table[start:] = 0
        for span, count in zip(pairs[::2], pairs[1::2]):
            table[start:, span] = count
    np.testing.assert_array_equal(table, source.by_birth(24))


def test_numbers_are_ordered_and_text_keeps_its_order():
    mixed = [run(policy=p, capacity=c) for p in ("b", "a") for c in (10, 2.5)]
    values = [dial["values"] for dial in MemoryExplorer(mixed, ["policy", "capacity"]).content["dials"]]
    assert values == [["b", "a"], [2.5, 10]]


@pytest.mark.parametrize(
    ("given", "dials", "message"),
    [
        ([], ["policy"], "at least one run"),
        (runs(), [], "at least one run and one dial"),
        (runs(), ["policy", "speed"], "no run has a setting 'speed'; there are capacity, policy"),
        (runs()[1:], ["policy", "capacity"], "no run answers policy = adaptive, capacity = 2"),
        (runs(), ["policy"], "2 runs answer policy = adaptive"),
        ([run(policy="a"), run(policy=1)], ["policy"], "mixes text and numbers"),
    ],
)
def test_missing_and_ambiguous_combinations_are_refused(given, dials, message):
    with pytest.raises(InputError, match=message):
        MemoryExplorer(given, dials)


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="capacity must be one of 2, 4; got 3"):
        explorer(start={"capacity": 3})
    with pytest.raises(InputError, match="policy must be one of adaptive, random, every_k"):
        explorer(compare="fifo")
    with pytest.raises(InputError, match="0 … 11, got 12"):
        explorer(time=12)
    shown = explorer()
    with pytest.raises(InputError, match="the dials are policy, capacity; got policy"):
        shown.selection = {"policy": "random"}
    assert shown.selection == {"policy": "adaptive", "capacity": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"J": [1.0, 1.2]}, r"policy = x: J must lie in \[0, 1\]"),
        ({"J": [1.0]}, "one entry per frame"),
        ({"bytes": [0, -1]}, "bytes must be at least 0, got -1"),
        ({"births": [[], [2]]}, r"held at frame 1 was born in 0 … 1, got 2 … 2"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"hidden": [True]}, "one entry per frame"),
    ],
)
def test_a_run_that_contradicts_itself_is_refused(changes, message):
    good = {"settings": {"policy": "x"}, "J": [1.0, 0.5], "bytes": [0, 1], "births": [[], [0]]}
    with pytest.raises(InputError, match=message):
        MemoryRun(**{**good, **changes})


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = explorer(start={"capacity": 4}, time=5)
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {
        "selection": {"policy": "adaptive", "capacity": 4}, "compare": "every_k", "time": 5
    }  # fmt: skip
    assert f"mean J = {shown.run.mean_j:.2f}" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 45


def test_a_long_film_with_many_births_stays_within_the_budget():
    births = [np.repeat(np.arange(0, t, 5), 36) for t in range(240)]
    long = [run(240, births, policy="every_k"), *(run(240, births, policy="fifo", capacity=c) for c in range(1, 5))]
    assert MemoryExplorer(long, ["policy", "capacity"]).kilobytes < 60
