"""Any video in, the same video labelled out: equal to frame-by-frame answers, and nothing is lost on an interrupt."""

import numpy as np
import pytest
import torch
from PIL import Image

import course_lib.methods.propagation.label_video as module
from course_lib.cli import main
from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.data.video import VideoReader, VideoWriter
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.dense_flow import OpenCvFlow
from course_lib.methods.propagation.label_video import label_video
from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.load import load_segmenter
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.methods.propagation.video_segmenter import PropagatingSegmenter
from course_lib.training.export import export_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = LiteSegmenter(len(STREET_CLASSES))
    return export_weights(network, tmp_path_factory.mktemp("weights") / "lite-driving.safetensors", limit=None)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    frames = World(scenario("driving", length=7, stereo=False, dense_truth=False)).clip(0).frames  # 128 x 256
    path = tmp_path_factory.mktemp("video") / "drive.mp4"
    with VideoWriter(path, fps=12) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_labels_are_those_of_the_sequential_segmenter(drive, weights, tmp_path):
    result = label_video(
        drive, "lite-driving", key_every=3, weights=weights, out=tmp_path / "out.mp4", labels=tmp_path / "classes",
        device="cpu", progress=False,
    )  # fmt: skip
    video = PropagatingSegmenter(
        load_segmenter("lite-driving", weights, "cpu"), OpenCvFlow(), OperatingPoint(key_every=3)
    )
    expected = [answer.labels.numpy() for answer in video.run(VideoReader(drive))]
    found = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "classes").glob("*.png"))]
    np.testing.assert_array_equal(found, expected)
    assert (result.frames, result.segmented, result.interrupted) == (7, 3, False)
    counts = np.bincount(np.concatenate([e.ravel() for e in expected]), minlength=len(STREET_CLASSES))
    np.testing.assert_allclose(result.shares, counts / counts.sum())
    text = str(result)
    assert "7 frames" in text and "3 of them segmented" in text and STREET_CLASSES[counts.argmax()] in text
    written = VideoReader(result.video)
    assert written.fps == 12 and written.size[1] == 256 and written.size[0] > 128  # a legend stands below


def test_the_courses_own_drive_needs_no_video(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_DRIVE_FRAMES", 3)
    assert main(["label", "--weights", str(weights), "--no-warp", "--device", "cpu"]) == 0
    assert VideoReader(tmp_path / "labelled.mp4").frame_count == 3
    assert "3 frames" in capsys.readouterr().out


def test_an_interrupt_keeps_what_is_there(drive, weights, tmp_path, monkeypatch):
    painted = []

    def paint(frame, labels):
        painted.append(1)
        if len(painted) == 4:
            raise KeyboardInterrupt
        return overlay(frame, labels)

    overlay = module.overlay
    monkeypatch.setattr(module, "overlay", paint)
    result = label_video(drive, "lite-driving", weights=weights, out=tmp_path / "out.mp4", device="cpu", progress=False)
    assert result.interrupted and result.frames == 3 and "ends after frame 2" in str(result)
    assert VideoReader(tmp_path / "out.mp4").frame_count == 3


def test_narrow_videos_have_no_legend(drive, weights, tmp_path):
    result = label_video(
        drive, "lite-driving", weights=weights, max_side=128, out=tmp_path / "out.mp4", device="cpu", progress=False
    )
    assert VideoReader(result.video).size == (64, 128)


def test_what_cannot_be_labelled(drive, tmp_path, capsys):
    with pytest.raises(InputError, match="unknown segmenter 'pspnet'; there are icnet-small-driving"):
        label_video(drive, "pspnet", out=tmp_path / "out.mp4")
    with pytest.raises(InputError, match="key_every must be a whole number of at least 1"):
        label_video(drive, key_every=0, out=tmp_path / "out.mp4")
    with pytest.raises(MissingDataError, match=r"nowhere\.mp4"):
        label_video(tmp_path / "nowhere.mp4", out=tmp_path / "out.mp4")
    assert main(["label", str(drive), "--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
