"""Exercises of lesson 07: local_scores, attended_offset, read_window, gated_fusion, memory_bytes, memory_effect.

Here are those about what surrounds the attention: gates, bytes, and which part of a gain is the memory's own. Those
about attention are in `lesson07_attention`. All six names stand above because an exercise is looked for only where it
is mentioned.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.checks.lesson07_attention import ATTENDED_OFFSET, LOCAL_SCORES, READ_WINDOW
from course_lib.lessons.exercise import Case, Exercise, Misconception

# -- whom to believe --------------------------------------------------------------------------------------------------

Layer = Callable[[Tensor], Tensor]


def gated_fusion(
    query: Tensor, readout: Tensor, gate_query: Layer, gate_memory: Layer, embed_query: Layer, embed_memory: Layer
) -> Tensor:
    both = torch.cat([query, readout], dim=1)
    return gate_query(both).sigmoid() * embed_query(query) + gate_memory(both).sigmoid() * embed_memory(readout)


def _fused(
    gates: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], order: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Callable[..., Tensor]:
    """The fusion with gates made otherwise of their scores, and from another input."""

    def wrong(q: Tensor, m: Tensor, a_q: Layer, a_m: Layer, e_q: Layer, e_m: Layer) -> Tensor:
        both = torch.cat([q, m], dim=1) if order is None else order(q, m)
        open_query, open_memory = gates(a_q(both), a_m(both))
        return open_query * e_q(q) + open_memory * e_m(m)

    return wrong


def _softmax(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    share = (first - second).sigmoid()
    return share, 1 - share


def _swapped_values(q: Tensor, m: Tensor, a_q: Layer, a_m: Layer, e_q: Layer, e_m: Layer) -> Tensor:
    both = torch.cat([q, m], dim=1)
    return a_q(both).sigmoid() * e_q(m) + a_m(both).sigmoid() * e_m(q)


def _no_embedding(q: Tensor, m: Tensor, a_q: Layer, a_m: Layer, e_q: Layer, e_m: Layer) -> Tensor:
    both = torch.cat([q, m], dim=1)
    return a_q(both).sigmoid() * q + a_m(both).sigmoid() * m


def _side_by_side(q: Tensor, m: Tensor, a_q: Layer, a_m: Layer, e_q: Layer, e_m: Layer) -> Tensor:
    both = torch.cat([q, m], dim=1)
    return torch.cat([a_q(both).sigmoid() * e_q(q), a_m(both).sigmoid() * e_m(m)], dim=1)


def _layers(channels: int, seed: int) -> tuple[Layer, Layer, Layer, Layer]:
    """1x1 layers for the two gates (of both inputs) and the two embeddings (of one)."""
    generator = torch.Generator().manual_seed(seed)

    def layer(inputs: int) -> Layer:
        weight = torch.randn(channels, inputs, 1, 1, generator=generator)
        bias = torch.randn(channels, generator=generator)
        return lambda x: F.conv2d(x, weight, bias)

    return layer(2 * channels), layer(2 * channels), layer(channels), layer(channels)


def _fixed(score: float) -> Layer:
    """A gate with one score everywhere."""
    return lambda both: torch.full_like(both[:, : both.shape[1] // 2], score)


def _fusion_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    query, readout = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    gate_query, gate_memory, embed_query, embed_memory = _layers(3, 1)
    ones, plain = torch.ones(1, 1, 1, 2), lambda x: x
    return (
        Case(
            (ones, 10 * ones, _fixed(0.0), _fixed(0.0), plain, plain),
            "query 1, memory 10, both gates half open",
            expected=(5.5 * ones,),
        ),
        Case(
            (ones, 10 * ones, _fixed(40.0), _fixed(40.0), plain, plain),
            "query 1, memory 10, both gates open",
            expected=(11 * ones,),
        ),
        Case(
            (ones, 10 * ones, _fixed(40.0), _fixed(-torch.inf), plain, plain),
            "query 1, memory 10, the memory's gate shut",
            expected=(ones,),
        ),
        Case((query, readout, *_layers(3, 1)), "two places of maps with 3 channels, random layers"),
        Case(
            (query, readout, gate_query, gate_memory, embed_query, embed_memory),
            "the gradient: to query and memory",
            gradient=True,
        ),
    )


_FUSION_IDEAS = (
    Misconception(
        _fused(_softmax),
        "The two gates share one unit (a softmax). They are independent: a place may take both, or neither.",
    ),
    Misconception(
        _fused(lambda a, b: (a.sigmoid(), 1 - a.sigmoid())),
        "The memory's gate is one minus the query's. It has scores of its own, from gate_memory.",
    ),
    Misconception(
        _fused(lambda a, b: (b.sigmoid(), a.sigmoid())),
        "The two gates are exchanged: gate_query opens the query's side.",
    ),
    Misconception(
        _fused(lambda a, b: (a, b)), "The scores of the gates were used as they are. A sigmoid puts them in 0 … 1."
    ),
    Misconception(
        _fused(lambda a, b: (a.sigmoid(), b.sigmoid()), lambda q, m: torch.cat([m, q], dim=1)),
        "Query and memory went into the gates in the other order: torch.cat([query, readout], dim=1).",
    ),
    Misconception(
        _fused(lambda a, b: (torch.ones_like(a), b.sigmoid())),
        "Only the memory has a gate. At some places the past is better than the present: the query has one, too.",
    ),
    Misconception(_swapped_values, "Each embedding got the other input: embed_query looks at the query."),
    Misconception(
        _no_embedding, "The embeddings are missing: gates open embed_query(query) and embed_memory(readout)."
    ),
    Misconception(_side_by_side, "The two sides stand beside each other. They are added, so that the width stays."),
    Misconception(
        _fused(lambda a, b: (a.tanh(), b.tanh())), "tanh lets a gate be negative. A sigmoid is between shut and open."
    ),
)

GATED_FUSION = Exercise(
    name="gated_fusion",
    reference=gated_fusion,
    cases=_fusion_cases,
    misconceptions=_FUSION_IDEAS,
    diagnose=first_fault(_FUSION_IDEAS),
)


# -- what is kept -----------------------------------------------------------------------------------------------------


def memory_bytes(height: int, width: int, stride: int, frames: int, key_channels: int, value_channels: int) -> int:
    return frames * math.ceil(height / stride) * math.ceil(width / stride) * (key_channels + value_channels) * 4


def _bytes(count: Callable[[int, int, int, int, int, int], float]) -> Callable[..., float]:
    """Another number of numbers, 4 bytes each, from h, w in cells and the other arguments."""

    def wrong(height: int, width: int, stride: int, frames: int, key_channels: int, value_channels: int) -> float:
        h, w = math.ceil(height / stride), math.ceil(width / stride)
        return 4 * count(h, w, stride, frames, key_channels, value_channels)

    return wrong


_BYTE_IDEAS = (
    Misconception(
        _bytes(lambda h, w, s, n, k, v: n * h * s * w * s * (k + v)),
        "A key and a value per PIXEL. There is one of each per cell, stride x stride pixels.",
    ),
    Misconception(
        _bytes(lambda h, w, s, n, k, v: n * h * w * s * (k + v)),
        "The stride divides both sides: a cell is stride x stride pixels.",
    ),
    Misconception(_bytes(lambda h, w, s, n, k, v: n * h * w * v), "The keys are kept, too."),
    Misconception(_bytes(lambda h, w, s, n, k, v: n * h * w * k), "The values are kept, too: they are what is read."),
    Misconception(
        _bytes(lambda h, w, s, n, k, v: h * w * (k + v)), "That is one frame. Every stored frame has its own."
    ),
    Misconception(
        _bytes(lambda h, w, s, n, k, v: (n + 1) * h * w * (k + v)),
        "The query frame was counted: it is not in the memory while it asks.",
    ),
    Misconception(
        _bytes(lambda h, w, s, n, k, v: n * h * w * k * v), "Key and value lie beside each other: their widths add."
    ),
    Misconception(
        lambda height, width, stride, frames, key_channels, value_channels: (
            frames * (height // stride) * (width // stride) * (key_channels + value_channels) * 4
        ),
        "A side that the stride does not divide is padded to whole cells: round up, not down.",
    ),
    Misconception(_bytes(lambda h, w, s, n, k, v: n * h * w * (k + v) / 4), "A float32 number has 4 bytes."),
    Misconception(_bytes(lambda h, w, s, n, k, v: 8 * n * h * w * (k + v)), "That is in bits. A byte has eight."),
)

MEMORY_BYTES = Exercise(
    name="memory_bytes",
    reference=memory_bytes,
    cases=(
        Case((16, 24, 8, 1, 2, 3), "frames of 16 x 24, stride 8, one frame, keys 2, values 3", expected=(120,)),
        Case((512, 1024, 8, 4, 16, 64), "the published size: 512 x 1024, stride 8, four frames, keys 16, values 64"),
        Case((128, 256, 16, 4, 16, 64), "frames of 128 x 256, stride 16"),
        Case((360, 480, 16, 3, 16, 64), "CamVid, 360 x 480: 22.5 cells high"),
        Case((1024, 2048, 8, 3, 128, 2048), "PSPNet: keys of 128 channels, values of 2048"),
    ),
    misconceptions=_BYTE_IDEAS,
    diagnose=first_fault(_BYTE_IDEAS),
)


# -- what is the memory's own? ----------------------------------------------------------------------------------------

Runs = Mapping[str, Sequence[float]]


def memory_effect(runs: Runs) -> tuple[float, float]:
    return _effect("past", "own frame")(runs)


def _effect(
    first: str, second: str, spread: Callable[[np.ndarray, np.ndarray], float] | None = None
) -> Callable[[Runs], tuple[float, float]]:
    """Mean of first minus second over seeds, and its spread; by default that of paired differences."""

    def effect(runs: Runs) -> tuple[float, float]:
        one, other = np.asarray(runs[first], dtype=float), np.asarray(runs[second], dtype=float)
        found = (one - other).std(ddof=1) if spread is None else spread(one, other)
        return float((one - other).mean()), float(found)

    return effect


_RUNS = {
    "single frames": [70.0, 64.0, 67.0],
    "trained longer": [72.0, 67.0, 71.0],
    "own frame": [74.0, 69.5, 72.0],
    "past": [75.0, 70.0, 73.5],
}

_EFFECT_IDEAS = (
    Misconception(
        _effect("past", "single frames"),
        "This is the whole gain over the network for single frames, the number that a table shows. It holds three "
        "things: longer training, more layers, and the past. Subtract the run that has the first two.",
    ),
    Misconception(
        _effect("past", "trained longer"),
        "The network that was trained longer has fewer layers than yours. This difference is layers and past together: "
        "which run has the same layers and sees no other frame?",
    ),
    Misconception(
        _effect("own frame", "single frames"),
        "That is what layers and training give without any past. The memory's own part is what comes on top.",
    ),
    Misconception(_effect("own frame", "past"), "The sign: the run with the past comes first."),
    Misconception(
        _effect("past", "own frame", lambda a, b: math.sqrt(a.var(ddof=1) + b.var(ddof=1))),
        "The spreads of the two runs were added. Runs of one seed share their luck: take the difference seed by seed, "
        "and the spread of those differences.",
    ),
    Misconception(
        _effect("past", "own frame", lambda a, b: a.std(ddof=1)),
        "This is the spread of the scores. Asked for is the spread of the differences, seed by seed.",
    ),
    Misconception(
        _effect("past", "own frame", lambda a, b: (a - b).std()),
        "NumPy divides by n. Three differences around their own mean: divide by n - 1 (ddof=1).",
    ),
    Misconception(
        _effect("past", "own frame", lambda a, b: (a - b).std(ddof=1) / math.sqrt(len(a))),
        "That is the standard error of the mean. Asked for is the standard deviation.",
    ),
    Misconception(
        _effect("past", "own frame", lambda a, b: (a - b).var(ddof=1)), "That is the variance: take its square root."
    ),
)


def _why_not_effect(case: Case, got: Any, expected: tuple[float, float]) -> str | None:
    if isinstance(got, int | float):
        return "Two numbers are asked for: the mean of the differences and their standard deviation."
    return first_fault(_EFFECT_IDEAS)(case, got, expected)


MEMORY_EFFECT = Exercise(
    name="memory_effect",
    reference=memory_effect,
    cases=(
        Case((_RUNS,), "three seeds of four runs", expected=((1.0, 0.5),)),
        Case(({name: values[::-1] for name, values in _RUNS.items()},), "the same seeds in another order"),
        Case(
            (
                {
                    "past": [60.0, 80.0, 70.0, 65.0],
                    "own frame": [59.5, 79.1, 70.2, 64.2],
                    "trained longer": [58.0, 78.0, 69.5, 64.0],
                    "single frames": [55.0, 77.0, 66.0, 60.0],
                },
            ),
            "four seeds that differ by 20 points among themselves",
        ),
    ),
    misconceptions=_EFFECT_IDEAS,
    diagnose=_why_not_effect,
)

EXERCISES = [LOCAL_SCORES, ATTENDED_OFFSET, READ_WINDOW, GATED_FUSION, MEMORY_BYTES, MEMORY_EFFECT]
