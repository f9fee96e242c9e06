"""Backward warps, their order, the three sets of moves, and boxes carried into a view."""

import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet, rotation, translation
from course_lib.methods.spatial_transformer.geometry import (
    clipped_share,
    compose,
    compose_sequence,
    frame_corners,
    homogeneous,
    identity,
    sampling_grid,
    transport_boxes,
    true_iou,
    view,
    view_step_by_step,
)

MIDDLE = (..., slice(30, 66), slice(30, 66))  # of 96 pixels: what left the frame on the way is lost stepwise only


def smooth_images(n=4, side=96):
    """Soft blobs around the middle, wide enough that interpolating them again and again costs little."""
    g = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    centres = torch.rand(n, 3, 2, generator=g) * 0.6 - 0.3
    square = (x - centres[..., 0, None, None]) ** 2 + (y - centres[..., 1, None, None]) ** 2
    return torch.exp(-square / 0.2).mean(dim=1, keepdim=True)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("side", [7, 40])
def test_identity_returns_the_image(align_corners, side):
    images = torch.rand(3, 2, side, side + 5)
    assert torch.allclose(view(images, identity(3), align_corners=align_corners), images, atol=1e-5)


def test_positive_shift_moves_content_left_and_up():
    image = torch.zeros(1, 1, 40, 40)
    image[0, 0, 20, 20] = 1
    shifted = view(image, translation(4 * 2 / 40, 3 * 2 / 40)[None])  # 4 pixels right, 3 down, of the view
    assert shifted[0, 0, 17, 16] == pytest.approx(1, abs=1e-4)


def test_scale_below_one_enlarges():
    image = torch.zeros(1, 1, 40, 40)
    image[0, 0, 15:25, 15:25] = 1
    actions = ActionSet.search(40)
    larger = view(image, actions.matrices[[actions.index("zoom")]])
    assert larger.sum() == pytest.approx(100 / 0.64, rel=0.03)
    wider = view(image, actions.matrices[[actions.index("zoom x")]])
    assert wider[0, 0, 20].sum() == pytest.approx(10 / 0.8, rel=0.03)
    assert wider[0, 0, :, 20].sum() == pytest.approx(10, rel=0.01)


def test_turning_the_view_right_turns_content_left_on_the_screen():
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 36] = 1  # 16 pixels right of the centre
    turned = view(image, rotation(90)[None])
    row, column = divmod(int(turned[0, 0].argmax()), 41)
    assert (row, column) == (4, 20)  # now above it


def test_oblong_images_turn_without_shear():
    m = rotation(30, (20, 60))
    to_pixels = torch.diag(torch.tensor([30.0, 10.0, 1.0]))
    in_pixels = to_pixels @ m @ to_pixels.inverse()
    assert torch.allclose(in_pixels[:2, :2] @ in_pixels[:2, :2].T, torch.eye(2), atol=1e-6)


def test_composition_is_right_multiplication():
    """Test on smooth images: right multiplication equals step-by-step warping, left multiplication does not."""
    images, actions = smooth_images(), ActionSet.search(96)
    names = ["zoom", "right", "turn right", "down", "zoom x", "turn right", "left"]
    moves = torch.stack([actions.matrices[actions.index(n)] for n in names]).expand(len(images), -1, -1, -1)
    stepwise = view_step_by_step(images, moves)
    at_once = view(images, compose_sequence(moves))
    wrong_order = view(images, compose_sequence(moves.flip(1)))
    assert (stepwise - at_once)[MIDDLE].abs().max() < 0.01
    assert (stepwise - wrong_order)[MIDDLE].abs().max() > 0.1


def test_random_sequences_compose_to_step_by_step_warps():
    images, actions = smooth_images(8), ActionSet.search(96)
    g = torch.Generator().manual_seed(1)
    inner = [actions.index(n) for n in ("zoom", "turn right", "turn left", "right", "left", "zoom y", "stay")]
    chosen = torch.tensor(inner)[torch.randint(len(inner), (8, 5), generator=g)]
    moves = actions.matrices[chosen]
    difference = view_step_by_step(images, moves) - view(images, compose_sequence(moves))
    assert difference[MIDDLE].abs().max() < 0.01


def test_composition_by_hand():
    """A shift of 0.1 after two zooms moves the frame by 0.064 only."""
    actions = ActionSet.search(80)
    m = identity(1)
    for name in ("right", "zoom", "zoom", "right"):
        m = compose(m, actions.matrices[[actions.index(name)]])
    expected = torch.tensor([[0.64, 0, 0.1 + 0.064], [0, 0.64, 0], [0, 0, 1]])
    assert torch.allclose(m[0], expected, atol=1e-6)
    assert torch.equal(compose_sequence(torch.empty(2, 0, 3, 3)), identity(2))


def test_literal_warping_blurs_and_forgets():
    g = torch.Generator().manual_seed(0)
    noise = (torch.rand(1, 1, 64, 64, generator=g) > 0.5).float()
    half = translation(2 * 0.5 / 64, 0)
    back_and_forth = torch.stack([half, half.inverse()] * 10)[None]
    stepwise = view_step_by_step(noise, back_and_forth)[..., 16:48, 16:48]
    at_once = view(noise, compose_sequence(back_and_forth))[..., 16:48, 16:48]
    assert stepwise.std() < 0.5 * at_once.std()
    away = translation(2.5, 0)
    there_and_back = torch.stack([away, away.inverse()])[None]
    assert view_step_by_step(noise, there_and_back).abs().max() == 0
    assert torch.allclose(view(noise, compose_sequence(there_and_back)), noise, atol=1e-4)


def test_view_agrees_with_the_definition_pixel_by_pixel():
    """A slow double loop with the centre of pixel i at (2 i + 1) / n - 1."""
    g = torch.Generator().manual_seed(3)
    image = torch.rand(1, 1, 5, 7, generator=g, dtype=torch.float64)
    m = torch.tensor([[0.7, 0.2, 0.15], [-0.3, 1.1, -0.2], [0, 0, 1]], dtype=torch.float64)
    result = torch.zeros(5, 7, dtype=torch.float64)
    for i in range(5):
        for j in range(7):
            x, y, _ = m @ torch.tensor([(2 * j + 1) / 7 - 1, (2 * i + 1) / 5 - 1, 1.0], dtype=torch.float64)
            column, row = ((x + 1) * 7 - 1) / 2, ((y + 1) * 5 - 1) / 2
            for v in range(5):
                for u in range(7):
                    result[i, j] += image[0, 0, v, u] * max(0, 1 - abs(column - u)) * max(0, 1 - abs(row - v))
    assert torch.allclose(view(image, m[None])[0, 0], result, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(40, 40), (7, 12), (2, 5)])
def test_grid_equals_torchs(align_corners, size):
    g = torch.Generator().manual_seed(0)
    m = homogeneous(torch.randn(8, 2, 3, generator=g))
    expected = torch.nn.functional.affine_grid(m[:, :2], [8, 1, *size], align_corners=align_corners)
    assert torch.allclose(sampling_grid(m, size, align_corners), expected, atol=1e-6)


def test_views_can_have_another_size():
    images = smooth_images(2)
    assert view(images, identity(2), (24, 30)).shape == (2, 1, 24, 30)
    assert sampling_grid(identity(2), (3, 4)).shape == (2, 3, 4, 2)


def test_the_ten_moves():
    actions = ActionSet.search()
    m = dict(zip(actions.names, actions.matrices, strict=True))
    assert len(actions) == 10 and len(set(actions.names)) == 10
    assert m["right"][0, 2] == pytest.approx(0.1) and m["left"][0, 2] == pytest.approx(-0.1)
    assert m["down"][1, 2] == pytest.approx(0.1) and m["up"][1, 2] == pytest.approx(-0.1)
    assert torch.allclose(m["zoom"], torch.diag(torch.tensor([0.8, 0.8, 1.0])))
    assert torch.allclose(m["zoom x"] @ m["zoom y"], m["zoom"])
    c, s = math.cos(math.radians(10)), math.sin(math.radians(10))
    assert torch.allclose(m["turn right"][:2, :2], torch.tensor([[c, -s], [s, c]]))
    assert torch.allclose(m["turn right"] @ m["turn left"], torch.eye(3), atol=1e-6)
    assert torch.equal(m["stay"], torch.eye(3))


def test_the_eight_and_the_six_moves():
    eight, six = ActionSet.curriculum(), ActionSet.salient()
    assert len(eight) == 8 and len(six) == 6
    assert eight.matrices[eight.index("zoom"), 0, 0] == pytest.approx(1 / 1.2)
    assert six.matrices[six.index("zoom"), 0, 0] == pytest.approx(0.8)
    assert six.matrices[six.index("right"), 0, 2] == pytest.approx(8 / 224)
    assert not any("turn" in name for name in six.names)


@pytest.mark.parametrize("make", [ActionSet.search, ActionSet.curriculum, ActionSet.salient])
def test_shifts_scale_with_the_image(make):
    published = make()
    assert torch.allclose(make(40).matrices, published.matrices)  # the same share of the side
    three = make(28, pixels=3)
    assert three.matrices[three.index("right"), 0, 2] == pytest.approx(6 / 28)
    oblong = make((20, 40), pixels=2)
    assert oblong.matrices[oblong.index("right"), 0, 2] == pytest.approx(0.1)
    assert oblong.matrices[oblong.index("down"), 1, 2] == pytest.approx(0.2)


def test_one_hot_and_lookup():
    actions = ActionSet.salient()
    chosen = torch.tensor([0, 5, 2])
    assert torch.equal(actions.one_hot(chosen), torch.nn.functional.one_hot(chosen, 6).float())
    assert actions.to("cpu").names == actions.names


def test_boxes_by_hand():
    """224 x 224 frame, box (80, 60)-(180, 160): share 19.93 %; after a centred zoom (72, 47)-(197, 172), 31.14 %."""
    size, box = (224, 224), torch.tensor([[80.0, 60, 180, 160]])
    six = ActionSet.salient()
    zoom = six.matrices[[six.index("zoom")]]
    assert true_iou(box, size).item() == pytest.approx(0.1993, abs=5e-5)
    shown = transport_boxes(box, zoom, size)
    assert torch.allclose(shown, torch.tensor([[72.0, 47, 197, 172]]), atol=1e-4)
    assert true_iou(shown, size).item() == pytest.approx(0.3114, abs=5e-5)


def test_a_full_frame_box_after_one_zoom():
    size, box = (224, 224), torch.tensor([[0.0, 0, 224, 224]])
    shown = transport_boxes(box, ActionSet.salient().matrices[[4]], size)
    assert clipped_share(shown, size).item() == pytest.approx(1)
    assert true_iou(shown, size).item() == pytest.approx(0.64)


def test_both_shares_agree_inside_the_frame_and_nowhere_are_out_of_range():
    g = torch.Generator().manual_seed(5)
    size = (30, 50)
    corner = torch.rand(500, 2, generator=g) * torch.tensor([80.0, 60]) - 20
    boxes = torch.cat([corner, corner + torch.rand(500, 2, generator=g) * 30], dim=1)
    share, iou = clipped_share(boxes, size), true_iou(boxes, size)
    inside = (boxes[:, 0] >= 0) & (boxes[:, 1] >= 0) & (boxes[:, 2] <= 50) & (boxes[:, 3] <= 30)
    outside = (boxes[:, 0] >= 50) | (boxes[:, 1] >= 30) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    assert inside.sum() > 20 and outside.sum() > 20
    assert torch.allclose(share[inside], iou[inside], atol=1e-6)
    assert (share[outside] == 0).all() and (iou[outside] == 0).all()
    assert (iou <= share + 1e-7).all() and (share >= 0).all() and (share <= 1).all()
    rows, columns = torch.arange(30) + 0.5, torch.arange(50) + 0.5  # count pixel centres: within a pixel's rim
    count = ((rows[:, None] > boxes[:, None, None, 1]) & (rows[:, None] < boxes[:, None, None, 3])
             & (columns > boxes[:, None, None, 0]) & (columns < boxes[:, None, None, 2])).sum(dim=(1, 2))  # fmt: skip
    assert (share * 1500 - count).abs().max() < 40


def test_transport_against_a_warped_rectangle():
    """The bounding box of a filled rectangle after the warp is the transported box, to a pixel."""
    size, actions = (64, 80), ActionSet.search((64, 80), pixels=3)
    g = torch.Generator().manual_seed(2)
    straight = torch.tensor([i for i, n in enumerate(actions.names) if "turn" not in n])
    image = torch.zeros(1, 1, *size)
    image[0, 0, 25:41, 30:52] = 1
    box = torch.tensor([[30.0, 25, 52, 41]])
    for _ in range(30):
        moves = actions.matrices[straight[torch.randint(len(straight), (1, 5), generator=g)]]
        m = compose_sequence(moves)
        seen = view(image, m)[0, 0] > 0.5
        expected = transport_boxes(box, m, size)[0]
        ys, xs = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
        found = torch.tensor([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]).float()
        inside = torch.stack([expected[0].clamp(0, 80), expected[1].clamp(0, 64),
                              expected[2].clamp(0, 80), expected[3].clamp(0, 64)])  # fmt: skip
        assert (found - inside).abs().max() <= 1


def test_a_turned_box_stays_around_the_object():
    m = rotation(45)[None]
    shown = transport_boxes(torch.tensor([[15.0, 15, 25, 25]]), m, (40, 40))
    r = 5 * math.sqrt(2)
    assert torch.allclose(shown, torch.tensor([[20 - r, 20 - r, 20 + r, 20 + r]]), atol=1e-4)


def test_boxes_and_frame_are_inverse_to_each_other():
    """The frame's corners in the original, carried back into the view, are the view's own corners."""
    g = torch.Generator().manual_seed(4)
    size = (30, 44)
    m = identity(6)
    m[:, :2] += torch.rand(6, 2, 3, generator=g) * 0.4 - 0.2
    m[:, 0, 1] = m[:, 1, 0] = 0  # upright frames, whose hull is the frame
    corners = frame_corners(m, size)
    boxes = torch.cat([corners[:, 0], corners[:, 2]], dim=1)
    whole = torch.tensor([0.0, 0, 44, 30]).expand(6, 4)
    assert torch.allclose(transport_boxes(boxes, m, size), whole, atol=1e-3)
    assert torch.equal(frame_corners(identity(1), size)[0], torch.tensor([[0.0, 0], [44, 0], [44, 30], [0, 30]]))


def test_absent_boxes_stay_absent():
    nan = torch.full((1, 4), torch.nan)
    assert true_iou(transport_boxes(nan, identity(1), (9, 9)), (9, 9)).isnan().all()


def test_homogeneous_keeps_the_gradient():
    theta = torch.rand(2, 2, 3, requires_grad=True)
    m = homogeneous(theta)
    assert torch.equal(m[:, :2], theta) and torch.equal(m[:, 2], torch.tensor([[0.0, 0, 1]] * 2))
    m.sum().backward()
    assert torch.equal(theta.grad, torch.ones_like(theta))


def test_errors_say_what_was_expected():
    with pytest.raises(InputError, match=r"one matrix each, \[B, 3, 3\].*homogeneous"):
        view(torch.rand(2, 1, 8, 8), torch.rand(2, 2, 3))
    with pytest.raises(InputError, match=r"boxes must be \[B, 4\]"):
        transport_boxes(torch.rand(3, 4), identity(2), (8, 8))
    with pytest.raises(InputError, match="no action is called 'zoom out'"):
        ActionSet.search().index("zoom out")
    with pytest.raises(InputError, match="less than the image's 20 x 20 pixels, got 20"):
        ActionSet.search(20, pixels=20)
    with pytest.raises(InputError, match="at least one pixel"):
        ActionSet.search(0)
    with pytest.raises(InputError, match="a name of its own"):
        ActionSet(("a", "a"), torch.eye(3).repeat(2, 1, 1))
