"""Exercises of lesson 07 about attention in a window: scores, where they point, and what is read.

Everything depends on one convention, entry (dy + reach) · window + dx + reach is the memory cell at (y + dy, x + dx);
so cases are not square, not symmetric, and tell a memory that is shifted from a query that is. `lesson07` lists these.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.local_memory.local_read import local_similarity, window_inside

# -- how well does each place of the window fit? ----------------------------------------------------------------------


def local_scores(query: Tensor, keys: Tensor, window: int) -> Tensor:
    scores = local_similarity(query[None], keys[None, None], window)[0, 0]
    return scores.masked_fill(~window_inside(_size(query), window), -torch.inf)


def _size(map_: Tensor) -> tuple[int, int]:
    return map_.shape[-2], map_.shape[-1]


def _by_shifts(
    query: Tensor,
    keys: Tensor,
    window: int,
    reach: int | None = None,
    empty: float = -torch.inf,
    score: Callable[[Tensor, Tensor], Tensor] = lambda q, k: (q * k).sum(dim=0),
    swap: bool = False,
    sign: int = 1,
) -> Tensor:
    """Scores place by place of the window; each argument is one way to get it wrong."""
    reach = window // 2 if reach is None else reach
    height, width = _size(query)
    out = []
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            y, x = (dx, dy) if swap else (dy, dx)
            y, x = sign * y, sign * x
            shifted = torch.full_like(keys, torch.nan)
            top, bottom, left, right = max(0, -y), min(height, height - y), max(0, -x), min(width, width - x)
            if top < bottom and left < right:
                shifted[:, top:bottom, left:right] = keys[:, top + y : bottom + y, left + x : right + x]
            out.append(score(query, shifted).nan_to_num(nan=empty, posinf=torch.inf, neginf=-torch.inf))
    return torch.stack(out)


def _query_shifted(query: Tensor, keys: Tensor, window: int) -> Tensor:
    """Equation 4.2 as printed."""
    return _by_shifts(keys, query, window)


def _rolled(query: Tensor, keys: Tensor, window: int) -> Tensor:
    reach = window // 2
    shifts = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    return torch.stack([(query * keys.roll((-dy, -dx), (1, 2))).sum(dim=0) for dy, dx in shifts])


def _score_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    query, keys = torch.randn(5, 6, 9, generator=generator), torch.randn(5, 6, 9, generator=generator)
    row = torch.tensor([[[1.0, 2, 3]]])
    inf = -torch.inf
    expected = torch.full((9, 1, 3), inf)  # above and below the one row is nothing
    expected[3, 0] = torch.tensor([inf, 20, 60])
    expected[4, 0] = torch.tensor([10.0, 40, 90])
    expected[5, 0] = torch.tensor([20.0, 60, inf])
    return (
        Case((row, 10 * row, 3), "one row: query 1 2 3, memory 10 20 30, window 3", expected=(expected,)),
        Case((query, keys, 1), "window 1: the same place only"),
        Case((query, keys, 5), "5 channels, 6 x 9 cells, window 5"),
        Case((query[:, :3, :4], keys[:, :3, :4], 9), "a window that is larger than the frame"),
    )


_SCORE_IDEAS = (
    Misconception(
        _query_shifted,
        "The QUERY was shifted, as equation 4.2 prints it. The answer for a place belongs to the query at that place; "
        "what lies around it is memory. Offsets come out with the opposite sign.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, swap=True),
        "The order of the window is transposed: rows (dy) on the outside, columns (dx) on the inside.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, sign=-1),
        "The window is read backwards: the entry for (dy, dx) is the memory at (y + dy, x + dx), not at the "
        "opposite place.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, empty=0.0),
        "Places outside the frame have score 0. That is a score like any other, and the softmax would give it weight: "
        "-inf means 'does not exist'.",
    ),
    Misconception(
        _rolled,
        "`roll` brings in the opposite border: a cell at the left edge would look at the right edge. Places outside "
        "the frame get -inf.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, score=lambda q, k: (q * k).mean(dim=0)),
        "The mean over channels. The score is the inner product: the sum.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, score=lambda q, k: (q * k).sum(dim=0) / len(q) ** 0.5),
        "Divided by the root of the channels, as transformers do. Equation 4.4 does not; temperature comes later.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, score=lambda q, k: -(q - k).square().sum(dim=0)),
        "That is a squared distance. Here the score is the inner product.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, score=lambda q, k: F.cosine_similarity(q, k, dim=0)),
        "That is the cosine, which lesson 05 used. Here a loud key does count: the plain inner product.",
    ),
    Misconception(
        lambda q, k, w: _by_shifts(q, k, w, reach=w),
        "`window` is the SIDE of the window, not its radius: it reaches window // 2 cells each way.",
    ),
)

LOCAL_SCORES = Exercise(
    name="local_scores",
    reference=local_scores,
    cases=_score_cases,
    misconceptions=_SCORE_IDEAS,
    diagnose=first_fault(_SCORE_IDEAS),
)


# -- where does it look? ----------------------------------------------------------------------------------------------


def attended_offset(weights: Tensor, window: int) -> Tensor:
    y, x = _steps(window)
    return torch.stack([torch.einsum("r,rhw->hw", x, weights), torch.einsum("r,rhw->hw", y, weights)])


def _steps(window: int) -> tuple[Tensor, Tensor]:
    """dy and dx of each entry of a window, [r] each."""
    steps = torch.arange(window, dtype=torch.float32) - window // 2
    return steps.repeat_interleave(window), steps.repeat(window)


def _from_corner(weights: Tensor, window: int) -> Tensor:
    return attended_offset(weights, window) + (window // 2) * weights.sum(dim=0)


def _best_offset(weights: Tensor, window: int) -> Tensor:
    y, x = _steps(window)
    best = weights.max(dim=0).indices
    return torch.stack([x[best], y[best]])


def _look(scores_of: Callable[[Tensor, Tensor, int], Tensor], x: int, y: int) -> Tensor:
    """Weights of a query against a memory in which everything lies (x, y) further; one-hot keys, so it is sure."""
    height, width = 5, 7
    keys = 30 * torch.eye(height * width).view(-1, height, width)
    return scores_of(keys.roll((-y, -x), (1, 2)), keys, 5).softmax(dim=0)


def _offset_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(1)
    one = torch.zeros(9, 2, 3)
    one[5] = 1  # dy = 0, dx = 1
    high = torch.zeros(9, 2, 3)
    high[1] = 1  # dy = -1, dx = 0
    two = torch.zeros(25, 1, 2)
    two[14], two[10] = 0.75, 0.25  # dx = 2 and dx = -2 of the middle row
    right, up = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    right[0], up[1] = 1, -1
    mean = torch.zeros(2, 1, 2)
    mean[0] = 1
    return (
        Case((one, 3), "all weight on the right neighbour", expected=(right,)),
        Case((high, 3), "all weight on the neighbour above", expected=(up,)),
        Case((two, 5), "three quarters 2 cells to the right, one quarter 2 cells to the left", expected=(mean,)),
        Case((torch.full((25, 3, 4), 1 / 25), 5), "the same weight everywhere", expected=(torch.zeros(2, 3, 4),)),
        Case((torch.rand(49, 4, 5, generator=generator).softmax(dim=0), 7), "random weights, window 7"),
        Case((_look(local_scores, 2, -1), 5), "a memory in which everything lies 2 cells to the right and 1 higher"),
    )


_OFFSET_IDEAS = (
    Misconception(
        lambda weights, window: attended_offset(weights, window).flip(0),
        "x and y are exchanged. Channel 0 is x; dx changes from entry to entry, dy only after each row of the window.",
    ),
    Misconception(
        lambda weights, window: -attended_offset(weights, window),
        "The sign: this leads from the memory to the query. You look FROM the query: dx > 0 is to its right.",
    ),
    Misconception(
        _from_corner,
        "Offsets were counted from the corner of the window. Its middle is 0: they run from -(window // 2) to "
        "window // 2.",
    ),
    Misconception(
        _best_offset,
        "This is the best place alone. Asked for is the weighted mean of all offsets, which falls between cells.",
    ),
    Misconception(
        lambda weights, window: attended_offset(weights, window) / window**2,
        "The mean over the window instead of the sum: the weights already add up to 1.",
    ),
    Misconception(
        lambda weights, window: attended_offset(weights, window)[0], "Only x. The offset has two components, x first."
    ),
)

ATTENDED_OFFSET = Exercise(
    name="attended_offset",
    reference=attended_offset,
    cases=_offset_cases,
    misconceptions=_OFFSET_IDEAS,
    diagnose=first_fault(_OFFSET_IDEAS),
)


# -- one softmax over space and time ----------------------------------------------------------------------------------


def read_window(scores: Tensor, values: Tensor, window: int) -> Tensor:
    return _mixed(_joint(scores), values, window)


def _joint(scores: Tensor) -> Tensor:
    return scores.flatten(0, 1).softmax(dim=0).view_as(scores)  # [S·r, h, w] and back


def _mixed(weights: Tensor, values: Tensor, window: int, shift: int = 1) -> Tensor:
    """Values [S, V, h, w] by weights [S, r, h, w], each read at its place of the window."""
    y, x = (step.int().tolist() for step in _steps(window))
    shifted = [values.roll((-shift * dy, -shift * dx), (2, 3)) for dy, dx in zip(y, x)]
    return torch.einsum("srhw,srvhw->vhw", weights, torch.stack(shifted, dim=1))


def _padded_with_nan(scores: Tensor, values: Tensor, window: int) -> Tensor:
    """As one may pad the keys of `local_scores`."""
    height, width = _size(values)
    wide = F.pad(values, (window // 2,) * 4, value=torch.nan)
    shifts = [divmod(r, window) for r in range(window**2)]
    seen = torch.stack([wide[..., dy : dy + height, dx : dx + width] for dy, dx in shifts], dim=1)
    return torch.einsum("srhw,srvhw->vhw", _joint(scores), seen)


def _naive(scores: Tensor, values: Tensor, window: int) -> Tensor:
    weights = scores.exp()
    return _mixed(weights / weights.sum(dim=(0, 1)), values, window)


def _hardest(scores: Tensor, values: Tensor, window: int) -> Tensor:
    flat = scores.flatten(0, 1)
    return _mixed(
        F.one_hot(flat.max(dim=0).indices, len(flat)).permute(2, 0, 1).view_as(scores).float(), values, window
    )


def _read_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(2)
    scores, values = torch.randn(3, 9, 4, 6, generator=generator), torch.randn(3, 2, 4, 6, generator=generator)
    scores = scores.masked_fill(~window_inside((4, 6), 3), -torch.inf)
    two = torch.tensor([2.0, 0.0]).log().view(2, 1, 1, 1).expand(2, 1, 1, 2).clone()  # -inf: not there
    two[1] = 0  # the first frame fits twice as well: e^ln 2 against e^0
    held = torch.tensor([[[[3.0, 6.0]]], [[[0.0, 9.0]]]])
    sure = scores.clone()
    sure[1] += 90
    return (
        Case(
            (two, held, 1),
            "window 1, two frames, of which the first fits twice as well; values 3 6 and 0 9",
            expected=(torch.tensor([[[2.0, 7.0]]]),),
        ),
        Case((scores[:1], values[:1], 3), "one frame, window 3"),
        Case((scores, values, 3), "three frames, window 3"),
        Case((sure, values, 3), "three frames, of which one fits far better: nothing may come from the others"),
        Case((2 * sure, values, 3), "scores of 180"),
        Case(
            (scores, values, 3),
            "the gradient: to the values",
            use=lambda f, s, v, w: f(s.detach(), v, w),
            gradient=True,
        ),
    )


_EACH = (
    "Each frame had a softmax of its own, so each frame gets the same say, even one in which the place cannot be seen. "
    "Let all places of all frames compete: one softmax over S · window² scores."
)
_READ_IDEAS = (
    Misconception(
        _padded_with_nan, "The values were padded with NaN. Their weight is 0, and 0 · NaN is NaN: pad them with 0."
    ),
    Misconception(
        lambda s, v, w: _mixed(s.softmax(dim=1), v, w) / len(s), f"{_EACH} (The answers were then averaged.)"
    ),
    Misconception(lambda s, v, w: _mixed(s.softmax(dim=1), v, w), f"{_EACH} (The answers were then summed.)"),
    Misconception(
        lambda s, v, w: _mixed(s.softmax(dim=0).nan_to_num(0), v, w),
        "The softmax ran over the frames alone: each place of the window then has weight 1 in all. Over frames AND "
        "places.",
    ),
    Misconception(
        lambda s, v, w: torch.einsum("srhw,svhw->vhw", _joint(s), v),
        "All weights went to the value at the query's own place. The weight for (dy, dx) belongs to the value at "
        "(y + dy, x + dx).",
    ),
    Misconception(
        lambda s, v, w: _mixed(_joint(s), v, w, shift=-1),
        "The values were shifted the other way: the weight for (dy, dx) belongs to the value at (y + dy, x + dx).",
    ),
    Misconception(
        _naive, "exp(180) is infinite, and infinite over infinite is NaN. `softmax` takes off the largest score first."
    ),
    Misconception(_hardest, "Only the best place answers. All do, by their softmax: a hard choice has no gradient."),
    Misconception(
        lambda s, v, w: _mixed(_joint(s), v, w) / len(s),
        "Divided by the number of frames: the weights already sum to 1.",
    ),
)


def _why_not_read(case: Case, got: Any, expected: Tensor) -> str | None:
    if isinstance(got, Tensor) and got.shape == expected.shape and got.isnan().any():
        if cause := first_fault(_READ_IDEAS[:1])(case, got, expected):
            return cause
        if case.fresh_inputs()[0].isinf().any():
            return "-inf times 0, or a softmax over nothing but -inf, is NaN: take the softmax over all places at once."
    return first_fault(_READ_IDEAS)(case, got, expected)


READ_WINDOW = Exercise(
    name="read_window",
    reference=read_window,
    cases=_read_cases,
    misconceptions=_READ_IDEAS,
    diagnose=_why_not_read,
)
