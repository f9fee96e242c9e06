"""Six rewards: the worked examples, what adds up over an episode, and what does not."""

import pytest
import torch

from course_lib.methods.spatial_transformer import rewards
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import compose, identity, transport_boxes, true_iou


def test_worked_example_of_the_three_rewards():
    """Losses 2.3, 2.0, 2.1, 1.2 and correctness 0, 1, 0, 1."""
    losses = torch.tensor([2.3, 2.0, 2.1, 1.2])
    correct = torch.tensor([False, True, False, True])
    assert rewards.accuracy_change(correct[:-1], correct[1:]).tolist() == [1, -1, 1]
    assert torch.allclose(rewards.negative_loss(losses[1:]), torch.tensor([-2.0, -2.1, -1.2]))
    assert torch.allclose(rewards.loss_decrease(losses[:-1], losses[1:]), torch.tensor([0.3, -0.1, 0.9]))


def test_worked_example_of_the_rewards_by_share():
    before, after = torch.tensor([0.1993]), torch.tensor([0.3114])
    assert rewards.share_growth(before, after).item() == pytest.approx(0.1121, abs=1e-6)
    assert rewards.share_sign(before, after).item() == 1
    assert rewards.weighted_sum(torch.tensor([0.15]), torch.tensor([1.0])).item() == pytest.approx(0.95)
    assert rewards.weighted_sum(torch.tensor([2.0]), torch.tensor([-1.0]), 0.5, 0.25).item() == pytest.approx(0.75)


def test_zooming_past_the_frame_costs_with_true_iou_only():
    assert rewards.share_sign(torch.tensor([1.0]), torch.tensor([0.64])).item() == -1
    assert rewards.share_sign(torch.tensor([1.0]), torch.tensor([1.0])).item() == 0


def test_what_telescopes():
    g = torch.Generator().manual_seed(0)
    loss = torch.rand(64, 9, generator=g) * 3
    correct = torch.rand(64, 9, generator=g) > 0.5
    share = torch.rand(64, 9, generator=g)

    def total(function, values):
        return function(values[:, :-1], values[:, 1:]).sum(dim=1)

    assert torch.allclose(total(rewards.loss_decrease, loss), loss[:, 0] - loss[:, -1], atol=1e-5)
    assert torch.equal(total(rewards.accuracy_change, correct), correct[:, -1].float() - correct[:, 0].float())
    assert torch.allclose(total(rewards.share_growth, share), share[:, -1] - share[:, 0], atol=1e-5)


def test_the_sign_does_not_telescope():
    """Two small gains and one large loss still earn 1."""
    share = torch.tensor([0.30, 0.31, 0.32, 0.05])
    assert rewards.share_sign(share[:-1], share[1:]).sum() == 1
    assert rewards.share_growth(share[:-1], share[1:]).sum() < 0


def test_loss_itself_pays_for_being_good_early():
    early, late = torch.tensor([0.1, 0.1, 0.1]), torch.tensor([2.0, 2.0, 0.1])
    assert rewards.negative_loss(early).sum() > rewards.negative_loss(late).sum()


def test_the_rounding_of_a_shift_is_not_paid():
    """A box that stays inside the view keeps its share under shifts, to the sign, although its numbers are rounded."""
    actions = ActionSet.salient()
    size, g = (224, 224), torch.Generator().manual_seed(0)
    boxes = torch.rand(2000, 4, generator=g) * 20 + torch.tensor([90.0, 90, 110, 110])
    m = identity(2000)
    before, raw = true_iou(boxes, size), 0
    for _ in range(10):
        m = compose(m, actions.matrices[torch.randint(4, (2000,), generator=g)])
        after = true_iou(transport_boxes(boxes, m, size), size)
        raw += int((after != before).sum())
        assert (rewards.share_sign(before, after) == 0).all()
        before = after
    assert raw > 1000  # without a tolerance, rounding would have been paid that often


def test_one_pixel_is_paid():
    """The least true change, a pixel of 224 x 224, lies above the tolerance."""
    assert 1 / 224**2 > rewards.SIGN_TOLERANCE
    assert rewards.share_sign(torch.tensor([0.1]), torch.tensor([0.1 + 1 / 224**2])).item() == 1
    assert rewards.share_sign(torch.tensor([0.1]), torch.tensor([0.1 - 1 / 224**2])).item() == -1


def test_rewards_carry_no_hidden_scale():
    """Each is [B] in, [B] out, on values of any range."""
    b, a = torch.tensor([1e6, -3.0]), torch.tensor([0.0, 3.0])
    assert rewards.loss_decrease(b, a).tolist() == [1e6, -6.0]
    assert set(rewards.NEEDS_BOXES) & set(rewards.NEEDS_CLASSIFIER) == {"weighted_sum"}
