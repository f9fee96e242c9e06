"""Warps of labels, probabilities and features against motions that are known exactly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.label_warp import Motion, compose, resize_flow, warp_labels, warp_soft


def constant(x, y, h=12, w=16):
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).repeat(1, 1, h, w)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def square(x, side=20, size=48):
    """Labels [1, H, W] of a square whose left edge is at x."""
    labels = torch.zeros(1, size, size, dtype=torch.uint8)
    labels[:, 12 : 12 + side, x : x + side] = 1
    return labels


def square_flow(x, dx, side=20, size=48):
    """Flow of the square at x that moves by dx over a still background."""
    flow = torch.zeros(1, 2, size, size)
    flow[:, 0, 12 : 12 + side, x : x + side] = dx
    return flow


@pytest.mark.parametrize("engine", ["torch", "opencv"])
@given(x=st.integers(-4, 4), y=st.integers(-4, 4))
def test_a_whole_number_of_pixels_is_a_roll(engine, x, y):
    soft, labels = noise(1, 19, 12, 16), torch.randint(0, 255, (1, 12, 16), dtype=torch.uint8)
    inside = (..., slice(4, -4), slice(4, -4))
    rolled = torch.roll(soft, (-y, -x), (-2, -1))  # out(p) = in(p + flow)
    torch.testing.assert_close(warp_soft(soft, constant(x, y), engine)[inside], rolled[inside])
    assert torch.equal(warp_labels(labels, constant(x, y))[inside], torch.roll(labels, (-y, -x), (-2, -1))[inside])


@pytest.mark.parametrize("engine", ["torch", "opencv"])
def test_no_motion_changes_nothing_and_beyond_the_frame_is_its_edge(engine):
    soft = noise(1, 3, 12, 16)
    torch.testing.assert_close(warp_soft(soft, constant(0, 0), engine), soft)
    torch.testing.assert_close(warp_soft(soft, constant(-100, 0), engine), soft[..., :1].expand_as(soft))
    labels = torch.arange(16, dtype=torch.uint8).repeat(1, 12, 1)
    assert (warp_labels(labels, constant(100, 0)) == 15).all()


@given(seed=st.integers(0, 1000))
def test_both_engines_agree_and_keep_probabilities(seed):
    probs = noise(2, 12, 10, 14, seed=seed).softmax(1)
    flow = 6 * noise(2, 2, 20, 28, seed=seed + 1) - 3  # of another resolution
    first, second = warp_soft(probs, flow, "torch"), warp_soft(probs, flow, "opencv")
    torch.testing.assert_close(first, second, atol=0.03, rtol=0)  # OpenCV 4 rounds places to 1/32 pixel
    torch.testing.assert_close(first.sum(1), torch.ones(2, 10, 14))


@pytest.mark.parametrize("channels", [1, 2, 31, 33, 256, 600])
def test_any_number_of_channels(channels):
    """OpenCV itself reads more channels than it takes as another kind of array."""
    x, flow = noise(1, channels, 6, 8), 4 * noise(1, 2, 6, 8, seed=1) - 2
    torch.testing.assert_close(warp_soft(x, flow, "opencv"), warp_soft(x, flow, "torch"), atol=0.03, rtol=0)


def test_the_torch_warp_has_the_right_gradient():
    x = noise(1, 2, 5, 6).double().requires_grad_()
    flow = (2 * noise(1, 2, 5, 6, seed=1).double() - 1 + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: warp_soft(a, b, "torch"), (x, flow))
    assert warp_soft(x, flow).requires_grad  # auto takes torch where a gradient is wanted


def test_vectors_shrink_with_the_grid():
    small = resize_flow(constant(8, -4, 32, 64), (8, 16))
    torch.testing.assert_close(small, constant(2, -1, 8, 16))
    uneven = resize_flow(constant(8, -4, 32, 64), (16, 16))  # a half in height, a quarter in width
    torch.testing.assert_close(uneven, constant(2, -2, 16, 16))
    features = noise(1, 5, 8, 16)
    moved = warp_soft(features, constant(8, -4, 32, 64))  # two cells left, one down
    torch.testing.assert_close(moved[..., 1:, :-2], features[..., :-1, 2:])
    unscaled = warp_soft(features, F.interpolate(constant(8, -4, 32, 64), (8, 16)))  # the classic bug
    assert (unscaled - moved).abs().max() > 0.1


def test_labels_are_never_mixed_and_halves_round_up():
    labels = torch.tensor([[[0, 9, 0, 9, 0, 9]]], dtype=torch.uint8).repeat(1, 6, 1)
    moved = warp_labels(labels, constant(0.5, 0, 6, 6))
    assert set(moved.unique().tolist()) <= {0, 9}
    assert torch.equal(moved[0, 0], torch.tensor([9, 0, 9, 0, 9, 9], dtype=torch.uint8))
    assert warp_labels(labels.long() + 1000, constant(0.5, 0, 6, 6)).max() == 1009


def test_forward_flow_read_at_the_new_pixel_is_wrong_along_moving_edges():
    """The trap of equation 3.1: right inside, wrong in a band as wide as the motion, on the leading edge."""
    x, dx, side = 10, 4, 20
    before, after = square(x), square(x + dx)
    standard = warp_labels(before, square_flow(x + dx, -dx))  # flow of the new frame's pixels to the past
    literal = warp_labels(before, Motion.literal(square_flow(x, dx)).to_past)
    assert not (literal != after)[:, :, x + dx : x + side].any()  # the overlap of old and new square
    lost = (literal != after) & (after == 1)
    assert lost.sum() == dx * side and lost[:, 12 : 12 + side, x + side : x + side + dx].all()
    ghost = (standard != after) & (after == 0)  # the standard form keeps the whole square, and leaves its ghost
    assert not ((standard != after) & (after == 1)).any()
    assert ghost.sum() == dx * side and ghost[:, 12 : 12 + side, x : x + dx].all()
    both_signs_wrong = warp_labels(before, square_flow(x, dx))  # forward flow taken for backward flow
    assert (both_signs_wrong != after).sum() == 3 * dx * side


def test_the_literal_form_is_right_where_flow_is_constant():
    labels = torch.randint(0, 9, (1, 12, 16), dtype=torch.uint8)
    literal = Motion.literal(constant(3, 1))
    assert torch.equal(warp_labels(labels, literal.to_past), warp_labels(labels, constant(-3, -1)))


def test_one_composed_warp_blurs_less_than_many():
    step = constant(-0.5, 0, 8, 64)
    edge = torch.zeros(1, 1, 8, 64)
    edge[..., 24:] = 1
    way, often = step, warp_soft(edge, step)
    for _ in range(7):
        way, often = compose(step, way), warp_soft(often, step)
    torch.testing.assert_close(way, constant(-4, 0, 8, 64))
    truth = torch.zeros(1, 1, 8, 64)
    truth[..., 28:] = 1
    torch.testing.assert_close(warp_soft(edge, way), truth)
    assert (often - truth).abs().sum() > 8  # pixels of blur, over 8 rows
    labels = edge[:, 0].to(torch.uint8)
    for _ in range(8):
        labels = warp_labels(labels, constant(-0.4, 0, 8, 64))  # each step rounds to no motion at all
    assert torch.equal(labels, edge[:, 0].to(torch.uint8))
    assert warp_labels(labels, constant(-0.4 * 8, 0, 8, 64))[0, 0].sum() == 64 - 27


def test_composition_follows_the_inner_flow():
    near = constant(3, 0)
    far = torch.zeros(1, 2, 12, 16)
    far[:, 1] = torch.arange(16.0)
    x = torch.arange(16.0)
    found = compose(near, far)[0, :, 0]
    torch.testing.assert_close(found, torch.stack([torch.full((16,), 3.0), (x + 3).clamp(max=15)]))


def test_bad_input_is_named():
    with pytest.raises(InputError, match="flow must be"):
        resize_flow(torch.zeros(1, 3, 4, 4), (2, 2))
    with pytest.raises(InputError, match="flow must be"):
        resize_flow(torch.zeros(1, 2, 4, 4, dtype=torch.long), (2, 2))
    with pytest.raises(InputError, match="same batch"):
        warp_soft(torch.zeros(2, 1, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(InputError, match="go through warp_soft"):
        warp_labels(torch.zeros(1, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(InputError, match="engine must be"):
        warp_soft(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), "cuda")
    with pytest.raises(InputError, match="works on the CPU"):
        warp_soft(torch.zeros(1, 1, 4, 4, device="meta"), torch.zeros(1, 2, 4, 4), "opencv")
    with pytest.raises(InputError, match="one shape"):
        compose(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
