"""What every network that labels single frames looks like to the methods that make it a video segmenter.

It is cut in two at the features that may travel through time: `encode` makes them, `decode` turns them into scores of
classes; M. Paul (2023), sections 3.3.2 and 4.3, takes published networks as such black boxes. Unusual: a frame that
does not fit the strides is continued to the right and below only, so that feature cell (i, j) always sits at the same
pixel.
"""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError


class Segmented(NamedTuple):
    """What a network says about a batch of frames."""

    logits: Float[Tensor, "b classes h w"]  # unnormalised log-probabilities, `logits_stride` pixels apart
    features: Float[Tensor, "b d h2 w2"]  # what may be propagated or remembered, `features_stride` pixels apart


class FrameSegmenter(nn.Module):
    """Base of the networks that label one frame at a time. Frames are [B, 3, H, W] float, RGB in [0, 1].

    classes            number of classes C; label 255 is ignored in losses and belongs to none
    stride             sides that the network takes: multiples of it (`fitting` says which, where a network differs)
    logits_stride      pixels between two cells of the logits
    features_stride    pixels between two cells of the features
    features_channels  channels D of the features

    A subclass gives these to the constructor and writes `encode` and `decode`. What only `decode` uses lies in its
    submodule `decoder`, or is named by `decoder_parts`. A network normalises for itself.
    """

    def __init__(
        self, classes: int, stride: int, logits_stride: int, features_stride: int, features_channels: int
    ) -> None:
        super().__init__()
        if classes < 1:
            raise InputError(f"a segmenter needs at least one class, got classes={classes}")
        self.classes = classes
        self.stride = stride
        self.logits_stride = logits_stride
        self.features_stride = features_stride
        self.features_channels = features_channels

    def encode(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Features of frames whose sides fit."""
        raise NotImplementedError

    def decode(
        self, features: Float[Tensor, "b d h2 w2"], frames: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b classes h3 w3"]:
        """Logits of features, the network's own or others of their shape; networks with lateral connections take the
        frame again."""
        raise NotImplementedError

    def decoder_parts(self) -> tuple[nn.Module, ...]:
        """Modules that only `decode` runs; what trains when the features stay as they are."""
        decoder = getattr(self, "decoder", None)
        if not isinstance(decoder, nn.Module):
            raise NotImplementedError(
                f"{type(self).__name__} has no submodule `decoder`: it must write decoder_parts()"
            )
        return (decoder,)

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> Segmented:
        """Both, for frames whose sides fit. Raises `InputError` for other sides, and for anything but RGB floats."""
        _check_frames(frames)
        self.check_sides(frames)
        features = self.encode(frames)
        return Segmented(self.decode(features, frames), features)

    def segment(self, frames: Float[Tensor, "b 3 h w"]) -> Segmented:
        """The same for frames of any size, with logits for every pixel: [B, C, H, W].

        The features are those of the padded frames. Raises `InputError` for anything but RGB floats.
        """
        found = self(self.padded(frames))
        return Segmented(self.upsample(found.logits, (frames.shape[-2], frames.shape[-1])), found.features)

    def fitting(self, side: int) -> int:
        """The smallest side of at least `side` pixels that the network takes."""
        return -(-side // self.stride) * self.stride

    def check_sides(self, frames: Float[Tensor, "*b 3 h w"]) -> None:
        """Raise `InputError` for frames whose sides the network does not take as they are."""
        height, width = frames.shape[-2:]
        if (self.fitting(height), self.fitting(width)) != (height, width):
            raise InputError(
                f"{type(self).__name__} takes sides such as {self.fitting(height)} x {self.fitting(width)}, got "
                f"{height} x {width}; `segment` takes any size, `padded` makes one that fits"
            )

    def padded(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 hp wp"]:
        """The frames, continued by their last column and row until the sides fit (the same tensor if they do)."""
        _check_frames(frames)
        height, width = frames.shape[-2:]
        right, below = self.fitting(width) - width, self.fitting(height) - height
        return F.pad(frames, (0, right, 0, below), mode="replicate") if right or below else frames

    def upsample(self, logits: Float[Tensor, "b c h3 w3"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        """Logits of a padded frame, bilinear, for each pixel of the frame of this `size` (H, W)."""
        whole = (self.fitting(size[0]), self.fitting(size[1]))
        if logits.shape[-2:] != whole:
            logits = F.interpolate(logits, whole, mode="bilinear", align_corners=False)
        return logits[..., : size[0], : size[1]]


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 4 or frames.shape[1] != 3 or not frames.is_floating_point() or 0 in frames.shape:
        raise InputError(f"frames must be [B, 3, H, W] float, RGB in [0, 1]; got {list(frames.shape)} {frames.dtype}")
