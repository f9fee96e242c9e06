"""Weights of the public release of LMANet, by the names they have there, into the networks of this room.

Source: the public code of M. Paul (2023), chapter 4; ERFNet has 20 classes there, the last one for pixels to ignore,
PSPNet 19. Unusual: its bottleneck fusion stores a convolution that no computation uses; it is left out here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.local_memory.config import PUBLISHED_ERFNET, PUBLISHED_PSPNET
from course_lib.methods.local_memory.fusion import BottleneckFusion
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.propagation.erfnet import ERFNet
from course_lib.methods.propagation.pspnet import PSPNet

Net = TypeVar("Net", bound=nn.Module)

_ERFNET_RULES = (
    (r"^encoder\.0\.", "encoder.initial_block."),
    (r"^encoder\.(\d+)\.", lambda found: f"encoder.layers.{int(found[1]) - 1}."),
    (r"^decoder\.6\.", "decoder.output_conv_new."),
    (r"^decoder\.(\d+)\.", r"decoder.layers.\1."),
    (r"^decoder\.(weight|bias)$", r"decoder.output_conv_new_shallow.\1"),
    (r"\.vertical(\d)\.", r".conv3x1_\1."),
    (r"\.horizontal(\d)\.", r".conv1x3_\1."),
    (r"\.norm(\d?)\.", r".bn\1."),
)
_PSPNET_RULES = (
    (r"^encoder\.stem\.", "encoder.layer0."),
    (r"^pyramid\.levels\.", "ppm.features."),
    (r"^classifier\.", "decoder.cls."),
)
_IN_A_VIDEO_NETWORK = (
    (r"^decoder\.output_conv_new\.", "decoder.output_conv."),
    (r"^decoder\.output_conv_new_shallow\.", "decoder.output_conv_stm_shallow."),
)
_MEMORY_RULES = (
    (r"^memory_heads\.key\.", "kv_M_r4.Key."),
    (r"^memory_heads\.value\.", "kv_M_r4.Value."),
    (r"^query_heads\.key\.", "kv_Q_r4.Key."),
    (r"^query_heads\.value\.", "kv_Q_r4.Value."),
    (r"^fusion\.inputs\.query\.", "memory_fusion.bn1."),
    (r"^fusion\.inputs\.memory\.", "memory_fusion.bn2."),
    (r"^fusion\.embed_query\.", "memory_fusion.conv_layer_1."),
    (r"^fusion\.embed_memory\.", "memory_fusion.conv_layer_2."),
    (r"^fusion\.squeeze\.", "memory_fusion.conv_layer_1."),
    (r"^fusion\.squeeze_norm\.", "memory_fusion.bn0."),
    (r"^fusion\.gate_query\.", "memory_fusion.conv_layer_3."),
    (r"^fusion\.gate_memory\.", "memory_fusion.conv_layer_4."),
    (r"^fusion\.norm\.", "memory_fusion.bn."),
)
_ONE_GATE = "memory_fusion.conv_layer_34."


def erfnet_with_memory() -> LocalMemoryNet:
    """ERFNet of 20 classes with the released memory: window 21, four frames, cells of value 0 outside the frame."""
    return LocalMemoryNet(ERFNet(20), PUBLISHED_ERFNET)


def pspnet_with_memory() -> LocalMemoryNet:
    """PSPNet-101 of 19 classes with the released memory: window 21, three frames, features as values."""
    return LocalMemoryNet(PSPNet(19), PUBLISHED_PSPNET)


def load_published(net: Net, state: Mapping[str, Tensor], source: str | Path = "a state dict") -> Net:
    """Load a released state dict into an `ERFNet`, a `PSPNet`, or a `LocalMemoryNet` on one of them; returns `net`.

    Raises `InputError` naming the first tensor that is missing, of another shape, or too many, by its released name;
    `net` is then unchanged.
    """
    if state and all(name.startswith("module.") for name in state):  # saved from inside a parallel wrapper
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    left = dict(state)
    if isinstance(net, LocalMemoryNet) and isinstance(net.fusion, BottleneckFusion):
        left = {name: tensor for name, tensor in left.items() if not name.startswith("memory_fusion.conv_layer_2.")}
    fitted = {}
    for name, tensor in net.state_dict().items():
        published = _published_name(name, net, left)
        found = left.pop(published, None)
        if found is None or found.shape != tensor.shape:
            came = "is missing" if found is None else f"is {list(found.shape)}"
            raise InputError(
                f"weights from {source} do not fit: tensor {published!r} {came}, expected {list(tensor.shape)}; is it "
                f"a release of this network, and are memory and fusion configured as in it?"
            )
        fitted[name] = found
    if left:
        raise InputError(f"weights from {source} do not fit: the network has no place for tensor {next(iter(left))!r}")
    net.load_state_dict(fitted)
    return net


def _published_name(name: str, net: nn.Module, state: Mapping[str, Tensor]) -> str:
    """The released name of our tensor `name`; the release names a gate that both sides share in two ways."""
    if not isinstance(net, LocalMemoryNet):
        return _renamed(name, _ERFNET_RULES if isinstance(net, ERFNet) else _PSPNET_RULES)
    if name.startswith("segmenter."):
        inner = _published_name(name.removeprefix("segmenter."), net.segmenter, state)
        return _renamed(inner, _IN_A_VIDEO_NETWORK)
    if name == "no_match":
        return "memory_module.const" if net.config.window is None else "memory_module_local.const"
    shared = name.replace("fusion.gate_query.", _ONE_GATE)
    return shared if shared in state else _renamed(name, _MEMORY_RULES)


def _renamed(name: str, rules: tuple) -> str:
    for pattern, published in rules:
        name = re.sub(pattern, published, name)
    return name
