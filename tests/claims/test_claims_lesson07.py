"""The claims of lesson 07 compare what they say they compare: they hold in a world where they are true, else not.

Tables and costs are made up here, so that the right answer is known; that a real table is made as it should be is
tested with the training, that costs are, with `comparison_cost`.
"""

import numpy as np
import pytest

import course_lib.methods.local_memory.comparison_cost as cost
import course_lib.methods.local_memory.comparisons as comparisons
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson07 import CLAIMS
from course_lib.data.noisy_drives import TROUBLES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError
from course_lib.methods.local_memory.ablation import AblationResults
from course_lib.methods.local_memory.rows import ROW_NAMES

TESTED = [claim for claim in CLAIMS if claim.experiment]
OF_THE_TABLE = [claim for claim in TESTED if ".comparisons:" in claim.experiment]
DRIVES, WINDOWS, AREA = 6, 2, 10_000

# IoU where all claims are true; weak classes gain more: 0.1 of what is written here is spread by class.
TRUE = {
    "frame": 0.60, "decoder": 0.61, "self": 0.62, "size-1": 0.67, "memory": 0.68, "size-4": 0.69, "window-1": 0.64,
    "window-1-self": 0.63, "window-11": 0.68, "window-all": 0.67, "concat": 0.66, "scale-sqrt": 0.675,
    "pyramid-frame": 0.58, "pyramid-self": 0.60, "pyramid-memory": 0.66,
}  # fmt: skip
LONGER = {"memory": 0.681, "size-4": 0.691}  # read with 12 frames


def counts_of(iou, row, seed):
    """[clips, classes, 3] pixels that give this IoU in the mean: AREA true and predicted, shared what it takes."""
    n = len(STREET_CLASSES)
    noise = 0.0005 * np.random.default_rng((seed, sum(map(ord, row)))).normal(size=(DRIVES * WINDOWS, n))
    weak = np.linspace(-0.15, 0.15, n)  # class 0 is the weakest
    iou = iou + weak * (1 - 3 * (iou - 0.5)) + noise  # the better the row, the smaller the spread over classes
    shared = 2 * AREA * iou / (1 + iou)
    return np.stack([shared, np.full_like(shared, AREA), np.full_like(shared, AREA)], axis=-1).round().astype(np.int64)


def made_up(right):
    def results_of(preset, rows, seed, folder=None):
        assert set(rows) <= set(ROW_NAMES)
        table = {}
        for row in rows:
            own = {"size-1": 1, "memory": 2, "size-4": 4}.get(row, 0)
            sizes = {own: TRUE[row]} | ({12: LONGER[row]} if row in LONGER else {})
            each = {size: counts_of(iou if right else 1.2 - iou, row, seed) for size, iou in sizes.items()}
            table[row] = {seed: dict.fromkeys(TROUBLES, each)}
        own_sizes = {row: {"size-1": 1, "memory": 2, "size-4": 4}.get(row, 0) for row in rows}
        return AblationResults({"drives": {"windows": WINDOWS}}, table, own_sizes)

    return results_of


def world(monkeypatch, right):
    monkeypatch.setattr(comparisons, "results_of", made_up(right))
    ratio = 1.0 if right else -1.0

    def milliseconds(calls, rounds):
        call = calls[0].func
        first = {cost.local_read: 10.0, cost.unfold_read: 90.0}.get(call)
        if first is None:  # the whole network, without and with a memory
            return np.array([[10.0, 11.5 if right else 17.0]] * rounds)
        wide = call is cost.local_read and calls[0].args[3] > 10
        return np.array([[50 + ratio * (40 if wide else first - 50), 50.0]] * rounds)

    def peak_bytes(call, *inputs):
        mib = {cost.local_read: 1 if right else 10, cost.unfold_read: 90 if right else 5}.get(call.func, 20)
        return mib * 2**20

    monkeypatch.setattr(cost, "interleaved_ms", milliseconds)
    monkeypatch.setattr(cost, "peak_bytes", peak_bytes)


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    world(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == HOLDS
    world(monkeypatch, right=False)
    if claim.id in ("07-longer-memory", "07-longer-memory-four"):
        monkeypatch.setitem(LONGER, "memory", 0.7)
        monkeypatch.setitem(LONGER, "size-4", 0.71)
    assert measure(claim, "smoke")["verdict"] == FAILS


@pytest.mark.parametrize("slug", ["saturation", "local", "scale"])
@pytest.mark.parametrize(("lead", "verdict"), [(-0.001, HOLDS), (-0.01, FAILS)])
def test_three_tenths_of_a_point_count_as_equal(slug, lead, verdict, monkeypatch):
    pairs = {"saturation": ("size-4", "size-1"), "local": ("memory", "window-all"), "scale": ("memory", "scale-sqrt")}
    row, other = pairs[slug]
    (claim,) = [claim for claim in CLAIMS if claim.id == f"07-{slug}"]
    monkeypatch.setitem(TRUE, row, TRUE[other] + lead)
    world(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == verdict


def test_a_gain_over_the_single_frame_alone_is_no_gain_of_the_past(monkeypatch):
    """If the layers do all of it, what the thesis compares holds, and the controls say no."""
    monkeypatch.setitem(TRUE, "self", 0.70)
    world(monkeypatch, right=True)
    verdicts = {claim.id: measure(claim, "smoke")["verdict"] for claim in CLAIMS}
    assert verdicts["07-one-frame"] == verdicts["07-four-frames"] == verdicts["07-longer-training"] == HOLDS
    assert all(verdicts[i] == FAILS for i in ("07-past", "07-past-one-frame", "07-past-four-frames"))


def test_what_was_cut_out_of_one_drive_is_one_number(monkeypatch):
    world(monkeypatch, right=True)
    for claim in OF_THE_TABLE:
        first, second = claim.load_experiment()("smoke", 1)
        assert first.shape == second.shape == ((1,) if "classes" in claim.id else (DRIVES,))


def test_a_drive_is_the_mean_of_its_windows_and_of_both_troubles():
    counts = np.zeros((4, 2, 3), dtype=np.int64)
    counts[:, 0] = [[10, 10, 10], [5, 10, 10], [0, 10, 10], [10, 10, 10]]  # IoU 1, 1/3, 0, 1; class 1 is nowhere
    other = counts[[3, 2, 1, 0]]
    table = AblationResults({"drives": {"windows": 2}}, {"memory": {5: dict(zip(TROUBLES, ({2: counts}, {2: other})))}},
                            {"memory": 2})  # fmt: skip
    both = comparisons.Score("memory").of(table, 5)
    np.testing.assert_allclose(both, [(1 + 1 / 3 + 1 + 0) / 4, (0 + 1 + 1 / 3 + 1) / 4])
    np.testing.assert_allclose(comparisons.Score("memory", TROUBLES[0]).of(table, 5), [2 / 3, 1 / 2])
    with pytest.raises(InputError, match="no results of row 'self'"):
        comparisons.Score("self").of(table, 5)


def test_ranks_are_those_of_spearman_and_have_no_order_among_equals():
    assert comparisons.rank_correlation(np.array([1.0, 2, 3]), np.array([9.0, 4, -1])) == pytest.approx(-1)
    # by hand: ranks 1 2 3 4 against 1 3 2 4, 1 - 6 * 2 / (4 * 15)
    assert comparisons.rank_correlation(np.array([0.1, 0.2, 0.3, 0.4]), np.array([5.0, 7, 6, 8])) == pytest.approx(0.8)
    assert comparisons.rank_correlation(np.ones(4), np.arange(4.0)) == 0


def test_every_row_that_is_compared_is_a_row_of_the_table():
    rows = {row for claim in OF_THE_TABLE for row in claim.load_experiment().rows}
    assert rows == set(TRUE) and rows <= set(ROW_NAMES)


def test_tables_lie_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv(comparisons.TABLES.variable, str(tmp_path))
    assert comparisons.TABLES.folder("cpu") == tmp_path / "cpu"
    monkeypatch.delenv(comparisons.TABLES.variable)
    assert comparisons.TABLES.folder("smoke") == comparisons.TABLES.default / "smoke"
    with pytest.raises(InputError, match="pass `folder`"):
        comparisons.TABLES.folder(object())


def test_every_claim_names_its_place_in_the_thesis():
    assert {claim.source.author for claim in CLAIMS} == {"M. Paul"}
    assert all(claim.source.section.startswith("4.") and claim.id.startswith("07-") for claim in CLAIMS)
    controls = [claim for claim in CLAIMS if claim.source.kind == "control"]
    assert not [claim.id for claim in controls if claim.published]
    assert {claim.id for claim in OF_THE_TABLE if "self" in str(claim.load_experiment().rows)} <= {
        c.id for c in controls
    }
    for claim in TESTED:
        table = claim in OF_THE_TABLE
        assert claim.seeds == tuple(range(6 if table else 3)) and claim.clips == ("same" if table else "own")


def test_what_cannot_be_tested_says_why():
    untestable = [claim for claim in CLAIMS if not claim.experiment]
    assert [claim.id for claim in untestable] == ["07-gpu-memory", "07-cityscapes", "07-other-methods"]
    assert all(measure(claim, "cpu")["verdict"] == UNTESTABLE and "GPU" in claim.untestable for claim in untestable)
