"""Exercises of lesson 13 about reading the memory: affinity by distance, and the best few cells.

Each result is a weight of memory cell n for query cell q, so nearly every mistake is about an axis, a sign or what sums
to one. `lesson13` lists these exercises together with those about the memory bank.
"""

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.exercise import Case, Exercise, Misconception


def comparable(got: Any, expected: Tensor) -> bool:
    """Whether a learner's result is a plain tensor of the right shape, whose values may be looked at."""
    return isinstance(got, Tensor) and got.layout == torch.strided and got.shape == expected.shape


def column(*values: float) -> Tensor:
    """One query's numbers, [N, 1]."""
    return torch.tensor(values, dtype=torch.float32)[:, None]


# -- affinity by squared distance -------------------------------------------------------------------------------------


def l2_affinity(memory_keys: Tensor, query_keys: Tensor) -> Tensor:
    return (-_squared_distance(memory_keys, query_keys) / math.sqrt(len(memory_keys))).softmax(dim=0)


def _squared_distance(k: Tensor, q: Tensor) -> Tensor:
    """[N, Q], without a tensor [Ck, N, Q] in between."""
    return k.square().sum(0)[:, None] - 2 * k.T @ q + q.square().sum(0)


def _root(k: Tensor) -> float:
    return math.sqrt(len(k))


def _exp_by_hand(k: Tensor, q: Tensor) -> Tensor:
    weights = (-_squared_distance(k, q) / _root(k)).exp()
    return weights / weights.sum(0)


def _affinity_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    k, q = torch.randn(3, 5, generator=generator), torch.randn(3, 4, generator=generator)
    wide_k, wide_q = torch.randn(16, 7, generator=generator), torch.randn(16, 3, generator=generator)
    long_key = torch.tensor([[3.0, 1.0], [0.0, 0.0]])  # [Ck, N]: keys are columns
    near = 1 / (1 + math.exp(-4 / math.sqrt(2)))  # squared distances 4 and 0
    far_k = torch.zeros(4, 2)
    far_k[1, 1] = 1.0
    far_q = torch.zeros(4, 1)
    far_q[0, 0] = 30.0  # scores -450 and -450.5
    half = 1 / (1 + math.exp(-0.5))
    return (
        Case((long_key, column(1, 0)), "memory keys (3, 0), (1, 0); query (1, 0)", expected=(column(1 - near, near),)),
        Case((k, q), "5 memory keys and 4 query keys with 3 channels", gradient=True),
        Case((wide_k, wide_q), "7 memory keys and 3 query keys with 16 channels"),
        Case((k[:, :1], q), "a memory of a single cell", expected=(torch.ones(1, 4),)),
        Case((far_k, far_q), "a query far away from both memory keys", expected=(column(half, 1 - half),)),
    )


_DOT = (
    "This is the dot product: one long key wins every query, however far away it is. "
    "Score a cell by the negative squared distance, which punishes length."
)
SUM_TO_ONE = "The columns do not sum to one: each query cell shares out one unit of weight among the memory cells."


def _why_not_affinity(case: Case, got: Any, expected: Tensor) -> str | None:
    if comparable(got, expected) and not torch.allclose(got.float().sum(0), torch.ones(expected.shape[1]), atol=1e-4):
        return SUM_TO_ONE
    return None


L2_AFFINITY = Exercise(
    name="l2_affinity",
    reference=l2_affinity,
    cases=_affinity_cases,
    tolerance=1e-4,  # the distance by three terms rounds differently from the one by differences
    misconceptions=(
        Misconception(
            lambda k, q: (-_squared_distance(k, q) / _root(k)).softmax(dim=1),
            "The softmax runs over the queries, so rows sum to one. Memory cells compete for each query cell: "
            "it runs over dim 0, and columns sum to one.",
        ),
        Misconception(
            lambda k, q: (-_squared_distance(k, q) / _root(k)).flatten().softmax(0).view(k.shape[1], -1),
            "One softmax runs over the whole matrix, so all queries share one unit of weight. Each column has its own.",
        ),
        Misconception(lambda k, q: (k.T @ q / _root(k)).softmax(dim=0), _DOT),
        Misconception(lambda k, q: (k.T @ q).softmax(dim=0), _DOT),
        Misconception(
            lambda k, q: (2 * k.T @ q / _root(k)).softmax(dim=0),
            "|k|² is missing. Of |k|² - 2 k·q + |q|² only |q|² is the same for all memory cells and may be left out.",
        ),
        Misconception(
            lambda k, q: (-_squared_distance(k, q)).softmax(dim=0),
            "The squared distances are not divided by √Ck: with many channels they grow so large that one cell takes "
            "all the weight.",
        ),
        Misconception(
            lambda k, q: (-_squared_distance(k, q) / len(k)).softmax(dim=0),
            "The distances are divided by Ck, the attention is too flat. Divide the squared distance by √Ck, "
            "after squaring.",
        ),
        Misconception(
            lambda k, q: (-torch.cdist(k.T, q.T) / _root(k)).softmax(dim=0),
            "The distance is not squared. The score is the negative *squared* distance, a sum of squares without "
            "a root over it.",
        ),
        Misconception(
            lambda k, q: (_squared_distance(k, q) / _root(k)).softmax(dim=0),
            "The farthest memory cell wins: a large distance must give a low score, so there is a minus before it.",
        ),
        Misconception(
            lambda k, q: -_squared_distance(k, q) / _root(k),
            "These are the scores; the softmax that turns each column into weights is missing.",
        ),
        Misconception(
            _exp_by_hand,
            "0/0: for distant keys every exp underflows to zero. `softmax` subtracts the largest score first and "
            "stays finite.",
        ),
    ),
    diagnose=_why_not_affinity,
)


# -- the k best memory cells ------------------------------------------------------------------------------------------


def top_k_read(scores: Tensor, values: Tensor, k: int) -> Tensor:
    best, cells = scores.topk(min(k, len(scores)), dim=0)  # [k, Q]
    return _weighted(values, cells, best.softmax(dim=0))


def _weighted(values: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Sum of the chosen values: cells and weights [k, Q] (or what they were taken for)."""
    return (values[:, cells] * weights).sum(dim=1)  # [Cv, k, Q] -> [Cv, Q]


def _best_queries_of_each_cell(scores: Tensor, values: Tensor, k: int) -> Tensor:
    best, queries = scores.topk(k, dim=1)  # [N, k]
    return values @ torch.full_like(scores, -torch.inf).scatter(1, queries, best).softmax(dim=0)


def _last_axis(scores: Tensor, values: Tensor, k: int) -> Tensor:
    best, cells = scores.topk(k)
    return (values[:, cells] * best.softmax(dim=-1)).sum(dim=-1)


def _same_for_all(scores: Tensor, values: Tensor, cells: Tensor) -> Tensor:
    """One choice of cells [k] for every query."""
    return values[:, cells] @ scores[cells].softmax(dim=0)


def _best_entries(scores: Tensor, values: Tensor, k: int) -> Tensor:
    best, entries = scores.flatten().topk(k)
    kept = torch.full_like(scores, -torch.inf).flatten().scatter(0, entries, best).view_as(scores)
    return values @ kept.softmax(dim=0)


def _read_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(1)
    scores = -4 * torch.rand(6, 4, generator=generator)
    values = torch.randn(3, 6, generator=generator)
    flat, many = -torch.rand(9, 5, generator=generator), torch.randn(2, 9, generator=generator)
    told = torch.tensor([[4.0, 8.0, 100.0], [0.0, 4.0, -100.0]])  # [Cv, N]
    return (
        Case(
            (column(0, math.log(3), -5), told, 2),
            "scores 0, log 3, -5 of three cells and k = 2: weights 1/4 and 3/4",
            expected=(column(7, 3),),
        ),
        Case((scores, values, 2), "6 memory cells, 4 query cells, 3 channels, k = 2", gradient=True),
        Case((flat, many, 3), "9 memory cells of nearly equal score, 5 query cells, k = 3"),
        Case((scores, values, 1), "k = 1: a copy of the best cell", expected=(values[:, scores.argmax(0)],)),
        Case(
            (scores[:3], values[:, :3], 3),
            "k as large as the memory",
            expected=(values[:, :3] @ scores[:3].softmax(0),),
        ),
        Case((scores - 300, values, 2), "scores as low as distant keys give"),
    )


_QUERY_AXIS = (
    "The k best were taken along the queries (the last axis, which `topk` uses by default). "
    "Each query chooses among the memory cells: dim=0."
)
_GLOBAL = "All queries read the same k cells. Each has its own best ones: topk along dim 0 keeps one list per column."
_NOT_SOFTMAX = (
    "The weights are not a softmax: they are e^score of each chosen cell, divided by the sum over the k chosen ones."
)

TOP_K_READ = Exercise(
    name="top_k_read",
    reference=top_k_read,
    cases=_read_cases,
    misconceptions=(
        Misconception(
            lambda s, v, k: _weighted(v, *reversed(s.softmax(dim=0).topk(k, dim=0))),
            "The weights of the k cells do not sum to one: the softmax ran over all cells and the share of the others "
            "was thrown away. Choose first, then softmax over the chosen.",
        ),
        Misconception(
            lambda s, v, k: v @ s.softmax(dim=0),
            "Every memory cell answers: thousands of small weights add up. Only the k best of each query may.",
        ),
        Misconception(_best_queries_of_each_cell, _QUERY_AXIS),
        Misconception(_last_axis, _QUERY_AXIS),
        Misconception(
            lambda s, v, k: v[:, s.topk(k, dim=0).indices].mean(dim=1),
            "This is the plain mean of the k values: the best cell counts no more than the k-th. Weigh them by a "
            "softmax of their scores.",
        ),
        Misconception(
            lambda s, v, k: v[:, s.topk(k, dim=0).indices].sum(dim=1),
            "The k values are added without weights. Weigh them by a softmax of their scores.",
        ),
        Misconception(
            lambda s, v, k: _weighted(v, s.topk(k, dim=0, largest=False).indices, s.topk(k, 0, False)[0].softmax(0)),
            "The k lowest scores were chosen. Scores are negative distances: the nearest cell has the highest.",
        ),
        Misconception(lambda s, v, k: _weighted(v, s.topk(k, 0)[1], s.topk(k, 0)[0].sigmoid()), _NOT_SOFTMAX),
        Misconception(lambda s, v, k: _weighted(v, s.topk(k, 0)[1], s.topk(k, 0)[0]), _NOT_SOFTMAX),
        Misconception(
            lambda s, v, k: _weighted(v, s.topk(k, 0)[1], s.topk(k, 0)[0] / s.topk(k, 0)[0].sum(0)), _NOT_SOFTMAX
        ),
        Misconception(
            lambda s, v, k: _weighted(v, s.topk(k, 0)[1], s.topk(k, 0)[0].exp() / s.topk(k, 0)[0].exp().sum(0)),
            "0/0: e^score underflows to zero for low scores. `softmax` subtracts the largest one first.",
        ),
        Misconception(
            lambda s, v, k: _weighted(v, s.topk(k, 0)[1], s.topk(k, 0)[0].softmax(dim=1)),
            "The softmax runs over the queries. Here [k, Q] holds the k scores of one query in a column, "
            "so it runs over dim 0.",
        ),
        Misconception(lambda s, v, k: _same_for_all(s, v, s.sum(dim=1).topk(k).indices), _GLOBAL),
        Misconception(lambda s, v, k: _same_for_all(s, v, s.amax(dim=1).topk(k).indices), _GLOBAL),
        Misconception(
            _best_entries,
            "The k best entries of the whole matrix were kept, so most queries have nothing to read (NaN). "
            "Each query cell has its own k best: topk along dim 0.",
        ),
    ),
)
