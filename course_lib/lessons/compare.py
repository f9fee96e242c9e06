"""Compares a learner's result with the expected one and says in words how they differ.

Strict about what later cells rely on (type, shape, dtype, device), lenient about what they do not (a 0-d tensor or a
NumPy scalar where a Python number is expected, a list where a tuple is).
"""

import dataclasses
from collections.abc import Mapping
from numbers import Number, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHOWN_VALUES = 36  # larger arrays are summarised


def difference(got: Any, expected: Any, tolerance: float = 1e-5, any_dtype: bool = False) -> str | None:
    """How `got` differs from `expected`, in words; None if it does not.

    tolerance: allowed absolute difference, and relative to the expected value, of each floating point number.
    NaN equals NaN. any_dtype: numbers may have another dtype, as long as the values agree.
    """
    if expected is None or isinstance(expected, str | bytes | type):
        return None if _plain_equal(got, expected) else f"{describe(expected)} was expected, not {describe(got)}"
    if isinstance(expected, Tensor):
        if not isinstance(got, Tensor):
            return f"a tensor was expected, not {type_name(got)}"
        return _tensor_difference(got, expected, tolerance, any_dtype)
    if isinstance(expected, np.ndarray):
        if not isinstance(got, np.ndarray):
            return f"a NumPy array was expected, not {type_name(got)}"
        if got.dtype != expected.dtype and not any_dtype:
            return f"dtype {expected.dtype} was expected, not {got.dtype}"
        return _values_difference(got, expected, tolerance)
    if isinstance(expected, bool | np.bool_ | Number | np.number):
        return _number_difference(got, expected, tolerance)
    if isinstance(expected, tuple | list):
        if not isinstance(got, tuple | list):
            return f"{len(expected)} values in a tuple were expected, not {type_name(got)}"
        if len(got) != len(expected):
            return f"{len(expected)} values were expected, not {len(got)}"
        return _first(((f"value {i}", g, e) for i, (g, e) in enumerate(zip(got, expected))), tolerance, any_dtype)
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return f"a dictionary was expected, not {type_name(got)}"
        if set(got) != set(expected):
            return f"the keys {sorted(map(str, expected))} were expected, not {sorted(map(str, got))}"
        return _first(((f"key {key!r}", got[key], expected[key]) for key in expected), tolerance, any_dtype)
    if dataclasses.is_dataclass(expected):
        if type(got) is not type(expected):
            return f"a {type(expected).__name__} was expected, not {type_name(got)}"
        names = [f.name for f in dataclasses.fields(expected)]
        return _first(((f"field {n}", getattr(got, n), getattr(expected, n)) for n in names), tolerance, any_dtype)
    return None if _plain_equal(got, expected) else f"{describe(expected)} was expected, not {describe(got)}"


def describe(value: Any) -> str:
    """A value as a learner wants to see it: small ones in full, large ones as shape, dtype and range. Never raises."""
    try:
        return _described(value)
    except Exception:  # sparse tensors, and classes of a learner's own whose printing fails
        return f"{type_name(value)} that cannot be printed"


def _described(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        where = f" on {value.device}" if isinstance(value, Tensor) and value.device.type != "cpu" else ""
        kind = "tensor" if isinstance(value, Tensor) else "array"
        head = f"{kind} {list(value.shape)} {str(value.dtype).removeprefix('torch.')}{where}"
        values = _as_array(value) if isinstance(value, Tensor) else value
        if values.size == 0:
            return f"{head}, empty"
        if values.size <= SHOWN_VALUES:
            return f"{head}\n{np.array2string(values, precision=4, suppress_small=True, max_line_width=100)}"
        if values.dtype == bool:
            return f"{head}, {values.mean():.1%} true"
        return f"{head}, from {values.min():.4g} to {values.max():.4g}, mean {values.astype(float).mean():.4g}"
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    if isinstance(value, tuple | list) and value and len(value) <= 8:
        return "\n".join(f"{i}: {describe(item)}" for i, item in enumerate(value))
    text = repr(value)
    return text if len(text) <= 300 else text[:297] + "…"


def type_name(value: Any) -> str:
    """A value's type in words."""
    if value is None:
        return "None (is a `return` missing?)"
    names = {Tensor: "a tensor", np.ndarray: "a NumPy array", bool: "a bool", int: "an int", float: "a float"}
    return names.get(type(value), f"a {type(value).__name__}")


def _first(items, tolerance: float, any_dtype: bool) -> str | None:
    for name, got, expected in items:
        if (message := difference(got, expected, tolerance, any_dtype)) is not None:
            return f"{name}: {message}"
    return None


def _plain_equal(got: Any, expected: Any) -> bool:
    if type(got) is not type(expected) and (got is None or expected is None):
        return False
    try:
        return bool(got == expected)
    except Exception:  # objects that cannot be compared are different
        return False


def _number_difference(got: Any, expected: Any, tolerance: float) -> str | None:
    if isinstance(got, Tensor | np.ndarray):
        if int(np.prod(got.shape)) != 1:
            return f"one number was expected, not {type_name(got)} of shape {list(got.shape)}"
        got = got.item()
    if isinstance(got, np.generic):
        got = got.item()
    expected = expected.item() if isinstance(expected, np.generic) else expected
    if isinstance(expected, bool):
        if not isinstance(got, bool):
            return f"True or False was expected, not {type_name(got)}"
        return None if got == expected else f"{expected} was expected, not {got}"
    if not isinstance(got, Number) or isinstance(got, bool):
        return f"a number was expected, not {type_name(got)}"
    if isinstance(expected, Real) and not isinstance(got, Real):
        return f"a real number was expected, not {got}"
    if np.allclose(np.asarray(got), np.asarray(expected), rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    return f"{describe(expected)} was expected, not {describe(got)}"


def _tensor_difference(got: Tensor, expected: Tensor, tolerance: float, any_dtype: bool) -> str | None:
    if got.shape != expected.shape:
        return f"shape {list(expected.shape)} was expected, not {list(got.shape)}"
    if got.dtype != expected.dtype and not any_dtype:
        return f"dtype {expected.dtype} was expected, not {got.dtype}"
    if got.device != expected.device:
        return f"a tensor on {expected.device} was expected, not on {got.device}"
    return _values_difference(_as_array(got), _as_array(expected), tolerance)


def _as_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in {torch.bfloat16, torch.float16} else tensor).numpy()


def _values_difference(got: np.ndarray, expected: np.ndarray, tolerance: float) -> str | None:
    if got.shape != expected.shape:
        return f"shape {list(expected.shape)} was expected, not {list(got.shape)}"
    if expected.dtype.kind == got.dtype.kind == "b":
        apart = np.argwhere(got != expected)
        if not len(apart):
            return None
        told = f"first at {apart[0].tolist()}: {expected[tuple(apart[0])]} was expected, not {got[tuple(apart[0])]}"
        return f"{len(apart)} of {expected.size} values differ, {told}"
    if expected.dtype.kind not in "biufc":
        return None if np.array_equal(got, expected) else "the values differ"
    wide = complex if "c" in (got.dtype.kind, expected.dtype.kind) else float
    got, expected = got.astype(wide), expected.astype(wide)
    wrong = ~np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not wrong.any():
        return None
    with np.errstate(invalid="ignore"):
        gap = np.where(wrong, np.nan_to_num(np.abs(got - expected), nan=np.inf, posinf=np.inf), -1)
    where = np.unravel_index(int(gap.argmax()), gap.shape)
    place = f" at {[int(i) for i in where]}" if where else ""
    return (
        f"{int(wrong.sum())} of {wrong.size} values differ, most{place}: "
        f"{expected[where]:.6g} was expected, not {got[where]:.6g}"
    )
