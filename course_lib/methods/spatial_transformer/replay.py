"""Replay memory: the latest transitions, drawn at random so that neighbours in time do not train the network together.

A ring of tensors, one per name, that live on one device; the newest rows overwrite the oldest. F. Azimi (2024),
Algorithm 2. Unusual: the ring is a module whose rows are buffers, so it moves and is saved with the network that learns
from it; and a transition may be stored as a recipe (which image, which matrix) and rendered again when drawn, which
turns the 1.2 GB of 1,000 pairs of 224x224 views into less than 100 kB.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.errors import InputError


class ReplayMemory(nn.Module):
    """Holds the last `capacity` rows of each name. The first `add` fixes names, shapes, types and the device.

    capacity  rows kept, at least 1
    example   a batch that fixes them at once, without being stored: needed where a state dict is to be loaded
    """

    def __init__(self, capacity: int, example: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        if capacity < 1:
            raise InputError(f"a replay memory needs a capacity of at least 1 transition, got {capacity}")
        self.capacity = capacity
        self.rows = nn.Module()  # nothing but buffers: name -> [capacity, ...]
        self._next = 0  # where the next row goes
        self._held = 0
        if example is not None:
            self._make_room(example)

    def __len__(self) -> int:
        """Rows that can be drawn now, at most `capacity`."""
        return self._held

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Store a batch of rows, [N, ...] for each name; rows are in order of age, the last is the newest.

        The rows carry no gradient. Raises `InputError` if names, shapes, types or N differ from one another or from
        what is stored.
        """
        count = self._checked_count(batch)
        kept = min(count, self.capacity)  # of more than fits only the newest would survive
        start = (self._next + count - kept) % self.capacity
        first = min(kept, self.capacity - start)  # rows before the ring wraps round
        for name, stored in self.rows.named_buffers():
            rows = batch[name].detach()[count - kept :]
            stored[start : start + first].copy_(rows[:first])
            stored[: kept - first].copy_(rows[first:])
        self._next = (self._next + count) % self.capacity
        self._held = min(self._held + count, self.capacity)

    def sample(self, count: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw `count` rows uniformly, with replacement: name -> [count, ...], copies that may be changed.

        generator  of the device of the rows; None is PyTorch's own. Raises `InputError` if nothing is stored or
        `count` < 1.
        """
        if count < 1:
            raise InputError(f"a sample needs at least 1 transition, got {count}")
        if not self._held:
            raise InputError("the replay memory is empty: add transitions before drawing some")
        stored = dict(self.rows.named_buffers())
        device = next(iter(stored.values())).device
        which = torch.randint(self._held, (count,), generator=generator, device=device)
        return {name: rows.index_select(0, which) for name, rows in stored.items()}

    def memory_bytes(self) -> int:
        """Bytes of the ring, unused rows included; 0 before the first `add`."""
        return sum(stored.numel() * stored.element_size() for stored in self.rows.buffers())

    def get_extra_state(self) -> Tensor:
        """Where the ring stands, as a tensor for the state dict."""
        return torch.tensor([self._next, self._held])

    def set_extra_state(self, state: Tensor) -> None:
        """Put the ring back where `get_extra_state` found it."""
        self._next, self._held = (int(number) for number in state.tolist())

    def _make_room(self, example: Mapping[str, Tensor]) -> None:
        if not example or any(rows.ndim == 0 for rows in example.values()):
            raise InputError("expected at least one named tensor [N, ...], got none or one without rows")
        for name, rows in example.items():
            self.rows.register_buffer(name, rows.new_zeros((self.capacity, *rows.shape[1:])))

    def _checked_count(self, batch: Mapping[str, Tensor]) -> int:
        counts = {len(rows) for rows in batch.values() if rows.ndim}
        if len(counts) > 1 or 0 in counts:
            sizes = ", ".join(f"{name}: {len(rows)}" for name, rows in batch.items() if rows.ndim)
            raise InputError(f"every name needs the same number of rows, at least one; got {sizes}")
        if not any(True for _ in self.rows.buffers()):
            self._make_room(batch)
        known = dict(self.rows.named_buffers())
        if batch.keys() != known.keys():
            raise InputError(f"this memory stores {sorted(known)}, got {sorted(batch)}")
        for name, rows in batch.items():
            stored = known[name]
            if rows.shape[1:] != stored.shape[1:] or rows.dtype != stored.dtype or not rows.ndim:
                raise InputError(
                    f"{name} should have rows {list(stored.shape[1:])} of {stored.dtype}, as the first ones; "
                    f"got {list(rows.shape[1:])} of {rows.dtype}"
                )
        return counts.pop()
