"""The claims of lesson 05 compare what they say they compare: they hold in a world where they are true, else not.

Results of the table are made up here, so that the right answer is known; that a real table is read as it should be is
tested with the comparisons.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import course_lib.methods.recurrent.comparisons as comparisons
import course_lib.methods.recurrent.online_comparison as online
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson05 import CLAIMS
from course_lib.methods.recurrent.ablation import COLUMNS, AblationResults
from course_lib.methods.recurrent.ablation_rows import ALIASES, ROW_NAMES

TESTED = [claim for claim in CLAIMS if claim.experiment]
OF_THE_TABLE = [claim for claim in TESTED if ":" in claim.experiment and "online" not in claim.experiment]
CLIPS = 12
KINDS = ("plain", "occlusion", "look-alikes", "unseen shapes")

# Where all claims are true: J and F of a row, J of early and of late frames, J after an occlusion.
TRUE = {
    "s2s": (0.50, 0.60, 0.40, 0.30), "s2s-skip1-distance": (0.55, 0.65, 0.45, 0.35), "rgmp": (0.45, 0.50, 0.40, 0.30),
    "hs2s": (0.70, 0.72, 0.68, 0.65), "hs2s-first": (0.64, 0.70, 0.60, 0.60), "hs2s-previous": (0.62, 0.70, 0.55, 0.50),
    "hs2s-initializer": (0.68, 0.72, 0.66, 0.65), "hs2s-shared": (0.60, 0.65, 0.55, 0.50),
    "hs2s-blind": (0.74, 0.75, 0.73, 0.66),
    "hs2s-teacher": (0.50, 0.65, 0.35, 0.30), "hs2s-cosine": (0.65, 0.70, 0.60, 0.55),
    "hs2s-attention": (0.72, 0.74, 0.70, 0.66), "bi-hs2s": (0.74, 0.76, 0.72, 0.80),
    "raft-hs2s": (0.68, 0.70, 0.66, 0.60), "hs2s-tt": (0.75, 0.76, 0.72, 0.70), "hs2s-deep": (0.64, 0.68, 0.60, 0.55),
    "hs2s-residual": (0.78, 0.80, 0.75, 0.70), "hs2s-dilated": (0.76, 0.78, 0.74, 0.68),
    "hs2s-dilated-aspp": (0.70, 0.72, 0.68, 0.60), "hs2s-axial": (0.66, 0.70, 0.60, 0.60),
}  # fmt: skip
ONLINE = {"seen": (0.50, 0.55), "unseen": (0.40, 0.55)}  # J before and after


def made_up(right):
    """Stands for `results_of`: after-occlusion scores exist in clips with a bar alone."""

    def results_of(preset, rows, seed, folder=None):
        scores = {}
        for row in rows:
            name = ALIASES.get(row, row)
            J, early, late, after = TRUE[name] if right else (1 - value for value in TRUE[name])
            noise = 0.001 * np.random.default_rng((seed, list(TRUE).index(name))).normal(size=CLIPS)
            known = {"J": J, "F": J, "J early": early, "J late": late, "J after": after}
            columns = dict.fromkeys(COLUMNS, np.full(CLIPS, np.nan)) | {c: v + noise for c, v in known.items()}
            sets = dict.fromkeys(KINDS, columns | {"J after": np.full(CLIPS, np.nan)}) | {"occlusion": columns}
            scores[name] = {seed: sets}
        return AblationResults({}, {kind: [str(c) for c in range(CLIPS)] for kind in KINDS}, scores)

    return results_of


def made_up_online(right):
    def online_scores(preset, seed, folder=None):
        noise = 0.001 * np.random.default_rng(seed).normal(size=8)
        before_and_after = [pair if right else tuple(1 - value for value in pair) for pair in ONLINE.values()]
        return tuple(SimpleNamespace(before=before + noise, after=after - noise) for before, after in before_and_after)

    return online_scores


def world(monkeypatch, right):
    monkeypatch.setattr(comparisons, "results_of", made_up(right))
    monkeypatch.setattr(online, "online_scores", made_up_online(right))


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    world(monkeypatch, right=True)
    assert measure(claim, "cpu")["verdict"] == HOLDS
    world(monkeypatch, right=False)
    assert measure(claim, "cpu")["verdict"] == FAILS


@pytest.mark.parametrize(
    ("slug", "row", "other"),
    [
        ("initializer", "hs2s", "hs2s-initializer"), ("attention", "hs2s-attention", "hs2s"),
        ("flow", "hs2s", "raft-hs2s"), ("dilated", "hs2s-residual", "hs2s-dilated"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("lead", "verdict"), [(-0.007, HOLDS), (-0.013, FAILS)])
def test_one_point_counts_as_equal(slug, row, other, lead, verdict, monkeypatch):
    """The row that is to be as good, or the one without what is to be of no help, may be behind by a point."""
    (claim,) = [claim for claim in CLAIMS if claim.id == f"05-{slug}"]
    monkeypatch.setitem(TRUE, row, (TRUE[other][0] + lead, *TRUE[other][1:]))
    world(monkeypatch, right=True)
    assert measure(claim, "cpu")["verdict"] == verdict


def test_a_lower_start_is_no_smaller_drop_in_late_frames(monkeypatch):
    """Worse throughout, but steadier: only one of the two claims about long clips holds."""
    monkeypatch.setitem(TRUE, "hs2s", (0.40, 0.42, 0.40, 0.40))
    world(monkeypatch, right=True)
    found = {claim.id: measure(claim, "cpu")["verdict"] for claim in CLAIMS if "late" in claim.id}
    assert found["05-early-late"] == HOLDS and found["05-late-frames"] == FAILS


def test_occlusions_are_looked_at_in_clips_that_have_some_and_late_frames_in_plain_ones(monkeypatch):
    world(monkeypatch, right=True)
    for claim in OF_THE_TABLE:
        first, second = claim.load_experiment()("cpu", 0)
        one_kind = "occlusion" in claim.id or claim.id == "05-blind-late"
        assert first.shape == second.shape == (CLIPS if one_kind else len(KINDS) * CLIPS,)


def test_every_row_that_is_compared_is_a_row_of_the_table():
    rows = {ALIASES.get(row, row) for claim in OF_THE_TABLE for row in claim.load_experiment().rows}
    assert rows == {*TRUE} and online.ROW in rows
    assert rows <= set(ROW_NAMES)


def test_all_share_the_clips_and_the_random_seeds_of_the_table():
    for claim in TESTED:
        assert claim.clips == "same" and claim.seeds == (0, 1, 2)
        assert claim.source.author == "F. Azimi" and claim.source.section[:3] in ("6.4", "6.5")
    controls = {claim.id for claim in CLAIMS if claim.source.kind == "control"}
    assert controls == {
        "05-hybrid-equal-parts", "05-scheduled-sampling", "05-scheduled-sampling-late", "05-both-ways-occlusion",
        "05-blind", "05-blind-late", "05-blind-hybrid",
    }  # fmt: skip
    assert not [claim.id for claim in CLAIMS if claim.id in controls and claim.published]


def test_what_cannot_be_tested_says_why():
    untestable = [claim for claim in CLAIMS if not claim.experiment]
    assert [claim.id for claim in untestable] == ["05-deeper-backbone", "05-space-time-memory"]
    assert all(measure(claim, "cpu")["verdict"] == UNTESTABLE and "GPU" in claim.untestable for claim in untestable)
