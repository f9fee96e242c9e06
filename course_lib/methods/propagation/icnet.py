"""ICNet: three branches, the deeper the smaller, so that a large frame is understood in real time.

A shallow branch sees the frame at full size, a middle one at half, and its continuation at a quarter goes deep (Zhao et
al., ECCV 2018; the segmenter of M. Paul, 2023, section 3.3.2). Unusual: the cut between `encode` and `decode` runs
through the middle branch: what is deep may be carried from another frame, what is shallow is computed for this one.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.segmenter import FrameSegmenter, Segmented
from course_lib.training.losses import bootstrapped_cross_entropy

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUXILIARY = (1.0, 0.4, 0.4)  # weights of the losses at the finest, middle and coarsest grid


@dataclass(frozen=True)
class ICNetConfig:
    """Width and grid of the network. Defaults are the published one.

    width  channels are multiplied by it; 1/4 gives the small sibling
    fine   drop one pooling and one stride: logits, fusion and features on strides 2, 4 and 8 instead of 4, 8 and 16,
           for frames of a few hundred pixels
    """

    width: float = 1.0
    fine: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.width <= 4:
            raise InputError(f"the width of ICNet must lie in (0, 4], got {self.width}")

    @classmethod
    def small(cls) -> "ICNetConfig":
        """The small sibling for small frames: a quarter of the channels on twice as fine a grid."""
        return cls(width=0.25, fine=True)

    def channels(self, published: int) -> int:
        """Channels of a layer that has `published` of them at width 1; at least 4."""
        return max(4, round(published * self.width))


class TrainingLogits(NamedTuple):
    """Logits at the three grids that are supervised in training; strides for the published network."""

    fine: Float[Tensor, "b classes h w"]  # 1/4
    middle: Float[Tensor, "b classes h2 w2"]  # 1/8
    coarse: Float[Tensor, "b classes h3 w3"]  # 1/16


class ICNet(FrameSegmenter):
    """ICNet with a ResNet-50 of half width in its deep branch. Built in lesson 06.

    features: the pooled output of the deep branch, brought to the grid of the middle one: [B, 256, H/16, W/16].
    logits: [B, classes, H/4, W/4]. A frame's sides must be multiples of 32 (16 with `fine`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int, config: ICNetConfig | None = None) -> None:
        config = config or ICNetConfig()
        step = 1 if config.fine else 2
        c = config.channels
        super().__init__(classes, 16 * step, 2 * step, 8 * step, c(256))
        self.config = config
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        # middle branch, from half the frame: 1/4, pooled to 1/8 (fine: 1/4), then 1/16 (1/8)
        self.stem = nn.Sequential(
            _conv(3, c(32), 3, stride=2), _conv(c(32), c(32), 3), _conv(c(32), c(64), 3),
            nn.Identity() if config.fine else nn.MaxPool2d(3, stride=2, padding=1),
        )  # fmt: skip
        self.res2 = _stage(c(64), c(32), c(128), blocks=3)
        self.res3_first = Bottleneck(c(128), c(64), c(256), stride=2)
        # deep branch, from half of that
        self.res3 = _stage(c(256), c(64), c(256), blocks=3)
        self.res4 = _stage(c(256), c(128), c(512), blocks=6, dilation=2)
        self.res5 = _stage(c(512), c(256), c(1024), blocks=3, dilation=4)
        self.pyramid = PyramidPooling()
        self.squeeze = _conv(c(1024), c(256), 1)
        # shallow branch, from the whole frame: 1/8 (1/4)
        self.shallow = nn.Sequential(
            _conv(3, c(32), 3, stride=2), _conv(c(32), c(32), 3, stride=2), _conv(c(32), c(64), 3, stride=step)
        )
        self.fuse_middle = CascadeFusion(c(256), c(256), c(128))
        self.fuse_shallow = CascadeFusion(c(128), c(64), c(128))
        self.classifier = nn.Conv2d(c(128), classes, 1)
        self.classifier_middle = nn.Conv2d(c(128), classes, 1)
        self.classifier_coarse = nn.Conv2d(c(256), classes, 1)

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h16 w16"]:
        return self._deep(self._middle(self._normalised(frames)))

    def decoder_parts(self) -> tuple[nn.Module, ...]:
        """Fusions and classifiers; the shallow branches that `decode` runs are the encoder's."""
        return (self.fuse_middle, self.fuse_shallow, self.classifier, self.classifier_middle, self.classifier_coarse)

    def decode(
        self, features: Float[Tensor, "b d h16 w16"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h4 w4"]:
        """Logits of deep features, this frame's own or carried from another, and the shallow branches of `frames`.

        This is the thesis's refiner (section 3.3.5): everything but the deep branch and the pyramid.
        """
        if frames is None:
            raise InputError("ICNet's shallow branches see the frame: call decode(features, frames)")
        rgb = self._normalised(frames)
        return self._head(features, self._middle(rgb), rgb).fine

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> Segmented:
        if self.padded(frames) is not frames:  # which also refuses what is no batch of frames
            return super().forward(frames)  # says what is wrong with their sides
        rgb = self._normalised(frames)
        middle = self._middle(rgb)  # once for both halves
        features = self._deep(middle)
        return Segmented(self._head(features, middle, rgb).fine, features)

    def training_logits(self, frames: Float[Tensor, "b 3 h w"]) -> TrainingLogits:
        """Logits at 1/4, 1/8 and 1/16 of frames whose sides fit, for `icnet_loss`."""
        rgb = self._normalised(frames)
        middle = self._middle(rgb)
        return self._head(self._deep(middle), middle, rgb, auxiliary=True)

    def _normalised(self, frames: Tensor) -> Tensor:
        return (frames - self.mean) / self.std

    def _middle(self, rgb: Tensor) -> Float[Tensor, "b c h16 w16"]:
        return self.res3_first(self.res2(self.stem(_halved(rgb))))

    def _deep(self, middle: Float[Tensor, "b c h16 w16"]) -> Float[Tensor, "b d h16 w16"]:
        x = self.res5(self.res4(self.res3(_halved(middle))))  # [B, 1024, H/32, W/32]
        return _doubled(self.squeeze(self.pyramid(x)))

    def _head(self, features: Tensor, middle: Tensor, rgb: Tensor, auxiliary: bool = False) -> TrainingLogits:
        fused = _doubled(self.fuse_middle(features, middle))  # [B, 128, H/8, W/8]
        fine = self.classifier(_doubled(self.fuse_shallow(fused, self.shallow(rgb))))
        if not auxiliary:
            return TrainingLogits(fine, fine, fine)
        return TrainingLogits(fine, self.classifier_middle(fused), self.classifier_coarse(features))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.narrow = _conv(inputs, inner, 1, stride=stride)
        self.filter = _conv(inner, inner, 3, dilation=dilation)
        self.widen = _conv(inner, outputs, 1, linear=True)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride=stride, linear=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.widen(self.filter(self.narrow(x))) + self.shortcut(x))


class PyramidPooling(nn.Module):
    """Averages over 1, 2 x 2, 3 x 3 and 6 x 6 parts of the frame, spread back and added: what is where, roughly."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        size = (x.shape[-2], x.shape[-1])
        pooled = [F.adaptive_avg_pool2d(x, bins) for bins in (1, 2, 3, 6)]
        return x + sum(F.interpolate(p, size, mode="bilinear", align_corners=False) for p in pooled)


class CascadeFusion(nn.Module):
    """Deep features, filtered with dilation, plus shallow ones, then ReLU ("CFF"; both on one grid here)."""

    def __init__(self, deep: int, shallow: int, outputs: int) -> None:
        super().__init__()
        self.deep = _conv(deep, outputs, 3, dilation=2, linear=True)
        self.shallow = _conv(shallow, outputs, 1, linear=True)

    def forward(self, deep: Float[Tensor, "b c h w"], shallow: Float[Tensor, "b c2 h w"]) -> Float[Tensor, "b c3 h w"]:
        return F.relu(self.deep(deep) + self.shallow(shallow))


def icnet_loss(
    logits: TrainingLogits, labels: UInt8[Tensor, "b h w"], weights: tuple[float, float, float] = AUXILIARY
) -> Float[Tensor, "b"]:
    """Cross-entropy at the three grids, weighted: [B] in nats. labels [B, H, W] at full size, 255 ignored.

    Labels are read at the nearest pixel to the centre of each cell; the mean is over the cells that count.
    """
    total = logits.fine.new_zeros(len(labels))
    for weight, scores in zip(weights, logits, strict=True):
        small = F.interpolate(labels[:, None].float(), scores.shape[-2:], mode="nearest-exact")[:, 0]  # [B, h, w]
        total = total + weight * bootstrapped_cross_entropy(scores.float(), small.to(torch.uint8))
    return total


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, linear: bool = False
) -> nn.Sequential:
    """Convolution, batch norm and, unless `linear`, ReLU; n pixels give ceil(n / stride) cells."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers if linear else [*layers, nn.ReLU()])


def _stage(inputs: int, inner: int, outputs: int, blocks: int, dilation: int = 1) -> nn.Sequential:
    widths = [inputs] + [outputs] * (blocks - 1)
    return nn.Sequential(*(Bottleneck(width, inner, outputs, dilation=dilation) for width in widths))


def _halved(x: Tensor) -> Tensor:
    """Each cell the mean of four: bilinear halving."""
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
