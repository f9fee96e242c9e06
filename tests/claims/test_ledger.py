"""Claims are measured once, kept safely, and never shown as something they are not."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from course_lib.claims import board as board_room
from course_lib.claims import ledger
from course_lib.claims.board import board, board_html, board_markdown, board_text, load_board
from course_lib.claims.bootstrap import FAILS, HOLDS, NOT_MEASURED, UNTESTABLE
from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.ledger import PRESETS, all_claims, read_results, run_claims
from course_lib.errors import InputError, WriteError

CALLS: list[tuple[str, int]] = []
BROKEN: list[int] = []


def better(preset, seed):
    """An experiment in which the first condition is better by 0.2, give or take."""
    if seed in BROKEN:
        raise KeyboardInterrupt
    CALLS.append((preset, seed))
    second = np.random.default_rng(seed).uniform(0.3, 0.6, 4)
    return second + 0.2 + np.random.default_rng(seed + 50).normal(0, 0.01, 4), second


def unequal(preset, seed):
    return [1.0, 2.0], [1.0]


def claim(slug="up", **changes) -> Claim:
    settings = {
        "id": f"00-{slug}", "lesson": "00", "method": "test", "source": Source("A. Author", 2024, "3.2", table="4"),
        "statement": "first | beats second", "effect": "first minus second", "unit": "J",
        "experiment": f"{__name__}:better",
    }  # fmt: skip
    return Claim(**{**settings, **changes})


UP = claim()
DOWN = claim("down", direction="less", published=(Published("J", 71.5, "%"),), note="a <note>")
NEVER = claim("never", experiment="", untestable="needs 80 GB")


@pytest.fixture(autouse=True)
def fresh_counters():
    CALLS.clear()
    BROKEN.clear()


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "docs" / "claims.json"


def run(claims, out, **settings):
    return run_claims(None, settings.pop("preset", "cpu"), out, claims=claims, progress=False, **settings)


def test_results_hold_what_a_reader_needs(out):
    results = run([UP, DOWN, NEVER], out)
    assert results == read_results(out)
    up = results["00-up"]["cpu"]
    assert up["verdict"] == HOLDS and results["00-down"]["cpu"]["verdict"] == FAILS
    assert up["effect"] == pytest.approx(0.2, abs=0.01) and up["low"] < up["effect"] < up["high"]
    assert up["effect"] == pytest.approx(up["first"] - up["second"], abs=2e-5)
    assert up["effect"] == pytest.approx(np.mean(up["differences"]), abs=1e-4)
    assert up["seeds"] == [0, 1, 2] and up["clips"] == 12 and up["preset"] == "cpu"
    assert up["seconds"] >= 0 and "cores" in up["machine"] and len(up["date"]) == 10
    assert results["00-never"]["cpu"] == {
        **results["00-never"]["cpu"], "verdict": UNTESTABLE, "reason": "needs 80 GB"
    }  # fmt: skip


def test_measured_claims_are_not_measured_again_unless_asked(out):
    run([UP], out)
    run([UP, DOWN], out)
    assert len(CALLS) == 6
    run([UP, DOWN], out, fresh=True)
    assert len(CALLS) == 12


def test_changed_rule_is_measured_again_and_not_shown_before(out):
    results = run([UP], out)
    stricter = replace(UP, threshold=0.5)
    assert board(results, claims=[stricter])[0].verdict == NOT_MEASURED
    assert run([stricter], out)["00-up"]["cpu"]["verdict"] == FAILS
    assert replace(UP, note="other words").fingerprint == UP.fingerprint


def test_interrupt_keeps_finished_claims(out):
    late = claim("late", seeds=(7, 8, 9))
    BROKEN.append(8)
    with pytest.raises(KeyboardInterrupt):
        run([UP, late], out)
    assert set(read_results(out)) == {"00-up"}
    BROKEN.clear()
    CALLS.clear()
    run([UP, late], out)
    assert CALLS == [("cpu", 7), ("cpu", 8), ("cpu", 9)]


def test_results_of_others_are_kept(out):
    run([UP], out)
    foreign = read_results(out)
    foreign["13-else"] = {"gpu": {"rule": "x", "verdict": HOLDS}}
    ledger.write_results(out, foreign)
    assert set(run([DOWN], out)) == {"00-up", "00-down", "13-else"}


def test_presets_do_not_overwrite_each_other_and_the_largest_is_shown(out):
    for preset in PRESETS:
        run([UP], out, preset=preset)
        shown = board(read_results(out), claims=[UP])[0]
        assert shown.verdict == (NOT_MEASURED if preset == "smoke" else HOLDS)
        assert shown.result is None or shown.result["preset"] == preset
    assert set(read_results(out)["00-up"]) == set(PRESETS)
    run([UP], out, preset="smoke", fresh=True)
    assert board(read_results(out), claims=[UP])[0].result["preset"] == "gpu"


def test_failed_write_leaves_the_old_file(out, monkeypatch):
    run([UP], out)
    before = out.read_bytes()

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(WriteError, match="No space left"):
        run([DOWN], out)
    assert out.read_bytes() == before and [p.name for p in out.parent.iterdir()] == ["claims.json"]


def test_selection_by_id_and_by_lesson(out):
    other = claim("x", id="01-x", lesson="01")
    run_claims(["01"], "cpu", out, claims=[UP, other], progress=False)
    assert set(read_results(out)) == {"01-x"}
    run_claims(["00-up"], "cpu", out, claims=[UP, other], progress=False)
    assert set(read_results(out)) == {"00-up", "01-x"}
    with pytest.raises(InputError, match="unknown claim '00-typo'; there are 00-up, 01-x"):
        run_claims(["00-typo"], "cpu", out, claims=[UP, other])
    with pytest.raises(InputError, match="unknown preset 'huge'"):
        run_claims(None, "huge", out, claims=[UP])


@pytest.mark.parametrize("text", ["{", "[]", '{"results": {"00-up": {"cpu": 3}}}', '{"other": 1}'])
def test_file_that_is_something_else_is_not_overwritten(out, text):
    out.parent.mkdir()
    out.write_text(text)
    with pytest.raises(InputError, match="is not a file of measured claims"):
        run([UP], out)
    assert out.read_text() == text


def test_experiment_that_breaks_its_promise_is_named(out):
    with pytest.raises(InputError, match=r"00-up: .*unequal must return two lists of equal length"):
        run([replace(UP, experiment=f"{__name__}:unequal")], out)
    with pytest.raises(InputError, match=r"'course_lib\.nowhere:f' was not found"):
        run([replace(UP, experiment="course_lib.nowhere:f")], out)
    with pytest.raises(InputError, match="has no experiment: needs 80 GB"):
        NEVER.load_experiment()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "up"}, "claim id 'up'"),
        ({"id": "01-up"}, "must be its lesson '00'"),
        ({"direction": "up"}, "direction must be"),
        ({"clips": "some"}, "clips must be"),
        ({"experiment": ""}, "give an experiment, or say"),
        ({"untestable": "too big"}, "give an experiment, or say"),
        ({"experiment": "module.function"}, "must read 'module:function'"),
        ({"seeds": (0, 1)}, "at least three different random seeds"),
        ({"seeds": (0, 1, 1)}, "at least three different random seeds"),
    ],
)
def test_ill_formed_claims_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        claim(**changes)


class Cells(HTMLParser):
    """Text of each table cell; complains about tags that do not nest."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_board_in_all_forms(out):
    rows = board(run([UP, NEVER], out), claims=[UP, DOWN, NEVER])
    assert [row.verdict for row in rows] == [HOLDS, NOT_MEASURED, UNTESTABLE]
    text, markdown, html = board_text(rows), board_markdown(rows), board_html(rows)
    for form in (text, markdown, html):
        assert "3 claims: 1 × holds, 1 × not testable at this scale, 1 × not measured yet." in form
        assert "A. Author (2024), section 3.2, table 4" in form and "J: 71.5 %" in form and "needs 80 GB" in form
        assert rows[0].effect in form and rows[0].effect.startswith("+0.199 J [")
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 5 and {line.replace("\\|", "").count("|") for line in table} == {6}
    cells = Cells()
    cells.feed(html)
    assert cells.open == [] and [len(row) for row in cells.rows] == [4, 4, 4, 4]
    assert "a &lt;note&gt;" in html and "<note>" not in html
    assert "src=" not in html and "href=" not in html


def test_board_of_one_lesson(out):
    other = claim("x", id="01-x", lesson="01")
    rows = board(run([UP, other], out), claims=[UP, other])
    assert "01-x" in board_html(rows, lesson="01") and "00-up" not in board_html(rows, lesson="01")
    assert [row.claim.id for row in board({}, "01", claims=[UP, other])] == ["01-x"]
    assert "1 claim: 1 × holds." in board_markdown(rows, lesson="00")


def test_load_board_finds_the_file_above_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(board_room, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    assert {row.verdict for row in load_board()} <= {NOT_MEASURED, UNTESTABLE}
    first = all_claims()[0]
    result = {"rule": first.fingerprint, "verdict": HOLDS, "effect": 1, "low": 0.5, "high": 2}
    ledger.write_results(tmp_path / "docs/claims.json", {first.id: {"cpu": result}})
    deep = tmp_path / "notebooks" / "source"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert load_board(lesson=first.lesson)[0].verdict == HOLDS


def test_the_ledger_itself():
    claims = all_claims()
    assert [c.id for c in claims if c.lesson == "00"][:1]
    assert [c.lesson for c in claims] == sorted(c.lesson for c in claims)
    for entry in claims:
        assert str(entry.source) and entry.statement.endswith(".")
        assert entry.untestable or callable(entry.load_experiment())


def test_two_claims_of_one_name_are_refused(monkeypatch):
    import course_lib.claims.lesson00 as lesson

    monkeypatch.setattr(lesson, "CLAIMS", (*lesson.CLAIMS, lesson.CLAIMS[0]))
    with pytest.raises(InputError, match="used twice: 00-motion"):
        all_claims()


def test_committed_results_belong_to_present_claims():
    path = Path(__file__).parents[2] / "docs/claims.json"
    if not path.exists():
        pytest.skip("nothing has been measured yet")
    known = {entry.id: entry for entry in all_claims()}
    results = json.loads(path.read_text())["results"]
    assert set(results) <= set(known), "docs/claims.json holds claims that are no longer in the ledger"
    stale = [i for i, by in results.items() for r in by.values() if r["rule"] != known[i].fingerprint]
    assert not stale, f"measured under an older rule: {stale}; run `course claims run`"
