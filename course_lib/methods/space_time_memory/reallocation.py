"""Videos segmented with support-feature reallocation, to see what it does to a network at test time.

Source: Pourganjalikhan (2021), section 4.1, evaluated as there: a memory that grows every k frames. Every cell
remembers in which objects' masks it lies. Unusual: ranks depend on all queries of a frame together, so this read is
dense, mostly with one affinity per object, and it needs the memory banks for nothing.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from course_lib.methods.space_time_memory.regularisers import Background, Reallocation, ReallocationMode, reallocate
from course_lib.methods.space_time_memory.session import STRIDE, one_mask_each, pad_frame
from course_lib.nn.attention_read import affinity, dense_read, negative_distance
from course_lib.vos.aggregate import labels_from_probs, soft_aggregate
from course_lib.vos.checks import check_labels
from course_lib.vos.padding import pad_to_multiple, unpad

if TYPE_CHECKING:
    from course_lib.methods.space_time_memory.network import STCN


class ReallocationSegmenter:
    """An `OfflineSegmenter`: all objects in the first frame, every `mem_every`-th frame kept.

    mode, background  what is done to the attention, see `Reallocation`
    top_k             cells that answer one query cell, chosen after reallocation; None takes all
    """

    def __init__(
        self,
        net: "STCN",
        mode: ReallocationMode = "post_softmax",
        mem_every: int = 5,
        top_k: int | None = 20,
        background: Background = "closed",
    ) -> None:
        self.net = net.eval()
        self.reallocation = Reallocation(mode, background)
        self.mem_every = mem_every
        self.top_k = top_k

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.net.parameters()).device

    @torch.no_grad()
    def segment(self, frames: Float[Tensor, "t 3 h w"], labels: UInt8[Tensor, "h w"]) -> UInt8[Tensor, "t h w"]:
        """Label every frame (RGB in [0, 1]) of a clip, given the labels of its first."""
        ids = check_labels(labels, (frames.shape[2], frames.shape[3]))
        probs = soft_aggregate(pad_to_multiple(one_mask_each(labels, ids), STRIDE)[0])  # [K+1, Hp, Wp]
        keys: list[Tensor] = []  # [1, Ck, h*w] of kept frames; values [1, K, Cv, h*w], supports [1, K, h*w]
        values: list[Tensor] = []
        supports: list[Tensor] = []
        answers = []
        for t, plain in enumerate(frames):
            frame, pads = pad_frame(plain, self.net.border)
            features = self.net.encode_key(frame[None])
            if t > 0:
                scores = negative_distance(torch.cat(keys, dim=2), features.key.flatten(2))  # [1, N, Q]
                changed = reallocate(
                    scores, self.reallocation.mode, torch.cat(supports, dim=2), self.reallocation.background
                )
                readout = dense_read(affinity(changed, self.top_k), torch.cat(values, dim=3))  # [1, K, Cv, Q]
                readout = readout.unflatten(3, features.key.shape[2:])
                probs = soft_aggregate(self.net.decode(readout, features)[0].sigmoid())
            answers.append(labels_from_probs(unpad(probs, pads), ids))
            if t % self.mem_every == 0:
                masks = probs[None, 1:]
                keys.append(features.key.flatten(2))
                values.append(self.net.encode_value(frame[None], features, masks).flatten(3))
                supports.append(support_cells(masks))
        return torch.stack(answers)


def support_cells(masks: Float[Tensor, "b k h w"]) -> Bool[Tensor, "b k n"]:
    """Grid cells in which an object has a pixel. A vote by area would leave small objects without any cell."""
    return F.max_pool2d(masks, STRIDE).flatten(2) > 0.5
