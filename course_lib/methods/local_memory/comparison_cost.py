"""What a memory costs: time and bytes of reading a window, all places, or windows written out, in turns on one core.

M. Paul (2023), section 4.4.3, table 4.4. Unusual: windows cover the share of the frame that they cover there, 21 and 41
of 64 x 128 cells, on fewer cells. No network is trained, since weights do not change times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.local_memory.config import LocalMemoryConfig
from course_lib.methods.local_memory.global_read import global_read
from course_lib.methods.local_memory.local_read import local_read, unfold_read
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.peak_memory import peak_bytes
from course_lib.methods.propagation.comparison_speed import interleaved_ms
from course_lib.methods.propagation.erfnet import ERFNet
from course_lib.presets import of_preset

Pair = tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]
_CLASSES = 19
_MIB = 2**20


@dataclass(frozen=True)
class CostConfig:
    """Size of the measurements. `preset` gives the three sizes of the course.

    cells   of a frame, (h, w); frames: in the memory, keys and values as published
    window  that covers 5 % of the frame, as 21 of 64 x 128 cells; wide: 20 %, as 41
    side    height of the frames for the whole network, which are twice as wide; stride: their cells' distance
    """

    cells: tuple[int, int] = (32, 64)
    frames: int = 3
    keys: int = 16
    values: int = 64
    window: int = 11
    wide: int = 21
    side: int = 256
    memory: LocalMemoryConfig | None = None  # of the whole network; None: as published
    rounds: int = 5

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.frames < 1:
            raise InputError(f"expected rounds >= 1 and frames >= 1, got {self.rounds} and {self.frames}")

    @classmethod
    def preset(cls, name: str) -> "CostConfig":
        """smoke: few cells; cpu: a laptop; gpu: the published sizes. Raises `InputError` for another name."""
        tiny = LocalMemoryConfig(memory_size=2, window=5)
        sizes = {
            "smoke": cls((16, 32), window=5, wide=11, side=64, memory=tiny, rounds=2),
            "cpu": cls(),
            "gpu": cls((64, 128), window=21, wide=41, side=512),
        }
        return of_preset(name, sizes)


Preset = str | CostConfig


def window_and_global_ms(preset: Preset, seed: int) -> Pair:
    """Milliseconds of reading a window, and of reading all places: [R] each."""
    config = _config(preset)
    query, keys, values = memory = _memory(config, seed)
    return _pair(partial(local_read, query, keys, values, config.window), partial(global_read, *memory), config)


def wide_window_and_global_ms(preset: Preset, seed: int) -> Pair:
    """Milliseconds of reading a window that covers a fifth of the frame, and of reading all places: [R] each."""
    config = _config(preset)
    query, keys, values = memory = _memory(config, seed)
    return _pair(partial(local_read, query, keys, values, config.wide), partial(global_read, *memory), config)


def written_out_and_global_ms(preset: Preset, seed: int) -> Pair:
    """Milliseconds of reading a window that is written out first, and of reading all places: [R] each."""
    config = _config(preset)
    query, keys, values = memory = _memory(config, seed)
    return _pair(partial(unfold_read, query, keys, values, config.window), partial(global_read, *memory), config)


def window_share_of_global_bytes(preset: Preset, seed: int) -> Pair:
    """Most bytes held by reading a window over those held by reading all places, and 0: [1] each."""
    config = _config(preset)
    query, keys, values = memory = _memory(config, seed)
    window = peak_bytes(partial(local_read, query, keys, values, config.window), *memory)
    return np.array([window / peak_bytes(partial(global_read, *memory), *memory)]), np.zeros(1)


def written_out_and_global_mib(preset: Preset, seed: int) -> Pair:
    """MiB held by reading a window that is written out first, and by reading all places: [1] each."""
    config = _config(preset)
    query, keys, values = memory = _memory(config, seed)
    window = peak_bytes(partial(unfold_read, query, keys, values, config.window), *memory)
    return np.array([window / _MIB]), np.array([peak_bytes(partial(global_read, *memory), *memory) / _MIB])


def added_time(preset: Preset, seed: int) -> Pair:
    """Time that a full memory adds to a frame of ERFNet, as a share of the frame without it, and 0: [R] each."""
    config = _config(preset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        segmenter = ERFNet(_CLASSES)
        frame = torch.rand(3, config.side, 2 * config.side)
        alone = LocalMemoryNet(segmenter, LocalMemoryConfig(source="none")).start()
        remembering = LocalMemoryNet(segmenter, config.memory).start()
    for _ in range(remembering.net.config.memory_size):  # fill it
        remembering.step(frame)
    times = interleaved_ms([partial(alone.step, frame), partial(remembering.step, frame)], config.rounds)
    return times[:, 1] / times[:, 0] - 1, np.zeros(config.rounds)


def _config(preset: Preset) -> CostConfig:
    return CostConfig.preset(preset) if isinstance(preset, str) else preset


def _memory(config: CostConfig, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query key [1, D, h, w], memory keys [1, S, D, h, w] and values [1, S, V, h, w] of random numbers."""
    g = torch.Generator().manual_seed(seed)
    shapes = ((config.keys,), (config.frames, config.keys), (config.frames, config.values))
    query, keys, values = (torch.randn(1, *shape, *config.cells, generator=g) for shape in shapes)
    return query, keys, values


def _pair(first: Callable[[], object], second: Callable[[], object], config: CostConfig) -> Pair:
    times = interleaved_ms([first, second], config.rounds)
    return times[:, 0], times[:, 1]
