"""What an exercise is: a reference, cases to try, and the wrong ideas that learners have.

A wrong idea is itself a function. When a learner's results equal those of a wrong idea on every case, the check can
name the idea instead of only the numbers; and a test can prove that each idea is told apart from the right one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from course_lib.errors import InputError


def call(function: Callable[..., Any], *inputs: Any) -> Any:
    """The plain use of a function."""
    return function(*inputs)


@dataclass(frozen=True)
class Case:
    """One thing to try.

    inputs: arguments, or a function that makes them (for generators and other things that cannot be copied).
    about: what is special about them, in words: "two empty masks".
    use: how the answer is used; by default it is called with the inputs. For a class, or for a property rather than a
    value, this is the scenario: `lambda Bank, x: Bank(4).write(x).read()`.
    expected: the result by hand, as a tuple of one; without it the reference gives the result.
    gradient: also compare the gradients that reach the floating point inputs.
    """

    inputs: tuple[Any, ...] | Callable[[], tuple[Any, ...]]
    about: str = ""
    use: Callable[..., Any] = call
    expected: tuple[Any] | None = None
    gradient: bool = False

    def fresh_inputs(self) -> tuple[Any, ...]:
        """Inputs that nobody has touched."""
        return self.inputs() if callable(self.inputs) else copy.deepcopy(self.inputs)


@dataclass(frozen=True)
class Misconception:
    """A plausible wrong answer and the sentence that helps whoever gave it. It names the cause, not the solution."""

    wrong: Callable[..., Any]
    cause: str


@dataclass(frozen=True)
class Exercise:
    """An exercise and how to check it. `tolerance` is absolute and relative; `seconds` is the limit of one call."""

    name: str
    reference: Callable[..., Any]
    cases: tuple[Case, ...] | Callable[[], tuple[Case, ...]]  # a function delays work until the check runs
    misconceptions: tuple[Misconception, ...] = ()
    tolerance: float = 1e-5
    any_dtype: bool = False
    seconds: float = 20.0
    diagnose: Callable[[Case, Any, Any], str | None] | None = field(default=None)  # case, got, expected -> likely cause

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise InputError(f"an exercise has the name of the function it asks for; got {self.name!r}")

    def all_cases(self) -> tuple[Case, ...]:
        cases = self.cases() if callable(self.cases) else self.cases
        if not cases:
            raise InputError(f"exercise {self.name} has no cases to try")
        return cases
