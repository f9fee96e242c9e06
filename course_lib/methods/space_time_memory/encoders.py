"""The two encoders: one asks where a place looks like another, the other writes down what was said about it.

Source: Cheng et al. (NeurIPS 2021). The key encoder sees the frame alone, once for all objects; the value encoder sees
an object's mask too and runs only for frames that are stored. Unusual: the slim value encoder does not look at the
frame again. It carries the masks down the pyramid of features that the key encoder has already computed.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.space_time_memory.blocks import Cbam, ResidualBlock
from course_lib.methods.space_time_memory.config import StcnConfig
from course_lib.nn.backbones import Pyramid, efficientnet_lite0, resnet


class FrameFeatures(NamedTuple):
    """What the key encoder finds in a frame.

    key   [B, Ck, h, w]  what the memory is asked with, and later asked by
    skip  [B, Cs, h, w]  thin stride-16 features for the decoder
    f16, f8, f4          [B, C, H/s, W/s] the trunk's features at strides 16, 8 and 4
    """

    key: Float[Tensor, "b ck h w"]
    skip: Float[Tensor, "b cs h w"]
    f16: Float[Tensor, "b c16 h w"]
    f8: Float[Tensor, "b c8 h8 w8"]
    f4: Float[Tensor, "b c4 h4 w4"]


class KeyEncoder(nn.Module):
    """Frame [B, 3, H, W] in [0, 1] to `FrameFeatures`. Two linear 3x3 heads on the trunk's stride-16 features."""

    def __init__(self, config: StcnConfig, imagenet: bool) -> None:
        super().__init__()
        weights = "imagenet" if imagenet else None
        if config.key_trunk == "resnet50":
            self.trunk: Pyramid = resnet(50, weights, deepest=16)
        else:
            self.trunk = efficientnet_lite0(weights, deepest=16)
        wide = self.trunk.channels[16]
        self.key = nn.Conv2d(wide, config.key_channels, 3, padding=1)
        self.skip = nn.Conv2d(wide, config.skip_channels, 3, padding=1)
        nn.init.orthogonal_(self.key.weight, gain=config.key_gain)
        self.key.bias = nn.Parameter(torch.zeros(config.key_channels))

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> FrameFeatures:
        levels = self.trunk(frames)
        return FrameFeatures(self.key(levels[16]), self.skip(levels[16]), levels[16], levels[8], levels[4])


class Fuser(nn.Module):
    """Two residual blocks with attention between them; joins what the value trunk and the key trunk see."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(inputs, outputs)
        self.attention = Cbam(outputs)
        self.block2 = ResidualBlock(outputs, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        x = self.block1(x)
        return self.block2(x + self.attention(x))


class ValueEncoder(nn.Module):
    """The published one: ResNet-18 on five channels (RGB, this object's mask, the sum of the others'), then the fuser.

    Its convolutions have biases although batch norm follows; published checkpoints carry them.
    """

    def __init__(self, config: StcnConfig, f16_channels: int, imagenet: bool) -> None:
        super().__init__()
        self.trunk = resnet(18, "imagenet" if imagenet else None, extra_channels=2, deepest=16)
        for module in self.trunk.modules():
            if isinstance(module, nn.Conv2d):
                module.bias = nn.Parameter(torch.zeros(module.out_channels))
        self.fuser = Fuser(self.trunk.channels[16] + f16_channels, config.value_channels)

    def forward(
        self, frames: Float[Tensor, "b 3 h w"], features: FrameFeatures, masks: Float[Tensor, "b k 2 h w"]
    ) -> Float[Tensor, "b k cv h16 w16"]:
        objects = masks.shape[1]
        x = torch.cat([_per_object(frames, objects), masks.flatten(0, 1)], dim=1)  # [B*K, 5, H, W]
        own = self.trunk(x)[16]
        value = self.fuser(torch.cat([own, _per_object(features.f16, objects)], dim=1))
        return value.unflatten(0, (-1, objects))


class SlimValueEncoder(nn.Module):
    """Masks, joined at strides 4, 8 and 16 by the features the key encoder already has; then the fuser.

    About a fifth of the cost of a trunk of its own. Features are detached nowhere: the trunk learns from both sides.
    """

    def __init__(self, config: StcnConfig, channels: dict[int, int]) -> None:
        super().__init__()
        self.masks = nn.Conv2d(2, 32, 7, stride=4, padding=3)
        self.f4 = nn.Conv2d(channels[4], 32, 1)
        self.down8 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.f8 = nn.Conv2d(channels[8], 64, 1)
        self.block8 = ResidualBlock(64, 64)
        self.down16 = nn.Conv2d(64, config.value_channels, 3, stride=2, padding=1)
        self.fuser = Fuser(config.value_channels + channels[16], config.value_channels)

    def forward(
        self, frames: Float[Tensor, "b 3 h w"], features: FrameFeatures, masks: Float[Tensor, "b k 2 h w"]
    ) -> Float[Tensor, "b k cv h16 w16"]:
        objects = masks.shape[1]
        x = self.masks(masks.flatten(0, 1)) + _per_object(self.f4(features.f4), objects)  # [B*K, 32, H/4, W/4]
        x = self.block8(self.down8(F.relu(x)) + _per_object(self.f8(features.f8), objects))
        x = torch.cat([self.down16(F.relu(x)), _per_object(features.f16, objects)], dim=1)
        return self.fuser(x).unflatten(0, (-1, objects))


def with_others(masks: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2 h w"]:
    """Beside each object's mask the sum of the other objects' masks, so that the encoder knows whom not to follow."""
    objects = masks.shape[1]
    everyone_else = 1 - torch.eye(objects, device=masks.device, dtype=masks.dtype)  # [K, K]
    others = torch.einsum("ij,bjhw->bihw", everyone_else, masks)
    return torch.stack([masks, others], dim=2)


def _per_object(x: Float[Tensor, "b c h w"], objects: int) -> Float[Tensor, "bk c h w"]:
    return x if objects == 1 else x.repeat_interleave(objects, dim=0)
