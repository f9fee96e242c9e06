"""Sprites and photographs: cover is area, edges are soft, pictures come from installed packages or a clear error."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.data.stereo import load_motorcycle
from course_lib.data.synthetic import World, WorldConfig
from course_lib.data.world import photographs
from course_lib.data.world.shapes import REACH, SEEN_SHAPES, UNSEEN_SHAPES, VARIANTS, shape_alpha
from course_lib.data.world.textures import PATTERNS, oklch, palette, pattern
from course_lib.errors import MissingDataError


def test_cover_of_a_circle_is_its_area():
    alpha = shape_alpha("circle", 0, 64)
    assert alpha.sum() == pytest.approx(np.pi * (REACH * 32) ** 2, rel=2e-3)


@pytest.mark.parametrize("name", [*SEEN_SHAPES, *UNSEEN_SHAPES])
def test_shapes_fill_their_square_and_differ(name):
    drawn = [shape_alpha(name, variant, 64) for variant in range(VARIANTS)]
    for alpha in drawn:
        rows, columns = np.nonzero(alpha.max(1) >= 0.5)[0], np.nonzero(alpha.max(0) >= 0.5)[0]
        longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        assert 0.75 * REACH * 64 <= longer <= REACH * 64 + 1
        assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0
        assert 0.04 < (alpha >= 0.5).mean() < 0.7
        assert np.abs(np.diff(alpha, axis=0)).max() < 0.75  # no hard edge
    assert all(np.abs(drawn[0] - other).mean() > 2e-3 for other in drawn[1:])


def test_sizes_agree_on_the_shape():
    small, large = shape_alpha("star", 0, 32), shape_alpha("star", 0, 128)
    assert np.abs(large.reshape(32, 4, 32, 4).mean((1, 3)) - small).mean() < 0.02


@pytest.mark.parametrize("index", range(len(PATTERNS)))
def test_patterns_are_smooth_enough_to_be_sampled(index):
    mix = PATTERNS[index](np.random.default_rng(0), 64, 64)
    assert mix.shape == (64, 64)
    assert mix.dtype == np.float32
    assert mix.min() > -0.6
    assert mix.max() < 1.6
    picture = torch.from_numpy(mix)[None, None]
    halfway = (picture[..., 1:] + picture[..., :-1]) / 2  # half a texel to the right, and back again
    again = (halfway[..., 1:] + halfway[..., :-1]) / 2
    assert (again - picture[..., 1:-1]).square().mean().sqrt() < 0.1


def test_colours():
    assert oklch(1.0, 0.0, 0.0) == pytest.approx([1, 1, 1], abs=2e-3)
    assert oklch(0.627955, 0.257683, np.deg2rad(29.2339)) == pytest.approx([1, 0, 0], abs=0.02)  # sRGB red
    colours = palette(np.random.default_rng(0))
    assert pattern(np.random.default_rng(1), 20, 30, colours).shape == (20, 30, 3)


def test_cutouts_are_centred_and_fill_their_reach():
    for name in (*photographs.SEEN_CUTOUTS, *photographs.UNSEEN_CUTOUTS):
        rgba = photographs.cutout(name, 0, 96)
        rows, columns = np.nonzero(rgba[..., 3].max(1) >= 0.5)[0], np.nonzero(rgba[..., 3].max(0) >= 0.5)[0]
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert max(height, width) == pytest.approx(REACH * 96, abs=3)
        assert (rows[0] + rows[-1]) / 2 == pytest.approx(47.5, abs=2)
        assert (columns[0] + columns[-1]) / 2 == pytest.approx(47.5, abs=2)
        assert rgba.min() >= 0
        assert rgba.max() <= 1


def test_a_missing_photograph_says_what_to_do(monkeypatch):
    monkeypatch.setattr(photographs, "_SKIMAGE", ("nowhere",))
    monkeypatch.setitem(photographs._FILES, "cat", ("skimage", "data", "no_such_cat.png"))
    with pytest.raises(MissingDataError, match=r"no_such_cat.png of skimage .* WorldConfig\(photographs=False\)"):
        photographs.photograph_path("cat")


def test_a_world_without_photographs_reads_no_file(monkeypatch):
    def refuse(name):
        raise AssertionError(name)

    monkeypatch.setattr(photographs, "photograph_path", refuse)
    photographs.photograph.cache_clear()
    photographs._backdrop_source.cache_clear()
    for seed in range(6):
        World(WorldConfig(photographs=False, occlusion=1.0, size=0.2, clutter=0.5, length=12)).plan(seed)
        World(WorldConfig(photographs=False, classes="all", n_objects=10)).plan(seed)


def test_real_stereo_pair():
    pair = load_motorcycle()
    height, width = pair.disparity.shape
    assert (height, width) == (500, 741)
    assert pair.left.shape == pair.right.shape == (3, height, width)
    known = pair.disparity.isfinite()
    assert 0.9 < known.float().mean() < 0.95
    x = torch.arange(width) + 0.5 - pair.disparity.nan_to_num(0)
    y = (torch.arange(height) + 0.5)[:, None].expand_as(x)
    grid = torch.stack([x / width * 2 - 1, y / height * 2 - 1], -1)[None]
    warped = F.grid_sample(pair.right[None].float(), grid, align_corners=False)[0]
    error = (warped - pair.left.float()).abs().mean(0)[known]
    assert error.median() < 4  # grey levels; 36 with the opposite sign
