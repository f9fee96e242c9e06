"""Cluttered digits: the renderer against an obvious one, exact facts of the task, and a split without leaks."""

import gzip
import struct
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from course_lib.data.digit_images import FACES, base_images, handwritten, printed
from course_lib.data.digits import BLOCK, ClutterConfig, ClutteredDigits
from course_lib.data.idx import read_idx
from course_lib.errors import InputError, MissingDataError


@pytest.fixture(scope="module")
def digits() -> ClutteredDigits:
    return ClutteredDigits()


@pytest.fixture(scope="module")
def clean() -> ClutteredDigits:
    return ClutteredDigits(ClutterConfig(n_clutter=0))


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def render_slowly(digits: ClutteredDigits, draw) -> torch.Tensor:
    """One image at a time, one fragment at a time, in NumPy."""
    config, pixels = digits.config, digits.base.images.numpy().astype(np.int64)
    images = []
    for i in range(len(draw.main)):
        canvas = np.zeros((config.canvas, config.canvas), dtype=np.int64)
        for f in range(config.n_clutter):
            (sx, sy), (x, y), c = draw.cut[i, f].tolist(), draw.put[i, f].tolist(), config.clutter_size
            canvas[y : y + c, x : x + c] += pixels[draw.fragment[i, f], sy : sy + c, sx : sx + c]
        canvas = np.minimum(canvas, 255)
        (x, y), s = draw.corner[i].tolist(), digits.base.side
        canvas[y : y + s, x : x + s] += pixels[draw.main[i]]
        images.append(np.minimum(canvas, 255))
    return torch.from_numpy(np.stack(images)).float()[:, None] * (1 / 255)


@pytest.mark.parametrize("config", [ClutterConfig(), ClutterConfig(canvas=30, n_clutter=25, clutter_size=9, border=3)])
def test_agrees_with_the_obvious_renderer(config):
    digits = ClutteredDigits(config)
    draw = digits._draw(seed=5, block=0)
    batch = digits.batch(40, seed=5)
    assert torch.equal(batch.images, render_slowly(digits, type(draw)(*(part[:40] for part in draw))))


def test_sums_end_at_white():
    heavy = ClutteredDigits(ClutterConfig(n_clutter=60, clutter_size=16)).batch(50, seed=0).images
    assert heavy.max() == 1 and heavy.min() >= 0
    assert (heavy == 1).float().mean() > 0.3


def test_range_shapes_and_types(digits):
    images, labels, boxes = digits.batch(300, seed=1)
    assert images.shape == (300, 1, 40, 40) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1
    assert labels.dtype == torch.int64 and set(labels.tolist()) == set(range(10))
    assert boxes.shape == (300, 4) and boxes.dtype == torch.float32


def test_without_clutter_the_pixel_sum_is_the_sprites(clean):
    batch = clean.batch(500, seed=3)
    main = clean._draw(3, 0).main[:500]
    shown = (batch.images * 255).round().long().flatten(1).sum(1)
    assert torch.equal(shown, clean.base.images[main].long().flatten(1).sum(1))
    assert torch.equal(batch.labels, clean.base.labels[main])


def test_boxes_hold_the_whole_object_and_lie_inside(clean):
    images, _, boxes = clean.batch(200, seed=4)
    assert (boxes[:, 2:] - boxes[:, :2] == clean.base.side).all()
    assert (boxes >= 0).all() and (boxes <= clean.config.canvas).all()
    for image, (x0, y0, x1, y1) in zip(images[:, 0], boxes.int().tolist(), strict=True):
        assert image[y0:y1, x0:x1].count_nonzero() == image.count_nonzero() > 0


def test_clutter_only_adds(digits, clean):
    # The same seed draws the same objects at the same places, with or without clutter.
    with_clutter, without = digits.batch(200, seed=6), clean.batch(200, seed=6)
    assert torch.equal(with_clutter.boxes, without.boxes) and torch.equal(with_clutter.labels, without.labels)
    assert (with_clutter.images >= without.images).all()
    assert (with_clutter.images > without.images).any()


def test_number_of_positions():
    assert ClutteredDigits(ClutterConfig(canvas=80, sprite=28)).positions == 53**2 == 2809
    tight = ClutteredDigits(ClutterConfig(canvas=19, sprite=16, n_clutter=0, border=1))
    assert tight.positions == 4
    assert {tuple(box) for box in tight.batch(200, 0).boxes.tolist()} == {
        (x, y, x + 16, y + 16) for x in (1, 2) for y in (1, 2)
    }


def test_positions_are_uniform(clean):
    corners = clean.batch(20_000, seed=7).boxes[:, :2].long()
    counts = torch.bincount(corners[:, 1] * 25 + corners[:, 0], minlength=625).double()
    chi2 = ((counts - 32) ** 2 / 32).sum()
    assert chi2 < 624 + 5 * (2 * 624) ** 0.5  # mean and spread of chi-square with 624 degrees of freedom


def test_same_seed_same_bytes_other_seed_other_bytes(digits):
    assert same(digits.batch(100, seed=8), ClutteredDigits().batch(100, seed=8))
    assert not torch.equal(digits.batch(100, seed=8).images, digits.batch(100, seed=9).images)
    assert same(digits.batch(9, torch.Generator().manual_seed(1)), digits.batch(9, torch.Generator().manual_seed(1)))
    generator = torch.Generator().manual_seed(1)
    assert not torch.equal(digits.batch(9, generator).images, digits.batch(9, generator).images)


def test_a_stream_does_not_depend_on_how_it_is_cut(digits):
    n = BLOCK + 200
    whole = digits.batch(n, seed=2)
    pieces = [digits.batch(150, seed=2, start=start) for start in range(0, n, 150)]
    glued = [torch.cat(parts)[:n] for parts in zip(*pieces, strict=True)]
    assert same(whole, glued)
    streamed = [torch.cat(parts)[:n] for parts in zip(*islice(digits.stream(300, seed=2), 5), strict=True)]
    assert same(whole, streamed)


def test_each_pass_shows_every_object_once(clean):
    count = len(clean.base)
    n = 3 * count
    main = torch.cat([clean._draw(0, block).main for block in range(-(-n // BLOCK))])[:n]
    orders = main.view(3, count)
    assert all(torch.equal(order.sort().values, torch.arange(count)) for order in orders)
    assert not torch.equal(orders[0], orders[1])


def test_an_empty_batch_has_the_right_shape(digits):
    images, labels, boxes = digits.batch(0)
    assert images.shape == (0, 1, 40, 40) and labels.shape == (0,) and boxes.shape == (0, 4)


def test_dataset_items_are_those_of_the_stream(digits):
    dataset = digits.dataset(BLOCK + 10, seed=5)
    batch = digits.batch(BLOCK + 10, seed=5)
    for index in (0, 17, BLOCK + 9, -1):
        assert same(dataset[index], (part[index] for part in batch))
    shuffled = dataset.__getitems__([BLOCK + 3, 2])
    assert torch.equal(shuffled[0][0], batch.images[BLOCK + 3]) and torch.equal(shuffled[1][0], batch.images[2])
    images, labels, boxes = next(iter(DataLoader(dataset, batch_size=32)))
    assert same((images, labels, boxes), (part[:32] for part in batch))
    with pytest.raises(IndexError, match="1034 images"):
        dataset[BLOCK + 10]


def test_train_and_test_share_no_base_image_and_no_typeface():
    train, test = base_images("builtin", "train"), base_images("builtin", "test")
    assert not {i.numpy().tobytes() for i in train.images} & {i.numpy().tobytes() for i in test.images}
    assert not set(FACES["train"]) & set(FACES["test"])
    upright = {split: {f.replace("BoldOblique", "Bold").replace("BoldItalic", "Bold").split("-Obl")[0].split("-It")[0]
                       for f in FACES[split]} for split in FACES}  # fmt: skip
    assert not upright["train"] & upright["test"]
    assert len(handwritten("train", 8)) == 1300 and len(handwritten("test", 8)) == 497
    for split in (train, test):
        shares = split.labels.bincount(minlength=10) / len(split)
        assert shares.min() > 0.09 and shares.max() < 0.11


def test_handwritten_digits_at_their_own_size_are_untouched():
    from sklearn.datasets import load_digits

    original = load_digits().images[1300:]
    assert np.abs(handwritten("test", 8).images.numpy() / 255 * 16 - original).max() <= 16 / 255 / 2 + 1e-6


def test_a_printed_digit_can_be_told_by_a_simple_classifier():
    # nearest mean of the training typefaces, on typefaces never seen: bent digits must still be digits
    train, test = printed("train", 16), printed("test", 16)
    means = torch.stack([train.images[train.labels == d].float().mean(0) for d in range(10)])
    distance = (test.images.float()[:, None] - means).square().sum((2, 3))
    assert (distance.argmin(1) == test.labels).float().mean() > 0.8


def write_idx(path, array, compress):
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if compress else raw)


@pytest.fixture
def fake_mnist(tmp_path):
    rng = np.random.default_rng(0)
    for stem, n, compress in (("train", 30, True), ("t10k", 20, False)):
        end = ".gz" if compress else ""
        images = rng.integers(0, 256, (n, 28, 28))
        write_idx(tmp_path / "MNIST/raw" / f"{stem}-images-idx3-ubyte{end}", images, compress)
        write_idx(tmp_path / "MNIST/raw" / f"{stem}-labels-idx1-ubyte{end}", np.arange(n) % 10, compress)
    return tmp_path


def test_reads_mnist_compressed_or_not(fake_mnist, monkeypatch):
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28))
    base = base_images("mnist", "train", root=fake_mnist)
    assert np.array_equal(base.images.numpy(), expected)
    assert base.labels.tolist() == [i % 10 for i in range(30)]
    assert len(base_images("mnist", "test", root=fake_mnist)) == 20
    monkeypatch.setenv("COURSE_DATA", str(fake_mnist))
    digits = ClutteredDigits(ClutterConfig.published())
    assert digits.base.side == 28 and digits.positions == 2809 and len(digits.base) == 30
    assert digits.batch(3).images.shape == (3, 1, 80, 80)
    assert base_images("mnist", "train", sprite=14).images.shape == (30, 14, 14)


def test_missing_data_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"download\.py fashion_mnist"):
        ClutteredDigits(ClutterConfig(source="fashion_mnist", sprite=28, canvas=60))
    with pytest.raises(MissingDataError, match=r"download\.py mnist"):
        base_images("mnist", "train", root=tmp_path)


def test_damaged_idx_files_are_named(tmp_path):
    path = tmp_path / "images"
    write_idx(path, np.zeros((4, 3, 3)), compress=False)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"31 bytes of data where its shape \(4, 3, 3\) needs 36"):
        read_idx(path)
    path.write_bytes(b"<html>")
    with pytest.raises(InputError, match="not an idx file"):
        read_idx(path)
    write_idx(tmp_path / "labels.gz", np.zeros(100), compress=True)
    (tmp_path / "labels.gz").write_bytes((tmp_path / "labels.gz").read_bytes()[:-3])
    with pytest.raises(InputError, match="damaged"):
        read_idx(tmp_path / "labels")
    with pytest.raises(MissingDataError, match=r"nothing\.gz is there"):
        read_idx(tmp_path / "nothing")


def test_the_real_mnist_where_it_is(course_data):
    if not (course_data / "MNIST").is_dir():
        pytest.skip("COURSE_DATA holds no MNIST")
    test = base_images("mnist", "test", root=course_data)
    assert test.images.shape == (10_000, 28, 28)
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"canvas": 12}, "16 pixels does not fit on a canvas of 12"),
        ({"border": 13}, "make the canvas at least 42"),
        ({"clutter_size": 17}, "cannot be cut from images of 16"),
        ({"n_clutter": -1}, "n_clutter must be a whole number of at least 0, got -1"),
        ({"clutter_size": 2.5}, "clutter_size must be a whole number"),
        ({"split": "val"}, "split must be 'train' or 'test', got 'val'"),
        ({"source": "svhn"}, "source must be"),
        ({"sprite": 2}, "at least 4 pixels"),
    ],
)
def test_bad_settings_are_refused(dials, message):
    with pytest.raises(InputError, match=message):
        ClutteredDigits(ClutterConfig(**dials))


def test_bad_requests_are_refused(digits):
    with pytest.raises(InputError, match="must not be negative"):
        digits.batch(-1)
    with pytest.raises(InputError, match="must not be negative"):
        digits.batch(1, seed=-3)
    with pytest.raises(InputError, match="at least one image"):
        digits.dataset(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_renders_the_same_bytes(digits):
    here, there = digits.batch(500, seed=1), digits.batch(500, seed=1, device="cuda")
    assert there.images.is_cuda and same(here, (part.cpu() for part in there))
