"""J and F of every object in every frame of a video, from label maps.

Three conventions of the field decide which objects there are and which frames count; they share the same per-frame
values. Unusual: unannotated pixels (255) are left out by default, while the official DAVIS evaluation takes them as
background; `protocol="davis"` does as it does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.metrics import packed
from course_lib.metrics.checks import as_labels, same_shape
from course_lib.metrics.contour import contour, region, tolerance_pixels
from course_lib.metrics.statistics import Statistics, finite_mean, statistics

Protocol = Literal["all_frames", "davis", "youtube_vos"]


@dataclass(frozen=True, eq=False)
class SequenceScore:
    """J and F of the objects of one video, and which of them count.

    ids [K] object labels; J, F [K, T] values in [0, 1], NaN in frames without annotation; scored [K, T] says which
    entries enter the statistics.
    """

    ids: Int[np.ndarray, "k"]
    J: Float[np.ndarray, "k t"]
    F: Float[np.ndarray, "k t"]
    scored: Bool[np.ndarray, "k t"]

    def J_statistics(self, *, wrap_uint8_borders: bool = False) -> list[Statistics]:
        """Mean, recall and decay of J, one entry per object."""
        return self._statistics(self.J, wrap_uint8_borders)

    def F_statistics(self, *, wrap_uint8_borders: bool = False) -> list[Statistics]:
        """Mean, recall and decay of F, one entry per object."""
        return self._statistics(self.F, wrap_uint8_borders)

    @property
    def J_mean(self) -> float:
        """Mean over objects of the mean J over their scored frames; an object without any is left out."""
        return finite_mean(np.array([entry.mean for entry in self.J_statistics()]))

    @property
    def F_mean(self) -> float:
        """Mean over objects of the mean F over their scored frames; an object without any is left out."""
        return finite_mean(np.array([entry.mean for entry in self.F_statistics()]))

    @property
    def JF_mean(self) -> float:
        """J&F: the mean of `J_mean` and `F_mean`."""
        return (self.J_mean + self.F_mean) / 2

    def _statistics(self, values: Float[np.ndarray, "k t"], wrap: bool) -> list[Statistics]:
        return [
            statistics(row[scored], wrap_uint8_borders=wrap) for row, scored in zip(values, self.scored, strict=True)
        ]


def evaluate_labels(
    prediction: object,
    truth: object,
    *,
    ids: Sequence[int] | None = None,
    tolerance: float = 0.008,
    protocol: Protocol = "all_frames",
    annotated: Sequence[int] | None = None,
    unknown: Literal["raise", "background"] = "raise",
) -> SequenceScore:
    """J and F of each object in each frame of one video.

    prediction, truth: [T, H, W] uint8 label maps (NumPy or torch), 0 background; 255 in the truth is unannotated.
    tolerance: of F, a share of the image diagonal below 1, pixels from 1 on. annotated: frames whose truth is real
    (None: all); the others get NaN. The protocol decides what counts:

    - "all_frames": every id that the truth holds anywhere, in every annotated frame; 255 is left out of J, and both
      masks are emptied there before the contours of F are taken.
    - "davis": the official semi-supervised evaluation: ids 1 up to the highest of the first frame (one that is
      skipped counts as an object), 255 is background, the first and the last frame do not count.
    - "youtube_vos": every id of the truth, each from the annotated frame after the one in which it first appears;
      255 as in "all_frames".

    `ids` replaces the protocol's choice of objects. A predicted label that is neither among them nor in the truth
    raises `InputError`, as the official program refuses it, since it is most often a palette or an id mixed up;
    `unknown="background"` scores without it. Raises `InputError` also on wrong shapes or types, on a truth without
    objects, and where no frame is left to count. Built in lesson 00.
    """
    prediction, truth = as_labels(prediction, "prediction"), as_labels(truth, "truth")
    same_shape(prediction, truth, "label maps")
    frames, height, width = truth.shape
    real = _annotated(annotated, frames)
    present = {t: labels_present(truth[t]) for t in real}
    if protocol == "davis":
        if frames < 3:
            raise InputError(
                f"protocol 'davis' leaves out the first and the last frame: {frames} frames leave nothing; "
                "use protocol 'all_frames'"
            )
        if 0 not in present:
            raise InputError("protocol 'davis' takes its objects from frame 0, which `annotated` does not list")
        known = set(range(1, max(present[0] - {IGNORE}, default=0) + 1))
    elif protocol in ("all_frames", "youtube_vos"):
        known = set().union(*present.values()) - {0, IGNORE}
    else:
        raise InputError(f"protocol must be 'all_frames', 'davis' or 'youtube_vos', got {protocol!r}")
    chosen = sorted(known) if ids is None else _chosen(ids)
    if not chosen:
        raise InputError("the truth holds no object (only 0 and 255), so there is nothing to score; pass `ids`")
    if unknown == "raise":
        _refuse_unknown(prediction, truth, real, known | set(chosen), protocol)
    elif unknown != "background":
        raise InputError(f"unknown must be 'raise' or 'background', got {unknown!r}")

    radius = tolerance_pixels(tolerance, height, width)
    J, F = np.full((2, len(chosen), frames), np.nan)
    room = packed.padded_buffer(4, height, width)  # one block, which the allocator keeps between calls
    both, pair = room[:2].view(np.uint8), room[2:]  # the label maps of a frame; the masks of one object
    for t in real:
        both[0, :, :width], both[1, :, :width] = prediction[t], truth[t]
        void = packed.pack(truth[t] == IGNORE) if protocol != "davis" and IGNORE in present[t] else None
        for k, label in enumerate(chosen):
            words = packed.pack_padded(np.equal(both, label, out=pair))
            if void is not None:
                words &= ~void
            cropped, last_column = packed.crop(words, width, math.ceil(radius))
            J[k, t] = region(cropped)
            F[k, t] = contour(cropped, last_column, radius)
    return SequenceScore(np.array(chosen), J, F, _scored(protocol, chosen, real, present, frames))


def labels_present(frame: UInt8[np.ndarray, "h w"]) -> set[int]:
    """All values of a label map, 0 and 255 among them."""
    highest = int(frame.max())
    present: set[int] = set()
    for rows in (np.ascontiguousarray(frame[::16]), frame):  # some rows are enough where they hold all there can be
        present = set(np.flatnonzero(cv2.calcHist([rows], [0], None, [256], [0, 256])).tolist())
        if len(present) == highest + 1:
            break
    return present


def _annotated(annotated: Sequence[int] | None, frames: int) -> list[int]:
    if annotated is None:
        return list(range(frames))
    listed = sorted({int(t) for t in annotated})
    if not listed or listed[0] < 0 or listed[-1] >= frames:
        raise InputError(f"annotated must list frames from 0 to {frames - 1}, got {list(annotated)}")
    return listed


def _chosen(ids: Sequence[int]) -> list[int]:
    chosen = [int(label) for label in ids]
    if len(set(chosen)) != len(chosen) or any(not 0 < label < IGNORE for label in chosen):
        raise InputError(f"ids must be different labels from 1 to 254, got {chosen}")
    return chosen


def _refuse_unknown(
    prediction: UInt8[np.ndarray, "t h w"],
    truth: UInt8[np.ndarray, "t h w"],
    real: list[int],
    known: set[int],
    protocol: Protocol,
) -> None:
    for t in real:
        strange = labels_present(prediction[t]) - known - {0}
        if strange and protocol != "davis":  # what lies on unannotated pixels does not count
            strange &= set(np.unique(prediction[t][truth[t] != IGNORE]).tolist())
        if strange:
            hint = "255 marks unannotated pixels of a truth only; " if IGNORE in strange else ""
            raise InputError(
                f"prediction has labels {sorted(strange)} in frame {t}, which are no objects of the truth "
                f"(ids {sorted(known)}); {hint}map them to known ids or to 0, or pass unknown='background'"
            )


def _scored(
    protocol: Protocol, chosen: list[int], real: list[int], present: dict[int, set[int]], frames: int
) -> Bool[np.ndarray, "k t"]:
    scored = np.zeros((len(chosen), frames), dtype=np.bool_)
    scored[:, real] = True
    if protocol == "davis":
        scored[:, [0, -1]] = False
    if protocol == "youtube_vos":
        for row, label in zip(scored, chosen, strict=True):
            first = next((t for t in real if label in present[t]), frames - 1)
            row[: first + 1] = False
    return scored
