"""What a training run is: `FitConfig` (how), `Task` (on what, for which loss) and `FitResult` (what came out).

A method writes a `Task`: one training sample as a function of its number, and one loss per sample. Everything else is
the loop's business. Unusual: losses come per sample and samples know nothing of processes, workers or batches, which
is what makes a run the same on one process and on eight, and the same again after a crash.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.training.schedules import LearningRate

Sample = Mapping[str, Tensor]


class Task(Protocol):
    """What to learn. It holds data and settings, no state: what must survive a restart is a buffer of the model.

    It is sent to data workers, so it must pickle when `FitConfig.workers` > 0.
    """

    def sample(self, index: int, step: int, rng: np.random.Generator) -> Sample:
        """Training sample number `index` of the endless sequence, as tensors by name, without a batch dimension.

        `step` is the update that will use it (for curricula). All randomness comes from `rng`, which depends on the
        run's seed and `index` alone. See `course_lib.training.samples.epoch_order` for going through a data set.
        """
        ...

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Losses by name, each [B], one per sample of `batch`; "loss" is minimised, the others are logged.

        `model` is the bare module: all its methods may be called. One backward pass serves several players as well
        (a discriminator learns from detached features, a generator against a frozen copy of its parameters).
        """
        ...


def _free(default: object) -> object:
    """A field that a resumed run may change, because the curve does not depend on it."""
    return field(default=default, metadata={"free": True})


@dataclass(frozen=True)
class FitConfig:
    """How to train. Raises `InputError` for values out of range."""

    steps: int = 1000
    """Updates of the weights."""
    batch_size: int = 8
    """Samples per update, of all processes together."""
    accumulate: int = 1
    """Pieces in which a batch goes through the network, to save memory."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-4
    """Peak learning rate."""
    schedule: LearningRate = field(default_factory=LearningRate)
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's memory of gradients and of their squares."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    """Largest norm of the gradient of all weights together; 0 sets no limit."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Mixed precision of the forward pass; fp16 needs a GPU."""
    ema: float = 0.0
    """Decay of a moving average of the weights, which is then what is evaluated and returned; 0 keeps none."""
    freeze_batch_norm: bool = True
    """Batch norm uses its stored statistics. Without it several processes do not equal one."""
    seed: int = 0
    log_every: int = 50
    """Steps between rows of metrics.jsonl; a row is the mean over them."""
    evaluate_every: int = 0
    """Steps between evaluations; 0 evaluates at the end only."""
    best: str = ""
    """Metric of the evaluation that chooses best.safetensors, higher is better; "-name" if lower is."""
    checkpoint_every: int = _free(500)  # type: ignore[assignment]
    """Steps between checkpoints; one is written at the end in any case."""
    keep: int = _free(2)  # type: ignore[assignment]
    """Checkpoints kept."""
    workers: int = _free(0)  # type: ignore[assignment]
    """Data workers of each process; 0 loads in the training process."""
    unused_parameters: bool = _free(False)  # type: ignore[assignment]
    """Several processes only: some weights have no gradient in some steps."""

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "keep")
        for name in (*counts, "evaluate_every", "workers", "seed"):
            lowest = 1 if name in counts else 0
            if getattr(self, name) < lowest:
                raise InputError(f"FitConfig.{name} must be at least {lowest}, got {getattr(self, name)}")
        if self.lr <= 0 or self.clip_norm < 0 or self.weight_decay < 0 or not 0 <= self.ema < 1:
            raise InputError(f"expected lr > 0, clip_norm >= 0, weight_decay >= 0 and 0 <= ema < 1, got {self}")
        for name, choices in (("optimizer", ("adam", "adamw", "sgd")), ("precision", ("fp32", "bf16", "fp16"))):
            if getattr(self, name) not in choices:
                raise InputError(f"FitConfig.{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")


def curve_settings(config: FitConfig) -> dict[str, object]:
    """The fields on which the training curve depends; a run is resumed only with the same ones."""
    free = {f.name for f in dataclasses.fields(config) if f.metadata.get("free")}
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in free}


_ADVICE = "Use the old settings to go on with it, another run directory to keep both, or fresh=True to start again"


def check_same_settings(before: object, now: object, where: Path | None, advice: str = _ADVICE) -> None:
    """Raise `InputError` that lists every setting in which the run kept in `where` and the present one differ.

    advice  a sentence without its full stop: what to do about it
    """
    old, new = _flat(before), _flat(now)
    absent = "(not set)"
    differences = [
        f"{name} was {old.get(name, absent)!r}, is {new.get(name, absent)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, absent) != new.get(name, absent)
    ]
    if differences:
        raise InputError(f"{where} holds a run with other settings: {'; '.join(differences)}. {advice}")


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Nested dicts as {"a.b": value}."""
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, object] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat


@dataclass(frozen=True)
class Best:
    """The evaluation that chose best.safetensors."""

    step: int
    metric: str
    value: float


@dataclass(frozen=True)
class FitResult:
    """A finished run."""

    model: nn.Module
    """The network handed to `fit`, trained, in evaluation mode; with `ema` it holds the averaged weights."""
    rows: list[dict]
    """Rows of metrics.jsonl: {"phase": "train" or "eval", "step": …, …}."""
    steps: int
    seconds: float
    """Of training and evaluation, interrupted sessions included."""
    best: Best | None
    path: Path | None
    """The run directory."""

    @property
    def minutes(self) -> float:
        """For the card of the weights."""
        return self.seconds / 60

    def curve(self, name: str = "loss", phase: str = "train") -> tuple[list[int], list[float]]:
        """Steps and values of one column, for a plot. Raises `InputError` naming the columns there are."""
        rows = [row for row in self.rows if row["phase"] == phase]
        if not any(name in row for row in rows):
            there = sorted({key for row in rows for key in row} - {"phase", "step"})
            raise InputError(f"no {phase} row has {name!r}; there are {', '.join(there) or 'no rows'}")
        chosen = [row for row in rows if name in row]
        return [row["step"] for row in chosen], [row[name] for row in chosen]
