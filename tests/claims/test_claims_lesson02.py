"""The claims of lesson 02 compare what they say they compare, and pay for each classifier once.

Results are made up in the first part, so that the right answer is known; the second part runs the real
thing, tiny, with an agent that has learnt nothing.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import course_lib.methods.spatial_transformer.curriculum_experiments as experiments
from course_lib.claims.bootstrap import FAILS, HOLDS
from course_lib.claims.ledger import measure
from course_lib.claims.lesson02 import CLAIMS
from course_lib.data.digits import ClutterConfig
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.curriculum_schemes import CurriculumConfig
from course_lib.methods.spatial_transformer.networks import BodyConfig
from course_lib.methods.spatial_transformer.policies import AgentConfig, Policy

# Share of test images that are right where all claims are: by scheme, teacher and most moves.
TRUE = {
    ("originals", "agent", None): 0.60, ("augmented", "agent", None): 0.65, ("processed", "agent", None): 0.20,
    ("mixed 4", "agent", None): 0.63, ("mixed 32", "agent", None): 0.55, ("dynamic", "agent", None): 0.70,
    ("linear", "agent", None): 0.75, ("exponential", "agent", None): 0.72, ("cosine", "agent", None): 0.66,
    ("linear", "agent", 1): 0.66, ("linear", "agent", 6): 0.75, ("linear", "agent", 2): 0.75,
    ("linear", "oracle", None): 0.80, ("linear", "wanderer", None): 0.62,
}  # fmt: skip
SIDE = 20
TINY = replace(
    CurriculumConfig.preset("smoke"), clutter=ClutterConfig(canvas=SIDE, n_clutter=2, clutter_size=3, sprite=10),
    body=BodyConfig((4,), (3,), 2, 1, 8), shift=2.0,
)  # fmt: skip


def made_up(monkeypatch, right):
    def scheme_run(config, seed, name, teacher="agent", longest=None):
        share = TRUE[name, teacher, longest if longest != config.longest // 2 else 6]
        share = share if right else 1 - share
        correct = torch.arange(1000) % 100 < round(100 * share) + seed % 3
        return SimpleNamespace(correct=correct, classifier=None)

    easy = torch.arange(1000) % 100 < (90 if right else 30)
    monkeypatch.setattr(experiments, "scheme_run", scheme_run)
    monkeypatch.setattr(experiments, "data_of", lambda config, seed: SimpleNamespace(test=None))
    monkeypatch.setattr(experiments, "held_out_episodes", lambda config, seed: SimpleNamespace(after=lambda t: None))
    monkeypatch.setattr(experiments, "classified", lambda model, images, matrices: easy)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    made_up(monkeypatch, right=True)
    assert measure(claim, "cpu")["verdict"] == HOLDS
    if claim.id == "02-moves-saturate":  # equal in both worlds
        return
    made_up(monkeypatch, right=False)
    assert measure(claim, "cpu")["verdict"] == FAILS


def test_moves_saturate_fails_where_more_moves_go_on_helping(monkeypatch):
    claim = next(claim for claim in CLAIMS if claim.id == "02-moves-saturate")
    monkeypatch.setitem(TRUE, ("linear", "agent", 6), 0.70)
    made_up(monkeypatch, right=True)
    assert measure(claim, "cpu")["verdict"] == FAILS


def test_claims_c11_to_c16_are_all_there():
    tables = {claim.source.table for claim in CLAIMS if claim.published}
    assert tables == {"5.3", "5.4", "5.5", "5.6"}
    assert len({claim.fingerprint for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.note for claim in CLAIMS)
    assert sum(claim.minutes for claim in CLAIMS) <= 40


@pytest.fixture
def untrained_agent(monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = Policy(AgentConfig(TINY.body, memory=4), (1, SIDE, SIDE), 8)
    monkeypatch.setattr(experiments, "agent_of", lambda config: (policy, ActionSet.curriculum(SIDE, 2.0)))
    for cached in (experiments.scheme_run, experiments.train_episodes, experiments.held_out_episodes):
        cached.cache_clear()


def test_every_experiment_runs_and_each_classifier_is_trained_once(untrained_agent, monkeypatch):
    trained = []
    train = experiments.train_scheme

    def counting(scheme, config, data, episodes, seed):
        trained.append((scheme.name, tuple(id(e) for e in episodes)))
        return train(scheme, config, data, episodes, seed, device="cpu")

    monkeypatch.setattr(experiments, "train_scheme", counting)
    for claim in CLAIMS:
        pair = claim.load_experiment()(TINY, 10)
        assert all(row.shape == (experiments.GROUPS,) and np.isfinite(row).all() for row in pair), claim.id
        assert all((row >= 0).all() and (row <= 100).all() for row in pair)
    assert len(trained) == len(set(trained)) == 12  # T is 3 here, so half of the moves is one


def test_teachers_show_different_views(untrained_agent):
    oracle, agent, wanderer = (experiments.train_episodes(TINY, 10, t)[0] for t in ("oracle", "agent", "wanderer"))
    assert oracle.longest == agent.longest == wanderer.longest == TINY.longest
    assert not torch.equal(oracle.moves, agent.moves) and not torch.equal(agent.moves, wanderer.moves)
    several = experiments.train_episodes(replace(TINY, episodes=2), 10, "agent")
    assert len(several) == 2 and not torch.equal(several[0].moves, several[1].moves)
    with pytest.raises(InputError, match="agent, oracle, wanderer; got 'pupil'"):
        experiments.train_episodes(TINY, 10, "pupil")


def test_an_agent_that_is_missing_or_does_not_fit_is_named(tmp_path):
    with pytest.raises(InputError, match="images of 40 pixels, here they have 20"):
        experiments.agent_of(TINY)
    with pytest.raises(MissingDataError, match=r"none\.safetensors"):
        experiments.agent_of(replace(CurriculumConfig.preset("cpu"), agent_weights=tmp_path / "none.safetensors"))
    with pytest.raises(MissingDataError, match="the agents that ship were trained at preset 'cpu'"):
        experiments.agent_of(CurriculumConfig.preset("gpu"))
