"""From sample numbers to batches: the one place where data order and random numbers are decided.

Update s of a run with batch size B uses the samples s·B … s·B + B - 1; each process takes its stretch of them. Sample
n draws from a generator made from (seed, n). Unusual: nothing here has state, so to resume is to start at a number.
"""

import signal
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from course_lib.errors import InputError
from course_lib.training.config import FitConfig, Sample, Task


def sample_rng(seed: int, index: int) -> np.random.Generator:
    """The generator from which sample `index` of a run draws everything."""
    return np.random.default_rng((seed, index))


def epoch_order(index: int, n: int, seed: int = 0) -> int:
    """Item of a data set of `n` that sample `index` uses: each item once per n samples, in a new order each time.

    Raises `InputError` for an empty data set.
    """
    if n < 1:
        raise InputError("there is nothing to learn from: the data set is empty")
    epoch, position = divmod(index, n)
    return int(_shuffled(n, seed, epoch)[position])


@lru_cache(maxsize=4)
def _shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, n)).permutation(n)


class SampleSequence(Dataset):
    """A task's samples by number, each with its own generator."""

    def __init__(self, task: Task, config: FitConfig) -> None:
        self.task = task
        self.seed = config.seed
        self.batch_size = config.batch_size

    def __len__(self) -> int:
        raise TypeError("the sequence of samples has no end")

    def __getitem__(self, index: int) -> Sample:
        return self.task.sample(index, index // self.batch_size, sample_rng(self.seed, index))


class RankBatches:
    """Numbers of the samples that process `rank` of `world` uses, one list per update from `start` on."""

    def __init__(self, config: FitConfig, start: int, rank: int = 0, world: int = 1) -> None:
        if config.batch_size % (world * config.accumulate):
            raise InputError(
                f"a batch of {config.batch_size} cannot be dealt out evenly to {world} processes in "
                f"{config.accumulate} pieces each; choose a multiple of {world * config.accumulate}"
            )
        self.start, self.steps, self.batch_size = start, config.steps, config.batch_size
        self.local = config.batch_size // world
        self.first = rank * self.local

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            begin = step * self.batch_size + self.first
            yield list(range(begin, begin + self.local))


def collate(samples: list[Sample]) -> dict[str, Tensor]:
    """Stack samples: each tensor [...] becomes [B, ...]. Raises `InputError` naming the entry that does not fit."""
    batch = {}
    for name, first in samples[0].items():
        tensors = [sample.get(name) for sample in samples]
        if not all(isinstance(t, Tensor) and t.shape == first.shape for t in tensors):
            came = [list(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in tensors]
            raise InputError(f"{name!r} must be a tensor of the same shape in every sample of a batch, got {came}")
        batch[name] = torch.stack(tensors)  # type: ignore[arg-type]
    return batch


def load_batches(task: Task, config: FitConfig, start: int, rank: int, world: int, pin: bool = False) -> DataLoader:
    """Batches of one process, one per update from `start` to the end of the run."""
    return DataLoader(
        SampleSequence(task, config),
        batch_sampler=RankBatches(config, start, rank, world),
        collate_fn=collate,
        num_workers=config.workers,
        worker_init_fn=_leave_signals_to_the_trainer,
        pin_memory=pin,
        prefetch_factor=4 if config.workers else None,
    )


def pieces(batch: Mapping[str, Tensor], n: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """The batch on the device, in `n` pieces of equal size."""
    chunks = {name: tensor.chunk(n) for name, tensor in batch.items()}
    for i in range(n):
        yield {name: parts[i].to(device, non_blocking=True) for name, parts in chunks.items()}


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; a worker that died of it would take the last step with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
