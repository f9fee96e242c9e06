"""The bandit explorer: its two formulas are those of the library's bandit."""

import json
import re

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.bandit import Bandit, gradient_samples
from course_lib.viz.widgets import BanditExplorer


def logits_of(probability: float) -> torch.Tensor:
    return torch.tensor([probability, 1 - probability], dtype=torch.float64).log()


def test_the_example_of_two_equally_likely_arms():
    shown = BanditExplorer((10, 11), 0.5)
    assert (shown.mean, shown.variance) == (-0.25, 27.5625)
    shown.baseline = 10.5
    assert (shown.mean, shown.variance) == (-0.25, 0)
    assert shown.best_baseline == shown.expected_reward == 10.5


@pytest.mark.parametrize("probability", [0.01, 0.2, 0.5, 0.93])
@pytest.mark.parametrize(("baseline", "noise"), [(0.0, 0.0), (3.5, 0.0), (-2.0, 1.5), (12.0, 4.0)])
def test_moments_are_those_of_the_bandit(probability, baseline, noise):
    bandit = Bandit(torch.tensor([4.0, 12.0], dtype=torch.float64), noise)
    mean, variance = bandit.gradient_moments(logits_of(probability), baseline)
    shown = BanditExplorer((4, 12), probability, baseline, noise)
    assert shown.mean == pytest.approx(float(mean[0]))
    assert shown.variance == pytest.approx(float(variance[0]))
    assert shown.best_baseline == pytest.approx(float(bandit.best_baseline(logits_of(probability))))
    assert shown.expected_reward == pytest.approx(float(bandit.expected_reward(logits_of(probability))))


def test_many_episodes_have_this_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    bandit = Bandit(torch.tensor([1.0, 3.0], dtype=torch.float64), noise=0.5)
    arms = (torch.rand(200_000, generator=generator) > 0.3).long()
    samples = gradient_samples(logits_of(0.3), arms, bandit.pull(arms, generator), baseline=2.0)[:, 0]
    shown = BanditExplorer((1, 3), 0.3, 2, 0.5)
    assert float(samples.mean()) == pytest.approx(shown.mean, abs=0.01)
    assert float(samples.var()) == pytest.approx(shown.variance, rel=0.02)


def test_no_baseline_beats_the_best_one_and_noise_is_what_it_leaves():
    shown = BanditExplorer((4, 12), 0.2, noise=1.5)
    assert shown.best_baseline == pytest.approx(0.8 * 4 + 0.2 * 12) and shown.expected_reward == pytest.approx(10.4)
    least = shown.variance_at(shown.best_baseline)
    assert least == pytest.approx(0.2 * 0.8 * 1.5**2)
    assert all(shown.variance_at(b / 4) >= least for b in range(-16, 65))
    assert shown.variance_at(shown.expected_reward) > shown.variance_at(8.0)  # the expected reward is not the best


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.0}, r"probability must lie in 0.01 … 0.99, got 1"),
        ({"rewards": (10, 20)}, r"reward_1 must lie in -4 … 16, got 20"),
        ({"baseline": -5.0}, "baseline must lie in -4 … 16"),
        ({"noise": 6.0}, "noise must lie in 0 … 5"),
        ({"noise": float("nan")}, "noise must lie"),
        ({"reward_range": (1.0, 2.0)}, "from at most 0"),
        ({"names": ("only",)}, "two names"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        BanditExplorer(**settings)


def test_a_bad_turn_leaves_the_dial_where_it_was():
    shown = BanditExplorer()
    with pytest.raises(InputError, match="baseline"):
        shown.baseline = 99.0
    assert shown.baseline == 0


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = BanditExplorer((1, 2), 0.25, baseline=1.5, names=("left", "right"), reward_range=(0, 3))
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"reward_0": 1, "reward_1": 2, "probability": 0.25, "baseline": 1.5, "noise": 0}
    assert embedded["range"] == [0, 3] and embedded["names"] == ["left", "right"]
    alt = re.search(r'alt="([^"]*)"', html)[1]
    assert "mean -0.188" in alt and "variance 0.01172" in alt
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and "Run this cell" in data["text/plain"]
    assert shown.kilobytes < 35
