"""The memory: a queue of the last few frames, each as one key and one value map.

Source: M. Paul (2023), section 4.3.1. Unusual: nothing is ever compressed or summed, so the softmax of the reader sees
every stored frame, and a memory may hold more frames than there were in training (table 4.10).
"""

from collections import deque

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError


class MemoryQueue:
    """First in, first out: `capacity` frames at most. Built in lesson 07."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError(f"a memory holds at least one frame, got capacity={capacity}")
        self.capacity = capacity
        self._frames: deque[tuple[Tensor, Tensor]] = deque(maxlen=capacity)

    def __len__(self) -> int:
        """Frames that are stored now."""
        return len(self._frames)

    def write(self, key: Float[Tensor, "b d h w"], value: Float[Tensor, "b v h w"]) -> None:
        """Store the newest frame; beyond the capacity the oldest one goes. Raises `InputError` as `check` does."""
        self.check(key, value)
        self._frames.append((key, value))

    def check(self, key: Float[Tensor, "b d h w"], value: Float[Tensor, "b v h w"]) -> None:
        """Refuse key and value, of a frame to be stored or of one that asks, that do not go with what is stored.

        Raises `InputError` for two sizes, for another size, device or dtype than that of the stored frames; autocast
        may mix dtypes.
        """
        if key.shape[-2:] != value.shape[-2:] or len(key) != len(value):
            raise InputError(f"key and value must be of one frame, got {list(key.shape)} and {list(value.shape)}")
        if not self._frames:
            return
        for name, held, new in zip(("keys", "values"), self._frames[0], (key, value)):
            if held.shape != new.shape:
                raise InputError(
                    f"the memory holds {name} of shape {list(held.shape)}, got {list(new.shape)}: a frame of another "
                    "size belongs to another video, so clear the memory first"
                )
            if held.device != new.device or (held.dtype != new.dtype and not _autocast(new.device)):
                raise InputError(
                    f"the memory holds {name} in {held.dtype} on {held.device}, got {new.dtype} on {new.device}: the "
                    "network was moved or converted; start another session, or clear the memory"
                )

    def stacked(self) -> tuple[Float[Tensor, "b s d h w"], Float[Tensor, "b s v h w"]]:
        """Keys and values of all stored frames, oldest first. Raises `InputError` if there are none."""
        if not self._frames:
            raise InputError("the memory is empty: the first frame of a video is decoded without it")
        keys, values = zip(*self._frames)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)

    def clear(self) -> None:
        """Forget everything, before another video."""
        self._frames.clear()

    def memory_bytes(self) -> int:
        """What is stored: (D + V) · h · w numbers for each frame, 2.6 MB at the published size."""
        return sum(x.numel() * x.element_size() for frame in self._frames for x in frame)


def _autocast(device: torch.device) -> bool:
    """Whether mixed precision is on, where a device knows it at all."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
