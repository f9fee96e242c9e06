"""The report: averages by hand, JSON and CSV and back, tables, damage."""

import csv
import io
import json
import math

import pytest

from course_lib.errors import InputError, MissingDataError, WriteError
from course_lib.vos.report import ObjectScore, Report, SequenceResult


def score(label, J, F, decay=0.1, frames=10):
    return ObjectScore(label, J, 0.5, decay, F, 0.25, 0.0, frames)


@pytest.fixture
def report():
    return Report(
        "flow",
        "toys",
        (
            SequenceResult("cat", 20, 2.0, 1000, (score(1, 0.9, 0.7), score(7, 0.3, 0.1))),
            SequenceResult("<dog>", 30, 0.5, 4000, (score(1, 0.6, 0.4, decay=0.4),)),
        ),
        {"protocol": "davis"},
    )


def test_means_are_over_objects_not_over_sequences(report):
    assert report.J == pytest.approx((0.9 + 0.3 + 0.6) / 3)
    assert report.F == pytest.approx((0.7 + 0.1 + 0.4) / 3)
    assert report.JF == pytest.approx((report.J + report.F) / 2)
    assert [s.JF for s in report.sequences] == pytest.approx([0.5, 0.5])
    assert report.summary()["J_decay"] == pytest.approx(0.2)


def test_speed_and_memory(report):
    assert report.fps == pytest.approx(50 / 2.5) and report.sequences[1].fps == 60
    assert report.peak_memory_bytes == 4000
    assert Report("m", "d", (SequenceResult("s", 1, 0.0, None, ()),)).peak_memory_bytes is None


def test_an_object_without_scored_frames_is_left_out_of_means():
    report = Report("m", "d", (SequenceResult("s", 3, 1.0, 0, (score(1, 0.5, 0.5), score(2, math.nan, math.nan))),))
    assert report.J == 0.5
    assert (
        "NaN" not in report.to_json() and json.loads(report.to_json())["sequences"][0]["objects"][1]["J_mean"] is None
    )


def test_saved_and_read_again(report, tmp_path):
    report.save(tmp_path)
    assert Report.load(tmp_path) == report
    assert json.loads((tmp_path / "report.json").read_text())["global"]["JF"] == pytest.approx(report.JF)
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "report.csv"}


def test_csv_has_a_line_per_object_sequence_and_all(report):
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert [(r["sequence"], r["object"]) for r in rows] == [
        ("cat", "1"), ("cat", "7"), ("cat", "all"), ("<dog>", "1"), ("<dog>", "all"), ("all", "all"),
    ]  # fmt: skip
    assert float(rows[0]["J_mean"]) == 0.9 and float(rows[-1]["JF"]) == pytest.approx(report.JF, abs=1e-6)
    assert rows[2]["frames"] == "20" and rows[-1]["peak_memory_bytes"] == "4000"


def test_tables(report):
    text = str(report)
    assert text.splitlines()[0] == "flow on toys: J&F 0.500"
    assert len({len(line) for line in text.splitlines()[1:]}) == 1  # columns line up
    page = report._repr_html_()
    assert "&lt;dog&gt;" in page and "<dog>" not in page and page.count("<tr>") == 4


def test_damage_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="no report"):
        Report.load(tmp_path)
    for text in (
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 99, "sequences": [], "model": "", "dataset": "", "settings": {}}',
    ):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(InputError, match="is no report of this library"):
            Report.load(tmp_path)


def test_a_file_in_the_way_is_a_write_error(report, tmp_path):
    (tmp_path / "occupied").write_text("a file where the folder should be")
    with pytest.raises(WriteError, match="occupied"):
        report.save(tmp_path / "occupied")
