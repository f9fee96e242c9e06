"""Bi-HS2S: a second recurrent cell runs back from the last frame, so that every answer has seen the future.

F. Azimi (2024), section 6.5.1. There is no mask at the end of a clip that could tell a backward pass whom to follow, so
it starts from the forward cell's last state, and the frames are encoded without masks. Not causal: a clip must be there
as a whole, and memory grows with its length; sessions therefore work in windows. Unusual: it is the causal network and
two parts more, the second cell and the convolution that joins both directions; skip-memory stays forward.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import Prediction, xavier
from course_lib.methods.recurrent.masked_encoder import Features
from course_lib.methods.recurrent.matching import Reference
from course_lib.methods.recurrent.network import (
    RecurrentVOS,
    at_time,
    check_clips,
    handed_on,
    in_time,
    over_time,
    stacked,
)
from course_lib.nn.recurrent_cell import CellState, RecurrentCell


def both_ways(
    forward: RecurrentCell, backward: RecurrentCell, inputs: list[Tensor], state: CellState
) -> tuple[list[Tensor], list[Tensor]]:
    """Hidden maps of two cells that read the same inputs in opposite directions, each list in the order of time.

    inputs  features of frames 1 … T, [B, C, h, w] each
    state   of the forward cell before frame 1. The backward cell starts from the forward cell's last state.

    With cells that add up, inputs 1, 2, 3 and a state of 0 give 1, 3, 6 forward and 12, 11, 9 backward.
    """
    ahead, back = [], []
    for x in inputs:
        state = forward(x, state)
        ahead.append(state[0])
    for x in reversed(inputs):
        state = backward(x, state)
        back.append(state[0])
    return ahead, back[::-1]


class BidirectionalVOS(nn.Module):
    """A causal network `net` with a backward cell. One object per batch item.

    net       encoder without mask, initializer, a cell at the bottleneck, any matching
    backward  the second cell: as the bottleneck's, with weights of its own

    Raises `InputError` if the parts do not fit.
    """

    causal = False

    def __init__(self, net: RecurrentVOS, backward: RecurrentCell) -> None:
        super().__init__()
        deepest = net.stride
        if net.encoder.guided or net.initializer is None or deepest not in net.memory.strides:
            raise InputError(
                "a network that runs both ways needs an encoder without mask (backward in time there is none), an "
                "initializer, and a cell at the bottleneck"
            )
        forward = net.memory.cell(deepest)
        if (backward.in_channels, backward.channels) != (forward.in_channels, forward.channels):
            raise InputError(
                f"the backward cell must have the forward cell's channels, {forward.in_channels} in and "
                f"{forward.channels} out, got {backward.in_channels} and {backward.channels}"
            )
        self.net = net
        self.stride = deepest
        self.backward_cell = backward
        self.join = xavier(nn.Conv2d(2 * forward.channels, forward.channels, 3, padding=1))

    @property
    def border(self) -> tuple[float, float, float]:
        """The colour that the encoder sees as zero: what sessions pad with."""
        return self.net.border

    def unroll(
        self,
        frames: Float[Tensor, "b t 3 h w"],
        first: Float[Tensor, "b 1 h w"],
        truth: Float[Tensor, "b t 1 h w"] | None = None,
        teacher: Bool[Tensor, "b t"] | bool | None = None,
        detach: bool = False,
        anchor: Features | None = None,
    ) -> Prediction:
        """Answers for frames 1 … T-1, stacked, as `RecurrentVOS.unroll`; each has seen the whole clip.

        frames  of batch 1 serve all objects, and are then encoded once
        anchor  features of the video's first frame with its given mask, where the clip is a later window of it

        `teacher` concerns the reference to the previous frame alone, since no mask enters the cells.
        """
        check_clips(frames, first, truth, teacher)
        net, length = self.net, frames.shape[1] - 1
        first = first.to(frames)
        features = net.encode(frames[:, 1:].flatten(0, 1), frames[:, 1:, :1].flatten(0, 1))
        hidden = self._remember(frames[:, 0], first, features, length)
        if "first" in net.references and anchor is None:
            anchor = net.refer(frames[:, 0], first)
        if len(frames) == len(first) and ("previous" not in net.references or teacher is True):
            known: dict[Reference, Features] = {}
            if anchor is not None:
                known["first"] = over_time(anchor, length)
            if "previous" in net.references:
                assert truth is not None
                masks = torch.cat([first[:, None], truth[:, 1:-1].to(first)], dim=1)
                known["previous"] = net.refer(frames[:, :-1].flatten(0, 1), masks.flatten(0, 1))
            return in_time(net.decode(features, hidden, known), length)
        mask, predictions = first, []
        for t in range(1, length + 1):
            references: dict[Reference, Features] = {"previous": net.refer(frames[:, t - 1], mask)}
            if anchor is not None:
                references["first"] = anchor
            maps = {s: x.unflatten(0, (-1, length))[:, t - 1] for s, x in hidden.items()}
            prediction = net.decode(at_time(features, t - 1, length), maps, references)
            predictions.append(prediction)
            mask = handed_on(prediction.logits.to(first.dtype).sigmoid(), truth, teacher, t, detach)
        return stacked(predictions)

    forward = unroll

    def _remember(self, frame: Tensor, first: Tensor, features: Features, length: int) -> dict[int, Tensor]:
        """Hidden maps [B * (T-1), C, h, w] by stride: both directions at the bottleneck, forward at finer levels."""
        memory = self.net.memory
        states = self.net.first_states(frame, first)
        hidden = {}
        for stride, x in memory.inputs(features).items():
            x = x.unflatten(0, (-1, length)).expand(len(first), -1, -1, -1, -1)
            inputs = list(x.unbind(1))  # T-1 maps [B, C, h, w]
            cell = memory.cell(stride)
            if stride == self.stride:
                ahead, back = both_ways(cell, self.backward_cell, inputs, states[stride])
                joint = torch.cat([torch.stack(ahead, 1), torch.stack(back, 1)], dim=2).flatten(0, 1)
                hidden[stride] = self.join(joint)  # [B * (T-1), C, h, w]
            else:
                hidden[stride] = torch.stack(_ahead(cell, inputs, states[stride]), 1).flatten(0, 1)
        return hidden


def _ahead(cell: RecurrentCell, inputs: list[Tensor], state: CellState) -> list[Tensor]:
    maps = []
    for x in inputs:
        state = cell(x, state)
        maps.append(state[0])
    return maps
