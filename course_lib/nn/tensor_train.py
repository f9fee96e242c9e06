"""The convolutional tensor-train LSTM: its gates see the last few hidden states, not only the last one.

F. Azimi (2024), section 6.5, table 6.10 (after Su et al., NeurIPS 2020): one convolution over several past states is
large, so it is factored into a train of small cores of `rank` channels, which the states enter one after the other.
Unusual: the oldest states enter first and so pass the most convolutions, which lets them look the furthest around;
and the cell has fewer weights than a ConvLSTM, since h_{t-1} reaches the gates only through `rank` channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.conv_lstm import lstm_update, open_forget_gate
from course_lib.nn.recurrent_cell import CellState, RecurrentCell


class ConvTTLSTM(RecurrentCell):
    """State (h_{t-1}, c_{t-1}, h_{t-2}, ..., h_{t-steps}). The summary w_N takes the place of h_{t-1} in the gates.

    The last `steps` hidden states are read by N = `order` overlapping windows of steps - N + 1 states each, n = 1 with
    the oldest; P_n gives `rank` channels for a window, A_n carries the train from one window to the next:

        v_n = P_n * [states of window n]        w_1 = v_1        w_n = v_n + A_{n-1} * w_{n-1}

    All convolutions are of size `kernel`. The LSTM update is that of `ConvLSTM` (tanh, no peepholes, forget bias 1).
    Raises `InputError` for a rank or an order below 1, and for fewer steps than the order needs.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 5, order: int = 3, steps: int = 3, rank: int = 8
    ) -> None:
        super().__init__(in_channels, channels, kernel)
        if order < 1 or rank < 1 or steps < order:
            raise InputError(
                f"a tensor-train cell needs order >= 1, rank >= 1 and steps >= order (each window holds "
                f"steps - order + 1 states), got {order=}, {rank=}, {steps=}"
            )
        self.order = order
        self.steps = steps
        self.rank = rank
        self.maps = steps + 1
        self.window = steps - order + 1
        self.summaries = nn.ModuleList(self.conv(self.window * channels, rank) for _ in range(order))  # P_1 ... P_N
        self.cores = nn.ModuleList(self.conv(rank, rank) for _ in range(order - 1))  # A_1 ... A_{N-1}
        self.gates = self.conv(in_channels + rank, 4 * channels)  # i, f, o, g
        open_forget_gate(self.gates, channels, 1.0)

    def start(self, hidden: Float[Tensor, "b c h w"], cell: Float[Tensor, "b c h w"]) -> CellState:
        """As if every earlier frame had left the same hidden state."""
        return hidden, cell, *[hidden] * (self.steps - 1)

    def update(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        hidden, cell, *older = state
        summary = self.train_of([*reversed(older), hidden])
        gates = self.gates(torch.cat([x, summary], dim=1)).to(self.gates.weight.dtype)  # [B, 4C, h, w]
        output, cell = lstm_update(gates, cell)
        return output, cell, *[hidden, *older][: self.steps - 1]

    def train_of(self, states: list[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b rank h w"]:
        """w_N of the past hidden states, h_{t-steps} first."""
        # each [B, window * C, h, w]
        windows = [torch.cat(states[n : n + self.window], dim=1) for n in range(self.order)]
        carried = self.summaries[0](windows[0])
        for summary, core, window in zip(self.summaries[1:], self.cores, windows[1:]):
            carried = summary(window) + core(carried)
        return carried
