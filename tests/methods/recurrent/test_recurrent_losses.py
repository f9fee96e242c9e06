"""The loss of a clip against numbers worked out by hand, slow versions, and the pitfall of the absent object."""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.recurrent.distance import distance_classes
from course_lib.methods.recurrent.losses import THREE_TERMS, TWO_TERMS, LossConfig, sequence_loss

BALANCED = LossConfig(segmentation=1.0, distance=0.0)
SMALL_BINS = LossConfig(radius=2)


class Scores(NamedTuple):
    logits: Tensor
    distance: Tensor | None = None


def clip(seed, b=2, t=3, h=6, w=7, classes=6, unknown=0.0):
    g = torch.Generator().manual_seed(seed)
    masks = (torch.rand(b, t, 1, h, w, generator=g) < 0.3).float()
    masks[torch.rand(masks.shape, generator=g) < unknown] = 255
    logits = torch.randn(b, t, 1, h, w, generator=g)
    return Scores(logits, torch.randn(b, t, classes, h, w, generator=g)), masks


def test_weights_as_published():
    assert (TWO_TERMS.segmentation, TWO_TERMS.jaccard, TWO_TERMS.distance) == (0.8, 0, 0.2)
    assert (THREE_TERMS.segmentation, THREE_TERMS.jaccard, THREE_TERMS.distance) == (0.6, 0.2, 0.2)
    assert TWO_TERMS.classes == THREE_TERMS.classes == 42
    assert THREE_TERMS.without_distance() == LossConfig(0.6 / 0.8, 0.2 / 0.8, 0.0)


def test_two_terms_by_hand():
    """Four pixels in a row, the last one the object; R = 1, so there are four classes: 0, 1 | 2, 3."""
    masks = torch.tensor([0.0, 0, 0, 1]).view(1, 1, 1, 1, 4)
    logits = torch.tensor([-1.0, 0, 2, 1]).view(1, 1, 1, 1, 4)
    scores = torch.zeros(1, 1, 4, 1, 4)
    scores[0, 0, 2, 0, 3] = 3  # sure of class 2, which is right
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    segmentation = (0.75 * softplus(-1) + 0.25 * (softplus(-1) + softplus(0) + softplus(2))) / 4
    distance = (3 * math.log(4) + math.log(1 + 3 * math.exp(-3))) / 4
    terms = sequence_loss(Scores(logits, scores), masks, LossConfig(radius=1))
    assert set(terms) == {"loss", "segmentation", "distance"}
    assert terms["segmentation"].item() == pytest.approx(segmentation)
    assert terms["distance"].item() == pytest.approx(distance)
    assert terms["loss"].item() == pytest.approx(0.8 * segmentation + 0.2 * distance)


@given(st.integers(0, 1000), st.sampled_from(["sample", "batch"]))
def test_object_and_background_pull_equally(seed, balance):
    _, masks = clip(seed)
    masks[0, 0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    beta = (masks == 0).float().mean()
    assert (beta * (masks == 1).sum()).item() == pytest.approx(((1 - beta) * (masks == 0).sum()).item(), rel=1e-5)
    logits = torch.zeros(masks.shape, requires_grad=True)
    sequence_loss(Scores(logits), masks, LossConfig(1.0, 0.0, 0.0, balance=balance))["loss"].sum().backward()
    up, down = logits.grad[masks == 1].sum().item(), logits.grad[masks == 0].sum().item()
    assert up < 0 and up == pytest.approx(-down, rel=1e-4)


def test_a_frame_that_balances_itself_is_free_while_its_object_is_hidden():
    """The pitfall of equation 6.5 per frame, and its two cures."""
    masks = torch.zeros(1, 2, 1, 8, 8)
    masks[0, 0, 0, :4, :4] = 1  # seen in the first frame, hidden in the second
    honest = torch.where(masks == 1, 9.0, -9.0)
    seeing_things = honest.clone()
    seeing_things[0, 1] = 9.0

    def cost(logits, **how):
        return sequence_loss(Scores(logits), masks, LossConfig(1.0, 0.0, 0.0, **how))["loss"].item()

    assert cost(seeing_things, balance="frame") == cost(honest, balance="frame")
    for cure in ({"balance": "frame", "ceiling": 0.95}, {"balance": "sample"}, {"balance": "batch"}):
        assert cost(seeing_things, **cure) > cost(honest, **cure) + 0.1


def test_what_each_balance_counts():
    masks = torch.zeros(2, 2, 1, 4, 4)
    masks[0, 0, 0, :2] = 1  # 8 of the 64 pixels
    logits = torch.zeros(masks.shape, requires_grad=True)
    weights = {}
    for balance in ("frame", "sample", "batch"):
        config = LossConfig(1.0, 0.0, 0.0, balance=balance)
        (grad,) = torch.autograd.grad(sequence_loss(Scores(logits), masks, config)["loss"].sum(), logits)
        weights[balance] = -2 * 32 * grad[0, 0, 0, 0, 0].item()  # 32 pixels a sample; the slope of -log p at 0 is 1/2
    assert weights == pytest.approx({"frame": 8 / 16, "sample": 24 / 32, "batch": 56 / 64})


@given(st.integers(0, 1000))
def test_samples_are_for_themselves_unless_balanced_over_the_batch(seed):
    scores, masks = clip(seed)
    masks[0, 0, 0, 0] = 1
    alone = [Scores(scores.logits[i : i + 1], scores.distance[i : i + 1]) for i in range(2)]
    for config in (LossConfig(radius=2, balance="sample"), LossConfig(radius=2, balance="frame", jaccard=0.3)):
        both = sequence_loss(scores, masks, config)
        for i in range(2):
            single = sequence_loss(alone[i], masks[i : i + 1], config)
            for name in both:
                torch.testing.assert_close(both[name][i], single[name][0])


@given(st.integers(0, 1000))
def test_longer_clips_of_the_same_frames_cost_the_same(seed):
    scores, masks = clip(seed, unknown=0.1)
    once = sequence_loss(scores, masks, SMALL_BINS)["loss"]
    twice = sequence_loss(Scores(*(x.repeat(1, 2, 1, 1, 1) for x in scores)), masks.repeat(1, 2, 1, 1, 1), SMALL_BINS)
    torch.testing.assert_close(twice["loss"], once)


@given(st.integers(0, 1000))
def test_three_terms_by_the_slow_way(seed):
    scores, masks = clip(seed, unknown=0.2)
    config = LossConfig(0.6, 0.2, 0.2, radius=2)
    terms = sequence_loss(scores, masks, config)
    for i in range(2):
        known, y, p = masks[i] != 255, masks[i] == 1, scores.logits[i].sigmoid()
        overlap, either = (p * y)[known].sum(), (p + y.float() - p * y)[known].sum()
        jaccard = -torch.log((overlap + 1) / (either + 1))
        torch.testing.assert_close(terms["jaccard"][i], jaccard)
        beta = (masks == 0).sum() / (masks != 255).sum()
        costs = F.binary_cross_entropy(p, y.float(), torch.where(y, beta, 1 - beta), reduction="none")[known].mean()
        torch.testing.assert_close(terms["segmentation"][i], costs)
        classes = distance_classes(masks[i, :, 0], 2, 1)
        distance = F.cross_entropy(scores.distance[i], classes)
        torch.testing.assert_close(terms["distance"][i], distance)
        torch.testing.assert_close(terms["loss"][i], 0.6 * costs + 0.2 * jaccard + 0.2 * distance)


def test_unknown_pixels_say_nothing():
    scores, masks = clip(5, unknown=0.3)
    masks[1] = 255
    leaves = Scores(*(x.clone().requires_grad_() for x in scores))
    terms = sequence_loss(leaves, masks, LossConfig(0.6, 0.2, 0.2, radius=2))
    terms["loss"].sum().backward()
    unknown = masks == 255
    assert (leaves.logits.grad[unknown] == 0).all() and (leaves.distance.grad * unknown == 0).all()
    assert (leaves.logits.grad[~unknown] != 0).all()
    assert all(term[1] == 0 for term in terms.values())
    assert terms["loss"].requires_grad and not any(terms[name].requires_grad for name in terms if name != "loss")


def test_the_right_answer_costs_next_to_nothing():
    _, masks = clip(3)
    classes = distance_classes(masks[:, :, 0], 2, 1)
    right = Scores((masks - 0.5) * 60, 60 * F.one_hot(classes, 6).movedim(-1, 2).float())
    for config in (LossConfig(radius=2), LossConfig(0.6, 0.2, 0.2, radius=2)):
        assert (sequence_loss(right, masks, config)["loss"] < 1e-4).all()


def test_a_new_network_pays_more_for_distances_than_for_masks():
    """log 42 against half of log 2, weighted by a mean of β and 1 - β: why both terms are logged."""
    masks = torch.zeros(1, 1, 1, 64, 64)
    masks[..., 16:48, 16:48] = 1
    terms = sequence_loss(Scores(torch.zeros(1, 1, 1, 64, 64), torch.zeros(1, 1, 42, 64, 64)), masks)
    assert terms["distance"].item() == pytest.approx(math.log(42))
    assert terms["segmentation"].item() == pytest.approx(2 * 0.75 * 0.25 * math.log(2))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(half):
    scores, masks = clip(0)
    rounded = Scores(*(x.to(half) for x in scores))
    terms = sequence_loss(rounded, masks, SMALL_BINS)
    expected = sequence_loss(Scores(*(x.float() for x in rounded)), masks, SMALL_BINS)
    assert terms["loss"].dtype == torch.float32 and torch.equal(terms["loss"], expected["loss"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LossConfig(segmentation=-1.0), ">= 0 and not all 0"),
        (lambda: LossConfig(0.0, 0.0, 0.0), "not all 0"),
        (lambda: LossConfig(balance="clip"), "got 'clip'"),
        (lambda: LossConfig(ceiling=0.2), r"\[0.5, 1\], got 0.2"),
        (lambda: LossConfig(radius=2, width=3), "width 3 and radius 2"),
        (lambda: LossConfig(0.0, 0.0, 1.0).without_distance(), "nothing is left"),
        (lambda: sequence_loss(Scores(torch.zeros(1, 2, 3, 3)), torch.zeros(1, 2, 3, 3)), r"\[B, T-1, 1, H, W\]"),
        (lambda: sequence_loss(Scores(torch.zeros(1, 2, 1, 3, 3)), torch.zeros(1, 3, 1, 3, 3)), "frames after the"),
        (lambda: sequence_loss(Scores(clip(0)[0].logits), clip(0)[1]), "got None.*without_distance"),
        (lambda: sequence_loss(*clip(0)), r"= \[2, 3, 42, 6, 7\], got \[2, 3, 6, 6, 7\]"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
