"""The benchmark of recurrent trackers against a growing memory: its arithmetic, its shortcuts, and what it writes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from course_lib.methods.recurrent.rows import hs2s
from course_lib.methods.recurrent.sizes import SMALL
from course_lib.methods.space_time_memory import SMALL as STCN_SMALL
from course_lib.methods.space_time_memory import SMALL_MEMORY, STCN, MemoryConfig, SpaceTimeSegmenter

FOLDER = Path(__file__).parents[3] / "benchmarks"
CPU = torch.device("cpu")


@pytest.fixture
def load(monkeypatch):
    """Scripts are not a package: load one of them by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def loaded(name):
        found = importlib.util.spec_from_file_location(f"{name}_benchmark", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, found.name, module)
        found.loader.exec_module(module)
        return module

    return loaded


@pytest.fixture
def benchmark(load, monkeypatch):
    for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        monkeypatch.setenv(name, level)  # what the script sets goes with the test
    return load("recurrent")


def test_crossovers_by_hand(benchmark):
    """Ratios 0.5 up to frame 10, then rising by 0.05 a frame, so that frame 20 is the first without a loss."""
    each, total = benchmark.crossover([10, 40], [0.5, 2.0], opening=0.0)
    assert each == 21
    lost = 9 * 0.5 + sum(0.5 - 0.05 * (t - 10) for t in range(11, 21))  # frames 2 to 10, then 11 to 20: 6.75
    assert lost == pytest.approx(6.75)
    # From frame 20 on, n more frames save 0.05 (1 + 2 + … + n): 6.0 at n = 15, 6.8 at n = 16.
    assert total == 36
    later = benchmark.crossover([10, 40], [0.5, 2.0], opening=-0.1)[1]
    assert later == 37, "a slow beginning must be earned back"
    assert benchmark.crossover([10, 40], [0.5, 2.0], opening=7.0)[1] == 1, "a fast one may never be"
    assert benchmark.crossover([10, 40], [1.5, 2.0], opening=-0.2) == (1, 2)
    assert benchmark.crossover([10, 40], [0.2, 0.9], opening=0.0) == (None, None)
    assert benchmark.crossover([10, 40], [0.2, 1.1], opening=0.0) == (37, None)


def test_a_slow_round_changes_no_ratio(benchmark, load):
    """Twice the time for everybody in one round of three leaves ratios as they are."""
    trackers, busy = load("_recurrent_trackers"), (1.0, 2.0, 1.0)

    def timed(ms):
        return trackers.Timed(lambda: lambda: None, 1, [ms * factor for factor in busy])

    def tracker(opening, later):
        return trackers.Tracker(1, timed(opening), {n: timed(ms) for n, ms in later.items()}, {10: 8}, True)

    member = benchmark.beside(
        tracker(30, {10: 10, 200: 10}), tracker(20, {10: 5, 100: 50}), tracker(20, {10: 8, 100: 8})
    )
    assert member["ratio"] == {10: 0.5, 100: 5.0} and member["ratio_bounded"] == 0.8
    assert member["late_over_early"] == 1.0 and member["late_over_early_range"] == [1.0, 1.0]
    assert member["frames_per_second"] == 100.0
    # Ratios are 0.5 up to frame 10, then rise by 0.05 a frame; the opening costs one frame.
    assert member["cheaper_from"] == dict(zip(("each frame", "in sum"), benchmark.crossover([10, 100], [0.5, 5.0], -1)))


def test_working_bytes_are_the_peak(benchmark):
    """Two of three blocks of 1 MiB live at the same time; what lived before does not count."""
    block = 2**18  # floats
    before = torch.zeros(block)

    def three():
        a = before + 1
        b = a + 1
        del a
        return b + 1

    assert 0 <= benchmark.working_bytes(three, CPU) - 2 * 2**20 < 100, "torch turns the ones into tensors, too"


@pytest.mark.parametrize("memory", [MemoryConfig(top_k=8, reaggregate=False), SMALL_MEMORY], ids=lambda m: m.policy)
@torch.no_grad()
def test_a_filled_memory_is_as_large_as_a_walked_one(load, memory):
    trackers = load("_recurrent_trackers")
    film = trackers.film((64, 96), CPU)
    segmenter = SpaceTimeSegmenter(STCN(STCN_SMALL), memory)
    cells = trackers.cells_of(segmenter, film)
    walked = segmenter.start(film.frame(0), film.labels)
    for t in range(1, 43):
        walked.step(film.frame(t))
        if t in (5, 6, 30, 41, 42):
            aged = trackers.aged_session(segmenter, film, cells, t)
            assert aged.bank.cells.stored == walked.bank.cells.stored, t
            assert aged.memory_bytes() == walked.memory_bytes() and aged.bank.used_bytes() == walked.bank.used_bytes()
    keys = walked.bank.cells.keys[: walked.bank.cells.stored]
    assert aged.bank.cells.keys[: len(keys)].std() == pytest.approx(float(keys.std()), rel=0.2), "cells of one kind"


@torch.no_grad()
def test_a_recurrent_session_stays_where_it_is_timed(load):
    """Timing it again finds the same session: same answer, and that of a session that walked the whole way."""
    trackers = load("_recurrent_trackers")
    film = trackers.film((64, 96), CPU)
    net = hs2s().eval()
    tracker = trackers.recurrent_tracker(net, film, walked=(2, 5), noted=(1, 3, 100), block=3)
    assert tracker.constant and set(tracker.held) == {1, 3} and len(set(tracker.held.values())) == 1
    walked = trackers.RecurrentSegmenter(net).start(film.frame(0), film.labels)
    answers = [walked.step(film.frame(t)) for t in range(1, 10)]
    for length, timed in tracker.later.items():
        assert timed.frames == 3
        for _ in range(2):  # one step goes before the three that are timed
            assert torch.equal(timed.ready()(), answers[length + 3])


def test_quick_run_writes_what_it_prints(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "COURSE_SIZES", {"small": SMALL})
    threads = torch.get_num_threads()
    out = tmp_path / "results" / "recurrent.json"
    monkeypatch.setattr(sys, "argv", ["recurrent.py", "--quick", "--out", str(out)])
    try:
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["threads"] == 1 and result["machine"]["cores"] >= 1 and "--published" in result["published"]
    growing, bounded = result["course"]["memory"]["growing"], result["course"]["memory"]["bounded"]
    assert growing["held_bytes"]["30"] > growing["held_bytes"]["10"] and not growing["held_bytes_constant"]
    assert bounded["held_bytes_constant"]
    group = result["course"]["members"]["small"]
    assert set(group) == {"S2S", "S2S++", "HS2S", "Bi-HS2S", "mask-guided", "RGMP"}
    printed = capsys.readouterr().out
    for name, row in group.items():
        assert row["held_bytes_constant"] == (name != "Bi-HS2S"), "only a causal one holds the same at any length"
        assert row["frames_per_second"] > 0 and row["working_mib"] > 0
        assert set(row["ratio"]) == set(growing["ms_per_frame"])
        line = next(line for line in printed.splitlines() if line.startswith(f"small {name} "))
        assert f"{row['frames_per_second']:.2f}" in line and f"{row['ratio_bounded']:.2f}" in line
    clips = group["Bi-HS2S"]["held_bytes"]
    assert clips == {str(n): n * 4 * 64 * 96 * 4 for n in (20, 35)}, "frames and one mask of floats"


def test_quick_run_without_a_place_keeps_nothing(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "compare", lambda *_: {})
    monkeypatch.setattr(benchmark, "table", lambda _: "")
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["recurrent.py", "--quick"])
    benchmark.main()
    assert not (tmp_path / "benchmarks").exists()
    monkeypatch.setattr(sys, "argv", ["recurrent.py", "--rounds", "3"])
    benchmark.main()
    assert json.loads((tmp_path / "benchmarks" / "results" / "recurrent.json").read_text())["rounds"] == 3
