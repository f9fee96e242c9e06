"""Exercises of lesson 01: zoom_about, compose_moves, three_rewards, rewards_to_go, advantages_leave_one_out,
policy_gradient_loss.

Here are those about moving a view; those about rewards are in `lesson01_rewards`, about the gradient in
`lesson01_gradient`. All six names stand above because an exercise is looked for only where it is mentioned.
"""

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.checks.lesson01_gradient import ADVANTAGES_LEAVE_ONE_OUT, POLICY_GRADIENT_LOSS
from course_lib.lessons.checks.lesson01_rewards import REWARDS_TO_GO, THREE_REWARDS
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer.actions import ActionSet, translation
from course_lib.methods.spatial_transformer.geometry import compose_sequence

# -- zoom about a point -----------------------------------------------------------------------------------------------


def zoom_about(factor: float, x: float, y: float) -> Tensor:
    return compose_sequence(torch.stack([translation(x, y), _scale(1 / factor), translation(-x, -y)]))


def _scale(scale: float) -> Tensor:
    return torch.diag(torch.tensor([scale, scale, 1.0]))


def _zoom(scale: float, shift_x: float, shift_y: float) -> Tensor:
    """Scale first, then shift: the six numbers of a view as they stand."""
    return translation(shift_x, shift_y) @ _scale(scale)


_FORWARD = (
    "Everything gets smaller where it should grow. The matrix says where each pixel of the view looks in the original: "
    "to see things larger, the view must look at less of it, so the scale is 1 / factor."
)
_THIRD = "The third diagonal entry belongs to the 1 of (x, y, 1) and stays 1; only the first two are scaled."


def _why_not_zoom(case: Case, got: Any, expected: Tensor) -> str | None:
    if not isinstance(got, Tensor):
        return None
    if got.shape == (2, 3):
        return "The last row (0, 0, 1) is missing: with it, two matrices can be multiplied."
    if got.shape != expected.shape or got.dtype != expected.dtype or torch.allclose(got.T, expected):
        return None
    if torch.allclose(got[:2, :2], expected[:2, :2], atol=1e-5) and not torch.allclose(got[2], expected[2]):
        return "The last row must be (0, 0, 1): otherwise the third number of a point does not stay 1."
    _, x, y = case.fresh_inputs()
    if torch.allclose(got[:2, :2], expected[:2, :2], atol=1e-5):
        to_x, to_y, _ = (got @ torch.tensor([x, y, 1.0])).tolist()
        return f"The scale is right, but the view at ({x:g}, {y:g}) looks at ({to_x:.3g}, {to_y:.3g}), not there."
    return None


ZOOM_ABOUT = Exercise(
    name="zoom_about",
    reference=zoom_about,
    cases=(
        Case((2.0, 0.0, 0.0), "twice as large, about the centre", expected=(_scale(0.5),)),
        Case(
            (1.25, 0.3, -0.2),
            "1.25 times as large about the point (0.3, -0.2)",
            expected=(torch.tensor([[0.8, 0.0, 0.06], [0.0, 0.8, -0.04], [0.0, 0.0, 1.0]]),),
        ),
        Case((0.5, -0.4, 0.7), "half as large about the point (-0.4, 0.7)"),
        Case((4.0, 1.0, 1.0), "4 times as large about the right lower corner"),
        Case((1.0, 0.5, 0.25), "factor 1: nothing changes", expected=(torch.eye(3),)),
    ),
    misconceptions=(
        Misconception(lambda f, x, y: zoom_about(1 / f, x, y), _FORWARD),
        Misconception(lambda f, x, y: _zoom(f, x, y), _FORWARD),
        Misconception(lambda f, x, y: _scale(f), _FORWARD),
        Misconception(
            lambda f, x, y: _zoom(1 / f, x, y),
            "The point moves to the centre of the view: with the shift (x, y) the centre looks at it. It should stay "
            "where it is, so the view must look there from its own place: s·x + shift = x.",
        ),
        Misconception(
            lambda f, x, y: _scale(1 / f),
            "This zooms about the centre: (x, y) is not used, and the point drifts outwards.",
        ),
        Misconception(
            lambda f, x, y: _zoom(1 / f, -x * (1 - 1 / f), -y * (1 - 1 / f)),
            "The shift has the wrong sign. A positive shift moves the view to the right, and what is seen to the left.",
        ),
        Misconception(
            lambda f, x, y: _zoom(1 / f, x * (1 - f), y * (1 - f)),
            "The shift was computed with the factor. The matrix holds the scale s = 1 / factor, and the point stays if "
            "s·x + shift = x.",
        ),
        Misconception(
            lambda f, x, y: _zoom(1 / f, x / f, y / f),
            "The shift was scaled as well, as if it came before the zoom; the point stays if s·x + shift = x.",
        ),
        Misconception(
            lambda f, x, y: zoom_about(f, y, x),
            "x and y are exchanged: the first row is x, along the width; the second is y, along the height.",
        ),
        Misconception(lambda f, x, y: zoom_about(f, x, y) + torch.diag(torch.tensor([0, 0, 1 / f - 1])), _THIRD),
        Misconception(lambda f, x, y: torch.eye(3) / f, _THIRD),
    ),
    diagnose=_why_not_zoom,
)


# -- one matrix for many moves ----------------------------------------------------------------------------------------


def compose_moves(matrices: list[Tensor]) -> Tensor:
    return compose_sequence(torch.stack([torch.eye(3), *matrices]))


def _doubled_first(matrices: list[Tensor]) -> Tensor:
    return matrices[0] @ compose_moves(matrices)


def _composition_cases() -> tuple[Case, ...]:
    actions = ActionSet.search()

    def moves(*names: str) -> tuple[list[Tensor]]:
        return ([actions.matrices[actions.index(name)] for name in names],)

    right_after_zoom = torch.tensor([[0.8, 0.0, 0.08], [0.0, 0.8, 0.0], [0.0, 0.0, 1.0]])
    right_before_zoom = torch.tensor([[0.8, 0.0, 0.1], [0.0, 0.8, 0.0], [0.0, 0.0, 1.0]])
    five = ("right", "zoom", "turn right", "zoom x", "down")
    return (
        Case(moves("zoom", "right"), "a zoom, then a step of 0.1 to the right", expected=(right_after_zoom,)),
        Case(moves("right", "zoom"), "a step of 0.1 to the right, then a zoom", expected=(right_before_zoom,)),
        Case(moves(*five), f"five moves: {', '.join(five)}"),
        Case(moves("up", "turn left", "zoom y", "left", "zoom", "turn left"), "six moves with two turns"),
        Case(moves("turn right"), "a single move"),
        Case(([],), "no move at all", expected=(torch.eye(3),)),
    )


_NOTHING = "An empty list: no move was made, so the view is the untouched image. Start from the identity, torch.eye(3)."

_ORDER_IDEAS = (
    Misconception(
        lambda m: compose_moves(m[::-1]),
        "The moves are in the wrong order: each new one was multiplied on the left. A pixel of the view is sent "
        "through the newest move first and through the oldest last: view_after(x) = view_before(A x), so A stands "
        "on the right. A step after a zoom is a small step.",
    ),
    Misconception(
        lambda m: reduce(torch.mul, m, torch.ones(3, 3)) if m else torch.eye(3),
        "`*` multiplies number by number. A warp after a warp is a product of matrices: `@`.",
    ),
    Misconception(lambda m: reduce(torch.mul, m, torch.eye(3)), "`*` multiplies number by number; use `@`."),
    Misconception(
        lambda m: torch.eye(3) + sum(a - torch.eye(3) for a in m),
        "The moves were added up. Then a step after a zoom is as long as one before it; but the view has become "
        "small, and its steps with it.",
    ),
    Misconception(
        lambda m: compose_moves(m).inverse(),
        "This is the inverse: where a point of the image shows up in the view. What is asked for says where the "
        "view looks.",
    ),
    Misconception(lambda m: compose_moves(m[-1:]), "Only the last move is left: each step threw the product away."),
    Misconception(lambda m: compose_moves(m[1:]), "The first move is missing."),
    Misconception(lambda m: compose_moves(m[:-1]), "The last move is missing."),
    Misconception(
        lambda m: _doubled_first(m) if m else torch.eye(3),
        "The first move counts twice: it was the start, and then multiplied again.",
    ),
    Misconception(lambda m: m[0] @ compose_moves(m[1:]), _NOTHING),
    Misconception(lambda m: _doubled_first(m), f"{_NOTHING} Then the first move does not count twice either."),
    Misconception(lambda m: reduce(torch.matmul, m), _NOTHING),
    Misconception(lambda m: compose_sequence(torch.stack(m)), _NOTHING),
)

COMPOSE_MOVES = Exercise(
    name="compose_moves",
    reference=compose_moves,
    cases=_composition_cases,
    misconceptions=_ORDER_IDEAS,
    diagnose=first_fault(_ORDER_IDEAS),
)


EXERCISES = [
    ZOOM_ABOUT,
    COMPOSE_MOVES,
    THREE_REWARDS,
    REWARDS_TO_GO,
    ADVANTAGES_LEAVE_ONE_OUT,
    POLICY_GRADIENT_LOSS,
]
