"""STM, the ancestor: every object has keys of its own, and keys are compared by their dot product.

Source: Wug Oh, Lee, Xu, Kim, "Video Object Segmentation using Space-Time Memory Networks" (ICCV 2019). Against STCN:
one affinity per object instead of one for all, a second ResNet-50 for memory frames, a long key attracts every query,
and the frame before this one is always read. Unusual: the memory encoder's three first convolutions, which the
reference adds up, are one convolution on five channels here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.space_time_memory.blocks import ResidualBlock
from course_lib.methods.space_time_memory.encoders import with_others
from course_lib.methods.space_time_memory.network import check_clip
from course_lib.methods.space_time_memory.official import load_stm_state
from course_lib.methods.space_time_memory.session import STRIDE
from course_lib.nn.attention_read import affinity, dense_read, similarity
from course_lib.nn.backbones import freeze_batch_norm, resnet
from course_lib.vos.aggregate import aggregation_logits
from course_lib.vos.padding import pad_to_multiple, unpad

KEY_CHANNELS, VALUE_CHANNELS, DECODER_CHANNELS = 128, 512, 256


class QueryFeatures(NamedTuple):
    """Key [B, 128, h, w] and value [B, 512, h, w] of a query frame, and its features at strides 8 and 4."""

    key: Float[Tensor, "b ck h w"]
    value: Float[Tensor, "b cv h w"]
    r3: Float[Tensor, "b c8 h8 w8"]
    r2: Float[Tensor, "b c4 h4 w4"]


class KeyValueHeads(nn.Module):
    """Two linear 3x3 convolutions on stride-16 features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, KEY_CHANNELS, 3, padding=1)
        self.value = nn.Conv2d(channels, VALUE_CHANNELS, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b ck h w"], Float[Tensor, "b cv h w"]]:
        return self.key(x), self.value(x)


class Refine(nn.Module):
    """Add a finer frame feature to the upsampled map, and blend."""

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip, DECODER_CHANNELS, 3, padding=1)
        self.skip_block = ResidualBlock(DECODER_CHANNELS, DECODER_CHANNELS)
        self.block = ResidualBlock(DECODER_CHANNELS, DECODER_CHANNELS)

    def forward(self, skip: Float[Tensor, "1 c1 h2 w2"], x: Float[Tensor, "k c h w"]) -> Float[Tensor, "k c h2 w2"]:
        fine = self.skip_block(self.skip_conv(skip))
        return self.block(fine + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class StmDecoder(nn.Module):
    """Readout and query value [K, 1024, h, w] to two logits per object, "not it" and "it", at the frame's size."""

    def __init__(self) -> None:
        super().__init__()
        self.compress = nn.Conv2d(2 * VALUE_CHANNELS, DECODER_CHANNELS, 3, padding=1)
        self.block = ResidualBlock(DECODER_CHANNELS, DECODER_CHANNELS)
        self.refine8 = Refine(512)
        self.refine4 = Refine(256)
        self.pred = nn.Conv2d(DECODER_CHANNELS, 2, 3, padding=1)

    def forward(self, x: Float[Tensor, "k c h w"], features: QueryFeatures) -> Float[Tensor, "k 2 h16 w16"]:
        x = self.block(self.compress(x))
        x = self.refine4(features.r2, self.refine8(features.r3, x))
        return F.interpolate(self.pred(F.relu(x)), scale_factor=4, mode="bilinear", align_corners=False)


class STM(nn.Module):
    """Space-time memory network at its published size. Frames are RGB in [0, 1]. Built in lesson 13."""

    def __init__(self, imagenet: bool = False) -> None:
        super().__init__()
        weights = "imagenet" if imagenet else None
        self.memory_encoder = resnet(50, weights, extra_channels=2, deepest=16)
        self.query_encoder = resnet(50, weights, deepest=16)
        self.memory_heads = KeyValueHeads(self.memory_encoder.channels[16])
        self.query_heads = KeyValueHeads(self.query_encoder.channels[16])
        self.decoder = StmDecoder()
        freeze_batch_norm(self, affine=False)

    def memorize(
        self, frame: Float[Tensor, "1 3 h w"], masks: Float[Tensor, "1 k h w"]
    ) -> tuple[Float[Tensor, "k ck h16 w16"], Float[Tensor, "k cv h16 w16"]]:
        """Key and value of a frame for each object: here both depend on the mask."""
        pairs = with_others(masks)[0].clamp(max=1)  # [K, 2, H, W]
        x = torch.cat([frame.expand(len(pairs), -1, -1, -1), pairs], dim=1)
        return self.memory_heads(self.memory_encoder(x)[16])

    def encode_query(self, frame: Float[Tensor, "1 3 h w"]) -> QueryFeatures:
        """Key, value and finer features of a frame that is to be segmented."""
        levels = self.query_encoder(frame)
        key, value = self.query_heads(levels[16])
        return QueryFeatures(key, value, levels[8], levels[4])

    def read(
        self, keys: Float[Tensor, "k ck n"], values: Float[Tensor, "k cv n"], query: Float[Tensor, "1 ck h w"]
    ) -> Float[Tensor, "k cv h w"]:
        """Ask each object's memory by scaled dot product, all cells voting."""
        cells = query.flatten(2).expand(len(keys), -1, -1)  # [K, Ck, Q]
        weights = affinity(similarity(keys, cells, "dot"))
        return dense_read(weights, values[:, None])[:, 0].unflatten(2, query.shape[2:])

    def decode(self, readout: Float[Tensor, "k cv h w"], features: QueryFeatures) -> Float[Tensor, "k 2 h16 w16"]:
        """Two logits per object, "not it" and "it", before objects compete."""
        return self.decoder(torch.cat([readout, features.value.expand(len(readout), -1, -1, -1)], dim=1), features)

    @torch.no_grad()
    def propagate(
        self,
        frames: Float[Tensor, "t 3 h w"],
        masks: Float[Tensor, "k h w"],
        mem_every: int = 5,
        mem_number: int | None = None,
    ) -> Float[Tensor, "t k1 h w"]:
        """Follow objects, all given in the first frame as masks of 0 and 1, through a clip.

        Frame t reads the kept frames and frame t - 1. Kept is every `mem_every`-th frame; or, with `mem_number`, about
        that many spread over the clip beside the first. Returns probabilities [T, K+1, H, W], background first.
        """
        check_clip(frames, masks)
        length = len(frames)
        if mem_number is None:
            kept = set(range(0, length, mem_every))
        else:
            kept = {round(i * length / (mem_number + 1)) for i in range(mem_number + 1)}
        masks = masks.to(frames)
        probs = [torch.cat([1 - masks.amax(dim=0, keepdim=True), masks])]
        memory: list[tuple[Tensor, Tensor]] = []  # keys [K, Ck, h*w] and values [K, Cv, h*w] of kept frames
        padded, pads = pad_to_multiple(frames, STRIDE)  # with black, before normalisation
        for t in range(1, length):
            key, value = self.memorize(padded[t - 1, None], pad_to_multiple(probs[-1][None, 1:], STRIDE)[0])
            entry = key.flatten(2), value.flatten(2)
            keys, values = (torch.cat(x, dim=2) for x in zip(*memory, entry))
            features = self.encode_query(padded[t, None])
            logits = self.decode(self.read(keys, values, features.key), features)  # [K, 2, Hp, Wp]
            odds = aggregation_logits(logits.softmax(dim=1)[:, 1])  # [K+1, Hp, Wp]
            probs.append(unpad(odds, pads).softmax(dim=0))
            if t - 1 in kept:
                memory.append(entry)
        return torch.stack(probs)

    def load_official_state(self, state: Mapping[str, Tensor], source: str | Path = "a state dict") -> "STM":
        """Load a published checkpoint's tensors, by their published names, in place; returns the network.

        Raises `InputError` naming the first tensor that does not fit.
        """
        load_stm_state(self, state, source)
        return self
