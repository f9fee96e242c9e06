"""Drawn garments: geometry by hand, cloth by its laws, a split without leaks, and classes as hard as they should be."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.data.digit_images import base_images
from course_lib.data.digits import ClutterConfig, ClutteredDigits
from course_lib.data.garments import CUTS, NAMES, SIDE, bolts, draw, fitted, garments
from course_lib.data.wardrobe.cloth import FAMILIES, Bolts, light, pieces
from course_lib.data.wardrobe.parts import fill, mirrored, path, rounded, stroke
from course_lib.errors import InputError

SHOES = ("sandal", "sneaker", "ankle boot")


def uniform(seed: int, m: int = 60):
    rng = np.random.default_rng(seed)
    return lambda low, high: rng.uniform(low, high, m)


def middle(m: int = 3):
    """Draws nothing: always the middle of the range."""
    return lambda low, high: np.full(m, (low + high) / 2)


def box(x0, y0, x1, y1, m=2):
    return path((np.full(m, x0), y0), (x1, y0), (x1, y1), (x0, y1))


def area(points: np.ndarray) -> np.ndarray:
    """Of closed outlines, by the shoelace formula."""
    x, y = points[..., 0], points[..., 1]
    return np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1)) / 2


def test_a_box_is_painted_where_it_is_and_as_bright_as_it_is():
    image = draw([fill(box(7, 4, 21, 18), tone=0.6)])
    expected = np.zeros((SIDE, SIDE))
    expected[4:18, 7:21] = 0.6
    assert np.abs(image - expected)[:, 5:17, 8:20].max() < 1 / 255  # inside
    # OpenCV paints the outline too: at most a third of a pixel, all around.
    assert np.abs(image - expected)[:, :3].max() == 0 and np.abs(image - expected).max() <= 0.6 * 5 / 9 + 1 / 255
    assert image.sum() / 0.6 == pytest.approx(2 * 14 * 14, rel=0.06)


def test_later_parts_cover_earlier_ones_and_hidden_parts_are_not_there():
    base, hole = fill(box(4, 4, 24, 24)), fill(box(10, 10, 18, 18), tone=0.0, shown=np.array([True, False]))
    image = draw([base, hole])
    assert image[0, 14, 14] == 0 and image[1, 14, 14] == 1
    assert np.array_equal(image[1], draw([base])[1])
    assert np.array_equal(draw([hole, base])[0], image[1])


def test_a_stroke_has_its_width_and_a_point_is_a_dot():
    across = path((np.array([4.0]), 14.0), (24.0, 14.0))
    for width in (1.0, 2.0, 4.0):  # the outline is painted too: at most a third of a pixel on either side
        painted = draw([stroke(across, width, tone=1.0)])[0, :, 14].sum()
        assert width - 1e-6 <= painted <= width + 2 / 3 + 1e-6
    point = path((np.array([14.0]), 14.0), (14.0, 14.0))
    assert draw([stroke(point, width=5.0, tone=1.0)])[0].sum() == pytest.approx(np.pi * 2.5**2, rel=0.15)


def test_cutting_corners_of_a_square():
    square = box(0, 0, 1, 1)
    # Each round takes from every corner of an outline a triangle: 4 of legs 1/4, then 8 of sides 1/8 and sqrt(2)/16.
    assert area(rounded(square, 1)) == pytest.approx(1 - 4 / 32)
    assert area(rounded(square, 2)) == pytest.approx(1 - 4 / 32 - 8 * (1 / 2 * 1 / 8 * 1 / 16))
    line = path((np.zeros(2), 0.0), (1.0, 1.0), (2.0, 0.0))
    bent = rounded(line, 3, closed=False)
    assert np.array_equal(bent[:, [0, -1]], line[:, [0, -1]]) and bent[..., 1].max() < 1


def test_a_mirrored_outline_is_its_own_reflection():
    half = path((np.zeros(1), 0.0), (1.0, 0.5), (0.4, 2.0), (0.0, 2.0))
    whole = mirrored(half)
    assert np.array_equal(whole * (-1, 1), whole[:, ::-1]) and area(whole) == pytest.approx(2 * area(half))


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_garment_is_centred_and_of_the_right_length(name):
    parts = fitted(CUTS[name](uniform(0)), uniform(1))
    low, high = np.full((60, 2), np.inf), np.full((60, 2), -np.inf)
    for part in parts:
        reach = 0 if part.width is None else part.width[:, None, None] / 2
        low[part.shown] = np.minimum(low, (part.points - reach).min(1))[part.shown]
        high[part.shown] = np.maximum(high, (part.points + reach).max(1))[part.shown]
    assert np.allclose((low + high) / 2, SIDE / 2)
    longest = (high - low).max(1)
    assert longest.min() >= 0.88 * SIDE - 1e-9 and longest.max() <= 0.97 * SIDE + 1e-9


def test_fitting_forgets_size_and_place():
    parts = CUTS["coat"](uniform(2))
    moved = [
        replace(part, points=7 * part.points + 3, width=None if part.width is None else 7 * part.width)
        for part in parts
    ]
    for here, there in zip(fitted(parts, uniform(3)), fitted(moved, uniform(3)), strict=True):
        assert np.allclose(here.points, there.points)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*SHOES, "coat")])
def test_without_turn_and_slant_clothes_and_bags_are_symmetric(name):
    image = draw(fitted(CUTS[name](middle()), middle()))  # a coat buttons on one side
    assert np.abs(image - image[:, :, ::-1]).mean() < 0.01


@pytest.mark.parametrize("name", SHOES)
def test_a_shoe_stands_on_the_ground_with_toe_and_heel(name):
    parts = CUTS[name](uniform(4))
    toe, heel = np.full(60, -np.inf), np.full(60, -np.inf)
    for part in parts:
        for i in np.flatnonzero(part.shown & (part.width is None)):
            x, y = part.points[i].T
            toe[i] = max(toe[i], y[x < 0.5].max(initial=-np.inf))
            heel[i] = max(heel[i], y[x > 1.5].max(initial=-np.inf))
    assert np.allclose(toe, 0, atol=0.01) and np.allclose(heel, 0, atol=0.03)


def cloth(family: str, **changes) -> Bolts:
    numbers = {"ground": 0.8, "contrast": 0.5, "period": 7.0, "angle": 0.0, "crisp": 3.0} | changes
    one = {name: np.array([value]) for name, value in numbers.items()}
    return Bolts(family=np.array([FAMILIES.index(family)]), waves=np.full((1, 4, 2), 0.5), **one)


def test_stripes_are_level_and_come_again_after_their_period():
    phase = np.zeros((1, 6))
    level = pieces(cloth("stripes"), phase, SIDE)[0]
    assert np.ptp(level, axis=1).max() < 1e-6 < np.ptp(level, axis=0).min()
    assert np.allclose(level[7:], level[:-7], atol=1e-5)
    upright = pieces(cloth("stripes", angle=np.pi / 2), phase, SIDE)[0]
    assert np.allclose(upright, level.T, atol=1e-5)
    checks = pieces(cloth("checks"), phase, SIDE)[0]
    assert np.allclose(checks[7:, 7:], checks[:-7, :-7], atol=1e-5)
    assert np.ptp(checks, axis=1).min() > 0.05 and np.ptp(checks, axis=0).min() > 0.05


def test_cloth_lies_between_its_darkest_and_its_ground():
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (1, 6))
    for family in FAMILIES:
        piece = pieces(cloth(family), phase, SIDE)
        assert piece.min() >= 0.4 - 1e-6 and piece.max() <= 0.8 + 1e-6, family
        assert (np.ptp(piece) < 1e-6) == (family == "plain")
    shade = light(uniform(5), SIDE)
    assert 0.4 < shade.min() and shade.max() <= 1


def test_images_labels_and_balance():
    for split, count in (("train", 4000), ("test", 1000)):
        images, labels = garments(split)
        assert images.shape == (count, SIDE, SIDE) and images.dtype == np.uint8
        assert np.array_equal(labels, np.arange(count) % 10)  # any run of ten holds every kind
        brightest = images.reshape(count, -1).max(1)
        assert brightest.min() > 60 and brightest.max() > 245
        assert 0.15 < images.mean() / 255 < 0.35


def test_same_bytes_every_time_and_one_copy_that_cannot_be_spoilt():
    images, labels = garments("test")
    again, same_labels = garments.__wrapped__("test")
    assert again is not images and np.array_equal(again, images) and np.array_equal(same_labels, labels)
    assert garments("test")[0] is images
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    base_images("garments", "test", sprite=28).images.zero_()
    assert np.array_equal(garments("test")[0], again)


def test_all_are_made_in_two_seconds():
    start = time.process_time()
    garments.__wrapped__("train"), garments.__wrapped__("test")
    assert time.process_time() - start < 2  # 0.25 measured


def test_splits_share_neither_cloth_nor_cut():
    train, test = bolts("train"), bolts("test")
    for number in ("ground", "contrast", "period", "angle", "crisp", "waves"):
        assert not np.intersect1d(getattr(train, number), getattr(test, number)).size, number
    # The same laws: periods cover one another's range, and every family is in both.
    assert set(train.family) == set(test.family) == set(range(len(FAMILIES)))
    assert abs(train.period.mean() - test.period.mean()) < 1
    images = {split: {image.tobytes() for image in garments(split)[0]} for split in ("train", "test")}
    assert len(images["train"]) == 4000 and len(images["test"]) == 1000  # no garment twice
    assert not images["train"] & images["test"]


def test_a_test_garment_is_no_nearer_to_training_garments_than_these_to_one_another():
    train, test = (torch.tensor(garments(split)[0]).float().flatten(1) / 255 for split in ("train", "test"))
    across = torch.cdist(test, train).amin(1)
    within = torch.cdist(train[:1000], train).topk(2, largest=False).values[:, 1]  # the nearest is itself
    assert across.min() > 0.3  # not one is a copy
    assert 0.95 < across.median() / within.median() < 1.15


def test_silhouettes_cover_what_such_garments_cover():
    images, labels = garments("train")
    share = (images > 25).reshape(-1, 10, SIDE * SIDE).mean((0, 2))
    assert np.array_equal(labels[:10], np.arange(10))
    covered = dict(zip(NAMES, share, strict=True))
    broad, narrow = ("t-shirt", "pullover", "coat", "shirt", "bag"), ("trousers", "dress", "sneaker")
    assert all(0.45 < covered[name] < 0.7 for name in broad), covered
    assert all(0.22 < covered[name] < 0.4 for name in narrow), covered
    assert covered["sandal"] == min(covered.values()) and 0.15 < covered["sandal"] < 0.25
    assert 0.35 < covered["ankle boot"] < 0.5


def test_classes_differ_but_shirts_are_hard_to_tell():
    # A linear classifier in closed form (ridge regression): no training, so no luck.
    (x, y), (xt, yt) = (
        (torch.tensor(images).double().flatten(1) / 255, torch.tensor(labels))
        for images, labels in map(garments, ("train", "test"))
    )
    x, xt = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (x, xt))
    target = torch.nn.functional.one_hot(y).double()
    weights = torch.linalg.solve(x.T @ x + 30 * torch.eye(x.shape[1]), x.T @ target)
    guess = (xt @ weights).argmax(1)
    table = torch.zeros(10, 10).index_put_((yt, guess), torch.ones(len(yt)), accumulate=True) / 100
    assert 0.78 < table.trace() / 10 < 0.93, table
    right = dict(zip(NAMES, table.diagonal().tolist(), strict=True))
    assert min(right, key=right.get) == "shirt" and right["shirt"] < 0.7
    shirt = table[NAMES.index("shirt")]
    assert sum(shirt[NAMES.index(name)] for name in ("t-shirt", "pullover", "coat")) > 0.8 * (1 - right["shirt"])
    shoes = torch.tensor([NAMES.index(name) for name in SHOES])
    others = torch.tensor([i for i in range(10) if i not in shoes])
    assert table[shoes][:, others].sum() / 3 < 0.05 and table[others][:, shoes].sum() / 7 < 0.05


def test_as_base_images_of_cluttered_scenes(monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)  # nothing need be there
    base = base_images("garments", "test")
    assert base.side == 16 and base.labels.bincount().tolist() == [100] * 10
    assert torch.equal(base_images("garments", "test", 28).images, torch.tensor(garments("test")[0]))
    # Shrinking keeps the mean brightness.
    means = base.images.float().mean((1, 2)), torch.tensor(garments("test")[0]).float().mean((1, 2))
    assert (means[0] - means[1]).abs().max() < 3
    scenes = ClutteredDigits(ClutterConfig(source="garments"))
    assert scenes.positions == 25**2 and len(scenes.base) == 4000
    batch = scenes.batch(64, seed=1)
    assert batch.images.shape == (64, 1, 40, 40) and (batch.boxes[:, 2:] - batch.boxes[:, :2] == 16).all()
    assert ClutteredDigits(ClutterConfig.published("garments")).positions == 53**2


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match="'train' or 'test', got 'val'"):
        garments("val")
