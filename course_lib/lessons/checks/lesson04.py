"""Exercises of lesson 04: iou_after_shift, conv_lstm_step, reach_per_step, balanced_loss, distance_classes,
largest_gain.

Here are those about size: what one pixel costs, how far a memory reaches, and which component helped whom. Those about
the memory and the losses are in `lesson04_memory` and `lesson04_border`. All six names stand above because an exercise
is looked for only where it is mentioned.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.lesson04_border import BALANCED_LOSS, DISTANCE_CLASSES
from course_lib.lessons.checks.lesson04_memory import CONV_LSTM_STEP
from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- what one pixel costs ---------------------------------------------------------------------------------------------


def iou_after_shift(mask: Tensor, pixels: int) -> float:
    return _iou(mask, _moved(mask, pixels))


def _moved(mask: Tensor, pixels: int) -> Tensor:
    """Moved to the right; what leaves the picture is lost."""
    kept = mask.shape[1] - pixels
    return torch.cat([torch.zeros_like(mask[:, :pixels]), mask[:, : max(kept, 0)]], dim=1)[:, : mask.shape[1]]


def _iou(first: Tensor, second: Tensor) -> float:
    union = (first | second).sum().item()
    return 1.0 if union == 0 else (first & second).sum().item() / union


def disk(radius: float, size: int = 64) -> Tensor:
    """[size, size] bool: a disk in the middle."""
    away = torch.arange(size) - size / 2
    return away[:, None] ** 2 + away**2 <= radius**2


def _block(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def _areas(mask: Tensor, pixels: int) -> tuple[float, float, float]:
    """Intersection, union, and the area of one mask."""
    moved = _moved(mask, pixels)
    return (mask & moved).sum().item(), (mask | moved).sum().item(), mask.sum().item()


def _rolled(mask: Tensor, pixels: int) -> float:
    return _iou(mask, mask.roll(pixels, dims=1))


def _share(part: float, whole: float, empty: float = 1.0) -> float:
    return part / whole if whole else empty


def _dice(mask: Tensor, pixels: int) -> float:
    moved = _moved(mask, pixels)
    return _share(2 * (mask & moved).sum().item(), (mask.sum() + moved.sum()).item())


_EMPTY = "0 / 0: two empty masks agree, and J is 1 by convention. Look at the union first."

IOU_AFTER_SHIFT = Exercise(
    name="iou_after_shift",
    reference=iou_after_shift,
    cases=(
        Case(
            (_block(20, 24, slice(5, 15), slice(4, 14)), 5),
            "a square of 10 x 10 pixels, moved by 5",
            expected=(1 / 3,),
        ),
        Case((disk(6), 1), "a disk of radius 6, moved by 1"),
        Case((disk(25), 1), "a disk of radius 25, moved by 1"),
        Case((_block(9, 16, slice(2, 5), slice(10, 16)), 3), "a block at the right border, moved by 3: half is lost"),
        Case((_block(9, 16, slice(2, 5), slice(12, 16)), 4), "a block that leaves the picture", expected=(0.0,)),
        Case((_block(9, 16, slice(2, 8), slice(1, 4)), 0), "moved by 0", expected=(1.0,)),
        Case((torch.zeros(6, 6, dtype=torch.bool), 2), "an empty mask", expected=(1.0,)),
    ),
    misconceptions=(
        Misconception(
            _rolled,
            "What leaves the picture on the right came back on the left: `torch.roll` is a circle. Move into a mask of "
            "zeros instead.",
        ),
        Misconception(
            _dice,
            "This is the Dice coefficient, 2 · intersection / (area + area). J divides the intersection by the union.",
        ),
        Misconception(
            lambda m, n: _share(_areas(m, n)[0], _areas(m, n)[2]),
            "The intersection was divided by the area of the mask. The union is larger: it holds the pixels that only "
            "one of the two has, from both.",
        ),
        Misconception(
            lambda m, n: _iou(m, _moved(m.T, n).T),
            "The mask was moved down: dim 0 are rows. To the right is dim 1.",
        ),
        Misconception(
            lambda m, n: float((m == _moved(m, n)).float().mean()),
            "This is the share of pixels that agree, background included. A tiny object that is lost entirely would "
            "score 99 %: that is why J leaves the background out.",
        ),
        Misconception(lambda m, n: _share(*_areas(m, n)[:2], empty=0.0), _EMPTY),
        Misconception(lambda m, n: _share(*_areas(m, n)[:2], empty=float("nan")), _EMPTY),
        Misconception(lambda m, n: _areas(m, n)[0] / _areas(m, n)[1], _EMPTY),
        Misconception(
            lambda m, n: _share(_areas(m, n)[1] - _areas(m, n)[0], _areas(m, n)[1], empty=0.0),
            "This is the share that differs, 1 - J.",
        ),
    ),
)


# -- how far a memory reaches -----------------------------------------------------------------------------------------


def reach_per_step(kernel: int, stride: int) -> int:
    return kernel // 2 * stride


REACH_PER_STEP = Exercise(
    name="reach_per_step",
    reference=reach_per_step,
    cases=(
        Case((3, 32), "a 3 x 3 kernel at stride 32", expected=(32,)),
        Case((3, 8), "a 3 x 3 kernel at stride 8", expected=(8,)),
        Case((5, 8), "a 5 x 5 kernel at stride 8", expected=(16,)),
        Case((7, 4), "a 7 x 7 kernel at stride 4", expected=(12,)),
        Case((1, 16), "a 1 x 1 kernel at stride 16: each cell remembers for itself", expected=(0,)),
        Case((9, 2), "a 9 x 9 kernel at stride 2", expected=(8,)),
    ),
    misconceptions=(
        Misconception(
            lambda k, s: k * s,
            "This is the whole window. From its middle to its edge it is less than half of that: k // 2 cells.",
        ),
        Misconception(
            lambda k, s: (k - 1) * s,
            "From one edge of the window to the other. An object moves from the middle to one side: k // 2 cells.",
        ),
        Misconception(
            lambda k, s: k / 2 * s,
            "Half a cell too much: the middle cell is half on either side, so there are k // 2 whole cells to the "
            "left and as many to the right.",
        ),
        Misconception(lambda k, s: k // 2, "These are cells. A cell is `stride` pixels wide."),
        Misconception(lambda k, s: s, "This holds for a 3 x 3 kernel only: a larger one reaches further per step."),
        Misconception(lambda k, s: k // 2 + s, "Multiply: k // 2 cells of `stride` pixels each."),
        Misconception(
            lambda k, s: (k // 2 + 1) * s,
            "One cell too many: the middle one is where the object was, and there are k // 2 to each side of it.",
        ),
    ),
)


# -- reading an ablation ----------------------------------------------------------------------------------------------

Table = Mapping[str, Mapping[str, float]]


def largest_gain(table: Table, baseline: str, parts: Sequence[str], column: str) -> tuple[str, float]:
    best = max(parts, key=lambda part: table[part][column])
    return best, table[best][column] - table[baseline][column]


ABLATION: Table = {  # F. Azimi (2024), Table 6.2
    "S2S": {"J_seen": 65.4, "J_unseen": 43.6, "F_seen": 67.9, "F_unseen": 47.5, "overall": 56.1},
    "multi-task": {"J_seen": 67.7, "J_unseen": 44.6, "F_seen": 70.8, "F_unseen": 49.8, "overall": 58.2},
    "skip-memory": {"J_seen": 66.9, "J_unseen": 46.8, "F_seen": 69.2, "F_unseen": 50.1, "overall": 58.3},
    "both": {"J_seen": 67.2, "J_unseen": 47.0, "F_seen": 70.2, "F_unseen": 52.3, "overall": 59.2},
    "S2S++": {"J_seen": 68.7, "J_unseen": 48.9, "F_seen": 72.0, "F_unseen": 54.4, "overall": 61.0},
}
_MADE_UP: Table = {
    "plain": {"a": 50.0, "b": 30.0},
    "one": {"a": 49.0, "b": 31.0},
    "two": {"a": 47.5, "b": 29.0},
    "three": {"a": 48.0, "b": 34.5},
    "all": {"a": 55.0, "b": 40.0},
}


def _rows_without(table: Table, baseline: str) -> list[str]:
    return [name for name in table if name != baseline]


def _over_the_row_above(table: Table, baseline: str, parts: Sequence[str], column: str) -> tuple[str, float]:
    names = list(table)
    gains = {part: table[part][column] - table[names[names.index(part) - 1]][column] for part in parts}
    best = max(gains, key=gains.__getitem__)
    return best, gains[best]


def _mean_of_columns(table: Table, baseline: str, parts: Sequence[str], column: str) -> tuple[str, float]:
    def mean(row: str) -> float:
        return sum(table[row].values()) / len(table[row])

    best = max(parts, key=mean)
    return best, mean(best) - mean(baseline)


def _why_not_gain(case: Case, got: Any, expected: tuple[str, float]) -> str | None:
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Two things are asked for: the name of the component, and its gain."
    return None


_PARTS = ("multi-task", "skip-memory")
_THREE = ("one", "two", "three")

LARGEST_GAIN = Exercise(
    name="largest_gain",
    reference=largest_gain,
    cases=(
        Case((ABLATION, "S2S", _PARTS, "J_unseen"), "Table 6.2, column J_unseen", expected=(("skip-memory", 3.2),)),
        Case((ABLATION, "S2S", _PARTS, "F_seen"), "Table 6.2, column F_seen", expected=(("multi-task", 2.9),)),
        Case((ABLATION, "S2S", _PARTS, "overall"), "Table 6.2, column overall", expected=(("skip-memory", 2.2),)),
        Case((_MADE_UP, "plain", _THREE, "b"), "another table, with three components", expected=(("three", 4.5),)),
        Case(
            (_MADE_UP, "plain", _THREE, "a"),
            "another table, a column in which every component alone harms",
            expected=(("one", -1.0),),
        ),
    ),
    misconceptions=(
        Misconception(
            lambda table, baseline, parts, column: largest_gain(
                table, baseline, _rows_without(table, baseline), column
            ),
            "The full system won. It has all components at once, so it does not say which of them helped: look at "
            "`parts` only.",
        ),
        Misconception(
            _over_the_row_above,
            "Each row was compared with the row above it. These rows are no staircase: each component was added alone, "
            "to the baseline.",
        ),
        Misconception(
            lambda table, baseline, parts, column: (
                max(parts, key=lambda part: table[part][column]),
                max(table[part][column] for part in parts),
            ),
            "The second number is the score. The gain is what it lies above the baseline.",
        ),
        Misconception(
            lambda table, baseline, parts, column: (
                largest_gain(table, baseline, parts, column)[0],
                -largest_gain(table, baseline, parts, column)[1],
            ),
            "The sign is wrong: a gain is with the component minus without it.",
        ),
        Misconception(
            _mean_of_columns,
            "All columns were averaged. A component may help one measure and not another: read the column that is "
            "asked for.",
        ),
        Misconception(
            lambda table, baseline, parts, column: (
                largest_gain(table, baseline, parts, column)[0],
                largest_gain(table, baseline, parts, column)[1] / table[baseline][column],
            ),
            "The gain was divided by the baseline. Points are asked for: 46.8 - 43.6 = 3.2, not 7 %.",
        ),
        Misconception(
            lambda table, baseline, parts, column: (
                max(parts, key=lambda part: abs(table[part][column] - table[baseline][column])),
                max(abs(table[part][column] - table[baseline][column]) for part in parts),
            ),
            "The largest change was taken, whatever its sign. Where every component harms, the best one harms least.",
        ),
        Misconception(
            lambda table, baseline, parts, column: largest_gain(table, baseline, [baseline, *parts], column),
            "The baseline itself was among the candidates: where every component harms it would win with a gain of 0.",
        ),
    ),
    diagnose=_why_not_gain,
)

EXERCISES = [IOU_AFTER_SHIFT, CONV_LSTM_STEP, BALANCED_LOSS, REACH_PER_STEP, DISTANCE_CLASSES, LARGEST_GAIN]
