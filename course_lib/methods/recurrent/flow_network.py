"""RAFT-HS2S: the hybrid network whose features must also explain how pixels move.

F. Azimi (2024), section 6.5.2 and figure 6.14: the reference encoder's view of frame t - 1 is the flow head's context,
and the encoder's views of both frames are compared. Unusual: for the comparison the encoder is given empty masks, so
that it is about the picture alone; flow is an exercise in training only, and a video is followed exactly as by HS2S.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import Decoder, Prediction
from course_lib.methods.recurrent.flow_head import FlowHead
from course_lib.methods.recurrent.initializer import Initializer
from course_lib.methods.recurrent.masked_encoder import MaskedEncoder
from course_lib.methods.recurrent.matching import Matching
from course_lib.methods.recurrent.memory import Memory
from course_lib.methods.recurrent.network import RecurrentVOS, handed_on


class FlowPrediction(NamedTuple):
    """A `Prediction` for frames 1 … T-1 with flow.

    flows  one [B, T-1, 2, H, W] per iteration, from frame t - 1 to frame t, in pixels (x, y)
    back   [B, T-1, 2, H, W] from frame t to frame t - 1, without gradient: where it does not undo the last of `flows`,
           a pixel is hidden in frame t
    """

    logits: Tensor
    distance: Tensor | None
    flows: list[Tensor]
    back: Tensor


class FlowVOS(RecurrentVOS):
    """A network with references and a flow head at one of its levels.

    Called on clips (`forward`), it answers with flow; `unroll`, `begin` and `step` are those of its base and leave
    the flow head alone. Raises `InputError` for a network without references or head and levels that do not fit.
    """

    def __init__(
        self,
        encoder: MaskedEncoder,
        memory: Memory,
        decoder: Decoder,
        initializer: Initializer | None,
        matching: Matching,
        flow: FlowHead,
    ) -> None:
        super().__init__(encoder, memory, decoder, initializer, matching)
        context = encoder if matching.encoder is None else matching.encoder
        channels = context.channels.get(flow.stride), encoder.channels.get(flow.stride)
        if channels != (flow.context_channels, flow.feature_channels):
            raise InputError(
                f"the flow head takes {flow.context_channels} and {flow.feature_channels} channels at stride "
                f"{flow.stride}, where the encoders have {channels[0]} and {channels[1]}"
            )
        self.flow = flow

    def forward(  # type: ignore[override]  # more than a Prediction, with the same fields first
        self,
        frames: Float[Tensor, "b t 3 h w"],
        first: Float[Tensor, "b 1 h w"],
        truth: Float[Tensor, "b t 1 h w"] | None = None,
        teacher: Bool[Tensor, "b t"] | bool | None = None,
        detach: bool = False,
        blind: Bool[Tensor, "b t"] | None = None,
    ) -> FlowPrediction:
        """As `unroll`, with the flow between all neighbouring frames."""
        prediction = self.unroll(frames, first, truth, teacher, detach, blind)
        masks = self._masks(prediction, first, truth, teacher)
        with torch.no_grad():
            back = self.flows(frames.flip(1), masks.flip(1))[-1].flip(1)
        return FlowPrediction(*prediction, self.flows(frames, masks), back)

    def flows(
        self, frames: Float[Tensor, "b t 3 h w"], masks: Float[Tensor, "b t 1 h w"]
    ) -> list[Float[Tensor, "b t 2 h w"]]:
        """Flow from each frame to the next, one [B, T-1, 2, H, W] per iteration.

        masks  of frames 0 … T-2 (or more), for the reference encoder; no gradient goes into them
        """
        assert self.matching is not None
        length, stride = frames.shape[1] - 1, self.flow.stride
        every = frames.flatten(0, 1)  # [B * T, 3, H, W]
        blank = torch.zeros_like(every[:, :1])
        features = self.encoder(every, blank) if self.encoder.guided else self.encoder(every)
        seen = features.levels[stride].unflatten(0, (-1, length + 1))  # [B, T, C, h, w]
        context = self.encoder if self.matching.encoder is None else self.matching.encoder
        before = context(frames[:, :-1].flatten(0, 1), masks[:, :length].flatten(0, 1).to(frames).detach())
        flows = self.flow(seen[:, :-1].flatten(0, 1), seen[:, 1:].flatten(0, 1), before.levels[stride])
        return [flow.unflatten(0, (-1, length)) for flow in flows]

    def _masks(
        self, prediction: Prediction, first: Tensor, truth: Tensor | None, teacher: Tensor | bool | None
    ) -> Float[Tensor, "b t 1 h w"]:
        """The masks that were handed on from frames 0 … T-2, and the answer for the last."""
        answers = prediction.logits.detach().float().sigmoid()  # of frames 1 … T-1
        masks = [first.to(answers)]
        for t in range(1, answers.shape[1]):
            masks.append(handed_on(answers[:, t - 1], truth, teacher, t, detach=True))
        return torch.stack([*masks, answers[:, -1]], dim=1)
