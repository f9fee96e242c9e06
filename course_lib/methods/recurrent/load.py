"""Networks of this room by name, for `course_lib.vos.models.load_model`, the command line and the leaderboard.

Unusual: names mean the small networks that train in minutes; the published sizes are built with `rows` and have no
weights to load, since none were published in a form that may be used here.
"""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from course_lib.methods.recurrent.rows import bi_hs2s, hs2s, s2s, s2s_plus_plus
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter
from course_lib.methods.recurrent.sizes import LITE
from course_lib.nn.weights import SHIPPED, find_weights, load_exactly, read_state_dict

Net = TypeVar("Net", bound=nn.Module)


def load_s2s(weights: Path | None, device: torch.device) -> RecurrentSegmenter:
    """S2S, small; `weights` None takes those of the course.

    Raises `MissingDataError` where they are not there, `InputError` for a file that is damaged or does not fit.
    """
    return RecurrentSegmenter(_loaded(s2s(), "s2s-small", weights, device))


def load_s2s_plus_plus(weights: Path | None, device: torch.device) -> RecurrentSegmenter:
    """S2S++, small: two skip-memories and border-distance classes. Weights and errors as in `load_s2s`."""
    return RecurrentSegmenter(_loaded(s2s_plus_plus(), "s2s-plus-plus-small", weights, device))


def load_hs2s(weights: Path | None, device: torch.device) -> RecurrentSegmenter:
    """HS2S, small: both references, one skip-memory, distance classes. Weights and errors as in `load_s2s`."""
    return RecurrentSegmenter(_loaded(hs2s(), "hs2s-small", weights, device))


def load_hs2s_lite(weights: Path | None, device: torch.device) -> RecurrentSegmenter:
    """HS2S on EfficientNet-Lite0, for real videos. Weights and errors as in `load_s2s`."""
    return RecurrentSegmenter(_loaded(hs2s(LITE), "hs2s-lite", weights, device))


def load_bi_hs2s(weights: Path | None, device: torch.device) -> BidirectionalSegmenter:
    """Bi-HS2S, small: an `OfflineSegmenter`, not causal. Weights and errors as in `load_s2s`."""
    return BidirectionalSegmenter(_loaded(bi_hs2s(), "bi-hs2s-small", weights, device))


def _loaded(net: Net, name: str, weights: Path | None, device: torch.device) -> Net:
    path = find_weights(name, weights, SHIPPED)
    load_exactly(net, read_state_dict(path), path)
    return net.to(device).to(memory_format=torch.channels_last)  # a tenth faster on a CPU
