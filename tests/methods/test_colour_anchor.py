"""The colour anchor and the guided filter, against hand-made pictures and slow, obvious versions."""

import numpy as np
import pytest

from course_lib.methods.propagation.anchor import (
    ColourAnchor,
    colour_cells,
    guided_filter,
    near_contour,
    scaled,
)


def scene(inside, outside, size=40):
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = outside
    mask = np.zeros((size, size), bool)
    mask[12:28, 12:28] = True
    picture[mask] = inside
    return picture, mask


def test_colours_vote_for_their_side():
    picture, mask = scene((200, 30, 30), (30, 30, 200))
    anchor = ColourAnchor.learn(colour_cells(picture), mask)
    vote = anchor.vote(colour_cells(picture))
    assert (vote[16:24, 16:24] > 3.5).all() and (vote[:8] < -3.5).all()
    green = np.full((4, 4, 3), (30, 200, 30), np.uint8)
    assert np.abs(anchor.vote(colour_cells(green))).max() < 1e-6  # never seen: says nothing


def test_an_object_like_its_surroundings_is_left_alone():
    picture, mask = scene((120, 120, 120), (120, 120, 120))
    anchor = ColourAnchor.learn(colour_cells(picture), mask)
    assert np.abs(anchor.votes).max() < 1e-3


def test_votes_are_bounded_and_finite_even_without_surroundings():
    picture, _ = scene((200, 30, 30), (30, 30, 200))
    everything = np.ones(picture.shape[:2], bool)
    anchor = ColourAnchor.learn(colour_cells(picture), everything)
    assert np.isfinite(anchor.votes).all() and np.abs(anchor.votes).max() <= 4


def test_half_mixed_colours_by_hand():
    """Half of the object has the colour of its surroundings: the histograms overlap by one half."""
    picture, mask = scene((200, 30, 30), (30, 30, 200))
    picture[12:20, 12:28] = (30, 30, 200)
    cells = colour_cells(picture)
    votes = ColourAnchor.learn(cells, mask).votes
    own, common = cells[24, 16], cells[0, 0]
    assert votes[own] == pytest.approx(0.5 * 4, abs=0.01)  # half apart, at the bound
    assert votes[common] == pytest.approx(0.5 * np.log(0.5), abs=0.01)  # half as frequent inside as outside


def test_near_contour_equals_dilation_without_erosion():
    random = np.random.default_rng(0)
    mask = random.random((20, 25)) > 0.9
    reach = 2
    slow = np.zeros_like(mask)
    for y in range(20):
        for x in range(25):
            window = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            slow[y, x] = window.any() and not window.all()
    np.testing.assert_array_equal(near_contour(mask, reach), slow)


def slow_guided_filter(picture, mask, radius, epsilon):
    """The paper's equations, window by window, with reflected borders."""
    picture, mask = picture.astype(np.float64), mask.astype(np.float64)
    height, width = mask.shape
    pad = ((radius, radius), (radius, radius))
    wide, tall = np.pad(picture, (*pad, (0, 0)), mode="symmetric"), np.pad(mask, pad, mode="symmetric")
    slope, offset = np.zeros((height, width, 3)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = wide[y : y + 2 * radius + 1, x : x + 2 * radius + 1].reshape(-1, 3)
            values = tall[y : y + 2 * radius + 1, x : x + 2 * radius + 1].ravel()
            mean, level = window.mean(0), values.mean()
            covariance = (window - mean).T @ (window - mean) / len(window)
            cross = (window * values[:, None]).mean(0) - mean * level
            slope[y, x] = np.linalg.solve(covariance + epsilon * np.eye(3), cross)
            offset[y, x] = level - slope[y, x] @ mean
    wide, tall = np.pad(slope, (*pad, (0, 0)), mode="symmetric"), np.pad(offset, pad, mode="symmetric")
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            a = wide[y : y + 2 * radius + 1, x : x + 2 * radius + 1].reshape(-1, 3).mean(0)
            out[y, x] = a @ picture[y, x] + tall[y : y + 2 * radius + 1, x : x + 2 * radius + 1].mean()
    return out.clip(0, 1)


def test_guided_filter_equals_the_slow_one():
    random = np.random.default_rng(1)
    picture = random.random((14, 17, 3), dtype=np.float32)
    mask = (random.random((14, 17)) > 0.5).astype(np.float32)
    np.testing.assert_allclose(guided_filter(picture, mask, 2), slow_guided_filter(picture, mask, 2, 1e-3), atol=2e-4)


def test_guided_filter_moves_a_contour_to_the_edge():
    """The mask is two pixels too wide; the picture knows better."""
    picture = np.zeros((40, 40, 3), np.float32)
    picture[:, 20:] = (0.9, 0.2, 0.1)
    mask = np.zeros((40, 40), np.float32)
    mask[:, 18:] = 1
    sharp = guided_filter(picture, mask, 6) > 0.5
    assert not sharp[:, :20].any() and sharp[:, 20:].all()


def test_guided_filter_keeps_constants():
    picture = np.random.default_rng(2).random((12, 12, 3), dtype=np.float32)
    np.testing.assert_allclose(guided_filter(picture, np.full((12, 12), 0.3, np.float32), 3), 0.3, atol=1e-4)


def test_lengths_scale_with_the_shorter_side():
    assert scaled(0.1, (240, 427)) == 24 and scaled(0.1, (480, 854)) == 48 and scaled(0.001, (16, 16)) == 1
