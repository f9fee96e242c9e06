"""Axial attention: every cell asks its row, then its column, so that two cheap hops reach the whole image.

Source: Ho et al. (2019) and Wang et al., "Axial-DeepLab" (ECCV 2020), named in F. Azimi (2024), section 4.2.6, whose
equation 4.16 is the attention of one line. On h x w cells one hop costs h * w * w scores, both h * w * (h + w), instead
of (h * w)^2. Unusual: positions are offsets between cells, learned for lines of one length and resampled for others.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError

Along = Literal["row", "column"]


class LineAttention(nn.Module):
    """Attention among the cells of each row, or each column, of a feature map: [B, inputs, h, w] to [B, outputs, h, w].

    Cell n answers query cell q of its line with the weight softmax_n((q·k + q·a + k·b) / sqrt(d)), and gives v + c; the
    vectors a, b, c [d] belong to the offset n - q and are the same for all heads and lines.

    heads  divide the outputs; d = outputs / heads
    span   length of the lines that offsets are learned for. On a line of another length the table of offsets is
           stretched, so that an offset means a share of the line

    Raises `InputError` if the heads do not divide the outputs or the span is not positive. Built in lesson 05.
    """

    def __init__(self, inputs: int, outputs: int, heads: int, span: int, along: Along) -> None:
        super().__init__()
        if heads < 1 or outputs % heads:
            raise InputError(f"{outputs} channels cannot be split among {heads} heads")
        if span < 1:
            raise InputError(f"span is the number of cells in a line, at least 1, got {span}")
        if along not in ("row", "column"):
            raise InputError(f"attention runs along a 'row' or a 'column', got {along!r}")
        self.heads, self.along = heads, along
        self.scale = (outputs // heads) ** -0.5
        self.project = nn.Conv2d(inputs, 3 * outputs, 1, bias=False)  # query, key, value
        self.query_offsets = nn.Parameter(torch.empty(outputs // heads, 2 * span - 1))
        self.key_offsets = nn.Parameter(torch.empty(outputs // heads, 2 * span - 1))
        self.value_offsets = nn.Parameter(torch.empty(outputs // heads, 2 * span - 1))
        for table in (self.query_offsets, self.key_offsets, self.value_offsets):
            nn.init.normal_(table, std=0.02)

    def affinity(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b heads lines n q"]:
        """Weight of cell n of a line for query cell q of the same line; sums to 1 over n."""
        query, key, _ = self._projected(x)
        return self._affinity(query, key)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        query, key, value = self._projected(x)
        affinity = self._affinity(query, key)
        offsets = by_offset(self.value_offsets, x.shape[3 if self.along == "row" else 2])  # [d, N, Q]
        y = torch.einsum("bmlnq,bmdln->bmdlq", affinity, value) + torch.einsum("bmlnq,dnq->bmdlq", affinity, offsets)
        return rearrange(y, "b m d h w -> b (m d) h w" if self.along == "row" else "b m d w h -> b (m d) h w")

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, d, lines, cells of a line]."""
        lines = "three b m d h w" if self.along == "row" else "three b m d w h"
        parts = rearrange(self.project(x), f"b (three m d) h w -> {lines}", three=3, m=self.heads)
        return parts[0], parts[1], parts[2]

    def _affinity(self, query: Tensor, key: Tensor) -> Tensor:
        length = query.shape[-1]
        scores = torch.einsum("bmdln,bmdlq->bmlnq", key, query)
        scores = scores + torch.einsum("dnq,bmdlq->bmlnq", by_offset(self.query_offsets, length), query)
        scores = scores + torch.einsum("dnq,bmdln->bmlnq", by_offset(self.key_offsets, length), key)
        return (scores * self.scale).softmax(dim=3)


class AxialAttention(nn.Module):
    """A hop along rows, then one along columns, each added to what it was given: [B, C, h, w] to the same shape.

    span   (rows, columns) of the feature map that offsets are learned for

    Features are normalised before each hop (group norm with one group). Errors as in `LineAttention`.
    """

    def __init__(self, channels: int, heads: int, span: tuple[int, int]) -> None:
        super().__init__()
        self.row_norm = nn.GroupNorm(1, channels)
        self.row = LineAttention(channels, channels, heads, span[1], "row")
        self.column_norm = nn.GroupNorm(1, channels)
        self.column = LineAttention(channels, channels, heads, span[0], "column")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x + self.row(self.row_norm(x))
        return x + self.column(self.column_norm(x))


def by_offset(table: Float[Tensor, "d offsets"], length: int) -> Float[Tensor, "d n q"]:
    """The table's vector of offset n - q, for every two cells n, q of a line of `length` cells.

    The table runs over the offsets -(span - 1) … span - 1. For another length it is resampled linearly; the ends stay
    the ends, and offset 0 stays offset 0.
    """
    span = (table.shape[1] + 1) // 2
    if length == 1:
        table = table[:, span - 1 : span]
    elif length != span:
        table = F.interpolate(table[None], size=2 * length - 1, mode="linear", align_corners=True)[0]
    cells = torch.arange(length, device=table.device)
    return table[:, cells[:, None] - cells + length - 1]  # [d, N, Q]
