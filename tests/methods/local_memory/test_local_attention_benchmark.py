"""The benchmark of local attention: its fits and crossovers on rows that are made up, and one small race."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.util.spec_from_file_location("local_attention_benchmark", FOLDER / "local_attention.py")
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, found.name, module)
    found.loader.exec_module(module)
    return module


def test_exponents_of_known_laws(benchmark):
    rows = [
        {"cells": [h, 2 * h], "local": {"ms": 3.0 * h * h}, "global": {"ms": 0.1 * h**4}, "unfold": {"ms": 1.0}}
        for h in (16, 32, 64)
    ]
    assert benchmark.exponent(rows, "local", "ms") == pytest.approx(1)
    assert benchmark.exponent(rows, "global", "ms") == pytest.approx(2)
    assert benchmark.exponent(rows, "unfold", "ms") == pytest.approx(0, abs=1e-9)
    del rows[2]["unfold"]  # left out, since it would have held too much
    assert benchmark.exponent(rows, "unfold", "ms") is None


def test_the_first_window_that_is_dearer(benchmark):
    rows = [{"window": w, "local": {"ms": float(w)}, "global": {"ms": 10.0}} for w in (5, 11, 21)]
    assert benchmark.crossover(rows, "ms") == 11
    assert benchmark.crossover(rows[:1], "ms") is None


def test_ways_that_hold_too_much_are_left_out(benchmark, monkeypatch):
    row = benchmark.race((8, 16), 3, "cpu", rounds=1)
    assert set(row) == {"cells", "window", "local", "global", "unfold"}
    assert row["global"]["mib"] >= 2 * 3 * (8 * 16) ** 2 * 4 / 2**20
    monkeypatch.setattr(benchmark, "MOST_BYTES", 400_000)
    assert set(benchmark.race((8, 16), 3, "cpu", rounds=1)) == {"cells", "window", "local", "global"}
    monkeypatch.setattr(benchmark, "MOST_BYTES", 1000)
    assert set(benchmark.race((8, 16), 3, "cpu", rounds=1)) == {"cells", "window", "local"}
