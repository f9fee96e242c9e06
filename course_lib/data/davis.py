"""DAVIS 2016 and 2017 in their official folder layout (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017).

`JPEGImages/480p/<sequence>/00000.jpg` beside `Annotations/480p/<sequence>/00000.png`, lists in `ImageSets/`. Unusual:
the two years read 255 in opposite ways: in 2016's black-and-white masks it is the object, in 2017's palette PNGs it
means "ignore".
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.data.clip_files import ClipFiles, ClipSet, image_files
from course_lib.data.palette_png import indices, open_image, read_labels
from course_lib.errors import InputError, MissingDataError

FPS = 24.0


def read_black_and_white(path: Path) -> UInt8[Tensor, "h w"]:
    """A DAVIS-2016 mask, stored as 0 and 255 or as 0 and 1: [H, W] in {0, 1}.

    Raises `InputError` for other values, which cannot be told to be object or background.
    """
    labels = read_labels(path)
    values = set(labels.unique().tolist())
    if not (values <= {0, 255} or values <= {0, 1}):
        raise InputError(
            f"{path} holds the values {sorted(values)[:6]}; a DAVIS-2016 mask holds 0 and 255 only. "
            "If these are object ids, ask for year=2017; if the mask was resized, threshold it"
        )
    return (labels != 0).to(torch.uint8)


def read_union(path: Path) -> UInt8[Tensor, "h w"]:
    """The foreground of a DAVIS-2017 palette PNG: every object becomes object 1, 255 stays "ignore". [H, W]."""
    labels = read_labels(path)
    return torch.where((labels != 0) & (labels != IGNORE), torch.ones_like(labels), labels)


class DavisDataset(ClipSet):
    """Map-style data set of DAVIS clips: `dataset[i]` reads a `Clip`, `dataset.stream(i)` leaves it on disk.

    root        folder that holds JPEGImages and Annotations
    split       name of a list in ImageSets ("train", "val", …); None takes every sequence folder there is
    year        2016 (one foreground object), 2017 (object ids), or None: 2016 if the annotations are black and white
    resolution  subfolder, "480p" or "Full-Resolution" (2017) or "1080p" (2016)
    sequences   names to keep, in this order; None keeps all

    Raises `MissingDataError` for folders, lists and sequences that are not there, `InputError` for a sequence whose
    files do not fit together; both name the file. Used from lesson 00 on.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        year: int | None = None,
        resolution: str = "480p",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self.frames_root = _folder(self.root, "JPEGImages", resolution)
        self.labels_root = _folder(self.root, "Annotations", resolution)
        if year not in (None, 2016, 2017):
            raise InputError(f"DAVIS year must be 2016, 2017 or None (read it from the annotations), got {year!r}")
        if sequences is not None and split is None:
            names = list(sequences)
        else:
            names = (
                self._listed(split, year) if split else sorted(p.name for p in self.frames_root.iterdir() if p.is_dir())
            )
            if sequences is not None:
                outside = sorted(set(sequences) - set(names))
                if outside:
                    raise InputError(f"sequences {outside} are not in the DAVIS split {split!r}")
                names = list(sequences)
        if not names:
            raise MissingDataError(f"{self.frames_root} holds no sequence folders")
        for name in names:
            for folder in (self.frames_root / name, self.labels_root / name):
                if not folder.is_dir():
                    raise MissingDataError(f"DAVIS sequence {name!r}: there is no folder {folder}")
        self.names: tuple[str, ...] = tuple(names)
        black_and_white = _is_black_and_white(self.labels_root / names[0])
        if year == 2017 and black_and_white:
            raise InputError(
                f"the annotations in {self.labels_root / names[0]} are black-and-white masks of DAVIS 2016; "
                "as object ids their 255 would mean 'ignore'. Ask for year=2016"
            )
        self.year: int = year or (2016 if black_and_white else 2017)
        self._decode: Callable[[Path], Tensor] = read_labels
        if self.year == 2016:
            self._decode = read_black_and_white if black_and_white else read_union

    def stream(self, index: int) -> ClipFiles:
        """Sequence `index` as files, for reading frame by frame.

        Every frame must have its annotation, or only the first (the test-dev and test-challenge splits).
        """
        name = self.names[index]
        frames = image_files(self.frames_root / name)
        if not frames:
            raise InputError(f"DAVIS sequence {name!r}: {self.frames_root / name} holds no images")
        truth = {path.stem: path for path in image_files(self.labels_root / name)}
        labels = tuple(truth.pop(frame.stem, None) for frame in frames)
        if truth:
            extra = min(truth.values())
            raise InputError(
                f"DAVIS sequence {name!r}: annotation {extra} has no frame; "
                f"there are {len(frames)} frames and {len(frames) - labels.count(None) + len(truth)} annotations"
            )
        first_only = labels[0] is not None and labels.count(None) == len(labels) - 1
        if None in labels and not first_only:
            missing = self.labels_root / name / f"{frames[labels.index(None)].stem}.png"
            raise MissingDataError(
                f"DAVIS sequence {name!r}: annotation {missing} is missing "
                f"({len(frames)} frames, {len(frames) - labels.count(None)} annotations); unpack the archive again"
            )
        return ClipFiles(name, frames, labels, FPS, decode=self._decode)

    def _listed(self, split: str, year: int | None) -> list[str]:
        """Sequence names of a split. Lines are names (2017's archive) or pairs of file paths (2016's)."""
        lists = self.root / "ImageSets"
        years = (year,) if year else (2017, 2016)
        folders = [str(y) for y in years] + (["480p", "1080p"] if 2016 in years else [])
        for folder in folders:
            path = lists / folder / f"{split}.txt"
            if path.is_file():
                lines = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
                return list(dict.fromkeys(Path(line).parent.name if "/" in line else line for line in lines))
        there = sorted(str(p.relative_to(lists)) for p in lists.glob("*/*.txt")) if lists.is_dir() else []
        raise MissingDataError(
            f"DAVIS split {split!r} has no list at {lists / folders[0] / f'{split}.txt'}; "
            f"lists there: {', '.join(there) or 'none'}. Leave split out to take every sequence folder"
        )


def _is_black_and_white(folder: Path) -> bool:
    """Whether the first annotation of a sequence is a mask (0 and 255, or one bit) and not a map of object ids."""
    files = image_files(folder)
    if not files:
        return False
    image = open_image(files[0])
    return image.mode == "1" or set(indices(image, files[0]).unique().tolist()) == {0, 255}


def _folder(root: Path, kind: str, resolution: str) -> Path:
    folder = root / kind / resolution
    if folder.is_dir():
        return folder
    if not root.is_dir():
        raise MissingDataError(
            f"there is no DAVIS folder {root}; get one with `python data_scripts/download.py davis2017`"
        )
    if (root / kind).is_dir():
        there = sorted(p.name for p in (root / kind).iterdir() if p.is_dir())
        raise MissingDataError(f"{root / kind} has no resolution {resolution!r}; it has {', '.join(there) or 'none'}")
    below = sorted(p.parent.name for p in root.glob(f"*/{kind}"))
    hint = f"; did you mean {root / below[0]}?" if below else ""
    raise MissingDataError(f"{root} is not in the DAVIS layout: {kind}/{resolution} is missing{hint}")
