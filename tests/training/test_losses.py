"""Losses against slow versions, PyTorch's own, and numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.training.losses import balanced_bce, bootstrapped_cross_entropy, dice, object_weight, soft_jaccard


def scene(seed, b=3, c=3, h=6, w=7, ignored=0.3):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, c, h, w, generator=g)
    labels = torch.randint(0, c, (b, h, w), generator=g, dtype=torch.uint8)
    return logits, labels.masked_fill(torch.rand(b, h, w, generator=g) < ignored, 255)


def slow_bootstrapped(logits, labels, share):
    """One sample and one pixel after the other."""
    out = []
    for x, y in zip(logits, labels):
        pixels = [
            -math.log(x[:, i, j].softmax(0)[int(y[i, j])])
            for i in range(y.shape[0])
            for j in range(y.shape[1])
            if y[i, j] != 255
        ]
        keep = max(1, math.floor(share * len(pixels) + 1e-9))
        out.append(sum(sorted(pixels, reverse=True)[:keep]) / keep if pixels else 0.0)
    return torch.tensor(out)


@given(st.integers(0, 1000), st.sampled_from([0.05, 0.15, 0.4, 0.575, 1.0]), st.sampled_from([0.0, 0.3, 0.95]))
def test_bootstrapped_cross_entropy_is_the_slow_one(seed, share, ignored):
    logits, labels = scene(seed, ignored=ignored)
    ours = bootstrapped_cross_entropy(logits, labels, share)
    torch.testing.assert_close(ours, slow_bootstrapped(logits, labels, share), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 1000))
def test_with_all_pixels_it_is_cross_entropy(seed):
    logits, labels = scene(seed)
    for i in range(len(logits)):
        reference = F.cross_entropy(logits[i : i + 1], labels[i : i + 1].long(), ignore_index=255)
        torch.testing.assert_close(bootstrapped_cross_entropy(logits, labels)[i], reference)


@given(st.integers(0, 1000), st.floats(0.03, 1), st.floats(0.03, 1))
def test_fewer_pixels_are_harder_pixels(seed, a, b):
    logits, labels = scene(seed, ignored=0)
    few, many = (bootstrapped_cross_entropy(logits, labels, share) for share in sorted((a, b)))
    assert (few >= many - 1e-6).all()


def test_pixels_kept_in_a_published_crop():
    logits = torch.zeros(1, 2, 384, 384, requires_grad=True)
    labels = torch.randint(0, 2, (1, 384, 384), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    bootstrapped_cross_entropy(logits + torch.randn(logits.shape), labels, 0.15).sum().backward()
    assert int((logits.grad[0, 0] != 0).sum()) == 22_118


@given(st.integers(0, 1000), st.sampled_from([0.15, 1.0]))
def test_a_sample_does_not_see_the_others(seed, share):
    logits, labels = scene(seed, b=4)
    whole = bootstrapped_cross_entropy(logits, labels, share)
    halves = [bootstrapped_cross_entropy(logits[s], labels[s], share) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(whole, torch.cat(halves), rtol=0, atol=1e-7)


def test_clips_are_scored_over_all_their_frames():
    logits, labels = scene(3, b=1, h=8)
    clip = logits.unflatten(2, (2, 4)), labels.unflatten(1, (2, 4))  # [1, C, 2, 4, W], [1, 2, 4, W]
    torch.testing.assert_close(bootstrapped_cross_entropy(*clip, 0.4), bootstrapped_cross_entropy(logits, labels, 0.4))


def test_a_sample_without_labels_costs_nothing_and_has_a_gradient():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = bootstrapped_cross_entropy(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8), 0.5)
    loss.sum().backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_soft_jaccard_and_dice_by_hand():
    s, m = torch.tensor([0.9, 0.6, 0.2, 0.1]).view(1, 1, 2, 2), torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2)
    assert soft_jaccard(s, m, smooth=0).item() == pytest.approx(1 - 1.5 / 2.3)  # 0.34783
    assert dice(s, m, smooth=0).item() == pytest.approx(1 - 3 / 3.8)
    assert soft_jaccard(s, m).item() == pytest.approx(1 - 2.5 / 3.3)
    assert dice(s, m).item() == pytest.approx(1 - 4 / 4.8)
    nothing = torch.zeros(1, 1, 2, 2)
    assert soft_jaccard(nothing, nothing).item() == dice(nothing, nothing).item() == 0


@given(st.integers(0, 1000))
def test_dice_follows_from_jaccard(seed):
    g = torch.Generator().manual_seed(seed)
    p, m = torch.rand(2, 3, 5, 5, generator=g), (torch.rand(2, 3, 5, 5, generator=g) > 0.5).float()
    jaccard = 1 - soft_jaccard(p[:, :1], m[:, :1], smooth=0)
    torch.testing.assert_close(1 - dice(p[:, :1], m[:, :1], smooth=0), 2 * jaccard / (1 + jaccard))
    exists = torch.tensor([[True, False, True], [False, False, False]])
    for loss in (soft_jaccard, dice):
        mean = (loss(p[:, :1], m[:, :1]) + loss(p[:, 2:], m[:, 2:])) / 2
        torch.testing.assert_close(loss(p, m, exists), torch.stack([mean[0], torch.tensor(0.0)]))


@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_balanced_bce_gives_both_classes_the_same_weight(seed, share):
    g = torch.Generator().manual_seed(seed)
    targets = (torch.rand(1, 2, 8, 8, generator=g) < share).float()
    targets[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    balanced_bce(logits, targets, ceiling=1.0).sum().backward()
    object_pull, background_pull = logits.grad[targets == 1].sum(), logits.grad[targets == 0].sum()
    assert object_pull.item() == pytest.approx(-background_pull.item(), rel=1e-4)


def test_balanced_bce_by_hand():
    logits, targets = torch.tensor([[0.0, 2.0, -1.0, 3.0, 9.0]]), torch.tensor([[1.0, 0, 0, 0, 255]])
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = (0.75 * softplus(0) + 0.25 * (softplus(2) + softplus(-1) + softplus(3))) / 4
    assert balanced_bce(logits, targets).item() == pytest.approx(expected)


def test_an_absent_object_is_not_free():
    logits, targets = torch.full((1, 16), 5.0), torch.zeros(1, 16)
    assert balanced_bce(logits, targets).item() == pytest.approx(0.05 * math.log1p(math.exp(5)), rel=1e-5)
    assert balanced_bce(logits, targets, ceiling=1.0).item() == 0  # what the ceiling is for


def test_object_weight_by_hand():
    small = torch.zeros(1, 64, 64)
    small[0, 8:16, 8:16] = 1
    assert object_weight(small, ceiling=1.0).item() == 0.984375
    assert object_weight(small).item() == pytest.approx(0.95)
    two = torch.tensor([[1, 0, 0, 0, 255], [1, 1, 1, 255, 255]], dtype=torch.uint8)
    assert object_weight(two).tolist() == pytest.approx([0.75, 0])
    assert object_weight(two, over="batch").tolist() == pytest.approx([3 / 7, 3 / 7])


@given(st.integers(0, 1000))
def test_over_the_batch_is_over_one_long_sample(seed):
    g = torch.Generator().manual_seed(seed)
    logits, targets = torch.randn(4, 3, 5, generator=g), (torch.rand(4, 3, 5, generator=g) < 0.2).float()
    targets[0] = 0
    whole = balanced_bce(logits.view(1, -1), targets.view(1, -1))
    torch.testing.assert_close(balanced_bce(logits, targets, over="batch").mean(), whole[0])


def test_a_batch_punishes_what_is_not_there_even_without_a_ceiling():
    logits, targets = torch.full((2, 16), 5.0), torch.zeros(2, 16)
    targets[1, :4] = 1
    assert balanced_bce(logits, targets, ceiling=1.0)[0] == 0
    assert balanced_bce(logits, targets, ceiling=1.0, over="batch")[0] == pytest.approx(
        4 / 32 * math.log1p(math.exp(5)), rel=1e-5
    )


def test_gradients():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 3, 3, dtype=torch.float64, generator=g, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3, 3), generator=g)
    masks = F.one_hot(labels, 3).movedim(-1, 1).double()
    assert torch.autograd.gradcheck(lambda x: bootstrapped_cross_entropy(x, labels.to(torch.uint8), 0.5), x)
    assert torch.autograd.gradcheck(lambda x: soft_jaccard(x.sigmoid(), masks), x)
    assert torch.autograd.gradcheck(lambda x: dice(x.sigmoid(), masks), x)
    assert torch.autograd.gradcheck(lambda x: balanced_bce(x, masks), x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: bootstrapped_cross_entropy(*scene(0), share=0.0), r"in \(0, 1\], got 0.0"),
        (lambda: bootstrapped_cross_entropy(scene(0)[0], scene(0, h=5)[1]), r"do not fit: \[3, 3, 6, 7\], \[3, 5, 7\]"),
        (lambda: dice(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)), r"both be \[B, K, …\]"),
        (
            lambda: soft_jaccard(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.ones(2, 1, dtype=torch.bool)),
            "objects must be",
        ),
        (lambda: balanced_bce(torch.zeros(1, 2), torch.zeros(1, 3)), "agree in shape"),
        (lambda: balanced_bce(torch.zeros(1, 2), torch.zeros(1, 2), ceiling=0.4), "ceiling"),
        (lambda: balanced_bce(torch.zeros(1, 2), torch.zeros(1, 2), over="clip"), "'sample' or 'batch', got 'clip'"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
