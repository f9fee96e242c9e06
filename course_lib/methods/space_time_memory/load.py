"""Networks of this room by name, for `course_lib.vos.models.load_model`, the command line and the leaderboard.

Unusual: files of either kind are told apart by their names, so a published checkpoint and one trained here load alike.
"""

from pathlib import Path

import torch

from course_lib.errors import MissingDataError
from course_lib.methods.space_time_memory.config import SMALL, SMALL_MEMORY, MemoryConfig
from course_lib.methods.space_time_memory.network import STCN
from course_lib.methods.space_time_memory.session import SpaceTimeSegmenter
from course_lib.nn.weights import load_exactly, read_state_dict

SMALL_WEIGHTS = Path(__file__).parents[2] / "weights" / "stcn-small.safetensors"


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
    """The small sibling with an adaptive memory of four frames; `weights` None takes those of the course."""
    path = SMALL_WEIGHTS if weights is None else weights
    net = STCN(SMALL)
    load_exactly(net, read_state_dict(path), path)
    # Depthwise convolutions over channels that lie together: an eighth faster on a CPU.
    return SpaceTimeSegmenter(net.to(device).to(memory_format=torch.channels_last), memory)
