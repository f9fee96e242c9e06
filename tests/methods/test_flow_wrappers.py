"""Optical flow, warp and consistency on motions that are known exactly."""

import cv2
import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.propagation.flow import (
    FlowEstimator,
    consistency,
    consistent,
    coordinates,
    grey,
    optical_flow,
    sample,
    warp,
)


def texture(height=120, width=160, seed=0):
    """Smooth random RGB picture [3, H, W] in [0, 1]; a crop of it moved by whole pixels is an exact translation."""
    noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return torch.from_numpy(smooth).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize(
    ("method", "preset", "error"), [("dis", "ultrafast", 0.3), ("dis", "medium", 0.2), ("farneback", "fast", 0.3)]
)
def test_a_translation_is_found(method, preset, error):
    big = texture()
    here, there = big[:, 10:106, 10:138], big[:, 7:103, 15:143]  # what is at x in `here` is at x + (-5, 3) in `there`
    flow = optical_flow(here, there, method, preset)[:, 16:-16, 16:-16]
    wanted = torch.tensor([-5.0, 3.0])[:, None, None]
    assert (flow - wanted).norm(dim=0).mean() < error


def test_small_frames_get_a_finer_grid_than_the_preset():
    big = texture(80, 80)
    small = [big[:, 8:56, 8:56], big[:, 8:56, 10:58]]
    estimator = FlowEstimator("dis", "ultrafast")
    pictures = [grey((f.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()) for f in small]
    estimator(*pictures)
    assert estimator._dis.getFinestScale() == 0
    estimator(np.zeros((480, 640), np.uint8), np.zeros((480, 640), np.uint8))
    assert estimator._dis.getFinestScale() == 2  # never coarser than the preset


def test_warp_agrees_with_grid_sample():
    image, flow = torch.rand(3, 20, 30), torch.randn(2, 20, 30) * 4
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    grid = torch.stack([2 * (x + flow[0]) / 29 - 1, 2 * (y + flow[1]) / 19 - 1], dim=-1)
    expected = torch.nn.functional.grid_sample(image[None], grid[None], align_corners=True)[0]
    torch.testing.assert_close(warp(image, flow), expected, atol=0.04, rtol=0)  # OpenCV interpolates in steps of 1/32


def test_warp_by_hand_and_beyond_the_frame():
    image = torch.arange(4.0).repeat(3, 1)[None]  # rows 0 1 2 3
    flow = torch.zeros(2, 3, 4)
    flow[0] = 1.0
    assert warp(image, flow)[0, 0].tolist() == [1, 2, 3, 0]
    assert warp(image, flow, outside=-7.0)[0, 0].tolist() == [1, 2, 3, -7]
    flow[0] = 0.5
    assert warp(image, flow)[0, 0].tolist() == [0.5, 1.5, 2.5, 1.5]


def test_coordinates_are_x_then_y():
    x, y = coordinates(np.zeros((2, 3, 2), np.float32))
    assert x.tolist() == [[0, 1, 2], [0, 1, 2]] and y.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_consistency_of_a_translation_ends_where_the_frame_ends():
    there = np.zeros((10, 20, 2), np.float32)
    there[..., 0] = 4
    ok = consistent(there, -there)
    assert ok[:, :16].all() and not ok[:, 16:].any()
    assert not consistent(there, np.zeros_like(there)).any()
    same = torch.from_numpy(there).permute(2, 0, 1)
    assert torch.equal(consistency(same, -same), torch.from_numpy(ok))


def test_tolerance_of_consistency_by_hand():
    there, back = np.zeros((5, 5, 2), np.float32), np.zeros((5, 5, 2), np.float32)
    there[..., 0], back[..., 0] = 0.0, 0.71  # error 0.504, allowed 0.01 * 0.504 + 0.5 = 0.505
    assert consistent(there, back).all()
    back[..., 0] = 0.72  # 0.518 > 0.505
    assert not consistent(there, back).any()


def test_the_check_finds_what_was_uncovered():
    """A square moves over a still ground: the strip it leaves behind fails the check, the rest passes."""
    ground, thing = texture(seed=1)[:, :96, :128], texture(seed=2)[:, :30, :30]
    before, after = ground.clone(), ground.clone()
    before[:, 30:60, 40:70] = thing
    after[:, 30:60, 46:76] = thing
    there, back = (optical_flow(a, b, preset="medium") for a, b in ((after, before), (before, after)))
    ok = consistency(there, back)
    assert ok[32:58, 41:45].float().mean() < 0.35  # uncovered
    assert ok[70:, 10:-10].float().mean() > 0.95 and ok[35:55, 52:70].float().mean() > 0.95


def test_sample_reads_planes_without_losing_them():
    plane = np.random.default_rng(0).random((8, 9), dtype=np.float32)
    np.testing.assert_array_equal(sample(plane, np.zeros((8, 9, 2), np.float32)), plane)


def test_refusals():
    with pytest.raises(InputError, match="'dis' or 'farneback', got 'raft'"):
        FlowEstimator("raft")
    with pytest.raises(InputError, match="ultrafast, fast, medium, got 'slow'"):
        FlowEstimator("dis", "slow")
    with pytest.raises(InputError, match=r"at least 16 x 16 pixels, got \[8, 8\]"):
        optical_flow(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))
    with pytest.raises(InputError, match="frame 1 is 20 x 21 but"):
        optical_flow(torch.zeros(3, 20, 20), torch.zeros(3, 20, 21))
