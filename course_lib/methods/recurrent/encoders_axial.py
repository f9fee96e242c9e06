"""An encoder whose last stages look along rows and columns, not through 3x3 windows: the small Axial-DeepLab.

Source: Wang et al., "Axial-DeepLab" (ECCV 2020), small version: half of the widths, eight heads, output stride 16; F.
Azimi (2024), section 6.5.3, table 6.12. Simplified: attention replaces convolutions from stride 16 on (its hybrid
form), keys are as wide as values, group norm stands for batch norm, and no trained weights are offered.
"""

from torch import nn

from course_lib.methods.recurrent.encoder_parts import axial_bottleneck, conv_bottleneck, conv_norm_relu
from course_lib.methods.recurrent.encoders_small import StagedEncoder

_HEADS = 8


def axial_deeplab_encoder(guided: bool, deep: int = 1024, span: tuple[int, int] = (16, 28)) -> StagedEncoder:
    """32 channels at stride 2, 128 at 4, 256 at 8 and 1024 at 16, after 3, 4, 6 and 3 bottlenecks; the last two stages
    attend.

    deep  channels of the bottleneck features, by a 1x1 convolution
    span  (rows, columns) at stride 16 that positions are learned for: 256 x 448 pixels as published. Other sizes work,
          with stretched positions
    """
    wide_span = (2 * span[0], 2 * span[1])  # at stride 8, where the third stage begins
    stages: list[nn.Module] = [
        conv_norm_relu(3 + guided, 32, 7, stride=2),
        nn.Sequential(
            nn.MaxPool2d(3, 2, padding=1),
            conv_bottleneck(32, 128, 64),
            *(conv_bottleneck(128, 128, 64) for _ in range(2)),
        ),
        nn.Sequential(conv_bottleneck(128, 256, 128, stride=2), *(conv_bottleneck(256, 256, 128) for _ in range(3))),
        nn.Sequential(
            axial_bottleneck(256, 512, 256, _HEADS, wide_span, stride=2),
            *(axial_bottleneck(512, 512, 256, _HEADS, span) for _ in range(5)),
        ),
        nn.Sequential(
            axial_bottleneck(512, 1024, 512, _HEADS, span),
            *(axial_bottleneck(1024, 1024, 512, _HEADS, span) for _ in range(2)),
        ),
    ]
    head = conv_norm_relu(1024, deep, 1)
    return StagedEncoder(stages, [2, 4, 8, 16, 16], [32, 128, 256, 512, 1024], guided, head, deep)
