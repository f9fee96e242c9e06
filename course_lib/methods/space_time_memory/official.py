"""Published checkpoints, under the names they were published with, into the networks of this room.

A rule turns each of our tensor names into the published one; everything then fits exactly or is refused with the
published name of the first tensor that does not. Unusual: two convolutions that a reference keeps apart and adds up are
one convolution here, on stacked inputs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.errors import InputError

_STCN_RULES = (
    (r"^key_encoder\.trunk\.layer1\.", "key_encoder.res2."),
    (r"^key_encoder\.trunk\.", "key_encoder."),
    (r"^key_encoder\.key\.", "key_proj.key_proj."),
    (r"^key_encoder\.skip\.", "key_comp."),
    (r"^value_encoder\.trunk\.", "value_encoder."),
    (r"\.attention\.channel_gate\.", ".attention.ChannelGate."),
    (r"\.attention\.spatial_gate\.", ".attention.SpatialGate.spatial."),
)
_STM_RULES = (
    (r"^memory_encoder\.", "Encoder_M."),
    (r"^query_encoder\.", "Encoder_Q."),
    (r"\.layer1\.", ".res2."),
    (r"\.layer2\.", ".res3."),
    (r"\.layer3\.", ".res4."),
    (r"^memory_heads\.key\.", "KV_M_r4.Key."),
    (r"^memory_heads\.value\.", "KV_M_r4.Value."),
    (r"^query_heads\.key\.", "KV_Q_r4.Key."),
    (r"^query_heads\.value\.", "KV_Q_r4.Value."),
    (r"^decoder\.refine8\.", "Decoder.RF3."),
    (r"^decoder\.refine4\.", "Decoder.RF2."),
    (r"^decoder\.", "Decoder."),
    (r"\.compress\.", ".convFM."),
    (r"\.skip_conv\.", ".convFS."),
    (r"\.skip_block\.", ".ResFS."),
    (r"\.block\.", ".ResMM."),
    (r"\.pred\.", ".pred2."),
)
_STM_FIXED = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def load_stcn_state(net: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a published STCN state dict into `net`, in place.

    A value encoder of four input channels, from training with single objects, gets a fifth of zeros. Raises
    `InputError` naming the first tensor that does not fit; `net` is then unchanged.
    """
    state = dict(state)
    stem = state.get("value_encoder.conv1.weight")
    if isinstance(stem, Tensor) and stem.ndim == 4 and stem.shape[1] == 4:
        state["value_encoder.conv1.weight"] = torch.cat([stem, torch.zeros_like(stem[:, :1])], dim=1)
    _load(net, state, _renamer(_STCN_RULES), source)


def load_stm_state(net: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a published STM state dict into `net`, in place; errors as in `load_stcn_state`."""
    if state and all(name.startswith("module.") for name in state):  # saved from inside a parallel wrapper
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    state = dict(state)
    for encoder in ("Encoder_M", "Encoder_Q"):
        for name, numbers in _STM_FIXED.items():
            found = _take(state, f"{encoder}.{name}", (1, 3, 1, 1), source)
            if not torch.allclose(found.flatten().float(), found.new_tensor(numbers).float(), atol=1e-6):
                raise InputError(
                    f"weights from {source} do not fit STM: {encoder}.{name} is {found.flatten().tolist()}, and this "
                    f"network normalises with ImageNet's {numbers}"
                )
    stem = [_take(state, f"Encoder_M.{name}.weight", (64, c, 7, 7), source) for name, c in _STM_STEM]
    state["Encoder_M.conv1.weight"] = torch.cat(stem, dim=1)
    _load(net, state, _renamer(_STM_RULES), source)


_STM_STEM = (("conv1", 3), ("conv1_m", 1), ("conv1_o", 1))


def _renamer(rules: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def rename(name: str) -> str:
        for pattern, published in rules:
            name = re.sub(pattern, published, name)
        return name

    return rename


def _take(state: dict[str, Tensor], name: str, shape: tuple[int, ...], source: str | Path) -> Tensor:
    """Remove a tensor from `state`, checked."""
    tensor = state.pop(name, None)
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        raise _misfit(name, shape, tensor, source)
    return tensor


def _load(net: nn.Module, state: dict[str, Tensor], rename: Callable[[str], str], source: str | Path) -> None:
    own = net.state_dict()
    fitted = {name: _take(state, rename(name), tuple(tensor.shape), source) for name, tensor in own.items()}
    if state:
        raise InputError(f"weights from {source} do not fit: the network has no place for tensor {next(iter(state))!r}")
    net.load_state_dict(fitted)


def _misfit(name: str, shape: tuple[int, ...], found: object, source: str | Path) -> InputError:
    came = "is missing" if found is None else f"is {list(getattr(found, 'shape', [type(found).__name__]))}"
    advice = "; the file is another network's, or was cut off" if found is None else ""
    return InputError(f"weights from {source} do not fit: tensor {name!r} {came}, expected {list(shape)}{advice}")
