"""What every encoder of the recurrent family gives: features at rising strides, and the bottleneck's own.

Source: F. Azimi (2024), sections 6.3.2 and 6.4.2. An encoder is either blind to the target (the frame alone) or guided
by a mask that comes in beside the colours. Unusual: forgetting a mask, or giving one to a blind encoder, is an error,
since both would train without complaint.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError


class Features(NamedTuple):
    """What an encoder finds in a frame.

    levels  stride -> [B, channels[stride], ceil(H / stride), ceil(W / stride)], for skip connections
    deep    [B, deep, h, w] at the deepest stride, for the bottleneck: the last level after the encoder's head
    """

    levels: dict[int, Tensor]
    deep: Float[Tensor, "b c h w"]


class MaskedEncoder(nn.Module):
    """Base of the encoders: frames [B, 3, H, W] in [0, 1] and, if `guided`, masks [B, 1, H, W] in [0, 1] to `Features`.

    channels  stride -> channels of the levels, strides rising
    guided    whether it takes a mask
    deep      channels of the bottleneck features
    border    the colour that the network sees as zero: pad frames with it

    Raises `InputError` for other shapes, for frames that are not floating point, for a missing mask and for a needless
    one. Subclasses write `features`.
    """

    def __init__(
        self, channels: dict[int, int], guided: bool, deep: int, border: tuple[float, float, float] = (0.5, 0.5, 0.5)
    ) -> None:
        super().__init__()
        self.channels = channels
        self.guided = guided
        self.deep = deep
        self.border = border

    @property
    def stride(self) -> int:
        """The deepest stride: pixels of the frame to one cell of the bottleneck."""
        return max(self.channels)

    def forward(self, frames: Float[Tensor, "b 3 h w"], masks: Float[Tensor, "b 1 h w"] | None = None) -> Features:
        name = type(self).__name__
        if frames.ndim != 4 or frames.shape[1] != 3 or not frames.is_floating_point() or 0 in frames.shape:
            raise InputError(
                f"{name} takes frames [B, 3, H, W], float in [0, 1], got {list(frames.shape)} {frames.dtype}; "
                "divide uint8 frames by 255"
            )
        if not self.guided:
            if masks is not None:
                raise InputError(f"this {name} is not guided and would ignore the mask: build it with guided=True")
            return self.features(frames)
        wanted = [len(frames), 1, *frames.shape[2:]]
        if masks is None:
            raise InputError(f"this {name} is guided: give masks {wanted} with the frames, or build with guided=False")
        if list(masks.shape) != wanted or not masks.is_floating_point():
            raise InputError(
                f"{name} takes one mask per frame, {wanted} float in [0, 1], got {list(masks.shape)} {masks.dtype}"
            )
        return self.features(torch.cat([frames, masks], dim=1))

    def features(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Features of [B, 3 or 4, H, W]: RGB in [0, 1] and, if guided, the mask as it came."""
        raise NotImplementedError
