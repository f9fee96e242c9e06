"""Credit of actions: reward-to-go against its definition, baselines by hand, and what they must not depend on."""

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.returns import (
    advantages,
    batch_mean,
    discount_weights,
    episode_returns,
    printed_discount_weights,
    printed_rewards_to_go,
    rewards_to_go,
)

REWARDS = torch.tensor([[0.3, -0.1, 0.9]], dtype=torch.float64)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_reward_to_go_by_hand():
    expected = torch.tensor([[0.939, 0.71, 0.9]], dtype=torch.float64)
    torch.testing.assert_close(rewards_to_go(REWARDS, 0.9), expected)
    torch.testing.assert_close(episode_returns(REWARDS, 0.9), expected[:, :1].expand(1, 3))
    torch.testing.assert_close(rewards_to_go(REWARDS, 0.0), REWARDS)
    torch.testing.assert_close(rewards_to_go(REWARDS), torch.tensor([[1.1, 0.8, 0.9]], dtype=torch.float64))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_reward_to_go_is_its_definition(gamma, steps):
    rewards = noise(3, steps)
    slow = torch.zeros_like(rewards)
    for b in range(3):
        for t in range(steps):
            for k in range(t, steps):
                slow[b, t] += gamma ** (k - t) * rewards[b, k]
    torch.testing.assert_close(rewards_to_go(rewards, gamma), slow)
    torch.testing.assert_close(rewards @ discount_weights(steps, gamma).mT, slow)


def test_best_return_of_ten_rewarded_steps():
    """Ten rewards of 1 at gamma 0.95 are worth (1 - 0.95**10) / 0.05 = 8.025."""
    assert rewards_to_go(torch.ones(1, 10), 0.95)[0, 0].item() == pytest.approx(8.025, abs=1e-3)


def test_the_past_does_not_count():
    rewards, changed = noise(2, 6), noise(2, 6)
    changed[:, :3] += 5
    torch.testing.assert_close(rewards_to_go(changed, 0.9)[:, 3:], rewards_to_go(rewards, 0.9)[:, 3:])


def test_printed_weights_start_at_0_599_and_right_ones_at_1():
    right, printed = discount_weights(10, 0.95), printed_discount_weights(10, 0.95)
    assert right[0, 0].item() == 1 and printed[0, 0].item() == pytest.approx(0.599, abs=5e-4)
    assert (right[0].diff() < 0).all()  # the latest reward counts least
    assert (printed[0].diff() > 0).all()  # printed: most
    assert (right.tril(-1) == 0).all() and (printed.tril(-1) == 0).all()


def test_printed_reward_to_go_is_right_only_at_gamma_1():
    rewards = noise(4, 7)
    torch.testing.assert_close(printed_rewards_to_go(rewards, 1.0), rewards_to_go(rewards, 1.0))
    assert (printed_rewards_to_go(rewards, 0.9) - rewards_to_go(rewards, 0.9)).abs().max() > 0.1
    # 0.9**3 * 0.3 - 0.9**2 * 0.1 + 0.9 * 0.9
    assert printed_rewards_to_go(REWARDS, 0.9)[0, 0].item() == pytest.approx(0.2187 - 0.081 + 0.81)


def test_batch_mean_by_hand():
    returns = torch.tensor([[1.0, 4.0], [2.0, 0.0], [6.0, 2.0]])
    torch.testing.assert_close(batch_mean(returns), torch.tensor([[3.0, 2.0]]).expand(3, 2))
    others = torch.tensor([[4.0, 1.0], [3.5, 3.0], [1.5, 2.0]])
    torch.testing.assert_close(batch_mean(returns, leave_one_out=True), others)


def test_leaving_one_out_makes_the_baseline_blind_to_its_own_episode():
    returns = noise(5, 4)
    changed = returns.clone()
    changed[2] += 100
    before, after = batch_mean(returns, leave_one_out=True), batch_mean(changed, leave_one_out=True)
    torch.testing.assert_close(after[2], before[2])
    assert not torch.allclose(after[1], before[1]) and not torch.allclose(batch_mean(changed)[2], before[2])


def test_advantages_carry_no_gradient():
    returns, baseline = noise(3, 4).requires_grad_(), noise(3, 4).add(1).requires_grad_()
    advantage = advantages(returns, baseline)
    assert not advantage.requires_grad
    torch.testing.assert_close(advantage, (returns - baseline).detach())


def test_normalised_advantages_do_not_depend_on_the_scale_of_rewards():
    returns = noise(8, 5)
    advantage = advantages(returns, normalise=True)
    assert advantage.mean().item() == pytest.approx(0, abs=1e-12)
    assert advantage.std(correction=0).item() == pytest.approx(1)
    torch.testing.assert_close(advantages(1000 * returns + 7, normalise=True), advantage)
    assert (advantages(torch.ones(2, 3), normalise=True) == 0).all()  # nothing was better: nothing is learnt, no NaN


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rewards_to_go(REWARDS, 1.5), "discount between 0 and 1, got 1.5"),
        (lambda: printed_rewards_to_go(REWARDS, -0.1), "discount between 0 and 1"),
        (lambda: rewards_to_go(REWARDS[0], 0.9), r"\[episodes, steps\].*\[3\]; stack the steps"),
        (lambda: rewards_to_go(torch.ones(2, 3, dtype=torch.int64)), "floating-point.*int64"),
        (lambda: rewards_to_go(torch.zeros(2, 0)), r"\[2, 0\]"),
        (lambda: batch_mean(REWARDS), "at least 2, got 1"),
        (lambda: advantages(REWARDS, torch.zeros(3, 1)), r"baseline should be \[1, 3\].*got \[3, 1\]"),
        (lambda: advantages(REWARDS, torch.zeros(3)), "baseline should be"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
