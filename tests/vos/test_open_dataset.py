"""Data sets by a line of text."""

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.mask_flow import CopyFirstMask
from course_lib.vos.datasets import open_dataset
from course_lib.vos.evaluation import evaluate


@pytest.fixture
def davis(tmp_path):
    """Two sequences in the layout of DAVIS 2017, three frames each."""
    root = tmp_path / "DAVIS"
    for s, name in enumerate(("bear", "camel")):
        for t in range(3):
            image = root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 30, 3), 50 * s + t, np.uint8)).save(image)
            labels = torch.zeros(20, 30, dtype=torch.uint8)
            labels[4:10, 4 + t : 12 + t] = 1
            labels[12:16, 4:20] = 2
            write_labels(root / "Annotations" / "480p" / name / f"{t:05d}.png", labels)
    return root


def test_synthetic_scenarios():
    data = open_dataset("synthetic:easy?n=3&seed=5")
    assert len(data) == 3 and data.adds_objects and data.protocol == "youtube_vos"
    assert data.name == "synthetic:easy?seed=5"
    same = open_dataset("synthetic:easy", n=2, seed=5)
    assert torch.equal(same[1].frames, data[1].frames) and len(same) == 2
    assert not torch.equal(open_dataset("synthetic:easy", n=1, seed=6)[0].frames, data[0].frames)
    assert len(open_dataset("synthetic:")) == 8
    with pytest.raises(IndexError):
        same[2]


def test_davis_folders_are_streamed(davis, monkeypatch):
    data = open_dataset(f"davis:{davis}")
    assert data.names == ("bear", "camel") and data.protocol == "davis" and not data.adds_objects
    assert data.name == "davis2017:DAVIS"
    report = evaluate(CopyFirstMask(), data, progress=False)
    assert [o.id for o in report.objects] == [1, 2, 1, 2]
    assert report.objects[0].J_mean == pytest.approx(7 / 9) and report.objects[1].J_mean == 1
    assert report.objects[0].frames == 1
    monkeypatch.setenv("COURSE_DATA", str(davis.parent))
    (davis / "ImageSets" / "2017").mkdir(parents=True)
    (davis / "ImageSets" / "2017" / "val.txt").write_text("camel\n")
    assert open_dataset("davis?split=val").names == ("camel",)
    assert len(open_dataset("davis2017", n=1)) == 1
    assert open_dataset(f"davis2016:{davis}?n=1")[0].ids.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagenet:x", "unknown data set 'imagenet:x'; expected synthetic:SCENARIO, davis:PATH"),
        ("synthetic:impossible", "impossible"),
        ("synthetic:easy?n=x", "n must be a whole number, got 'x'"),
        ("synthetic:easy?n=0", "n must be at least 1, got 0"),
        ("synthetic:easy?frames=3", "unknown key 'frames'; known keys are n, seed"),
        ("davis:x?year=2017", "unknown key 'year'; known keys are n, split, resolution"),
    ],
)
def test_bad_lines(text, message):
    with pytest.raises(InputError, match=message):
        open_dataset(text)


def test_missing_data_roots(tmp_path, monkeypatch):
    with pytest.raises(MissingDataError, match="nowhere"):
        open_dataset(f"davis:{tmp_path / 'nowhere'}")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    for text in ("davis", "davis2017", "youtube_vos"):
        with pytest.raises(MissingDataError, match="COURSE_DATA"):
            open_dataset(text)
