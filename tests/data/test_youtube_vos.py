"""YouTube-VOS trees written by the test: late objects are given when they appear, unseen categories are derived."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.palette_png import write_labels
from course_lib.data.youtube_vos import YouTubeVosDataset, read_meta
from course_lib.errors import InputError, MissingDataError

STEMS = [f"{t:05d}" for t in range(0, 25, 5)]  # every fifth of 25 frames


def labels_of(ids) -> torch.Tensor:
    labels = torch.zeros(8, 10, dtype=torch.uint8)
    for i in ids:
        labels[i, :] = i
    return labels


def write_split(root, split, videos, annotated, step=5):
    """videos: name -> {id: (category, first stem)}; annotated(objects, stem) -> ids in that annotation, or None."""
    meta = {}
    for name, objects in videos.items():
        pictures, truth = (root / split / kind / name for kind in ("JPEGImages", "Annotations"))
        truth.mkdir(parents=True)
        pictures.mkdir(parents=True)
        for stem in STEMS:
            Image.new("RGB", (10, 8), (int(stem), 50, 90)).save(pictures / f"{stem}.jpg")
            ids = annotated(objects, stem)
            if ids is not None:
                write_labels(truth / f"{stem}.png", labels_of(ids))
        described = {
            str(i): {"category": c, "frames": [s for s in STEMS if s >= first]} for i, (c, first) in objects.items()
        }
        meta[name] = {"objects": described}
    (root / split / "meta.json").write_text(json.dumps({"videos": meta}))


def everything(objects, stem):
    return [i for i, (_, first) in objects.items() if first <= stem]


def first_appearances(objects, stem):
    return (
        [i for i, (_, first) in objects.items() if first <= stem] if stem in {f for _, f in objects.values()} else None
    )


@pytest.fixture
def root(tmp_path):
    write_split(tmp_path, "train", {"aa": {1: ("dog", STEMS[0])}, "bb": {1: ("cat", STEMS[1])}}, everything)
    late = {1: ("dog", STEMS[0]), 2: ("yak", STEMS[3]), 3: ("cat", STEMS[3])}
    write_split(tmp_path, "valid", {"cc": late}, first_appearances)
    return tmp_path


def test_training_clips_are_annotated_throughout(root):
    data = YouTubeVosDataset(root, "train")
    assert data.names == ("aa", "bb") and data.categories() == ("cat", "dog")
    clip = data[0]
    assert clip.annotated is None and clip.fps == 6 and len(clip) == 5 and clip.ids.tolist() == [1]
    assert clip.frames[:, 0, 4, 4].tolist() == pytest.approx([0, 5, 10, 15, 20], abs=3)


def test_late_objects_are_given_when_they_appear(root):
    stream = YouTubeVosDataset(root, "valid").stream(0)
    assert stream.annotated == (0, 3)
    told = {t: labels.unique().tolist() for t in range(5) if (labels := stream.new_labels(t)) is not None}
    assert told == {0: [0, 1], 3: [0, 2, 3]}  # frame 3 shows object 1 too, which is known by then
    assert stream.labels(3).unique().tolist() == [0, 1, 2, 3]


def test_a_clip_may_begin_without_objects(root):
    stream = YouTubeVosDataset(root, "train").stream(1)
    assert stream.new_labels(0) is None and stream.new_labels(1).unique().tolist() == [0, 1]


def test_following_begins_where_the_first_object_is_given(root):
    stream = YouTubeVosDataset(root, "train").stream(1)  # frame 0 is annotated, but empty
    assert stream.start == 1 and stream.first_labels.unique().tolist() == [0, 1]


def test_objects_carry_category_and_frames(root):
    objects = YouTubeVosDataset(root, "valid").objects(0)
    assert [(o.id, o.category, o.frames[0]) for o in objects] == [
        (1, "dog", "00000"),
        (2, "yak", "00015"),
        (3, "cat", "00015"),
    ]


def test_unseen_categories_are_those_training_never_shows(root):
    assert YouTubeVosDataset(root, "valid").unseen_categories() == ("yak",)
    assert YouTubeVosDataset(root, "train").unseen_categories() == ()
    (root / "train" / "meta.json").unlink()
    with pytest.raises(MissingDataError, match=r"train.meta\.json"):
        YouTubeVosDataset(root, "valid").unseen_categories()


def test_all_frames_keep_their_annotations_in_place(root):
    with pytest.raises(MissingDataError, match=r"valid_all_frames.*every fifth"):
        YouTubeVosDataset(root, "valid", all_frames=True)
    folder = root / "all_frames" / "valid_all_frames" / "JPEGImages" / "cc"
    folder.mkdir(parents=True)
    for t in range(21):
        Image.fromarray(np.full((8, 10, 3), t, dtype=np.uint8)).save(folder / f"{t:05d}.jpg")
    data = YouTubeVosDataset(root, "valid", all_frames=True)
    stream = data.stream(0)
    assert len(stream) == 21 and stream.fps == 30 and stream.annotated == (0, 15)
    assert stream.new_labels(15).unique().tolist() == [0, 2, 3]


def test_a_choice_of_videos(root):
    assert YouTubeVosDataset(root, "train", sequences=["bb"]).names == ("bb",)
    with pytest.raises(InputError, match=r"\['zz'\] are not in"):
        YouTubeVosDataset(root, "train", sequences=["zz"])


def test_missing_pieces_are_named(root):
    with pytest.raises(MissingDataError, match=r"no folder .*test.*download"):
        YouTubeVosDataset(root, "test")
    (root / "valid/Annotations/cc/00015.png").unlink()
    with pytest.raises(MissingDataError, match=r"object 2 first appears in frame 00015.*00015\.png is missing"):
        YouTubeVosDataset(root, "valid").stream(0)
    (root / "valid/JPEGImages/cc/00015.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"no .*00015\.jpg"):
        YouTubeVosDataset(root, "valid").stream(0)
    (root / "train/JPEGImages/aa/00020.jpg").unlink()
    with pytest.raises(InputError, match=r"00020\.png has no frame 00020"):
        YouTubeVosDataset(root, "train").stream(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected videos"),
        ('{"videos": {"a": {}}}', "failed at KeyError"),
        ('{"videos": {"a": {"objects": {"1": {"category": "dog", "frames": []}}}}}', "object 1.*at least one frame"),
        ('{"videos": {"a": {"objects": {"255": {"category": "x", "frames": ["0"]}}}}}', "id from 1 to 254"),
    ],
)
def test_a_wrong_meta_file_is_explained(tmp_path, text, message):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_meta(tmp_path / "meta.json")
