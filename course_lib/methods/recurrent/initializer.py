"""The network that writes the first memory: frame 0 and its mask in, first states of all cells out.

F. Azimi (2024), sections 6.3 and 6.3.2, equation 6.1. An encoder of its own sees colours and mask; two 1x1 convolutions
give h_0 and c_0, and for finer cells features are doubled in size, convolved, and joined with the level there. Unusual:
what comes out lies where the cell's later states lie, so h_0 goes through tanh, or both maps through ReLU for the
non-negative ConvLSTM.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import xavier
from course_lib.methods.recurrent.masked_encoder import MaskedEncoder
from course_lib.methods.recurrent.memory import Memory, States
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.recurrent_cell import CellState, RecurrentCell


class FirstState(nn.Module):
    """Features [B, C, h, w] to the first state of one cell, by a 1x1 convolution for each map that it starts from."""

    def __init__(self, inputs: int, cell: RecurrentCell) -> None:
        super().__init__()
        hidden, inner = torch.empty(0), torch.empty(0)
        both = any(entry is inner for entry in cell.start(hidden, inner))  # a GRU, say, has no cell state
        self.hidden = xavier(nn.Conv2d(inputs, cell.channels, 1))
        self.cell = xavier(nn.Conv2d(inputs, cell.channels, 1)) if both else None
        self.positive = isinstance(cell, ConvLSTM) and cell.variant == "relu"

    def forward(self, x: Float[Tensor, "b c h w"], cell: RecurrentCell) -> CellState:
        hidden = self.hidden(x)
        inner = hidden if self.cell is None else self.cell(x)
        if self.positive:
            return cell.start(F.relu(hidden), F.relu(inner))
        return cell.start(torch.tanh(hidden), inner)


class Finer(nn.Module):
    """Features twice as fine: bilinear, 3x3 convolution, joined with the encoder's level there by a 1x1 convolution."""

    def __init__(self, inputs: int, level: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = xavier(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.join = xavier(nn.Conv2d(outputs + level, outputs, 1))

    def forward(self, x: Float[Tensor, "b c h w"], level: Float[Tensor, "b c1 h2 w2"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = F.relu(self.conv(F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)))
        return F.relu(self.join(torch.cat([x, level], dim=1)))


class Initializer(nn.Module):
    """First states of all cells of `memory`, from a guided encoder of its own.

    Raises `InputError` for an encoder that takes no mask or has other strides than the memory, and for no cells.
    """

    def __init__(self, encoder: MaskedEncoder, memory: Memory) -> None:
        super().__init__()
        strides = memory.strides
        if not encoder.guided:
            raise InputError("an initializer must see the mask: build its encoder with guided=True")
        if not strides or strides[0] != encoder.stride or not set(strides) <= set(encoder.channels):
            raise InputError(
                f"cells at strides {strides} cannot start from an encoder with levels {list(encoder.channels)}: the "
                "first must be at its deepest stride, the others at its levels"
            )
        self.encoder = encoder
        self.finer = nn.ModuleDict()
        self.starts = nn.ModuleDict()
        width = encoder.deep
        for coarse, stride in zip([None, *strides], strides):
            cell = memory.cell(stride)
            if coarse is not None:
                self.finer[str(stride)] = Finer(width, encoder.channels[stride], cell.channels, coarse // stride)
                width = cell.channels
            self.starts[str(stride)] = FirstState(width, cell)

    def forward(self, frame: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], memory: Memory) -> States:
        """States by stride of `memory`, the one this was built for."""
        features = self.encoder(frame, mask)
        x, states = features.deep, {}
        for stride in memory.strides:
            if str(stride) in self.finer:
                x = self.finer[str(stride)](x, features.levels[stride])
            states[stride] = self.starts[str(stride)](x, memory.cell(stride))
        return states
