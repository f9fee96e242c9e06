"""Windows of constant share: shares are exact, positions uniform where they may be, matrices show the window."""

import pytest
import torch

from course_lib.data.constant_share import CONSTANT_SHARES, constant_share_windows, part_inside, window_matrices
from course_lib.data.scene_batch import areas
from course_lib.data.scenes import SalientScenes
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.geometry import clipped_share, identity, transport_boxes, view


def random_boxes(n: int, size: tuple[int, int]) -> torch.Tensor:
    """Boxes of any shape inside an image of this height and width."""
    ends = torch.rand(n, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort(dim=1).values
    ends[:, 1] = ends[:, 1].clamp_min(ends[:, 0] + 0.01).clamp_max(1)
    frame = torch.tensor([size[1], size[0]], dtype=torch.float64)
    return (ends * frame).flatten(1)


def test_there_are_twenty_shares():
    assert CONSTANT_SHARES == pytest.approx([0.05 * k for k in range(1, 21)])


@pytest.mark.parametrize("share", [0.05, 0.35, 0.7, 1.0, 1.3, 4.0])
def test_the_share_is_exact_and_the_shape_the_images(share):
    size = (48, 80)
    boxes = random_boxes(500, size)
    windows = constant_share_windows(boxes, size, share)
    assert (areas(boxes) / areas(windows) / share - 1).abs().max() < 1e-9
    extent = windows[:, 2:] - windows[:, :2]
    assert (extent[:, 0] / extent[:, 1] - 80 / 48).abs().max() < 1e-9


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0, 2.0])
def test_a_window_holds_the_box_or_lies_in_it_and_stays_inside_where_it_can(share):
    size = (48, 80)
    boxes = random_boxes(500, size)
    windows = constant_share_windows(boxes, size, share)
    for low, high, limit in ((0, 2, 80), (1, 3, 48)):
        a, b, c, d = boxes[:, low], boxes[:, high], windows[:, low], windows[:, high]
        holds, within = (c <= a + 1e-9) & (b <= d + 1e-9), (a <= c + 1e-9) & (d <= b + 1e-9)
        assert torch.where(d - c >= b - a, holds, within).all()
        fits = d - c <= limit
        assert ((c >= -1e-9) & (d <= limit + 1e-9))[fits].all()
    beyond = (windows[:, 2] - windows[:, 0]) > 80
    assert beyond.any() == (share < 1)


def test_by_hand():
    # A square box of 20 in a square image of 100: at a share of a quarter the window has sides of 40.
    boxes = torch.tensor([[70.0, 0, 90, 20]]).repeat(4000, 1)
    windows = constant_share_windows(boxes, (100, 100), 0.25)
    assert (windows[:, 2:] - windows[:, :2] - 40).abs().max() < 1e-4
    # In x from 90 - 40 = 50 to min(70, 100 - 40) = 60; in y only 0 is inside the image and holds the box.
    x = windows[:, 0]
    assert x.min() >= 50 and x.max() <= 60 and windows[:, 1].abs().max() == 0
    assert x.mean() == pytest.approx(55, abs=4 * 10 / 12**0.5 / 4000**0.5)
    assert x.std() == pytest.approx(10 / 12**0.5, rel=0.05)
    assert (part_inside(boxes, windows) == 1).all()


def test_a_long_box_is_cut_although_its_share_is_below_one():
    bus = torch.tensor([[0.0, 40, 100, 60]])  # a fifth of the image; at 80 % the window is 50 x 50
    window = constant_share_windows(bus, (100, 100), 0.8)
    assert (window[:, 2:] - window[:, :2]).tolist() == [pytest.approx([50, 50])]
    assert part_inside(bus, window).item() == pytest.approx(0.5)
    assert part_inside(bus, constant_share_windows(bus, (100, 100), 0.2)).item() == pytest.approx(1)


def test_all_shares_look_in_the_same_direction_and_seeds_in_others():
    boxes = torch.tensor([[40.0, 40, 60, 60]]).repeat(50, 1)

    def place(share: float, seed: int) -> torch.Tensor:
        windows = constant_share_windows(boxes, (100, 100), share, seed)
        return (60 - windows[:, 2:]) / (20 - (windows[:, 2:] - windows[:, :2]))  # 0 to 1 between the two ends

    assert torch.allclose(place(0.5, 3), place(0.3, 3), atol=1e-4)
    assert not torch.allclose(place(0.5, 3), place(0.5, 4), atol=0.1)


def test_the_matrix_shows_the_window():
    scenes = SalientScenes().batch(60, seed=0)
    assert torch.equal(window_matrices(torch.tensor([[0.0, 0, 32, 32]]), (32, 32)), identity(1))
    for share in (0.3, 0.8, 1.5):
        windows = constant_share_windows(scenes.boxes, scenes.size, share)
        matrices = window_matrices(windows, scenes.size)
        shown = transport_boxes(scenes.boxes, matrices, scenes.size)
        # Squares in a square frame: below a share of 1 nothing is cut, so the view's share is the one asked for.
        assert clipped_share(shown, scenes.size).tolist() == pytest.approx([min(share, 1.0)] * 60, abs=1e-4)
        assert (areas(shown) / 32**2).tolist() == pytest.approx([share] * 60, rel=1e-4)


def test_a_window_of_whole_pixels_is_a_crop():
    scenes = SalientScenes().batch(5, seed=1)
    windows = torch.tensor([[3.0, 8, 19, 24]]).repeat(5, 1)
    cut = view(scenes.images, window_matrices(windows, (32, 32)), size=(16, 16))
    assert torch.allclose(cut, scenes.images[:, :, 8:24, 3:19], atol=1e-5)
    beyond = view(scenes.images, window_matrices(torch.tensor([[-8.0, 0, 24, 32]]).repeat(5, 1), (32, 32)))
    assert (beyond[..., :8] == 0).all() and torch.allclose(beyond[..., 8:], scenes.images[..., :24], atol=1e-5)


def test_what_cannot_be_cut_is_explained():
    good = torch.tensor([[1.0, 1, 5, 5]])
    with pytest.raises(InputError, match="share must be positive"):
        constant_share_windows(good, (10, 10), 0)
    for bad in ([[1.0, 1, 5, 11]], [[5.0, 1, 5, 5]], [[-1.0, 1, 5, 5]], [[float("nan"), 1, 5, 5]]):
        with pytest.raises(InputError, match="not empty and inside an image of 10x10"):
            constant_share_windows(torch.tensor(bad), (10, 10), 0.5)
