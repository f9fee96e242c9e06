"""The claims of lesson 04 compare what they say they compare: they hold in a world where they are true, else not.

Results of the table are made up here, so that the right answer is known; that a real table is read as it should be is
tested with the comparisons.
"""

import numpy as np
import pytest

import course_lib.methods.recurrent.comparisons as comparisons
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson04 import CLAIMS
from course_lib.methods.recurrent.ablation import COLUMNS, AblationResults
from course_lib.methods.recurrent.ablation_rows import ROW_NAMES

TESTED = [claim for claim in CLAIMS if claim.experiment]
CLIPS = 30
KINDS = ("plain", "occlusion", "look-alikes", "unseen shapes")

# J and F of a row where all claims are true, and what small objects have of it less than large ones.
TRUE = {
    "s2s": (0.50, 0.50, 0.40), "mask-guided": (0.40, 0.40, 0.40), "s2s-skip1": (0.54, 0.52, 0.20),
    "s2s-distance": (0.52, 0.56, 0.30), "s2s-skip1-distance": (0.56, 0.58, 0.20), "s2s-plus-plus": (0.60, 0.62, 0.10),
    "s2s-plus-plus-6": (0.55, 0.57, 0.10), "s2s-plus-plus-42": (0.62, 0.64, 0.10), "s2s-plain-bce": (0.48, 0.48, 0.60),
}  # fmt: skip


def made_up(right):
    """Stands for `results_of`. Objects grow from clip to clip, and so do scores; in the other world they fall."""

    def results_of(preset, rows, seed, folder=None):
        size = np.linspace(-0.5, 0.5, CLIPS)
        scores = {}
        for row in rows:
            name = "s2s-plus-plus" if row == "s2s-plus-plus-22" else row
            J, F, slope = TRUE[name]
            noise = 0.001 * np.random.default_rng((seed, list(TRUE).index(name))).normal(size=CLIPS)
            columns = dict.fromkeys(COLUMNS, np.full(CLIPS, np.nan))
            columns |= {"J": J + slope * size + noise, "F": F + slope * size + noise, "confidence": 0.3 + 0.2 * size}
            if not right:
                columns = {column: 1 - values for column, values in columns.items()}
            columns["first area"] = 100 + 50 * size
            scores[name] = {seed: dict.fromkeys(KINDS, columns)}
        return AblationResults({}, {kind: [str(c) for c in range(CLIPS)] for kind in KINDS}, scores)

    return results_of


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    monkeypatch.setattr(comparisons, "results_of", made_up(True))
    assert measure(claim, "cpu")["verdict"] == HOLDS
    monkeypatch.setattr(comparisons, "results_of", made_up(False))
    assert measure(claim, "cpu")["verdict"] == FAILS


def test_far_worse_means_fifteen_points(monkeypatch):
    (claim,) = [claim for claim in CLAIMS if claim.id == "04-small-objects"]
    monkeypatch.setattr(comparisons, "results_of", made_up(True))
    monkeypatch.setitem(TRUE, "s2s", (0.5, 0.5, 0.2))  # thirds are two thirds of the range apart: 13 points
    result = measure(claim, "cpu")
    assert result["verdict"] == FAILS and 0.13 < result["effect"] < 0.14


def test_every_row_that_is_compared_is_a_row_of_the_table():
    rows = {row for claim in TESTED for row in claim.load_experiment().rows}
    assert rows == {*TRUE, "s2s-plus-plus-22"}
    assert {*TRUE} <= set(ROW_NAMES)


def test_all_share_the_clips_and_the_random_seeds_of_the_table():
    for claim in TESTED:
        assert claim.clips == "same" and claim.seeds == (0, 1, 2)
        assert claim.source.author == "F. Azimi" and claim.source.section.startswith("6.3")
    assert [claim.id for claim in TESTED if claim.source.kind == "control"] == ["04-balanced-small"]


def test_published_gains_follow_from_the_printed_columns():
    """Table 6.2: J and F of seen and unseen categories."""
    printed = {
        "s2s": (65.4, 43.6, 67.9, 47.5), "distance": (67.7, 44.6, 70.8, 49.8), "skip": (66.9, 46.8, 69.2, 50.1),
        "both": (67.2, 47.0, 70.2, 52.3), "two": (68.7, 48.9, 72.0, 54.4),
    }  # fmt: skip
    J = {row: (seen + unseen) / 2 for row, (seen, unseen, _, _) in printed.items()}
    F = {row: (seen + unseen) / 2 for row, (_, _, seen, unseen) in printed.items()}
    of = {claim.id: [published.value for published in claim.published] for claim in CLAIMS}
    assert of["04-skip-memory"][:2] == [pytest.approx(J["skip"]), pytest.approx(J["s2s"])]
    assert of["04-second-skip-memory"][:2] == [pytest.approx(J["two"]), pytest.approx(J["both"])]
    assert of["04-distance"][:2] == [pytest.approx(J["distance"]), pytest.approx(J["s2s"])]
    gains = [F["distance"] - F["s2s"], J["distance"] - J["s2s"]]
    assert of["04-distance-contour"] == pytest.approx(gains)
    assert of["04-both-distance"] == [pytest.approx((J[row] + F[row]) / 2, abs=0.06) for row in ("both", "distance")]


def test_what_cannot_be_tested_says_why():
    (claim,) = [claim for claim in CLAIMS if not claim.experiment]
    assert claim.id == "04-youtube-vos" and measure(claim, "cpu")["verdict"] == UNTESTABLE
    assert "not public" in claim.untestable
