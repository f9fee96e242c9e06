"""LMANet: a network for single frames gets a memory between its encoder and its decoder.

Source: M. Paul (2023), chapter 4. A frame's features ask the memory of past frames for similar places nearby, a gate
decides how much of the answer to believe, and the decoder that was there before decodes the result. Unusual: any
`FrameSegmenter` can be wrapped, and the two controls that the thesis lacks (this frame in the place of the past, and a
decoder trained as long without memory) are settings of the same class.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.local_memory.config import LocalMemoryConfig
from course_lib.methods.local_memory.fusion import BottleneckFusion, ConcatFusion, GatedFusion
from course_lib.methods.local_memory.local_read import local_read
from course_lib.methods.local_memory.memory import MemoryQueue
from course_lib.methods.local_memory.session import LocalMemorySession
from course_lib.methods.propagation.segmenter import FrameSegmenter


class KeyValue(nn.Module):
    """Key and value of a frame, each one 3x3 convolution of its features; without `values` they are the value."""

    def __init__(self, features: int, keys: int, values: int | None) -> None:
        super().__init__()
        self.key = nn.Conv2d(features, keys, 3, padding=1)
        self.value = nn.Identity() if values is None else nn.Conv2d(features, values, 3, padding=1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b v h w"]]:
        return self.key(features), self.value(features)


class LocalMemoryNet(nn.Module):
    """A segmenter with a local memory. On ERFNet the memory has 627,872 parameters.

    segmenter  any network for single frames; it is part of this one, not copied
    config     how frames are remembered, read and fused
    fusion     a module (query value, readout) -> features, in the place of the configured one

    Use `start` for a video, `forward` for training on clips, `from_features` where the features do not train. Raises
    `InputError` where the configured fusion does not give the width that the segmenter's decoder takes; a `fusion` of
    your own is refused when it first answers in another shape. Built in lesson 07.
    """

    def __init__(
        self, segmenter: FrameSegmenter, config: LocalMemoryConfig | None = None, fusion: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.config = LocalMemoryConfig() if config is None else config
        self.segmenter = segmenter
        self._stage = 0
        self.scale: nn.Parameter | float = 1.0
        self.no_match: nn.Parameter | None = None
        if self.config.source == "none":
            return
        keys, values = self.config.key_channels, self.config.value_channels
        self.memory_heads = KeyValue(segmenter.features_channels, keys, values)
        self.query_heads = KeyValue(segmenter.features_channels, keys, values)
        self.query_heads.key.load_state_dict(self.memory_heads.key.state_dict())  # a frame at first matches itself
        self.fusion = _fusion(self.config, segmenter.features_channels) if fusion is None else fusion
        if self.config.scale == "sqrt":
            self.scale = keys**-0.5
        elif self.config.scale == "learned":
            self.scale = nn.Parameter(torch.ones(()))
        if self.config.no_match:
            self.no_match = nn.Parameter(torch.zeros(1))

    def start(self, memory_size: int | None = None) -> LocalMemorySession:
        """Begin a video: an object whose `step` takes one frame after the other. Puts the network in evaluation mode.

        memory_size  frames to remember, instead of the configured number; 0 for the sources that store none, "self"
                     and "none". Raises `InputError` for fewer frames than the source needs
        """
        size = self.config.memory_size if memory_size is None else memory_size
        if size == 0 and self.config.source in ("self", "none"):
            size = 1  # a queue of one that is never written
        return LocalMemorySession(self.eval(), size)

    def forward(self, clip: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b classes h2 w2"]:
        """Logits of the clip's last frame, at the segmenter's own resolution; sides must fit the segmenter.

        The frames before it are its memory, the last `memory_size` of them. RGB in [0, 1].
        """
        if clip.ndim != 5 or clip.shape[2] != 3 or clip.shape[1] == 0 or not clip.is_floating_point():
            raise InputError(f"a clip is [B, T, 3, H, W] float, RGB in [0, 1]; got {list(clip.shape)} {clip.dtype}")
        self.segmenter.check_sides(clip)
        kept = clip[:, -self._frames_seen() :]
        features = self.segmenter.encode(kept.flatten(0, 1)).unflatten(0, kept.shape[:2])
        return self.from_features(features, clip[:, -1])

    def from_features(
        self, features: Float[Tensor, "b t c h w"], frames: Float[Tensor, "b 3 h8 w8"] | None = None
    ) -> Float[Tensor, "b classes h2 w2"]:
        """The same from features of each frame, for training with an encoder that does not change.

        frames  the last frame of each clip, for segmenters whose decoder takes it again
        """
        features = features[:, -self._frames_seen() :]
        memory = MemoryQueue(self.config.memory_size)
        if self.config.source in ("past", "past_and_self"):
            for past in features[:, :-1].unbind(1):
                memory.write(*self.memory_heads(past))
        return self.segmenter.decode(self.with_memory(features[:, -1], memory), frames)

    def with_memory(self, features: Float[Tensor, "b c h w"], memory: MemoryQueue) -> Float[Tensor, "b c h w"]:
        """What the decoder sees of a frame: its features fused with what the memory answers to them.

        With an empty memory, the features themselves, or what they answer to themselves, as configured. With source
        "past_and_self" this frame is written here.
        """
        source = self.config.source
        if source == "none":
            return features
        if source == "past_and_self":
            memory.write(*self.memory_heads(features))
        elif source == "self" or (len(memory) == 0 and self.config.first_frame == "self"):
            memory = MemoryQueue(1)
            memory.write(*self.memory_heads(features))
        if len(memory) == 0:
            return features
        query, readout = self.read(features, memory)
        fused = self.fusion(query, readout)
        if fused.shape != features.shape:
            raise InputError(
                f"the fusion must give features of the shape that the decoder takes, {list(features.shape)}, got "
                f"{list(fused.shape)}"
            )
        return fused

    def read(
        self, features: Float[Tensor, "b c h w"], memory: MemoryQueue
    ) -> tuple[Float[Tensor, "b v h w"], Float[Tensor, "b v h w"]]:
        """The frame's own value, and what the memory answers to its key. Raises `InputError` as `MemoryQueue.check`."""
        key, value = self.query_heads(features)
        memory.check(key, value)
        readout = local_read(key, *memory.stacked(), self.config.window, self.config.border, self.scale, self.no_match)
        return value, readout

    def remember(
        self, features: Float[Tensor, "b c h w"], fused: Float[Tensor, "b c h w"], memory: MemoryQueue
    ) -> None:
        """Write a frame that has been segmented; `fused`, which its decoder saw, is not what is remembered."""
        if self.config.source == "past":
            memory.write(*self.memory_heads(features))

    def set_stage(self, stage: int) -> "LocalMemoryNet":
        """Choose what trains: 1 the memory and the fusion alone, 2 the decoder too, 0 everything; returns the network.

        First step 1, so that new layers do not wreck the decoder; then step 2 (section 4.3.5). Parts that do not train
        stay in evaluation mode, whatever `train` says.
        """
        if stage not in (0, 1, 2):
            raise InputError(f"stage must be 0 (all), 1 (memory and fusion) or 2 (and decoder), got {stage}")
        if stage == 1 and self.config.source == "none":
            raise InputError("without a memory (source 'none') nothing trains in stage 1; its training is stage 2")
        self._stage = stage
        self.requires_grad_(True)
        if stage:
            self.segmenter.requires_grad_(False)
        if stage == 2:
            for part in self.segmenter.decoder_parts():
                part.requires_grad_(True)
        return self.train(self.training)

    def train(self, mode: bool = True) -> "LocalMemoryNet":
        super().train(mode)
        if self._stage:
            self.segmenter.eval()
        if self._stage == 2:
            for part in self.segmenter.decoder_parts():
                part.train(mode)
        return self

    def _frames_seen(self) -> int:
        """Frames of a clip, up to its last, that its last logits depend on."""
        return {"past": self.config.memory_size + 1, "past_and_self": self.config.memory_size}.get(
            self.config.source, 1
        )


def _fusion(config: LocalMemoryConfig, features: int) -> nn.Module:
    values = features if config.value_channels is None else config.value_channels
    if config.fusion == "gated":
        return GatedFusion(values, features, config.fusion_dropout)
    if config.fusion == "concat" and 2 * values == features:
        return ConcatFusion(values, config.fusion_dropout)
    if config.fusion == "bottleneck" and values == features:
        return BottleneckFusion(features)
    need = f"value_channels={features // 2}" if config.fusion == "concat" else f"value_channels=None or {features}"
    raise InputError(
        f"fusion {config.fusion!r} must give the segmenter's {features} features, so it needs {need}; got "
        f"value_channels={config.value_channels}"
    )
