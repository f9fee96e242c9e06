"""Distance classes against every pair of pixels, SciPy's distance transform, and numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from course_lib.errors import InputError
from course_lib.methods.recurrent.distance import NO_CLASS, distance_classes, distance_map, n_classes

BINS = [(20, 10), (20, 1), (10, 1), (12, 3), (7, 2), (2, 1), (1, 1)]


def random_masks(seed, b=2, h=9, w=12, unknown=0.0):
    g = torch.Generator().manual_seed(seed)
    share = torch.rand(b, 1, 1, generator=g)
    masks = (torch.rand(b, h, w, generator=g) < share).to(torch.uint8)
    return masks.masked_fill(torch.rand(b, h, w, generator=g) < unknown, 255)


def disk(size=160, radius=50):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (x - size // 2) ** 2 + (y - size // 2) ** 2 < radius**2


def slow_classes(mask, radius, width):
    """One pixel after the other, looking at all others."""
    k = radius // width
    out = torch.empty(mask.shape, dtype=torch.int64)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x] == 255:
                out[y, x] = -100
                continue
            others = (mask == 1 - int(mask[y, x])).nonzero().tolist()
            d = min((math.dist((y, x), other) for other in others), default=math.inf)
            b = min(math.ceil(d / width) - 1, k) if d < math.inf else k
            out[y, x] = k + 1 + b if mask[y, x] == 1 else k - b
    return out


@given(st.integers(0, 10_000), st.sampled_from(BINS), st.sampled_from([0.0, 0.3]))
def test_classes_are_the_slow_ones(seed, bins, unknown):
    masks = random_masks(seed, unknown=unknown)
    slow = torch.stack([slow_classes(mask, *bins) for mask in masks])
    assert torch.equal(distance_classes(masks, *bins), slow)


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 20, 60, 140]))
def test_the_map_is_scipys_distance_transform(seed, radius):
    masks = random_masks(seed, b=1, h=37, w=50)
    masks[0, :15, :20], masks[0, 20:, 30:] = 0, 1  # something far from edges, and both classes
    inside = masks[0].numpy() == 1
    expected = np.minimum(distance_transform_edt(inside), radius) - np.minimum(distance_transform_edt(~inside), radius)
    torch.testing.assert_close(distance_map(masks, radius)[0], torch.from_numpy(expected).float())


@pytest.mark.parametrize("radius", [20, 127, 128, 200])
def test_large_radii_do_not_overflow(radius):
    masks = torch.zeros(1, 9, 420, dtype=torch.bool)
    masks[..., 210:] = True
    expected = torch.cat([-torch.arange(210, 0, -1), torch.arange(1, 211)]).clamp(-radius, radius).float()
    assert torch.equal(distance_map(masks, radius), expected.expand(1, 9, -1))
    assert torch.equal(distance_map(masks.mT, radius), expected.expand(1, 9, -1).mT)


@pytest.mark.parametrize(
    ("mask", "classes"), [("000111100", "012344321"), ("000000", "000000"), ("1111", "5555"), ("0111110", "2345432")]
)
def test_one_dimension_by_hand(mask, classes):
    line = torch.tensor([int(c) for c in mask])
    expected = torch.tensor([int(c) for c in classes])
    assert torch.equal(distance_classes(line[None, None], 2, 1)[0, 0], expected)
    assert torch.equal(distance_classes(line[None, :, None], 2, 1)[0, :, 0], expected)


@pytest.mark.parametrize(("bins", "classes"), [((20, 10), 6), ((20, 1), 42), ((10, 1), 22), ((12, 3), 10), ((7, 2), 8)])
def test_number_of_classes_and_all_of_them_occur(bins, classes):
    assert n_classes(*bins) == classes
    found = distance_classes(disk()[None], *bins)
    assert found.dtype == torch.int64 and torch.equal(found.unique(), torch.arange(classes))


def test_the_deepest_classes_of_a_thin_object_do_not_occur():
    found = distance_classes(disk(radius=5)[None]).unique()
    assert found.min() == 0 and found.max() == 20 + 5  # no pixel lies deeper than the fifth inner bin


@given(st.integers(0, 10_000), st.sampled_from(BINS))
def test_the_two_sides_mirror_each_other(seed, bins):
    masks = random_masks(seed)
    masks[:, 0, 0], masks[:, -1, -1] = 0, 1
    assert torch.equal(distance_classes(1 - masks, *bins), n_classes(*bins) - 1 - distance_classes(masks, *bins))


@given(st.integers(0, 10_000))
def test_flips_turns_and_leading_dimensions_make_no_difference(seed):
    masks = random_masks(seed, b=6, unknown=0.1)
    classes = distance_classes(masks, 4, 1)
    for change in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.rot90(1, (-2, -1)), lambda x: x.mT):
        assert torch.equal(distance_classes(change(masks), 4, 1), change(classes))
    assert torch.equal(distance_classes(masks.view(2, 3, 9, 12), 4, 1), classes.view(2, 3, 9, 12))
    assert torch.equal(distance_classes(masks[2], 4, 1), classes[2])
    assert torch.equal(distance_classes(masks[1:3], 4, 1), classes[1:3])


@given(st.integers(0, 10_000))
def test_types_of_masks_make_no_difference(seed):
    masks = random_masks(seed)
    for kind in (torch.bool, torch.float32, torch.float16, torch.int64):
        assert torch.equal(distance_classes(masks.to(kind)), distance_classes(masks))


def test_absent_objects_full_frames_and_unknown_pixels():
    nothing = torch.zeros(1, 5, 5)
    assert (distance_classes(nothing) == 0).all() and (distance_map(nothing) == -20).all()
    assert (distance_classes(nothing + 1) == 41).all() and (distance_map(nothing + 1) == 20).all()
    unknown = torch.full((1, 5, 5), 255)
    assert (distance_classes(unknown) == NO_CLASS).all() and distance_map(unknown).isnan().all()
    line = torch.tensor([0, 0, 255, 1, 1])[None, None]  # the object is three pixels away from the first, not two
    assert distance_classes(line, 3, 1)[0, 0].tolist() == [1, 2, NO_CLASS, 5, 6]
    assert distance_map(line, 5)[0, 0, [0, 1, 3, 4]].tolist() == [-3, -2, 2, 3]


def test_the_class_left_out_is_the_one_cross_entropy_leaves_out():
    assert torch.nn.CrossEntropyLoss().ignore_index == NO_CLASS


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: distance_classes(torch.full((1, 2, 2), 2)), "0 .background., 1 .object. and 255"),
        (lambda: distance_map(torch.full((1, 2, 2), 0.5)), "Threshold soft masks"),
        (lambda: distance_classes(torch.zeros(4)), r"\[..., H, W\], got \[4\]"),
        (lambda: n_classes(3, 4), "width 4 and radius 3"),
        (lambda: distance_classes(torch.zeros(1, 2, 2), 0, 1), "radius 0"),
        (lambda: distance_map(torch.zeros(1, 2, 2), 0), "radius 0"),
        (lambda: n_classes(3, 0), "width 0"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
