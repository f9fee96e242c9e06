"""Schedules: published values, hand-computed ones, and what holds for every run."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.training.schedules import LearningRate, frame_gap, hard_pixel_share, lines, stairs

progress = st.floats(0, 1)


@pytest.mark.parametrize(
    ("step", "share"), [(0, 1.0), (10_000, 1.0), (20_000, 1.0), (45_000, 0.575), (70_000, 0.15), (300_000, 0.15)]
)
def test_hard_pixel_share_at_published_steps(step, share):
    assert hard_pixel_share(step) == pytest.approx(share)


@pytest.mark.parametrize(
    ("at", "gap"),
    [(0, 5), (0.099, 5), (0.1, 10), (0.2, 15), (0.3, 20), (0.4, 25), (0.5, 25), (0.899, 25), (0.9, 5), (1, 5)],
)
def test_frame_gap_widens_in_four_stairs_and_goes_back(at, gap):
    assert frame_gap(at) == gap


@given(progress, st.integers(1, 5), st.integers(0, 30))
def test_frame_gap_stays_in_its_range(at, narrowest, more):
    assert narrowest <= frame_gap(at, narrowest + more, narrowest) <= narrowest + more


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6, unique=True).map(sorted), st.data())
def test_lines_meet_their_knots_and_stay_between_neighbours(xs, data):
    knots = [(x, data.draw(st.floats(-3, 3))) for x in xs]
    for x, value in knots:
        assert lines(x, knots) == pytest.approx(value)
        assert stairs(x, knots) == value
    x = data.draw(st.floats(xs[0], xs[-1]))
    i = max(k for k in range(len(xs)) if xs[k] <= x)
    neighbours = [value for _, value in knots[i : i + 2]]
    assert min(neighbours) - 1e-9 <= lines(x, knots) <= max(neighbours) + 1e-9
    assert lines(xs[0] - 1, knots) == knots[0][1] and lines(xs[-1] + 1, knots) == knots[-1][1]


def test_learning_rates_by_hand():
    at = lambda rate: [rate.factor(step, 100) for step in (0, 25, 50, 99)]  # noqa: E731
    assert at(LearningRate()) == [1, 1, 1, 1]
    assert at(LearningRate("step")) == pytest.approx([1, 1, 0.1, 0.1])
    assert at(LearningRate("step", drops=(0.25, 0.5), gamma=0.5)) == pytest.approx([1, 0.5, 0.25, 0.25])
    assert at(LearningRate("poly")) == pytest.approx([1, 0.75**0.9, 0.5**0.9, 0.01**0.9])
    assert at(LearningRate("cosine", floor=0.2))[:3] == pytest.approx([1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6])
    warm = LearningRate("poly", warmup=0.04, power=1.0)
    assert [warm.factor(step, 100) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1 - 1 / 96])


@given(st.sampled_from(["constant", "step", "poly", "cosine"]), st.floats(0, 0.9), st.integers(1, 300), st.data())
def test_the_learning_rate_is_a_share_of_its_peak_and_never_zero(shape, warmup, steps, data):
    rate = LearningRate(shape, warmup=warmup)
    assert 0 < rate.factor(data.draw(st.integers(0, steps - 1)), steps) <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LearningRate("linear"), "unknown learning rate shape 'linear'; use constant"),
        (lambda: LearningRate(warmup=1.0), "0 <= warmup < 1"),
        (lambda: LearningRate("step", drops=(0.6, 0.3)), "increasing shares"),
        (lambda: lines(0, [(1, 2), (1, 3)]), "increasing x"),
        (lambda: stairs(0, []), "increasing x"),
        (lambda: frame_gap(0.5, widest=2), "narrowest <= widest"),
        (lambda: hard_pixel_share(0, final=0.0), r"in \(0, 1\]"),
    ],
)
def test_bad_schedules(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
