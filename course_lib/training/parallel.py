"""One process or many, CPU or GPU, full or mixed precision: what `accelerate` does for the loop, and how it is asked.

Unusual: the loss computation as a whole is the module that DistributedDataParallel wraps, so a task may call any
method of the bare network, as often as it likes, and gradients still meet.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, distributed, nn

from course_lib.errors import InputError
from course_lib.nn.device import resolve_device
from course_lib.training.config import FitConfig, Task

COLUMNS = ("phase", "step", "lr", "gradient_norm", "seconds")  # of metrics.jsonl, beside the losses
_PATIENCE = timedelta(hours=6)  # how long processes wait for the one that evaluates

Result = TypeVar("Result")


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints: the first of `torchrun`'s, or the only one there is."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return int(os.environ.get("RANK", "0")) == 0


def from_main(work: Callable[[], Result]) -> Result:
    """What `work()` returns on the main process, on every process; the others do not call it, they wait.

    For what follows a `fit`, such as final scores and files: all processes must call this, and what `work` returns is
    sent to them, so it must pickle. With a single process this is `work()`.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return work()
    answer: list[Result | None] = [work() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(answer, src=0)
    return answer[0]  # type: ignore[return-value]


class Objective(nn.Module):
    """Batch in, losses per sample out."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        losses = dict(self.task.loss(self.model, batch, step))
        size = len(next(iter(batch.values())))
        if "loss" not in losses:
            raise InputError(f"Task.loss must return the entry 'loss', got {sorted(losses)}")
        for name, value in losses.items():
            if name in COLUMNS:
                raise InputError(f"a loss cannot be called {name!r}, metrics.jsonl has a column of that name")
            if not isinstance(value, Tensor) or value.shape != (size,):
                came = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise InputError(
                    f"Task.loss must return one number per sample: {name!r} should be [{size}], got {came}. "
                    "Take means over pixels and frames, not over the batch"
                )
        return losses


def freeze_batch_norm(model: nn.Module) -> None:
    """Let all batch norm layers use, and keep, their stored statistics until the next `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


@contextmanager
def accelerated(config: FitConfig, device: str | torch.device) -> Iterator[Accelerator]:
    """The processes and the device of a run.

    Under `torchrun`, each process takes its own GPU, or the CPU with gloo where `device` is "cpu" or there is none.
    Raises `InputError` for a device that is not there or cannot compute in the precision asked for.
    """
    place = resolve_device(device)
    if config.precision == "fp16" and place.type == "cpu":
        raise InputError("precision 'fp16' needs a GPU and this run is on the CPU; use 'bf16' or 'fp32'")
    ours = not AcceleratorState._shared_state  # a notebook may train twice with different settings
    if place.type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)
    try:
        accelerator = Accelerator(
            cpu=place.type == "cpu",
            mixed_precision="no" if config.precision == "fp32" else config.precision,
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=config.unused_parameters),
                InitProcessGroupKwargs(timeout=_PATIENCE),
            ],
        )
    except ValueError as error:
        raise InputError(f"cannot train in {config.precision} on {place}: {error}") from error
    try:
        yield accelerator
    finally:
        if ours:
            AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[None]:
    """Whatever happens to PyTorch's global generators inside is undone at the end."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        yield


def seed_step(seed: int, step: int, rank: int) -> None:
    """Set PyTorch's global generators (dropout and its like) to what update `step` uses on process `rank`."""
    state = np.random.SeedSequence((seed, step, rank, 1)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> 1))


class Window:
    """Running means of the losses since the last row of the log, left on the device until they are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}  # [2] each: sum and number of samples

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count per-sample values [B] in."""
        for name, value in values.items():
            value = value.detach().float()
            entry = torch.stack([value.sum(), torch.full_like(value.sum(), len(value))])
            self.sums[name] = self.sums[name] + entry if name in self.sums else entry

    def gathered(self, accelerator: Accelerator) -> dict[str, Tensor]:
        """Sums over all processes, which must all call this: name -> [2] on the CPU."""
        names = sorted(self.sums)
        if not names:
            return {}
        stacked = accelerator.reduce(torch.stack([self.sums[name] for name in names]), "sum").cpu()  # [N, 2]
        return dict(zip(names, stacked))

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over all processes, which must all call this; then the window starts anew."""
        gathered = self.gathered(accelerator)
        self.sums = {}
        return {name: float(total / count) for name, (total, count) in gathered.items()}
