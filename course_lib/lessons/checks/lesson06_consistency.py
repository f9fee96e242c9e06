"""Exercise of lesson 06 about where flow cannot be trusted: follow it to the past and come back.

What was not visible in the frame before has no flow at all; there the two directions disagree, and nobody needs the
truth to see it. `lesson06` lists this exercise.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.nn.warp import backward_warp, stays_inside


def lost_pixels(to_past: Tensor, to_future: Tensor, tolerance: float) -> Tensor:
    return ~stays_inside(to_past[None])[0] | (_miss(to_past, to_future).norm(dim=0) > tolerance)


def _miss(there: Tensor, back: Tensor) -> Tensor:
    """[2, H, W] from the start of each round trip to its end."""
    return there + backward_warp(back[None], there[None], outside="edge")[0]


def _outside(flow: Tensor) -> Tensor:
    return ~stays_inside(flow[None])[0]


def _by(length: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The check with another length of the miss [2, H, W]."""

    def wrong(to_past: Tensor, to_future: Tensor, tolerance: float) -> Tensor:
        return _outside(to_past) | (length(_miss(to_past, to_future)) > tolerance)

    return wrong


def moving_square(
    height: int, width: int, top: int, left: int, side: int, x: int, y: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Exact flows of a square that moves by (x, y) before a still backdrop, and what it uncovers.

    top, left  of the square in the old frame. Returns to_past, to_future [2, H, W] and the uncovered pixels [H, W].
    """
    old, new = torch.zeros(height, width, dtype=torch.bool), torch.zeros(height, width, dtype=torch.bool)
    old[top : top + side, left : left + side] = True
    new[top + y : top + y + side, left + x : left + x + side] = True
    step = torch.tensor([x, y], dtype=torch.float32).view(2, 1, 1)
    return -step * new, step * old, old & ~new


def _turned(height: int, width: int, degrees: float) -> tuple[Tensor, Tensor]:
    """Flow to the past and to the future of a picture that turns about its middle."""
    angle = torch.deg2rad(torch.tensor(degrees))
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")

    def flow(a: Tensor) -> Tensor:
        return torch.stack([a.cos() * x - a.sin() * y - x, a.sin() * x + a.cos() * y - y])

    return flow(-angle), flow(angle)


def _pan(height: int, width: int, x: float) -> tuple[Tensor, Tensor]:
    flow = torch.zeros(2, height, width)
    flow[0] = x
    return flow, -flow


def _cases() -> tuple[Case, ...]:
    past, future, uncovered = moving_square(3, 14, 0, 2, 4, 3, 0)
    square = moving_square(20, 30, 6, 8, 7, 3, 2)
    pan = _pan(6, 10, 2.0)
    leaves = torch.zeros(6, 10, dtype=torch.bool)
    leaves[:, 8:] = True
    still = torch.zeros(2, 4, 6)
    diagonal = still + torch.tensor([0.8, 0.8]).view(2, 1, 1) * (torch.arange(6) == 2)
    slight = still + torch.tensor([0.6, 0.6]).view(2, 1, 1) * (torch.arange(6) == 2)
    larger = still + torch.tensor([1.3, -1.3]).view(2, 1, 1) * (torch.arange(6) == 3)
    inner = still.clone()
    turned = _turned(15, 21, 6.0)
    return (
        Case(
            (past, future, 1.0),
            "an object 4 pixels wide that moved 3 to the right before something still",
            expected=(uncovered,),
        ),
        Case((*square[:2], 1.0), "a square that moved by (3, 2)", expected=(square[2],)),
        Case((*pan, 1.0), "a camera that turns by 2 pixels: what enters has no past", expected=(leaves,)),
        Case((*turned, 0.5), "a picture that turns by 6 degrees"),
        Case((inner, diagonal, 1.0), "two flows that disagree by (0.8, 0.8), tolerance 1"),
        Case((inner, slight, 1.0), "two flows that disagree by (0.6, 0.6), tolerance 1"),
        Case((inner, larger, 2.0), "two flows that disagree by (1.3, -1.3), tolerance 2"),
    )


_GRID = (
    "The two were combined pixel by pixel, but they lie on different grids: to_future starts in the OLD frame. Read it "
    "where to_past has led you."
)
_IDEAS = (
    Misconception(lambda p, f, t: _outside(p) | ((p + f).norm(dim=0) > t), _GRID),
    Misconception(
        lambda p, f, t: _outside(p) | ((p - backward_warp(f[None], p[None], outside="edge")[0]).norm(dim=0) > t),
        "The way back was subtracted. Going there and coming back are two steps: to_past(p) + to_future(there) is "
        "where you end, counted from p, and 0 if all is well.",
    ),
    Misconception(
        lambda p, f, t: _outside(f) | (_miss(f, p).norm(dim=0) > t),
        "The trip began in the old frame: these are old pixels that will be hidden. Begin at the new pixels, with "
        "to_past.",
    ),
    Misconception(lambda p, f, t: ~lost_pixels(p, f, t), "The answer is inverted: True is for pixels that are lost."),
    Misconception(
        lambda p, f, t: _miss(p, f).norm(dim=0) > t,
        "A pixel whose flow leaves the frame has no past either, and coming back is not possible from there: mark it.",
    ),
    Misconception(_by(lambda miss: miss.abs().amax(dim=0)), "Only the larger component counts here. Take the length."),
    Misconception(_by(lambda miss: miss.abs().sum(dim=0)), "|x| + |y| is not the length of a vector."),
    Misconception(_by(lambda miss: miss.square().sum(dim=0)), "The squared length was compared with the tolerance."),
    Misconception(
        lambda p, f, t: _outside(p) | (p.norm(dim=0) > t),
        "These are the pixels that move. To move is no fault: what counts is whether they come back to their start.",
    ),
    Misconception(
        lambda p, f, t: _outside(p) | ((p + backward_warp(f[None], -p[None], outside="edge")[0]).norm(dim=0) > t),
        "to_future is read at p - to_past(p). Follow the flow: p + to_past(p).",
    ),
)

LOST_PIXELS = Exercise(
    name="lost_pixels",
    reference=lost_pixels,
    cases=_cases,
    misconceptions=_IDEAS,
    diagnose=first_fault(_IDEAS),
)
