"""How many bytes a computation holds at once, on any device: every tensor that an operation makes is followed.

On a CPU nobody keeps such accounts. Unusual: counted are storages that are alive after each operation, so views cost
nothing, and what a kernel holds for itself while it runs is not seen.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Account(TorchDispatchMode):
    """Bytes of storages that were made since it was entered."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self._known = known  # storages that were there before
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


@torch.no_grad()
def peak_bytes(call: Callable[[], object], *inputs: Tensor) -> int:
    """Most bytes that `call` holds at once beyond its `inputs`, result included; without gradients."""
    with _Account({x.untyped_storage()._cdata for x in inputs}) as account:
        call()
    return account.peak
