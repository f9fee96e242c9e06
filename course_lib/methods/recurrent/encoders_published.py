"""Trained trunks as encoders: VGG-16 for S2S, ResNets for HS2S (also dilated, with ASPP), EfficientNet-Lite0.

Source: F. Azimi (2024), sections 6.3.2, 6.4.2 and 6.5.3. The mask enters beside the colours, in the first convolution;
where a publication gives it a convolution of its own, added to that of the colours, the sum is this same convolution of
four channels. Unusual: weights for the mask start at random beside trained ones for the colours, so that the guide has
a voice from the first step; an all-zero mask still changes nothing. Batch norm keeps its trained statistics, with or
without weights, so that a checkpoint behaves alike however the network was built.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from course_lib.errors import InputError
from course_lib.methods.recurrent.encoder_parts import ASPP, conv_norm_relu
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder
from course_lib.nn import efficientnet_lite as lite
from course_lib.nn.backbones import (
    EfficientNetLite0Pyramid,
    Pyramid,
    ResNetPyramid,
    Vgg16Pyramid,
    efficientnet_lite0,
    freeze_batch_norm,
    resnet,
    vgg16,
)
from course_lib.nn.weights import read_state_dict

MaskStart = Literal["xavier", "matched", "zero"]
Weights = str | Path | None
_VGG_POOLINGS = {2: 4, 4: 9, 8: 16, 16: 23, 32: 30}  # stride -> its pooling in torchvision's counting


class TrunkEncoder(MaskedEncoder):
    """Base of the encoders on a trained `Pyramid`, whose normalisation of colours it keeps."""

    def __init__(self, trunk: Pyramid, channels: dict[int, int], guided: bool, deep: int) -> None:
        red, green, blue = trunk.mean[0, :3, 0, 0].tolist()
        super().__init__(channels, guided, deep, (red, green, blue))
        self.trunk = trunk

    def normalised(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Colours as the trunk was trained on them; the mask as it is."""
        return (x - self.trunk.mean) / self.trunk.std


class VggEncoder(TrunkEncoder):
    """VGG-16 after each of its poolings (64, 128, 256, 512, 512 channels at strides 2 … 32), then its fully connected
    layers as convolutions, down to 512 channels."""

    trunk: Vgg16Pyramid

    def __init__(self, guided: bool, weights: Weights, mask_start: MaskStart, head_width: int) -> None:
        trunk = vgg16(weights, extra_channels=int(guided))
        super().__init__(trunk, {2: 64, 4: 128, 8: 256, 16: 512, 32: 512}, guided, deep=512)
        start_mask(trunk.features.get_parameter("0.weight"), mask_start)
        self.head = fully_connected_head(head_width)

    def features(self, x: Float[Tensor, "b c h w"]) -> Features:
        x, levels, begin = self.normalised(x), {}, 0
        for stride, pooling in _VGG_POOLINGS.items():
            x = self.trunk.features[begin : pooling + 1](x)
            levels[stride], begin = x, pooling + 1
        return Features(levels, self.head(x))


class ResNetEncoder(TrunkEncoder):
    """A ResNet's first convolution (64 channels at stride 2) and four stages; a 1x1 convolution or ASPP makes `deep`.

    `dilated` keeps the last stage at stride 16: its two levels there are one, the last stage's.
    """

    trunk: ResNetPyramid

    def __init__(
        self, depth: int, guided: bool, weights: Weights, mask_start: MaskStart, dilated: bool, aspp: bool, deep: int
    ) -> None:
        trunk = resnet(depth, weights, extra_channels=int(guided))
        strides = [4, 8, 16, 16 if dilated else 32]
        channels = {2: 64} | dict(zip(strides, trunk.channels.values(), strict=True))
        super().__init__(trunk, channels, guided, deep)
        self.strides = strides
        start_mask(trunk.get_parameter("conv1.weight"), mask_start)
        freeze_batch_norm(trunk, affine=False)
        if weights is None:
            calm(trunk)
        if dilated:
            dilate(trunk.get_submodule("layer4"))
        wide = trunk.channels[32]
        self.head: nn.Module = ASPP(wide, deep) if aspp else conv_norm_relu(wide, deep, 1)

    def features(self, x: Float[Tensor, "b c h w"]) -> Features:
        x = self.trunk.relu(self.trunk.bn1(self.trunk.conv1(self.normalised(x))))
        levels = {2: x}
        x = self.trunk.maxpool(x)
        for i, stride in enumerate(self.strides):
            x = self.trunk.get_submodule(f"layer{i + 1}")(x)
            levels[stride] = x
        return Features(levels, self.head(x))


class LiteEncoder(TrunkEncoder):
    """EfficientNet-Lite0: 16, 24, 40, 112 (and 320) channels at strides 2 … 16 (or 32), then a 1x1 convolution."""

    trunk: EfficientNetLite0Pyramid

    def __init__(self, guided: bool, weights: Weights, mask_start: MaskStart, deepest: int, deep: int) -> None:
        trunk = efficientnet_lite0(weights, int(guided), deepest)
        super().__init__(trunk, {2: lite.STAGES[0].channels} | trunk.channels, guided, deep)
        start_mask(trunk.get_parameter("trunk.stem.conv.weight"), mask_start)
        freeze_batch_norm(trunk, affine=False)
        self.head = conv_norm_relu(trunk.channels[deepest], deep, 1)

    def features(self, x: Float[Tensor, "b c h w"]) -> Features:
        stages = self.trunk.trunk(self.normalised(x))
        levels = {stride: stages[lite.LEVELS.get(stride, 0)] for stride in self.channels}
        return Features(levels, self.head(levels[self.stride]))


def vgg_encoder(
    guided: bool, weights: Weights = "imagenet", mask_start: MaskStart = "xavier", head_width: int = 4096
) -> VggEncoder:
    """The encoder of S2S and, `guided`, its initializer: VGG-16 with its fully connected layers turned convolutions.

    weights     "imagenet" (downloaded, 528 MB), None (random) or a file with torchvision's names. The head takes over
                the two fully connected layers where the file has them and `head_width` is theirs
    mask_start  first weights of the mask's channel, see `start_mask`
    head_width  channels within the head; 4096 are VGG's own, and 121 of the encoder's 136 million parameters

    Raises `DownloadError` where the weights cannot be fetched, `InputError` for a file that does not fit.
    """
    encoder = VggEncoder(guided, weights, mask_start, head_width)
    if weights is not None and head_width == 4096:
        if weights == "imagenet":  # in torchvision's cache by now
            state: Mapping[str, Tensor] = torchvision.models.VGG16_Weights.IMAGENET1K_V1.get_state_dict(
                progress=False, weights_only=True
            )
        else:
            state = read_state_dict(weights)
        load_fully_connected(encoder.head, state)
    return encoder


def resnet_encoder(
    depth: int = 50,
    guided: bool = True,
    weights: Weights = "imagenet",
    dilated: bool = False,
    aspp: bool = False,
    mask_start: MaskStart = "xavier",
    deep: int = 1024,
) -> ResNetEncoder:
    """The encoders of HS2S (depth 50, guided), RGMP and the rows of table 6.12: ResNet-50, ResNet-101, R50-DeepLab.

    dilated  R50-DeepLab's: the last stage has dilation 2 for its stride, so that the bottleneck lies at stride 16. Its
             weights are those of the classifier; the thesis starts from a network trained to segment
    aspp     make `deep` by ASPP with rates 6, 12, 18 and 256 channels a branch, in place of a 1x1 convolution
    deep     channels of the bottleneck features (1024 published); the levels keep the trunk's own

    Other arguments and errors as in `vgg_encoder`. ResNet's own 3x3 pooling is kept, and nothing stands between its
    first convolution and its stages, since their weights were trained that way.
    """
    return ResNetEncoder(depth, guided, weights, mask_start, dilated, aspp, deep)


def lite_encoder(
    guided: bool,
    weights: Weights = "imagenet",
    mask_start: MaskStart = "matched",
    deepest: int = 16,
    deep: int = 64,
) -> LiteEncoder:
    """A trained encoder for laptops; its ImageNet weights are installed with the library.

    weights     "imagenet", None (random: for a checkpoint of the whole network, not for training) or a file
    mask_start  Xavier weights are a tenth of this trunk's own, and a full mask then turns its features by a few degrees
                only; matched ones are heard as well as the colours
    deepest     16 or 32 (8 and 4 work too)
    deep        channels of the bottleneck features

    Other arguments and errors as in `vgg_encoder`.
    """
    return LiteEncoder(guided, weights, mask_start, deepest, deep)


def start_mask(weight: nn.Parameter, start: MaskStart) -> None:
    """Give a first convolution's weight [C, 3 or 4, k, k] its start for the mask beside RGB, in place.

    xavier   uniform, as for a convolution of one channel by itself: the thesis's start
    matched  normal, a k-th of the spread that the same filter has over the colours: a window full of mask then adds to
             a response about as much as one colour weight
    zero     a trained trunk stays exactly as it was until training says otherwise

    Weights that are not zero came from a checkpoint and stay. Raises `InputError` for another start.
    """
    if start not in ("xavier", "matched", "zero"):
        raise InputError(f"mask_start must be 'xavier', 'matched' or 'zero', got {start!r}")
    with torch.no_grad():
        mask = weight[:, 3:]
        if start == "zero" or mask.numel() == 0 or mask.any():
            return
        if start == "xavier":
            nn.init.xavier_uniform_(mask)
        else:
            spread = weight[:, :3].std(dim=(1, 2, 3), keepdim=True) / weight.shape[3]
            mask.copy_(torch.randn_like(mask) * spread)


def calm(trunk: ResNetPyramid, gain: float = 0.2) -> None:
    """Scale what each residual block of a random trunk adds, in place.

    Frozen batch norm does not normalise random features: without this ResNet-101's grow ten thousand times. Trained
    weights, loaded later, replace the scales.
    """
    for block in trunk.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            nn.init.constant_((block.bn3 if isinstance(block, Bottleneck) else block.bn2).weight, gain)


def dilate(stage: nn.Module) -> None:
    """Take the stride out of a ResNet stage, in place, and dilate what follows it by 2.

    Every second cell of the new output is then the old output: the same weights look at the same places, and at the
    places between.
    """
    for conv in stage.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        if conv.stride == (2, 2):
            conv.stride = (1, 1)
        elif conv.kernel_size == (3, 3):
            conv.dilation, conv.padding = (2, 2), (2, 2)


def fully_connected_head(width: int) -> nn.Sequential:
    """VGG's fully connected layers as convolutions, 7x7 and 1x1, and a 1x1 back to 512: [B, 512, h, w] to the same."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel in ((512, width, 7), (width, width, 1), (width, 512, 1)):
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


def load_fully_connected(head: nn.Sequential, state: Mapping[str, Tensor]) -> None:
    """Copy VGG's two fully connected layers of 4096, by torchvision's names, into the head's first two convolutions.

    A state without a classifier (an encoder's own) leaves the head as it is.
    """
    with torch.no_grad():
        for layer, name in ((0, "classifier.0"), (2, "classifier.3")):
            if f"{name}.weight" in state:
                weight = head.get_parameter(f"{layer}.weight")
                weight.copy_(state[f"{name}.weight"].reshape(weight.shape))
                head.get_parameter(f"{layer}.bias").copy_(state[f"{name}.bias"])
