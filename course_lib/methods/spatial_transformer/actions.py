"""The moves of an agent that looks at an image: small shifts, zooms and turns of its view, each one a 3x3 matrix.

The three sets of F. Azimi (2024): ten moves to find a cluttered object (section 5.3.2), eight to make curricula
(section 5.4.3), six to zoom in on the salient object (section 5.5.1). Unusual: names say where the view goes, and what
is seen goes the other way; no set can zoom out, so a zoom is for good.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError

PUBLISHED_SHIFT = 4.0  # pixels of the published image sides, 80 and 224
ZOOM, FORWARD_ZOOM = 0.8, 1.2  # the first backward (0.8 of the image is seen), the second forward (1.2 times as large)
TURN = 10.0  # degrees

Size = int | tuple[int, int]


@dataclass(frozen=True, eq=False)
class ActionSet:
    """A moves: their names, and matrices [A, 3, 3] in coordinates from -1 to 1 (backward mapping).

    Iterate with `len(actions)`; `actions.matrices[a]` takes a tensor of action numbers. Raises `InputError` if names
    and matrices do not belong together or a name comes twice.
    """

    names: tuple[str, ...]
    matrices: Float[Tensor, "a 3 3"]

    def __post_init__(self) -> None:
        if self.matrices.shape != (len(self.names), 3, 3) or len(set(self.names)) != len(self.names):
            raise InputError(
                f"each action needs a name of its own and a 3x3 matrix, got {len(self.names)} names "
                f"{self.names} and matrices {list(self.matrices.shape)}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Number of the action of this name. Raises `InputError` for a name that is not in the set."""
        if name not in self.names:
            raise InputError(f"no action is called {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def to(self, device: torch.device | str) -> "ActionSet":
        """The same set with its matrices on a device."""
        return ActionSet(self.names, self.matrices.to(device))

    def one_hot(self, actions: Tensor) -> Float[Tensor, "*b a"]:
        """Vectors of zeros with a one at the action's place; looked up, so that no GPU has to be waited for."""
        return torch.eye(len(self), device=actions.device)[actions]

    @classmethod
    def search(cls, size: Size = 80, pixels: float | None = None) -> "ActionSet":
        """Ten moves: four shifts, zooms of 0.8 in x, in y and in both, turns of 10 degrees, and staying.

        size    side, or (height, width), of the image in pixels
        pixels  of a shift; None takes the published share of the side, 4 of 80 pixels
        """
        shifts = _shifts(size, pixels, published_side=80)
        zooms = {"zoom x": _scale(ZOOM, 1), "zoom y": _scale(1, ZOOM), "zoom": _scale(ZOOM, ZOOM)}
        return _action_set({**shifts, **zooms, **_turns(size), "stay": _scale(1, 1)})

    @classmethod
    def curriculum(cls, size: Size = 80, pixels: float | None = None) -> "ActionSet":
        """Eight moves: four shifts, one zoom that shows things 1.2 times as large, two turns, and staying."""
        shifts = _shifts(size, pixels, published_side=80)
        zoom = _scale(1 / FORWARD_ZOOM, 1 / FORWARD_ZOOM)
        return _action_set({**shifts, "zoom": zoom, **_turns(size), "stay": _scale(1, 1)})

    @classmethod
    def salient(cls, size: Size = 224, pixels: float | None = None) -> "ActionSet":
        """Six moves: four shifts (4 of 224 pixels if not given), a zoom of 0.8, and staying."""
        shifts = _shifts(size, pixels, published_side=224)
        return _action_set({**shifts, "zoom": _scale(ZOOM, ZOOM), "stay": _scale(1, 1)})


def translation(x: float, y: float) -> Float[Tensor, "3 3"]:
    """The view moves by (x, y), where 2 is the whole image; what is seen moves by (-x, -y)."""
    matrix = torch.eye(3)
    matrix[0, 2], matrix[1, 2] = x, y
    return matrix


def rotation(degrees: float, size: Size = 1) -> Float[Tensor, "3 3"]:
    """The view turns clockwise on the screen, what is seen anticlockwise; size (H, W) keeps angles in oblong images."""
    height, width = _sides(size)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s * height / width, 0.0], [s * width / height, c, 0.0], [0.0, 0.0, 1.0]])


def _scale(x: float, y: float) -> Float[Tensor, "3 3"]:
    return torch.diag(torch.tensor([x, y, 1.0]))


def _shifts(size: Size, pixels: float | None, published_side: int) -> dict[str, Tensor]:
    height, width = _sides(size)
    if pixels is not None and not 0 < pixels < min(height, width):
        raise InputError(
            f"a shift must be more than 0 and less than the image's {height} x {width} pixels, got {pixels}"
        )
    share = PUBLISHED_SHIFT / published_side
    x = 2 * (share if pixels is None else pixels / width)
    y = 2 * (share if pixels is None else pixels / height)
    return {
        "right": translation(x, 0),
        "left": translation(-x, 0),
        "down": translation(0, y),
        "up": translation(0, -y),
    }


def _turns(size: Size) -> dict[str, Tensor]:
    return {"turn right": rotation(TURN, size), "turn left": rotation(-TURN, size)}


def _sides(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"an image has at least one pixel, got a size of {size}")
    return height, width


def _action_set(moves: dict[str, Tensor]) -> ActionSet:
    return ActionSet(tuple(moves), torch.stack(list(moves.values())))
