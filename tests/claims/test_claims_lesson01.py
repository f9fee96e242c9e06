"""The claims of lesson 01 compare what they say they compare: they hold in a world where they are true, else not.

Trained systems are made up here, so that the right answer is known; that real ones are trained as they should be is
tested with the training.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import course_lib.methods.spatial_transformer.digit_experiments as experiments
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson01 import CLAIMS
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System

TESTED = [claim for claim in CLAIMS if claim.experiment]
CONFIG = DigitTrainingConfig.preset("smoke")
N = 400


def true_accuracy(config, system):
    """Of a world in which every claim is right."""
    if system.transform != "agent":
        return {"none": 0.1, "truth": 0.95, "stn": 0.6}[system.transform]
    if system.critic:
        return 0.9
    if not system.memory:
        return 0.55 if system.previous_action else 0.5
    if config.reward != "loss_decrease":
        return {"accuracy_change": 0.4, "negative_loss": 0.2}[config.reward]
    return {1: 0.2, 3: 0.65, 6: 0.8}[config.episode_length]


def answers(share):
    """Right answers to N images, those of a worse system among those of a better one."""
    return torch.arange(N) < round(N * share)


def world(monkeypatch, right):
    def share(config, system):
        return true_accuracy(config, system) if right else 1 - true_accuracy(config, system)

    def trained(config, seed, system):
        last = answers(share(config, system))
        steps = [answers(0.1 if right else 0.9)] * config.episode_length + [last]
        return SimpleNamespace(correct=last, test=SimpleNamespace(correct=torch.stack(steps, dim=1)))

    def fresh(config, seed):
        return tuple(answers(a if right else 1 - a).double().numpy() for a in (0.1, 0.5, 0.8))

    def noise(preset, seed, baselines):
        assert baselines == ("none", "critic")
        spread = 1 + 0.1 * np.random.default_rng(seed).random(40)
        return [3 * spread, 2 * spread] if right else [2 * spread, 3 * spread]

    monkeypatch.setattr(experiments, "trained", trained)
    monkeypatch.setattr(experiments, "fresh_answers", fresh)
    monkeypatch.setattr(experiments, "gradient_noise", noise)


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_claims_hold_where_they_are_true_and_fail_where_they_are_not(claim, monkeypatch):
    world(monkeypatch, right=True)
    assert measure(claim, "smoke")["verdict"] == HOLDS
    world(monkeypatch, right=False)
    assert measure(claim, "smoke")["verdict"] == FAILS


def test_what_cannot_be_tested_says_why():
    (claim,) = [claim for claim in CLAIMS if not claim.experiment]
    assert claim.id == "01-critic-weak-classifier" and measure(claim, "smoke")["verdict"] == UNTESTABLE
    assert "single runs" in claim.untestable


def test_the_budget_of_the_lesson():
    assert sum(claim.minutes for claim in TESTED) < 45


def test_claims_share_what_they_train(monkeypatch):
    """Seventeen claims ask for eight agents, each trained once."""
    made = []

    def train(system, config, seed, progress):
        made.append((system.label, config.reward, config.episode_length, config.estimator.baseline))
        correct = torch.zeros(4, config.episode_length + 1, dtype=torch.bool)
        return SimpleNamespace(correct=correct[:, -1], test=SimpleNamespace(correct=correct))

    monkeypatch.setattr(experiments, "train_system", train)
    monkeypatch.setattr(experiments, "fresh_answers", lambda config, seed: (np.zeros(4),) * 3)
    monkeypatch.setattr(experiments, "gradient_noise", lambda preset, seed, baselines: [np.ones(4)] * 2)
    experiments.trained.cache_clear()
    for claim in TESTED:
        claim.load_experiment()("smoke", 0)
    experiments.trained.cache_clear()  # of what is made up
    assert len(made) == len(set(made)) == 8 + 3
    assert len([row for row in made if "SSTN" in row[0]]) == 8


def test_fresh_classifiers_learn_from_the_views_they_are_asked_about():
    """At the first moment the views are the raw images, so the fresh classifier is one trained on these."""
    raw, half, last = experiments.fresh_answers(CONFIG, 0)
    assert raw.shape == half.shape == last.shape == (CONFIG.test_images,) and set(raw) <= {0.0, 1.0}
    agent = experiments.trained(CONFIG, 0, System.actor_critic())
    assert agent is experiments.trained(CONFIG, 0, System.actor_critic())
    first, second = experiments.last_and_first_view("smoke", 0)
    assert first.mean() == pytest.approx(agent.accuracy) and second.mean() == pytest.approx(agent.test.accuracy[0])
