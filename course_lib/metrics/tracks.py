"""Boxes that carry an identity through a video: the input of every multi-object tracking score.

One row per box and frame, as in a MOTChallenge text file, but with frames from 0 and corners instead of sizes.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.metrics.boxes import boxes_from_masks
from course_lib.metrics.checks import as_array, as_boxes, as_labels
from course_lib.metrics.sequence import labels_present

MOT_PEDESTRIAN = 1
MOT_DISTRACTORS = (2, 7, 8, 12)  # person on vehicle, static person, distractor, reflection; MOT20 adds 6, vehicle


@dataclass(frozen=True, eq=False)
class BoxTracks:
    """N boxes of any number of objects.

    frame [N] from 0; ids [N] identity of each box, any integers; boxes [N, 4] x0, y0, x1, y1 in pixels. ignore [N]
    (None: nowhere) marks boxes of the truth that a tracker need not find; distractor [N] those it is forgiven to
    find. Raises `InputError` on other shapes, negative frames, NaN, or an identity twice in one frame.
    """

    frame: Int[np.ndarray, "n"]
    ids: Int[np.ndarray, "n"]
    boxes: Float[np.ndarray, "n 4"]
    ignore: Bool[np.ndarray, "n"] = None  # type: ignore[assignment]  # None becomes an array below
    distractor: Bool[np.ndarray, "n"] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes, "boxes")
        set_ = object.__setattr__  # the one way to normalise the fields of a frozen dataclass
        set_(self, "boxes", boxes)
        for name in ("frame", "ids"):
            values = as_array(getattr(self, name))
            if values.shape != (len(boxes),) or values.dtype.kind not in "iu":
                raise InputError(f"{name} must be {len(boxes)} integers, got {list(values.shape)} {values.dtype}")
            set_(self, name, values.astype(np.int64))
        for name in ("ignore", "distractor"):
            given = getattr(self, name)
            values = np.zeros(len(boxes), dtype=np.bool_) if given is None else as_array(given)
            if values.shape != (len(boxes),) or values.dtype != np.bool_:
                raise InputError(f"{name} must be {len(boxes)} booleans, got {list(values.shape)} {values.dtype}")
            set_(self, name, values)
        if not np.isfinite(boxes).all():
            raise InputError("boxes hold NaN or infinite values; leave out the rows of absent objects")
        if (self.frame < 0).any():
            raise InputError(f"frames count from 0, got {self.frame.min()}")
        pairs, times = np.unique(np.stack([self.frame, self.ids]), axis=1, return_counts=True)
        if (times > 1).any():
            frame, label = pairs[:, times > 1][:, 0]
            raise InputError(f"identity {label} has several boxes in frame {frame}; it may have one at most")

    def select(self, rows: Bool[np.ndarray, "n"]) -> "BoxTracks":
        """The boxes where `rows` is set."""
        return BoxTracks(self.frame[rows], self.ids[rows], self.boxes[rows], self.ignore[rows], self.distractor[rows])

    @classmethod
    def from_mot(
        cls, rows: object, *, preprocess: bool = True, distractors: Collection[int] = MOT_DISTRACTORS
    ) -> "BoxTracks":
        """From rows of a MOTChallenge file: frame (from 1), id, left, top, width, height, then the columns of the file.

        Rows with 8 columns or more are a truth, with mark and class as columns 7 and 8: mark 0 is ignored. With
        `preprocess`, as the official evaluation of MOT16 to MOT20 does it, classes in `distractors` are distractors
        and all others but pedestrian are ignored; without, the class is not looked at. Rows with fewer columns are
        tracks, whose confidence is not used. Raises `InputError` on rows of another kind.
        """
        rows = as_array(rows)
        if rows.ndim != 2 or rows.shape[1] < 6 or rows.dtype.kind not in "iuf":
            raise InputError(f"MOTChallenge rows must be [N, 6 or more] numbers, got {list(rows.shape)} {rows.dtype}")
        rows = rows.astype(np.float64)
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
        ignore = distractor = np.zeros(len(rows), dtype=np.bool_)
        if rows.shape[1] >= 8:
            ignore, classes = rows[:, 6] == 0, rows[:, 7]
            if preprocess:
                distractor = np.isin(classes, list(distractors))
                ignore = ignore | ((classes != MOT_PEDESTRIAN) & ~distractor)
        return cls(rows[:, 0].astype(np.int64) - 1, rows[:, 1].astype(np.int64), boxes, ignore, distractor)

    @classmethod
    def from_labels(cls, labels: object) -> "BoxTracks":
        """Tight boxes of the objects in label maps [T, H, W] uint8; 0 and 255 are none. Raises `InputError`."""
        frames, ids, boxes = [], [], [np.zeros((0, 4))]
        for t, frame in enumerate(as_labels(labels, "labels")):
            present = sorted(labels_present(frame) - {0, IGNORE})
            frames += [t] * len(present)
            ids += present
            if present:
                boxes.append(boxes_from_masks(frame == np.array(present, dtype=np.uint8)[:, None, None]))
        return cls(np.array(frames, dtype=np.int64), np.array(ids, dtype=np.int64), np.concatenate(boxes))
