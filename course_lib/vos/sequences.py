"""One sequence of an evaluation, whatever it comes from: frames, truth, and which object is given at which frame.

Unusual: objects are given only at frames that the data set names. A truth that later shows an object nobody gave is an
error, because a method would be blamed for what it was never told.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE, Clip, object_ids
from course_lib.data.clip_files import ClipFiles
from course_lib.errors import InputError


class Sequence(Protocol):
    """What `evaluate` needs of a video. `ClipFiles` is one as it stands."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def start(self) -> int: ...

    @property
    def annotated(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def frames(self) -> Iterator[Tensor]: ...

    def labels(self, t: int) -> UInt8[Tensor, "h w"] | None: ...

    def new_labels(self, t: int) -> UInt8[Tensor, "h w"] | None: ...


class ClipSequence:
    """A clip in memory as a `Sequence`. With `adds_objects` an object is given in the first frame that shows it."""

    def __init__(self, clip: Clip, adds_objects: bool = False) -> None:
        if clip.labels is None:
            raise InputError(f"clip {clip.name!r} has no labels, so nothing can be scored on it")
        self.name = clip.name
        self.size = clip.size
        self.annotated = tuple(range(len(clip))) if clip.annotated is None else tuple(sorted(clip.annotated))
        if not self.annotated:
            raise InputError(f"clip {clip.name!r} lists no annotated frame")
        self.start = self.annotated[0]
        self._frames = clip.frames
        self._labels = clip.labels
        self._adds_objects = adds_objects

    def __len__(self) -> int:
        return len(self._frames)

    def frames(self) -> Iterator[Tensor]:
        """All frames in order."""
        return iter(self._frames)

    def labels(self, t: int) -> UInt8[Tensor, "h w"] | None:
        """Truth of frame t, None where nobody annotated."""
        return self._labels[t] if t in self.annotated else None

    def new_labels(self, t: int) -> UInt8[Tensor, "h w"] | None:
        """What a method is told at frame t; None for nothing."""
        if t == self.start:
            return self._labels[t]
        new = [label for label, seen in self._first_seen.items() if seen == t] if self._adds_objects else []
        if not new:
            return None
        labels = self._labels[t]
        return torch.where(torch.isin(labels, labels.new_tensor(new)), labels, torch.zeros_like(labels))

    @cached_property
    def _first_seen(self) -> dict[int, int]:
        """Annotated frame in which each id first appears."""
        seen: dict[int, int] = {}
        for t in self.annotated:
            for label in object_ids(self._labels[t]).tolist():
                seen.setdefault(label, t)
        return seen


def open_sequence(dataset: Any, index: int, adds_objects: bool) -> Sequence:
    """Sequence `index` of a data set: as files where it can `stream`, else its clip. Raises `InputError` otherwise."""
    item = dataset.stream(index) if hasattr(dataset, "stream") else dataset[index]
    if isinstance(item, Clip):
        return ClipSequence(item, adds_objects)
    if not isinstance(item, ClipFiles):
        raise InputError(f"a data set to evaluate holds Clips, but item {index} is {type(item).__name__}")
    return item


def given_labels(sequence: Sequence) -> tuple[UInt8[Tensor, "h w"], dict[int, UInt8[Tensor, "h w"]]]:
    """Labels handed over at the first annotated frame, and at later ones (counted from `sequence.start`).

    Raises `InputError` if the truth holds an object that is given nowhere, naming the sequence, frame and ids.
    """
    first = sequence.new_labels(sequence.start)
    if first is None or len(object_ids(first)) == 0:
        raise InputError(
            f"sequence {sequence.name!r} gives no object in its first annotated frame ({sequence.start}), "
            "so there is nothing to follow"
        )
    known = set(object_ids(first).tolist())
    later = {}
    for t in sequence.annotated[1:]:
        new = sequence.new_labels(t)
        if new is not None:
            later[t - sequence.start] = new
            known |= set(object_ids(new).tolist())
        truth = sequence.labels(t)
        strange = set() if truth is None else set(object_ids(truth).tolist()) - known
        if strange:
            raise InputError(
                f"sequence {sequence.name!r}: frame {t} holds unknown labels {sorted(strange)}; given so far are "
                f"{sorted(known)}. If objects may join later, evaluate with adds_objects=True; else correct the labels "
                f"({IGNORE} marks pixels to leave out)"
            )
    return first, later
