"""Calls a learner's function so that nothing it does can harm the lesson.

Fresh inputs for every call, the random state put back afterwards, prints caught, in-place changes noticed, exceptions
kept as results, and an endless loop ended where the system has an alarm clock (not on Windows).
"""

import contextlib
import io
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lessons.compare import difference
from course_lib.lessons.exercise import Case


class OutOfTime(BaseException):
    """The call took too long; no `Exception`, so that a learner's own `except Exception` does not swallow it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value or an error, and what happened beside it."""

    value: Any = None
    error: BaseException | None = None
    gradients: tuple[Tensor | None, ...] = ()
    printed: str = ""
    changed_input: int | None = None  # position of the first input that was changed in place


def run_case(function: Callable[..., Any], case: Case, seconds: float, seed: int = 0) -> Outcome:
    """Call `function` as `case` says. Only KeyboardInterrupt from the keyboard leaves this function."""
    with _random_state_kept(seed):
        before = case.fresh_inputs()
        _seed(seed)
        inputs = case.fresh_inputs()
        leaves = [x for x in inputs if case.gradient and isinstance(x, Tensor) and x.is_floating_point()]
        for leaf in leaves:
            leaf.requires_grad_(True)
        _seed(seed)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), warnings.catch_warnings(), _time_limit(seconds):
                warnings.simplefilter("ignore")  # a division by zero is reported by the check, not by a stray warning
                value = case.use(function, *inputs)
                gradients = _gradients(value, leaves)
        except KeyboardInterrupt:
            raise
        except (Exception, SystemExit, OutOfTime) as error:
            return Outcome(error=error, printed=printed.getvalue())
        return Outcome(value, None, gradients, printed.getvalue(), _changed(inputs, before))


def _gradients(value: Any, leaves: list[Tensor]) -> tuple[Tensor | None, ...]:
    """Gradient, at each leaf, of a weighted sum over the result; None where none arrives."""
    if not leaves:
        return ()
    values = value if isinstance(value, tuple | list) else (value,)
    outputs = [x for x in values if isinstance(x, Tensor) and x.requires_grad]
    if not outputs:
        return (None,) * len(leaves)
    # Weights that differ from entry to entry: a plain sum would hide a permuted or a normalised result.
    weighted = [(x * torch.linspace(0.5, 1.5, x.numel()).to(x).view_as(x)).sum() for x in outputs]
    total = torch.stack(weighted).sum()
    return tuple(torch.autograd.grad(total, leaves, allow_unused=True))


def _changed(inputs: tuple[Any, ...], before: tuple[Any, ...]) -> int | None:
    for index, (now, then) in enumerate(zip(inputs, before)):
        if isinstance(then, Tensor | np.ndarray | list | dict) and difference(now, then, tolerance=0.0) is not None:
            return index
    return None


@contextlib.contextmanager
def _random_state_kept(seed: int) -> Iterator[None]:
    """The lesson's random numbers must not depend on how often an exercise was checked."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        _seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed formats a stack trace each time: checks twice as slow
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime(f"no result after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
