"""What a space-time memory network is made of, and how its memory is kept. Defaults are the published STCN.

Sources: Cheng, Tai, Tang, "Rethinking Space-Time Networks with Improved Memory Coverage" (NeurIPS 2021); policies from
Pourganjalikhan (2021), sections 3.3 and 4.1. Unusual: network and memory are configured apart, because every memory
policy runs on the same weights without retraining.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from course_lib.errors import InputError
from course_lib.nn.attention_read import Metric


@dataclass(frozen=True)
class StcnConfig:
    """Widths of the network. Strides are fixed: keys and values live at 1/16 of the frame's size."""

    key_trunk: Literal["resnet50", "efficientnet_lite0"] = "resnet50"
    value_trunk: Literal["resnet18", "slim"] = "resnet18"  # slim sees the key encoder's features instead of the frame
    key_channels: int = 64
    value_channels: int = 512
    skip_channels: int = 512  # of the key encoder's stride-16 features that the decoder sees
    decoder_channels: tuple[int, int, int] = (512, 256, 256)  # at strides 16, 8, 4
    key_gain: float = 1.0  # of the key layer's orthogonal initial weights; trained weights do not depend on it


SMALL = StcnConfig(
    key_trunk="efficientnet_lite0",
    value_trunk="slim",
    key_channels=64,
    value_channels=128,
    skip_channels=96,
    decoder_channels=(128, 64, 32),
)

# EfficientNet-Lite's features are about six times as large as ResNet's: at gain 1 the softmax over the memory begins as
# the choice of one cell, at this gain it begins soft. One training each with DAVIS: J&F 77.0 at gain 1, 73.4 here.
SOFT_START = 1 / 8

Policy = Literal["every_k", "first_and_latest", "adaptive", "softmax_index", "pinned", "fifo", "random", "merging"]


@dataclass(frozen=True)
class MemoryConfig:
    """How a memory is written, read and kept small.

    Policies:
    every_k           every `mem_every`-th frame, for ever: the accuracy reference, whose memory grows
    first_and_latest  frame 0 and the frame before this one, so the value encoder runs on every frame
    adaptive          the least frequently used cells make room; use = how often a cell was among a query's top_k
    softmax_index     the same with use = sum of attention weights
    pinned            adaptive, but the first frame's cells stay
    fifo, random      controls: the oldest cells make room, or any cells
    merging           new cells merge into similar stored ones, the rest is added, the least used make room
    """

    policy: Policy = "every_k"
    mem_every: int = 5  # frames between two writes
    capacity: float = 2.0  # frames' worth of cells; every_k and first_and_latest do not look at it
    top_k: int | None = 20  # memory cells that may answer one query cell; None reads all of them
    metric: Metric = "l2"
    include_last: bool = False  # also the frame before this one, until the next
    reaggregate: bool = (
        True  # when objects join, all compete anew, which sharpens earlier ones; False leaves those alone
    )
    max_bytes: int | None = None  # a memory that would need more raises MemoryCapError
    merge_threshold: float = 0.95  # cosine between keys above which `merging` merges
    merge_rate: float = 0.1  # share of the new cell in a merged one
    seed: int = 0  # of `random`

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise InputError(f"policy must be one of {', '.join(get_args(Policy))}; got {self.policy!r}")
        if self.mem_every < 1:
            raise InputError(f"mem_every must be at least 1 frame, got {self.mem_every}")
        least = 2 if self.policy == "pinned" else 1
        if not self.capacity >= least:
            reason = ": the pinned frame and a new one" if least == 2 else ", since a new frame must fit"
            raise InputError(f"capacity must be at least {least} frames' worth of cells{reason}; got {self.capacity}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, or None to read every cell, got {self.top_k}")
        if self.top_k is None and self.policy in ("adaptive", "pinned", "merging"):
            raise InputError(f"policy {self.policy!r} counts which cells are among the top_k, so top_k cannot be None")
        if not 0 < self.merge_rate < 1 or not -1 <= self.merge_threshold <= 1:
            raise InputError(
                "merge_rate must lie between 0 and 1 and merge_threshold between -1 and 1, "
                f"got {self.merge_rate} and {self.merge_threshold}"
            )


# 8 cells are 1 % of two frames' worth of cells at 240x427, and 0.5 % of four: the share that 20 have at published size.
SMALL_MEMORY = MemoryConfig(policy="adaptive", capacity=4.0, top_k=8, reaggregate=False)
