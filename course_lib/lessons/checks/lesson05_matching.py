"""Exercises of lesson 05 about matching: a global convolution from thin strips, and weights by cosine similarity.

A large window can be had cheaply, and a comparison can ignore how loud a feature is; both show in what a result does
not depend on. `lesson05` lists these exercises.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- a large window from thin strips ----------------------------------------------------------------------------------


def global_convolution(x: Tensor, tall: Tensor, tall_wide: Tensor, wide: Tensor, wide_tall: Tensor) -> Tensor:
    return _both(x, tall, tall_wide, wide, wide_tall)


def _strip(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution that keeps the size of a map."""
    return F.conv2d(x, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))


def _both(
    x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, between: Callable[[Tensor], Tensor] = lambda z: z
) -> Tensor:
    return _strip(between(_strip(x, a)), b) + _strip(between(_strip(x, c)), d)


def _unpadded(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return F.conv2d(F.conv2d(x, a), b) + F.conv2d(F.conv2d(x, c), d)


def _padded_all_round(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    half = max(a.shape[2:]) // 2

    def strip(z: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(z, weight, padding=half)

    return strip(strip(x, a), b) + strip(strip(x, c), d)


def _weights(inputs: int, mid: int, outputs: int, kernel: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def strip(wide: int, narrow: int, height: int, width: int) -> Tensor:
        return torch.randn(wide, narrow, height, width, generator=generator)

    return (
        strip(mid, inputs, kernel, 1), strip(outputs, mid, 1, kernel),
        strip(mid, inputs, 1, kernel), strip(outputs, mid, kernel, 1),
    )  # fmt: skip


def _window_cases() -> tuple[Case, ...]:
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[0, 0, 4, 4] = 1
    strip = torch.tensor([1.0, 2, 3])
    column, row = strip.view(1, 1, 3, 1), strip.view(1, 1, 1, 3)
    product = torch.outer(strip, strip).flip(0, 1)  # conv2d turns a kernel round when it meets an impulse
    expected = torch.zeros(1, 1, 9, 9)
    expected[0, 0, 3:6, 3:6] = 2 * product
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 14, generator=generator)
    return (
        Case((impulse, column, row, row, column), "an impulse, strips 1 2 3 in both paths", expected=(expected,)),
        Case((impulse, *_weights(1, 2, 1, 7, 1)), "an impulse, 7 x 7 window, two channels between the strips"),
        Case((x, *_weights(4, 3, 2, 7, 2)), "features of 8 x 14 cells with 4 channels"),
        Case((-x, *_weights(4, 3, 2, 7, 2)), "the same with the sign turned: the block is linear"),
        Case((x, *_weights(4, 3, 2, 5, 3)), "the gradient: to features and to all four strips", gradient=True),
    )


_INSIDE = (
    "There is a nonlinearity inside. Without it the block is one linear convolution, whose kernel is the sum of two "
    "separable ones; a ReLU between the strips breaks that."
)

_WINDOW_IDEAS = (
    Misconception(
        lambda x, a, b, c, d: _strip(_strip(x, a), b),
        "The second path is missing. One path alone has a separable kernel, rank one for each channel between the "
        "strips.",
    ),
    Misconception(lambda x, a, b, c, d: _strip(_strip(x, c), d), "The first path is missing: tall, then tall_wide."),
    Misconception(
        lambda x, a, b, c, d: torch.cat([_strip(_strip(x, a), b), _strip(_strip(x, c), d)], dim=1),
        "The two paths stand side by side. They are added.",
    ),
    Misconception(
        lambda x, a, b, c, d: _strip(_strip(x, a), b) * _strip(_strip(x, c), d),
        "The two paths are added, not multiplied.",
    ),
    Misconception(
        lambda x, a, b, c, d: (_strip(_strip(x, a), b) + _strip(_strip(x, c), d)) / 2,
        "The mean of the two paths. They are added.",
    ),
    Misconception(lambda x, a, b, c, d: _both(x, a, b, c, d, F.relu), _INSIDE),
    Misconception(lambda x, a, b, c, d: _both(x, a, b, c, d).relu(), "A ReLU follows the block. It is linear."),
    Misconception(_unpadded, "The map has shrunk: a strip of k cells needs k // 2 cells of padding along itself."),
    Misconception(
        _padded_all_round,
        "The map has grown: a k x 1 strip is padded by k // 2 rows and no column, a 1 x k strip the other way round.",
    ),
    Misconception(
        lambda x, a, b, c, d: _strip(_strip(x, a), b) - _strip(_strip(x, c), d),
        "The two paths are added, not subtracted.",
    ),
)

GLOBAL_CONVOLUTION = Exercise(
    name="global_convolution",
    reference=global_convolution,
    cases=_window_cases,
    misconceptions=_WINDOW_IDEAS,
    diagnose=first_fault(_WINDOW_IDEAS, tolerance=1e-4),
    tolerance=1e-4,  # sums of many products in another order
)


# -- weights by cosine ------------------------------------------------------------------------------------------------


def cosine_weights(reference: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    return (sharpness * _cosines(reference, memory)).softmax(dim=0)


def _cosines(reference: Tensor, memory: Tensor) -> Tensor:
    """[N, Q]"""
    return F.normalize(reference, dim=0).T @ F.normalize(memory, dim=0)


def _divided_by_lengths(reference: Tensor, memory: Tensor) -> Tensor:
    return (reference.T @ memory) / (reference.norm(dim=0)[:, None] * memory.norm(dim=0))


def _weight_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    reference, memory = torch.randn(6, 5, generator=generator), torch.randn(6, 4, generator=generator)
    loud = reference * torch.tensor([1.0, 10.0, 0.1, 3.0, 100.0])
    silent = memory.clone()
    silent[:, 1] = 0
    axes, question = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[0.0], [2.0]])
    sure = 1 / (1 + torch.tensor(-10.0).exp())
    return (
        Case(
            (axes, question, 10.0),
            "reference cells (3, 0) and (0, 0.5); memory (0, 2); sharpness 10",
            expected=(torch.stack([1 - sure, sure])[:, None],),
        ),
        Case((reference, memory, 5.0), "5 reference cells, 4 memory cells, 6 channels, sharpness 5"),
        Case((loud, 10 * memory, 5.0), "the same, some cells made 10 or 100 times louder: nothing may change"),
        Case((reference, memory, 1.0), "sharpness 1"),
        Case((reference, silent, 5.0), "a memory cell that is all zeros: it likes all reference cells alike"),
        Case((reference, memory, 5.0), "the gradient: to reference and memory", gradient=True),
    )


_SCALE = (
    "This is the scalar product: a cell that is ten times as loud wins every question. Divide each cell by its length "
    "first, then only the direction counts."
)
_NAN = "0 / 0: a cell of zeros has length 0 and gives NaN. `F.normalize` divides by at least a tiny number."

_WEIGHT_IDEAS = (
    Misconception(lambda r, m, t: (t * (r.T @ m)).softmax(dim=0), _SCALE),
    Misconception(lambda r, m, t: (r.T @ m / len(r) ** 0.5).softmax(dim=0), f"{_SCALE} And sharpness is not used."),
    Misconception(
        lambda r, m, t: (t * (F.normalize(r, dim=0).T @ m)).softmax(dim=0),
        "Only the reference was normalised: a loud memory cell still gets sharper weights.",
    ),
    Misconception(
        lambda r, m, t: (t * (r.T @ F.normalize(m, dim=0))).softmax(dim=0),
        "Only the memory was normalised: a loud reference cell still wins every question.",
    ),
    Misconception(
        lambda r, m, t: (t * (F.normalize(r, dim=1).T @ F.normalize(m, dim=1))).softmax(dim=0),
        "Each channel was normalised over the cells. A cell is a column: normalise along dim 0, the channels.",
    ),
    Misconception(
        lambda r, m, t: (t * _cosines(r, m)).softmax(dim=1),
        "The softmax runs over the memory cells. Each memory cell shares out one unit among the reference cells: "
        "dim 0, and columns sum to one.",
    ),
    Misconception(
        lambda r, m, t: (_cosines(r, m) / t).softmax(dim=0),
        "The cosines were divided by the sharpness, so the weights are nearly equal. Here it multiplies: cosines are "
        "at most 1, and a large factor makes the choice sharp.",
    ),
    Misconception(
        lambda r, m, t: _cosines(r, m).softmax(dim=0),
        "sharpness is not used: cosines lie between -1 and 1, too close together for a clear choice.",
    ),
    Misconception(
        lambda r, m, t: t * _cosines(r, m),
        "These are the scores. The weights are their softmax, which sums to one over the reference cells.",
    ),
    Misconception(
        lambda r, m, t: (t * _cosines(r, m).abs()).softmax(dim=0),
        "The sign is lost: a cell that points the opposite way (cosine -1) is the least similar of all.",
    ),
    Misconception(lambda r, m, t: (t * _divided_by_lengths(r, m)).softmax(dim=0), _NAN),
    Misconception(
        lambda r, m, t: (t * _cosines(r, m)).softmax(dim=0).T,
        "The table is turned round: rows are reference cells, columns memory cells, [N, Q].",
    ),
)


def _why_not_weights(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.shape == expected.shape and got.isnan().any():
        return _NAN
    return first_fault(_WEIGHT_IDEAS)(case, got, expected)


COSINE_WEIGHTS = Exercise(
    name="cosine_weights",
    reference=cosine_weights,
    cases=_weight_cases,
    misconceptions=_WEIGHT_IDEAS,
    diagnose=_why_not_weights,
)
