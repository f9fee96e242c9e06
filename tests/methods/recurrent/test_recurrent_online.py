"""Online training: a network that has practised on a frame follows its object better, and the given one stays."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.methods.recurrent.losses import sequence_loss
from course_lib.methods.recurrent.online import MASKS_ALONE, Drift, fine_tune_online, synthetic_clips
from course_lib.methods.recurrent.rows import bi_hs2s, hs2s, s2s

SIDE = 32


def scene(x=9, y=8):
    """A bright rectangle before a blurred background: frame [3, S, S], mask [1, S, S]."""
    generator = torch.Generator().manual_seed(3)
    ground = 0.6 * F.interpolate(torch.rand(1, 3, 5, 5, generator=generator), size=(SIDE, SIDE), mode="bilinear")[0]
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, y : y + 12, x : x + 10] = 1
    return torch.where(mask > 0, torch.tensor([0.9, 0.3, 0.1])[:, None, None], ground), mask


def displaced(dx=2, dy=1):
    """What comes next if the camera moves: frames [1, 3, 3, S, S] and masks [1, 3, 1, S, S]."""
    frame, mask = scene()
    frames = torch.stack([frame.roll((dy * t, dx * t), (1, 2)) for t in range(3)])
    return frames[None], torch.stack([mask.roll((dy * t, dx * t), (1, 2)) for t in range(3)])[None]


def network(build=s2s):
    torch.manual_seed(0)
    return build()


@torch.no_grad()
def loss_on_displaced(net):
    frames, masks = displaced()
    return float(sequence_loss(net.eval()(frames, masks[:, 0]), masks[:, 1:], MASKS_ALONE)["loss"])


@pytest.mark.parametrize("build", [s2s, hs2s, bi_hs2s])
def test_it_improves_the_fit_to_a_displaced_copy(build):
    net = network(build)
    tuned = fine_tune_online(net, *scene(), steps=12, lr=1e-3)
    assert loss_on_displaced(tuned) < 0.8 * loss_on_displaced(net)


def test_the_given_network_is_left_untouched_and_the_same_generator_gives_the_same_copy():
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(1)
    one = fine_tune_online(net, *scene(), steps=3, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(2)  # random numbers of others do not matter
    same = fine_tune_online(net, *scene(), steps=3, generator=torch.Generator().manual_seed(5))
    other = fine_tune_online(net, *scene(), steps=3, generator=torch.Generator().manual_seed(6))
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in (*net.parameters(), *one.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters()))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), net.parameters()))
    assert not one.training


def test_it_learns_where_gradients_are_switched_off():
    net = network()
    with torch.no_grad():
        tuned = fine_tune_online(net, *scene(), steps=2)
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), net.parameters()))


def test_frozen_weights_stay():
    net = network()
    net.encoder.requires_grad_(False)
    tuned = fine_tune_online(net, *scene(), steps=2)
    assert all(torch.equal(a, b) for a, b in zip(tuned.encoder.parameters(), net.encoder.parameters()))


def test_clips_begin_with_the_given_frame_and_drift_at_a_steady_pace():
    frame, mask = scene()
    frames, masks = synthetic_clips(frame, mask, 6, 4, Drift(0.06, 0, 0), torch.Generator().manual_seed(0))
    assert frames.shape == (6, 4, 3, SIDE, SIDE) and masks.shape == (6, 4, 1, SIDE, SIDE)
    torch.testing.assert_close(frames[:, 0], frame.expand(6, -1, -1, -1), atol=1e-5, rtol=0)
    assert torch.equal(masks[:, 0], mask.to(torch.uint8).expand(6, -1, -1, -1))
    at = torch.arange(SIDE) + 0.5
    there = (masks[:, :, 0] == 1).float()
    x = (there.sum(2) * at).sum(2) / there.sum((2, 3))  # [N, T] column of the mask's centre
    steps = x.diff(dim=1)
    assert steps.abs().max() <= 0.06 * SIDE + 1  # nearest pixels: up to one off
    assert ((x[:, 3] - x[:, 0]).abs() <= 3 * 0.06 * SIDE + 1).all() and (x[:, 3] - x[:, 0]).abs().max() > 2
    assert ((steps.amax(1) - steps.amin(1)) <= 1).all()


def test_what_the_frame_did_not_show_counts_for_nothing():
    frame, mask = torch.ones(3, SIDE, SIDE), torch.ones(1, SIDE, SIDE)
    frames, masks = synthetic_clips(
        frame, mask, 8, 3, Drift(0.2, 0, 0), torch.Generator().manual_seed(0), fill=(0.0, 0.0, 0.0)
    )
    assert set(masks.unique().tolist()) == {1, 255}
    bright = frames.amin(dim=2, keepdim=True)
    assert (bright[masks == 1] > 0.24).all() and (bright[masks == 255] < 0.51).all()  # half a pixel at a side


def test_a_square_stays_one_when_it_turns_in_a_wide_frame():
    mask = torch.zeros(1, 32, 64)
    mask[:, 8:24, 24:40] = 1
    drift = Drift(0, 30, 0)
    _, masks = synthetic_clips(mask.expand(3, -1, -1), mask, 8, 3, drift, torch.Generator().manual_seed(1))
    area = (masks == 1).sum((2, 3, 4))
    assert (area - 256).abs().max() <= 8


def test_zoom_changes_the_area_by_its_square_and_no_drift_keeps_the_frame():
    frame, mask = scene()
    _, masks = synthetic_clips(frame, mask, 20, 2, Drift(0, 0, 0.3), torch.Generator().manual_seed(1))
    share = (masks[:, 1] == 1).sum((1, 2, 3)) / mask.sum()
    assert 0.9 / 1.69 < share.min() < 0.85 and 1.2 < share.max() < 1.69 * 1.1
    still, _ = synthetic_clips(frame, mask, 1, 3, Drift(0, 0, 0))
    torch.testing.assert_close(still[0], frame.expand(3, -1, -1, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.zeros(1, SIDE, SIDE)}, "the mask is empty"),
        ({"mask": torch.ones(SIDE, SIDE)}, r"mask \[1, H, W\], got \[3, 32, 32\] torch.float32 and \[32, 32\]"),
        ({"frame": torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)}, "floating point"),
        ({"frame": torch.zeros(3, 40, SIDE), "mask": torch.ones(1, 40, SIDE)}, "divisible by 16, got .40, 32."),
        ({"steps": 0}, "1 step or more"),
        ({"lr": 0.0}, "lr > 0"),
        ({"frames": 1}, "2 frames or more; got 1, 0.0001, 2, 1"),
    ],
)
def test_errors(change, message):
    frame, mask = scene()
    with pytest.raises(InputError, match=message):
        fine_tune_online(network(), **{"frame": frame, "mask": mask, "steps": 1, **change})
    with pytest.raises(InputError, match="zoom below 1"):
        Drift(zoom=1.0)
