"""Saliency of frame 0: gradients that are known by hand, and pictures that hide nothing."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.viz.saliency import first_frame_saliency, saliency_figure, saliency_overlay, share_on_object


def fading(frames: torch.Tensor) -> torch.Tensor:
    """Logits of t: the red of frame 0 at the same pixel, half as strong in each frame, and the frame's own green."""
    strength = 0.5 ** torch.arange(1, len(frames))
    return strength[:, None, None] * frames[0, 0] + 3 * frames[1:, 1]


def clip(length=4) -> torch.Tensor:
    return torch.rand(length, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def test_the_gradient_is_the_known_one():
    frames = clip()
    found = first_frame_saliency(fading, frames, [1, 3])
    weights = fading(frames).sigmoid()
    torch.testing.assert_close(found, torch.stack([0.5 * weights[0], 0.125 * weights[2]]))


def test_it_works_where_gradients_are_switched_off_and_leaves_none_behind():
    frames = clip()
    with torch.no_grad():
        found = first_frame_saliency(fading, frames, [2])
    assert not found.requires_grad and frames.grad is None and not frames.requires_grad


def test_an_output_that_does_not_look_at_frame_0_is_dark():
    def only_now(frames):
        return frames[1:, 0] * 2

    def partly(frames):  # frame 1 looks, the others do not
        return torch.cat([frames[:1, 0], only_now(frames)[1:]])

    found = first_frame_saliency(partly, clip(), [1, 2, 3])
    assert (found[0] > 0).all() and not found[1:].any()
    assert share_on_object(found, torch.ones(5, 6, dtype=torch.bool)).isnan().tolist() == [False, True, True]


def test_a_lost_object_leaves_little():
    lost = first_frame_saliency(lambda frames: fading(frames) - 8, clip(), [1])
    assert lost.max() < 0.05 * first_frame_saliency(fading, clip(), [1]).max()


def test_share_on_object_by_hand():
    maps = torch.zeros(1, 5, 6)
    maps[0, 0, 0], maps[0, 4, 4] = 3.0, 1.0
    mask = torch.zeros(5, 6, dtype=torch.bool)
    mask[0] = True
    assert share_on_object(maps, mask).tolist() == [0.75]


def test_overlay_keeps_the_frame_where_nothing_is_salient():
    frame = torch.full((3, 4, 4), 0.5)
    heat = torch.zeros(4, 4)
    heat[1, 2] = 2.0
    picture = saliency_overlay(frame, heat, scale=2, most=2.0)
    assert picture.shape == (8, 8, 3)
    assert (picture[0, 0] == round(128 * 0.55)).all() and picture[2, 4].sum() > 2 * picture[0, 0].sum()
    assert (saliency_overlay(frame, torch.zeros(4, 4)) == picture[0, 0]).all()


def test_one_scale_shows_that_it_fades():
    frames = clip()
    maps = first_frame_saliency(fading, frames, [1, 3])
    masks = np.ones((2, 5, 6), dtype=np.uint8)
    figure = saliency_figure(frames, masks[0], [1, 3], {"net": maps}, {"net": masks})
    assert len(figure.axes) == 4 and figure.axes[1].get_title() == "for the mask of t = 3"
    first, last = (axis.images[0].get_array()[2:8, 2:8].sum() for axis in figure.axes[:2])
    assert first > 1.3 * last
    plt.close(figure)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: first_frame_saliency(fading, clip()[0], [1]), r"\[T, 3, H, W\]"),
        (lambda: first_frame_saliency(fading, clip(), [0]), "from 1 to 3, got"),
        (lambda: first_frame_saliency(fading, clip(), []), "from 1 to 3"),
        (lambda: first_frame_saliency(lambda f: f[:, 0], clip(), [1]), r"logits must be \[3, 5, 6\]"),
        (lambda: first_frame_saliency(lambda f: f[1:, 0].detach(), clip(), [1]), "carry no gradient"),
        (lambda: saliency_overlay(clip()[0], -torch.ones(5, 6)), "negative"),
        (lambda: saliency_overlay(clip()[0], torch.ones(4, 6)), "does not match"),
        (lambda: saliency_figure(clip(), np.ones((5, 6), np.uint8), [1], {"net": torch.ones(2, 5, 6)}), "2 maps for 1"),
        (lambda: saliency_figure(clip(), np.ones((5, 6), np.uint8), [1], {}), "at least one method"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()
