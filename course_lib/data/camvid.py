"""CamVid: drives through Cambridge with every pixel labelled by class (Brostow, Fauqueur, Cipolla, 2009).

The layout is that of the SegNet release: `train/` and `val/` hold frames, `trainannot/` and `valannot/` grey PNGs of 11
classes, with 11 for void; split into drives, frames in order, so that answers can be carried from one to the next.
Unusual, and easily missed: the training frames are a second apart, but the validation frames are one stretch at 15 per
second, cut out of a drive whose other parts are in the training set.
"""

import re
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Literal, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.data.clip_files import ClipFiles, ClipSet, image_files
from course_lib.data.palette_png import read_labels
from course_lib.data.roots import require_root
from course_lib.errors import InputError, MissingDataError

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
CAMERA_FPS = 30.0  # of the film that the numbers in the file names count
_VOID = len(CAMVID_CLASSES)
_NAME = re.compile(r"(?P<film>\w+?)_f?(?P<number>\d+)")


class LabelledFrame(NamedTuple):
    """One frame and its truth."""

    frame: UInt8[Tensor, "3 h w"]
    labels: UInt8[Tensor, "h w"]  # indices into CAMVID_CLASSES, 255 void


def read_classes(path: Path) -> UInt8[Tensor, "h w"]:
    """An annotation: class of each pixel, 255 where the file says void (11). Raises `InputError` for other values."""
    labels = read_labels(path)
    wrong = labels[(labels > _VOID) & (labels != IGNORE)]
    if len(wrong):
        raise InputError(
            f"{path} holds the value {int(wrong.max())}; CamVid's annotations hold classes 0 to {_VOID - 1} and "
            f"{_VOID} for void. The colour-coded originals have to be converted first"
        )
    return torch.where(labels == _VOID, torch.full_like(labels, IGNORE), labels)


class CamVidDataset(ClipSet):
    """Map-style data set of drives: item i is a `Clip`, `stream(i)` the same in files; `frame(i)` one labelled frame.

    root   folder that holds train and trainannot, or one above it, else COURSE_DATA
    split  "train", "val" or "test"

    A drive ends where the film changes or more than one and a half steps are missing. Its name is film and first
    number, `fps` the labelled frames per second. `frames_total` counts frames over all drives.
    Raises `MissingDataError` for folders and files that are not there, `InputError` for others' names; both name the
    file. Built in lesson 06.
    """

    def __init__(self, root: str | Path | None = None, split: Literal["train", "val", "test"] = "train") -> None:
        if split not in ("train", "val", "test"):
            raise InputError(f"split must be 'train', 'val' or 'test', got {split!r}")
        self.root = require_root("camvid", root)
        self.split = split
        pictures, truths = self.root / split, self.root / f"{split}annot"
        for folder in (pictures, truths):
            if not folder.is_dir():
                raise MissingDataError(f"CamVid split {split!r}: there is no folder {folder}")
        annotations = {path.stem: path for path in image_files(truths)}
        frames = image_files(pictures)
        if not frames:
            raise MissingDataError(f"CamVid split {split!r}: {pictures} holds no images")
        lost = [path for path in frames if path.stem not in annotations]
        extra = sorted(annotations.keys() - {path.stem for path in frames})
        if lost or extra:
            what = f"frame {lost[0]} has no annotation" if lost else f"annotation {annotations[extra[0]]} has no frame"
            raise MissingDataError(f"CamVid split {split!r}: {what}; copy the folders again")
        self._drives = [
            ClipFiles(
                f"{film}/{numbers[0]}", paths, tuple(annotations[p.stem] for p in paths), fps, decode=read_classes
            )
            for film, numbers, paths, fps in _drives(frames)
        ]
        self.names = tuple(drive.name for drive in self._drives)
        self._places = [(d, t) for d, drive in enumerate(self._drives) for t in range(len(drive))]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return CAMVID_CLASSES

    @property
    def frames_total(self) -> int:
        """Labelled frames of all drives."""
        return len(self._places)

    def stream(self, index: int) -> ClipFiles:
        """Drive `index` as files, for reading frame by frame."""
        return self._drives[index]

    def frame(self, index: int) -> LabelledFrame:
        """Frame `index` of all drives in order, with its labels, for training on single frames."""
        if not -self.frames_total <= index < self.frames_total:
            raise IndexError(f"frame {index} of a data set of {self.frames_total}")
        drive, t = self._places[index]
        labels = self._drives[drive].labels(t)
        assert labels is not None  # every frame has one, as checked above
        return LabelledFrame(self._drives[drive].frame(t), labels)


def _drives(frames: tuple[Path, ...]) -> list[tuple[str, list[int], tuple[Path, ...], float]]:
    """Film, numbers, files and rate of each run of frames without a gap."""
    films: dict[str, list[tuple[int, Path]]] = {}
    for path in frames:
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise InputError(
                f"{path} is not named as CamVid's frames are, such as 0016E5_07959.png or 0006R0_f00930.png"
            )
        films.setdefault(match["film"], []).append((int(match["number"]), path))
    out = []
    for film, numbered in sorted(films.items()):
        numbered.sort()
        gaps = [after - before for (before, _), (after, _) in pairwise(numbered)]
        step = median_low(gaps) if gaps else CAMERA_FPS
        cuts = [0, *(i + 1 for i, gap in enumerate(gaps) if gap > 1.5 * step), len(numbered)]
        for begin, end in pairwise(cuts):
            part = numbered[begin:end]
            out.append((film, [n for n, _ in part], tuple(path for _, path in part), CAMERA_FPS / step))
    return out
