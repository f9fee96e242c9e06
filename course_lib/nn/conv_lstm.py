"""The convolutional LSTM: an LSTM whose gates are convolutions, so that the memory is a map and moves with the image.

F. Azimi (2024), equation 4.11 (after Shi et al., NeurIPS 2015). Unusual: peephole weights are one number per channel
instead of one per position, so that a trained cell runs at any image size; and there is a second, non-negative variant,
whose state may grow without bound.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.recurrent_cell import CellState, RecurrentCell


class ConvLSTM(RecurrentCell):
    """State (h, c). One convolution over [x_t; h_{t-1}] gives input, forget and output gates i, f, o and candidate g.

        c_t = f * c_{t-1} + i * g        h_t = o * squash(c_t)

    variant "tanh"  g = tanh(.), squash = tanh: h lies in (-1, 1)
    variant "relu"  g = sigmoid(.), squash = ReLU: from non-negative states on, h and c stay non-negative, and c may
                    grow by up to one a step
    `peepholes` lets i and f also see c_{t-1}, and o see c_t, by one weight per channel; these start at zero.
    `forget_bias` is where the forget gate's bias starts; 1 keeps most of a memory (sigmoid(1) = 0.73) before training.
    Raises `InputError` for another variant.
    """

    maps = 2

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        variant: Literal["tanh", "relu"] = "tanh",
        peepholes: bool = False,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(in_channels, channels, kernel)
        if variant not in ("tanh", "relu"):
            raise InputError(f"a ConvLSTM's variant is 'tanh' or 'relu', got {variant!r}")
        self.variant = variant
        self.gates = self.conv(in_channels + channels, 4 * channels)  # i, f, o, g
        open_forget_gate(self.gates, channels, forget_bias)
        # for i, f and o; as (C, 1, 1) they hold at any h, w
        self.peepholes = nn.Parameter(torch.zeros(3, channels, 1, 1)) if peepholes else None

    def start(self, hidden: Float[Tensor, "b c h w"], cell: Float[Tensor, "b c h w"]) -> CellState:
        return hidden, cell

    def update(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        hidden, cell = state
        gates = self.gates(torch.cat([x, hidden], dim=1)).to(self.gates.weight.dtype)  # [B, 4C, h, w]
        return lstm_update(gates, cell, self.variant, self.peepholes)


def lstm_update(
    gates: Float[Tensor, "b c4 h w"],
    cell: Float[Tensor, "b c h w"],
    variant: Literal["tanh", "relu"] = "tanh",
    peepholes: Float[Tensor, "3 c 1 1"] | None = None,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """h_t and c_t from the raw gates [B, 4C, h, w] (i, f, o, g before their nonlinearity) and c_{t-1}."""
    i, f, o, g = gates.chunk(4, dim=1)  # each [B, C, h, w]
    if peepholes is not None:
        i = i + peepholes[0] * cell
        f = f + peepholes[1] * cell
    candidate = g.tanh() if variant == "tanh" else g.sigmoid()
    cell = f.sigmoid() * cell + i.sigmoid() * candidate
    if peepholes is not None:
        o = o + peepholes[2] * cell  # the new cell: the output gate comes last in equation 4.11
    return o.sigmoid() * (cell.tanh() if variant == "tanh" else cell.relu()), cell


def open_forget_gate(gates: nn.Conv2d, channels: int, bias: float) -> None:
    """Set the bias of the forget gate, the second of the four groups of `channels` that `gates` puts out."""
    assert gates.bias is not None
    with torch.no_grad():
        gates.bias[channels : 2 * channels] = bias
