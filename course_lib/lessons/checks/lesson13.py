"""Exercises of lesson 13: l2_affinity, top_k_read, lfu_scores, cells_to_keep, solve_costs, mask_inf_dropout.

Here are those about the memory bank: what to keep and what it costs. Those about attention are in `lesson13_attention`
and `lesson13_dropout`. All six names stand above because an exercise is looked for only where it is mentioned.
"""

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.lesson13_attention import L2_AFFINITY, TOP_K_READ
from course_lib.lessons.checks.lesson13_dropout import MASK_INF_DROPOUT
from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- worth of a cell --------------------------------------------------------------------------------------------------


def lfu_scores(hits: Tensor, age: Tensor) -> Tensor:
    return torch.where(age > 0, hits / age.clamp(min=1), torch.inf)


_IMMORTAL = (
    "Hits alone never fade: an old cell that was popular long ago outlives every newcomer. Divide by the frames it has "
    "lived."
)
_WHOLE = "Whole-number division: 2 hits in 5 frames became 0. Use /, which gives 0.4."
_NEW = "A new cell (age 0) has had no chance to be asked and must survive: its score is infinity."
_ZERO_BY_ZERO = "0/0 is NaN for a cell written this very frame, and NaN sorts anywhere. A new cell gets infinity."


def _why_not_lfu(case: Case, got: Any, expected: Tensor) -> str | None:
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        return None
    new = expected == torch.inf
    old_agree = torch.allclose(got[~new].float(), expected[~new], rtol=1e-4)
    return _NEW if old_agree and bool((got[new] != torch.inf).any()) else None


LFU_SCORES = Exercise(
    name="lfu_scores",
    reference=lfu_scores,
    cases=(
        Case(
            (torch.tensor([30, 4, 10, 2]), torch.tensor([10, 10, 5, 5])),
            "hits 30, 4, 10, 2 of cells that are 10, 10, 5 and 5 frames old",
            expected=(torch.tensor([3.0, 0.4, 2.0, 0.4]),),
        ),
        Case((torch.tensor([0.95, 0.02, 7.5]), torch.tensor([100.0, 1.0, 3.0])), "hits that are sums of weights"),
        Case(
            (torch.tensor([12, 0, 0, 5]), torch.tensor([4, 6, 0, 0])),
            "two new cells (age 0), one of them hit already, and one that was never hit",
            expected=(torch.tensor([3.0, 0.0, math.inf, math.inf]),),
        ),
        Case((torch.zeros(3), torch.zeros(3)), "new cells only", expected=(torch.full((3,), math.inf),)),
    ),
    misconceptions=(
        Misconception(lambda hits, age: hits.float(), _IMMORTAL),
        Misconception(lambda hits, age: torch.where(age > 0, hits, torch.inf), _IMMORTAL),
        Misconception(
            lambda hits, age: age / hits,
            "Upside down: this is frames per hit, so the cell that is never asked scores best. It is hits per frame.",
        ),
        Misconception(
            lambda hits, age: torch.where(hits > 0, age / hits, torch.inf),
            "Upside down: this is frames per hit, and a cell that was never asked gets infinity. It is hits per frame; "
            "the special case is age 0.",
        ),
        Misconception(lambda hits, age: torch.where(age > 0, hits // age.clamp(min=1), torch.inf), _WHOLE),
        Misconception(lambda hits, age: hits // age, _WHOLE),
        Misconception(lambda hits, age: hits / age, _ZERO_BY_ZERO),
        Misconception(lambda hits, age: hits / age.clamp(min=1), _NEW),
        Misconception(lambda hits, age: torch.where(age > 0, hits / age.clamp(min=1), 0.0), _NEW),
        Misconception(
            lambda hits, age: hits / (age + 1),
            "Adding 1 to the age avoids the division by zero but changes every score, and a new cell gets 0: it would "
            "be the first to go. Treat age 0 by itself.",
        ),
        Misconception(
            lambda hits, age: torch.where(age > 0, hits / (age + 1), torch.inf),
            "The age is one frame too many: it already counts the frames since the cell was written.",
        ),
    ),
    diagnose=_why_not_lfu,
)


# -- who stays --------------------------------------------------------------------------------------------------------


def cells_to_keep(scores: Tensor, n_evict: int) -> Tensor:
    worst_first = scores.argsort(stable=True)  # stable: of equals the older comes first
    return worst_first[n_evict:].sort().values


def _keep_from(worst_first: Tensor, n_evict: int) -> Tensor:
    return worst_first[n_evict:].sort().values


def _keep_mask(scores: Tensor, n_evict: int) -> Tensor:
    return torch.zeros(len(scores), dtype=torch.bool).index_fill(0, cells_to_keep(scores, n_evict), True)


def _bank_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(3)
    distinct = torch.rand(9, generator=generator)
    ties = torch.randint(0, 4, (50,), generator=generator).float()
    return (
        Case((torch.tensor([3.0, 0.4, 2.0, 0.4]), 2), expected=(torch.tensor([0, 2]),)),
        Case((torch.tensor([1.0, 1.0, 1.0]), 1), expected=(torch.tensor([1, 2]),)),
        Case((distinct, 4), "9 cells of different worth, 4 to evict"),
        Case((ties, 20), "50 cells with many equal scores, 20 to evict"),
        Case((torch.tensor([2.0, 0.5, math.inf, math.inf]), 1), expected=(torch.tensor([0, 2, 3]),)),
        Case((distinct, 0), "n_evict = 0: there is room for everything", expected=(torch.arange(9),)),
        Case((distinct, 9), "n_evict = N: nothing can stay", expected=(torch.empty(0, dtype=torch.long),)),
    )


_MINUS_ZERO = (
    "-0 is 0: a slice such as [:-n] or [-n:] means something else when n is 0. Count from the front, [n_evict:]."
)
_OFF_BY_ONE = "Off by one: exactly n_evict cells go and N - n_evict stay."
_THRESHOLD = (
    "A threshold cannot cut through equal scores: all of them stay or all go, and the count is wrong. "
    "Sort the cells and cut by count."
)

CELLS_TO_KEEP = Exercise(
    name="cells_to_keep",
    reference=cells_to_keep,
    cases=_bank_cases,
    misconceptions=(
        Misconception(
            lambda s, n: s.argsort(stable=True)[:n].sort().values,
            "These are the cells to evict. Return the others, those that stay.",
        ),
        Misconception(
            lambda s, n: s.argsort(stable=True)[n:],
            "The right cells, but in order of score. Cells are stored oldest first: sort the indices, or the bank "
            "forgets who is older.",
        ),
        Misconception(
            lambda s, n: s.argsort(descending=True, stable=True)[: len(s) - n],
            "The indices are in order of score, and of equal cells the newer goes. Sort ascending, drop the first "
            "n_evict, then sort the indices that are left.",
        ),
        Misconception(
            lambda s, n: s.argsort(descending=True, stable=True)[: len(s) - n].sort().values,
            "Of equal cells the newer went. The older goes first: a stable ascending sort puts it in front.",
        ),
        Misconception(
            lambda s, n: _keep_from(s.argsort(descending=True, stable=True), n),
            "The highest scores were evicted. The cells worth least go: sort ascending.",
        ),
        Misconception(lambda s, n: _keep_from(s.argsort(stable=True), n + 1), _OFF_BY_ONE),
        Misconception(lambda s, n: _keep_from(s.argsort(stable=True), max(n - 1, 0)), _OFF_BY_ONE),
        Misconception(lambda s, n: s.argsort(stable=True).flip(0)[:-n].sort().values, _MINUS_ZERO),
        Misconception(lambda s, n: s.argsort(stable=True)[-(len(s) - n) :].sort().values, _MINUS_ZERO),
        Misconception(lambda s, n: (s > s.sort().values[n - 1]).nonzero().flatten(), _THRESHOLD),
        Misconception(lambda s, n: (s >= s.sort().values[n]).nonzero().flatten(), _THRESHOLD),
        Misconception(
            lambda s, n: s[cells_to_keep(s, n)],
            "These are the scores of the cells that stay. Return where they are: their indices.",
        ),
        Misconception(_keep_mask, "A mask marks the right cells; their indices are asked for, in ascending order."),
        Misconception(
            lambda s, n: torch.arange(n, len(s)),
            "The oldest cells were evicted, whatever they are worth: first in, first out. The scores decide here.",
        ),
    ),
)


# -- three costs from three speeds ------------------------------------------------------------------------------------


def solve_costs(rows: Tensor, milliseconds: Tensor) -> Tensor:
    return torch.linalg.solve(rows, milliseconds)


def _table(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _measured(rows: Tensor, costs: tuple[float, float, float]) -> Case:
    exact = torch.tensor(costs, dtype=torch.float64)
    about = "{:g} ms fixed, {:g} ms per value encoding, {:g} ms per stored frame".format(*costs)
    return Case((rows, rows @ exact), f"policies that cost {about}", expected=(exact,))


def _without_fixed(rows: Tensor, ms: Tensor) -> Tensor:
    return torch.linalg.lstsq(rows[:, 1:], ms[:, None]).solution[:, 0]  # [2]


THESIS = _table((1, 0.2, 7), (1, 1, 2), (1, 0.2, 2))  # every fifth frame, first and latest, adaptive
THESIS_MS = 1000 / torch.tensor([6.3, 8.4, 11.4], dtype=torch.float64)
_ELEMENTS = (
    "1 / rows inverts each number by itself. The inverse of a matrix, or better `torch.linalg.solve`, is needed."
)
_PRODUCT = (
    "The result is a matrix: * and / work number by number and mix nothing. A product of matrix and vector is @, "
    "its undoing `torch.linalg.solve`."
)
_NO_FIXED = (
    "The first column, the fixed cost of a frame, is left out: the encoder and decoder run whatever the policy does."
)

SOLVE_COSTS = Exercise(
    name="solve_costs",
    reference=solve_costs,
    cases=(
        Case((THESIS, THESIS_MS), "the three policies of the thesis's Table 3, at 6.3, 8.4 and 11.4 frames per second"),
        _measured(_table((1, 0.2, 4), (1, 1, 2), (1, 0.1, 10)), (50.0, 40.0, 10.0)),
        _measured(_table((1, 1, 2), (1, 1, 7), (1, 0.2, 2)), (10.0, 30.0, 5.0)),
        _measured(_table((1, 0, 1), (1, 0.5, 3), (1, 0.2, 8)), (0.0, 20.0, 5.0)),
    ),
    misconceptions=(
        Misconception(
            lambda rows, ms: torch.linalg.solve(rows, 1000 / ms),
            "Frames per second were used. Times of parts add up to the time of a frame, rates do not; the argument is "
            "in milliseconds already.",
        ),
        Misconception(lambda rows, ms: (1 / rows) @ ms, _ELEMENTS),
        Misconception(lambda rows, ms: torch.linalg.inv(rows) * ms, _PRODUCT),
        Misconception(lambda rows, ms: torch.linalg.inv(rows) * ms[:, None], _PRODUCT),
        Misconception(lambda rows, ms: ms / rows, _PRODUCT),
        Misconception(lambda rows, ms: ms[:, None] / rows, _PRODUCT),
        Misconception(
            lambda rows, ms: torch.linalg.solve(rows.T, ms),
            "The matrix is transposed: each row is one policy, one equation, and each column belongs to one cost.",
        ),
        Misconception(
            lambda rows, ms: rows @ ms,
            "The times were multiplied by the matrix. The costs are the unknown of rows @ costs = milliseconds.",
        ),
        Misconception(_without_fixed, _NO_FIXED),
        Misconception(lambda rows, ms: torch.cat([ms.new_zeros(1), _without_fixed(rows, ms)]), _NO_FIXED),
        Misconception(
            lambda rows, ms: ms / rows.sum(dim=1),
            "Each time was divided by its own row, as if all three costs were equal. Solve the three together.",
        ),
    ),
)

EXERCISES = [L2_AFFINITY, TOP_K_READ, LFU_SCORES, CELLS_TO_KEEP, SOLVE_COSTS, MASK_INF_DROPOUT]
