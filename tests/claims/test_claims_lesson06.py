"""The claims of lesson 06 compare what they say they compare: they hold in a world where they are true, else not.

Scores and times are made up here, so that the right answer is known; that real ones are taken as they should be is
tested with the operating points. The oracle's claims also run for real, on a few small frames.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import course_lib.methods.propagation.comparison_speed as speed
import course_lib.methods.propagation.comparisons as comparisons
import course_lib.methods.propagation.operating_points as points
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson06 import CLAIMS
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.comparisons import HALF_WIDTH, OTHER, TRAINED, Comparison, Score
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.operating_points import ORACLE, OperatingConfig, Setting

TESTED = [claim for claim in CLAIMS if claim.experiment]
SCORED = [claim for claim in TESTED if isinstance(claim.load_experiment(), Comparison)]
CLIPS = 6
# Lost per step, by class, where all claims are true; 0.01 for those not named.
RATE = {"pole": 0.03, "person": 0.03, "road": 0.002, "sky": 0.002, "fence": -0.004, "terrain": -0.004}
REFINED = {"pole": 0.02, "person": 0.02, "road": 0.0, "sky": 0.0}
MARGINS = {"06-small-loss", "06-dis-settings"}  # where less than nothing is lost, they hold, too


def true_iou(setting: Setting, period: int, step: int) -> np.ndarray:
    """[classes] in a world in which every claim is right."""
    point = setting.point
    iou = np.full(len(STREET_CLASSES), {ORACLE: 1.0, TRAINED: 0.7, OTHER: 0.75, HALF_WIDTH: 0.6}[setting.segmenter])
    since = step % point.key_every
    rate = np.array([RATE.get(name, 0.01) for name in STREET_CLASSES]) if point.warp else 0.04
    iou -= since * rate
    if since:
        iou += {"dis": 0, "dis medium": 0.002, "farneback": -0.02, "exact": 0.02}[setting.flow]
        iou += -0.02 if setting.form == "literal" else 0
    if point.refined_per_period and since == point.key_every - 1:
        iou += [REFINED.get(name, 0.005) for name in STREET_CLASSES]
        iou += {"labels": 0, "either": 0.004}[setting.check] - 0.01 * setting.replace
    return iou - 0.1 * (1 - point.input_scale) + 0.003 * (point.key_every == 1 and point.refine != "off")


class MadeUp:
    def __init__(self, setting, seed, right):
        self.setting, self.right = setting, right
        self.noise = 0.001 * np.random.default_rng(seed).normal(size=(CLIPS, 1))

    def ious(self, period, step):
        iou = true_iou(self.setting, period, step) + self.noise
        return iou if self.right else 1 - iou


def world(monkeypatch, right):
    shares = (lambda k: 0.005 * k) if right else (lambda k: 0.1 - 0.005 * k)
    noise = 0.0001 * np.random.default_rng(0).random(CLIPS)

    def steadiness(config, seed, setting):
        return 0.8 + (0.05 if right == (setting == comparisons.BLENDED) else 0) + noise

    def stream_ms(config, seed, compared, one_core):
        return np.array([[100 / point.key_every ** (1 if right else 0.3) for point in compared]] * config.rounds)

    monkeypatch.setattr(comparisons, "score_point", lambda config, seed, setting: MadeUp(setting, seed, right))
    monkeypatch.setattr(
        comparisons, "inconsistent_shares",
        lambda config, seed, steps, back: np.array([[shares(k) for k in steps]] * CLIPS) + noise[:, None],
    )  # fmt: skip
    monkeypatch.setattr(comparisons, "steadiness", steadiness)
    monkeypatch.setattr(speed, "stream_ms", stream_ms)
    times = np.array([[16, 8], [15, 7]])
    frames = torch.zeros(2, 3, 64, 128, dtype=torch.uint8)
    monkeypatch.setattr(speed, "_frames", lambda *size: frames)
    monkeypatch.setattr(speed, "interleaved_ms", lambda calls, rounds: times if right else times[:, ::-1])


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    world(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == HOLDS
    world(monkeypatch, right=False)
    assert measure(claim, "smoke")["verdict"] == (HOLDS if claim.id in MARGINS else FAILS)


@pytest.mark.parametrize(("lost", "verdict"), [(0.025, HOLDS), (0.035, FAILS)])
def test_three_points_of_loss_count_as_little(lost, verdict, monkeypatch):
    (claim,) = [claim for claim in CLAIMS if claim.id == "06-small-loss"]
    for name in STREET_CLASSES:
        monkeypatch.setitem(RATE, name, lost)
    world(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == verdict


def test_losses_per_step_that_grow_or_shrink_by_more_than_three_are_not_constant(monkeypatch):
    for lost, failing in ((lambda k: k**3, "more"), (lambda k: 1 - np.exp(-k), "less")):

        class Curved(MadeUp):
            def ious(self, period, step, lost=lost):
                return np.full((CLIPS, len(STREET_CLASSES)), 1 - 0.1 * lost(step % 10) / lost(9)) + self.noise

        monkeypatch.setattr(
            comparisons, "score_point", lambda config, seed, setting, kind=Curved: kind(setting, seed, True)
        )
        for claim in TESTED:
            if "loss-per-step" in claim.id:
                assert measure(claim, "smoke")["verdict"] == (FAILS if claim.id.endswith(failing) else HOLDS)


def test_frames_compared_are_the_same_for_both_and_the_last_of_a_period():
    for claim in SCORED:
        scores = []
        for number in (claim.load_experiment().first, claim.load_experiment().second):
            scores += [number] if isinstance(number, Score) else [number.before, number.after]
        for score in scores:
            assert score.period % score.setting.point.key_every == 0
        if "loss-per-step" not in claim.id:
            assert len({(score.period, score.step) for score in scores}) == 1


def test_the_oracles_claims_need_no_trained_network():
    for claim in SCORED:
        named = {setting.segmenter for setting in claim.load_experiment().settings}
        if "oracle" in claim.id:
            assert named == {ORACLE}
    oracle = {claim.id.replace("-oracle", "") for claim in SCORED if "oracle" in claim.id}
    assert oracle <= {claim.id for claim in SCORED}


def test_without_trained_weights_the_error_names_the_command(tmp_path):
    config = replace(OperatingConfig.preset("smoke"), weights=tmp_path, clips=1)
    with pytest.raises(MissingDataError, match="course train icnet-small-driving"):
        comparisons.carried_and_copied(config, 0)


def test_experiments_run_for_real(monkeypatch):
    """With the truth, and with a network that was never trained; the oracle's answers err on the way alone."""
    torch.manual_seed(0)
    network = ICNet(len(STREET_CLASSES), ICNetConfig(0.05, fine=True)).eval()
    monkeypatch.setattr(points, "_trained", lambda name, folder, device: network)
    points._score.cache_clear()
    try:
        small = replace(OperatingConfig.preset("smoke"), clips=1)
        for claim in TESTED:
            first, second = claim.load_experiment()("smoke" if "speed:" in claim.experiment else small, 77)
            assert first.shape == second.shape and len(first) >= 1
            assert np.isfinite(first).all() and np.isfinite(second).all()
        first, second = comparisons.oracle_carried_and_copied(small, 77)
        assert (first > second).all()
    finally:
        points._score.cache_clear()


def test_clips_without_the_classes_drop_out(monkeypatch):
    class Partly(MadeUp):
        def ious(self, period, step):
            ious = super().ious(period, step).copy()
            ious[:4, [STREET_CLASSES.index(name) for name in ("pole", "person")]] = np.nan
            return ious

    monkeypatch.setattr(comparisons, "score_point", lambda config, seed, setting: Partly(setting, seed, True))
    first, second = comparisons.class_losses_at_5("smoke", 0)
    assert first.shape == second.shape == (CLIPS - 4,)
    whole, _ = comparisons.carried_and_copied("smoke", 0)
    assert whole.shape == (CLIPS,) and np.isfinite(whole).all()
    monkeypatch.setattr(Partly, "ious", lambda self, period, step: np.full((CLIPS, len(STREET_CLASSES)), np.nan))
    with pytest.raises(InputError, match="shows the classes compared"):
        comparisons.class_losses_at_5("smoke", 0)


def test_every_claim_names_its_place_in_the_thesis():
    assert {claim.source.author for claim in CLAIMS} == {"M. Paul"}
    assert all(claim.source.section.startswith("3.") and claim.id.startswith("06-") for claim in CLAIMS)
    controls = [claim for claim in CLAIMS if claim.source.kind == "control"]
    assert not [claim.id for claim in controls if claim.published]
    assert {claim.id for claim in controls} >= {claim.id for claim in CLAIMS if "oracle" in claim.id}
    for claim in TESTED:
        assert len(claim.seeds) == 5 and claim.clips == "own"


def test_what_cannot_be_tested_says_why():
    untestable = [claim for claim in CLAIMS if not claim.experiment]
    assert [claim.id for claim in untestable] == ["06-kilohertz", "06-hidden-flow", "06-other-methods"]
    assert all(measure(claim, "cpu")["verdict"] == UNTESTABLE for claim in untestable)
    assert all("GPU" in claim.untestable or "Cityscapes" in claim.untestable for claim in untestable)
