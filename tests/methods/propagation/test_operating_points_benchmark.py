"""The benchmark of operating points: its arithmetic, and what it writes where there are no trained weights."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.errors import MissingDataError
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.operating_points import OperatingConfig
from course_lib.methods.propagation.schedule import BASELINE, TABLE, OperatingPoint

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.util.spec_from_file_location("operating_points_benchmark", FOLDER / "operating_points.py")
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, found.name, module)
    found.loader.exec_module(module)
    return module


def test_speed_ups_are_ratios_within_a_round(benchmark, monkeypatch):
    """The machine gets twice as slow from round to round, and ratios do not notice."""
    slow, calls = [0.5], []

    def clocked(part, call):
        calls.append(len(part.frames))
        per_frame = 12.0 if len(calls) % 4 in (1, 2) else 3.0
        if len(calls) % 4 == 1:
            slow[0] *= 2
        return per_frame * slow[0] / (2 if len(calls) % 2 == 0 else 1), per_frame * slow[0]

    monkeypatch.setattr(benchmark, "clocked", clocked)
    network = ICNet(12, ICNetConfig(0.05, fine=True)).eval()
    stream = benchmark.Stream(network, torch.zeros(12, 3, 64, 128, dtype=torch.uint8))
    ten = next(row for row in TABLE if row.name == "EVS 10")
    found = benchmark.times(stream, (BASELINE, ten), rounds=3, workers=1)
    assert calls == [12, 12, 10, 10] * 4  # whole periods only
    assert found["EVS 10"]["speed_up"] == 4 and found["EVS 10"]["speed_up_cpu"] == 4
    assert found["EVS 10"]["speed_up_pipelined"] == 8 and found["ICNet"]["speed_up"] == 1
    assert found["EVS 10"]["printed_hz"] == 372 and found["EVS 10"]["hidden"] is None


def test_the_best_point_loses_little(benchmark):
    rows = {
        "a": {"loss": 0.0, "gain": 1.0}, "b": {"loss": 0.02, "gain": 2.0}, "c": {"loss": 0.04, "gain": 9.0},
        "d": {"gain": 10.0},
    }  # fmt: skip
    assert benchmark.best(rows, "loss", "gain") == {"point": "b", "speed_up": 2.0}
    assert benchmark.best({"d": rows["d"]}, "loss", "gain") is None


def test_mean_iou_over_classes_that_occur(benchmark):
    counts = np.array([[[8, 2, 0], [0, 10, 0], [0, 0, 0]]])
    assert benchmark.mean_ious(counts) == pytest.approx([(8 / 10 + 10 / 12) / 2])


def test_what_is_written_without_weights(benchmark, monkeypatch, tmp_path, capsys):
    def missing(*arguments, **named):
        raise MissingDataError("no weights; train them with `course train icnet-small-driving`")

    tiny = replace(OperatingConfig.preset("smoke"), clips=1)
    points = (BASELINE, *(row for row in TABLE if row.name in ("EVS 02", "EVS 07", "EVS 08")))
    monkeypatch.setattr(benchmark, "load_segmenter", missing)
    monkeypatch.setattr(benchmark.OperatingConfig, "preset", classmethod(lambda cls, name: tiny))
    monkeypatch.setattr(benchmark, "POINTS", points)
    benchmark.main(["--preset", "smoke", "--rounds", "1", "--out", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["segmenter"] == "oracle" and "course train" in capsys.readouterr().out
    rows = found["points"]
    assert list(rows) == [row.name for row in points]
    assert all(row["ms"] > 0 and row["pipelined_ms"] > 0 for row in rows.values())
    assert "worst" not in rows["EVS 02"]  # nothing for an oracle to refine
    carried, copied = rows["EVS 07"], rows["EVS 08"]
    assert rows["ICNet"]["worst"] == rows["ICNet"]["mean"] == 1
    assert 1 > carried["mean"] > carried["worst"] > copied["worst"]
    assert carried["worst_loss"] == pytest.approx(1 - carried["worst"])
    assert found["fastest_below_three_points"]["worst, pipelined"]["point"] == "ICNet"
    assert OperatingPoint(5) == points[2].point
