"""Success and precision of a single-object tracker, from its box in every frame.

One-pass evaluation of OTB (Wu et al., 2013) and the normalised precision of TrackingNet (Müller et al., 2018).
Unusual: success asks for an overlap strictly above its threshold, so that even a perfect track reaches 20/21.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from course_lib.errors import InputError
from course_lib.metrics.boxes import aligned_iou
from course_lib.metrics.checks import as_boxes, same_shape

OVERLAP_THRESHOLDS = np.linspace(0, 1, 21)
PIXEL_THRESHOLDS = np.arange(51)
NORMALISED_THRESHOLDS = np.arange(51) / 100


@dataclass(frozen=True, eq=False)
class BoxTrackScore:
    """Curves over thresholds, each a share of the `frames` in which the target is present.

    success [21]: overlap above 0, 0.05, ..., 1. precision [51]: centre at most 0, 1, ..., 50 pixels off.
    normalised_precision [51]: the same with the error divided by the size of the true box, 0, 0.01, ..., 0.5.
    """

    success: Float[np.ndarray, "21"]
    precision: Float[np.ndarray, "51"]
    normalised_precision: Float[np.ndarray, "51"]
    frames: int

    @property
    def success_auc(self) -> float:
        """Mean of the success curve, the figure by which OTB and LaSOT rank."""
        return float(self.success.mean())

    @property
    def precision_20(self) -> float:
        """Share of frames whose centre lies within 20 pixels."""
        return float(self.precision[20])

    @property
    def normalised_precision_auc(self) -> float:
        """Mean of the normalised precision curve."""
        return float(self.normalised_precision.mean())


def box_track_score(prediction: object, truth: object) -> BoxTrackScore:
    """Score one tracked target.

    prediction, truth: [T, 4] boxes x0, y0, x1, y1 in pixels. A frame whose true box is NaN (target absent) is left
    out; a predicted NaN in another frame is a miss. Every frame counts, also the one that started the tracker.
    Raises `InputError` on other shapes, half-NaN boxes, empty true boxes, or a target that is never present.
    """
    found, wanted = as_boxes(prediction, "prediction"), as_boxes(truth, "truth")
    same_shape(found, wanted, "boxes")
    for name, boxes in (("prediction", found), ("truth", wanted)):
        missing = np.isnan(boxes)
        half = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
        if half.size:
            raise InputError(f"{name}: box of frame {half[0]} is partly NaN; an absent target is NaN in all four")
    present = ~np.isnan(wanted[:, 0])
    if not present.any():
        raise InputError("the target is present in no frame of the truth, so there is nothing to score")
    found, wanted = found[present], wanted[present]
    size = wanted[:, 2:] - wanted[:, :2]  # [T, 2] width, height
    if (size <= 0).any():
        raise InputError("a true box has no area; boxes are x0, y0, x1, y1 with x1 > x0 and y1 > y0")

    overlap = np.nan_to_num(aligned_iou(found, wanted), nan=-1.0)  # a missing box lies below every threshold
    offset = (found[:, :2] + found[:, 2:]) / 2 - (wanted[:, :2] + wanted[:, 2:]) / 2  # [T, 2] between the centres
    error = np.nan_to_num(np.linalg.norm(offset, axis=1), nan=np.inf)
    relative = np.nan_to_num(np.linalg.norm(offset / size, axis=1), nan=np.inf)
    return BoxTrackScore(
        success=(overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0),
        precision=(error[:, None] <= PIXEL_THRESHOLDS).mean(axis=0),
        normalised_precision=(relative[:, None] <= NORMALISED_THRESHOLDS).mean(axis=0),
        frames=len(wanted),
    )
