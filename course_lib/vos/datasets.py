"""Data sets to evaluate on, asked for by one line of text: `synthetic:occlusion?n=8`, `davis:DATA/DAVIS`.

Unusual: the answer carries how it wants to be scored (which frames count, whether objects join later), so that the same
text gives the same numbers on the command line, in a lesson and in a claim.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from course_lib.data.clip import Clip
from course_lib.data.clip_files import ClipFiles
from course_lib.errors import InputError

DEFAULT_CLIPS = 8  # of a synthetic scenario
_FORMS = "synthetic:SCENARIO, davis:PATH, davis2016:PATH, davis2017:PATH or youtube_vos:PATH, each with ?key=value&…"


@dataclass(frozen=True)
class VideoSet:
    """The first `length` clips of `source`, with how to score them. `evaluate` reads these attributes."""

    name: str
    source: Any  # map-style data set of Clips; of files, if it also has `stream(i)`
    length: int
    names: tuple[str, ...] | None
    protocol: Literal["davis", "youtube_vos"]
    adds_objects: bool

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        return self.source[index]


@dataclass(frozen=True)
class FileVideoSet(VideoSet):
    """A `VideoSet` whose sequences are read frame by frame."""

    def stream(self, index: int) -> ClipFiles:
        """Sequence `index` as files."""
        return self.source.stream(index)


def open_dataset(text: str, n: int | None = None, seed: int = 0) -> VideoSet:
    """Data set from a line such as "synthetic:occlusion?n=8&seed=3" or "davis:PATH?split=val".

    text  synthetic:SCENARIO (keys n, seed), davis:PATH or davis2016/davis2017:PATH (keys n, split, resolution) or
          youtube_vos:PATH (keys n, split). Without a PATH, the folder that COURSE_DATA names is searched
    n     number of clips; None means 8 synthetic ones, or every sequence there is
    seed  of the first synthetic clip

    `n` and `seed` yield to the keys in the text. Raises `InputError` for text that is none of these, `MissingDataError`
    for data that are not there.
    """
    address, _, query = text.partition("?")
    kind, _, where = address.partition(":")
    keys = dict(parse_qsl(query, keep_blank_values=True))
    count = _number(keys.pop("n", n), "n", text)
    if count is not None and count < 1:
        raise InputError(f"{text!r}: n must be at least 1, got {count}")
    if kind == "synthetic":
        first = _number(keys.pop("seed", seed), "seed", text)
        _refuse_rest(keys, "n, seed", text)
        return _synthetic(where or "easy", DEFAULT_CLIPS if count is None else count, 0 if first is None else first)
    if kind in ("davis", "davis2016", "davis2017"):
        split, resolution = keys.pop("split", None), keys.pop("resolution", "480p")
        _refuse_rest(keys, "n, split, resolution", text)
        return _davis(kind, where, split, resolution, count)
    if kind == "youtube_vos":
        split = keys.pop("split", "train")
        _refuse_rest(keys, "n, split", text)
        return _youtube_vos(where, split, count)
    raise InputError(f"unknown data set {text!r}; expected {_FORMS}")


def _synthetic(name: str, n: int, seed: int) -> VideoSet:
    from course_lib.data.synthetic import World, scenario

    dataset = World(scenario(name)).dataset(n, seed)
    return VideoSet(f"synthetic:{name}?seed={seed}", dataset, n, None, "youtube_vos", adds_objects=True)


def _davis(kind: str, where: str, split: str | None, resolution: str, n: int | None) -> VideoSet:
    from course_lib.data.davis import DavisDataset
    from course_lib.data.roots import data_root, require_root

    year = None if kind == "davis" else int(kind[-4:])
    if where:
        root = Path(where)
    elif year is None:
        root = data_root("davis2017") or require_root("davis2016")
    else:
        root = require_root(kind)
    dataset = DavisDataset(root, split=split, year=year, resolution=resolution)
    length = len(dataset) if n is None else min(n, len(dataset))
    name = f"davis{dataset.year}:{root.name}" + (f"?split={split}" if split else "")
    return FileVideoSet(name, dataset, length, dataset.names[:length], "davis", adds_objects=False)


def _youtube_vos(where: str, split: str, n: int | None) -> VideoSet:
    from course_lib.data.roots import require_root
    from course_lib.data.youtube_vos import YouTubeVosDataset

    root = Path(where) if where else require_root("youtube_vos")
    dataset = YouTubeVosDataset(root, split=split)
    length = len(dataset) if n is None else min(n, len(dataset))
    name = f"youtube_vos:{root.name}?split={split}"
    return FileVideoSet(name, dataset, length, dataset.names[:length], "youtube_vos", adds_objects=True)


def _number(value: str | int | None, key: str, text: str) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError as error:
        raise InputError(f"{text!r}: {key} must be a whole number, got {value!r}") from error


def _refuse_rest(keys: dict[str, str], known: str, text: str) -> None:
    if keys:
        raise InputError(f"{text!r}: unknown key {next(iter(keys))!r}; known keys are {known}")
