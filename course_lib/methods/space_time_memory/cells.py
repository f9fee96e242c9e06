"""Where memory cells live: buffers allocated ahead, into which new cells are written without copying the old ones.

A cell is one position of one stored frame: its key, one value per object, and what a policy needs to judge it. Cells
lie one after another (a cell's value is contiguous), which is what makes gathering a few of them cheap. Unusual:
objects that join later get value buffers of their own, and cells older than an object's birth are invalid for it alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import CourseError, InputError

_FIRST_FRAMES = 4  # frames' worth of cells that a growing memory starts with


class MemoryCapError(CourseError, MemoryError):
    """A memory would outgrow the bytes it was allowed."""


@dataclass
class ObjectGroup:
    """Objects that joined at one frame: their values [K, capacity, Cv], valid in cells born at `birth` or later."""

    birth: int
    values: Tensor


class Cells:
    """Stored cells, in slots 0 … `stored` - 1; behind them `temporary` ones, which the next write drops.

    limit      most stored cells ever; None lets the buffers double when they are full
    max_bytes  a buffer that would be larger raises `MemoryCapError`

    Per slot: `keys` [capacity, Ck], `born` the frame it was written at, `serial` the order of writing, `uses` what
    reads have counted.
    """

    def __init__(self, limit: int | None, max_bytes: int | None, mass: bool) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.stored = 0
        self.temporary = 0
        self.groups: list[ObjectGroup] = []
        self.annotated: list[int] = []  # frames that objects were given at
        self.keys = torch.empty(0, 0)
        self.born = torch.empty(0, dtype=torch.long)
        self.serial = torch.empty(0, dtype=torch.long)
        self.uses = torch.empty(0, dtype=torch.float32 if mass else torch.long)
        self._written = 0

    @property
    def capacity(self) -> int:
        """Cells that the buffers hold."""
        return len(self.keys)

    @property
    def objects(self) -> int:
        """Objects that a value is kept for."""
        return sum(len(group.values) for group in self.groups)

    def add_objects(self, count: int, birth: int) -> None:
        """Room for `count` more objects, whose cells are valid from frame `birth` on."""
        if count < 1 or (self.groups and birth < self.groups[-1].birth):
            raise InputError(f"objects join one or more at a time and in order of time; got {count} at frame {birth}")
        if self.capacity == 0:
            values = torch.empty(count, 0, 0)
        else:
            like = self.groups[0].values  # [K, capacity, Cv]
            self._check_cap(self.capacity, extra=count * like.shape[2] * like.element_size())
            values = like.new_zeros(count, *like.shape[1:])
        self.groups.append(ObjectGroup(birth, values))

    def reserve(self, cells: int, keys: Float[Tensor, "n ck"], values: Float[Tensor, "k n cv"]) -> None:
        """Make the buffers hold `cells`, for cells like these. Doubling makes growth cost a constant per cell."""
        if cells <= self.capacity:
            return
        if self.capacity == 0:  # only now are types, widths and device known
            self.keys = keys.new_empty(0, keys.shape[1])
            self.born, self.serial, self.uses = (x.to(keys.device) for x in (self.born, self.serial, self.uses))
            for group in self.groups:
                group.values = values.new_empty(len(group.values), 0, values.shape[2])
        self._check_cap(cells)
        if self.limit is not None:
            target = max(cells, self.limit)
        else:
            target = max(cells, 2 * self.capacity, _FIRST_FRAMES * len(keys))
        if self.max_bytes is not None:
            target = max(cells, min(target, self.max_bytes // self.cell_bytes))
        self.keys, self.born, self.serial, self.uses = (
            _grown(x, target, 0) for x in (self.keys, self.born, self.serial, self.uses)
        )
        for group in self.groups:
            group.values = _grown(group.values, target, 1)

    def put(
        self,
        slots: slice | Int[Tensor, "n"],
        keys: Float[Tensor, "n ck"],
        values: Float[Tensor, "k n cv"],
        t: int,
    ) -> None:
        """Write the cells of frame `t` into slots, over whatever was there."""
        count = len(keys)
        self.keys[slots] = keys.to(self.keys.dtype)
        self.born[slots] = t
        self.serial[slots] = torch.arange(self._written, self._written + count, device=keys.device)
        self.uses[slots] = 0
        self._written += count
        start = 0
        for group in self.groups:
            stop = start + len(group.values)
            group.values[:, slots] = values[start:stop].to(group.values.dtype)
            start = stop

    def least(self, worth: Float[Tensor, "stored"], count: int) -> Int[Tensor, "count"]:
        """Slots of the `count` stored cells that are worth least; of equals the older."""
        by_age = self.serial[: self.stored].argsort()
        return by_age[worth[by_age].argsort(stable=True)[:count]]

    @property
    def cell_bytes(self) -> int:
        """Bytes of one cell, all objects' values included."""
        buffers = (self.keys, self.born, self.serial, self.uses)
        values = sum(len(g.values) * g.values.shape[2] * g.values.element_size() for g in self.groups)
        return values + sum(x.element_size() * (x.shape[1] if x.ndim > 1 else 1) for x in buffers)

    def memory_bytes(self) -> int:
        """Bytes of all buffers, the unused part included."""
        return self.capacity * self.cell_bytes

    def used_bytes(self) -> int:
        """Bytes of the cells that are held now."""
        return (self.stored + self.temporary) * self.cell_bytes

    def _check_cap(self, cells: int, extra: int = 0) -> None:
        needed = cells * (self.cell_bytes + extra)
        if self.max_bytes is not None and needed > self.max_bytes:
            raise MemoryCapError(
                f"the memory would need {needed / 2**20:.1f} MiB for {cells} cells, more than the cap of "
                f"{self.max_bytes / 2**20:.1f} MiB (max_bytes). A bounded policy such as 'adaptive' keeps it constant; "
                "otherwise raise mem_every or max_bytes, or shrink the frames"
            )


def _grown(x: Tensor, size: int, dim: int) -> Tensor:
    """A copy with `size` entries along `dim`. Zeros fill it: cells of weight 0 are read too, and 0 * nan is nan."""
    shape = list(x.shape)
    shape[dim] = size
    grown = x.new_zeros(shape)
    grown.narrow(dim, 0, x.shape[dim]).copy_(x)
    return grown
