"""A small segmenter with trained eyes: EfficientNet-Lite0 from ImageNet and a decoder of separable convolutions.

The trunk ends at stride 16, where its features gather context and may travel through time; the decoder takes them up
to stride 2, meeting on its way the shallow maps of the frame at hand. Unusual: decoding costs the stem and first stages
of the trunk again, never the deep ones, so carried deep features give a refiner, as in ICNet.
"""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.segmenter import FrameSegmenter, Segmented
from course_lib.nn import efficientnet_lite as lite
from course_lib.nn.backbones import efficientnet_lite0

_SHALLOW = {2: 0, 4: lite.LEVELS[4], 8: lite.LEVELS[8]}  # stride -> stage of the trunk whose output meets the decoder


class LiteSegmenter(FrameSegmenter):
    """EfficientNet-Lite0 to stride 16, context, and a decoder to stride 2 or 4.

    classes        number of classes
    weights        of the trunk: "imagenet" (on every machine), None (random) or a file
    logits_stride  2 keeps poles in frames of 128 x 256; 4 saves most of the decoder's time on larger ones
    features       channels that travel; width: channels of the decoder

    Under 1 M parameters, so under 2 MB in half precision. Sides must be multiples of 16. Built in lesson 06.
    """

    def __init__(
        self,
        classes: int,
        weights: str | Path | None = "imagenet",
        logits_stride: Literal[2, 4] = 2,
        features: int = 128,
        width: int = 64,
    ) -> None:
        if logits_stride not in (2, 4):
            raise InputError(f"the logits of LiteSegmenter have stride 2 or 4, got {logits_stride}")
        if features < 1 or width < 1:
            raise InputError(f"features and width must be positive, got {features} and {width}")
        super().__init__(classes, 16, logits_stride, 16, features)
        self.pyramid = efficientnet_lite0(weights, deepest=16)
        self.context = Context(lite.STAGES[lite.LEVELS[16]].channels, features)
        self.entry = nn.Sequential(nn.Conv2d(features, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        strides = [stride for stride in (8, 4, 2) if stride >= logits_stride]
        self.merges = nn.ModuleList(Merge(lite.STAGES[_SHALLOW[stride]].channels, width) for stride in strides)
        self.classifier = nn.Conv2d(width, classes, 1)

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h16 w16"]:
        return self._deep(self._shallow(frames))

    def decoder_parts(self) -> tuple[nn.Module, ...]:
        """All behind the features; the shallow stages that `decode` runs again are the encoder's."""
        return (self.entry, self.merges, self.classifier)

    def decode(
        self, features: Float[Tensor, "b d h16 w16"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h2 w2"]:
        """Logits of deep features, this frame's own or carried from another, and the shallow maps of `frames`."""
        if frames is None:
            raise InputError("LiteSegmenter's decoder sees the frame: call decode(features, frames)")
        return self._head(features, self._shallow(frames))

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> Segmented:
        if self.padded(frames) is not frames:  # which also refuses what is no batch of frames
            return super().forward(frames)  # says what is wrong with their sides
        shallow = self._shallow(frames)  # once for both halves
        features = self._deep(shallow)
        return Segmented(self._head(features, shallow), features)

    def _shallow(self, frames: Tensor) -> dict[int, Tensor]:
        """Maps of the trunk at strides 2, 4 and 8."""
        trunk = self.pyramid.trunk
        x = trunk.stem((frames - self.pyramid.mean) / self.pyramid.std)
        found = {}
        for stride, first in ((2, 0), (4, _SHALLOW[2] + 1), (8, _SHALLOW[4] + 1)):
            for stage in trunk.stages[first : _SHALLOW[stride] + 1]:
                x = stage(x)
            found[stride] = x
        return found

    def _deep(self, shallow: dict[int, Tensor]) -> Float[Tensor, "b d h16 w16"]:
        x = shallow[8]
        for stage in self.pyramid.trunk.stages[_SHALLOW[8] + 1 :]:
            x = stage(x)
        return self.context(x)

    def _head(self, features: Tensor, shallow: dict[int, Tensor]) -> Tensor:
        x = self.entry(features)
        for merge, stride in zip(self.merges, (8, 4, 2)):
            x = merge(x, shallow[stride])
        return self.classifier(x)


class Context(nn.Module):
    """What stands around: depthwise filters at three dilations and the mean of the frame, mixed by a 1x1."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...] = (1, 3, 6)) -> None:
        super().__init__()
        self.around = nn.ModuleList(
            nn.Conv2d(inputs, inputs, 3, padding=d, dilation=d, groups=inputs, bias=False) for d in dilations
        )
        self.whole = nn.Conv2d(inputs, outputs, 1)
        self.mix = nn.Conv2d(inputs * (len(dilations) + 1), outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        views = torch.cat([x, *(conv(x) for conv in self.around)], dim=1)  # [B, 4C, h, w]
        return F.relu(self.norm(self.mix(views) + self.whole(x.mean(dim=(2, 3), keepdim=True))))


class Merge(nn.Module):
    """Twice as fine: what came from below, bilinear, plus a shallow map, then a separable 5x5 convolution."""

    def __init__(self, shallow: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(shallow, width, 1, bias=False)
        self.lateral_norm = nn.BatchNorm2d(width)
        self.filter = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.mix = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(
        self, deep: Float[Tensor, "b d h w"], shallow: Float[Tensor, "b c h2 w2"]
    ) -> Float[Tensor, "b d h2 w2"]:
        up = F.interpolate(deep, shallow.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(up + self.lateral_norm(self.lateral(shallow)))
        return x + F.relu(self.norm(self.mix(self.filter(x))))
