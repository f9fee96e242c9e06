"""The interval must hold the truth as often as it says, and be exact where the answer can be worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from course_lib.claims.bootstrap import FAILS, HOLDS, INCONCLUSIVE, Interval, paired_bootstrap, verdict
from course_lib.errors import InputError


def coverage(clips, seeds, n, seed_spread, clip_spread, noise, runs=150):
    """Share of simulated experiments with true effect 1 whose interval holds it."""
    rng = np.random.default_rng(0)
    hits = 0
    for run in range(runs):
        table = 1 + noise * rng.normal(size=(seeds, n)) + seed_spread * rng.normal(size=(seeds, 1))
        if clips == "same":
            table += clip_spread * rng.normal(size=(1, n))
        interval = paired_bootstrap(table, clips=clips, resamples=400, seed=run)
        hits += interval.low <= 1 <= interval.high
    return hits / runs


@pytest.mark.parametrize(
    ("clips", "seeds", "n", "seed_spread", "clip_spread", "noise"),
    [
        ("own", 3, 4, 2.0, 0.0, 1.0),  # seeds differ most: where a plain bootstrap of three seeds reaches 79 %
        ("own", 3, 8, 0.0, 0.0, 1.0),  # seeds do not differ at all
        ("own", 5, 6, 2.0, 0.0, 1.0),
        ("own", 12, 8, 0.5, 0.0, 1.0),
        ("same", 3, 8, 0.0, 1.0, 0.3),  # clips differ most
        ("same", 5, 6, 1.0, 1.0, 0.3),
        ("same", 12, 12, 2.0, 1.0, 0.3),
        ("same", 3, 60, 0.0, 1.0, 1.0),  # seeds do not differ, clips and what clips and seeds do together
        ("same", 3, 60, 0.3, 1.0, 1.0),
    ],
)
def test_coverage(clips, seeds, n, seed_spread, clip_spread, noise):
    assert coverage(clips, seeds, n, seed_spread, clip_spread, noise) >= 0.91  # 95 % less two standard errors


def test_same_clips_treated_as_own_would_be_far_too_sure():
    rng = np.random.default_rng(1)
    hits = 0
    for run in range(100):
        table = 1 + rng.normal(size=(1, 8)) + 0.2 * rng.normal(size=(12, 8))
        interval = paired_bootstrap(table, clips="own", resamples=300, seed=run)
        hits += interval.low <= 1 <= interval.high
    assert hits < 75


def test_many_seeds_of_one_clip_give_the_normal_interval():
    x = np.random.default_rng(2).normal(3, 2, size=(400, 1))
    interval = paired_bootstrap(x, resamples=4000)
    half = stats.norm.isf(0.025) * x.std() / np.sqrt(400)
    assert interval.mean == pytest.approx(x.mean())
    assert interval.low == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_two_seeds_by_hand():
    # One clip each, 0 and 1: resampled means are 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so the percentiles are 0 and 1,
    # and the widening is sqrt(2) * t(0.975; 1 degree of freedom) / 1.96 = sqrt(2) * 12.7062 / 1.95996.
    interval = paired_bootstrap([[0.0], [1.0]])
    half = 0.5 * np.sqrt(2) * 12.7062 / 1.95996
    assert interval.mean == 0.5
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-4)


def test_seeds_count_alike_however_many_clips_they_have():
    assert paired_bootstrap([[1.0], [0.0] * 9]).mean == 0.5


def test_equal_differences_leave_no_doubt():
    interval = paired_bootstrap(np.full((3, 4), 0.25))
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.25, 0.25)
    assert verdict(interval, "greater") == HOLDS
    assert verdict(paired_bootstrap(np.zeros((3, 4))), "greater") == INCONCLUSIVE


def test_shift_scale_and_sign_carry_over():
    x = np.random.default_rng(3).normal(size=(4, 5))
    for clips in ("own", "same"):
        one = paired_bootstrap(x, clips=clips)
        two = paired_bootstrap(10 - 3 * x, clips=clips)
        assert two.mean == pytest.approx(10 - 3 * one.mean)
        assert (two.low, two.high) == pytest.approx((10 - 3 * one.high, 10 - 3 * one.low))


def test_wider_level_wider_interval_and_same_seed_same_interval():
    x = np.random.default_rng(4).normal(size=(5, 6))
    narrow, wide = paired_bootstrap(x, level=0.8), paired_bootstrap(x, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert paired_bootstrap(x) == paired_bootstrap(x)
    assert paired_bootstrap(x) != paired_bootstrap(x, seed=1)


def test_agrees_with_the_obvious_resampling():
    x = np.random.default_rng(5).normal(size=(4, 6)) + np.arange(4)[:, None]
    rng = np.random.default_rng(6)
    means = []
    for _ in range(4000):
        rows = [x[s, rng.integers(6, size=6)].mean() for s in rng.integers(4, size=4)]
        means.append(np.mean(rows))
    low, high = np.quantile(means, [0.025, 0.975])
    wider = np.sqrt(4 / 3) * stats.t.isf(0.025, 3) / stats.norm.isf(0.025)
    interval = paired_bootstrap(x, resamples=20_000)
    expected = x.mean() + (np.array([low, high]) - x.mean()) * wider
    assert np.allclose([interval.low, interval.high], expected, atol=0.05 * (expected[1] - expected[0]))


def test_doubt_about_seeds_and_doubt_about_clips_add_up_as_variances_do():
    """With many of both the interval is the normal one of two variances, and each alone is that of a simple mean."""
    rng = np.random.default_rng(7)
    seeds, clips = rng.normal(0, 1.0, (80, 1)), rng.normal(0, 2.0, (1, 200))
    half = stats.norm.isf(0.025) * np.sqrt(seeds.var() / 80 + clips.var() / 200)
    interval = paired_bootstrap(seeds + clips, clips="same", resamples=4000)
    assert [interval.high - interval.mean, interval.mean - interval.low] == pytest.approx([half, half], rel=0.1)
    alone = paired_bootstrap(seeds + np.zeros((1, 200)), clips="same", resamples=4000)
    one_clip = paired_bootstrap(seeds, clips="same", resamples=4000)
    assert (alone.low, alone.high) == pytest.approx((one_clip.low, one_clip.high))
    three = np.zeros((3, 1)) + clips  # three seeds that agree: clips are many, so nothing is widened much
    sure = paired_bootstrap(three, clips="same", resamples=4000)
    assert sure.high - sure.low == pytest.approx(2 * 1.972 * clips.std() / np.sqrt(199), rel=0.1)


@pytest.mark.parametrize(
    ("differences", "settings", "message"),
    [
        ([[1.0, 2.0]], {}, "at least two"),
        ([[1.0], []], {}, "at least one difference"),
        ([[1.0], [np.nan]], {}, "NaN or infinite"),
        ([[1.0], [np.inf]], {}, "NaN or infinite"),
        ([[1.0], [1.0, 2.0]], {"clips": "same"}, r"same number, got \[1, 2\]"),
        ([[1.0], [2.0]], {"clips": "mixed"}, "clips must be 'own' or 'same', got 'mixed'"),
        ([[1.0], [2.0]], {"level": 95}, "level between 0 and 1"),
    ],
)
def test_bad_input(differences, settings, message):
    with pytest.raises(InputError, match=message):
        paired_bootstrap(differences, **settings)


@pytest.mark.parametrize(
    ("low", "high", "greater", "less"),
    [
        (0.1, 0.3, HOLDS, FAILS),
        (-0.3, -0.1, FAILS, HOLDS),
        (-0.1, 0.3, INCONCLUSIVE, INCONCLUSIVE),
        (0.0, 0.3, INCONCLUSIVE, INCONCLUSIVE),  # touching the threshold is not beyond it
        (-0.3, 0.0, INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_verdict(low, high, greater, less):
    interval = Interval((low + high) / 2, low, high)
    assert verdict(interval, "greater") == greater
    assert verdict(interval, "less") == less
    moved = Interval(interval.mean + 5, low + 5, high + 5)
    assert verdict(moved, "greater", threshold=5) == greater
    with pytest.raises(InputError, match="direction"):
        verdict(interval, "up")
