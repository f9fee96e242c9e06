"""How a method is wrong: it answers nothing, or it answers something else.

J is near 0 in both cases, but they have different causes: an empty answer is an object forgotten, an answer elsewhere
is one taken for another. Unusual: frames in which the object cannot be seen count on their own, for there any answer
is an invention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.errors import InputError
from course_lib.metrics.object_tracks import Frames, ObjectTrack, every_frame

ELSEWHERE = 0.1  # an answer with J below it misses the object


@dataclass(frozen=True)
class Failures:
    """Shares in [0, 1], means over objects that have such frames; NaN where none has. count: how many have.

    found, elsewhere, nowhere  of the frames in which the object is seen: the answer lies on it, misses it, is empty
    invented                   of the frames in which it is hidden: there is an answer all the same
    """

    found: float
    elsewhere: float
    nowhere: float
    invented: float
    count: int

    def __str__(self) -> str:
        seen = f"on the object {self.found:.0%}, on something else {self.elsewhere:.0%}, no answer {self.nowhere:.0%}"
        hidden = "" if np.isnan(self.invented) else f"; while it is hidden, something is claimed in {self.invented:.0%}"
        return f"{seen} of frames{hidden} ({self.count} objects)"


def failures(tracks: Sequence[ObjectTrack], frames: Frames = every_frame, tau: float = 0) -> Failures:
    """How often a method is on its object, elsewhere or nowhere, in those of `frames` that are scored.

    tau  a claim of at most so many pixels is no claim, an object of at most so many is hidden

    `invented` looks at all scored frames with the object hidden, whichever `frames` are asked for. Raises `InputError`
    for tracks that do not know what was claimed, and for tau < 0. Built in lesson 05.
    """
    if tau < 0:
        raise InputError(f"tau is a number of pixels from 0 up, got {tau}")
    shares, invented = [], []
    for track in tracks:
        if track.claimed is None:
            raise InputError(
                f"object {track.id} of {track.clip!r} does not know what was claimed; follow it with `follow_objects`, "
                "or pass `predicted` to `object_tracks`"
            )
        known = track.scored & ~np.isnan(track.area)
        seen = known & (track.area > tau)
        hidden = known & ~seen & (track.time >= 0)
        silent = track.claimed <= tau
        chosen = seen & frames(track)
        if chosen.any():
            missed = ~silent & (track.J < ELSEWHERE)
            shares.append([np.mean(which[chosen]) for which in (~silent & ~missed, missed, silent)])
        if hidden.any():
            invented.append(np.mean(~silent[hidden]))
    found, elsewhere, nowhere = np.mean(shares, axis=0) if shares else [np.nan] * 3
    return Failures(
        float(found), float(elsewhere), float(nowhere), float(np.mean(invented)) if invented else np.nan, len(shares)
    )
