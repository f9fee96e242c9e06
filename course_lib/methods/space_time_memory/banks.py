"""Memory banks: written with the keys and values of a frame, read with the keys of the next.

`make_bank(MemoryConfig(...))` gives one. All share storage and reading, and differ in which cells make room; the grid
cell, not the frame, is what comes and goes. Source: Cheng et al. (NeurIPS 2021); Pourganjalikhan (2021), section 3.3.
Unusual: sizes are known without asking the device, so a read or write never waits for a GPU (`MergingBank` says where
it does).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.space_time_memory import policies
from course_lib.methods.space_time_memory.cells import Cells
from course_lib.methods.space_time_memory.config import MemoryConfig
from course_lib.methods.space_time_memory.policies import Worth
from course_lib.nn.attention_read import gather_read, similarity_chunks, top_k_of_rows


class MemoryBank:
    """Cells with a policy. `frames` is the capacity in frames' worth of cells; None never evicts.

    frames          most frames' worth of cells; None grows
    worth           which cells stay when there is no room
    count           what a read adds to a cell's uses: "hits" among the top_k, attention "mass", or nothing
    keep_annotated  each later frame with given objects raises the capacity by one frame
    """

    def __init__(
        self,
        config: MemoryConfig,
        frames: float | None,
        worth: Worth = policies.first_in_first_out,
        count: str | None = None,
        keep_annotated: bool = False,
    ) -> None:
        self.config = config
        self.frames = None if frames is None or math.isinf(frames) else frames
        self.worth = worth
        self.count = count
        self.keep_annotated = keep_annotated
        self.cells = Cells(None, config.max_bytes, mass=count == "mass")

    def add_objects(self, count: int, birth: int) -> None:
        """`count` objects join at frame `birth`: they answer only from cells stored then or later."""
        self.cells.add_objects(count, birth)

    def write(
        self,
        keys: Float[Tensor, "ck n"],
        values: Float[Tensor, "k cv n"],
        t: int,
        annotated: bool = False,
        temporary: bool = False,
    ) -> None:
        """Store the cells of frame `t`; every write first drops temporary cells.

        annotated  objects were given at this frame
        temporary  only until the next write, outside the capacity and without a say in what is evicted

        Raises `MemoryCapError`, or `InputError` if the frame's cells do not fit.
        """
        keys, values = self._checked(keys, values)
        cells, new = self.cells, len(keys)
        cells.temporary = 0
        if temporary:
            cells.reserve(cells.stored + new, keys, values)
            cells.put(slice(cells.stored, cells.stored + new), keys, values, t)
            cells.temporary = new
            return
        if self.frames is not None and (cells.limit is None or (annotated and self.keep_annotated and cells.annotated)):
            added = math.floor(self.frames * new + 1e-6) if cells.limit is None else new
            cells.limit = (cells.limit or 0) + added
        if annotated or not cells.annotated:
            cells.annotated.append(t)
        self._store(keys, values, t)

    def read(self, queries: Float[Tensor, "ck q"]) -> Float[Tensor, "k cv q"]:
        """What the memory says at each query cell, for each object; counts who was asked.

        Temporary cells answer, but are left out of the count: they are nearest in time and would win most of it.
        """
        cells, top_k = self.cells, self.config.top_k
        held = cells.stored + cells.temporary
        if held == 0:
            raise InputError("the memory is empty: write a frame before reading")
        queries = queries.mT
        values = [group.values[:, :held] for group in cells.groups]
        out = [v.new_empty(len(v), len(queries), v.shape[2]) for v in values]
        for part, rows in similarity_chunks(cells.keys[:held], queries, self.config.metric):
            if cells.temporary and self.count is not None:
                self._count(*_votes(rows[:, : cells.stored], top_k))
            for i, group in enumerate(cells.groups):
                if group.birth > cells.groups[0].birth:  # births ascend, so what is closed stays closed
                    rows.masked_fill_(cells.born[:held] < group.birth, -torch.inf)
                chosen, weights = _votes(rows, top_k)
                if i == 0 and not cells.temporary and self.count is not None:
                    self._count(chosen, weights)
                out[i][:, part] = _readout(values[i], chosen, weights)
        return torch.cat(out).mT

    def memory_bytes(self) -> int:
        """Bytes of the buffers, unused room included."""
        return self.cells.memory_bytes()

    def used_bytes(self) -> int:
        """Bytes of the cells that are held now: the staircase of a growing memory without its reserve."""
        return self.cells.used_bytes()

    def _store(self, keys: Float[Tensor, "n ck"], values: Float[Tensor, "k n cv"], t: int) -> None:
        cells, new = self.cells, len(keys)
        if cells.limit is not None and new > cells.limit:
            raise InputError(f"a frame of {new} cells does not fit into a memory of {cells.limit}; raise the capacity")
        free = new if cells.limit is None else min(new, cells.limit - cells.stored)
        cells.reserve(cells.stored + free, keys, values)
        fresh = slice(cells.stored, cells.stored + free)
        if free == new:
            cells.put(fresh, keys, values, t)
        else:
            evicted = cells.least(self.worth(cells, t), new - free)
            slots = torch.arange(fresh.start, fresh.stop, device=keys.device)
            cells.put(torch.cat([slots, evicted]), keys, values, t)
        cells.stored += free

    def _count(self, chosen: Int[Tensor, "q k"] | None, weights: Float[Tensor, "q k"]) -> None:
        """Add this read to `uses`. An integer scatter: a histogram would make a GPU wait for the largest index."""
        uses = self.cells.uses[: self.cells.stored]
        if chosen is None:
            uses += weights.sum(dim=0)
        elif self.count == "hits":
            uses.scatter_add_(0, chosen.flatten(), torch.ones_like(chosen).flatten())
        else:
            uses.scatter_add_(0, chosen.flatten(), weights.flatten().to(uses.dtype))

    def _checked(self, keys: Tensor, values: Tensor) -> tuple[Float[Tensor, "n ck"], Float[Tensor, "k n cv"]]:
        """Keys and values cell by cell, checked against each other and the objects known."""
        fits = keys.ndim == 2 and values.ndim == 3 and keys.shape[1] == values.shape[2]
        if not fits or len(values) != self.cells.objects:
            raise InputError(
                f"a memory of {self.cells.objects} objects takes keys [Ck, N] and values [K, Cv, N], got "
                f"{list(keys.shape)} and {list(values.shape)}"
            )
        return keys.detach().mT, values.detach().mT


class MergingBank(MemoryBank):
    """The competitor with a threshold: a new cell like a stored one is averaged into it, the others are added.

    After Liang et al., "Adaptive Feature Bank with Uncertain-Region Refinement" (NeurIPS 2020): similar means a cosine
    above `merge_threshold`; directions and lengths of keys are averaged apart, `merge_rate` being the share of the new
    cell. Here all objects have keys and counters in common, theirs are per object. How many cells merge depends on the
    data, so each write waits for the device once.
    """

    def _store(self, keys: Float[Tensor, "n ck"], values: Float[Tensor, "k n cv"], t: int) -> None:
        cells = self.cells
        young = cells.groups[-1].birth  # a cell older than an object holds nothing of it that could be averaged
        if cells.stored == 0:
            super()._store(keys, values, t)
            return
        old = cells.keys[: cells.stored]
        alike = F.normalize(keys, dim=1) @ F.normalize(old, dim=1).T  # [N, stored]
        alike = alike.masked_fill(cells.born[: cells.stored] < young, -torch.inf)
        best, nearest = alike.max(dim=1)
        merges = best > self.config.merge_threshold
        into = nearest[merges]
        self._merge(into, keys[merges], values[:, merges])
        rest = ~merges
        super()._store(keys[rest], values[:, rest], t)

    def _merge(self, into: Int[Tensor, "m"], keys: Float[Tensor, "m ck"], values: Float[Tensor, "k m cv"]) -> None:
        """Average new cells into stored ones; several that meet in one cell enter with their mean."""
        if len(into) == 0:
            return
        cells, rate = self.cells, self.config.merge_rate
        slots, member = into.unique(return_inverse=True)
        old = cells.keys[slots]
        length = (1 - rate) * old.norm(dim=1) + rate * _mean_by(member, keys.norm(dim=1, keepdim=True), len(slots))[
            :, 0
        ]
        new = _mean_by(member, F.normalize(keys, dim=1), len(slots))
        direction = F.normalize((1 - rate) * F.normalize(old, dim=1) + rate * new, dim=1)
        cells.keys[slots] = direction * length[:, None]
        start = 0
        for group in cells.groups:
            for stored, given in zip(group.values, values[start : start + len(group.values)]):
                stored[slots] = (1 - rate) * stored[slots] + rate * _mean_by(member, given, len(slots))
            start += len(group.values)


def make_bank(config: MemoryConfig) -> MemoryBank:
    """The memory that `config` describes, empty."""
    match config.policy:
        case "every_k":
            return MemoryBank(config, None)
        case "first_and_latest":
            return MemoryBank(config, 2, policies.annotated_and_latest, keep_annotated=True)
        case "adaptive":
            return MemoryBank(config, config.capacity, policies.least_frequently_used, "hits")
        case "softmax_index":
            return MemoryBank(config, config.capacity, policies.least_frequently_used, "mass")
        case "pinned":
            return MemoryBank(config, config.capacity, policies.pinned, "hits")
        case "fifo":
            return MemoryBank(config, config.capacity, policies.first_in_first_out)
        case "random":
            return MemoryBank(config, config.capacity, policies.at_random(config.seed))
        case "merging":
            return MergingBank(config, config.capacity, policies.least_frequently_used, "hits")
    raise InputError(f"unknown policy {config.policy!r}")


def _votes(rows: Float[Tensor, "q n"], top_k: int | None) -> tuple[Int[Tensor, "q k"] | None, Float[Tensor, "q k"]]:
    """Cells that answer each query, None for all of them, and their weights."""
    if top_k is None:
        return None, rows.softmax(dim=1)
    scores, chosen = top_k_of_rows(rows, top_k)
    return chosen, scores.softmax(dim=1)


def _readout(
    values: Float[Tensor, "k n cv"], chosen: Int[Tensor, "q top_k"] | None, weights: Float[Tensor, "q top_k"]
) -> Float[Tensor, "k q cv"]:
    if chosen is None:
        return weights.to(values.dtype) @ values
    return torch.stack([gather_read(v, chosen, weights) for v in values])


def _mean_by(member: Int[Tensor, "m"], rows: Float[Tensor, "m c"], count: int) -> Float[Tensor, "count c"]:
    """Mean of the rows of each member."""
    total = rows.new_zeros(count, rows.shape[1]).index_add_(0, member, rows)
    return total / torch.bincount(member, minlength=count)[:, None]
