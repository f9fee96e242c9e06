"""One video segmented frame by frame with a local memory: encode, read, fuse, decode, and then remember.

Source: M. Paul (2023), section 4.3. The encoder runs once for each frame, whatever the memory holds. Unusual: errors do
not accumulate, because what is remembered are encodings of frames, never answers.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.local_memory.memory import MemoryQueue

if TYPE_CHECKING:
    from course_lib.methods.local_memory.network import LocalMemoryNet


class LocalMemorySession:
    """A video in progress. `LocalMemoryNet.start` makes one."""

    def __init__(self, net: "LocalMemoryNet", memory_size: int) -> None:
        self.net = net
        self.memory = MemoryQueue(memory_size)
        self._size: tuple[int, ...] | None = None

    @torch.no_grad()
    def step(self, frame: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b classes h w"]:
        """Logits for every pixel of the next frame, [3, H, W] or several videos' [B, 3, H, W], RGB in [0, 1].

        Any size, the same for all frames until `reset`; otherwise raises `InputError`, and so it does if the network
        is back in training mode, or was moved to another device or dtype since the last frame.
        """
        if self.net.training:
            raise InputError(
                "the network is in training mode, where dropout and the statistics of a batch change its answers; "
                "call its `eval()` before `step`"
            )
        if self._size is not None and frame.shape != self._size:
            raise InputError(
                f"this video's frames are {list(self._size)}, got {list(frame.shape)}; for another video start "
                "another session, or `reset` this one"
            )
        frames = frame[None] if frame.ndim == 3 else frame
        segmenter = self.net.segmenter
        padded = segmenter.padded(frames)
        features = segmenter.encode(padded)
        fused = self.net.with_memory(features, self.memory)
        logits = segmenter.upsample(segmenter.decode(fused, padded), (frame.shape[-2], frame.shape[-1]))
        self.net.remember(features, fused, self.memory)
        self._size = tuple(frame.shape)
        return logits[0] if frame.ndim == 3 else logits

    def reset(self) -> None:
        """Forget the video; the next frame is the first of another."""
        self.memory.clear()
        self._size = None

    def memory_bytes(self) -> int:
        """Bytes that the memory holds."""
        return self.memory.memory_bytes()
