"""The backward warp against slow loops, OpenCV's remap and translations whose answer is known."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.nn.warp import backward_warp, destinations, returns, sample_at, stays_inside


def constant(x, y, b=1, h=8, w=10):
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(b, 2, h, w)


def test_a_ramp_moved_by_one_pixel_is_fetched_back_without_error():
    ramp = torch.arange(10.0).expand(1, 1, 8, 10)
    moved = ramp - 1  # what was at x is now at x + 1
    fetched = backward_warp(moved, constant(1, 0))
    torch.testing.assert_close(fetched[..., :-1], ramp[..., :-1], rtol=0, atol=1e-5)
    assert (fetched[..., -1] == 0).all()  # fetched from beyond the frame
    torch.testing.assert_close(backward_warp(moved, constant(1, 0), "edge")[..., -1], moved[..., -1])


@given(st.integers(-4, 4), st.integers(-4, 4))
def test_whole_translations_are_shifts(dx, dy):
    image = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    fetched = backward_warp(image, constant(dx, dy, b=2))
    expected = torch.zeros_like(image)
    rows, columns = slice(max(0, -dy), 8 - max(0, dy)), slice(max(0, -dx), 10 - max(0, dx))
    expected[..., rows, columns] = image.roll((-dy, -dx), (-2, -1))[..., rows, columns]
    torch.testing.assert_close(fetched, expected, rtol=0, atol=1e-5)
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[rows, columns] = True
    assert torch.equal(stays_inside(constant(dx, dy)), inside[None])


@given(st.integers(0, 1000), st.sampled_from(["zero", "edge"]))
def test_it_is_opencvs_remap(seed, outside):
    g = torch.Generator().manual_seed(seed)
    image, flow = torch.rand(1, 1, 8, 10, generator=g), 4 * torch.randn(1, 2, 8, 10, generator=g)
    flow = (flow * 32).round() / 32  # OpenCV rounds places to 1/32 pixel
    x, y = (place[0].numpy() for place in destinations(flow))
    border = cv2.BORDER_CONSTANT if outside == "zero" else cv2.BORDER_REPLICATE
    expected = cv2.remap(image[0, 0].numpy(), x, y, cv2.INTER_LINEAR, borderMode=border)
    np.testing.assert_allclose(backward_warp(image, flow, outside)[0, 0].numpy(), expected, atol=2e-5)


def test_places_can_have_any_number():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    x, y = torch.tensor([[0.0, 2.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.5]])
    torch.testing.assert_close(sample_at(image, x, y), torch.tensor([[[0.0, 5.0, 0.5, 2.5]]]))
    torch.testing.assert_close(sample_at(image, x.view(1, 2, 2), y.view(1, 2, 2))[0, 0, 1, 1], torch.tensor(2.5))


def test_gradients():
    g = torch.Generator().manual_seed(1)
    image = torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=g, requires_grad=True)
    flow = (0.3 + 0.4 * torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=g)).requires_grad_()
    assert torch.autograd.gradcheck(backward_warp, (image, flow))


def test_half_precision_keeps_fractions_of_a_pixel_far_from_the_corner():
    ramp = torch.arange(2000.0).expand(1, 1, 1, 2000)
    flow = constant(0.25, 0, h=1, w=2000).half()
    torch.testing.assert_close(
        backward_warp(ramp, flow)[..., 1990:1999], ramp[..., 1990:1999] + 0.25, rtol=0, atol=2e-3
    )


def test_flows_return_where_both_frames_see_a_pixel():
    there = constant(2, -1)
    assert torch.equal(returns(there, -there), stays_inside(there))
    assert not returns(there, there).any()
    back = -there.clone()
    back[0, :, 2, 5] = torch.tensor([3.0, 3.0])  # read by the pixel that is led to x 5, y 2
    expected = stays_inside(there).clone()
    expected[0, 3, 3] = False
    assert torch.equal(returns(there, back), expected)


@given(st.floats(0, 3), st.floats(0, 3))
def test_the_threshold_of_returning(dx, residual):
    there, back = constant(dx, 0), constant(-dx + residual, 0)
    limit = 0.01 * (dx**2 + (residual - dx) ** 2) + 0.5
    if abs(residual**2 - limit) > 1e-3:
        assert returns(there, back)[0, 4, 4].item() == (residual < math.sqrt(limit))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: backward_warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 5)), "one size"),
        (lambda: destinations(torch.zeros(1, 3, 4, 4)), r"\[B, 2, H, W\] in pixels, x first; got \[1, 3, 4, 4\]"),
        (lambda: backward_warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 4), "black"), "got 'black'"),
        (lambda: sample_at(torch.zeros(1, 3, 4, 4), torch.zeros(1, 5), torch.zeros(1, 4)), r"places x, y"),
        (lambda: returns(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5)), "both flows must have one shape"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
