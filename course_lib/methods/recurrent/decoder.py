"""From memory and features to a mask: at each level branches are blended, doubled in size and convolved.

F. Azimi (2024), sections 6.3.1 and 6.3.2: five stages of bilinear x2 and a 5x5 convolution; plain skips stay untouched
and a memory, where there is one, is a further branch. Unusual: the 1x1 convolution over concatenated branches is
written as the sum of one 1x1 convolution per branch. That is the same map, needs no copy, shows each branch's weights
by name, and lets features of one frame serve many objects.
"""

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError

KERNEL = 5


class Prediction(NamedTuple):
    """A network's answer for one frame, or stacked over frames.

    logits    [B, (T,) 1, H, W] of the mask, before the sigmoid
    distance  [B, (T,) K, H, W] scores of the border-distance classes, before the softmax; None without that head
    """

    logits: Tensor
    distance: Tensor | None


class Blend(nn.Module):
    """Branches of one size to one map: a 1x1 convolution over their concatenation, as a sum over branches.

    branches  name -> channels. A branch whose batch is 1 counts for every item of the others.
    """

    def __init__(self, branches: Mapping[str, int], outputs: int) -> None:
        super().__init__()
        joint = nn.init.xavier_uniform_(torch.empty(outputs, sum(branches.values()), 1, 1))
        self.branches = nn.ModuleDict()
        for (name, channels), weight in zip(branches.items(), joint.split(list(branches.values()), dim=1)):
            conv = nn.Conv2d(channels, outputs, 1, bias=not self.branches)  # one bias for the sum
            conv.weight = nn.Parameter(weight.clone())
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.branches[name] = conv

    def forward(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "b c h w"]:
        return F.relu(reduce(torch.add, (branch(inputs[name]) for name, branch in self.branches.items())))


class Stage(nn.Module):
    """Blend the branches of a level, double the size, convolve."""

    def __init__(self, branches: Mapping[str, int], merged: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.blend = Blend(branches, merged)
        self.conv = xavier(nn.Conv2d(merged, outputs, KERNEL, padding=KERNEL // 2))

    def forward(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "b c h2 w2"]:
        x = F.interpolate(self.blend(inputs), scale_factor=self.scale, mode="bilinear", align_corners=False)
        return F.relu(self.conv(x))


class MaskHead(nn.Module):
    """Mask logits, and with `classes` also scores of distance classes, which the mask is then read from as well."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.segment = xavier(nn.Conv2d(inputs, classes or 1, 3, padding=1))
        self.distance = xavier(nn.Conv2d(inputs, classes, 3, padding=1)) if classes else None
        self.mask = xavier(nn.Conv2d(2 * classes, 1, 1)) if classes else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Prediction:
        own = self.segment(x)
        if self.distance is None or self.mask is None:
            return Prediction(own, None)
        scores = self.distance(x)  # [B, K, H, W]
        return Prediction(self.mask(F.relu(torch.cat([scores, own], dim=1))), scores)


class Decoder(nn.Module):
    """Maps at the bottleneck and at finer levels to a `Prediction` at the frame's size.

    levels       stride -> channels of the encoder's levels, for the plain skips
    memory       stride -> channels of what is remembered or matched there, always with the deepest stride
    widths       channels after each stage, from coarse to fine, of which as many as there are levels are used, counted
                 from the fine end
    classes      of border distance; 0 leaves that head out
    plain_skips  False cuts the plain skips, an ablation
    """

    def __init__(
        self,
        levels: Mapping[int, int],
        memory: Mapping[int, int],
        widths: tuple[int, ...],
        classes: int = 0,
        plain_skips: bool = True,
    ) -> None:
        super().__init__()
        self.strides = sorted(levels, reverse=True)
        if len(widths) < len(levels) or self.strides[0] not in memory or not set(memory) <= set(levels):
            raise InputError(
                f"a decoder of {len(levels)} levels at strides {self.strides} needs as many widths, got {widths}, and "
                f"memories at some of these strides, the deepest among them, got {sorted(memory, reverse=True)}"
            )
        self.plain_skips = plain_skips
        self.stages = nn.ModuleDict()
        x = 0
        finer = [*self.strides[1:], 1]
        for stride, next_stride, width in zip(self.strides, finer, widths[-len(levels) :]):
            branches = {"up": x} if x else {}
            if plain_skips:
                branches["plain"] = levels[stride]
            if stride in memory:
                branches["memory"] = memory[stride]
            self.stages[str(stride)] = Stage(branches, x or memory[stride], width, stride // next_stride)
            x = width
        self.head = MaskHead(x, classes)

    def forward(self, levels: Mapping[int, Tensor], memory: Mapping[int, Tensor]) -> Prediction:
        """`levels` as the encoder gives them, batch B or 1; `memory` by stride, batch B."""
        x: Tensor | None = None
        for stride in self.strides:
            inputs = {"plain": levels[stride]}
            if x is not None:
                inputs["up"] = x
            if stride in memory:
                inputs["memory"] = memory[stride]
            x = self.stages[str(stride)](inputs)
        assert x is not None
        return self.head(x)


def xavier(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with Xavier's first weights and no bias, as the thesis has for all that is not pre-trained."""
    nn.init.xavier_uniform_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
