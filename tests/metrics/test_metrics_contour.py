"""J, F and the contour of single masks: golden numbers, the obvious version, properties, errors."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.metrics import boundary_map, contour_accuracy, reference, region_similarity
from course_lib.metrics.contour import tolerance_pixels


def draw_mask(rng: np.random.Generator, height: int, width: int, kind: str) -> np.ndarray:
    """A mask of one of the kinds that have ever broken a contour measure."""
    mask = np.zeros((height, width), dtype=bool)
    if kind == "full":
        mask[:] = True
    elif kind == "noise":
        mask = rng.random((height, width)) < rng.choice([0.02, 0.5, 0.97])
    elif kind == "pixel":
        mask[rng.integers(height), rng.integers(width)] = True
    elif kind == "blocks":  # often touching a border or crossing a word of 64 pixels
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(-3, height), rng.integers(-3, width)
            mask[max(y, 0) : y + rng.integers(1, height + 4), max(x, 0) : x + rng.integers(1, width + 4)] ^= True
    return mask


masks = st.builds(
    lambda number, height, width, kinds: [
        draw_mask(rng, height, width, kind) for rng in [np.random.default_rng(number)] for kind in kinds
    ],
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.sampled_from([1, 2, 5, 31, 63, 64, 65, 100, 127, 128, 129, 193]),
    st.tuples(*[st.sampled_from(["empty", "full", "noise", "pixel", "blocks", "blocks"])] * 3),
)
tolerances = st.one_of(st.just(0.008), st.floats(0, 0.3), st.floats(1, 80), st.integers(0, 70))


@given(masks, tolerances, st.booleans())
def test_packed_masks_give_the_numbers_of_the_obvious_version(three, tolerance, with_ignore):
    prediction, truth, ignore = three
    ignore = ignore if with_ignore else None
    assert region_similarity(prediction, truth, ignore) == reference.region_similarity(prediction, truth, ignore)
    fast = contour_accuracy(prediction, truth, tolerance, ignore)
    assert fast == pytest.approx(reference.contour_accuracy(prediction, truth, tolerance, ignore), abs=1e-12)
    np.testing.assert_array_equal(boundary_map(truth), reference.boundary_map(truth))


@given(masks, tolerances)
def test_symmetry_identity_and_range(three, tolerance):
    a, b, _ = three
    assert region_similarity(a, b) == region_similarity(b, a)
    assert contour_accuracy(a, b, tolerance) == pytest.approx(contour_accuracy(b, a, tolerance), abs=1e-15)
    assert region_similarity(a, a) == contour_accuracy(a, a, tolerance) == 1.0
    assert 0 <= region_similarity(a, b) <= 1
    assert 0 <= contour_accuracy(a, b, tolerance) <= 1


@given(masks, st.integers(1, 70), st.integers(1, 70))
def test_scores_do_not_depend_on_where_the_object_lies(three, down, right):
    a, b, _ = (np.pad(mask, 2) for mask in three)
    room = ((0, 70), (0, 70))
    here = [np.pad(mask, room) for mask in (a, b)]
    there = [np.roll(mask, (down, right), axis=(0, 1)) for mask in here]
    assert region_similarity(*here) == region_similarity(*there)
    assert contour_accuracy(*here, 3) == contour_accuracy(*there, 3)


@given(masks)
def test_a_wider_tolerance_never_lowers_f(three):
    a, b, _ = three
    values = [contour_accuracy(a, b, tolerance) for tolerance in (0, 1, 2, 5, 20, 300)]
    assert values == sorted(values)
    assert values[-1] in (0.0, 1.0)  # everything is near everything, unless one contour is missing


def test_hand_computed_overlap():
    prediction = np.array([[1, 1, 0], [1, 1, 0]], dtype=np.uint8)
    truth = np.array([[0, 1, 1], [0, 1, 1]], dtype=np.uint8)
    assert region_similarity(prediction, truth) == 2 / 6
    ignore = np.array([[1, 0, 0], [0, 0, 0]], dtype=bool)
    assert region_similarity(prediction, truth, ignore) == 2 / 5


def test_hand_computed_contour():
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:3] = True
    wanted = np.zeros((4, 5), dtype=bool)
    wanted[0, 0:3] = wanted[1, [0, 2]] = wanted[2, 0:3] = True  # half a pixel to the upper left
    np.testing.assert_array_equal(boundary_map(mask), wanted)
    moved = np.roll(mask, 1, axis=1)
    shared = np.sum(wanted & np.roll(wanted, 1, axis=1))  # contours of 8 pixels each
    assert contour_accuracy(moved, mask, 0) == pytest.approx(shared / 8)
    assert contour_accuracy(moved, mask, 1) == 1.0


def test_an_object_has_no_contour_along_the_border_of_the_picture():
    corner = np.zeros((6, 7), dtype=bool)
    corner[:3, :3] = True
    edges = boundary_map(corner)
    assert edges.sum() == 5
    assert not edges[0, 0]
    assert boundary_map(np.ones((6, 7), dtype=bool)).sum() == 0


@pytest.mark.parametrize(
    ("prediction", "truth", "J", "F"),
    [
        ("empty", "empty", 1, 1),
        ("block", "empty", 0, 0),
        ("empty", "block", 0, 0),
        ("full", "empty", 0, 1),  # neither has a contour
        ("full", "full", 1, 1),
        ("full", "block", 6 / 30, 0),
    ],
)
def test_empty_and_full_masks(prediction, truth, J, F):
    shapes = {name: np.zeros((5, 6), dtype=bool) for name in ("empty", "block", "full")}
    shapes["block"][1:3, 1:4] = True
    shapes["full"][:] = True
    assert region_similarity(shapes[prediction], shapes[truth]) == J
    assert contour_accuracy(shapes[prediction], shapes[truth]) == F


def test_everything_ignored_agrees():
    a, b = np.eye(9, dtype=bool), np.zeros((9, 9), dtype=bool)
    everywhere = np.ones((9, 9), dtype=bool)
    assert region_similarity(a, b, everywhere) == contour_accuracy(a, b, ignore=everywhere) == 1.0


def test_the_rim_of_an_ignored_region_is_contour_of_both():
    truth = np.zeros((9, 9), dtype=bool)
    ignore = np.zeros((9, 9), dtype=bool)
    ignore[4:] = True
    full, half = np.ones((9, 9), dtype=bool), np.ones((9, 9), dtype=bool)
    half[4:] = False
    assert contour_accuracy(full, half, 0, ignore) == 1.0  # both end at the rim
    assert contour_accuracy(full, truth, 0, ignore) == 0.0  # which is a contour that the empty truth lacks


@pytest.mark.parametrize(
    ("size", "pixels"), [((60, 107), 1), ((120, 214), 2), ((240, 427), 4), ((480, 854), 8), ((1080, 1920), 18)]
)
def test_tolerance_is_a_share_of_the_diagonal_rounded_up(size, pixels):
    assert tolerance_pixels(0.008, *size) == pixels
    assert tolerance_pixels(3.5, *size) == 3.5


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda m: torch.from_numpy(m.astype(np.uint8))])
def test_arrays_and_tensors_bool_and_bytes_score_alike(convert):
    rng = np.random.default_rng(0)
    a, b, ignore = (draw_mask(rng, 30, 70, "blocks") for _ in range(3))
    given_ = [convert(mask) for mask in (a, b)]
    assert region_similarity(*given_, convert(ignore)) == reference.region_similarity(a, b, ignore)
    assert contour_accuracy(*given_, ignore=convert(ignore)) == reference.contour_accuracy(a, b, ignore=ignore)


def test_inputs_are_left_alone_and_need_not_be_contiguous():
    rng = np.random.default_rng(1)
    a, b = draw_mask(rng, 30, 70, "noise"), draw_mask(rng, 30, 70, "blocks")
    copies = a.copy(), b.copy()
    assert contour_accuracy(a[::-2, 1::3], b[::-2, 1::3]) == reference.contour_accuracy(
        a[::-2, 1::3].copy(), b[::-2, 1::3].copy()
    )
    np.testing.assert_array_equal(a, copies[0])
    np.testing.assert_array_equal(b, copies[1])


MASK = np.zeros((4, 5), dtype=bool)


@pytest.mark.parametrize("function", [region_similarity, contour_accuracy])
@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((4, 6), dtype=bool), MASK, r"shape \[4, 6\], truth has \[4, 5\]"),
        (MASK[None], MASK, r"\[H, W\].*got shape \[1, 4, 5\]"),
        (np.zeros((0, 5), dtype=bool), MASK, "at least one pixel"),
        (MASK.astype(np.float32), MASK, "probs > 0.5"),
        (MASK, MASK.astype(np.int64), "truth must be boolean or uint8"),
        (np.full((4, 5), 3, dtype=np.uint8), MASK, "labels == 3"),
    ],
)
def test_bad_masks_are_refused_with_advice(function, prediction, truth, message):
    with pytest.raises(InputError, match=message):
        function(prediction, truth)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_bad_tolerance_is_refused(tolerance):
    with pytest.raises(InputError, match="tolerance must be 0 or more"):
        contour_accuracy(MASK, MASK, tolerance)


def test_bad_ignore_mask_is_refused():
    with pytest.raises(InputError, match="ignore mask"):
        region_similarity(MASK, MASK, np.zeros((5, 5), dtype=bool))


def test_faster_than_the_obvious_version():
    """The benchmark measures some 14 times; a third of that must hold on any machine, however busy."""
    truth, prediction = (np.zeros((480, 854), dtype=bool) for _ in range(2))
    truth[100:300, 200:500], prediction[110:310, 190:480] = True, True
    times = {"fast": [], "slow": []}
    for _ in range(8):
        for name, function in (("fast", contour_accuracy), ("slow", reference.contour_accuracy)):
            start = time.process_time()
            function(prediction, truth)
            times[name].append(time.process_time() - start)
    assert min(times["slow"]) > 4 * min(times["fast"])
