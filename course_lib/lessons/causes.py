"""Guesses why a result is wrong when no known misconception fits: transposed, shifted, scaled, negated, detached …

Each guess is tried on the numbers; the first that reproduces the learner's result is named.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lessons.compare import difference
from course_lib.lessons.sandbox import Outcome, OutOfTime


def cause_of_error(error: BaseException, function: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
    """What an exception usually means here."""
    if isinstance(error, OutOfTime):
        return "The loop may never end, or it visits every pixel in Python: let one tensor operation do it."
    if isinstance(error, TypeError) and (changed := _other_signature(function, reference)):
        return changed
    if isinstance(error, SystemExit):
        return "The function ends the program: return the result instead of calling exit()."
    if isinstance(error, ZeroDivisionError):
        return "There is a division by zero in this case: what should the result be when there is nothing to count?"
    if isinstance(error, RecursionError):
        return "The function calls itself without end."
    if isinstance(error, NameError):
        return "A name is not defined: a typing mistake, or an import or earlier cell that was not run."
    text = str(error)
    if isinstance(error, RuntimeError) and "must match the size" in text:
        return "Two tensors that are combined have shapes that do not fit: print their shapes just before that line."
    if isinstance(error, RuntimeError) and "expected all tensors to be on the same device" in text.lower():
        return "A tensor was made on another device: give `device=` of an input when making it."
    if isinstance(error, RuntimeError) and "requires grad" in text and "numpy" in text.lower():
        return "NumPy cannot carry gradients: stay with torch operations."
    return None


def cause_of_difference(got: Any, expected: Any, tolerance: float) -> str | None:
    """A simple transformation of the expected result that gives the learner's."""
    if got is None and expected is not None:
        return "The function returns None: is a `return` missing?"
    if isinstance(expected, tuple | list) and isinstance(got, tuple | list) and len(got) == len(expected):
        if len(got) > 1 and difference(list(reversed(got)), list(expected), tolerance) is None:
            return "The values are right, their order is reversed."
        for g, e in zip(got, expected):
            if difference(g, e, tolerance) is not None:
                return cause_of_difference(g, e, tolerance)
        return None
    if not isinstance(got, Tensor) or not isinstance(expected, Tensor):
        if type(got) is float and type(expected) is float:
            got, expected = torch.tensor(got), torch.tensor(expected)
        elif isinstance(got, np.ndarray) and isinstance(expected, np.ndarray) and expected.dtype.kind in "biuf":
            got, expected = torch.as_tensor(got), torch.as_tensor(expected)
        else:
            return None
    got, expected = got.detach().cpu(), expected.detach().cpu()  # not every device knows float64
    if got.dtype != expected.dtype and difference(got, expected, tolerance, any_dtype=True) is None:
        return f"The values are right, the dtype is not: `.to(torch.{str(expected.dtype).removeprefix('torch.')})`?"
    for guess, message in _guesses(got, expected):
        if guess.shape == got.shape and difference(got, guess, max(tolerance, 1e-5), any_dtype=True) is None:
            return message
    if got.is_floating_point() and not bool(torch.isfinite(got).all()) and bool(torch.isfinite(expected).all()):
        return "The result holds NaN or infinity: a division by zero, or a logarithm of something not positive?"
    return _shape_cause(got, expected)


def cause_of_gradient(got: Outcome, expected: Outcome) -> str:
    """The results agree, the gradients do not."""
    if all(g is None for g in got.gradients) and any(e is not None for e in expected.gradients):
        return "No gradient reaches the inputs: .detach(), .item(), .data, torch.no_grad() or NumPy cut the graph."
    if any(g is None and e is not None for g, e in zip(got.gradients, expected.gradients)):
        return "One input gets no gradient: it was detached, or turned into a number, on its way."
    if any(g is not None and e is None for g, e in zip(got.gradients, expected.gradients)):
        return "A gradient reaches an input that should get none: is a .detach() missing?"
    return "The result is right but its gradient is not: something was detached, or rounded, on the way."


def _guesses(got: Tensor, expected: Tensor) -> Iterator[tuple[Tensor, str]]:
    if expected.dim() >= 2:
        yield expected.transpose(-1, -2), "Rows and columns are swapped: the result is the transpose of the right one."
        yield expected.transpose(0, 1), "The first two axes are swapped."
    if expected.dtype == torch.bool:
        yield ~expected, "The result is inverted: True where False is right."
        return
    values = expected.double()
    yield -values, "The sign is wrong: every value is negated."
    yield 1 - values, "The result is one minus the right one."
    yield values.sqrt(), "The result is the square root of the right one."
    yield values**2, "The result is the square of the right one."
    for dim in range(expected.dim()):
        if expected.shape[dim] > 1:
            axis = f"along axis {dim}"
            yield expected.flip(dim), f"The order {axis} is reversed."
            yield expected.roll(1, dim), f"Off by one {axis}: the values sit one place too late."
            yield expected.roll(-1, dim), f"Off by one {axis}: the values sit one place too early."
            yield values.cumsum(dim), f"The values are summed up {axis}."
    flat, right = got.double().flatten(), values.flatten()
    if flat.shape == right.shape and flat.numel() > 1 and bool(right.abs().max() > 0):
        factor = float(flat @ right / (right @ right))
        if abs(factor) > 1e-9:
            yield (
                factor * values,
                f"Every value is {factor:.4g} times the right one: a normalisation missing or doubled?",
            )


def _shape_cause(got: Tensor, expected: Tensor) -> str | None:
    if got.shape == expected.shape:
        return None
    if got.numel() == expected.numel():
        return "The number of values is right, their arrangement is not: an extra, missing or swapped axis."
    if got.dim() == expected.dim() - 1:
        return "An axis is missing: a reduction or an index took one too many (see keepdim, or index with a slice)."
    if got.dim() == expected.dim() + 1:
        return "There is one axis too many: a reduction or an index is missing."
    return "The shape is not the one in the docstring: print shapes after each step."


def _other_signature(function: Callable[..., Any], reference: Callable[..., Any]) -> str | None:
    try:
        theirs, ours = inspect.signature(function), inspect.signature(reference)
    except (TypeError, ValueError):
        return None
    if list(theirs.parameters) == list(ours.parameters):
        return None
    return f"The arguments were changed: {ours} is expected, not {theirs}."
