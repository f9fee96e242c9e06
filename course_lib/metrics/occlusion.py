"""Occlusions read from the area that a truth shows: when an object disappears, for how long, and when it is back.

Protocol of F. Azimi (2024), section 6.4.2 (Table 6.7, Figure 6.12): an object is occluded where at most tau pixels of
it are seen, and all frames after its first occlusion are scored. Unusual: frames in which it is hidden again can be
left out, and are by default, because "empty and empty agree" counts as a perfect score and flatters a method that has
lost the object.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from course_lib.errors import InputError
from course_lib.metrics.checks import as_array
from course_lib.metrics.object_tracks import Frames, ObjectTrack

Which = Literal["visible", "all"]
PUBLISHED_SIZE = (256, 448)  # pixels; thresholds of the published analysis are taken at this size


def occlusions(areas: object, tau: float = 0) -> list[tuple[int, int]]:
    """Spans (first hidden frame, first visible frame after it), in order; an occlusion that never ends is left out.

    areas: [T] pixels that are seen, NumPy, torch or a list; NaN (nobody annotated) neither shows nor hides. tau >= 0:
    an object of at most tau pixels counts as hidden. Before it was first seen, an object is absent, not occluded.
    """
    seen = _areas(areas, tau)
    spans, hidden, started = [], None, False
    for t, area in enumerate(seen.tolist()):
        if np.isnan(area):
            continue
        if area > tau:
            if hidden is not None:
                spans.append((hidden, t))
            hidden, started = None, True
        elif started and hidden is None:
            hidden = t
    return spans


def first_reappearance(areas: object, tau: float = 0) -> int | None:
    """Frame in which an object is back after its first occlusion; None if it was never hidden, or never came back.

    areas [T] and tau as in `occlusions`. Raises `InputError` for negative areas. Built in lesson 05.

    >>> first_reappearance([5, 5, 0, 0, 3, 0, 4])
    4
    """
    spans = occlusions(areas, tau)
    return spans[0][1] if spans else None


def after_occlusion(tau: float = 0, which: Which = "visible") -> Frames:
    """Frames after the end of an object's first occlusion: those in which it is visible (more than tau pixels), or all.

    Annotated frames only; an object without an occlusion has none.
    """
    _check(which)

    def frames(track: ObjectTrack) -> Bool[np.ndarray, "t"]:
        back = first_reappearance(track.area, tau)
        if back is None:
            return np.zeros(len(track), dtype=np.bool_)
        return _span(track, back, len(track), tau, which)

    return frames


def between(start: int, end: int, tau: float = 0, which: Which = "visible") -> Frames:
    """Frames `start` … `end` - 1 of the video, those with the object visible, or all that are annotated."""
    _check(which)
    return lambda track: _span(track, start, end, tau, which)


def scaled_tau(tau: float, height: int, width: int) -> float:
    """The threshold for an image of another size that hides the same share of it as `tau` does at 256 x 448."""
    return tau * height * width / (PUBLISHED_SIZE[0] * PUBLISHED_SIZE[1])


def _span(track: ObjectTrack, start: int, end: int, tau: float, which: Which) -> Bool[np.ndarray, "t"]:
    t = np.arange(len(track))
    wanted = track.area > tau if which == "visible" else ~np.isnan(track.area)  # NaN > tau is false
    return (t >= start) & (t < end) & wanted


def _check(which: Which) -> None:
    if which not in ("visible", "all"):
        raise InputError(f"which frames must be 'visible' or 'all', got {which!r}")


def _areas(areas: object, tau: float) -> Float[np.ndarray, "t"]:
    array = as_array(areas).astype(np.float64)
    if array.ndim != 1:
        raise InputError(f"areas must be [T], the pixels of one object in each frame; got shape {list(array.shape)}")
    if (array < 0).any() or not tau >= 0:
        least = float(np.nanmin(array)) if array.size else 0.0
        raise InputError(f"areas and tau are numbers of pixels, 0 or more; got tau {tau} and a least area of {least:g}")
    return array
