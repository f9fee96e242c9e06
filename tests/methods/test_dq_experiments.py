"""Experiments of lesson 03: groups, sets of constant share, audits; and that the claims say what their rules measure.

Trained systems are made up here, so that the right answer is known; that real ones are trained as they should be is
tested with the training.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import course_lib.methods.spatial_transformer.dq_audits as audits
import course_lib.methods.spatial_transformer.dq_experiments as experiments
from course_lib.claims.bootstrap import FAILS, HOLDS, UNTESTABLE
from course_lib.claims.ledger import measure
from course_lib.claims.lesson03 import CLAIMS
from course_lib.data.scene_batch import SceneBatch
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.dq_audits import audited, constant_share_images, dominant_class
from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.dq_data import salient_images
from course_lib.methods.spatial_transformer.dq_experiments import (
    control_rows,
    group_means,
    groups_by_size,
    mining_rows,
    reward_rows,
)
from course_lib.methods.spatial_transformer.dq_network import shares
from course_lib.methods.spatial_transformer.salient import accepted

SMOKE = DQConfig.preset("smoke")
TESTED = [claim for claim in CLAIMS if claim.experiment]
N = 2400


def test_groups_have_the_same_mixture_of_sizes():
    share = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    group = groups_by_size(share)
    assert torch.bincount(group).tolist() == [50] * 20
    means = group_means(share, group)
    assert means.std() < 0.1 and means.mean() == pytest.approx(100 * share.mean().item())
    assert int(groups_by_size(share[:48]).max()) == 3  # twelve in each at least
    with pytest.raises(InputError, match="got 20 images"):
        groups_by_size(share[:20])
    with pytest.raises(InputError, match=r"\[1, 0, 1\] images"):
        group_means(torch.ones(2), torch.tensor([0, 2]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_every_view_shows_its_object_at_the_same_share(share):
    images = salient_images(SMOKE, "test", 0)
    views = constant_share_images(images, share, seed=0)
    whole = torch.eye(3).expand(len(views), 1, 3, 3)
    seen = shares(views.truth.boxes, whole, views.truth.size, clipped=True)
    torch.testing.assert_close(seen, torch.full_like(seen, share), atol=1e-4, rtol=0)
    assert torch.equal(views.truth.labels, images.truth.labels)
    assert not torch.equal(views.pixels, images.pixels) and views.pixels.shape == images.pixels.shape
    there = images.truth.object_labels >= 0
    assert torch.equal(views.truth.boxes, views.truth.object_boxes[:, 0]) and not views.truth.object_boxes[~there].any()


def test_a_box_goes_with_its_pixels():
    """White where the box is: the share of white pixels is the share."""
    images = salient_images(SMOKE, "test", 0)
    x0, y0, x1, y1 = (edge.long()[:, None, None] for edge in images.truth.boxes.unbind(1))
    row, column = torch.arange(32)[:, None], torch.arange(32)
    inside = (row >= y0) & (row < y1) & (column >= x0) & (column < x1)
    white = replace(images, pixels=255 * inside[:, None].byte())
    seen = constant_share_images(white, 0.5, seed=1)
    assert (seen.pixels.float().mean((1, 2, 3)) / 255 - 0.5).abs().max() < 0.02
    lit = (seen.pixels[:, 0] > 127).float()
    centre = (
        torch.stack([(lit * (column + 0.5)).sum((1, 2)), (lit * (row + 0.5)).sum((1, 2))], 1) / lit.sum((1, 2))[:, None]
    )
    middle = (seen.truth.boxes[:, :2] + seen.truth.boxes[:, 2:]) / 2
    assert (centre - middle).abs().max() < 1


def test_audits_get_overlap_and_a_common_class_and_photographs_stay_as_they_are():
    gpu, cpu = DQConfig.preset("gpu"), audited(DQConfig.preset("cpu"))
    assert audited(gpu) == gpu and dominant_class(gpu) == 14 and dominant_class(cpu) == 0
    assert cpu.scenes.overlap == "allowed" and cpu.scenes.dominant == 0.25 and cpu.test_images == 12_000
    truth = salient_images(replace(cpu, test_images=1000), "test", 0).truth
    assert (truth.labels == 0).float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert all((audits.overlap_groups(truth.overlap) == group).sum() > 100 for group in range(3))


def test_tables_at_smoke_size():
    controls = control_rows(SMOKE)
    assert controls[0].system == "plain classifier" and len(controls) == 3
    rewards = reward_rows(SMOKE, rewards=("share_sign", "share_growth"))
    assert [row.system for row in rewards] == ["share_sign", "share_growth"]
    mined = mining_rows(SMOKE)
    assert len(mined) == 5 and mined[0] == replace(rewards[0], system="no hard mining")
    for row in [*controls, *rewards, *mined]:
        assert 0 <= row.top1 <= row.top2 <= row.any <= 100 and 0 < row.share < 100


# --- a world in which every claim is right, and one in which every claim is wrong


def truth(rng, audit):
    """Objects of one batch; in an audit some overlap and class 0 is often there as a secondary object."""
    labels = torch.from_numpy(rng.integers(1, 10, (N, 3)))
    if audit:
        labels[:, 1] = torch.where(torch.arange(N) % 3 == 0, 0, labels[:, 1])
        labels[:, 2] = 9
        labels[:, 0] = labels[:, 0] % 8 + 1
    overlap = torch.from_numpy(rng.permutation(np.repeat([0.0, 0.2, 0.7], N // 3)))
    return SceneBatch(
        torch.zeros(N, 0, 32, 32), labels[:, 0], torch.zeros(N, 4), torch.zeros(N, 3, 4), labels,
        overlap if audit else torch.zeros(N),
    )  # fmt: skip


def world(monkeypatch, right):
    def draw(rng, share):
        return torch.from_numpy(rng.random(N)) < (share if right else 1 - share)

    def made(seed, share_right, audit=False, gains=0.0):
        rng = np.random.default_rng((seed, 1))
        known = truth(rng, audit)
        size = torch.from_numpy(rng.random(N))
        small = size < size.quantile(1 / 3)
        chance = share_right + gains * small
        if audit:
            chance = 0.9 - 0.3 * (known.overlap > 0) - 0.4 * (known.overlap > 0.4)
        correct = draw(rng, chance)
        wrong = torch.full((N,), 10)  # nobody's class
        if audit:
            present = (known.object_labels[:, 1:] == 0).any(1)
            says_zero = torch.from_numpy(rng.random(N)) < torch.where(
                present, 0.8 if right else 0.0, 0.1 if right else 0.4
            )
            wrong = torch.where(says_zero, 0, 9 if not right else 10)
        predictions = torch.where(correct, known.labels, wrong)
        after = size / 2 + (0.3 if right else 0.05)
        return SimpleNamespace(
            truth=known, correct=accepted(predictions, known.object_labels).top1, predictions=predictions,
            share_before=size / 2, share_after=after, network=None,
        )  # fmt: skip

    def agent(config, seed, reward="share_sign", mining=None):
        if config.scenes.dominant:
            return made(seed, 0.0, audit=True)
        result = made(
            seed, {"share_sign": 0.7, "share_growth": 0.5}.get(reward, 0.6), gains=0.2 * (reward == "share_sign")
        )
        result.correct_before = plain(config, seed).correct
        result.network = reward
        return result

    def plain(config, seed, views="none"):
        return made(seed + 100, {"none": 0.5, "any_length": 0.6}[views])

    def at_constant_share(config, seed, share):
        return made(seed, {0.1: 0.3, 0.5: 0.6, 0.9: 0.9, 1.0: 0.75, 2.0: 0.4}[share])

    def tested(network, images):
        return SimpleNamespace(correct=torch.ones(3) * (network != "share_growth"))

    for room in (experiments, audits):
        monkeypatch.setattr(room, "agent", agent)
    monkeypatch.setattr(experiments, "plain", plain)
    monkeypatch.setattr(experiments, "evaluate_agent", tested)
    monkeypatch.setattr(audits, "at_constant_share", at_constant_share)
    images = SimpleNamespace(truth=SimpleNamespace(share=torch.from_numpy(np.random.default_rng(0).random(N))))
    monkeypatch.setattr(audits, "salient_images", lambda *_: images)
    monkeypatch.setattr(experiments, "salient_parts", lambda *_: (None, None, None))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_a_claim_holds_where_it_is_true_and_fails_where_it_is_not(claim, right, monkeypatch):
    world(monkeypatch, right)
    result = measure(claim, "cpu")
    assert result["verdict"] == (HOLDS if right else FAILS), (claim.id, result["effect"])
    assert result["clips"] <= 3 * 20


def test_what_needs_photographs_says_so():
    left = [claim for claim in CLAIMS if not claim.experiment]
    assert {claim.id for claim in left} == {"03-voc-accuracy", "03-voc-person", "03-hard-mining"}
    assert all(measure(claim, "cpu")["verdict"] == UNTESTABLE for claim in left)


def test_the_budget_and_the_printed_numbers():
    assert sum(claim.minutes for claim in TESTED) <= 40
    assert all(claim.seeds == (10, 11, 12) and claim.lesson == "03" for claim in TESTED)
    gain = next(claim for claim in CLAIMS if claim.id == "03-voc-accuracy").published
    assert gain[0].value - gain[1].value == pytest.approx(1.82)
    assert "standard error" in next(claim for claim in CLAIMS if claim.id == "03-accuracy").note


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.id)
def test_every_experiment_runs_at_smoke_size(claim):
    first, second = claim.load_experiment()("smoke", 0)
    assert first.shape == second.shape and len(first) >= 4 and np.isfinite(first).all() and np.isfinite(second).all()
