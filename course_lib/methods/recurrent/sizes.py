"""How large a network of the family is: its backbone, its cells, its decoder. Four sizes cover chapter and course.

F. Azimi (2024), sections 6.3.2 and 6.4.2, for the published ones. Unusual: skip-memories and decoder widths are listed
from the bottleneck and from the frame inwards, not by stride, so that a size fits backbones of other depth (a dilated
one has a level less).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from course_lib.errors import InputError
from course_lib.methods.recurrent.distance import n_classes
from course_lib.methods.recurrent.encoders import (
    MaskedEncoder,
    axial_deeplab_encoder,
    lite_encoder,
    resnet_encoder,
    small_encoder,
    vgg_encoder,
)
from course_lib.methods.recurrent.flow_head import PUBLISHED_FLOW, SMALL_FLOW, FlowConfig
from course_lib.nn.conv_gru import ConvGRU
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.deep_recurrent import DeepConvRNN
from course_lib.nn.recurrent_cell import RecurrentCell
from course_lib.nn.tensor_train import ConvTTLSTM

Backbone = Literal[
    "plain", "residual", "dilated", "dilated-aspp", "axial",  # small, trained from nothing
    "lite",  # EfficientNet-Lite0
    "vgg16", "resnet50", "resnet101", "deeplab", "deeplab-aspp", "axial-deeplab",  # table 6.12
]  # fmt: skip
CellKind = Literal["lstm", "relu lstm", "gru", "deep", "tensor train"]


@dataclass(frozen=True)
class Border:
    """Border-distance classes: bins of `width` pixels up to `radius` pixels from the edge. The thesis has 20 and 1."""

    radius: int = 20
    width: int = 1

    @property
    def classes(self) -> int:
        """How many classes that makes, both sides and far ones included."""
        return n_classes(self.radius, self.width)


@dataclass(frozen=True)
class CellSize:
    """Channels of a cell's state, and side of its convolution."""

    channels: int
    kernel: int


@dataclass(frozen=True)
class Size:
    """Widths of a network.

    memory         the cell at the bottleneck
    skip_memories  cells at the next finer levels, in order; a row uses as many as it has skip-memories
    decoder        channels after each stage, from coarse to fine, one per level
    fusion         channels that matching puts out, and `fusion_mid` within its fusions
    border         distance classes of rows with that head
    span           rows and columns of the bottleneck in training, for attention with positions
    widths         channels of a small backbone, at strides 2, 4, 8 …
    flow           the flow head of RAFT-HS2S, which works at stride 8
    """

    backbone: Backbone
    memory: CellSize
    skip_memories: tuple[CellSize, ...]
    decoder: tuple[int, ...]
    fusion: int
    fusion_mid: int
    border: Border
    span: tuple[int, int]
    widths: tuple[int, ...] = (16, 32, 48, 64)
    flow: FlowConfig = SMALL_FLOW


SMALL = Size(
    backbone="plain",
    memory=CellSize(64, 3),
    skip_memories=(CellSize(48, 3), CellSize(32, 5)),  # at strides 8 and 4
    decoder=(48, 32, 16, 16),
    fusion=64,
    fusion_mid=32,
    border=Border(10, 1),
    span=(4, 4),
)
LITE = Size(
    backbone="lite",
    memory=CellSize(80, 3),
    skip_memories=(CellSize(48, 3), CellSize(32, 5)),
    decoder=(80, 48, 32, 16),
    fusion=80,
    fusion_mid=32,
    border=Border(10, 1),
    span=(14, 14),
)
PUBLISHED_VGG = Size(
    backbone="vgg16",
    memory=CellSize(512, 3),
    skip_memories=(CellSize(512, 3), CellSize(256, 5)),  # at strides 16 and 8
    decoder=(512, 256, 128, 64, 64),
    fusion=512,
    fusion_mid=256,
    border=Border(20, 1),
    span=(8, 14),
    flow=PUBLISHED_FLOW,
)
PUBLISHED = Size(
    backbone="resnet50",
    memory=CellSize(1024, 3),
    skip_memories=(CellSize(1024, 5), CellSize(256, 5)),
    decoder=(512, 256, 128, 64, 64),
    fusion=512,
    fusion_mid=256,
    border=Border(20, 1),
    span=(8, 14),
    flow=PUBLISHED_FLOW,
)


def make_encoder(size: Size, guided: bool, imagenet: bool = False) -> MaskedEncoder:
    """An encoder of this size; `imagenet` gives it trained weights. Small backbones have none and raise `InputError`.

    ResNets and VGG-16 download theirs and raise `DownloadError` where that fails.
    """
    weights = "imagenet" if imagenet else None
    deep = size.memory.channels
    match size.backbone:
        case "lite":
            return lite_encoder(guided, weights, deep=deep)
        case "vgg16":
            return vgg_encoder(guided, weights)
        case "resnet50" | "resnet101":
            return resnet_encoder(int(size.backbone[6:]), guided, weights, deep=deep)
        case "deeplab" | "deeplab-aspp":
            return resnet_encoder(50, guided, weights, dilated=True, aspp=size.backbone == "deeplab-aspp", deep=deep)
    if size.backbone not in get_args(Backbone):
        raise InputError(f"backbone must be one of {', '.join(get_args(Backbone))}; got {size.backbone!r}")
    if imagenet:
        raise InputError(f"there are no ImageNet weights for the backbone {size.backbone!r}; 'lite' has them installed")
    if size.backbone == "axial-deeplab":
        return axial_deeplab_encoder(guided, deep)
    return small_encoder(guided, size.widths, size.backbone)


def make_cell(kind: CellKind, inputs: int, size: CellSize) -> RecurrentCell:
    """A cell of one of the chapter's memories (and a GRU, which is our addition)."""
    match kind:
        case "lstm":
            return ConvLSTM(inputs, size.channels, size.kernel)
        case "relu lstm":
            return ConvLSTM(inputs, size.channels, size.kernel, variant="relu")
        case "gru":
            return ConvGRU(inputs, size.channels, size.kernel)
        case "deep":
            return DeepConvRNN(inputs, size.channels, size.kernel)
        case "tensor train":
            return ConvTTLSTM(inputs, size.channels, size.kernel)
    raise InputError(f"cell must be one of {', '.join(get_args(CellKind))}; got {kind!r}")
