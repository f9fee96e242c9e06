"""VOC trees written by the test read back exactly: boxes follow the pixels through stretching and mirroring."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from course_lib.data.scene_batch import SceneBatch, areas
from course_lib.data.voc import PERSON, VOC_CLASSES, VocScenes, read_annotation
from course_lib.errors import InputError, MissingDataError

# name, box as in the file (counted from 1, last pixel included), difficult
CAT_AND_DOG = [("cat", (11, 6, 20, 15), 0), ("dog", (21, 6, 60, 30), 0)]
TWO_ON_A_SOFA = [("sofa", (5, 11, 74, 40), 0), ("person", (5, 1, 39, 25), 0), ("person", (30, 1, 60, 30), 1)]
HARD = [("bird", (1, 1, 8, 8), 1)]


def annotation(objects, width, height, extra="") -> str:
    things = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{hard}</difficult>"
        f"<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>{extra}</object>"
        for name, (x0, y0, x1, y1), hard in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC</folder>{size}<segmented>0</segmented>{things}</annotation>"


def picture(objects, width, height) -> Image.Image:
    """Grey, with the first object's box red, the second's green, the third's blue."""
    pixels = np.full((height, width, 3), 60, dtype=np.uint8)
    for k, (_, (x0, y0, x1, y1), _) in enumerate(objects):
        pixels[y0 - 1 : y1, x0 - 1 : x1] = np.eye(3, dtype=np.uint8)[k] * 220
    return Image.fromarray(pixels)


def write(root, year, name, objects, split="train", width=80, height=40):
    base = root / "VOCdevkit" / f"VOC{year}"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "Annotations" / f"{name}.xml").write_text(annotation(objects, width, height))
    picture(objects, width, height).save(base / "JPEGImages" / f"{name}.jpg", quality=100, subsampling=0)
    with (base / "ImageSets" / "Main" / f"{split}.txt").open("a") as file:
        file.write(f"{name}\n")
    return base


@pytest.fixture
def tree(tmp_path):
    write(tmp_path, 2007, "000012", CAT_AND_DOG)
    write(tmp_path, 2012, "2008_000008", TWO_ON_A_SOFA, width=100, height=50)
    write(tmp_path, 2007, "000005", HARD, "val")
    write(tmp_path, 2012, "2011_000003", CAT_AND_DOG, "val")
    return tmp_path


def test_the_splits_are_the_lists_of_both_years(tree):
    train, test = VocScenes(tree), VocScenes(tree / "VOCdevkit", "test")
    assert [note.image.stem for note in train.annotations] == ["000012", "2008_000008"]
    assert [note.image.stem for note in test.annotations] == ["000005", "2011_000003"]
    assert len(VocScenes(tree, years=(2012,))) == 1 and train.class_names == VOC_CLASSES and len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES) and VOC_CLASSES[PERSON] == "person"


def test_the_largest_object_gives_the_label(tree):
    batch = VocScenes(tree, size=40).batch([0, 1])
    dog, cat, sofa = (VOC_CLASSES.index(name) for name in ("dog", "cat", "sofa"))
    assert batch.labels.tolist() == [dog, sofa]
    assert batch.object_labels.tolist() == [[dog, cat, -1], [sofa, PERSON, PERSON]]
    # 80 x 40 -> 40 x 40: x is halved, y stays; (21, 6, 60, 30) is (20, 5, 60, 30) half-open.
    assert batch.object_boxes[0].tolist() == [[10, 5, 30, 30], [5, 5, 10, 15], [0] * 4]
    assert batch.boxes[1].tolist() == pytest.approx([4 * 0.4, 10 * 0.8, 74 * 0.4, 40 * 0.8])
    # persons (29, 0, 60, 30) and (4, 0, 39, 25) over the sofa (4, 10, 74, 40): 31 * 20 + 35 * 15 - 10 * 15 of 70 * 30
    assert batch.object_boxes[1, 1].tolist() == pytest.approx([29 * 0.4, 0, 60 * 0.4, 30 * 0.8])
    assert batch.overlap.tolist() == pytest.approx([0, (620 + 525 - 150) / 2100])


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_lie_where_the_pixels_are(tree, flip):
    batch = VocScenes(tree, size=112, flip=flip).batch([0])
    assert batch.images.shape == (1, 3, 112, 112) and 0 <= batch.images.min() and batch.images.max() <= 1
    for (x0, y0, x1, y1), colour in zip(batch.object_boxes[0, :2].round().int().tolist(), (1, 0)):
        inside = batch.images[0, colour] > 0.5  # the dog is green, the cat red
        wanted = torch.zeros(112, 112, dtype=torch.bool)
        wanted[y0:y1, x0:x1] = True
        assert (inside != wanted).float().mean() < 0.01
    x = batch.boxes[0, 0]
    assert x == (28 if flip == 0 else 112 - 84)  # 20..60 of 80, which its mirror image happens to share
    assert batch.object_boxes[0, 1, 0] == (14 if flip == 0 else 112 - 28)


def test_mirroring_is_drawn_from_the_generator(tree):
    data = VocScenes(tree, size=16, flip=0.5)
    draw = [data.batch([0] * 40, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    left = [batch.object_boxes[:, 1, 0] == 2 for batch in draw]
    assert torch.equal(left[0], left[1]) and not torch.equal(left[0], left[2])
    assert 8 < int(left[0].sum()) < 32


def test_stretching_keeps_the_order_of_areas_and_all_shares(tree):
    data = VocScenes(tree)
    truth, images = data.truth(), data.batch([0, 1])
    assert truth.images.shape == (2, 0, 224, 224) and truth.size == (224, 224)
    assert all(torch.equal(a, b) for a, b in zip(truth[1:], images[1:], strict=True))
    for i, note in enumerate(data.annotations):
        share = areas(note.boxes).max() / (note.size[0] * note.size[1])
        assert truth.share[i] == pytest.approx(float(share), rel=1e-6)


def test_difficult_objects_are_kept_unless_refused(tree):
    assert VocScenes(tree, "test").truth().labels[0] == VOC_CLASSES.index("bird")
    strict = VocScenes(tree, "test", keep_difficult=False)
    assert len(strict) == 1 and strict.left_out == 1
    sofa = VocScenes(tree, keep_difficult=False).truth()
    assert (sofa.object_labels[1] == PERSON).sum() == 1


def test_parts_of_people_are_not_objects(tmp_path):
    head = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>79</xmax><ymax>39</ymax></bndbox></part>"
    path = tmp_path / "a.xml"
    path.write_text(annotation([("person", (3, 4, 10.7, 12), 0)], 80, 40, head))
    note = read_annotation(path, tmp_path / "a.jpg")
    assert note.labels == (PERSON,) and note.boxes.tolist() == [pytest.approx([2, 3, 10.7, 12])]
    path.write_text(annotation([("cow", (0, 30, 81, 45), 0)], 80, 40))
    assert read_annotation(path, tmp_path / "a.jpg").boxes.tolist() == [[0, 29, 80, 40]]


def test_items_make_batches_in_a_loader(tree):
    data = pickle.loads(pickle.dumps(VocScenes(tree, size=32)))
    batch = next(iter(DataLoader(data, batch_size=2)))
    assert isinstance(batch, SceneBatch)
    assert all(torch.equal(a, b) for a, b in zip(batch, data.batch([0, 1]), strict=True))
    with pytest.raises(IndexError, match="image 2 of a data set of 2"):
        data[2]


def test_a_photograph_is_read_as_stored(tree):
    path = tree / "VOCdevkit/VOC2007/JPEGImages/000012.jpg"
    before = VocScenes(tree, size=32).batch([0]).images
    image = Image.open(path)
    image.load()
    exif = image.getexif()
    exif[0x0112] = 3  # "turned by 180 degrees": boxes were drawn on the pixels as they are
    image.save(path, quality=100, subsampling=0, exif=exif)
    assert (VocScenes(tree, size=32).batch([0]).images - before).abs().max() < 0.05


def test_what_is_missing_is_named(tree, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"COURSE_DATA is not set.*download\.py voc2007"):
        VocScenes()
    devkit = tree / "VOCdevkit"
    with pytest.raises(MissingDataError, match=r"'voc2012' was not found.*download\.py voc2012"):
        (devkit / "VOC2012").rename(devkit / "elsewhere")
        VocScenes(tree)
    with pytest.raises(InputError, match="give as root the folder that holds VOC2007 and VOC2012"):
        VocScenes(devkit / "VOC2007", years=(2012,))
    (devkit / "VOC2007/ImageSets/Main/val.txt").unlink()
    with pytest.raises(MissingDataError, match=r"VOC 2007 has no list .*val\.txt"):
        VocScenes(tree, "test", years=(2007,))
    (devkit / "VOC2007/Annotations/000012.xml").unlink()
    with pytest.raises(MissingDataError, match=r"there is no annotation .*000012\.xml"):
        VocScenes(tree, years=(2007,))


def test_a_missing_image_is_named_when_it_is_read(tree):
    data = VocScenes(tree)
    (tree / "VOCdevkit/VOC2007/JPEGImages/000012.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"there is no file .*000012\.jpg"):
        data[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><size>", r"cannot read .*000012\.xml"),
        ("<annotation></annotation>", "size/height is missing"),
        (annotation([("unicorn", (1, 1, 5, 5), 0)], 80, 40), "'unicorn' is not a class of VOC"),
        (annotation([("cow", (50, 1, 40, 5), 0)], 80, 40), r"box \(50, 1, 40, 5\) of a cow is not inside"),
        (annotation([("cow", (90, 1, 99, 5), 0)], 80, 40), "is not inside an image of 80x40"),
        (annotation([("cow", ("left", 1, 9, 5), 0)], 80, 40), "bndbox/xmin is 'left'; expected a number"),
        (annotation([("cow", ("nan", 1, 9, 5), 0)], 80, 40), "is not inside"),
        (annotation([], "nan", 40), "is no size of an image"),
    ],
)
def test_damaged_annotations_are_named(tree, text, message):
    (tree / "VOCdevkit/VOC2007/Annotations/000012.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        VocScenes(tree)


def test_damaged_images_and_empty_lists_are_named(tree):
    path = tree / "VOCdevkit/VOC2007/JPEGImages/000012.jpg"
    data = VocScenes(tree)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"cannot read .*000012\.jpg"):
        data[0]
    Image.new("RGB", (40, 80)).save(path)
    with pytest.raises(InputError, match="is 80x40, but its annotation says 40x80"):
        data[0]
    (tree / "VOCdevkit/VOC2007/ImageSets/Main/train.txt").write_text("\n")
    with pytest.raises(InputError, match=r"train\.txt is empty"):
        VocScenes(tree)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, r"'train' or 'test' \(the val lists\)"),
        ({"years": (2008,)}, "years must be 2007, 2012 or both"),
        ({"size": 0}, "size must be positive"),
        ({"flip": 2.0}, "flip a share"),
    ],
)
def test_wrong_arguments_are_explained(tree, arguments, message):
    with pytest.raises(InputError, match=message):
        VocScenes(tree, **arguments)


def test_the_real_images(course_data):
    if not any((course_data / folder).is_dir() for folder in ("VOC2007", "VOCdevkit/VOC2007")):
        pytest.skip("COURSE_DATA holds no VOC2007")
    train, test = VocScenes(course_data), VocScenes(course_data, "test")
    assert (len(train), len(test)) == (8218, 8333)  # as F. Azimi (2024) counts
    person = (train.truth().labels == PERSON).sum()
    assert 1700 < person < 0.25 * len(train)
