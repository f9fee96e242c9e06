"""What counts as equal, and how a difference is told."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from course_lib.lessons.compare import describe, difference


@dataclass
class Pair:
    a: float
    b: torch.Tensor


SAME = [
    (1.0, 1.0 + 1e-7),
    (np.float64(0.5), 0.5),
    (torch.tensor(0.5), 0.5),
    (3, 3.0),
    (math.nan, math.nan),
    (math.inf, math.inf),
    (np.bool_(True), True),
    ([1, 2.0], (1, 2.0)),
    ({"a": torch.ones(2)}, {"a": torch.ones(2)}),
    (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan])),
    (np.array(["a"]), np.array(["a"])),
    (torch.empty(0, 3), torch.empty(0, 3)),
    ("text", "text"),
    (None, None),
    (Pair(1, torch.ones(1)), Pair(1, torch.ones(1))),
    (torch.ones(2, requires_grad=True), torch.ones(2)),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
]


@pytest.mark.parametrize(("got", "expected"), SAME)
def test_equal(got, expected):
    assert difference(got, expected) is None


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (0.5, 0.25, "0.25 was expected, not 0.5"),
        (None, 0.25, "a number was expected, not None (is a `return` missing?)"),
        (True, 1.0, "a number was expected, not a bool"),
        (1, True, "True or False was expected, not an int"),
        (1j, 1.0, "a real number was expected"),
        (torch.ones(2), 1.0, "one number was expected, not a tensor of shape [2]"),
        (np.ones(2), torch.ones(2), "a tensor was expected, not a NumPy array"),
        (torch.ones(2), np.ones(2), "a NumPy array was expected, not a tensor"),
        (torch.ones(2, 1), torch.ones(2), "shape [2] was expected, not [2, 1]"),
        (torch.ones(2).double(), torch.ones(2), "dtype torch.float32 was expected, not torch.float64"),
        (np.ones(2, bool), np.ones(2), "dtype float64 was expected, not bool"),
        (
            torch.tensor([1.0, 2, 9]),
            torch.tensor([1.0, 2, 3]),
            "1 of 3 values differ, most at [2]: 3 was expected, not 9",
        ),
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2]), "most at [1]: 2 was expected, not nan"),
        ((1, 2), (1, 2, 3), "3 values were expected, not 2"),
        (1, (1, 2), "2 values in a tuple were expected, not an int"),
        ((1, 5), (1, 2), "value 1: 2 was expected, not 5"),
        ({"a": 1}, {"b": 1}, "the keys ['b'] were expected, not ['a']"),
        ({"a": 1}, {"a": 2}, "key 'a': 2 was expected, not 1"),
        (Pair(1, torch.ones(1)), Pair(2, torch.ones(1)), "field a: 2 was expected, not 1"),
        (
            np.array([True, True]),
            np.array([True, False]),
            "1 of 2 values differ, first at [1]: False was expected, not True",
        ),
        ("no", "yes", "'yes' was expected, not 'no'"),
        (0, None, "None was expected, not 0"),
    ],
)
def test_different(got, expected, message):
    assert message in difference(got, expected)


def test_any_dtype_forgives_the_dtype_only():
    assert difference(torch.ones(2).double(), torch.ones(2), any_dtype=True) is None
    assert difference(torch.zeros(2).double(), torch.ones(2), any_dtype=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_is_part_of_the_answer():
    assert "on cuda:0 was expected, not on cpu" in difference(torch.ones(1), torch.ones(1, device="cuda"))


def test_tolerance_is_absolute_and_relative():
    assert difference(1000.005, 1000.0, tolerance=1e-5) is None
    assert difference(1.05e-5, 1e-5, tolerance=1e-5) is None
    assert difference(1.1, 1.0, tolerance=1e-2)


def test_descriptions_are_short():
    assert describe(torch.tensor([1.0, 2.5])) == "tensor [2] float32\n[1.  2.5]"
    assert describe(np.zeros((100, 100))) == "array [100, 100] float64, from 0 to 0, mean 0"
    assert describe(torch.ones(10, 10) > 0) == "tensor [10, 10] bool, 100.0% true"
    assert describe(torch.empty(0, 3)) == "tensor [0, 3] float32, empty"
    assert describe((1, 0.5)) == "0: 1\n1: 0.5"
    assert len(describe("x" * 10_000)) <= 300
