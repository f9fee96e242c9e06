"""The check that needs no truth, against truths: what it finds, what it cannot find, and how the mask is used."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import OpenCvFlow, motion_between
from course_lib.methods.propagation.inconsistency import (
    AttentionConfig,
    blend_with_past,
    find_inconsistent,
    inconsistent_flow,
    inconsistent_labels,
    refine_inside,
    round_trip,
    soften,
)
from course_lib.methods.propagation.label_warp import Motion, warp_labels
from course_lib.methods.propagation.refiner import refine_carried

SIZE, TOP, LEFT, SIDE = 64, 20, 16, 24


def moving_square(dx):
    """Labels before and after, and the exact motion, of a square that moves by dx over a still background."""
    before, after = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8)
    past, future = torch.zeros(2, 1, 2, SIZE, SIZE)
    rows = slice(TOP, TOP + SIDE)
    before[:, rows, LEFT : LEFT + SIDE] = 1
    after[:, rows, LEFT + dx : LEFT + dx + SIDE] = 1
    future[:, 0, rows, LEFT : LEFT + SIDE] = dx
    past[:, 0, rows, LEFT + dx : LEFT + dx + SIDE] = -dx
    return before, after, Motion(past, future)


def grown(mask):
    return F.max_pool2d(mask.float(), 3, 1, 1) > 0


def textured(dx):
    """The same square as a picture: one texture moves over another."""

    def texture(seed, side):
        grain = cv2.GaussianBlur(np.random.default_rng(seed).random((side, side, 3), dtype=np.float32), (0, 0), 1.5)
        return torch.from_numpy((grain - grain.min()) / (grain.max() - grain.min())).permute(2, 0, 1)

    frame = texture(0, SIZE)
    frame[:, TOP : TOP + SIDE, LEFT + dx : LEFT + dx + SIDE] = texture(1, SIDE)
    return frame


@pytest.mark.parametrize("dx", [1, 3, 8])
def test_vectors_flag_exactly_the_strip_that_had_no_past(dx):
    before, after, motion = moving_square(dx)
    assert torch.equal(inconsistent_flow(motion, (SIZE, SIZE)), (before == 1) & (after == 0))


@pytest.mark.parametrize("dx", [3, 8])
def test_with_exact_flow_labels_do_not_see_the_ghost(dx):
    """The blind spot: the strip shows a ghost of the square, which goes to the square and comes back as square."""
    before, after, motion = moving_square(dx)
    carried = warp_labels(before, motion.to_past)
    ghost = (carried == 1) & (after == 0)
    assert ghost.sum() == dx * SIDE
    assert not inconsistent_labels(carried, motion).any()
    assert torch.equal(round_trip(carried, motion), carried)


def test_labels_find_an_object_whose_flow_is_wrong():
    """A pole of 2 pixels moves by 5; flow to the past misses it: the pole is lost, and the check says where."""
    before = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    before[:, :, 20:22] = 1
    future = torch.zeros(1, 2, SIZE, SIZE)
    future[:, 0, :, 20:22] = 5
    missed = Motion(torch.zeros(1, 2, SIZE, SIZE), future)
    carried = warp_labels(before, missed.to_past)  # the pole stays at 20, 21
    found = inconsistent_labels(carried, missed)
    assert found[:, :, 20:22].all() and found.sum() == 2 * SIZE


@pytest.mark.parametrize("dx", [3, 5, 8])
def test_estimated_flow_is_flagged_around_the_strip(dx):
    """With DIS on a textured scene: vectors find most of the strip (± 1 pixel); labels a part of what is wrong."""
    before, after, _ = moving_square(dx)
    flow = OpenCvFlow()
    motion = motion_between(flow, flow.see(textured(0)), flow.see(textured(dx)), both=True)
    strip = (before == 1) & (after == 0)
    vectors = inconsistent_flow(motion, (SIZE, SIZE))
    assert (grown(vectors) & strip).sum() > 0.6 * strip.sum()
    reach = F.max_pool2d(((before == 1) | (after == 1)).float(), 17, 1, 8) > 0  # DIS matches patches of 8 pixels
    labels = inconsistent_labels(warp_labels(before, motion.to_past), motion)
    assert 0 < labels.sum() and not (labels & ~reach).any()


@pytest.mark.parametrize(
    ("name", "dials", "precision", "recall"),
    [("easy", {"length": 5}, 0.8, 0.95), ("driving", {"length": 3, "stereo": False}, 0.8, 0.6)],
)
def test_vectors_against_the_worlds_exact_occlusions(name, dials, precision, recall):
    """Exact flow at 8 frames a second, ± 1 pixel. What the recall lacks moved by less than the tolerance of 0.7."""
    hits = np.zeros(4)
    for seed in range(2):
        clip = World(scenario(name, frame_rate=8.0, **dials)).clip(seed)
        for t in range(len(clip) - 1):
            motion = Motion(clip.backward_flow[t][None], clip.forward_flow[t][None])
            truth = clip.occluded_backward[t][None]
            found = inconsistent_flow(motion, clip.size)
            hits += [(found & grown(truth)).sum(), found.sum(), (grown(found) & truth).sum(), truth.sum()]
    assert hits[0] / hits[1] > precision
    assert hits[2] / hits[3] > recall


def test_leaving_the_frame_counts_and_a_hair_does_not():
    motion = Motion(torch.full((1, 2, 8, 8), -1e-6), torch.full((1, 2, 8, 8), 1e-6))
    assert not inconsistent_flow(motion, (8, 8)).any()
    motion = Motion(torch.tensor([2.0, 0]).view(1, 2, 1, 1).repeat(1, 1, 8, 8), -torch.zeros(1, 2, 8, 8))
    motion = Motion(motion.to_past, -motion.to_past)
    assert inconsistent_flow(motion, (8, 8))[0].float().sum(0).tolist() == [0, 0, 0, 0, 0, 0, 8, 8]


def test_which_check_is_asked():
    before, _, motion = moving_square(3)
    probs = F.one_hot(warp_labels(before, motion.to_past).long(), 2).permute(0, 3, 1, 2).float()
    found = {
        check: find_inconsistent(probs, motion, AttentionConfig(check)) for check in ("labels", "vectors", "either")
    }
    assert not found["labels"].any() and torch.equal(found["vectors"], found["either"])


def test_the_mask_is_dilated_then_smoothed():
    mask = torch.zeros(1, 31, 31, dtype=torch.bool)
    mask[0, 15, 15] = True
    hard = soften(mask, AttentionConfig(dilation=7, smoothing=0))
    assert hard.sum() == 49 and hard[0, 0, 12:19, 12:19].all()
    soft = soften(mask, AttentionConfig(dilation=7, smoothing=2.0))
    torch.testing.assert_close(soft.sum(), torch.tensor(49.0))
    row = sum(math.exp(-0.5 * (i / 2) ** 2) for i in range(-3, 4)) / sum(
        math.exp(-0.5 * (i / 2) ** 2) for i in range(-6, 7)
    )
    assert soft[0, 0, 15, 15].item() == pytest.approx(row**2, abs=1e-6)
    whole = soften(torch.ones(1, 9, 9, dtype=torch.bool), AttentionConfig())
    torch.testing.assert_close(whole, torch.ones(1, 1, 9, 9))  # also at the border
    assert whole.max() <= 1


def test_small_grids_get_a_smaller_mask():
    assert AttentionConfig.fitting((256, 512)) == AttentionConfig("labels", 7, 2.0)
    assert AttentionConfig.fitting((64, 128), "either") == AttentionConfig("either", 3, 1.0)


def test_refinement_inside_the_mask_only():
    generator = torch.Generator().manual_seed(0)
    refined, carried = (torch.rand(1, 4, 8, 8, generator=generator).softmax(1) for _ in range(2))
    attention = torch.rand(1, 1, 8, 8, generator=generator)
    mixed = refine_inside(attention, refined, carried)
    torch.testing.assert_close(mixed.sum(1), torch.ones(1, 8, 8))
    assert torch.equal(refine_inside(torch.zeros(1, 1, 8, 8), refined, carried), carried)
    assert torch.equal(refine_inside(torch.ones(1, 1, 8, 8), refined, carried), refined)
    with pytest.raises(InputError, match="differ"):
        refine_inside(attention, refined, carried[:, :3])


def test_the_module_as_a_whole():
    before, _, motion = moving_square(3)
    carried = F.one_hot(warp_labels(before, motion.to_past).long(), 2).permute(0, 3, 1, 2).float()
    refined = torch.full_like(carried, 0.5)
    config = AttentionConfig("vectors", dilation=1, smoothing=0)
    probs, attention = refine_carried(refined, carried, motion, config)
    strip = inconsistent_flow(motion, (SIZE, SIZE))[:, None]
    assert torch.equal(attention.bool(), strip)
    assert torch.equal(probs, torch.where(strip, refined, carried))


def test_blending_refreshes_what_is_consistent():
    new, past = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    attention = torch.tensor([[1.0, 0.0], [0.5, 0.0]]).view(1, 1, 2, 2)
    assert blend_with_past(attention, new, past)[0, 0].tolist() == [[0.0, 0.5], [0.25, 0.5]]
    assert blend_with_past(attention, new, past, keep=1)[0, 0].tolist() == [[0.0, 1.0], [0.5, 1.0]]
    with pytest.raises(InputError, match="share"):
        blend_with_past(attention, new, past, keep=2)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="both ways"):
        inconsistent_labels(torch.zeros(1, 4, 4, dtype=torch.uint8), Motion(torch.zeros(1, 2, 4, 4)))
    with pytest.raises(InputError, match="check must be"):
        AttentionConfig("colours")
    for wrong in ({"dilation": 2}, {"dilation": 0}, {"smoothing": -1}):
        with pytest.raises(InputError, match="dilation must be odd"):
            AttentionConfig(**wrong)
