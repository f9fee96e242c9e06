"""Scenes of digits: an obvious renderer and a pixel count agree, rules of placing hold, chances are as announced."""

import copy
from itertools import islice, product

import numpy as np
import pytest
import torch

from course_lib.data.digit_images import base_images
from course_lib.data.scene_batch import areas, flip_horizontally, overlap_with_first, scene_batch
from course_lib.data.scene_sprites import DETAIL, WHOLE, resize_weights, trimmed
from course_lib.data.scenes import BLOCK, SalientScenes, SceneConfig
from course_lib.errors import InputError


@pytest.fixture(scope="module")
def apart() -> SalientScenes:
    return SalientScenes()


@pytest.fixture(scope="module")
def crowded(apart) -> SalientScenes:
    return vary(apart, overlap="allowed")


def vary(scenes: SalientScenes, **dials) -> SalientScenes:
    """The same sprites on the same canvas under another config; making sprites anew takes a second."""
    other = copy.copy(scenes)
    other.config, other._last = SceneConfig(**dials), None
    return other


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def covered_by_counting(boxes: torch.Tensor) -> list[float]:
    """Share of the first box under others, pixel by pixel; boxes are whole numbers."""
    shares = []
    for scene in boxes.int().numpy():
        sheet = np.zeros((64, 64), dtype=bool)
        for x0, y0, x1, y1 in scene[1:]:
            sheet[y0:y1, x0:x1] = True
        x0, y0, x1, y1 = scene[0]
        shares.append(sheet[y0:y1, x0:x1].mean())
    return shares


def render_slowly(scenes: SalientScenes, draw, count: int) -> torch.Tensor:
    """One object at a time, in whole numbers of NumPy, the largest first."""
    weights, pictures = scenes._resize.numpy().astype(np.int64), scenes.pictures.numpy().astype(np.int64)
    width = scenes.config.canvas
    images = np.zeros((count, width, width), dtype=np.int64)
    for i, k in product(range(count), range(draw.side.shape[1])):
        side, (x, y) = int(draw.side[i, k]), draw.corner[i, k].tolist()
        if side:
            w = weights[side, :side]
            shrunk = (2 * (w @ pictures[draw.picture[i, k]]) + WHOLE) // (2 * WHOLE)
            images[i, y : y + side, x : x + side] = (2 * (shrunk @ w.T) + WHOLE) // (2 * WHOLE)
    return torch.from_numpy(images).float()[:, None] * (1 / 255)


def test_agrees_with_the_obvious_renderer(apart, crowded):
    for scenes in (apart, crowded):
        images = scenes.batch(60, seed=5).images
        assert torch.equal(images, render_slowly(scenes, scenes._draw(5, 0), 60))


def test_the_fields_belong_together(apart, crowded):
    for scenes in (apart, crowded):
        batch = scenes.batch(600, seed=1)
        assert batch.images.shape == (600, 1, 32, 32) and batch.images.dtype == torch.float32
        assert batch.images.min() >= 0 and batch.images.max() <= 1
        assert batch.object_boxes.shape == (600, 4, 4) and batch.object_labels.shape == (600, 4)
        assert torch.equal(batch.labels, batch.object_labels[:, 0]) and torch.equal(
            batch.boxes, batch.object_boxes[:, 0]
        )
        size = areas(batch.object_boxes)
        assert (size[:, :-1] >= size[:, 1:]).all()
        there = batch.object_labels >= 0
        assert torch.equal(there, size > 0) and (batch.object_boxes[~there] == 0).all()
        assert set(batch.labels.tolist()) == set(range(10))
        assert batch.overlap.tolist() == pytest.approx(covered_by_counting(batch.object_boxes))
        assert torch.allclose(batch.share, size[:, 0] / 32**2) and batch.size == (32, 32)


def test_objects_are_apart_and_inside_and_in_their_sizes(apart):
    batch = apart.batch(2000, seed=2)
    assert (batch.overlap == 0).all()
    low, high = batch.object_boxes[..., :2], batch.object_boxes[..., 2:]
    assert low.min() >= 0 and high.max() <= 32
    sides = (high - low)[..., 0]
    assert torch.equal(sides, (high - low)[..., 1])
    assert sides[:, 0].min() == 10 and sides[:, 0].max() == 22
    others = sides[:, 1:][batch.object_labels[:, 1:] >= 0]
    assert others.min() == 6 and (sides[:, 1:] <= 0.75 * sides[:, :1]).all()
    for a, b in product(range(4), range(4)):
        if a < b:
            clear = (low[:, a] >= high[:, b]) | (high[:, a] <= low[:, b])
            there = (batch.object_labels[:, a] >= 0) & (batch.object_labels[:, b] >= 0)
            assert clear.any(1)[there].all()
    count = (batch.object_labels >= 0).sum(1)
    assert count.min() >= 2 and (count == 2).float().mean() == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("wanted", [(0.0, 0.05), (0.1, 0.15), (0.2, 0.4), (0.4, 0.55)])
def test_overlap_comes_out_in_its_range(apart, wanted):
    batch = vary(apart, overlap="allowed", overlap_range=wanted).batch(500, seed=3)
    low, high = wanted
    assert batch.overlap.min() >= low - 1e-6 and batch.overlap.max() <= high + 1e-6
    assert (batch.object_labels[:, 1] >= 0).all()


def test_with_any_overlap_there_is_much_little_and_none(crowded):
    overlap = crowded.batch(1000, seed=4).overlap
    assert (overlap == 0).float().mean() > 0.1 and (overlap > 0.4).float().mean() > 0.1
    assert ((overlap > 0) & (overlap < 0.4)).float().mean() > 0.2


def test_the_smallest_is_in_front_and_hides_what_is_behind(crowded):
    batch, draw = crowded.batch(200, seed=6), crowded._draw(6, 0)
    last = (draw.side > 0).sum(1) - 1
    for i in range(200):
        x0, y0, x1, y1 = batch.object_boxes[i, last[i]].int().tolist()
        w = crowded._resize[x1 - x0, : x1 - x0]
        alone = torch.floor(w @ crowded.pictures[draw.picture[i, last[i]]].float() / WHOLE + 0.5)
        alone = torch.floor(alone @ w.T / WHOLE + 0.5) * (1 / 255)
        assert torch.equal(batch.images[i, 0, y0:y1, x0:x1], alone)


def test_sides_and_places_are_uniform(apart):
    draws = [apart._draw(7, block) for block in range(40)]
    side = torch.cat([draw.side[:, 0] for draw in draws])
    counts = torch.bincount(side, minlength=23)[10:].double()
    expected = len(side) / 13
    assert ((counts - expected) ** 2 / expected).sum() < 12 + 5 * 24**0.5  # chi-square: mean 12, variance 24
    small = torch.cat([draw.corner[draw.side[:, 0] == 10, 0] for draw in draws])  # [n, 2], each of 0..22
    counts = torch.bincount(small.flatten(), minlength=23).double()
    expected = small.numel() / 23
    assert ((counts - expected) ** 2 / expected).sum() < 22 + 5 * 44**0.5


def test_every_free_place_is_equally_likely():
    # A 4-pixel object on a canvas of 8 leaves boxes of 2 and of 3 pixels so few places that all can be listed.
    scenes = SalientScenes(
        SceneConfig(canvas=8, salient_side=(4, 4), n_smaller=(1, 1), smaller_side=2, smaller_ratio=0.75)
    )
    draws = [scenes._draw(0, block) for block in range(60)]
    side, corner = (torch.cat([getattr(draw, name) for draw in draws]) for name in ("side", "corner"))
    chosen = (corner[:, 0] == torch.tensor([1, 2])).all(1)
    seen = [(int(s), *c) for s, c in zip(side[chosen, 1], corner[chosen, 1].tolist(), strict=True)]
    free = {
        s: [(x, y) for x in range(9 - s) for y in range(9 - s) if x + s <= 1 or x >= 5 or y + s <= 2 or y >= 6]
        for s in (2, 3)
    }
    assert free[3] and {s for s, *_ in seen} == {2, 3}
    for s, places in free.items():
        mine = [tuple(c) for t, *c in seen if t == s]
        assert len(mine) / len(seen) == pytest.approx(0.5, abs=4 * 0.5 / len(seen) ** 0.5)
        assert set(mine) <= set(places)
        counts = np.array([mine.count(place) for place in places])
        expected = len(mine) / len(places)
        assert ((counts - expected) ** 2 / expected).sum() < len(places) - 1 + 5 * (2 * len(places) - 2) ** 0.5


def test_a_dominant_class_has_its_share(apart):
    plain = torch.cat([apart._draw(8, block).label[:, 0] for block in range(20)])
    scenes = vary(apart, dominant=0.2)
    biased = torch.cat([scenes._draw(8, block).label[:, 0] for block in range(20)])
    n = len(plain)
    for labels, shares in ((plain, [0.1] * 10), (biased, [0.2] + [0.8 / 9] * 9)):
        found = torch.bincount(labels, minlength=10) / n
        assert all(abs(f - s) < 4.5 * (s * (1 - s) / n) ** 0.5 for f, s in zip(found.tolist(), shares, strict=True))


def test_same_seed_same_bytes_other_seed_other_bytes(apart):
    assert same(apart.batch(100, seed=8), SalientScenes().batch(100, seed=8))
    assert not torch.equal(apart.batch(100, seed=8).images, apart.batch(100, seed=9).images)
    assert same(apart.batch(9, torch.Generator().manual_seed(1)), apart.batch(9, torch.Generator().manual_seed(1)))


def test_a_stream_does_not_depend_on_how_it_is_cut(apart):
    n = BLOCK + 90
    whole = apart.batch(n, seed=2)
    for size in (1, 37, BLOCK, n):
        start = 200 if size == 1 else 0
        parts = list(islice(vary(apart).stream(size, seed=2), n // size)) if start == 0 else []
        parts = parts or [apart.batch(1, 2, i) for i in range(start, start + 70)]
        joined = [torch.cat(part) for part in zip(*parts, strict=True)]
        assert same(joined, [part[start : start + len(joined[0])] for part in whole])
    assert same(apart.batch(0, seed=2), whole.select(slice(0, 0)))


def test_sprites_of_the_splits_have_nothing_in_common(apart):
    test = apart.with_split("test")
    assert test.config.split == "test"
    train = {picture.numpy().tobytes() for picture in apart.pictures}
    assert not train & {picture.numpy().tobytes() for picture in test.pictures}


def test_sprites_touch_the_edge_of_their_square():
    base = base_images("builtin", "test", DETAIL)
    bright = trimmed(base.images) > 16
    for image in bright:
        wide, high = image.any(0), image.any(1)
        assert any(bool(side[:2].any() and side[-2:].any()) for side in (wide, high))
    blank = torch.zeros(1, DETAIL, DETAIL, dtype=torch.uint8)
    assert torch.equal(trimmed(blank), blank)


def test_resizing_keeps_brightness_and_its_weights_are_whole():
    weights = resize_weights(40)
    assert torch.equal(weights, weights.round()) and weights.min() >= 0
    for side in (1, 6, 22, DETAIL, 40):
        rows = weights[side]
        assert (rows[:side].sum(1) == WHOLE).all() and (rows[side:] == 0).all()
    assert torch.equal(weights[DETAIL, :DETAIL], WHOLE * torch.eye(DETAIL))
    picture = base_images("builtin", "test", DETAIL).images[7].float()
    for side in (6, 12, 22):
        w = weights[side, :side] / WHOLE
        exact = torch.nn.functional.interpolate(picture[None, None], (side, side), mode="bilinear", antialias=True)
        assert (w @ picture @ w.T - exact[0, 0]).abs().max() < 8  # grey levels of 255


def test_overlap_by_hand_and_by_counting():
    boxes = torch.tensor(
        [
            [[0, 0, 10, 10], [5, 0, 15, 10], [0, 5, 10, 15]],  # a half and a half that share a quarter
            [[0, 0, 10, 10], [2, 2, 4, 4], [2, 2, 4, 4]],  # twice the same
            [[0, 0, 10, 10], [10, 0, 20, 10], [0, 0, 0, 0]],  # touching, and none
            [[3, 3, 5, 5], [0, 0, 9, 9], [1, 1, 2, 2]],  # wholly under another
        ]
    ).float()
    assert overlap_with_first(boxes).tolist() == pytest.approx([0.75, 0.04, 0, 1])
    assert overlap_with_first(boxes[:, :1]).tolist() == [0] * 4
    corner = torch.randint(0, 40, (200, 7, 2), generator=torch.Generator().manual_seed(0))
    sides = torch.randint(1, 20, (200, 7, 2), generator=torch.Generator().manual_seed(1))
    many = torch.cat([corner, corner + sides], -1).float()
    assert overlap_with_first(many).tolist() == pytest.approx(covered_by_counting(many))


def test_objects_are_sorted_and_the_largest_gives_the_label():
    boxes = torch.tensor([[[0, 0, 2, 2], [9, 9, 9, 9], [0, 0, 4, 3], [1, 1, 3, 3]]]).float()
    batch = scene_batch(torch.zeros(1, 3, 8, 12), boxes, torch.tensor([[5, -1, 6, 7]]))
    assert batch.object_labels.tolist() == [[6, 5, 7, -1]]  # of equal ones the earlier first
    assert batch.labels.tolist() == [6] and batch.boxes.tolist() == [[0, 0, 4, 3]]
    assert batch.object_boxes[0, 3].tolist() == [0] * 4
    assert batch.overlap.tolist() == pytest.approx([7 / 12]) and batch.share.tolist() == pytest.approx([12 / 96])
    with pytest.raises(InputError, match="scene 1 of the batch has no object"):
        scene_batch(torch.zeros(2, 1, 8, 8), boxes.repeat(2, 1, 1), torch.tensor([[5, -1, 6, 7], [-1] * 4]))
    with pytest.raises(InputError, match=r"takes images \[N, C, H, W\]"):
        scene_batch(torch.zeros(2, 1, 8, 8), boxes, torch.tensor([[5, -1, 6, 7]]))


def test_mirroring_moves_boxes_with_their_pixels(apart):
    batch = apart.batch(40, seed=3)
    which = torch.arange(40) % 2 == 0
    turned = flip_horizontally(batch, which)
    assert same(turned.select(~which), batch.select(~which))
    assert same(flip_horizontally(turned, which), batch)
    assert torch.equal(turned.images[0], batch.images[0].flip(-1)) and torch.equal(turned.overlap, batch.overlap)
    for before, after in zip(batch.object_boxes[0].int().tolist(), turned.object_boxes[0].int().tolist(), strict=True):
        (a, b, c, d), (x0, y0, x1, y1) = before, after
        assert torch.equal(turned.images[0, 0, y0:y1, x0:x1], batch.images[0, 0, b:d, a:c].flip(-1))
    assert (turned.object_boxes[batch.object_labels < 0] == 0).all()


def test_scenes_of_one_object_have_no_overlap(apart):
    batch = vary(apart, n_smaller=(0, 0)).batch(50, seed=0)
    assert batch.object_labels.shape == (50, 1) and (batch.overlap == 0).all()
    some = vary(apart, n_smaller=(0, 3), overlap="allowed").batch(600, seed=0)
    assert ((some.object_labels >= 0).sum(1) == 1).float().mean() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"canvas": 20}, "does not fit on a canvas of 20"),
        ({"canvas": 26}, "no room for another one of 6; enlarge the canvas, or allow overlap"),
        ({"salient_side": (22, 10)}, "salient_side must be two whole numbers"),
        ({"smaller_ratio": 1.0}, "no object is the largest"),
        ({"salient_side": (7, 22)}, "lower smaller_side or raise salient_side"),
        ({"overlap": "some"}, "overlap must be 'none' or 'allowed'"),
        ({"overlap_range": (0.1, 0.2)}, "with overlap='allowed' only"),
        ({"overlap": "allowed", "overlap_range": (0.6, 0.9)}, r"one object covers 0\.49 at most"),
        ({"overlap": "allowed", "overlap_range": (0.4, 0.3)}, "the lower one first"),
        ({"overlap": "allowed", "overlap_range": (0.2, 0.3), "n_smaller": (0, 2)}, "raise n_smaller"),
        ({"dominant": 1.5}, "dominant is a share"),
    ],
)
def test_dials_that_do_not_go_together_are_explained(dials, message):
    with pytest.raises(InputError, match=message):
        SceneConfig(**dials)


def test_bad_batches_are_explained(apart):
    for arguments in ((-1,), (1, -1), (1, 2**53), (1, 0, -1)):
        with pytest.raises(InputError, match="must not be negative"):
            apart.batch(*arguments)


def test_a_real_data_set_goes_through_the_same_renderer(course_data):
    if not (course_data / "MNIST").is_dir():
        pytest.skip("COURSE_DATA holds no MNIST")
    scenes = SalientScenes(SceneConfig(source="mnist", split="test"))
    images = scenes.batch(20, seed=5).images
    assert torch.equal(images, render_slowly(scenes, scenes._draw(5, 0), 20))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bytes(crowded):
    assert same(crowded.batch(600, seed=3), crowded.batch(600, seed=3, device="cuda").to("cpu"))
