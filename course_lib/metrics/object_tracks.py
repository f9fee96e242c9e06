"""One object over the frames of one video: its scores, how large it was, how sure the network was; and which frames.

An analysis asks for the score on *some* frames: late ones, those after an occlusion. Here a choice of frames is a
function from an object to a mask over time, and everything else (means per object, per clip, intervals) follows from
it. Unusual: time counts annotated frames from the object's own first appearance, so that data sets with one label in
five frames and objects that enter late can be analysed like any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.metrics.checks import as_labels
from course_lib.metrics.sequence import SequenceScore

Measure = Literal["J", "F", "JF"]


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """Scores of one object of one clip, frame by frame; T frames of the video.

    J, F [T] in [0, 1], NaN without annotation. scored [T]: frames that count (the given one does not). area [T]: pixels
    that the truth shows of the object, NaN without annotation. confidence [T]: mean |p - 0.5| over them, in [0, 0.5],
    NaN where there is no pixel. claimed [T]: pixels that the method says are the object's. The last two are None where
    nobody recorded them. Raises `InputError` for lengths that differ.
    """

    clip: str
    id: int
    J: Float[np.ndarray, "t"]
    F: Float[np.ndarray, "t"]
    scored: Bool[np.ndarray, "t"]
    area: Float[np.ndarray, "t"]
    confidence: Float[np.ndarray, "t"] | None = None
    claimed: Float[np.ndarray, "t"] | None = None

    def __post_init__(self) -> None:
        named = {"J": self.J, "F": self.F, "scored": self.scored, "area": self.area}
        optional = {"confidence": self.confidence, "claimed": self.claimed}
        named |= {name: values for name, values in optional.items() if values is not None}
        shapes = {name: list(values.shape) for name, values in named.items()}
        if len({values.shape for values in named.values()}) > 1 or self.J.ndim != 1:
            raise InputError(f"object {self.id} of {self.clip!r}: everything is [T], one number a frame; got {shapes}")
        if self.scored.dtype != np.bool_:
            raise InputError(f"object {self.id} of {self.clip!r}: scored must be boolean, got {self.scored.dtype}")

    def __len__(self) -> int:
        return len(self.J)

    @property
    def key(self) -> tuple[str, int]:
        """Clip and id: the same object under another method has the same key."""
        return self.clip, self.id

    @cached_property
    def time(self) -> Int[np.ndarray, "t"]:
        """[T] annotated frames since the object first appeared: 0 there, -1 before it and without annotation."""
        annotated = ~np.isnan(self.area)
        seen = np.flatnonzero(annotated & (self.area > 0))
        if not len(seen):
            return np.full(len(self), -1)
        counts = np.cumsum(annotated) - np.cumsum(annotated)[seen[0]]
        return np.where(annotated & (counts >= 0), counts, -1)

    @property
    def first_area(self) -> float:
        """Pixels of the object in the frame where it first appears; 0 if it never does."""
        first = np.flatnonzero(self.time == 0)
        return float(self.area[first[0]]) if len(first) else 0.0

    def values(self, measure: Measure) -> Float[np.ndarray, "t"]:
        """J, F, or their mean, [T]."""
        if measure not in ("J", "F", "JF"):
            raise InputError(f"measure must be 'J', 'F' or 'JF', got {measure!r}")
        return (self.J + self.F) / 2 if measure == "JF" else self.J if measure == "J" else self.F

    def mean(self, frames: Bool[np.ndarray, "t"], measure: Measure = "JF") -> float:
        """Mean over those of `frames` [T] that are scored; NaN if none is."""
        chosen = self.values(measure)[frames & self.scored]
        return float(chosen.mean()) if len(chosen) else np.nan


Frames: TypeAlias = Callable[[ObjectTrack], Bool[np.ndarray, "t"]]


def object_tracks(
    score: SequenceScore,
    truth: object,
    clip: str = "clip",
    confidence: Sequence[np.ndarray] | None = None,
    predicted: object | None = None,
) -> list[ObjectTrack]:
    """Tracks of all objects of one video, from its score and its truth.

    score       of `evaluate_labels` (J, F [K, T]); objects in its order
    truth       [T, H, W] uint8, the label maps that were scored against
    clip        a name that no other clip has: what is resampled, and what pairs two methods
    confidence  K of [T], see `confidence`
    predicted   [T, H, W] uint8, the label maps that were scored, to count what was claimed

    Raises `InputError` where the sizes do not fit. Built in lesson 05.
    """
    labels = as_labels(truth, "truth")
    if len(labels) != score.J.shape[1]:
        raise InputError(f"clip {clip!r}: the score has {score.J.shape[1]} frames, the truth {len(labels)}")
    if confidence is not None and len(confidence) != len(score.ids):
        raise InputError(f"clip {clip!r}: {len(score.ids)} objects, but confidence of {len(confidence)}")
    answers = None if predicted is None else as_labels(predicted, "predicted")
    if answers is not None and answers.shape != labels.shape:
        raise InputError(f"clip {clip!r}: predicted is {list(answers.shape)}, the truth {list(labels.shape)}")
    counts, claims = _pixels(labels), None if answers is None else _pixels(answers)
    tracks = []
    for k, label in enumerate(score.ids.tolist()):
        area = np.where(np.isnan(score.J[k]), np.nan, counts[:, label])
        sure = None if confidence is None else np.asarray(confidence[k], dtype=np.float64)
        said = None if claims is None else claims[:, label].astype(np.float64)
        tracks.append(ObjectTrack(clip, label, score.J[k], score.F[k], score.scored[k], area, sure, said))
    return tracks


def _pixels(labels: UInt8[np.ndarray, "t h w"]) -> Int[np.ndarray, "t 256"]:
    """Pixels of each label in each frame."""
    return np.stack([np.bincount(frame.ravel(), minlength=IGNORE + 1) for frame in labels])


def every_frame(track: ObjectTrack) -> Bool[np.ndarray, "t"]:
    """All frames (of which the scored ones count)."""
    return np.ones(len(track), dtype=np.bool_)


def early(before: int = 10) -> Frames:
    """Frames with time below `before`, counted from the object's first."""
    return lambda track: (track.time >= 0) & (track.time < before)


def late(after: int = 20) -> Frames:
    """Frames with time above `after`, counted from the object's first."""
    return lambda track: track.time > after


def clip_means(
    tracks: Sequence[ObjectTrack], frames: Frames = every_frame, measure: Measure = "JF"
) -> dict[str, float]:
    """Mean over each clip's objects of their mean over `frames`; clips without such a frame are left out.

    What a claim compares: two methods on the same clips give the same keys, and their differences go to
    `paired_bootstrap`.
    """
    found: dict[str, list[float]] = {}
    for track in tracks:
        mean = track.mean(frames(track), measure)
        if not np.isnan(mean):
            found.setdefault(track.clip, []).append(mean)
    return {clip: float(np.mean(means)) for clip, means in found.items()}
