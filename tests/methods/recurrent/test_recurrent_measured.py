"""The summary that ships: its means are those of the table, it is small, and it prints what lessons show."""

import json

import numpy as np
import pytest

import course_lib.methods.recurrent.measured as measured
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.ablation import COLUMNS, AblationResults
from course_lib.methods.recurrent.ablation_rows import ROW_NAMES
from course_lib.methods.recurrent.measured import SUMMARY_COLUMNS, load_summary, size_thirds, write_summary

KINDS = ("plain", "occlusion")
SEEDS = (0, 1, 2)
AREAS = np.array([50.0, 10, 40, 20, 60, 30, 70])  # thirds: clips 1, 3 | 5, 2, 0 | 4, 6


def made_up(rows, clips=7, seeds=SEEDS):
    rng = np.random.default_rng(0)
    scores = {}
    for row in rows:
        scores[row] = {seed: {} for seed in (seeds[row] if isinstance(seeds, dict) else seeds)}
        for sets in scores[row].values():
            for kind in KINDS:
                columns = {column: rng.random(clips).round(4) for column in COLUMNS}
                columns["first area"] = np.resize(AREAS, clips)
                columns["J after"][2 if kind == "plain" else 0] = np.nan
                if kind == "plain":
                    columns["F after"] = np.full(clips, np.nan)
                sets[kind] = columns
    names = {kind: [f"{kind}-{c}" for c in range(clips)] for kind in KINDS}
    return AblationResults({"steps": 5}, names, scores)


@pytest.fixture
def table(monkeypatch):
    results = made_up(("s2s", "hs2s"))
    monkeypatch.setattr(measured, "collect", lambda folder: results)
    return results


@pytest.fixture
def summary(table, tmp_path):
    return load_summary(write_summary("anywhere", tmp_path / "summary.json"))


def test_thirds_by_size():
    thirds = size_thirds(AREAS)
    assert [AREAS[thirds[t]].tolist() for t in ("small", "medium", "large")] == [[10, 20], [30, 40, 50], [60, 70]]
    equal = size_thirds(np.ones(6))
    assert [equal[t].tolist() for t in ("small", "medium", "large")] == [[0, 1], [2, 3], [4, 5]]
    pair = size_thirds([9.0, 4.0])
    assert pair["small"].tolist() == [1] and pair["large"].tolist() == [0] and not len(pair["medium"])
    with pytest.raises(InputError, match="two clips or more"):
        size_thirds([1.0])
    with pytest.raises(InputError, match="nan"):
        size_thirds([1.0, np.nan])


def test_means_are_those_of_the_table(table, summary):
    assert summary.rows == ("s2s", "hs2s") and summary.seeds == SEEDS and summary.training == {"steps": 5}
    assert summary.clips == {"all": 14, "plain": 7, "occlusion": 7} and summary.columns == SUMMARY_COLUMNS
    for row in summary.rows:
        for kind in KINDS:
            for column in ("J", "F", "JF", "J early", "F late"):
                expected = 100 * table.of(row, kind, column).mean(axis=1)
                np.testing.assert_allclose(summary.of(row, column, kind), expected, atol=0.006)
        both = np.concatenate([table.of(row, kind, "F") for kind in KINDS], axis=1)
        np.testing.assert_allclose(summary.of(row, "F"), 100 * both.mean(axis=1), atol=0.006)
        small = np.concatenate([table.of(row, kind, "J")[:, [1, 3]] for kind in KINDS], axis=1)
        np.testing.assert_allclose(summary.of(row, "J small"), 100 * small.mean(axis=1), atol=0.006)
        large = table.of(row, "occlusion", "confidence")[:, [4, 6]]
        np.testing.assert_allclose(summary.of(row, "confidence large", "occlusion"), 100 * large.mean(1), atol=0.006)


def test_a_mean_is_over_the_clips_that_have_such_frames(table, summary):
    known = np.concatenate([table.of("s2s", kind, "J after") for kind in KINDS], axis=1)
    assert np.isnan(known).any()
    np.testing.assert_allclose(summary.of("s2s", "J after"), 100 * np.nanmean(known, axis=1), atol=0.006)
    assert np.isnan(summary.of("s2s", "F after", "plain")).all()
    only = table.of("s2s", "occlusion", "F after").mean(axis=1)
    np.testing.assert_allclose(summary.of("s2s", "F after"), 100 * only, atol=0.006)


def test_it_is_small_for_every_row_there_may_be(monkeypatch, tmp_path):
    rows = (*ROW_NAMES, *(f"further-{i}" for i in range(30 - len(ROW_NAMES))))
    results = made_up(rows, 60)
    four = dict.fromkeys(("plain", "occlusion", "look-alikes", "unseen shapes"), results.clips["plain"])
    scores = {
        row: {seed: dict.fromkeys(four, sets["occlusion"]) for seed, sets in seeds.items()}
        for row, seeds in results.scores.items()
    }
    monkeypatch.setattr(measured, "collect", lambda folder: AblationResults({}, four, scores))
    path = write_summary("anywhere", tmp_path / "summary.json")
    assert path.stat().st_size < 60_000
    assert measured.SHIPPED.parent.name == "weights"


def test_rows_must_have_had_equally_many_tries(monkeypatch, tmp_path):
    results = made_up(("s2s", "hs2s"), seeds={"s2s": (0, 1), "hs2s": (0, 1, 2)})
    monkeypatch.setattr(measured, "collect", lambda folder: results)
    with pytest.raises(InputError, match=r"different random seeds .*'hs2s': \(0, 1, 2\)"):
        write_summary("anywhere", tmp_path / "summary.json")
    assert not list(tmp_path.iterdir())


def test_a_table_beside_published_numbers(summary):
    text = summary.table({"s2s": "S2S", "hs2s": "HS2S"}, ("JF", "J"), {"hs2s": {"JF": 68.9}})
    heading, columns, first, second = text.splitlines()
    assert heading == (
        "percent on 14 clips of all kinds, mean ± standard deviation over 3 random seeds; in brackets: published"
    )
    assert columns.split() == ["JF", "J"] and first.startswith("S2S ") and second.startswith("HS2S")
    values = summary.of("hs2s", "JF")
    assert f"{values.mean():.1f} ± {values.std(ddof=1):.1f} (68.9)" in second and "(" not in first
    plain = summary.table(["s2s"], ("F after",), clips="plain")
    assert plain.splitlines()[0].startswith("percent on 7 clips, plain, mean") and plain.splitlines()[2].endswith("-")
    assert summary.table(["s2s"], ("J",)).splitlines()[2].startswith("s2s ")


def test_a_difference_is_taken_seed_by_seed(summary):
    found = summary.difference("hs2s", "s2s", "J late")
    values = summary.of("hs2s", "J late") - summary.of("s2s", "J late")
    assert found.values == pytest.approx(values) and found.mean == pytest.approx(values.mean())
    assert found.spread == pytest.approx(values.std(ddof=1))
    assert str(found).startswith(
        f"J late: hs2s minus s2s {values.mean():+.1f} ± {values.std(ddof=1):.1f} points (seeds"
    )
    assert summary.difference("s2s", "s2s").mean == 0


def test_aliases_mean_their_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "collect", lambda folder: made_up(("s2s-skip1-distance",)))
    summary = load_summary(write_summary("anywhere", tmp_path / "summary.json"))
    assert (summary.of("s2s-star-plus", "J") == summary.of("s2s-skip1-distance", "J")).all()


def test_errors(summary, tmp_path):
    with pytest.raises(InputError, match="no row 'rgmp' in the summary; there are s2s, hs2s"):
        summary.of("rgmp", "J")
    with pytest.raises(InputError, match="no column 'J&F' in the summary; there are J, F, JF"):
        summary.of("s2s", "J&F")
    with pytest.raises(InputError, match="no kind of clip 'davis' in the summary; there are all, plain"):
        summary.difference("hs2s", "s2s", "J", "davis")
    with pytest.raises(InputError, match="does not show: hs2s: F"):
        summary.table(["hs2s"], ("J",), {"hs2s": {"F": 70.0}})
    with pytest.raises(MissingDataError, match=r"`run_ablation`.* and call `write_summary`"):
        load_summary(tmp_path / "nothing.json")
    for content in ("{", "[]", '{"format": 0}', json.dumps({"format": 1, "columns": ["J"], "training": {}})):
        (tmp_path / "wrong.json").write_text(content)
        with pytest.raises(InputError, match="does not hold a summary"):
            load_summary(tmp_path / "wrong.json")
