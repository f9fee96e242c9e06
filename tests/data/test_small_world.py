"""The small world: what its masks hold, what its dials do, and that a clip depends on nothing but them."""

import math

import numpy as np
import pytest
import torch

from course_lib.data.small_shapes import REACH, SEEN, UNSEEN, outside
from course_lib.data.small_world import SmallWorld, SmallWorldConfig
from course_lib.errors import InputError

PLAIN = SmallWorldConfig(distractor=0.0, bar=0.0, drift=0.0, noise=0.0)


def some(config: SmallWorldConfig, n: int, frames: int | None = None):
    return [SmallWorld(config)(np.random.default_rng((5, i)), frames) for i in range(n)]


def test_a_clip_is_a_function_of_config_seed_and_number():
    world = SmallWorld()
    clips = world.clips(5, seed=3)
    late = clips[4]
    for _ in range(2):
        again = SmallWorld().clips(9, seed=3)[4]  # neither the length of the set nor what was read before matters
        assert torch.equal(late.frames, again.frames) and torch.equal(late.labels, again.labels)
    assert not torch.equal(late.frames, clips[3].frames)
    assert not torch.equal(late.frames, world.clips(5, seed=4)[4].frames)
    assert len({clips[i].name for i in range(5)}) == 5
    with pytest.raises(IndexError):
        clips[5]


def test_masks_hold_visible_pixels_only():
    """Of the whole target, what is missing from the mask is covered: there the clip without it looks the same."""
    hidden = 0
    for clip in some(SmallWorldConfig(bar=1.0, distractor=1.0, noise=0.0, drift=0.0), 20):
        seen, whole = clip.labels.bool(), clip.whole.bool()
        assert not (seen & ~whole).any()
        hidden += int((whole & ~seen).sum())
    assert hidden > 1000
    for clip in some(PLAIN, 10):
        assert torch.equal(clip.labels, clip.whole)


def test_a_bar_covers_whole_columns():
    """With a bar and nothing else, every column has either all of the target's pixels visible or none."""
    for clip in some(SmallWorldConfig(bar=1.0, distractor=0.0), 20):
        seen, whole = clip.labels.sum(1), clip.whole.sum(1)  # [T, W] pixels by column
        assert ((seen == whole) | (seen == 0)).all()
        covered = (seen != whole).any(0).nonzero()[:, 0]
        if len(covered):  # the bar stands still: what it ever covers stays covered
            span = slice(int(covered[0]), int(covered[-1]) + 1)
            assert seen[:, span].sum() == 0


def test_areas_are_those_of_the_shapes():
    """Counted pixels against the area inside the outline, by a fine grid; and every shape fits into its reach."""
    grid = (np.arange(600) + 0.5) / 600 * 3 - 1.5
    x, y = np.meshgrid(grid, grid)
    for shape in (*SEEN, *UNSEEN):
        inside = outside(shape, x, y) < 0
        area = inside.mean() * 9
        assert np.hypot(x, y)[inside].max() <= REACH + 1e-2
        clips = some(SmallWorldConfig(shapes=(shape,), radius=(10.0, 14.0), distractor=0.0, bar=0.0), 12)
        ratios = [float(clip.whole.sum((1, 2)).max()) / (area * clip.radius**2) for clip in clips]
        assert np.mean(ratios) == pytest.approx(1, abs=0.05), shape


@pytest.mark.parametrize("shape", [*SEEN, *UNSEEN])
def test_outlines_are_distances(shape):
    """No steeper than 1 anywhere, and 1 just outside where a side is nearest (an ellipse is flatter at its tips)."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, (2, 500))
    step = 1e-4
    slope = np.hypot(outside(shape, x + step, y) - outside(shape, x - step, y),
                     outside(shape, x, y + step) - outside(shape, x, y - step)) / (2 * step)  # fmt: skip
    assert slope.max() < 1.01
    assert np.median(slope) > (0.55 if shape == "ellipse" else 0.99)


def test_an_object_moves_as_far_as_its_speed_and_stays_in_the_frame():
    config = SmallWorldConfig(distractor=0.0, bar=0.0, speed=(2.0, 2.0), radius=(5.0, 6.0), shapes=("disk",))
    at = torch.arange(64) + 0.5
    for clip in some(config, 10):
        mass = clip.whole.float()
        y, x = (mass.sum(2) @ at) / mass.sum((1, 2)), (mass.sum(1) @ at) / mass.sum((1, 2))
        far = torch.hypot(x.diff(), y.diff())
        assert float(far.max()) < 2.3 and float(far.median()) == pytest.approx(2, abs=0.15)  # less where it bounces
        areas = mass.sum((1, 2)) / (math.pi * clip.radius**2)
        assert 0.9 < float(areas.min()) and float(areas.max()) < 1.1  # whole in every frame


def test_a_passage_hides_the_target_and_brings_it_back():
    config = SmallWorldConfig(frames=24, bar=1.0, passage=True, radius=(5.0, 9.0))
    for clip in some(config, 12):
        seen, whole = clip.labels.sum((1, 2)), clip.whole.sum((1, 2))
        hidden = (seen == 0).nonzero()[:, 0]
        assert len(hidden) >= 3 and seen[0] == whole[0]
        assert (seen[hidden[0] :] == whole[hidden[0] :]).any()


def test_look_alikes_look_alike_and_others_do_not():
    """The colour of a twin, painted where the target is not, is within a few noise steps of the target's."""
    apart = {}
    for lookalike in (0.0, 1.0):
        config = SmallWorldConfig(distractor=1.0, lookalike=lookalike, bar=0.0, drift=0.0, noise=0.0, frames=2)
        clips = some(config, 40)
        assert {clip.lookalike for clip in clips} == {bool(lookalike)}
        apart[lookalike] = np.median([_nearest_colours(clip) for clip in clips])
    assert apart[1.0] < 0.5 * apart[0.0]


def _nearest_colours(clip) -> float:
    """Mean distance from the target's colours to the nearest ones found elsewhere in frame 0."""
    pixels = clip.frames[0].flatten(1).T.float() / 255
    inside = clip.labels[0].flatten().bool()
    return float(torch.cdist(pixels[inside], pixels[~inside]).min(1).values.mean())


def test_frame_0_shows_enough_of_every_target():
    for clip in some(SmallWorldConfig(radius=(3.0, 14.0), bar=1.0, distractor=1.0), 60):
        assert int(clip.labels[0].sum()) >= max(12, 0.5 * int(clip.whole[0].sum()))


def test_radii_are_log_uniform_and_shapes_equally_likely():
    clips = some(SmallWorldConfig(frames=1, bar=0.0, distractor=0.0), 400)
    shares = np.log([clip.radius / 5 for clip in clips]) / math.log(14 / 5)
    assert np.quantile(shares, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)
    counts = [sum(clip.shape == shape for clip in clips) for shape in SEEN]
    assert min(counts) > 70 and sum(counts) == 400


def test_noise_has_the_asked_strength():
    quiet, loud = (some(SmallWorldConfig(bar=0.0, noise=noise), 1)[0] for noise in (0.0, 0.05))
    difference = (loud.frames.float() - quiet.frames.float()) / 255
    assert float(difference.std()) == pytest.approx(0.05, rel=0.1)  # a little less, where colours are cut at 0 and 1
    assert torch.equal(quiet.labels, loud.labels)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"bar": 1.5}, "probabilities are in"),
        ({"frames": 0}, "1 frame or more"),
        ({"radius": (5.0, 40.0)}, "still fit into 64"),
        ({"radius": (9.0, 5.0)}, "in order"),
        ({"speed": (3.0, 1.0)}, "speeds of 0 or more"),
        ({"shapes": ("blob",)}, "shapes are of disk"),
        ({"passage": True}, "a passage needs a bar"),
    ],
)
def test_dials_out_of_range_are_refused(dials, message):
    with pytest.raises(InputError, match=message):
        SmallWorldConfig(**dials)


def test_a_world_that_hides_its_target_gives_up():
    huge = SmallWorldConfig(size=32, frames=12, bar=1.0, passage=True, radius=(11.0, 11.0), distractor=0.0)
    with pytest.raises(InputError, match=r"none of 200 draws .* lets it pass behind the bar; use larger objects"):
        SmallWorld(huge)(np.random.default_rng(0))
    with pytest.raises(InputError, match="unknown shape"):
        outside("blob", np.zeros(1), np.zeros(1))
