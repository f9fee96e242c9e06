"""Exercise of lesson 04 about the memory: one step of a ConvLSTM.

Four gates come out of one convolution in a fixed order, and the new cell state is needed twice, so nearly every mistake
is a gate in another's place or the old state where the new one belongs. `lesson04` lists this exercise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.nn.conv_lstm import lstm_update

Gates = Callable[[Tensor], Tensor]
State = tuple[Tensor, Tensor]


def conv_lstm_step(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
    return lstm_update(gates(torch.cat([x, hidden], dim=1)), cell)


def _split(x: Tensor, hidden: Tensor, gates: Gates) -> tuple[Tensor, ...]:
    return gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)


def _in_order(order: str) -> Callable[..., State]:
    """A step that takes the four groups of channels for the gates named, in this order."""

    def step(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
        named = dict(zip(order, _split(x, hidden, gates)))
        return lstm_update(torch.cat([named[gate] for gate in "ifog"], dim=1), cell)

    return step


def _turned(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
    return lstm_update(gates(torch.cat([hidden, x], dim=1)), cell)


def _old_cell_out(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
    o = _split(x, hidden, gates)[2]
    return o.sigmoid() * cell.tanh(), conv_lstm_step(x, hidden, cell, gates)[1]


def _no_squash(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
    new = conv_lstm_step(x, hidden, cell, gates)[1]
    return _split(x, hidden, gates)[2].sigmoid() * new, new


def _with_cell(new_cell: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., State]:
    """A step whose cell state is something else, of i, f, g before their nonlinearity and the old cell."""

    def step(x: Tensor, hidden: Tensor, cell: Tensor, gates: Gates) -> State:
        i, f, o, g = _split(x, hidden, gates)
        new = new_cell(i, f, g, cell)
        return o.sigmoid() * new.tanh(), new

    return step


def _constant(*biases: float) -> nn.Conv2d:
    """Gates that see nothing: the biases of i, f, o, g for one channel of memory and one of input."""
    conv = nn.Conv2d(2, 4, 1)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.tensor(biases))
    return conv


def _random(inputs: int, channels: int, kernel: int, seed: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs + channels, 4 * channels, kernel, padding=kernel // 2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator))
    return conv


def _cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)

    def maps(channels: int, size: int = 5) -> Tensor:
        return torch.randn(2, channels, size, size + 1, generator=generator)

    one = torch.ones(1, 1, 1, 1)
    half = torch.tensor(0.5)
    worked = half * 0.8 + half * half.tanh()  # c = f · 0.8 + i · tanh(0.5), f = i = sigmoid(0)
    return (
        Case(
            (one, one, 0.8 * one, _constant(0, 0, 0, 0.5)),
            "one cell: all three gates half open, candidate 0.5 before its tanh, old cell state 0.8",
            expected=((half * worked.tanh() * one, worked * one),),
        ),
        Case(
            (one, one, 3 * one, _constant(-30, 30, 30, 2)),
            "one cell: input gate shut, forget and output gate open, old cell state 3",
            expected=((torch.tensor(3.0).tanh() * one, 3 * one),),
        ),
        Case((maps(3), maps(2), maps(2), _random(3, 2, 3, 1)), "3 channels of features and 2 of memory, 3 x 3 kernel"),
        Case((maps(2), maps(4), 3 * maps(4), _random(2, 4, 1, 2)), "2 channels of features and 4 of memory, 1 x 1"),
        Case(
            (maps(3), maps(2), maps(2), _random(3, 2, 3, 1)),
            "the gradient: to features, hidden state and cell state",
            gradient=True,
        ),
    )


_IDEAS = (
    Misconception(_turned, "Hidden state and features are the wrong way round: the convolution takes [x; hidden]."),
    Misconception(
        lambda x, h, c, gates: conv_lstm_step(x, h, c, gates)[::-1],
        "The two are the wrong way round: hidden state first, then cell state.",
    ),
    Misconception(
        _in_order("fiog"),
        "Input and forget gate are exchanged: the first group of channels is i, the second f. The forget gate "
        "multiplies the old cell state.",
    ),
    Misconception(
        _in_order("ifgo"),
        "The last two groups are exchanged. Here the order is i, f, o, g: the candidate comes last.",
    ),
    Misconception(_in_order("iofg"), "f and o are exchanged: the order is i, f, o, g."),
    Misconception(
        _with_cell(lambda i, f, g, c: (1 - f.sigmoid()) * c + i.sigmoid() * g.tanh()),
        "The forget gate is the wrong way round: in spite of its name, it keeps where it is 1.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh()),
        "The input gate is not used: 1 - f stands in its place, as in a GRU. An LSTM can keep and add at once.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: f.sigmoid() * c + i.sigmoid() * g.sigmoid()),
        "The candidate went through a sigmoid. What is added to the memory must be able to be negative: tanh.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: f.sigmoid() * c + i.sigmoid() * g),
        "The candidate has no nonlinearity: it goes through tanh.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: f * c + i * g.tanh()),
        "The gates are raw numbers: they go through a sigmoid, so that each lies between shut (0) and open (1).",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: f.sigmoid() * c + g.tanh()),
        "The input gate is missing: it decides how much of the candidate is written.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: c + i.sigmoid() * g.tanh()),
        "The forget gate is missing: nothing is ever forgotten.",
    ),
    Misconception(
        _with_cell(lambda i, f, g, c: i.sigmoid() * g.tanh()),
        "The old cell state is not used: this network has no memory.",
    ),
    Misconception(
        _old_cell_out,
        "The hidden state shows the old cell state. Update the cell first, then let the output gate show it.",
    ),
    Misconception(
        _no_squash,
        "The cell state is shown as it is. It goes through tanh first: h = o · tanh(c), which stays below 1.",
    ),
    Misconception(
        lambda x, h, c, gates: tuple(entry.detach() for entry in conv_lstm_step(x, h, c, gates)),
        "The values are right, but the state was detached: no gradient goes back in time, and nothing learns to "
        "remember.",
    ),
    Misconception(
        lambda x, h, c, gates: conv_lstm_step(x, h.detach(), c.detach(), gates),
        "The values are right, but the old state was detached: no gradient goes back in time, and nothing learns to "
        "remember.",
    ),
)


def _why_not_step(case: Case, got: Any, expected: State) -> str | None:
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "A ConvLSTM has two states: return hidden state and cell state."
    return first_fault(_IDEAS)(case, got, expected)


CONV_LSTM_STEP = Exercise(
    name="conv_lstm_step", reference=conv_lstm_step, cases=_cases, misconceptions=_IDEAS, diagnose=_why_not_step
)
