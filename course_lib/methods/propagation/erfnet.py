"""ERFNet: a small network that labels every pixel in real time, because each 3x3 convolution is cut into 3x1 and 1x3.

Source: Romera, Alvarez, Bergasa, Arroyo, "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic
Segmentation" (IEEE Transactions on Intelligent Transportation Systems, 2018), the network that M. Paul (2023), section
4.4, gives a memory. Unusual: batch norm adds 1e-3 to the variance, not the customary 1e-5, and trained weights depend
on it; and colours are taken as they are, without mean or standard deviation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.propagation.segmenter import FrameSegmenter

NORM_EPS = 1e-3
_DILATIONS = (2, 4, 8, 16)  # in cells of 8 pixels; the four blocks come twice


class Downsampler(nn.Module):
    """Half the size: a convolution with stride 2 makes the new channels, a max-pooling keeps the old ones."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs - inputs, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.norm(torch.cat([self.conv(x), F.max_pool2d(x, 2)], dim=1)))


class Upsampler(nn.Module):
    """Twice the size, by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.norm(self.conv(x)))


class NonBottleneck1D(nn.Module):
    """Residual block of two 3x3 convolutions, each as 3x1 and 1x3; the second pair looks `dilation` cells far."""

    def __init__(self, channels: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        d = dilation
        self.vertical1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.horizontal1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.norm1 = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.vertical2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.horizontal2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.norm2 = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = F.relu(self.norm1(self.horizontal1(F.relu(self.vertical1(x)))))
        y = self.norm2(self.horizontal2(F.relu(self.vertical2(y))))
        return F.relu(self.dropout(y) + x)


def erf_encoder() -> nn.Sequential:
    """RGB to 128 channels at stride 8, none negative."""
    near = [NonBottleneck1D(64, dropout=0.03) for _ in range(5)]
    far = [NonBottleneck1D(128, dilation, dropout=0.3) for dilation in (*_DILATIONS, *_DILATIONS)]
    return nn.Sequential(Downsampler(3, 16), Downsampler(16, 64), *near, Downsampler(64, 128), *far)


def erf_decoder(classes: int, inputs: int = 128) -> nn.Sequential:
    """Features at stride 8 to logits for every pixel. Takes `inputs` channels and works on half as many."""
    middle = inputs // 2
    return nn.Sequential(
        Upsampler(inputs, middle),
        NonBottleneck1D(middle),
        NonBottleneck1D(middle),
        Upsampler(middle, 16),
        NonBottleneck1D(16),
        NonBottleneck1D(16),
        nn.ConvTranspose2d(16, classes, 2, stride=2),
    )


class ERFNet(FrameSegmenter):
    """ERFNet of 2.06 million parameters: features [B, 128, H/8, W/8], logits [B, classes, H, W].

    classes  number of classes; a class for pixels to ignore, as the published weights have, counts
    shallow  no decoder but a 1x1 convolution: logits at stride 8, as in the first step of the published training

    Sides are multiples of 8. Weights are random; `methods.local_memory.published` reads published ones. Built in
    lesson 07.
    """

    def __init__(self, classes: int, shallow: bool = False) -> None:
        super().__init__(classes, stride=8, logits_stride=8 if shallow else 1, features_stride=8, features_channels=128)
        self.encoder = erf_encoder()
        self.decoder: nn.Module = nn.Conv2d(128, classes, 1) if shallow else erf_decoder(classes)

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 128 h8 w8"]:
        return self.encoder(frames)

    def decode(
        self, features: Float[Tensor, "b 128 h8 w8"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h w"]:
        return self.decoder(features)
