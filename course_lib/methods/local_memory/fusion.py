"""Fusing what the current frame says with what the memory says, place by place and channel by channel.

Source: M. Paul (2023), section 4.3.4, equation (4.6) and figure 4.3. Unusual: the two gates are independent, so they do
not sum to one: a place may take both sides, or neither. Layers follow the public release, whose batch norm adds 1e-3
to the variance.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.propagation.erfnet import NORM_EPS


class InputNorm(nn.Module):
    """Batch norm, dropout of whole channels and ReLU, for each of the two sides."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.memory = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, query: Tensor, readout: Tensor) -> tuple[Tensor, Tensor]:
        return F.relu(self.dropout(self.query(query))), F.relu(self.dropout(self.memory(readout)))


class GatedFusion(nn.Module):
    """(4.6): gate · embedding of the query value + gate · embedding of the readout; the default.

    channels   of both inputs
    outputs    of the result, the width of the segmenter's features
    dropout    of the inputs in training
    normalise  False leaves the inputs as they are
    one_gate   True opens both sides by the same gate
    squash     what makes a gate of its scores; the published one is the sigmoid

    Built in lesson 07.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        dropout: float = 0.3,
        normalise: bool = True,
        one_gate: bool = False,
        squash: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.inputs = InputNorm(channels, dropout) if normalise else None
        self.embed_query = nn.Conv2d(channels, outputs, 3, padding=1)
        self.embed_memory = nn.Conv2d(channels, outputs, 3, padding=1)
        self.gate_query = nn.Conv2d(2 * channels, outputs, 3, padding=1)
        self.gate_memory = None if one_gate else nn.Conv2d(2 * channels, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS)
        self.squash = squash

    def gates(
        self, query: Float[Tensor, "b v h w"], readout: Float[Tensor, "b v h w"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d h w"]]:
        """How far each side is let through, of the query value and of the readout as the memory gave it."""
        return self._gates(*self._prepared(query, readout))

    def forward(self, query: Float[Tensor, "b v h w"], readout: Float[Tensor, "b v h w"]) -> Float[Tensor, "b d h w"]:
        query, readout = self._prepared(query, readout)
        open_query, open_memory = self._gates(query, readout)
        return F.relu(self.norm(self.embed_query(query) * open_query + self.embed_memory(readout) * open_memory))

    def _prepared(self, query: Tensor, readout: Tensor) -> tuple[Tensor, Tensor]:
        return (query, readout) if self.inputs is None else self.inputs(query, readout)

    def _gates(self, query: Tensor, readout: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([query, readout], dim=1)
        first = self.squash(self.gate_query(both))
        return first, first if self.gate_memory is None else self.squash(self.gate_memory(both))


class ConcatFusion(nn.Module):
    """Both sides beside each other, the comparison of table 4.3: 2 · channels, and the decoder must choose."""

    def __init__(self, channels: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.inputs = InputNorm(channels, dropout)

    def forward(self, query: Float[Tensor, "b v h w"], readout: Float[Tensor, "b v h w"]) -> Float[Tensor, "b d h w"]:
        return torch.cat(self.inputs(query, readout), dim=1)


class BottleneckFusion(nn.Module):
    """Gates from few channels, for wide features that are values themselves; the embeddings are the identity.

    Both sides go through the same first convolution, as in the release.
    """

    def __init__(self, channels: int, width: int = 256) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, width, 1)
        self.squeeze_norm = nn.BatchNorm2d(width, eps=NORM_EPS)
        self.gate_query = nn.Conv2d(width, channels, 1)
        self.gate_memory = nn.Conv2d(width, channels, 1)
        self.norm = nn.BatchNorm2d(channels, eps=NORM_EPS)

    def gates(
        self, query: Float[Tensor, "b d h w"], readout: Float[Tensor, "b d h w"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d h w"]]:
        """How far each side is let through."""
        both = F.relu(self.squeeze_norm(self.squeeze(query) + self.squeeze(readout)))
        return self.gate_query(both).sigmoid(), self.gate_memory(both).sigmoid()

    def forward(self, query: Float[Tensor, "b d h w"], readout: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        open_query, open_memory = self.gates(query, readout)
        return F.relu(self.norm(query * open_query + readout * open_memory))
