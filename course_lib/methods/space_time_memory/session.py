"""One video followed by a space-time memory network: encode the frame, ask the memory, decode, and later remember.

Source: Cheng et al. (NeurIPS 2021), their inference for videos whose objects may enter at different frames. Unusual:
one memory serves all objects. Where the reference keeps a bank for each, here a cell older than an object is closed to
it, which gives the same numbers, since all banks store the same frames from their object's birth on.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.methods.space_time_memory.banks import make_bank
from course_lib.methods.space_time_memory.config import MemoryConfig
from course_lib.methods.space_time_memory.encoders import FrameFeatures
from course_lib.vos.aggregate import add_objects, soft_aggregate
from course_lib.vos.checks import check_labels, check_new_labels
from course_lib.vos.padding import Pads, pad_to_multiple, unpad

if TYPE_CHECKING:
    from course_lib.methods.space_time_memory.network import STCN

STRIDE = 16


class MemorySession:
    """A video in progress (`course_lib.vos.protocol.Session`).

    A frame is written when the next one arrives: if objects were given in it; else if `mem_every` frames have passed
    since the last one that was kept; else, with `include_last`, for one step. So the last frame is never encoded in
    vain.
    """

    def __init__(
        self,
        net: "STCN",
        memory: MemoryConfig,
        frame: Float[Tensor, "3 h w"],
        masks: Float[Tensor, "k h w"],
        ids: Int[Tensor, "k"],
    ) -> None:
        self.net = net
        self.memory = memory
        self.ids = ids
        self.bank = make_bank(memory)
        self.bank.add_objects(len(ids), birth=0)
        self._every = 1 if memory.policy == "first_and_latest" else memory.mem_every
        self._t = 0
        self._kept = 0  # last frame written for good
        self._given = True  # objects were given in the frame at hand
        self._frame, self._pads = pad_frame(frame, net.border)
        self._features: FrameFeatures | None = None
        self._probs = soft_aggregate(pad_to_multiple(masks, STRIDE)[0])  # [K+1, Hp, Wp]

    @property
    def probs(self) -> Float[Tensor, "k1 h w"]:
        """Probabilities of the frame at hand. Given masks have gone through soft aggregation like any others."""
        return unpad(self._probs, self._pads)

    def step(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "k1 h w"]:
        """Segment the next frame (RGB in [0, 1]): probabilities [K+1, H, W], background first."""
        self._remember()
        self._t += 1
        self._given = False
        self._frame, _ = pad_frame(frame, self.net.border)
        self._features = self.net.encode_key(self._frame[None])
        height, width = self._features.key.shape[2:]
        readout = self.bank.read(self._features.key[0].flatten(1))  # [K, Cv, h*w]
        logits = self.net.decode(readout.unflatten(2, (height, width))[None], self._features)  # [1, K, Hp, Wp]
        self._probs = soft_aggregate(logits[0].float().sigmoid())
        return self.probs

    def add(self, labels: UInt8[Tensor, "h w"]) -> Float[Tensor, "k1 h w"]:
        """Take in objects that first appear in the frame at hand. Their pixels are theirs; the frame is kept."""
        size = (self.probs.shape[1], self.probs.shape[2])
        new = check_new_labels(labels, size, self._t, self.ids).to(self.ids)
        self._probs = add_objects(self._probs, pad_to_multiple(labels, STRIDE)[0], new)
        if self.memory.reaggregate:
            self._probs = soft_aggregate(self._probs[1:])
        self.ids = torch.cat([self.ids, new])
        if self._t > 0:
            self.bank.add_objects(len(new), birth=self._t)
        else:
            self.bank = make_bank(self.memory)
            self.bank.add_objects(len(self.ids), birth=0)
        self._given = True
        return self.probs

    def memory_bytes(self) -> int:
        """Bytes of the memory's buffers and of the frame at hand with its features, which may yet be written."""
        held = [self._frame, self._probs, *(self._features or ())]
        return self.bank.memory_bytes() + sum(x.numel() * x.element_size() for x in held)

    def _remember(self) -> None:
        """Write the frame at hand, if it is to be kept."""
        keep = self._given or self._t - self._kept >= self._every
        if not keep and not self.memory.include_last:
            return
        features = self._features if self._features is not None else self.net.encode_key(self._frame[None])
        masks = self._probs[None, 1:]  # [1, K, Hp, Wp]
        value = self.net.encode_value(self._frame[None], features, masks)[0].flatten(2)  # [K, Cv, h*w]
        key = features.key[0].flatten(1)
        self.bank.write(key, value, self._t, annotated=self._given, temporary=not keep)
        if keep:
            self._kept = self._t


class SpaceTimeSegmenter:
    """A network with a memory policy (`course_lib.vos.protocol.VideoSegmenter`). Weights serve any policy."""

    def __init__(self, net: "STCN", memory: MemoryConfig | None = None) -> None:
        self.net = net.eval()
        self.memory = MemoryConfig() if memory is None else memory

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.net.parameters()).device

    def start(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> MemorySession:
        """Begin a video: frame [3, H, W] in [0, 1], labels [H, W] uint8 (0 background, 255 ignore, others objects)."""
        ids = check_labels(labels, (frame.shape[1], frame.shape[2]))
        return MemorySession(self.net, self.memory, frame, one_mask_each(labels, ids), ids)


def one_mask_each(labels: UInt8[Tensor, "h w"], ids: Int[Tensor, "k"]) -> Float[Tensor, "k h w"]:
    """Masks of zeros and ones, one per id."""
    return (labels == ids.to(labels)[:, None, None]).float()


def pad_frame(frame: Float[Tensor, "3 h w"], border: Float[Tensor, "3"]) -> tuple[Float[Tensor, "3 hp wp"], Pads]:
    """Pad to whole cells with the colour that normalisation turns into zero."""
    padded, pads = pad_to_multiple(frame, STRIDE)
    if not any(pads):
        return frame, pads
    canvas = border[:, None, None].expand_as(padded).clone()
    unpad(canvas, pads).copy_(frame)
    return canvas, pads
