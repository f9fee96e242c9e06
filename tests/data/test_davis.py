"""DAVIS trees written by the test read back exactly, in both meanings of 255; each defect is named by its file."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.davis import DavisDataset
from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError, MissingDataError

SIZE = (10, 12)


def frame_of(name: str, t: int) -> np.ndarray:
    """A picture that tells its sequence and time."""
    return np.full((*SIZE, 3), (len(name), t, 200), dtype=np.uint8)


def ids_at(t: int) -> torch.Tensor:
    labels = torch.zeros(SIZE, dtype=torch.uint8)
    labels[2:5, t : t + 4], labels[7:9, 3:6], labels[0] = 1, 2, 255
    return labels


def write_tree(root, names=("bear", "cows"), frames=4, year=2017, resolution="480p"):
    for name in names:
        pictures, truth = (root / kind / resolution / name for kind in ("JPEGImages", "Annotations"))
        pictures.mkdir(parents=True)
        truth.mkdir(parents=True)
        for t in range(frames):
            Image.fromarray(frame_of(name, t)).save(pictures / f"{t:05d}.jpg", quality=100)
            if year == 2017:
                write_labels(truth / f"{t:05d}.png", ids_at(t))
            else:
                mask = (ids_at(t) == 1).numpy().astype(np.uint8) * 255
                Image.fromarray(mask).save(truth / f"{t:05d}.png")
    return root


def write_list(root, folder, split, lines):
    path = root / "ImageSets" / folder / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_a_2017_clip_is_read_as_written(tmp_path):
    data = DavisDataset(write_tree(tmp_path))
    assert data.names == ("bear", "cows") and len(data) == 2 and data.year == 2017
    clip = data[1]
    assert clip.name == "cows" and clip.annotated is None and clip.ids.tolist() == [1, 2]
    assert torch.equal(clip.labels, torch.stack([ids_at(t) for t in range(4)]))
    wanted = np.stack([frame_of("cows", t) for t in range(4)]).transpose(0, 3, 1, 2)
    assert np.abs(clip.frames.numpy().astype(int) - wanted).max() <= 2  # JPEG
    assert [c.name for c in data] == ["bear", "cows"]


def test_in_2016_masks_255_is_the_object(tmp_path):
    data = DavisDataset(write_tree(tmp_path, year=2016))
    assert data.year == 2016
    assert torch.equal(data[0].labels, torch.stack([(ids_at(t) == 1).to(torch.uint8) for t in range(4)]))
    with pytest.raises(InputError, match=r"masks of DAVIS 2016.*year=2016"):
        DavisDataset(tmp_path, year=2017)


def test_one_bit_masks_are_masks(tmp_path):
    write_tree(tmp_path, year=2016)
    for path in tmp_path.glob("Annotations/480p/*/*.png"):
        Image.open(path).convert("1").save(path)
    data = DavisDataset(tmp_path)
    assert data.year == 2016 and data[0].ids.tolist() == [1]


def test_asked_for_2016_the_objects_of_2017_become_one(tmp_path):
    clip = DavisDataset(write_tree(tmp_path), year=2016)[0]
    expected = torch.stack([ids_at(t) for t in range(4)])
    expected[expected == 2] = 1
    assert torch.equal(clip.labels, expected)  # 255 stays "ignore" here


def test_grey_levels_are_not_guessed(tmp_path):
    write_tree(tmp_path, year=2016)
    bad = tmp_path / "Annotations/480p/bear/00002.png"
    Image.fromarray(np.full(SIZE, 117, dtype=np.uint8)).save(bad)
    with pytest.raises(InputError, match=r"00002\.png holds the values \[117\].*threshold"):
        DavisDataset(tmp_path)[0]


def test_a_stream_reads_the_same_frame_by_frame(tmp_path):
    data = DavisDataset(write_tree(tmp_path))
    stream, clip = data.stream(0), data[0]
    assert all(torch.equal(a, b) for a, b in zip(stream.frames(), clip.frames))
    assert torch.equal(stream.first_labels, clip.labels[0]) and len(stream) == 4 and stream.fps == clip.fps == 24
    assert all(torch.equal(stream.labels(t), clip.labels[t]) for t in range(4))


def test_splits_come_from_the_lists_of_either_year(tmp_path):
    write_tree(tmp_path, names=("bear", "cows", "dog"))
    write_list(tmp_path, "2017", "train", ["dog", "bear"])
    pairs = [f"/JPEGImages/480p/cows/{t:05d}.jpg /Annotations/480p/cows/{t:05d}.png" for t in range(4)]
    write_list(tmp_path, "480p", "val", pairs)
    assert DavisDataset(tmp_path, "train").names == ("dog", "bear")
    assert DavisDataset(tmp_path, "val", year=2016).names == ("cows",)
    assert DavisDataset(tmp_path).names == ("bear", "cows", "dog")
    assert DavisDataset(tmp_path, "train", sequences=["bear"]).names == ("bear",)
    with pytest.raises(InputError, match=r"\['cows'\] are not in the DAVIS split 'train'"):
        DavisDataset(tmp_path, "train", sequences=["cows"])
    with pytest.raises(
        MissingDataError, match=r"split 'test'.*lists there: 2017.train\.txt, 480p.val\.txt.*Leave split"
    ):
        DavisDataset(tmp_path, "test", year=2017)


def test_a_listed_sequence_must_be_there(tmp_path):
    write_tree(tmp_path)
    write_list(tmp_path, "2017", "train", ["bear", "zebra"])
    with pytest.raises(MissingDataError, match=r"'zebra'.*JPEGImages.480p.zebra"):
        DavisDataset(tmp_path, "train")
    with pytest.raises(MissingDataError, match="'lion'"):
        DavisDataset(tmp_path, sequences=["lion"])


def test_a_missing_root_or_layout_is_explained(tmp_path):
    with pytest.raises(MissingDataError, match=r"no DAVIS folder .*nowhere.*download"):
        DavisDataset(tmp_path / "nowhere")
    write_tree(tmp_path / "DAVIS")
    with pytest.raises(MissingDataError, match=r"did you mean .*DAVIS\?"):
        DavisDataset(tmp_path)
    with pytest.raises(MissingDataError, match=r"no resolution '1080p'; it has 480p"):
        DavisDataset(tmp_path / "DAVIS", resolution="1080p")
    with pytest.raises(InputError, match="year must be 2016, 2017"):
        DavisDataset(tmp_path / "DAVIS", year=2018)


def test_missing_and_surplus_files_are_named(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "Annotations/480p/bear/00002.png").unlink()
    with pytest.raises(MissingDataError, match=r"bear.00002\.png is missing \(4 frames, 3 annotations\)"):
        DavisDataset(tmp_path)[0]
    (tmp_path / "JPEGImages/480p/cows/00003.jpg").unlink()
    with pytest.raises(InputError, match=r"cows.00003\.png has no frame; there are 3 frames and 4 annotations"):
        DavisDataset(tmp_path)[1]


def test_test_dev_has_the_first_annotation_only(tmp_path):
    write_tree(tmp_path, names=("bear",))
    for path in sorted(tmp_path.glob("Annotations/480p/bear/*.png"))[1:]:
        path.unlink()
    clip = DavisDataset(tmp_path)[0]
    assert clip.annotated == (0,) and (clip.labels[1:] == 255).all() and clip.ids.tolist() == [1, 2]


def test_damaged_and_mixed_files_are_named(tmp_path):
    write_tree(tmp_path)
    picture = tmp_path / "JPEGImages/480p/bear/00001.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cannot read .*bear.00001\.jpg"):
        DavisDataset(tmp_path)[0]
    write_labels(tmp_path / "Annotations/480p/cows/00003.png", torch.zeros(5, 5, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"cows.00003\.png is 5x5 .*10x12"):
        DavisDataset(tmp_path)[1]


def test_it_travels_to_loader_workers(tmp_path):
    data = pickle.loads(pickle.dumps(DavisDataset(write_tree(tmp_path, year=2016))))
    assert data[0].ids.tolist() == [1]


def test_the_real_sequences(course_data):
    root = course_data / "DAVIS-2016-240p"
    if not root.is_dir():
        pytest.skip("COURSE_DATA holds no DAVIS-2016-240p")
    data = DavisDataset(root)
    assert data.year == 2016 and len(data) == 27
    assert sum(len(data.stream(i)) for i in range(27)) == 1930
    clip = data.stream(data.names.index("bear"))
    assert clip.size == (240, 427) and 0.05 < clip.first_labels.float().mean() < 0.5
