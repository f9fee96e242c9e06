"""Weights on their way out of a run: half precision for those that ship with the course, and back into a network.

Unusual: only matrices and kernels are halved; biases and batch norm statistics are few, and keep their precision.
"""

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError
from course_lib.nn.weights import load_exactly, read_state_dict
from course_lib.training.checkpoint import on_cpu, write_safetensors
from course_lib.training.run_directory import RunDirectory

SHIPPED_BYTES = 8_000_000  # what a checkpoint inside the package may weigh

Network = TypeVar("Network", bound=nn.Module)


def export_weights(model: nn.Module, path: str | Path, half: bool = True, limit: int | None = SHIPPED_BYTES) -> Path:
    """Write the weights and buffers of `model` to a safetensors file of at most `limit` bytes.

    half  store tensors of two and more dimensions as float16, the rest as they are

    Raises `InputError` if the file would be too large, or a weight is not finite or too large for float16 (65,504);
    `WriteError` if the disk refuses. An earlier file is then untouched.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"weights are written as .safetensors, got {path.name}")
    tensors = {name: _stored(name, tensor, half) for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if limit is not None and size > limit:
        raise InputError(
            f"{type(model).__name__} needs {size / 1e6:.1f} MB, {path.name} may have {limit / 1e6:.1f}; use "
            f"{'a smaller network' if half else 'half=True'}, or limit=None for a file that does not ship"
        )
    with atomic_path(path) as temporary:
        write_safetensors(on_cpu(tensors), temporary, {})
    return path


def load_weights(model: Network, path: str | Path) -> Network:
    """Put exported weights into `model`, in its own precision; returns it.

    Raises `MissingDataError` if there is no file, `InputError` if it is damaged or names a tensor that does not fit.
    """
    load_exactly(model, read_state_dict(path), path)
    return model


def load_best(model: Network, run: str | Path) -> Network:
    """Put the weights that scored best during a run into `model`; returns it. Raises like `load_weights`."""
    return load_weights(model, RunDirectory(run).best)


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise InputError(f"weight {name!r} is not finite; there is nothing worth shipping in these weights")
    if not (half and tensor.ndim >= 2 and tensor.is_floating_point()):
        return tensor
    halved = tensor.to(torch.float16)
    if not halved.isfinite().all():
        raise InputError(f"weight {name!r} reaches {tensor.abs().max():.3g}, too much for float16; use half=False")
    return halved
