"""A clip to look at: tracks side by side in step, with slider, play button and keyboard, in one piece of plain HTML.

Works as a notebook output, on the web site and as a file, with no kernel and no network. Unusual: masks travel as
run-length codes and are drawn by the page, so outlines are sharp, can be hidden, and two masks over the same frames
store the frames once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from course_lib.errors import InputError, WriteError
from course_lib.viz.embed import encode_labels, encode_picture, fragment, page
from course_lib.viz.overlay import as_labels, as_picture, overlay
from course_lib.viz.palette import object_palette

Frames = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]
Track = Frames | tuple[Frames, Frames]
SCRIPTS = ("common.js", "player.js")
_POSTER_FRAMES = 3
_QUALITY_STEPS = (1.0, 0.75, 0.5, 0.3)


@dataclass(frozen=True)
class Player:
    """What `player` returns: shows itself in a notebook, saves itself as a web page."""

    data: dict[str, Any] = field(repr=False)  # what player.js documents
    poster: str = field(repr=False)  # data URI of a still, for readers without scripts
    alt: str

    def _repr_html_(self) -> str:
        return fragment("player", SCRIPTS, "mountPlayer", self.data, self.poster, self.alt)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": f"Player: {self.alt}"}

    @property
    def kilobytes(self) -> float:
        """Size of the HTML in units of 1000 bytes."""
        return len(self._repr_html_().encode()) / 1000

    def save(self, path: str | Path) -> Path:
        """Write one self-contained HTML file. Raises `WriteError` where that is not possible."""
        path = Path(path)
        try:
            path.write_text(page(self.alt, self._repr_html_()), encoding="utf-8")
        except OSError as error:
            raise WriteError(f"could not write {path}: {error.strerror or error}") from error
        return path


def player(
    tracks: Mapping[str, Track] | Frames,
    fps: float = 8,
    captions: Sequence[str] | None = None,
    *,
    alt: str,
    every: int = 1,
    scale: int = 1,
    max_width: int = 360,
    quality: int = 75,
    max_kilobytes: float = 150,
) -> Player:
    """Show one clip, or several in step.

    tracks: name -> frames [T, 3, H, W] (uint8, or float in [0, 1]; also [T, H, W, 3]) or a pair (frames, labels
    [T, H, W]) to draw masks over them; all of one length and size. Bare frames are one track without a name.
    fps: pictures shown a second; captions: one line per frame of the clip, for example a score.
    alt: what is to be seen, in a sentence. every: keep each n-th frame. scale: enlarge small frames this many times.
    Frames wider than max_width are reduced to it. Quality (of WebP, 1 … 100) is lowered to 30 % of `quality` at most
    in order to fit `max_kilobytes`; a clip that does not fit even so is kept whole, so look at `Player.kilobytes`.
    Raises `InputError` on an empty alt, no tracks, or tracks that differ in length or size.
    """
    _check_arguments(alt, fps, every, scale, max_width)
    if not 1 <= quality <= 100:
        raise InputError(f"quality must lie in 1 … 100, got {quality}")
    if not isinstance(tracks, Mapping):
        tracks = {"": tracks}
    if not tracks:
        raise InputError("a player needs at least one track, for example {'video': frames}")
    pairs = {name: track if isinstance(track, tuple) else (track, None) for name, track in tracks.items()}
    for name, pair in pairs.items():
        if len(pair) != 2:
            raise InputError(f"track {name!r} must be frames or (frames, labels), got a tuple of {len(pair)}")
    total = _common_length(pairs, captions)
    kept = range(0, total, every)

    rows: list[list[np.ndarray]] = []  # distinct frame sequences; tracks over the same frames share one
    row_of: dict[int, int] = {}
    entries: list[dict[str, Any]] = []
    stills = []
    for name, (frames, labels) in pairs.items():
        if id(frames) not in row_of:
            row_of[id(frames)] = len(rows)
            rows.append([_fit(as_picture(frames[t]), max_width, cv2.INTER_AREA) for t in kept])
        row = rows[row_of[id(frames)]]
        maps = None if labels is None else [_match(labels[t], frames[t], name, max_width) for t in kept]
        entries.append({"name": name, "images": row_of[id(frames)], "maps": maps})
        stills.append([_still(row, maps, i) for i in _spread(len(kept))])
    sizes = {picture.shape for row in rows for picture in row}
    if len(sizes) > 1:
        raise InputError(f"all tracks must have one size, got {sorted((h, w) for h, w, _ in sizes)} (height, width)")
    height, width, _ = sizes.pop()

    coded = [None if e["maps"] is None else [encode_labels(m) for m in e["maps"]] for e in entries]
    room = 1000 * max_kilobytes - sum(len(code) for codes in coded if codes for code in codes)
    used = np.unique([label for e in entries if e["maps"] for m in e["maps"] for label in np.unique(m)])
    palette = object_palette()
    data = {
        "alt": alt,
        "fps": fps,
        "width": width,
        "height": height,
        "scale": scale,
        "frames": list(kept),
        "total": total,
        "images": _encode_rows(rows, quality, room),
        "palette": {int(i): palette[int(i)].tolist() for i in used if i},
        "tracks": [{"name": e["name"], "images": e["images"], "labels": c} for e, c in zip(entries, coded)],
        "captions": [str(captions[t]) for t in kept] if captions is not None else None,
    }
    return Player(data, encode_picture(_contact_sheet(stills), quality=40), alt)


def _check_arguments(alt: str, fps: float, every: int, scale: int, max_width: int) -> None:
    if not alt.strip():
        raise InputError("alt is empty: say in a sentence what the clip shows, for readers who cannot see it")
    if not 0 < fps <= 120:
        raise InputError(f"fps must lie in (0, 120], got {fps}")
    for name, value in (("every", every), ("scale", scale), ("max_width", max_width)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")


def _common_length(pairs: Mapping[str, tuple[Frames, Frames | None]], captions: Sequence[str] | None) -> int:
    lengths = {f"frames of {name!r}": len(frames) for name, (frames, _) in pairs.items()}
    lengths |= {f"labels of {name!r}": len(labels) for name, (_, labels) in pairs.items() if labels is not None}
    if captions is not None:
        lengths["captions"] = len(captions)
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counts = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InputError(f"tracks and captions must have one length of at least 1; got {counts}")
    return next(iter(lengths.values()))


def _fit(picture: np.ndarray, max_width: int, interpolation: int) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= max_width:
        return picture
    size = (max_width, max(1, round(height * max_width / width)))
    return cv2.resize(picture, size, interpolation=interpolation)


def _match(labels: Tensor | np.ndarray, frame: Tensor | np.ndarray, name: str, max_width: int) -> np.ndarray:
    labels = as_labels(labels)
    size = as_picture(frame).shape[:2]
    if labels.shape != size:
        raise InputError(f"track {name!r}: labels are {list(labels.shape)} but its frames are {list(size)}")
    return _fit(labels, max_width, cv2.INTER_NEAREST_EXACT)


def _encode_rows(rows: list[list[np.ndarray]], quality: int, room: float) -> list[list[str]]:
    for share in _QUALITY_STEPS:
        encoded = [[encode_picture(picture, max(1, round(quality * share))) for picture in row] for row in rows]
        if sum(len(uri) for row in encoded for uri in row) <= room:
            break
    return encoded


def _spread(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, _POSTER_FRAMES))})


def _still(row: list[np.ndarray], maps: list[np.ndarray] | None, index: int) -> UInt8[np.ndarray, "h w 3"]:
    return row[index] if maps is None else overlay(row[index], maps[index])


def _contact_sheet(stills: list[list[np.ndarray]]) -> UInt8[np.ndarray, "h w 3"]:
    """Tracks below each other, a few frames side by side, at most 400 pixels wide."""
    gap = 4
    lines = []
    for row in stills:
        spacer = np.full((row[0].shape[0], gap, 3), 255, dtype=np.uint8)
        line = [part for picture in row for part in (picture, spacer)][:-1]
        lines += [np.concatenate(line, axis=1), np.full((gap, sum(p.shape[1] for p in line), 3), 255, dtype=np.uint8)]
    return _fit(np.concatenate(lines[:-1], axis=0), 400, cv2.INTER_AREA)
