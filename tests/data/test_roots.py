"""A data set is found in the folder that was named and nowhere else; what is missing is explained."""

import pytest

from course_lib.data.roots import SOURCES, data_root, require_root
from course_lib.errors import InputError, MissingDataError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)


def make(base, *folders):
    for folder in folders:
        (base / folder).mkdir(parents=True)
    return base


def test_the_named_folder_or_the_one_above_will_do(tmp_path):
    make(tmp_path, "YouTubeVOS/valid/JPEGImages", "MNIST/raw", "CamVid-360p/trainannot")
    assert data_root("youtube_vos", tmp_path) == tmp_path / "YouTubeVOS"
    assert data_root("youtube_vos", tmp_path / "YouTubeVOS") == tmp_path / "YouTubeVOS"
    assert data_root("mnist", str(tmp_path)) == tmp_path / "MNIST"
    assert data_root("camvid", tmp_path) == tmp_path / "CamVid-360p"
    assert data_root("fashion_mnist", tmp_path) is None


def test_the_environment_is_asked_last(tmp_path, monkeypatch):
    make(tmp_path, "one/MNIST/raw", "two")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "one"))
    assert data_root("mnist") == tmp_path / "one" / "MNIST"
    assert data_root("mnist", tmp_path / "two") is None  # an explicit folder is not second-guessed


def test_davis_of_both_years_share_a_folder_name(tmp_path):
    make(tmp_path, "DAVIS/JPEGImages/480p")
    assert data_root("davis2016", tmp_path) == tmp_path / "DAVIS" and data_root("davis2017", tmp_path) is None
    make(tmp_path, "DAVIS/ImageSets/2017")
    assert data_root("davis2017", tmp_path) == tmp_path / "DAVIS"
    make(tmp_path, "DAVIS-2016/JPEGImages/480p", "DAVIS-2016-240p/JPEGImages/480p")
    assert data_root("davis2016", tmp_path) == tmp_path / "DAVIS-2016"  # full size before small


def test_without_any_folder_there_is_none():
    assert all(data_root(source.name) is None for source in SOURCES)


def test_a_missing_data_set_says_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(MissingDataError, match=r"COURSE_DATA is not set.*download\.py davis2017 --root"):
        require_root("davis2017")
    with pytest.raises(MissingDataError, match=r"looked in .* for YouTubeVOS or .*--root"):
        require_root("youtube_vos", tmp_path)
    make(tmp_path, "MNIST/raw")
    assert require_root("mnist", tmp_path) == tmp_path / "MNIST"


def test_wrong_names_and_folders_are_errors(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown data set 'davis'; known are davis2016, davis2017"):
        data_root("davis")
    with pytest.raises(MissingDataError, match=r"data root is set to .*nowhere.*not a folder"):
        data_root("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match=r"COURSE_DATA is set to .*not a folder"):
        data_root("mnist")


def test_the_real_folder(course_data):
    assert (require_root("davis2016", course_data) / "JPEGImages").is_dir()
