"""EfficientNet-Lite0, which gives the course its trained eyes (Tan and Le, ICML 2019; the "lite" variant, 2020).

Inverted residual blocks widen, filter each channel on its own, and narrow again. Unusual, and what makes it "lite": no
squeeze-and-excite, ReLU6 for swish, and stem and head that do not grow with the network, all to suit small machines.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.data.packaged import efficientnet_lite0_weights
from course_lib.nn.weights import load_exactly, read_state_dict

INPUT_MEAN, INPUT_STD = 127 / 255, 128 / 255  # the network was trained on (rgb * 255 - 127) / 128
_NORM_EPS, _NORM_MOMENTUM = 1e-3, 0.01


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind: the first changes width and stride, the others are residual."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
LEVELS = {4: 1, 8: 2, 16: 4, 32: 6}  # stride -> last stage at that stride


class SameConv2d(nn.Conv2d):
    """Convolution padded so that n pixels give ceil(n / stride) cells; an odd pixel of padding goes right and below."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        sides = []
        for size, kernel, stride in zip((x.shape[3], x.shape[2]), self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, self.stride, groups=self.groups)


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, and ReLU6 unless `linear`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_NORM_EPS, momentum=_NORM_MOMENTUM)
        self.linear = linear
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = self.norm(self.conv(x))
        return x if self.linear else F.relu6(x)


class InvertedResidual(nn.Module):
    """Widen, filter per channel, narrow; add the input where shape allows (Sandler et al., CVPR 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        wide = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(wide))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The trunk: stem and seven stages, as a list of feature maps. 2,958,848 parameters with all stages.

    extra_channels  inputs beside RGB (a mask, say)
    stages          how many of the seven stages to build
    """

    def __init__(self, extra_channels: int = 0, stages: int = len(STAGES)) -> None:
        super().__init__()
        self.stem = ConvNorm(3 + extra_channels, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for stage in STAGES[:stages]:
            blocks = []
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                blocks.append(InvertedResidual(inputs, stage.channels, stage.kernel, stride, stage.expansion))
                inputs = stage.channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b c2 h2 w2"]]:
        """Output of every stage for normalised input [B, 3 + extra, H, W]."""
        outputs = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class EfficientNetLite0Classifier(nn.Module):
    """Trunk, head and the 1000 classes of ImageNet. 4,652,008 parameters; trained at 224x224."""

    def __init__(self, classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        self.head = ConvNorm(STAGES[-1].channels, HEAD_CHANNELS, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HEAD_CHANNELS, classes)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits for RGB in [0, 1]."""
        x = self.head(self.trunk((rgb - INPUT_MEAN) / INPUT_STD)[-1])
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


def from_published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published checkpoint's tensors to those of `EfficientNetLite0Classifier`.

    There blocks are counted through all stages, and an expansion, where a block has one, shifts the numbers of the
    batch norms. Unknown names are kept, for `load_exactly` to report.
    """
    block_names = [f"trunk.stages.{s}.{b}" for s, stage in enumerate(STAGES) for b in range(stage.blocks)]
    parts = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.norm",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.norm",
        "_project_conv": "project.conv",
        "_bn2": "project.norm",
    }
    ends = {
        "_conv_stem": "trunk.stem.conv",
        "_bn0": "trunk.stem.norm",
        "_conv_head": "head.conv",
        "_bn1": "head.norm",
        "_fc": "classifier",
    }

    def rename(name: str) -> str:
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if inside and int(inside[1]) < len(block_names) and inside[2] in parts:
            return f"{block_names[int(inside[1])]}.{parts[inside[2]]}.{inside[3]}"
        outside = re.fullmatch(r"(\w+)\.(\w+)", name)
        if outside and outside[1] in ends:
            return f"{ends[outside[1]]}.{outside[2]}"
        return name

    return {rename(name): tensor for name, tensor in state.items()}


def efficientnet_lite0_classifier(weights: str | Path | None = None) -> EfficientNetLite0Classifier:
    """The classifier in evaluation mode, with the packaged ImageNet weights or those of a file in the same format.

    Raises `MissingDataError` if they are not there, `InputError` naming the first tensor that does not fit.
    """
    path = efficientnet_lite0_weights() if weights is None else Path(weights)
    network = EfficientNetLite0Classifier()
    load_exactly(network, from_published_names(read_state_dict(path)), path)
    return network.eval()
