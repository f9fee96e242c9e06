"""Fusions: what is remembered of the target (memory) meets what a reference frame and its mask look like.

Source: F. Azimi (2024), sections 6.4.1, 6.4.2 and 6.5.3, table 6.11. A fusion must reach far, since the target may have
moved, and stress it over the background. Unusual: the first answers with fixed weights learned in training; the cosine
and the attentions compute weights from the very features, and neither source gives their equations, so those are ours.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.axial_attention import AxialAttention
from course_lib.nn.global_convolution import GlobalConvolution

FusionKind = Literal["global convolution", "cosine", "axial attention", "cross attention"]


class Fusion(nn.Module):
    """Base: reference [B, Cr, h, w] and memory [B, Cm, h, w] to [B, out, h, w], not negative (all end in a ReLU).

    Raises `InputError` for other channels than it was built for, and for maps of different sizes. Subclasses write
    `fuse`. Built in lesson 05.
    """

    def __init__(self, reference: int, memory: int, out: int) -> None:
        super().__init__()
        self.reference, self.memory, self.out = reference, memory, out

    def forward(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        fits = reference.ndim == memory.ndim == 4 and reference.shape[2:] == memory.shape[2:]
        fits = fits and len(reference) == len(memory)
        if not fits or (reference.shape[1], memory.shape[1]) != (self.reference, self.memory):
            raise InputError(
                f"{type(self).__name__} takes reference [B, {self.reference}, h, w] and memory "
                f"[B, {self.memory}, h, w] of one size, got {list(reference.shape)} and {list(memory.shape)}"
            )
        return F.relu(self.fuse(reference, memory))

    def fuse(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        """The fused features before the ReLU."""
        raise NotImplementedError


class GlobalConvolutionFusion(Fusion):
    """Both side by side through one global convolution: a comparison learned in training, within kernel x kernel cells.

    mid  channels between the strips of the global convolution (256 for the published widths)
    """

    def __init__(self, reference: int, memory: int, out: int, mid: int, kernel: int = 7) -> None:
        super().__init__(reference, memory, out)
        self.window = GlobalConvolution(reference + memory, out, mid, kernel)

    def fuse(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        return self.window(torch.cat([reference, memory], dim=1))


class CosineFusion(Fusion):
    """Each memory cell reads the reference cells that point the same way, whatever their length.

    A[n, q] = softmax_n(temperature * cos(reference_n, memory_q)); the readout sum_n A[n, q] reference_n stands beside
    memory_q and goes through a 1x1 convolution. The temperature is learned (its logarithm is, so it stays positive).
    Channels that differ are made equal by a 1x1 convolution of the memory without bias, which keeps the cosine blind to
    scale; equal ones are compared as they come.
    """

    def __init__(self, reference: int, memory: int, out: int, temperature: float = 10.0) -> None:
        super().__init__(reference, memory, out)
        if temperature <= 0:
            raise InputError(f"temperature must be positive, got {temperature}")
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self.align = nn.Identity() if reference == memory else nn.Conv2d(memory, reference, 1, bias=False)
        self.join = nn.Conv2d(reference + memory, out, 1)

    def affinity(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b n q"]:
        """Weight of reference cell n for memory cell q (both counted row by row); sums to 1 over n."""
        keys = F.normalize(reference.flatten(2), dim=1)  # [B, Cr, N]
        queries = F.normalize(self.align(memory).flatten(2), dim=1)  # [B, Cr, Q]
        cosines = torch.einsum("bcn,bcq->bnq", keys, queries)
        return (self.log_temperature.exp() * cosines).softmax(dim=1)

    def fuse(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        affinity = self.affinity(reference, memory)
        readout = torch.einsum("bcn,bnq->bcq", reference.flatten(2), affinity)
        return self.join(torch.cat([readout.unflatten(2, memory.shape[2:]), memory], dim=1))


class CrossAttentionFusion(Fusion):
    """Scaled dot-product attention: queries from memory, keys and values from the reference (equation 4.16).

    mid    channels of queries, keys and values, divided among the heads
    Every cell may read every cell, (h * w)^2 scores a head, and nothing tells it where the cells lie.
    """

    def __init__(self, reference: int, memory: int, out: int, mid: int, heads: int = 4) -> None:
        super().__init__(reference, memory, out)
        if heads < 1 or mid % heads:
            raise InputError(f"{mid} channels cannot be split among {heads} heads")
        self.heads = heads
        self.query = nn.Conv2d(memory, mid, 1, bias=False)
        self.key = nn.Conv2d(reference, mid, 1, bias=False)
        self.value = nn.Conv2d(reference, mid, 1, bias=False)
        self.join = nn.Conv2d(mid + memory, out, 1)

    def affinity(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b heads n q"]:
        """Weight of reference cell n for memory cell q (both counted row by row), by head; sums to 1 over n."""
        queries, keys = self._cells(self.query(memory)), self._cells(self.key(reference))  # [B, heads, d, cells]
        scores = torch.einsum("bmdn,bmdq->bmnq", keys, queries)
        return (scores * keys.shape[2] ** -0.5).softmax(dim=2)

    def fuse(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        values = self._cells(self.value(reference))
        readout = torch.einsum("bmdn,bmnq->bmdq", values, self.affinity(reference, memory))
        readout = readout.flatten(1, 2).unflatten(2, memory.shape[2:])  # [B, mid, h, w]
        return self.join(torch.cat([readout, memory], dim=1))

    def _cells(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b heads d n"]:
        return x.flatten(2).unflatten(1, (self.heads, -1))


class AxialAttentionFusion(Fusion):
    """Both side by side, then attention along rows and along columns: any cell reaches any other in two hops.

    mid    channels of the attention, divided among the heads
    span   (rows, columns) of the maps that its positions are learned for; 8 x 14 is the published 256 x 448 at stride
           32. Other sizes work, with stretched positions
    """

    def __init__(
        self, reference: int, memory: int, out: int, mid: int, heads: int = 4, span: tuple[int, int] = (8, 14)
    ) -> None:
        super().__init__(reference, memory, out)
        self.mix = nn.Conv2d(reference + memory, mid, 1)
        self.attention = AxialAttention(mid, heads, span)
        self.join = nn.Conv2d(mid, out, 1)

    def fuse(
        self, reference: Float[Tensor, "b cr h w"], memory: Float[Tensor, "b cm h w"]
    ) -> Float[Tensor, "b out h w"]:
        return self.join(self.attention(self.mix(torch.cat([reference, memory], dim=1))))


def make_fusion(
    kind: FusionKind, reference: int, memory: int, out: int, mid: int, span: tuple[int, int] = (8, 14)
) -> Fusion:
    """The fusion of a row of table 6.11. `mid` has no part in the cosine, `span` only in axial attention.

    Raises `InputError` for another kind.
    """
    if kind == "global convolution":
        return GlobalConvolutionFusion(reference, memory, out, mid)
    if kind == "cosine":
        return CosineFusion(reference, memory, out)
    if kind == "axial attention":
        return AxialAttentionFusion(reference, memory, out, mid, span=span)
    if kind == "cross attention":
        return CrossAttentionFusion(reference, memory, out, mid)
    raise InputError(
        f"a fusion is one of 'global convolution', 'cosine', 'axial attention', 'cross attention', got {kind!r}"
    )
