"""Where real data sets lie: an explicit folder, else the folder that the environment variable COURSE_DATA names.

A lesson asks `data_root` and carries on with the synthetic world when the answer is None; a command that cannot do
without asks `require_root`. Unusual: nothing else is searched, so a run never depends on what happens to be nearby.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import InputError, MissingDataError


@dataclass(frozen=True)
class DataSource:
    """A data set: its name in commands, folders it may lie in (best first), what must be inside, how to get it."""

    name: str
    folders: tuple[str, ...]
    markers: tuple[str, ...]  # any one of them makes a folder this data set
    how: str


def _download(name: str) -> str:
    return f"get it with `python data_scripts/download.py {name} --root DATA`"


SOURCES = (
    DataSource(
        "davis2016",
        ("DAVIS-2016", "DAVIS2016", "DAVIS", "DAVIS-2016-240p"),
        ("JPEGImages/480p", "JPEGImages/1080p"),
        _download("davis2016"),
    ),
    DataSource(
        "davis2017",
        ("DAVIS-2017", "DAVIS2017", "DAVIS-2017-trainval", "DAVIS"),
        ("ImageSets/2017",),
        _download("davis2017"),
    ),
    DataSource(
        "youtube_vos",
        ("YouTubeVOS", "YouTube-VOS", "youtube_vos", "YouTube"),
        ("train/JPEGImages", "valid/JPEGImages"),
        _download("youtube_vos"),
    ),
    DataSource("mnist", ("MNIST",), ("raw",), _download("mnist")),
    DataSource("fashion_mnist", ("FashionMNIST", "fashion_mnist"), ("raw",), _download("fashion_mnist")),
    DataSource("voc2007", ("VOC2007", "VOCdevkit/VOC2007", "voc2007"), ("ImageSets/Main",), _download("voc2007")),
    DataSource(
        "voc2012",
        ("VOC2012", "VOCdevkit/VOC2012", "voc2012"),
        ("SegmentationClass", "ImageSets/Main"),
        _download("voc2012"),
    ),
    DataSource(
        "camvid",
        ("CamVid-360p", "CamVid"),
        ("trainannot",),
        "fetch it from its authors (G. Brostow et al., 2008) and arrange it as CamVid/{train,trainannot,val,valannot}",
    ),
)


def data_root(name: str, root: str | Path | None = None) -> Path | None:
    """Folder of data set `name`, or None where it is not there.

    `root`, else COURSE_DATA, may be the data set's own folder or the one above it. Raises `InputError` for an unknown
    name, `MissingDataError` if `root` or COURSE_DATA was set but is not a folder.
    """
    source = _source(name)
    base = _base(root)
    if base is None:
        return None
    for folder in (*(base / f for f in source.folders), base):
        if any((folder / marker).is_dir() for marker in source.markers):
            return folder
    return None


def require_root(name: str, root: str | Path | None = None) -> Path:
    """Folder of data set `name`. Raises `MissingDataError` that says where it was looked for and how to get it."""
    found = data_root(name, root)
    if found is not None:
        return found
    source = _source(name)
    base = _base(root)
    if base is None:
        looked = "no data folder was named (COURSE_DATA is not set and no --root was given)"
    else:
        looked = f"looked in {base} for {' or '.join(source.folders)} with {' or '.join(source.markers)} inside"
    raise MissingDataError(
        f"data set {name!r} was not found: {looked}. To have it, {source.how}; then set COURSE_DATA to that folder "
        "or pass it as --root"
    )


def _source(name: str) -> DataSource:
    for source in SOURCES:
        if source.name == name:
            return source
    raise InputError(f"unknown data set {name!r}; known are {', '.join(s.name for s in SOURCES)}")


def _base(root: str | Path | None) -> Path | None:
    origin = "the data root"
    if root is None:
        root = os.environ.get("COURSE_DATA") or None
        origin = "COURSE_DATA"
    if root is None:
        return None
    base = Path(root).expanduser()
    if not base.is_dir():
        raise MissingDataError(f"{origin} is set to {str(root)!r}, which is not a folder; correct it or leave it out")
    return base
