"""The claims of lesson 13 compare what they say they compare: they hold in a world where they are true, else not.

Runs are made up here, so that the right answer is known; that real runs are right is tested with the comparisons.
"""

import numpy as np
import pytest

import course_lib.methods.space_time_memory.comparison_speed as speed
import course_lib.methods.space_time_memory.comparisons as comparisons
from course_lib.claims.bootstrap import FAILS, HOLDS
from course_lib.claims.ledger import measure
from course_lib.claims.lesson13 import CLAIMS
from course_lib.methods.space_time_memory.comparison_clips import ComparisonConfig
from course_lib.methods.space_time_memory.comparisons import PolicyRun

COMPARED = [claim for claim in CLAIMS if "comparison" in claim.experiment]
CONFIG = ComparisonConfig.preset("smoke")

# How far the score has fallen at the end of a clip, by kind of clip, policy and capacity, if the claims are right.
FALL = {
    ("changing", "every_k", 2): 0.05, ("changing", "adaptive", 4): 0.08, ("changing", "adaptive", 2): 0.12,
    ("changing", "first_and_latest", 2): 0.3, ("changing", "softmax_index", 2): 0.2, ("changing", "fifo", 2): 0.3,
    ("changing", "random", 2): 0.2,
    ("hidden", "every_k", 2): 0.1, ("hidden", "first_and_latest", 2): 0.2, ("hidden", "adaptive", 2): 0.8,
    ("hidden", "pinned", 3): 0.2, ("hidden", "adaptive", 3): 0.7,
    ("hidden_changed", "adaptive", 2): 0.5, ("hidden_changed", "first_and_latest", 2): 0.7,
}  # fmt: skip


def made_up(right: bool):
    """Stands for `run_policy`: scores fall in a straight line as `FALL` says, or the other way round."""

    def run_policy(config, seed, kind, memory):
        end = FALL[kind, memory.policy, memory.capacity]
        t = np.arange(config.length)
        grows = (memory.policy == "every_k") == right
        held = 1.0 + (t // 5 if grows else np.minimum(t // 5, 1))
        after = None if kind == "changing" else t[-6:]
        runs = []
        for noise in 0.01 * np.random.default_rng(seed).random(config.clips):
            J = (0.9 - noise - np.linspace(0, end if right else 0.9 - end, config.length))[None]
            runs.append(PolicyRun(J, J, held, 1000 * held, after, 1.0))
        return tuple(runs)

    return run_policy


def worlds(monkeypatch, right):
    monkeypatch.setattr(comparisons, "run_policy", made_up(right))
    rates = (30.0, 20.0, 25.0) if right else (20.0, 30.0, 25.0)
    monkeypatch.setattr(speed, "_speeds", lambda config, seed: rates)


@pytest.mark.parametrize("claim", COMPARED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    worlds(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == HOLDS
    worlds(monkeypatch, right=False)
    if claim.id == "13-short-clips":  # where adaptive is the better, it is not far behind either
        assert measure(claim, "smoke")["verdict"] == HOLDS
        worlds(monkeypatch, right=True)
        monkeypatch.setitem(FALL, ("changing", "adaptive", 2), 0.6)
    assert measure(claim, "smoke")["verdict"] == FAILS


def test_no_run_is_compared_that_no_claim_needs(monkeypatch):
    """Each policy of the table above is asked for, on clips of its kind and at its capacity, and no other."""
    asked = set()
    truth = made_up(True)

    def noting(config, seed, kind, memory):
        asked.add((kind, memory.policy, memory.capacity))
        assert memory.top_k == config.top_k and memory.mem_every == config.mem_every and not memory.include_last
        return truth(config, seed, kind, memory)

    monkeypatch.setattr(comparisons, "run_policy", noting)
    monkeypatch.setattr(speed, "_speeds", lambda config, seed: (3.0, 2.0, 2.5))
    for claim in COMPARED:
        claim.load_experiment()("smoke", 0)
    assert asked == set(FALL)


def test_each_seed_gives_one_value_per_clip(monkeypatch):
    worlds(monkeypatch, right=True)
    for claim in COMPARED:
        first, second = claim.load_experiment()("smoke", 3)
        expected = 1 if "speed" in claim.experiment else CONFIG.clips
        assert first.shape == second.shape == (expected,)


def test_every_claim_names_its_place_in_the_thesis():
    assert {claim.source.author for claim in CLAIMS} == {"A. Pourganjalikhan"}
    controls = {claim.id for claim in CLAIMS if claim.source.kind == "control"}
    assert controls == {"13-lfu-random", "13-lfu-fifo", "13-pinned"}
    for claim in CLAIMS:
        assert claim.id in controls or claim.source.section[:2] in ("3.", "4.")
        assert not (claim.id in controls and claim.published)
