"""YouTube-VOS 2018 and 2019 in their official layout (Xu et al., ECCV 2018): frames, palette PNGs and `meta.json`.

`<split>/JPEGImages/<video>/00005.jpg`, `<split>/Annotations/<video>/00005.png`, every fifth frame of a 30-fps video.
Unusual: an object may appear late, and then it is given to a method in that frame and not in the first; and which
categories are "unseen" is not written anywhere: they are those of the validation set that training never shows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.data.clip_files import ClipFiles, ClipSet, image_files
from course_lib.errors import InputError, MissingDataError

FPS = 6.0  # of the annotated frames
FPS_ALL_FRAMES = 30.0


@dataclass(frozen=True)
class VosObject:
    """One object of one video as `meta.json` describes it."""

    id: int  # label in the annotations
    category: str
    frames: tuple[str, ...]  # names of the frames in which it is to be segmented; it is given in the first of them


class YouTubeVosDataset(ClipSet):
    """Map-style data set of YouTube-VOS clips: `dataset[i]` reads a `Clip`, `dataset.stream(i)` leaves it on disk.

    root        folder that holds train and valid
    split       "train", "valid" or "test"
    sequences   video names to keep, in this order; None keeps all of meta.json
    all_frames  take every frame of the video, from `<split>_all_frames` beside the split; annotations stay every fifth

    In "valid" only the frames where an object appears are annotated; the rest of `labels` is 255. Raises
    `MissingDataError` for what is not there and `InputError` for what does not fit together, naming the file.
    """

    def __init__(
        self, root: str | Path, split: str = "train", sequences: Sequence[str] | None = None, all_frames: bool = False
    ) -> None:
        self.root = Path(root).expanduser()
        self.split = split
        self.all_frames = all_frames
        self.labels_root = _folder(self.root / split / "Annotations")
        self.frames_root = self._all_frames_root() if all_frames else _folder(self.root / split / "JPEGImages")
        self._videos = read_meta(self.root / split / "meta.json")
        names = tuple(sorted(self._videos)) if sequences is None else tuple(sequences)
        unknown = [name for name in names if name not in self._videos]
        if unknown:
            raise InputError(f"videos {unknown[:5]} are not in {self.root / split / 'meta.json'}")
        self.names: tuple[str, ...] = names

    def objects(self, index: int) -> tuple[VosObject, ...]:
        """Objects of video `index`, by id."""
        return self._videos[self.names[index]]

    def categories(self) -> tuple[str, ...]:
        """Categories of the whole split, sorted."""
        return _categories(self._videos)

    def unseen_categories(self) -> tuple[str, ...]:
        """Categories of this split that no training video shows (26 in the official validation sets).

        Needs train/meta.json beside the split; raises `MissingDataError` without it.
        """
        shown = set(_categories(read_meta(self.root / "train" / "meta.json")))
        return tuple(c for c in self.categories() if c not in shown)

    def stream(self, index: int) -> ClipFiles:
        """Video `index` as files. `new_labels(t)` holds exactly the objects that first appear at frame t."""
        name = self.names[index]
        frames = image_files(_folder(self.frames_root / name))
        if not frames:
            raise InputError(f"YouTube-VOS video {name!r}: {self.frames_root / name} holds no images")
        position = {frame.stem: t for t, frame in enumerate(frames)}
        truth = {path.stem: path for path in image_files(_folder(self.labels_root / name))}
        for stem, path in truth.items():
            if stem not in position:
                raise InputError(
                    f"YouTube-VOS video {name!r}: annotation {path} has no frame {stem} in {frames[0].parent}"
                )
        given: dict[int, tuple[int, ...]] = {}
        for item in self.objects(index):
            first = item.frames[0]
            if first not in position:
                raise MissingDataError(
                    f"YouTube-VOS video {name!r}: object {item.id} first appears in frame {first}, "
                    f"but there is no {frames[0].with_stem(first)}"
                )
            if first not in truth:
                raise MissingDataError(
                    f"YouTube-VOS video {name!r}: object {item.id} first appears in frame {first}, "
                    f"but its annotation {self.labels_root / name / f'{first}.png'} is missing"
                )
            t = position[first]
            given[t] = (*given.get(t, ()), item.id)
        labels = tuple(truth.get(frame.stem) for frame in frames)
        return ClipFiles(name, frames, labels, FPS_ALL_FRAMES if self.all_frames else FPS, given)

    def _all_frames_root(self) -> Path:
        names = (f"{self.split}_all_frames", f"all_frames/{self.split}_all_frames")
        for name in names:
            folder = self.root / name / "JPEGImages"
            if folder.is_dir():
                return folder
        raise MissingDataError(
            f"all_frames=True needs the archive of all frames: there is neither {' nor '.join(names)} in {self.root}. "
            "Unpack it there, or leave all_frames out to use every fifth frame"
        )


def read_meta(path: str | Path) -> dict[str, tuple[VosObject, ...]]:
    """Objects of every video from a `meta.json`: video name -> objects, by id.

    Raises `MissingDataError`, or `InputError` where the file is not valid JSON or lacks what the format demands.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(f"YouTube-VOS needs {path}, which comes with the archive of its split") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); unpack the archive again") from error
    videos: dict[str, tuple[VosObject, ...]] = {}
    try:
        for name, video in raw["videos"].items():
            described = (
                VosObject(int(key), str(item["category"]), tuple(sorted(item["frames"])))
                for key, item in video["objects"].items()
            )
            videos[name] = tuple(sorted(described, key=lambda item: item.id))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} is not a YouTube-VOS meta.json: expected videos -> name -> objects -> id -> category and frames; "
            f"failed at {error!r}"
        ) from error
    for name, objects in videos.items():
        for item in objects:
            if not item.frames or not 1 <= item.id <= 254:
                raise InputError(
                    f"{path}: video {name!r}, object {item.id}: expected an id from 1 to 254 and at least one frame"
                )
    return videos


def _categories(videos: dict[str, tuple[VosObject, ...]]) -> tuple[str, ...]:
    return tuple(sorted({item.category for objects in videos.values() for item in objects}))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise MissingDataError(
            f"YouTube-VOS: there is no folder {path}; see `python data_scripts/download.py youtube_vos --dry-run`"
        )
    return path
