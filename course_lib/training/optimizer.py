"""The optimizer of a run, and its state as named tensors, for checkpoints.

Unusual: the learning rate is no state; the loop sets it anew in every step from the schedule.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from course_lib.errors import InputError
from course_lib.training.config import FitConfig


def make_optimizer(
    model: nn.Module, config: FitConfig, parameters: Iterable[dict] | None = None
) -> torch.optim.Optimizer:
    """The optimizer of `config` over parameter groups, by default one with all weights that require a gradient.

    Raises `InputError` if there are none.
    """
    groups = [{"params": [w for w in model.parameters() if w.requires_grad]}] if parameters is None else parameters
    groups = [{"lr_scale": 1.0, **group, "params": list(group["params"])} for group in groups]
    if not any(group["params"] for group in groups):
        raise InputError(f"{type(model).__name__} has no weights to train: none requires a gradient")
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, config.lr, betas=config.betas, weight_decay=config.weight_decay)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as "<number of the weight>/<entry>" -> tensor. Settings are not in it: the run has them."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out. Raises `InputError` if the optimizer has fewer weights."""
    own = optimizer.state_dict()
    n = sum(len(group["params"]) for group in own["param_groups"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        if int(index) >= n:
            raise InputError(f"the checkpoint has optimizer state of weight {index}, this run trains only {n}")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": own["param_groups"]})
