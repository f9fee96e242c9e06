"""Deformations: exact where they can be, equal to SciPy's splines, and never inventing a label."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from course_lib.errors import InputError
from course_lib.training.warp import CONTROL_POINTS, FILL, Warp, apply, bend, centres, thin_plate


def noise(t=2, h=12, w=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (t, 3, h, w), generator=g, dtype=torch.uint8)
    return frames, torch.randint(0, 256, (t, h, w), generator=g, dtype=torch.uint8)


def affine(window, matrix=((1.0, 0.0), (0.0, 1.0)), shift=(0.0, 0.0), t=2, bends=None):
    return Warp(window, torch.tensor(matrix).expand(t, 2, 2), torch.tensor(shift).expand(t, 2), bends)


def same(result, frames, labels):
    torch.testing.assert_close(result[0], frames.float() / 255, rtol=0, atol=1e-5)
    assert torch.equal(result[1], labels)


def test_the_identity_changes_nothing():
    frames, labels = noise()
    same(apply(affine((0, 0, 16, 12)), frames, labels, (12, 16)), frames, labels)


def test_a_window_is_a_crop():
    frames, labels = noise()
    crop = apply(affine((3, 2, 11, 10)), frames, labels, (8, 8))
    same(crop, frames[..., 2:10, 3:11], labels[:, 2:10, 3:11])


def test_a_mirror_and_quarter_turns():
    frames, labels = noise(h=12, w=12)
    whole = (0, 0, 12, 12)
    mirrored = apply(affine(whole, ((-1.0, 0.0), (0.0, 1.0))), frames, labels, (12, 12))
    same(mirrored, frames.flip(-1), labels.flip(-1))
    # Output x comes from source y: a turn to the left as seen on the screen.
    turned = apply(affine(whole, ((0.0, -1.0), (1.0, 0.0))), frames, labels, (12, 12))
    same(turned, frames.rot90(1, (-2, -1)), labels.rot90(1, (-2, -1)))


def test_a_shift_is_in_halves_of_the_window_and_shows_the_fill():
    frames, labels = noise()
    moved, moved_labels = apply(affine((0, 0, 16, 12), shift=(0.5, 0.0)), frames, labels, (12, 16))  # 4 pixels
    same((moved[..., :12], moved_labels[..., :12]), frames[..., 4:], labels[..., 4:])
    torch.testing.assert_close(moved[0, :, 5, 13:], torch.tensor(FILL)[:, None].expand(3, 3))
    assert (moved_labels[..., 12:] == 0).all()


def test_a_rotation_stays_one_in_a_wide_window():
    angle = math.radians(30)
    rotation = ((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle)))
    window = (0.0, 0.0, 40.0, 10.0)
    straight, turned = (affine(window, m, t=1).places((10, 40))[0] for m in (((1.0, 0.0), (0.0, 1.0)), rotation))
    gaps = [(p[5, 30] - p[2, 7]).norm().item() for p in (straight, turned)]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-5)
    assert turned[5:, 20:][0, 0].tolist() == pytest.approx(
        (torch.tensor([20.0, 5.0]) + torch.tensor(rotation) @ torch.tensor([0.5, 0.5])).tolist(), abs=1e-4
    )


@given(st.integers(0, 1000), st.floats(-0.3, 0.3))
def test_labels_are_never_mixed(seed, angle):
    frames, _ = noise(1)
    labels = torch.tensor([0, 7, 200, 255], dtype=torch.uint8)[torch.randint(0, 4, (1, 12, 16))]
    g = torch.Generator().manual_seed(seed)
    bends = 0.1 * torch.randn(1, CONTROL_POINTS**2, 2, generator=g)
    c, s = math.cos(angle), math.sin(angle)
    out_frames, out = apply(affine((1, 1, 14, 11), ((c, -s), (s, c)), t=1, bends=bends), frames, labels, (20, 24))
    assert set(out.unique().tolist()) <= {0, 7, 200, 255}
    assert out_frames.min() >= 0 and out_frames.max() <= 1 and out_frames.shape == (1, 3, 20, 24)


def test_frames_and_labels_move_together():
    """A picture painted in its labels' colours still is one afterwards, except at edges and the border."""
    labels = torch.zeros(1, 40, 40, dtype=torch.uint8)
    labels[0, 8:30, 10:26] = 1
    frames = (labels * 255)[:, None].expand(1, 3, 40, 40).contiguous()
    g = torch.Generator().manual_seed(1)
    bends = 0.05 * torch.randn(1, CONTROL_POINTS**2, 2, generator=g)
    warp = affine((2, 2, 38, 38), ((0.9, -0.3), (0.3, 0.9)), t=1, bends=bends)
    painted, moved = apply(warp, frames, labels, (64, 64))
    assert ((painted[0, 0] > 0.99) <= (moved[0] == 1)).all()  # wholly inside: labelled
    assert ((moved[0] == 1) <= (painted[0, 0] >= 0.2)).all()
    assert moved.float().mean() > 0.1


def test_shrinking_averages_instead_of_skipping():
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8).expand(1, 3, 64, 64).contiguous()
    small, _ = apply(affine((0, 0, 64, 64), t=1), board, torch.zeros(1, 64, 64, dtype=torch.uint8), (16, 16))
    assert (small - 0.5).abs().max() < 0.1


def test_thin_plate_splines_are_those_of_scipy():
    rng = np.random.default_rng(0)
    points, places, values = rng.uniform(-1, 1, (9, 2)), rng.uniform(-1, 1, (50, 2)), rng.normal(size=(9, 2))
    expected = RBFInterpolator(points, values, kernel="thin_plate_spline")(places)
    ours = thin_plate(torch.from_numpy(points).float(), torch.from_numpy(places).float()).double().numpy() @ values
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def control_points():
    line = torch.linspace(-1, 1, CONTROL_POINTS)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(1, -1, 2)


def test_a_bend_passes_through_its_control_points():
    values = 0.2 * torch.randn(1, CONTROL_POINTS**2, 2, generator=torch.Generator().manual_seed(2))
    field = bend(values, (301, 301))[0]  # control points lie on pixel 0, 100, 200 or 300, or half a pixel beside
    ours = field[0::100, 0::100].reshape(1, -1, 2)[:, : CONTROL_POINTS**2]
    inner = torch.ones(CONTROL_POINTS, CONTROL_POINTS, dtype=torch.bool)
    inner[[0, -1]] = inner[:, [0, -1]] = False  # the coarse grid ends short of the border
    torch.testing.assert_close(ours[0, inner.flatten()], values[0, inner.flatten()], rtol=0, atol=0.02)


def test_a_bend_of_a_linear_displacement_is_linear():
    matrix = torch.tensor([[0.1, -0.2], [0.05, 0.3]])
    field = bend(control_points() @ matrix.T, (64, 96))[0]
    expected = centres((64, 96)) @ matrix.T
    torch.testing.assert_close(field[8:-8, 12:-12], expected[8:-8, 12:-12], rtol=0, atol=1e-5)


def test_bad_warps():
    with pytest.raises(InputError, match="x1 > x0"):
        affine((5, 0, 5, 3))
    with pytest.raises(InputError, match="need 16 control points, got 9"):
        bend(torch.zeros(1, 9, 2), (8, 8))
