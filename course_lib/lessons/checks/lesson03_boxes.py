"""Exercises of lesson 03 about the salient object's box: where it shows in a view, and how much of the view it fills.

The matrix of a view is backward and in normalised coordinates, boxes are in pixels and point forward: that is where
the mistakes are. `lesson03` lists these exercises.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer import geometry
from course_lib.methods.spatial_transformer.actions import ActionSet, translation
from course_lib.methods.spatial_transformer.geometry import compose_sequence

Size = tuple[int, int]

# -- where the box shows ----------------------------------------------------------------------------------------------


def transport_box(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    return geometry.transport_boxes(box[None], matrix[None], size)[0]


def _mapped(box: Tensor, matrix: Tensor, size: Size, offset: float = 0.0, shrink: int = 0) -> Tensor:
    """Both corners through a matrix, pixel 0 at -1 - offset and the last at 1; `shrink` 1 puts -1 and 1 on centres."""
    height, width = size
    scale = torch.tensor([width - shrink, height - shrink]) / 2
    corners = (box.view(2, 2) + offset) / scale - 1  # (x, y) of two corners
    moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
    return ((moved + 1) * scale - offset).flatten()


def _forward(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    return _mapped(box, matrix, size)


def _in_pixels(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    """The inverse matrix used on pixels as they are."""
    inverse = matrix.inverse()
    return (box.view(2, 2) @ inverse[:2, :2].T + inverse[:2, 2]).flatten()


def _swapped(box: Tensor) -> Tensor:
    return box[[1, 0, 3, 2]]


def _as_corner_and_size(box: Tensor) -> Tensor:
    return torch.cat([box[:2], box[2:] - box[:2]])


def _clipped(box: Tensor, size: Size) -> Tensor:
    height, width = size
    return torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]))


def _without_shift(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    return transport_box(box, matrix * torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1]]), size)


def _without_scale(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    return transport_box(box, translation(*matrix[:2, 2].tolist()), size)


def _shift_not_scaled(box: Tensor, matrix: Tensor, size: Size) -> Tensor:
    inverse = matrix.inverse()
    inverse[:2, 2] = -matrix[:2, 2]
    return _mapped(box, inverse, size)


def _box_cases() -> tuple[Case, ...]:
    actions = ActionSet.salient(224)

    def after(*names: str) -> Tensor:
        return compose_sequence(torch.stack([actions.matrices[actions.index(name)] for name in names]))

    box = torch.tensor([80.0, 60.0, 180.0, 160.0])
    oblong = torch.tensor([10.0, 20.0, 50.0, 60.0])
    return (
        Case(
            (box, after("zoom"), (224, 224)),
            "box (80, 60, 180, 160) in 224 x 224, one zoom of 0.8",
            expected=(torch.tensor([72.0, 47.0, 197.0, 172.0]),),
        ),
        Case(
            (box, after("right"), (224, 224)),
            "the same box, the view 4 pixels to the right",
            expected=(torch.tensor([76.0, 60.0, 176.0, 160.0]),),
        ),
        Case((box, after("zoom", "right", "down", "zoom", "down"), (224, 224)), "the same box, five moves"),
        Case(
            (oblong, after("zoom", "left", "up"), (100, 200)), "box (10, 20, 50, 60), 100 high, 200 wide, three moves"
        ),
        Case((box, torch.eye(3), (224, 224)), "an untouched view", expected=(box,)),
        Case((box, after("zoom", "zoom", "zoom", "zoom", "zoom"), (224, 224)), "five zooms: it leaves the frame"),
    )


_INVERSE = (
    "The box moved the wrong way. The matrix says where the view looks; a point of the original shows where the view "
    "looks at it, and that is the inverse of the matrix times the point."
)

TRANSPORT_BOX = Exercise(
    name="transport_box",
    reference=transport_box,
    cases=_box_cases,
    tolerance=1e-4,
    misconceptions=(
        Misconception(_forward, _INVERSE),
        Misconception(
            _in_pixels,
            "The matrix was used on pixels. It lives in coordinates from -1 to 1: divide by half the side and subtract "
            "1 first, and undo both at the end.",
        ),
        Misconception(
            lambda b, m, s: _in_pixels(b, m.inverse(), s),
            "The matrix was used on pixels, and forward: go to coordinates from -1 to 1, multiply by its inverse, and "
            "come back.",
        ),
        Misconception(
            lambda b, m, s: transport_box(b, m, (s[1], s[0])),
            "Width and height are exchanged: `size` is (height, width), and x runs along the width.",
        ),
        Misconception(
            lambda b, m, s: _swapped(transport_box(_swapped(b), m, s)),
            "x and y are exchanged: a box is (x0, y0, x1, y1), and the first row of the matrix is x.",
        ),
        Misconception(
            lambda b, m, s: _mapped(b, m.inverse(), s, shrink=1),
            "-1 and 1 were put on the centres of the outermost pixels (a division by side - 1). Here they are the "
            "outer edges of the image: divide by the side.",
        ),
        Misconception(
            lambda b, m, s: _mapped(b, m.inverse(), s, offset=0.5),
            "Half a pixel was added. The edges of a box are edges, not centres of pixels: 0 is -1 and the width is 1.",
        ),
        Misconception(
            lambda b, m, s: _clipped(transport_box(b, m, s), s),
            "The box was cut off at the frame. Keep what lies outside: the true IoU needs to know that the object has "
            "outgrown the view.",
        ),
        Misconception(
            lambda b, m, s: _as_corner_and_size(transport_box(b, m, s)),
            "The result is corner, width and height. A box is two corners here: (x0, y0, x1, y1).",
        ),
        Misconception(_without_shift, "The shift of the matrix is not used: its last column."),
        Misconception(_without_scale, "The scale of the matrix is not used: a zoom must make the box larger."),
        Misconception(
            _shift_not_scaled,
            "The shift was undone with its old length. p = S·q + t gives q = (p - t) / S: subtract first, then divide.",
        ),
    ),
)


# -- how much of the view it fills ------------------------------------------------------------------------------------


def share_and_iou(box: Tensor, size: Size) -> tuple[float, float]:
    return geometry.clipped_share(box[None], size).item(), geometry.true_iou(box[None], size).item()


def _area(box: Tensor) -> float:
    return ((box[2] - box[0]) * (box[3] - box[1])).item()


def _inside(box: Tensor, size: Size) -> float:
    return _area(_clipped(box, size))


def _iou(inside: float, box: Tensor, size: Size) -> float:
    return inside / (_area(box) + size[0] * size[1] - inside)


def _overlap_of_sides(box: Tensor, size: Size) -> float:
    """min of the ends minus max of the starts, for each side, without a floor at 0."""
    height, width = size
    x0, y0, x1, y1 = box.tolist()
    return (min(x1, width) - max(x0, 0)) * (min(y1, height) - max(y0, 0))


def _with(share: Callable[[Tensor, Size], float] | None, iou: Callable[[Tensor, Size], float] | None) -> Callable:
    """Right but for one of the two numbers."""

    def wrong(box: Tensor, size: Size) -> tuple[float, float]:
        right = share_and_iou(box, size)
        return share(box, size) if share else right[0], iou(box, size) if iou else right[1]

    return wrong


def _share_cases() -> tuple[Case, ...]:
    return (
        Case(
            (torch.tensor([80.0, 60.0, 180.0, 160.0]), (224, 224)),
            "box (80, 60, 180, 160) in a view of 224 x 224: both 19.93 %",
            expected=((10000 / 50176, 10000 / 50176),),
        ),
        Case((torch.tensor([0.0, 0.0, 224.0, 224.0]), (224, 224)), "a box that is the whole view", expected=((1, 1),)),
        Case(
            (torch.tensor([-28.0, -28.0, 252.0, 252.0]), (224, 224)),
            "the same after one zoom: (-28, -28, 252, 252)",
            expected=((1, 0.64),),
        ),
        Case(
            (torch.tensor([150.0, 40.0, 250.0, 90.0]), (100, 200)),
            "box (150, 40, 250, 90), half of it in a view 100 high and 200 wide",
            expected=((0.125, 2500 / 22500),),
        ),
        Case(
            (torch.tensor([-60.0, -50.0, -10.0, -20.0]), (100, 200)),
            "a box beyond the left upper corner",
            expected=((0, 0),),
        ),
        Case((torch.tensor([230.0, 20.0, 260.0, 60.0]), (100, 200)), "a box to the right", expected=((0, 0),)),
    )


_NEGATIVE = (
    "A box beyond the corner overlaps by a negative length in x and in y, and minus times minus is plus. A length "
    "below 0 means no overlap: clamp each side at 0."
)

SHARE_AND_IOU = Exercise(
    name="share_and_iou",
    reference=share_and_iou,
    cases=_share_cases,
    misconceptions=(
        Misconception(
            _with(lambda b, s: _area(b) / (s[0] * s[1]), None),
            "The share counts what lies outside of the view: it may not be more than 1. Clip the box first.",
        ),
        Misconception(
            lambda b, s: (_area(b) / (s[0] * s[1]), _area(b) / (s[0] * s[1])),
            "The box was not cut off at the frame. Both numbers need the part inside.",
        ),
        Misconception(
            _with(lambda b, s: _inside(b, s) / _area(b), None),
            "This is how much of the object is seen. The share is how much of the view it fills: divide by the view.",
        ),
        Misconception(
            _with(None, lambda b, s: _iou(_inside(b, s), _clipped(b, s), s)),
            "The union was made with the clipped box, so it is the view, and the IoU just the share again. Zooming too "
            "far must cost something: the union holds the whole box.",
        ),
        Misconception(
            _with(None, lambda b, s: _inside(b, s) / (_area(b) + s[0] * s[1])),
            "The intersection was counted twice in the union: box + view - intersection.",
        ),
        Misconception(
            _with(None, lambda b, s: _inside(b, s) / max(_area(b), s[0] * s[1])),
            "The larger of the two areas is not their union, unless one lies inside the other: box + view - "
            "intersection.",
        ),
        Misconception(
            _with(None, lambda b, s: _inside(b, s) / _area(b)),
            "The IoU was divided by the box alone: how much of the object is seen. Divide by the union.",
        ),
        Misconception(
            lambda b, s: (
                _overlap_of_sides(b, s) / (s[0] * s[1]),
                _iou(_overlap_of_sides(b, s), b, s),
            ),
            _NEGATIVE,
        ),
        Misconception(
            lambda b, s: (
                max(0.0, _overlap_of_sides(b, s)) / (s[0] * s[1]),
                _iou(max(0.0, _overlap_of_sides(b, s)), b, s),
            ),
            _NEGATIVE,
        ),
        Misconception(
            lambda b, s: share_and_iou(b, (s[1], s[0])), "Width and height are exchanged: `size` is (height, width)."
        ),
        Misconception(
            lambda b, s: share_and_iou(b, s)[::-1], "Both are right, their order is not: first the share, then the IoU."
        ),
    ),
)
