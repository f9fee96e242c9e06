"""Random changes: colours are torchvision's, windows stay inside, and nothing happens where nothing is asked for."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from course_lib.errors import InputError
from course_lib.training.augment import Augment, adjust_colours
from course_lib.training.warp import apply


@given(st.integers(0, 1000), st.lists(st.floats(0, 2), min_size=6, max_size=6))
def test_colours_are_those_of_torchvision(seed, factors):
    frames = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    brightness, contrast, saturation = torch.tensor(factors).view(3, 2)
    ours = adjust_colours(frames, brightness, contrast, saturation)
    for i in range(2):
        expected = reference.adjust_brightness(frames[i], brightness[i].item())
        expected = reference.adjust_contrast(expected, contrast[i].item())
        expected = reference.adjust_saturation(expected, saturation[i].item())
        torch.testing.assert_close(ours[i], expected, rtol=0, atol=1e-3)


sides = st.tuples(st.integers(8, 90), st.integers(8, 90))


@given(st.integers(0, 1000), sides, sides)
def test_windows_stay_inside_and_have_the_asked_area(seed, source, size):
    augment = Augment(area=(0.25, 0.5), stretch=1.2)
    x0, y0, x1, y1 = augment.window(np.random.default_rng(seed), source, size)
    assert -1e-6 <= x0 < x1 <= source[1] + 1e-6 and -1e-6 <= y0 < y1 <= source[0] + 1e-6
    aspect = ((x1 - x0) / (y1 - y0)) / (size[1] / size[0])
    assert 1 / 1.2 - 1e-6 <= aspect <= 1.2 + 1e-6
    shape = (x1 - x0) / (y1 - y0)
    largest = min(source[1], source[0] * shape) * min(source[0], source[1] / shape)
    assert 0.25 - 1e-6 <= (x1 - x0) * (y1 - y0) / largest <= 0.5 + 1e-6


def test_no_change_is_no_change():
    frames = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    labels = torch.randint(0, 3, (3, 20, 20), dtype=torch.uint8)
    augment, rng = Augment.none(), np.random.default_rng(0)
    window = augment.window(rng, (20, 20), (20, 20))
    moved, moved_labels = apply(augment.warp(rng, 3, window), frames, labels, (20, 20))
    torch.testing.assert_close(augment.recolour(rng, moved), frames / 255, rtol=0, atol=1e-5)
    assert torch.equal(moved_labels, labels)
    assert len(fields(Augment)) == 11, "none() has to switch every change off"


def test_the_clip_shares_flip_and_greyness_and_each_frame_has_its_own_jolt():
    rng = np.random.default_rng(3)
    augment = Augment.for_stills()
    frames = torch.rand(4, 3, 6, 6)
    greys, mirrors = 0, 0
    for _ in range(200):
        warp = augment.warp(rng, 4, (0, 0, 10, 10))
        signs = torch.linalg.det(warp.matrices).sign()
        assert signs.unique().numel() == 1
        mirrors += int(signs[0] < 0)
        assert warp.matrices.unique(dim=0).shape[0] == 4 and warp.bends.unique(dim=0).shape[0] == 4
        grey = [bool((f.max(0).values - f.min(0).values).max() < 1e-6) for f in augment.recolour(rng, frames)]
        assert len(set(grey)) == 1
        greys += grey[0]
    assert 70 < mirrors < 130 and 2 <= greys <= 22  # expected 100 and 10


@given(st.integers(0, 1000))
def test_maps_stay_in_their_ranges(seed):
    augment = Augment(degrees=10, shear=5, zoom=0.1, shift=0.2, flip=0)
    warp = augment.warp(np.random.default_rng(seed), 5, (0, 0, 10, 10))
    sizes = torch.linalg.det(warp.matrices).sqrt()
    assert ((sizes > 0.9 - 1e-5) & (sizes < 1.1 + 1e-5)).all()
    angles = torch.atan2(warp.matrices[:, 1, 0], warp.matrices[:, 0, 0]).rad2deg()
    assert (angles.abs() <= 10 + 1e-4).all() and (warp.shifts.abs() <= 0.4 + 1e-6).all() and warp.bends is None


@pytest.mark.parametrize("wrong", [{"area": (0.5, 0.2)}, {"flip": 2}, {"zoom": 1.0}, {"shear": 90}, {"stretch": 0.5}])
def test_bad_ranges(wrong):
    with pytest.raises(InputError, match="expected"):
        Augment(**wrong)
