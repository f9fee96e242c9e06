"""Classifiers and the convolutional body they share with everything else: MLP, LeNet and its relatives, ResNet-18.

F. Azimi (2024), sections 5.3.2, 5.4.3 and 5.5.2. One body of convolutions and a fully connected layer serves as
classifier, policy, critic, Q-network and localisation network; only its last layer differs. What the text leaves open
(kernels, padding, widths) is filled in the standard way; each preset has a small sibling of another shape for a laptop.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.backbones import resnet

Preset = Literal["published", "small"]
Shape = tuple[int, int, int]  # channels, height and width of an image


@dataclass(frozen=True)
class BodyConfig:
    """Convolutions (same padding, ReLU, max pooling after each), then one fully connected layer. Defaults: LeNet.

    Published presets pool, small ones stride instead, which is several times faster on a CPU.
    """

    channels: tuple[int, ...] = (32, 64)
    kernels: tuple[int, ...] = (5, 5)
    stride: int = 1
    pool: int = 2  # window and step of the pooling; 1 for none
    hidden: int = 128  # features that come out

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.kernels):
            raise InputError(f"each convolution needs channels and a kernel, got {self.channels} and {self.kernels}")
        if min(*self.channels, self.stride, self.pool, self.hidden) < 1 or any(
            k < 1 or k % 2 == 0 for k in self.kernels
        ):
            raise InputError(f"widths must be at least 1 and kernels odd, got {self}")

    @classmethod
    def lenet(cls, preset: Preset = "published") -> "BodyConfig":
        """Two convolutions; body of the classifier, policy, critic and localisation network of section 5.3.2."""
        return _preset(preset, cls(), cls((8, 16), stride=2, pool=1, hidden=64))

    @classmethod
    def curriculum(cls, preset: Preset = "published") -> "BodyConfig":
        """Three convolutions: the policy of section 5.4.3."""
        published = cls((32, 64, 64), (5, 5, 5), hidden=256)
        return _preset(preset, published, cls((8, 16, 16), (5, 5, 5), stride=2, pool=1, hidden=64))

    @classmethod
    def lenet1(cls, preset: Preset = "published") -> "BodyConfig":
        """One convolution: the classifier of cluttered digits in section 5.4.3."""
        return _preset(preset, cls((64,), (5,)), cls((16,), (5,), pool=4, hidden=64))

    @classmethod
    def lenet2(cls, preset: Preset = "published") -> "BodyConfig":
        """Two convolutions: the classifier of cluttered fashion images in section 5.4.3. Published it is `lenet`."""
        return _preset(preset, cls(), cls((16, 32), pool=2, hidden=64))

    @classmethod
    def scene(cls) -> "BodyConfig":
        """Classifier and Q-network of small salient-object scenes, where `ResNet18` is the published one."""
        return cls((16, 32), (5, 3), stride=2, pool=1, hidden=64)


class ConvBody(nn.Module):
    """Images [B, C, H, W] to features [B, hidden]. Raises `InputError` if nothing is left of the image at the end."""

    def __init__(self, config: BodyConfig, image: Shape) -> None:
        super().__init__()
        self.image = image
        layers: list[nn.Module] = []
        channels, height, width = image
        for outputs, kernel in zip(config.channels, config.kernels, strict=True):
            layers += [nn.Conv2d(channels, outputs, kernel, config.stride, padding=kernel // 2), nn.ReLU()]
            if config.pool > 1:
                layers.append(nn.MaxPool2d(config.pool))
            channels = outputs
            height, width = (((side - 1) // config.stride + 1) // config.pool for side in (height, width))
        if height < 1 or width < 1:
            raise InputError(f"an image of {image[1]} x {image[2]} is too small for {config}: nothing is left of it")
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, config.hidden), nn.ReLU()
        )

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        _check(images, self.image, self)
        return self.layers(images)


class ConvNet(nn.Module):
    """A `ConvBody` and a linear layer: LeNet as a classifier, or the Q-network of small scenes. Returns [B, outputs].

    image: channels, height and width. A published LeNet for 80 x 80 images has a first fully connected layer of
    25,600 inputs.
    """

    def __init__(self, config: BodyConfig, image: Shape, outputs: int = 10) -> None:
        super().__init__()
        self.body = ConvBody(config, image)
        self.head = nn.Linear(config.hidden, outputs)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.head(self.body(images))


class Mlp(nn.Module):
    """A classifier of two layers that sees pixels as a list: weak on purpose, so that a good view shows. [B, outputs].

    hidden: width of the one hidden layer, which the text does not say; 128, and 64 for a smaller one.
    """

    def __init__(self, image: Shape, outputs: int = 10, hidden: int = 128) -> None:
        super().__init__()
        self.image = image
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(prod(image), hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        _check(images, self.image, self)
        return self.layers(images)


class ResNet18(nn.Module):
    """ResNet-18 with a last layer of `outputs`: classifier (20 classes) or Q-network (6 moves) of section 5.5.2.

    weights  "imagenet" (may have to be downloaded), a file, or None for random ones

    Takes [B, 3, H, W] in [0, 1] and normalises for itself; returns [B, outputs].
    """

    def __init__(self, outputs: int, weights: str | Path | None = "imagenet") -> None:
        super().__init__()
        self.body = resnet(18, weights)
        self.head = nn.Linear(self.body.channels[32], outputs)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        return self.head(self.body(images)[32].mean(dim=(2, 3)))


def _preset(preset: Preset, published: BodyConfig, small: BodyConfig) -> BodyConfig:
    if preset not in ("published", "small"):
        raise InputError(f"preset must be 'published' or 'small', got {preset!r}")
    return published if preset == "published" else small


def _check(images: Tensor, expected: Shape, network: nn.Module) -> None:
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(expected):
        raise InputError(
            f"this {type(network).__name__} takes images [B, {', '.join(map(str, expected))}], got {list(images.shape)}"
        )
