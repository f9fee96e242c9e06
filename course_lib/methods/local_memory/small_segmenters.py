"""Two small segmenters to put a memory into: siblings of ERFNet and PSPNet on a grid of four pixels.

M. Paul (2023), section 4.4, gives a memory to ERFNet and PSPNet. Unusual: neither decoder looks at the frame again, so
all it knows comes through the features that are fused with the memory, and in training these can be kept.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.propagation.erfnet import Downsampler, NonBottleneck1D, Upsampler
from course_lib.methods.propagation.segmenter import FrameSegmenter

Backbone = Literal["erf", "pyramid"]
_BINS = (1, 2, 4)  # cells a side into which the features are averaged


class SmallERFNet(FrameSegmenter):
    """ERFNet of 0.1 M parameters: features [B, 48, H/4, W/4], logits [B, classes, H, W]. Sides are multiples of 4."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__(classes, stride=4, logits_stride=1, features_stride=4, features_channels=width)
        self.encoder = nn.Sequential(
            Downsampler(3, 16), NonBottleneck1D(16), Downsampler(16, width),
            *(NonBottleneck1D(width, dilation) for dilation in (1, 2, 4)),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            NonBottleneck1D(width),
            Upsampler(width, 16),
            NonBottleneck1D(16),
            nn.ConvTranspose2d(16, classes, 2, stride=2),
        )

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h4 w4"]:
        return self.encoder(frames)

    def decode(
        self, features: Float[Tensor, "b d h4 w4"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h w"]:
        return self.decoder(features)


class SmallPyramidNet(FrameSegmenter):
    """A residual network with pyramid pooling: features [B, 48, H/4, W/4], logits on the same grid, as in PSPNet.

    Sides are multiples of 16, so that the features can be averaged over 4 x 4 parts of equal size.
    """

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__(classes, stride=16, logits_stride=4, features_stride=4, features_channels=width)
        half = width // 2
        self.encoder = nn.Sequential(
            _conv(3, half, 3, stride=2), _conv(half, half, 3), _conv(half, width, 3, stride=2),
            *(Residual(width, dilation) for dilation in (1, 2, 4)),
        )  # fmt: skip
        self.decoder = PyramidDecoder(width, classes)

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h4 w4"]:
        return self.encoder(frames)

    def decode(
        self, features: Float[Tensor, "b d h4 w4"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h4 w4"]:
        return self.decoder(features)


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; the second looks `dilation` cells far."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.relu(x + self.norm(self.second(self.first(x))))


class PyramidDecoder(nn.Module):
    """Features beside their averages over ever smaller parts of the frame, then one convolution and the classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        narrow = channels // 3
        self.levels = nn.ModuleList(nn.Conv2d(channels, narrow, 1) for _ in _BINS)
        self.mix = _conv(channels + narrow * len(_BINS), channels, 3)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        size = (x.shape[-2], x.shape[-1])
        spread = [
            F.interpolate(level(F.adaptive_avg_pool2d(x, bins)), size, mode="bilinear", align_corners=False)
            for level, bins in zip(self.levels, _BINS)
        ]
        return self.classifier(self.mix(torch.cat([x, *spread], dim=1)))


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
