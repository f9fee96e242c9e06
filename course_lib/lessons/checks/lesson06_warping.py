"""Exercises of lesson 06 about following a flow: backward warping, a flow on another grid, two flows made one.

All three go wrong in the same way, by a flow that is used on a grid to which it does not belong; so cases have flows
that change from place to place, and pictures that are not square. `lesson06` lists these exercises.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.lessons.checks.first_fault import first_fault
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.propagation import label_warp as library
from course_lib.nn.warp import backward_warp, destinations, sample_at

# -- each new pixel asks where it came from ---------------------------------------------------------------------------


def warp_back(image: Tensor, flow: Tensor) -> Tensor:
    return backward_warp(image[None], flow[None], outside="edge")[0]


def _grid_sampled(
    image: Tensor, flow: Tensor, align: bool = True, outside: str = "border", mode: str = "bilinear"
) -> Tensor:
    """By `grid_sample`, with coordinates that belong to align_corners=True."""
    x, y = (place[0] for place in destinations(flow[None]))
    height, width = image.shape[-2:]
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    return F.grid_sample(image[None], grid[None], mode, outside, align_corners=align)[0]


def _rows_first(image: Tensor, flow: Tensor) -> Tensor:
    """The grid holds (y, x) where grid_sample reads (x, y)."""
    x, y = (place[0] for place in destinations(flow[None]))
    height, width = image.shape[-2:]
    grid = torch.stack([2 * y / (height - 1) - 1, 2 * x / (width - 1) - 1], dim=-1)
    return F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=True)[0]


def _in_pixels(image: Tensor, flow: Tensor) -> Tensor:
    grid = torch.stack(destinations(flow[None]), dim=-1)  # [1, H, W, 2]
    return F.grid_sample(image[None], grid, padding_mode="border", align_corners=True)[0]


def _offsets_only(image: Tensor, flow: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    grid = torch.stack([2 * flow[0] / (width - 1) - 1, 2 * flow[1] / (height - 1) - 1], dim=-1)
    return F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=True)[0]


def _sent_forward(image: Tensor, flow: Tensor, sign: int = 1) -> Tensor:
    """Each old pixel is put where the flow leads; holes stay 0."""
    height, width = image.shape[-2:]
    x, y = (place[0].round().long() for place in destinations(sign * flow[None]))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = torch.zeros_like(image)
    out[:, y[inside], x[inside]] = image[:, inside]
    return out


def smooth_flow(height: int, width: int, size: float, seed: int) -> Tensor:
    """[2, H, W] flow that bends over the picture, of about `size` pixels."""
    coarse = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(seed))
    return size * F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0]


def _constant(height: int, width: int, x: float, y: float) -> Tensor:
    return torch.tensor([float(x), float(y)]).view(2, 1, 1).expand(2, height, width).clone()


def _warp_cases() -> tuple[Case, ...]:
    row = torch.arange(1.0, 6.0).expand(1, 2, 5).clone()
    image = torch.rand(3, 9, 14, generator=torch.Generator().manual_seed(0))
    return (
        Case(
            (row, _constant(2, 5, 1, 0)),
            "rows 1 2 3 4 5, flow 1 pixel to the right everywhere",
            expected=(torch.tensor([2.0, 3, 4, 5, 5]).expand(1, 2, 5).clone(),),
        ),
        Case((image, _constant(9, 14, 0, 0)), "no motion: nothing may change", expected=(image,)),
        Case((image, _constant(9, 14, -2, 1)), "flow (-2, 1) everywhere: the picture rolls, the edge is repeated"),
        Case((image, _constant(9, 14, 0.4, -0.3)), "flow of fractions of a pixel"),
        Case((image, smooth_flow(9, 14, 2.5, 1)), "a flow that changes from place to place"),
        Case((image, smooth_flow(9, 14, 1.3, 2)), "the gradient: to the picture and to the flow", gradient=True),
    )


_BACK = (
    "Read at p MINUS the flow. The flow starts at the new pixel and leads to the old one: follow it. (Minus belongs to "
    "a flow from old to new, and such a flow lies on the grid of the old frame.)"
)
_WARP_IDEAS = (
    Misconception(lambda image, flow: warp_back(image, -flow), _BACK),
    Misconception(
        lambda image, flow: warp_back(image, flow.flip(0)),
        "x and y of the flow are exchanged: channel 0 is x, to the right, and moves along the last axis.",
    ),
    Misconception(
        _rows_first,
        "The last axis of the grid is (x, y), columns first. Stack x before y.",
    ),
    Misconception(
        lambda image, flow: _grid_sampled(image, flow, align=False),
        "Half a pixel is lost: 2x / (W - 1) - 1 belongs to align_corners=True, and grid_sample was told False (its "
        "default). With no motion at all the picture already changes, and at each step it drifts on.",
    ),
    Misconception(
        lambda image, flow: _grid_sampled(image, flow, outside="zeros"),
        "What comes from outside is black. Here the edge is repeated: padding_mode='border'.",
    ),
    Misconception(
        lambda image, flow: _grid_sampled(image, flow, mode="nearest"),
        "The nearest pixel was taken. That is right for labels, which cannot be mixed; here mix the four neighbours "
        "(bilinear), or a flow of half a pixel gets lost.",
    ),
    Misconception(
        _in_pixels,
        "grid_sample wants places from -1 to 1, not pixels: nearly everything was read at the lower right corner.",
    ),
    Misconception(_offsets_only, "The flow is a displacement: add the pixel's own place before reading."),
    Misconception(
        _sent_forward,
        "Each old pixel was sent along the flow. Then some new pixels get nothing and some are hit twice. Ask the "
        "other way round: out[p] is the image at p + flow[p].",
    ),
    Misconception(
        lambda image, flow: _sent_forward(image, flow, -1),
        "Each old pixel was sent against the flow. The flow lies on the grid of the NEW frame, so at an old pixel it "
        "has nothing to say. Ask for each new pixel: out[p] is the image at p + flow[p].",
    ),
)

WARP_BACK = Exercise(
    name="warp_back",
    reference=warp_back,
    cases=_warp_cases,
    misconceptions=_WARP_IDEAS,
    diagnose=first_fault(_WARP_IDEAS, tolerance=1e-4),
    tolerance=1e-4,  # coordinates go to [-1, 1] and back
)


# -- a flow on another grid -------------------------------------------------------------------------------------------


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    return library.resize_flow(flow[None], size)[0]


def _resized(
    flow: Tensor,
    size: tuple[int, int],
    factors: Callable[[float, float], tuple[float, float]] = lambda x, y: (x, y),
    **how: Any,
) -> Tensor:
    """Interpolated, x and y multiplied by `factors` of the two ratios (across, down)."""
    how = how or {"mode": "bilinear", "align_corners": False}
    ratios = size[1] / flow.shape[2], size[0] / flow.shape[1]
    return F.interpolate(flow[None], size, **how)[0] * torch.tensor(factors(*ratios)).view(2, 1, 1)


def _resize_cases() -> tuple[Case, ...]:
    flow = smooth_flow(12, 20, 4.0, 3)
    return (
        Case(
            (_constant(8, 16, 8, -4), (4, 4)),
            "flow (8, -4) everywhere, on 8 x 16, to 4 x 4",
            expected=(_constant(4, 4, 2, -2),),
        ),
        Case((flow, (3, 10)), "a flow of 12 x 20 to 3 x 10"),
        Case((flow, (24, 30)), "a flow of 12 x 20 to 24 x 30"),
        Case((flow, (12, 20)), "the same size: nothing may change", expected=(flow,)),
    )


_RESIZE_IDEAS = (
    Misconception(
        lambda flow, size: _resized(flow, size, lambda x, y: (1, 1)),
        "The grid has changed, the vectors have not. 8 pixels of the old grid are 2 pixels of one that is a quarter as "
        "wide.",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, lambda x, y: (1 / x, 1 / y)),
        "The vectors grew where the grid shrank: multiply by new size over old size.",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, lambda x, y: (x, x)),
        "Both components were scaled by the ratio of the widths. y needs that of the heights.",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, lambda x, y: (y, y)),
        "Both components were scaled by the ratio of the heights. x needs that of the widths.",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, lambda x, y: (y, x)),
        "The two factors are exchanged: channel 0 is x and is scaled like the width. `size` is (height, width).",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, mode="nearest"),
        "The flow has become blocks: interpolate's default is 'nearest'. Ask for mode='bilinear'.",
    ),
    Misconception(
        lambda flow, size: _resized(flow, size, mode="bilinear", align_corners=True),
        "align_corners=True puts corner pixels on corner pixels, and the rest is off by up to half a pixel. Cells of "
        "two grids over one picture meet at their outer edges: align_corners=False, the default.",
    ),
)

RESIZE_FLOW = Exercise(
    name="resize_flow",
    reference=resize_flow,
    cases=_resize_cases,
    misconceptions=_RESIZE_IDEAS,
    diagnose=first_fault(_RESIZE_IDEAS),
)


# -- two steps in one -------------------------------------------------------------------------------------------------


def compose_flows(near: Tensor, far: Tensor) -> Tensor:
    return library.compose(near[None], far[None])[0]


def _read(flow: Tensor, along: Tensor) -> Tensor:
    return sample_at(flow[None], *destinations(along[None]), outside="edge")[0]


def _compose_cases() -> tuple[Case, ...]:
    near, far, both = (torch.zeros(2, 3, 12) for _ in range(3))
    near[0, :, 7:10] = -3  # the object, seen at 7 … 9 in frame 3, was at 4 … 6 in frame 2
    far[0, :, 4:7] = -3
    both[0, :, 7:10] = -6
    both[0, :, 4:7] = -3  # what stands still looks at the place where the object was
    return (
        Case(
            (_constant(4, 6, 3, 0), _constant(4, 6, 0, 2)),
            "3 to the right, then 2 down, everywhere",
            expected=(_constant(4, 6, 3, 2),),
        ),
        Case(
            (near, far), "an object that moves 3 pixels in each step, in front of what stands still", expected=(both,)
        ),
        Case((smooth_flow(10, 16, 2.0, 4), smooth_flow(10, 16, 3.0, 5)), "two flows that bend"),
        Case((smooth_flow(10, 16, 2.0, 6), torch.zeros(2, 10, 16)), "a second step without motion"),
        Case((torch.zeros(2, 10, 16), smooth_flow(10, 16, 2.0, 7)), "a first step without motion"),
    )


_COMPOSE_IDEAS = (
    Misconception(
        lambda near, far: near + far,
        "The two were added pixel by pixel. `far` lies on the grid of frame 2: after the first step you stand at "
        "p + near(p), and must read it there.",
    ),
    Misconception(
        lambda near, far: far + _read(near, far),
        "The order is exchanged. You stand in frame 3: the first step is `near`, and `far` is read where that has led.",
    ),
    Misconception(
        lambda near, far: near + _read(far, -near),
        "`far` is read at p - near(p). Follow the flow: p + near(p).",
    ),
    Misconception(lambda near, far: _read(far, near), "Only the second step is left: add the first one, near(p)."),
    Misconception(lambda near, far: near + _read(far, far), "`far` is read along itself. Read it where `near` leads."),
    Misconception(
        lambda near, far: _read(near, far) + _read(far, near),
        "near was moved as well. It already lies on the grid of frame 3, where you start: take it as it is.",
    ),
)

COMPOSE_FLOWS = Exercise(
    name="compose_flows",
    reference=compose_flows,
    cases=_compose_cases,
    misconceptions=_COMPOSE_IDEAS,
    diagnose=first_fault(_COMPOSE_IDEAS, tolerance=1e-4),
    tolerance=1e-4,
)
