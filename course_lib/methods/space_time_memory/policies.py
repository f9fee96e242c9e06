"""What a stored cell is worth: the whole difference between one bounded memory and another.

When a frame is written and there is no room, the cells worth least go, of equals the older. A policy is one function
from the stored cells and the current frame to a number per cell. Source: Pourganjalikhan (2021), sections 3.3.4, 3.5.6.
Unusual: the controls that the thesis lacks, since a gain of LFU counts only over eviction at random.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.methods.space_time_memory.cells import Cells

Worth = Callable[[Cells, int], Tensor]


def least_frequently_used(cells: Cells, t: int) -> Float[Tensor, "n"]:
    """Uses per frame of life. Age is at least one frame, so that a cell just written is not divided by zero."""
    stored = slice(0, cells.stored)
    return cells.uses[stored].float() / (t - cells.born[stored]).clamp(min=1)


def pinned(cells: Cells, t: int) -> Float[Tensor, "n"]:
    """The same, but cells of the frame that began the memory are worth everything."""
    first = cells.born[: cells.stored] == cells.annotated[0]
    return least_frequently_used(cells, t).masked_fill(first, torch.inf)


def first_in_first_out(cells: Cells, t: int) -> Float[Tensor, "n"]:
    """The later, the better."""
    return cells.born[: cells.stored].float()


def annotated_and_latest(cells: Cells, t: int) -> Float[Tensor, "n"]:
    """Last in, first out, except for frames at which objects were given: what remains is first and latest."""
    born = cells.born[: cells.stored]
    worth = -born.float()
    for frame in cells.annotated:
        worth = worth.masked_fill(born == frame, torch.inf)
    return worth


def at_random(seed: int) -> Worth:
    """Every cell is as good as any other. The sequence of draws is that of `seed`."""
    generator = torch.Generator().manual_seed(seed)

    def worth(cells: Cells, t: int) -> Float[Tensor, "n"]:
        return torch.rand(cells.stored, generator=generator).to(cells.keys.device, non_blocking=True)

    return worth
