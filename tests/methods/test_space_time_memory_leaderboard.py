"""Methods side by side on the kept-out sequences: the right numbers, and clear words where data are missing."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory import SMALL, STCN
from course_lib.methods.space_time_memory.leaderboard import EVERYTHING, compare_small, comparison_table
from course_lib.training.export import export_weights

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kept_out.py"


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    """Two kept-out sequences of 5 frames: a square that stands still, and one that moves half its width per frame."""
    root = tmp_path_factory.mktemp("data") / "DAVIS-2016"
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 120, (64, 96, 3)).astype(np.uint8)
    for name, speed in (("bmx-bumps", 0), ("soccerball", 8)):
        frames, labels = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
        frames.mkdir(parents=True)
        labels.mkdir(parents=True)
        for t in range(5):
            mask = np.zeros((64, 96), np.uint8)
            mask[20:36, 10 + speed * t : 26 + speed * t] = 255
            Image.fromarray(np.where(mask[..., None] > 0, 230, ground).astype(np.uint8)).save(frames / f"{t:05d}.jpg")
            Image.fromarray(mask).save(labels / f"{t:05d}.png")
    return root.parent


def test_rows_by_hand(davis):
    """The first mask against squares of 16 that moved by 8, 16 and 24 pixels (the last frame is not scored)."""
    rows = compare_small(davis, models=("copy", "flow"), device="cpu")
    assert [(row.model, row.sequence) for row in rows] == [
        (model, sequence) for model in ("copy", "flow") for sequence in ("bmx-bumps", "soccerball", EVERYTHING)
    ]
    still, moving, everything = rows[:3]
    assert (still.J, still.F, still.JF) == (100, 100, 100)
    assert moving.J == pytest.approx(100 * (8 / 24 + 0 + 0) / 3, abs=0.051)
    assert everything.J == pytest.approx((still.J + moving.J) / 2, abs=0.11)
    for row in rows:
        assert row.JF == pytest.approx((row.J + row.F) / 2, abs=0.11) and row.fps > 0
        assert row.frames == (10 if row.sequence == EVERYTHING else 5)


def test_first_frames_and_named_weights(davis, tmp_path):
    torch.manual_seed(0)
    weights = export_weights(STCN(SMALL, imagenet=True), tmp_path / "net.safetensors")
    rows = compare_small(davis, ("stcn-small", "copy"), 3, "cpu", {"stcn-small": weights})
    assert {row.model for row in rows} == {"stcn-small", "copy"}
    assert {row.frames for row in rows} == {3, 6}
    table = comparison_table(rows).splitlines()
    assert table[0] == "| J&F | stcn-small | copy |" and table[1] == "|---|---|---|"
    assert table[2].startswith("| bmx-bumps |") and table[2].endswith("| 100.0 |")
    assert [line.split(" | ")[0] for line in table[3:]] == ["| soccerball", "| all", "| frames per second"]


def test_bad_requests(davis, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(MissingDataError, match="COURSE_DATA or pass data_root"):
        compare_small(models=("copy",))
    with pytest.raises(InputError, match="did you mean 'copy'"):
        compare_small(davis, models=("cpoy",))
    for models, weights in (((), {}), (("copy", "copy"), {}), (("copy",), {"flow": "a.pt"})):
        with pytest.raises(InputError, match="different models, and weights for some of them"):
            compare_small(davis, models, weights=weights)


def test_benchmark_writes_what_it_measured_and_skips_without_data(davis, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    found = importlib.util.spec_from_file_location("kept_out_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(found)
    found.loader.exec_module(benchmark)
    out = tmp_path / "kept_out.json"
    monkeypatch.setattr(benchmark, "TRAINED", {"stcn-small": tmp_path / "none.safetensors"})
    arguments = ["kept_out.py", "--data-root", str(davis), "--models", "stcn-small", "copy", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    benchmark.main()
    result = json.loads(out.read_text())
    assert result["not_measured"] == ["stcn-small"] and "optimistic" in result["note"]
    assert [row["sequence"] for row in result["sequences"]] == ["bmx-bumps", "soccerball"]
    assert result["all"]["copy"]["J"] == pytest.approx(np.mean([row["J"] for row in result["sequences"]]), abs=0.11)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["kept_out.py", "--out", str(tmp_path / "other.json")])
    benchmark.main()
    assert "skipped: there is no DAVIS" in capsys.readouterr().out and not (tmp_path / "other.json").exists()
