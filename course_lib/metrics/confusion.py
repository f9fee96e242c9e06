"""Mean intersection over union of semantic labels, from a confusion matrix that grows batch by batch.

The measure of PASCAL VOC and Cityscapes: counts are summed over all images before any ratio is taken. Unusual: an
update never waits for the accelerator, so labels out of range are counted apart and reported when a result is read.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError


class ConfusionMatrix:
    """Counts of (true class, predicted class) over any number of images.

    Pixels whose truth is `ignore` are left out. `counts` lies on the device of the first update.
    """

    def __init__(self, classes: int, ignore: int | None = IGNORE) -> None:
        """classes: number of classes, labels 0 to classes - 1. Raises `InputError` unless there is at least one."""
        if classes < 1:
            raise InputError(f"classes must be 1 or more, got {classes}")
        self.classes = classes
        self.ignore = ignore
        self._bins: Tensor | None = None  # [classes² + 2]: the matrix row by row, ignored pixels, labels out of range

    def update(self, prediction: Int[Tensor, "..."], truth: Int[Tensor, "..."]) -> None:
        """Add images: class labels of one shape and device, any integer type. Raises `InputError` on other input."""
        if prediction.shape != truth.shape or prediction.device != truth.device:
            raise InputError(
                f"prediction and truth must have one shape and device, got {list(prediction.shape)} on "
                f"{prediction.device} and {list(truth.shape)} on {truth.device}"
            )
        for name, labels in (("prediction", prediction), ("truth", truth)):
            if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
                raise InputError(f"{name} must hold integer class labels, got {labels.dtype}; use logits.argmax(1)")
        found, wanted = prediction.long().reshape(-1), truth.long().reshape(-1)  # [P]
        cell = wanted * self.classes + found
        inside = (found >= 0) & (found < self.classes) & (wanted >= 0) & (wanted < self.classes)
        cell = torch.where(inside, cell, self.classes**2 + 1)
        if self.ignore is not None:
            cell = torch.where(wanted == self.ignore, self.classes**2, cell)
        if self._bins is None:
            self._bins = torch.zeros(self.classes**2 + 2, dtype=torch.int64, device=cell.device)
        self._bins.scatter_add_(0, cell.to(self._bins.device), torch.ones_like(cell, device=self._bins.device))

    @property
    def counts(self) -> Int[Tensor, "c c"]:
        """Pixels by true class (row) and predicted class (column), on the CPU.

        Waits for the accelerator. Raises `InputError` if a label was out of range or nothing was added yet.
        """
        if self._bins is None:
            raise InputError("the confusion matrix is empty: call update first")
        bins = self._bins.cpu()
        if bins[-1] > 0:
            raise InputError(
                f"{int(bins[-1])} pixels had a label outside 0..{self.classes - 1} in prediction or truth "
                f"(ignore is {self.ignore}); check the number of classes and the label mapping"
            )
        return bins[:-2].reshape(self.classes, self.classes)

    def iou(self) -> Float[Tensor, "c"]:
        """Intersection over union of each class, float64; NaN for a class in neither truth nor prediction."""
        counts = self.counts.double()
        shared = counts.diagonal()
        return shared / (counts.sum(0) + counts.sum(1) - shared)

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        return float(self.iou().nanmean())

    def pixel_accuracy(self) -> float:
        """Share of pixels whose class is right; NaN where no pixel counts."""
        counts = self.counts.double()
        return float(counts.diagonal().sum() / counts.sum())

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another matrix, for example of another process. Raises `InputError` if they do not fit."""
        if (self.classes, self.ignore) != (other.classes, other.ignore):
            raise InputError(
                f"cannot merge matrices of {self.classes} and {other.classes} classes, "
                f"ignore {self.ignore} and {other.ignore}"
            )
        if other._bins is not None:
            self._bins = other._bins.clone() if self._bins is None else self._bins + other._bins.to(self._bins.device)
