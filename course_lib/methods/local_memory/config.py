"""What a local memory is made of. Defaults are M. Paul (2023), section 4.3, on ERFNet; `PSPNET` is its second network.

Unusual: cells of a window that lie outside the frame do not exist by default; the public release, and with it the
`PUBLISHED_*` settings, gives them score 0 and value 0.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from course_lib.errors import InputError
from course_lib.methods.local_memory.local_read import Border

Source = Literal["past", "self", "past_and_self", "none"]
Scale = Literal["none", "sqrt", "learned"]
FusionKind = Literal["gated", "concat", "bottleneck"]
FirstFrame = Literal["decode", "self"]


@dataclass(frozen=True)
class LocalMemoryConfig:
    """How frames are remembered, read and fused.

    source  past           the frames before this one: the method
            self           this frame in the place of the past: a control with the same layers that sees no other frame
            past_and_self  this frame is stored before it reads
            none           no memory and none of its layers: a control to train the decoder as long
    """

    memory_size: int = 4  # frames that are remembered; a trained network reads other numbers too
    window: int | None = 21  # side of the neighbourhood in cells of the features, odd; None is the whole frame
    key_channels: int = 16  # matched
    value_channels: int | None = 64  # transported; None: the features themselves, without a layer
    fusion: FusionKind = "gated"
    fusion_dropout: float = 0.3  # of gated and concat, whole channels, in training
    border: Border = "mask"  # "zero": windows also see cells of score and value 0 outside the frame
    scale: Scale = "none"  # of the scores before the softmax: as printed; 1 / sqrt(key_channels); or a trained factor
    no_match: bool = False  # a trained score of an empty cell, for queries that nothing in memory is like
    source: Source = "past"
    first_frame: FirstFrame = "decode"  # with an empty memory: decode the features as they are, or read this frame

    def __post_init__(self) -> None:
        choices = {"fusion": FusionKind, "border": Border, "scale": Scale, "source": Source, "first_frame": FirstFrame}
        for name, kinds in choices.items():
            if getattr(self, name) not in get_args(kinds):
                raise InputError(f"{name} must be one of {', '.join(get_args(kinds))}; got {getattr(self, name)!r}")
        if self.memory_size < 1:
            raise InputError(
                f"memory_size must be at least 1 frame, got {self.memory_size}; no memory is source='none'"
            )
        if self.window is not None and (self.window < 1 or self.window % 2 == 0):
            raise InputError(f"window must be odd and at least 1, or None for the whole frame; got {self.window}")
        if self.window is None and self.border == "zero":
            raise InputError("border 'zero' pads by half a window: with window=None use border 'mask'")
        if self.key_channels < 1 or (self.value_channels is not None and self.value_channels < 1):
            raise InputError(
                f"keys and values need channels, got key_channels={self.key_channels} and "
                f"value_channels={self.value_channels}"
            )
        if not 0 <= self.fusion_dropout < 1:
            raise InputError(f"fusion_dropout must lie in [0, 1), got {self.fusion_dropout}")


PSPNET = LocalMemoryConfig(memory_size=3, key_channels=128, value_channels=None, fusion="bottleneck")
PUBLISHED_ERFNET = LocalMemoryConfig(border="zero")
PUBLISHED_PSPNET = replace(PSPNET, border="zero")
