"""State dicts from files into modules, exactly: every tensor has its place and every place its tensor, or an error.

Unusual: a file is only ever read as tensors (never unpickled as code), and the message of a mismatch names the first
tensor that is at fault, because the rest usually follows from it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from course_lib.errors import InputError, MissingDataError

SHIPPED = Path(__file__).parents[1] / "weights"  # trained networks of the course, each with its card


def find_weights(name: str, path: str | Path | None = None, folder: Path = SHIPPED) -> Path:
    """The file of the trained network `name`: `path`, or by default the one that the course ships in `folder`.

    Raises `MissingDataError`, which says how to make it, if there is no such file.
    """
    path = folder / f"{name}.safetensors" if path is None else Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"the weights of {name!r} are not here: there is no {path}. Take a checkout or a release that has them, or "
            f"train them with `course train {name}` and name the file that it writes, for example "
            f"--weights runs/train/{name}/{name}.safetensors"
        )
    return path


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors` file or a PyTorch checkpoint, on the CPU.

    Raises `MissingDataError` if there is no file, `InputError` if it is truncated or holds anything but named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the readers fail in many ways, all of which mean the same here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as weights ({reason}); it is damaged or not a state dict") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds a {type(state).__name__}, not a state dict (tensors by name)")
    return dict(state)


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load `state` into `module`; `source` names its origin in messages.

    Raises `InputError` naming the first tensor that is missing, of another shape, or too many; the module is then
    unchanged.
    """
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise InputError(
                f"weights from {source} do not fit {type(module).__name__}: "
                f"tensor {name!r} {list(tensor.shape)} is missing"
            )
        if state[name].shape != tensor.shape:
            raise InputError(
                f"weights from {source} do not fit {type(module).__name__}: tensor {name!r} is "
                f"{list(state[name].shape)}, expected {list(tensor.shape)}"
            )
    for name in state:
        if name not in wanted:
            raise InputError(
                f"weights from {source} do not fit {type(module).__name__}: it has no place for tensor {name!r}"
            )
    module.load_state_dict(state)
