"""What a network remembers: recurrent cells at the bottleneck and, for skip-memory, at finer levels of the encoder.

F. Azimi (2024), section 6.3.1: a plain skip connection says what is here, a recurrent one which of these is mine.
Unusual: the bottleneck cell is one of several alike, so S2S, S2S++ and a network without any memory are one class.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder
from course_lib.nn.recurrent_cell import CellState, RecurrentCell

States = dict[int, CellState]  # stride -> state of the cell there


class Memory(nn.Module):
    """Cells by stride. The deepest reads the bottleneck features, any other the encoder's level at its stride.

    encoder  whose features are read
    cells    stride -> cell, with as many inputs as the features there have channels; {} remembers nothing

    `channels` says what comes out: stride -> channels, always with the bottleneck. Raises `InputError` for a cell at a
    stride that the encoder does not have, or of another number of inputs.
    """

    def __init__(self, encoder: MaskedEncoder, cells: Mapping[int, RecurrentCell]) -> None:
        super().__init__()
        self.stride = encoder.stride
        for stride, cell in cells.items():
            wanted = encoder.deep if stride == encoder.stride else encoder.channels.get(stride)
            if wanted is None:
                raise InputError(f"no level at stride {stride} to remember; the encoder has {list(encoder.channels)}")
            if cell.in_channels != wanted:
                raise InputError(f"the cell at stride {stride} takes {cell.in_channels} channels, not {wanted}")
        self.cells = nn.ModuleDict({str(stride): cells[stride] for stride in sorted(cells, reverse=True)})
        self.channels = {encoder.stride: encoder.deep} | {stride: cell.channels for stride, cell in cells.items()}

    def cell(self, stride: int) -> RecurrentCell:
        """The cell at `stride`. Raises KeyError where there is none."""
        cell = self.cells[str(stride)]
        assert isinstance(cell, RecurrentCell)
        return cell

    @property
    def strides(self) -> list[int]:
        """Where there are cells, the deepest first."""
        return [int(stride) for stride in self.cells]

    def inputs(self, features: Features) -> dict[int, Tensor]:
        """What each cell reads of a frame: stride -> [B, C, H/stride, W/stride]."""
        return {s: features.deep if s == self.stride else features.levels[s] for s in self.strides}

    def zeros(self, frame: Float[Tensor, "b 3 h w"], batch: int) -> States:
        """Empty states for `batch` objects in frames of this size."""
        height, width = frame.shape[2:]
        return {s: self.cell(s).zeros(frame.new_empty(batch, 1, height // s, width // s)) for s in self.strides}

    def forward(self, features: Features, states: States) -> tuple[dict[int, Tensor], States]:
        """One step in time. Features of one frame serve any number of objects.

        Returns hidden maps by stride, always with the bottleneck (its features, where no cell remembers), and the new
        states.
        """
        new = {}
        for stride, x in self.inputs(features).items():
            objects = len(states[stride][0])
            new[stride] = self.cell(stride)(x if len(x) == objects else x.expand(objects, -1, -1, -1), states[stride])
        return {self.stride: features.deep} | {stride: state[0] for stride, state in new.items()}, new
