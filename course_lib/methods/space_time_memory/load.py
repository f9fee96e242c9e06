"""Networks of this room by name, for `course_lib.vos.models.load_model`, the command line and the leaderboard.

Unusual: files of either kind are told apart by their names, so a published checkpoint and one trained here load alike.
"""

from pathlib import Path

import torch

from course_lib.errors import MissingDataError
from course_lib.methods.space_time_memory.config import SMALL, SMALL_MEMORY, MemoryConfig
from course_lib.methods.space_time_memory.network import STCN
from course_lib.methods.space_time_memory.session import SpaceTimeSegmenter
from course_lib.nn.weights import SHIPPED, find_weights, load_exactly, read_state_dict

SMALL_WEIGHTS = SHIPPED / "stcn-small.safetensors"  # CC BY-NC 4.0
SMALL_WORLD_WEIGHTS = SHIPPED / "stcn-small-world.safetensors"  # MIT


def load_stcn(weights: Path | None, device: torch.device) -> SpaceTimeSegmenter:
    """The published STCN with its growing memory. `weights`: the published checkpoint, or a state dict of `STCN()`.

    Raises `MissingDataError` without weights, `InputError` for a file that is damaged, holds code or does not fit.
    """
    if weights is None:
        raise MissingDataError(
            "no weights of the full STCN ship with the course: download the authors' checkpoint (stcn.pth, from their "
            "project page) and give its path, for example --weights stcn.pth"
        )
    state = read_state_dict(weights)
    net = STCN()
    if any(name.startswith("key_proj.") for name in state):
        net.load_official_state(state, weights)
    else:
        load_exactly(net, state, weights)
    return SpaceTimeSegmenter(net.to(device))


def load_stcn_small(
    weights: Path | None, device: torch.device, memory: MemoryConfig = SMALL_MEMORY
) -> SpaceTimeSegmenter:
    """The small sibling with an adaptive memory of four frames; `weights` None takes those of the course.

    These have seen DAVIS, whose licence is CC BY-NC 4.0, and carry it: no commercial use. Raises `MissingDataError`
    where they are not there, `InputError` for a file that is damaged or does not fit.
    """
    return _small("stcn-small", SMALL_WEIGHTS if weights is None else weights, device, memory)


def load_stcn_small_world(
    weights: Path | None, device: torch.device, memory: MemoryConfig = SMALL_MEMORY
) -> SpaceTimeSegmenter:
    """The same network, trained on the synthetic world alone, so that its weights are MIT. Raises as its sibling."""
    return _small("stcn-small-world", SMALL_WORLD_WEIGHTS if weights is None else weights, device, memory)


def _small(name: str, path: Path, device: torch.device, memory: MemoryConfig) -> SpaceTimeSegmenter:
    net = STCN(SMALL)
    load_exactly(net, read_state_dict(find_weights(name, path)), path)
    # Depthwise convolutions over channels that lie together: an eighth faster on a CPU.
    return SpaceTimeSegmenter(net.to(device).to(memory_format=torch.channels_last), memory)
