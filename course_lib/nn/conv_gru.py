"""The convolutional gated recurrent unit: one map of memory, and one gate that says how much of it to rewrite.

After Ballas et al. (ICLR 2016), in the form of the flow refiner of Teed and Deng (RAFT, ECCV 2020), which F. Azimi
(2024), section 6.5, joins to the segmenter. Unusual: the thesis uses it in that refiner only; as a memory of the target
it is an addition of this course.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.nn.recurrent_cell import CellState, RecurrentCell


class ConvGRU(RecurrentCell):
    """State (h,). The update gate z says what to replace, the reset gate r what of h the candidate q may see.

        z, r = sigmoid(W * [h; x])      q = tanh(W_q * [r h; x])      h <- (1 - z) h + z q

    From a start within [-1, 1], h stays there: each step is a weighted average of h and q.
    """

    maps = 1

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__(in_channels, channels, kernel)
        self.gates = self.conv(channels + in_channels, 2 * channels)  # z, r
        self.candidate = self.conv(channels + in_channels, channels)

    def start(self, hidden: Float[Tensor, "b c h w"], cell: Float[Tensor, "b c h w"]) -> CellState:
        """The hidden state alone: there is no cell state, so `cell` is not used."""
        return (hidden,)

    def update(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        (hidden,) = state
        precision = self.gates.weight.dtype
        gates = self.gates(torch.cat([hidden, x], dim=1)).to(precision)  # [B, 2C, h, w]
        update, reset = gates.sigmoid().chunk(2, dim=1)  # each [B, C, h, w]
        candidate = self.candidate(torch.cat([reset * hidden, x], dim=1)).to(precision).tanh()
        return (hidden + update * (candidate - hidden),)
