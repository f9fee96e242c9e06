"""Layers that several encoders share: normalised convolutions, residual blocks, parallel dilated windows (ASPP).

Source: He et al. (CVPR 2016); Chen et al., "Rethinking Atrous Convolution" (2017). Unusual: group norm throughout,
where the originals have batch norm, since clips come in batches too small to estimate statistics from.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.axial_attention import LineAttention


def group_norm(channels: int, groups: int = 8) -> nn.GroupNorm:
    """Group norm with `groups` groups, or as many as divide both that and the channels and leave two channels to each.

    A group of one channel would erase what is the same all over a map, and everything on a map of one cell.
    """
    return PlainGroupNorm(math.gcd(groups, channels, max(channels // 2, 1)), channels)


class PlainGroupNorm(nn.GroupNorm):
    """Group norm over maps in plain order of memory: on a CPU its gradient is twenty times slower channels-last."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(x.contiguous())


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution padded to keep the size rule ceil(n / stride), group norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, group_norm(outputs), nn.ReLU())


class ResidualPair(nn.Module):
    """Two 3x3 convolutions added to a 1x1 convolution of the input, then ReLU. The first takes the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.first = conv_norm_relu(inputs, outputs, 3, stride, dilation)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = group_norm(outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.shortcut(x) + self.norm(self.second(self.first(x))))


def receptive_field(kernel: int, dilation: int) -> int:
    """Cells that a convolution spans from one side to the other: 3x3 with dilation 6 spans 13."""
    return dilation * (kernel - 1) + 1


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: the same features through windows of several sizes, side by side.

    A 1x1 convolution, one 3x3 convolution for each rate of dilation, and the mean over the image, each to `branch`
    channels; joined by a 1x1 convolution to `outputs`. Raises `InputError` without rates or with one below 1.
    """

    def __init__(self, inputs: int, outputs: int, branch: int = 256, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        if not rates or min(rates) < 1:
            raise InputError(f"ASPP needs dilation rates of at least 1, got {rates}")
        self.point = conv_norm_relu(inputs, branch, 1)
        self.windows = nn.ModuleList(conv_norm_relu(inputs, branch, 3, dilation=rate) for rate in rates)
        self.image = conv_norm_relu(inputs, branch, 1)
        self.join = conv_norm_relu(branch * (len(rates) + 2), outputs, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        image = self.image(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return self.join(torch.cat([self.point(x), *(window(x) for window in self.windows), image], dim=1))


class Bottleneck(nn.Module):
    """Narrow to the width of `middle`, let it act, widen, and add the input: He et al.'s residual bottleneck.

    middle  [B, width, h, w] to the same channels at the block's stride
    """

    def __init__(self, inputs: int, outputs: int, width: int, middle: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), group_norm(outputs))
        self.narrow = conv_norm_relu(inputs, width, 1)
        self.middle = middle
        self.widen = nn.Sequential(nn.Conv2d(width, outputs, 1, bias=False), group_norm(outputs))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.shortcut(x) + self.widen(self.middle(self.narrow(x))))


def conv_bottleneck(inputs: int, outputs: int, width: int, stride: int = 1) -> Bottleneck:
    """A bottleneck around a 3x3 convolution."""
    return Bottleneck(inputs, outputs, width, conv_norm_relu(width, width, 3, stride), stride)


def axial_bottleneck(
    inputs: int, outputs: int, width: int, heads: int, span: tuple[int, int], stride: int = 1
) -> Bottleneck:
    """A bottleneck around attention along rows, then along columns (Wang et al., "Axial-DeepLab", ECCV 2020).

    span  (rows, columns) of its input that offsets are learned for; a stride averages after the attention
    """
    middle = nn.Sequential(
        LineAttention(width, width, heads, span[1], "row"),
        group_norm(width),
        LineAttention(width, width, heads, span[0], "column"),
        group_norm(width),
        nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
        nn.ReLU(),
    )
    return Bottleneck(inputs, outputs, width, middle, stride)
