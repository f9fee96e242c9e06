"""Small encoders, trained from nothing in minutes: strides 2, 4, 8, 16 with two 3x3 convolutions each.

Source: stand-ins for the backbones of F. Azimi (2024), section 6.5.3, table 6.12, at a size for a laptop. The kinds
differ in one thing each: shortcuts, a last stage that dilates and does not stride, the same with ASPP, and a last stage
of axial attention.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.encoder_parts import (
    ASPP,
    ResidualPair,
    axial_bottleneck,
    conv_norm_relu,
)
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder

SmallKind = Literal["plain", "residual", "dilated", "dilated-aspp", "axial"]
_KINDS = ("plain", "residual", "dilated", "dilated-aspp", "axial")


class StagedEncoder(MaskedEncoder):
    """Stages one after the other, each with its stride; the last stage at a stride gives that level.

    stages   input [B, 3 or 4, H, W], colours in [-1, 1] and the mask in [0, 1], to the first level, and so on
    strides  of the stages' outputs, counted from the frame
    head     last level to the bottleneck features
    """

    def __init__(
        self, stages: list[nn.Module], strides: list[int], widths: list[int], guided: bool, head: nn.Module, deep: int
    ) -> None:
        super().__init__(dict(zip(strides, widths, strict=True)), guided, deep)
        self.strides = strides
        self.stages = nn.ModuleList(stages)
        self.head = head

    def features(self, x: Float[Tensor, "b c h w"]) -> Features:
        x = torch.cat([2 * x[:, :3] - 1, x[:, 3:]], dim=1)
        levels = {}
        for stride, stage in zip(self.strides, self.stages):
            x = stage(x)
            levels[stride] = x
        return Features(levels, self.head(x))


def small_encoder(guided: bool, widths: tuple[int, ...] = (16, 32, 48, 64), kind: SmallKind = "plain") -> StagedEncoder:
    """An encoder of len(widths) stages at strides 2, 4, 8 …; `deep` is the last width.

    plain         two 3x3 convolutions with group norm and ReLU a stage, in the manner of VGG
    residual      the same with a shortcut
    dilated       residual, but the last stage has dilation 2 for its stride: the bottleneck stays twice as fine, and
                  the level at that stride is the last stage's
    dilated-aspp  then a small ASPP (rates 1, 2, 3)
    axial         residual, with axial attention at the end of the last stage

    Raises `InputError` for another kind and for fewer than two widths.
    """
    if kind not in _KINDS:
        raise InputError(f"kind must be one of {_KINDS}, got {kind!r}")
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(f"widths must hold two or more positive numbers, got {widths}")
    dilated = kind.startswith("dilated")
    stages: list[nn.Module] = []
    strides: list[int] = []
    inputs, stride = 3 + guided, 1
    for i, width in enumerate(widths):
        last = i == len(widths) - 1
        step, dilation = (1, 2) if dilated and last else (2, 1)
        stride *= step
        stage: nn.Module
        if kind == "plain":
            stage = nn.Sequential(conv_norm_relu(inputs, width, 3, step), conv_norm_relu(width, width))
        else:
            stage = ResidualPair(inputs, width, step, dilation)
        if kind == "axial" and last:
            stage = nn.Sequential(stage, axial_bottleneck(width, width, width // 2, heads=4, span=(4, 4)))
        stages.append(stage)
        strides.append(stride)
        inputs = width
    deep = widths[-1]
    head = ASPP(deep, deep, branch=deep // 2, rates=(1, 2, 3)) if kind == "dilated-aspp" else nn.Identity()
    return StagedEncoder(stages, strides, list(widths), guided, head, deep)
