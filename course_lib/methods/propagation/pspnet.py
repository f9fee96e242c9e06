"""PSPNet: a deep residual network at stride 8, whose every cell is also told what the whole frame holds.

Source: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network" (CVPR 2017), the second network that M. Paul (2023),
section 4.4, gives a memory. Unusual: sides are 8 n + 1 pixels, so that the corners of the cells' grid are the corners
of the frame and resizing keeps them there.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from course_lib.errors import InputError
from course_lib.methods.propagation.segmenter import FrameSegmenter

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # depth -> residual blocks of each stage
BINS = (1, 2, 3, 6)  # cells a side into which the frame is averaged
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias, batch norm and ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _stage(inputs: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    """Bottleneck blocks that end in 4 x width channels; the 3x3 convolutions of all of them are dilated."""
    outputs = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = Bottleneck(inputs, width, stride, shortcut, dilation=dilation)
    return nn.Sequential(first, *(Bottleneck(outputs, width, dilation=dilation) for _ in range(blocks - 1)))


class DilatedResNet(nn.Module):
    """Residual network whose last two stages look further instead of shrinking: 2048 channels at stride 8."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        one, two, three, four = BLOCKS[depth]
        self.stem = nn.Sequential(
            *_conv_norm(3, 64, 3, stride=2),
            *_conv_norm(64, 64, 3),
            *_conv_norm(64, 128, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.layer1 = _stage(128, 64, one, stride=1, dilation=1)
        self.layer2 = _stage(256, 128, two, stride=2, dilation=1)
        self.layer3 = _stage(512, 256, three, stride=1, dilation=2)
        self.layer4 = _stage(1024, 512, four, stride=1, dilation=4)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048 h8 w8"]:
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))


class PyramidPooling(nn.Module):
    """Features beside their averages over ever smaller parts of the frame: channels C become 2 C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // len(BINS)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), *_conv_norm(channels, width, 1)) for bins in BINS
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        size = x.shape[-2:]
        spread = [F.interpolate(level(x), size, mode="bilinear", align_corners=True) for level in self.levels]
        return torch.cat([x, *spread], dim=1)


class PSPNet(FrameSegmenter):
    """PSPNet on a dilated ResNet: features [B, 2048, h, w] and logits [B, classes, h, w] with h = (H - 1) / 8 + 1.

    classes  number of classes
    depth    50, 101 (published) or 152 layers of the residual network

    Sides are 8 n + 1. Batch norm over one frame needs the average over 1x1 cells, so train with batches of two or more
    frames, or with batch norm fixed. Weights are random. Built in lesson 07.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int, depth: int = 101) -> None:
        if depth not in BLOCKS:
            raise InputError(f"depth of PSPNet must be one of {sorted(BLOCKS)}, got {depth}")
        super().__init__(classes, stride=8, logits_stride=8, features_stride=8, features_channels=2048)
        self.encoder = DilatedResNet(depth)
        self.pyramid = PyramidPooling(2048)
        self.classifier = nn.Sequential(*_conv_norm(4096, 512, 3), nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048 h8 w8"]:
        return self.encoder((frames - self.mean) / self.std)

    def decode(
        self, features: Float[Tensor, "b 2048 h8 w8"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h8 w8"]:
        return self.classifier(self.pyramid(features))

    def decoder_parts(self) -> tuple[nn.Module, ...]:
        return self.pyramid, self.classifier

    def fitting(self, side: int) -> int:
        return -(-max(side - 1, 1) // self.stride) * self.stride + 1

    def upsample(self, logits: Float[Tensor, "b c h8 w8"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        whole = (self.fitting(size[0]), self.fitting(size[1]))
        spread = F.interpolate(logits, whole, mode="bilinear", align_corners=True)
        return spread[..., : size[0], : size[1]]
