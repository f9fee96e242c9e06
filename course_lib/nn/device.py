"""Which device to compute on: "auto" takes CUDA, else Apple's MPS, else the CPU.

One place decides, so that lessons, commands and tests agree.
"""

import torch
from torch import Tensor, nn

from course_lib.errors import InputError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto", "cuda", "cuda:1", "mps", "cpu" or a torch device into a device that is there.

    Raises `InputError` for an unknown name, or one that this machine does not have.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}; expected auto, cuda, cuda:N, mps or cpu") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {str(device)!r} is not here: PyTorch sees {torch.cuda.device_count()} CUDA devices. "
            "Use device='auto' to take what there is"
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("device 'mps' is not here: PyTorch sees no Apple GPU. Use device='auto' to take what there is")
    return resolved


def device_of(model: object) -> torch.device:
    """Device a model computes on: its attribute `device`, else that of its first parameter, else the CPU."""
    device = getattr(model, "device", None)
    if device is not None:
        return torch.device(device)
    if isinstance(model, nn.Module):
        tensor: Tensor | None = next(model.parameters(), None)
        return tensor.device if tensor is not None else torch.device("cpu")
    return torch.device("cpu")
