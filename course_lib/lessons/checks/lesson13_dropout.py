"""Exercise of lesson 13 about regularising the read: switch connections off and still share out all of the weight.

Scores are negative distances, whose best value is 0, so the stock dropout layer does the opposite of what is meant. The
cases hold a query that loses its best cell and one that loses every cell. `lesson13` lists the exercise.
"""

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.lesson13_attention import SUM_TO_ONE, column, comparable
from course_lib.lessons.exercise import Case, Exercise, Misconception


def mask_inf_dropout(scores: Tensor, dropped: Tensor) -> Tensor:
    best = torch.zeros_like(dropped).scatter(0, scores.argmax(dim=0, keepdim=True), True)
    silent = dropped & ~(best & dropped.all(dim=0))
    return scores.masked_fill(silent, -torch.inf).softmax(dim=0)


def _best_only(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).scatter(0, scores.argmax(dim=0, keepdim=True), 1.0)


def _always_keeps_best(scores: Tensor, dropped: Tensor) -> Tensor:
    return scores.masked_fill(dropped & (_best_only(scores) == 0), -torch.inf).softmax(dim=0)


def _repaired_afterwards(scores: Tensor, dropped: Tensor) -> Tensor:
    added = torch.zeros_like(scores).masked_fill(dropped, -torch.inf)
    return torch.where(dropped.all(dim=0), _best_only(scores), (scores + added).softmax(dim=0))


def _zeroed_and_rescaled(scores: Tensor, dropped: Tensor) -> Tensor:
    kept = scores.softmax(dim=0).masked_fill(dropped, 0)
    return kept / kept.sum(dim=0)


def _dropout_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(2)
    scores = -5 * torch.rand(5, 3, generator=generator)
    rows = [[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1]]  # the first query loses its best, the fourth
    some = torch.tensor(rows, dtype=torch.bool)
    every = some.clone()
    every[:, 1] = True
    golden = column(-0.5, -8, -20, -30)

    def only(cell: int) -> Tensor:
        return torch.arange(4)[:, None] == cell

    kept = torch.tensor([math.exp(-0.5), math.exp(-8), 0, math.exp(-30)])
    return (
        Case(
            (golden, only(2)),
            "scores -0.5, -8, -20, -30, the third cell dropped",
            expected=((kept / kept.sum())[:, None],),
        ),
        Case((golden, only(0)), "the same scores, the best cell dropped"),
        Case((scores, some), "5 memory cells, 3 query cells, about half dropped", gradient=True),
        Case((scores, torch.zeros_like(some)), "nothing dropped", expected=(scores.softmax(dim=0),)),
        Case((scores, every), "a query all of whose cells are dropped", gradient=True),
    )


_ALL_GONE = (
    "A query that lost every cell becomes NaN: softmax over nothing but -inf (or 0/0) has no answer. "
    "Let such a query keep its best cell, and decide that before the softmax."
)
_PROMOTED = (
    "The score of a dropped cell became 0. Scores are negative distances, so 0 is the best there is: "
    "the cell is promoted, not silenced. What gets no weight has the score -inf."
)
_DOUBLED = (
    "The survivors were rescaled by 2, as a stock dropout layer does. The softmax already makes the weights sum "
    "to one; doubling the scores only sharpens it."
)


def _why_not_dropped(case: Case, got: Any, expected: Tensor) -> str | None:
    if not comparable(got, expected):
        return None
    if bool(got.isnan().any()):
        return _ALL_GONE
    dropped = case.fresh_inputs()[1]
    if bool((got[dropped & (expected == 0)] != 0).any()):
        return "A dropped connection still has weight."
    if not torch.allclose(got.float().sum(0), torch.ones(expected.shape[1]), atol=1e-4):
        return SUM_TO_ONE
    return None


MASK_INF_DROPOUT = Exercise(
    name="mask_inf_dropout",
    reference=mask_inf_dropout,
    cases=_dropout_cases,
    misconceptions=(
        Misconception(lambda s, d: s.masked_fill(d, 0).softmax(dim=0), _PROMOTED),
        Misconception(lambda s, d: (2 * s).masked_fill(d, 0).softmax(dim=0), f"{_PROMOTED} And no rescaling by 2."),
        Misconception(lambda s, d: mask_inf_dropout(2 * s, d), _DOUBLED),
        Misconception(lambda s, d: 2 * mask_inf_dropout(s, d), _DOUBLED),
        Misconception(
            lambda s, d: s.softmax(dim=0).masked_fill(d, 0),
            "The weights were zeroed after the softmax and no longer sum to one: the read-out shrinks with every "
            "dropped cell. Remove a cell before the softmax shares out the weight.",
        ),
        Misconception(lambda s, d: s.masked_fill(d, -torch.inf).softmax(dim=0), _ALL_GONE),
        Misconception(_zeroed_and_rescaled, _ALL_GONE),
        Misconception(
            _repaired_afterwards,
            "The weights are right but their gradient is NaN: softmax over nothing but -inf has a NaN slope, which is "
            "still there after the values were repaired. Lift the mask before the softmax.",
        ),
        Misconception(
            lambda s, d: s.masked_fill(d, -torch.inf).softmax(dim=0).masked_fill(d, 0),
            "A query that lost every cell reads nothing: its column sums to zero. Let it keep its best cell.",
        ),
        Misconception(
            lambda s, d: s.masked_fill(d & ~d.all(dim=0), -torch.inf).softmax(dim=0),
            "A query that lost every cell got all of them back. It keeps its best one only.",
        ),
        Misconception(
            lambda s, d: s.masked_fill(d, -1e9).softmax(dim=0),
            "A query that lost every cell reads an even mixture: all its scores became the same large negative number. "
            "Let it keep its best cell.",
        ),
        Misconception(
            _always_keeps_best,
            "The best cell survives for every query, so dropout never silences the favourite. It is kept only where "
            "all cells are dropped (`all` over dim 0).",
        ),
        Misconception(
            lambda s, d: mask_inf_dropout(s.T, d.T).T,
            "The softmax runs over the queries: rows sum to one. Memory cells compete for each query cell: dim=0.",
        ),
        Misconception(
            lambda s, d: mask_inf_dropout(s, ~d), "The mask is inverted: True marks what is dropped, not what is kept."
        ),
        Misconception(lambda s, d: s.softmax(dim=0), "Nothing is dropped: `dropped` is not used."),
    ),
    diagnose=_why_not_dropped,
)
