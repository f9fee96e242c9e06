"""Correlation against slow loops and torchvision, the photometric loss by hand, and a pair of frames that is learnt."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models.optical_flow.raft import CorrBlock

from course_lib.errors import InputError
from course_lib.methods.recurrent.correlation import all_pairs, look_up, pyramid
from course_lib.methods.recurrent.flow_head import PUBLISHED_FLOW, SMALL_FLOW, FlowConfig, FlowHead, convex_upsample
from course_lib.methods.recurrent.photometric import (
    PhotometricConfig,
    end_point_error,
    photometric_error,
    photometric_loss,
    roughness,
)

TINY = FlowConfig(hidden=8, iterations=3, levels=2, radius=1)


def constant(x, y, b=1, h=16, w=16):
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(b, 2, h, w)


def maps(seed=0, b=1, c=4, h=6, w=7):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(b, c, h, w, generator=g), torch.randn(b, c, h, w, generator=g)


def textured_pair(shift, size=32):
    """Two windows of one smooth random texture: what is at p in the first is at p + shift in the second."""
    texture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(texture, (2 * size, 2 * size), mode="bicubic", align_corners=False).clamp(0, 1)
    top, left = size // 2 - shift[1], size // 2 - shift[0]
    first = large[..., size // 2 : size // 2 + size, size // 2 : size // 2 + size]
    return first, large[..., top : top + size, left : left + size]


# -- correlation --


def test_volume_of_a_small_image():
    a, b = maps(c=16, h=8, w=8)  # 64 x 64 pixels at stride 8
    volume = all_pairs(a, b)
    assert volume.numel() == 8**4 == 4096
    assert volume[0, 1, 2, 5, 7].item() == pytest.approx((a[0, :, 1, 2] @ b[0, :, 5, 7]).item() / 4, rel=1e-5)


def slow_look_up(a, b, flow, radius, levels):
    """One entry after the other: pool feature maps instead of the volume, interpolate by hand."""
    height, width = a.shape[-2:]
    out = torch.zeros(levels * (2 * radius + 1) ** 2, height, width)

    def value(i, j, pooled, y, x):
        total = 0.0
        for yy in (math.floor(y), math.floor(y) + 1):
            for xx in (math.floor(x), math.floor(x) + 1):
                if 0 <= yy < pooled.shape[1] and 0 <= xx < pooled.shape[2]:
                    share = (1 - abs(y - yy)) * (1 - abs(x - xx))
                    total += share * (a[0, :, i, j] @ pooled[:, yy, xx]).item() / math.sqrt(a.shape[1])
        return total

    channel = 0
    for level in range(levels):
        size = 2**level
        pooled = F.avg_pool2d(b, size)[0] if min(height, width) >= size else torch.zeros(a.shape[1], 0, 0)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                for i in range(height):
                    for j in range(width):
                        x, y = j + flow[0, 0, i, j].item(), i + flow[0, 1, i, j].item()
                        at_y, at_x = (y + 0.5) / size - 0.5 + dy, (x + 0.5) / size - 0.5 + dx
                        out[channel, i, j] = value(i, j, pooled, at_y, at_x)
                channel += 1
    return out


@pytest.mark.parametrize("size", [(4, 5), (6, 4), (2, 3)])
def test_look_up_is_the_slow_one(size):
    a, b = maps(1, h=size[0], w=size[1])
    flow = 2 * torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(2))
    fast = look_up(pyramid(all_pairs(a, b), 3), flow, 1, 3)
    torch.testing.assert_close(fast[0], slow_look_up(a, b, flow, 1, 3), rtol=1e-4, atol=1e-5)


def test_the_finest_level_is_torchvisions():
    a, b = maps(3, b=2, h=8, w=9)
    flow = torch.randn(2, 2, 8, 9, generator=torch.Generator().manual_seed(4))
    block = CorrBlock(num_levels=1, radius=2)
    block.build_pyramid(a, b)
    grid = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="xy"))
    theirs = block.index_pyramid(grid + flow).unflatten(1, (5, 5)).transpose(1, 2).flatten(1, 2)  # x is their slow axis
    torch.testing.assert_close(look_up(pyramid(all_pairs(a, b), 1), flow, 2, 1), theirs, rtol=1e-4, atol=1e-5)


def test_a_tiny_map_has_fewer_levels_and_the_rest_is_zero():
    a, b = maps(h=4, w=4)
    levels = pyramid(all_pairs(a, b), 4)
    assert [tuple(level.shape[-2:]) for level in levels] == [(4, 4), (2, 2), (1, 1)]
    windows = look_up(levels, torch.zeros(1, 2, 4, 4), 1, 4)
    assert windows.shape == (1, 4 * 9, 4, 4) and (windows[:, 27:] == 0).all() and windows[:, 18:27].any()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_best_match_of_a_moved_pattern_is_where_it_went(level):
    g = torch.Generator().manual_seed(0)
    a = F.normalize(torch.randn(1, 64, 16, 16, generator=g), dim=1)
    b = a.roll((4, 8), (2, 3))  # down by 4, right by 8: whole cells of each level
    windows = look_up(pyramid(all_pairs(a, b), 3), constant(8, 4), 2, 3).unflatten(1, (3, 5, 5))
    window = windows[0, level, :, :, :12, :8].mean(dim=(2, 3))  # of pixels that stay in the frame
    assert window.flatten().argmax() == 12  # the middle
    if level == 0:
        assert window[2, 2].item() == pytest.approx(1 / 8)  # |a|² / sqrt(64)


# -- the head --


@pytest.mark.parametrize("upsampling", ["learned", "bilinear"])
def test_shapes_iterations_and_sizes_of_any_map(upsampling):
    head = FlowHead(5, 4, stride=8, config=FlowConfig(hidden=8, iterations=3, upsampling=upsampling))
    for h, w in ((8, 8), (5, 7), (1, 3)):
        a, b = maps(b=2, h=h, w=w)
        context = torch.randn(2, 5, h, w)
        assert [tuple(flow.shape) for flow in head(a, b, context)] == 3 * [(2, 2, 8 * h, 8 * w)]
        assert len(head(a, b, context, iterations=1)) == 1


def test_sizes_of_the_published_head():
    assert (PUBLISHED_FLOW.iterations, PUBLISHED_FLOW.levels, PUBLISHED_FLOW.radius) == (12, 4, 4)
    assert SMALL_FLOW.iterations == 4
    head = FlowHead(256, 256)
    assert head.motion.convcorr1[0].in_channels == 4 * 81
    assert (head.motion.convcorr1[0].out_channels, head.motion.convcorr2[0].out_channels) == (256, 192)
    assert (head.motion.convflow1[0].out_channels, head.motion.convflow2[0].out_channels) == (128, 64)
    assert head.motion.out_channels == head.gru.channels == 128 and head.increment.conv1.out_channels == 256


def test_iterations_are_detached_from_the_flow_before():
    """The bias of the increments moves each flow once, not once per iteration so far."""
    torch.manual_seed(0)
    head = FlowHead(5, 4, stride=2, config=FlowConfig(hidden=8, levels=2, radius=1, upsampling="bilinear"))
    a, b = maps()
    flows = head(a, b, torch.randn(1, 5, 6, 7), iterations=4)
    for flow in flows:
        (grad,) = torch.autograd.grad(flow[:, 0].mean(), head.increment.conv2.bias, retain_graph=True)
        torch.testing.assert_close(grad, torch.tensor([2.0, 0.0]))  # one pixel of the map is `stride` pixels
    features = list(head.start.parameters())
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(flows[-1].sum(), features))  # through the GRU's state


def test_matching_is_linear_and_optional():
    torch.manual_seed(0)
    assert isinstance(FlowHead(5, 4, config=TINY).match, nn.Identity)
    head = FlowHead(5, 4, config=FlowConfig(hidden=8, matching=3))
    a, b = maps()
    head(a, b, torch.randn(1, 5, 6, 7), 2)[-1].sum().backward()
    assert head.match.weight.grad.abs().sum() > 0


def test_samples_of_a_batch_are_for_themselves():
    torch.manual_seed(0)
    head = FlowHead(5, 4, config=TINY).eval()
    a, b = maps(b=3)
    context = torch.randn(3, 5, 6, 7)
    together, alone = head(a, b, context)[-1], head(a[1:2], b[1:2], context[1:2])[-1]
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 1000))
def test_convex_upsampling_keeps_within_its_neighbours(seed):
    g = torch.Generator().manual_seed(seed)
    flow, scores = torch.randn(2, 2, 3, 4, generator=g), torch.randn(2, 9 * 4, 3, 4, generator=g)
    fine = convex_upsample(flow, scores, 2)
    highest = 2 * F.max_pool2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), 3, 1).repeat_interleave(2, -1)
    assert (fine <= highest.repeat_interleave(2, -2) + 1e-5).all()
    torch.testing.assert_close(convex_upsample(constant(3, -1, b=2, h=3, w=4), scores, 2), constant(6, -2, 2, 6, 8))


def test_convex_upsampling_by_hand():
    """All weight on one neighbour, another one for each of the four pixels."""
    flow = torch.arange(18.0).view(1, 2, 3, 3)
    scores = torch.full((9, 4), -1e4)
    scores[[0, 1, 5, 8], [0, 1, 2, 3]] = 0  # up-left, up, right, down-right
    fine = convex_upsample(flow, scores.view(1, 36, 1, 1).expand(1, 36, 3, 3), 2)
    assert fine[0, 0, 2:4, 2:4].tolist() == [[0, 2], [10, 16]]  # of the centre place, whose neighbours are 0 … 8
    assert fine[0, 1, 2:4, 2:4].tolist() == [[18, 20], [28, 34]]


# -- the loss --


def test_zero_flow_on_a_known_translation_is_off_by_its_length():
    assert (end_point_error(torch.zeros(1, 2, 16, 16), constant(3, 4)) == 5).all()


def test_the_right_flow_costs_nothing_and_zero_flow_something():
    a, b = textured_pair((3, -2))
    right, zero = constant(3, -2, h=32, w=32), torch.zeros(1, 2, 32, 32)
    assert photometric_error(a, b, right).item() < 1e-5
    assert photometric_error(a, b, zero).item() > 0.05
    assert photometric_loss(a, b, [zero, right]).item() == pytest.approx(0.8 * photometric_error(a, b, zero).item())


def test_photometric_loss_by_hand():
    """A row of four; the flow leads the last pixel out of the frame, and it is left out of the mean."""
    a = torch.tensor([0.0, 0.2, 0.4, 0.6]).view(1, 1, 1, 4)
    b = torch.tensor([0.9, 0.1, 0.4, 0.9]).view(1, 1, 1, 4)
    flow = constant(1, 0, h=1, w=4)
    assert photometric_error(a, b, flow).item() == pytest.approx((0.1 + 0.2 + 0.5) / 3, rel=1e-4)
    visible = torch.tensor([True, True, False, True]).view(1, 1, 4)
    assert photometric_error(a, b, flow, visible).item() == pytest.approx((0.1 + 0.2) / 2, rel=1e-4)
    assert photometric_error(a, b, constant(9, 0, h=1, w=4)).item() == 0  # nothing is left: the pitfall of masking


def test_weights_of_the_iterations():
    a, b = textured_pair((1, 0))
    flows = [constant(x, 0, h=32, w=32) for x in (0.0, 2.0, 0.5)]
    errors = [photometric_error(a, b, flow).item() for flow in flows]
    expected = 0.64 * errors[0] + 0.8 * errors[1] + errors[2]
    assert photometric_loss(a, b, flows).item() == pytest.approx(expected)


def test_smoothness_by_hand_and_at_edges():
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 0, :, 2] = 3  # a jump of 3 in x between the last two columns: 2 of 8 differences along rows
    grey = torch.zeros(1, 3, 2, 3)
    assert roughness(flow, grey).item() == pytest.approx(2 * 3 / 8)
    edge = grey.clone()
    edge[..., 2] = 0.3
    assert roughness(flow, edge, edge=10.0).item() == pytest.approx(2 * 3 / 8 * math.exp(-3), rel=1e-5)
    assert roughness(constant(2, 1, h=1, w=1), torch.zeros(1, 3, 1, 1)).item() == 0


def test_hidden_pixels_carry_no_gradient():
    a, b = textured_pair((2, 0))
    flow = (constant(2, 0, h=32, w=32) + 0.3).requires_grad_()
    back = -flow.detach()
    back[:, :, 10:20, 10:20] += 5.0  # what is seen there in b says that it came from elsewhere
    photometric_loss(a, b, [flow], back, PhotometricConfig(smoothness=0.0)).sum().backward()
    moved = flow.grad.abs().sum(dim=1)[0] > 0
    hidden = torch.zeros(32, 32, dtype=torch.bool)
    hidden[10:19, 8:17] = True  # led into the square for certain
    assert not moved[hidden].any() and not moved[:, 30:].any()  # nor do pixels that left the frame
    assert moved[:8, :28].float().mean() > 0.95


def test_a_flow_is_learnt_from_one_pair_without_labels():
    torch.manual_seed(0)
    a, b = textured_pair((3, -2))
    truth = constant(3, -2, h=32, w=32)
    encoder = nn.Sequential(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1))
    head = FlowHead(32, 32, stride=4, config=FlowConfig(hidden=16, iterations=4, levels=3))
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(80):
        features = encoder(a)
        loss = photometric_loss(a, b, head(features, encoder(b), features)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = end_point_error(head(encoder(a), encoder(b), encoder(a))[-1], truth).mean().item()
    assert error < 1.0 < end_point_error(torch.zeros_like(truth), truth).mean().item()  # 3.6 pixels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: FlowConfig(hidden=7), "even hidden size"),
        (lambda: FlowConfig(levels=0), "counts of 1 or more"),
        (lambda: FlowConfig(upsampling="nearest"), "got 'nearest'"),
        (lambda: FlowHead(0, 4), "context_channels=0"),
        (
            lambda: FlowHead(5, 4, config=TINY)(*maps(c=3), torch.zeros(1, 5, 6, 7)),
            r"\[B, 4, h, w\], got \[1, 3, 6, 7\]",
        ),
        (lambda: FlowHead(5, 4, config=TINY)(*maps(), torch.zeros(1, 4, 6, 7)), r"must be \[1, 5, 6, 7\], got"),
        (lambda: FlowHead(5, 4, config=TINY)(*maps(), torch.zeros(1, 5, 6, 7), 0), "at least one iteration, got 0"),
        (lambda: all_pairs(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4)), "both feature maps"),
        (lambda: pyramid(torch.zeros(1, 2, 2, 2, 2), 0), "at least one level, got 0"),
        (lambda: photometric_loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), []), "at least one flow"),
        (
            lambda: photometric_loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), [torch.zeros(1, 2, 4, 5)]),
            r"flows their size.*\[1, 2, 4, 5\]",
        ),
        (lambda: PhotometricConfig(decay=0.0), r"decay in \(0, 1\]"),
        (
            lambda: end_point_error(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5)),
            r"both flows must be \[B, 2, H, W\]",
        ),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
