"""STCN: a frame is compared with stored frames place by place, and takes over what was said about the similar places.

Source: Cheng, Tai, Tang, "Rethinking Space-Time Networks with Improved Memory Coverage" (NeurIPS 2021). One key per
frame and one affinity for all objects; keys are compared by distance, so that none wins by its length. Unusual: the
published network and its small sibling for CPUs are this one class with different widths, and batch norm is frozen from
the start.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.space_time_memory.config import MemoryConfig, StcnConfig
from course_lib.methods.space_time_memory.decoder import Decoder
from course_lib.methods.space_time_memory.encoders import (
    FrameFeatures,
    KeyEncoder,
    SlimValueEncoder,
    ValueEncoder,
    with_others,
)
from course_lib.methods.space_time_memory.official import load_stcn_state
from course_lib.methods.space_time_memory.session import STRIDE, MemorySession
from course_lib.nn.attention_read import dense_read, negative_distance, read_memory
from course_lib.nn.backbones import freeze_batch_norm

Regulariser = Callable[[Tensor, Tensor | None], Tensor]


class STCN(nn.Module):
    """Space-time correspondence network.

    config    widths; the default is the published network, `SMALL` its sibling for CPUs
    imagenet  start the trunks from ImageNet weights (ResNets are downloaded, EfficientNet-Lite0 is installed)

    Frames are RGB in [0, 1] with sides divisible by 16, except in `propagate` and sessions, which pad. Built in lesson
    13.
    """

    border: Tensor

    def __init__(self, config: StcnConfig | None = None, imagenet: bool = False) -> None:
        super().__init__()
        self.config = StcnConfig() if config is None else config
        self.key_encoder = KeyEncoder(self.config, imagenet)
        channels = self.key_encoder.trunk.channels
        if self.config.value_trunk == "resnet18":
            self.value_encoder: nn.Module = ValueEncoder(self.config, channels[16], imagenet)
        else:
            self.value_encoder = SlimValueEncoder(self.config, channels)
        self.decoder = Decoder(self.config, channels)
        freeze_batch_norm(self, affine=False)
        mean = self.key_encoder.trunk.mean[0, :3, 0, 0]
        self.register_buffer("border", mean.clone(), persistent=False)  # colour of padding

    def encode_key(self, frames: Float[Tensor, "b 3 h w"]) -> FrameFeatures:
        """What to ask the memory with, and later to be asked by, with the features that the decoder needs.

        Depends on the frame alone: computed once, whatever the number of objects.
        """
        if frames.ndim != 4 or frames.shape[2] % STRIDE or frames.shape[3] % STRIDE:
            raise InputError(
                f"frames must be [B, 3, H, W] with H and W divisible by {STRIDE}, got {list(frames.shape)}; "
                "propagate and sessions pad by themselves"
            )
        return self.key_encoder(frames)

    def encode_value(
        self, frames: Float[Tensor, "b 3 h w"], features: FrameFeatures, masks: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b k cv h16 w16"]:
        """What to remember about each object in a frame, given masks in [0, 1] (soft ones are meant)."""
        if masks.ndim != 4 or masks.shape[0] != len(frames) or masks.shape[2:] != frames.shape[2:]:
            raise InputError(
                f"masks must be [B, K, H, W] of the frames' size, got {list(masks.shape)} for {list(frames.shape)}"
            )
        return self.value_encoder(frames, features, with_others(masks))

    def read(
        self,
        keys: Float[Tensor, "b ck n"],
        values: Float[Tensor, "b k cv n"],
        query: Float[Tensor, "b ck h w"],
        top_k: int | None = 20,
        regulariser: Regulariser | None = None,
        support: Tensor | None = None,
    ) -> Float[Tensor, "b k cv h w"]:
        """Ask the memory at every cell of a query frame.

        top_k        None takes all cells, as in training
        regulariser  turns negative distances [B, N, Q] into an affinity (see `regularisers`); needs top_k=None
        support      cells of each object [B, K, N], for a regulariser that asks for them
        """
        cells = query.flatten(2)  # [B, Ck, Q]
        if regulariser is None:
            readout = read_memory(keys, values, cells, top_k).readout
        elif top_k is None:
            readout = dense_read(regulariser(negative_distance(keys, cells), support).to(values.dtype), values)
        else:
            raise InputError("a regulariser acts on all memory cells: read with top_k=None")
        return readout.unflatten(3, query.shape[2:])

    def decode(self, readout: Float[Tensor, "b k cv h w"], features: FrameFeatures) -> Float[Tensor, "b k h16 w16"]:
        """Mask logits of each object at the frame's size, before objects compete (`soft_aggregate`)."""
        return self.decoder(readout, features)

    @torch.no_grad()
    def propagate(
        self,
        frames: Float[Tensor, "t 3 h w"],
        masks: Float[Tensor, "k h w"],
        mem_every: int = 5,
        include_last: bool = False,
        top_k: int | None = 20,
        memory: MemoryConfig | None = None,
    ) -> Float[Tensor, "t k1 h w"]:
        """Follow objects, all given in the first frame, through a clip.

        frames  RGB in [0, 1], any size; masks of the first frame, 0 or 1 (soft ones are taken as they are)
        memory  another policy than the published growing one; the other arguments are then ignored

        Returns probabilities [T, K+1, H, W], background first. Raises `InputError` for shapes or types that do not fit.
        """
        check_clip(frames, masks)
        if memory is None:
            memory = MemoryConfig(mem_every=mem_every, include_last=include_last, top_k=top_k)
        ids = torch.arange(1, len(masks) + 1, device=frames.device)
        session = MemorySession(self, memory, frames[0], masks.to(frames), ids)
        return torch.stack([session.probs] + [session.step(frame) for frame in frames[1:]])

    def load_official_state(self, state: Mapping[str, Tensor], source: str | Path = "a state dict") -> "STCN":
        """Load a published checkpoint's tensors, by their published names, in place; returns the network.

        Raises `InputError` naming the first tensor that does not fit.
        """
        load_stcn_state(self, state, source)
        return self


def check_clip(frames: Tensor, masks: Tensor) -> None:
    """Refuse a clip or first masks of another shape or type than `propagate` takes."""
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0 or not frames.is_floating_point():
        raise InputError(
            f"frames must be [T, 3, H, W] floating point in [0, 1], got {list(frames.shape)} {frames.dtype}; "
            "divide uint8 frames by 255"
        )
    if masks.ndim != 3 or len(masks) == 0 or masks.shape[1:] != frames.shape[2:]:
        raise InputError(
            f"masks must be [K, H, W] of the frames' size {list(frames.shape[2:])}, one per object, "
            f"got {list(masks.shape)}"
        )
