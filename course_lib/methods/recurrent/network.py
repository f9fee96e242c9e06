"""Recurrent video object segmentation, put together: encode a frame, remember, match with references, decode a mask.

F. Azimi (2024), sections 6.3 and 6.4, equations 6.1 to 6.4 and 6.8 to 6.13. Which parts there are makes the method:
`rows` holds the systems of the chapter. Unusual: where all masks that go in are known beforehand (nothing is fed back,
or the truth is), only the cells run step by step, and all frames are encoded and decoded at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import Decoder, Prediction
from course_lib.methods.recurrent.initializer import Initializer
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder
from course_lib.methods.recurrent.matching import Matching, Reference
from course_lib.methods.recurrent.memory import Memory, States


class State(NamedTuple):
    """What goes from one frame to the next. B objects; one frame may serve all of them.

    memory    states of the cells by stride
    frame     [B or 1, 3, H, W] the last frame
    mask      [B, 1, H, W] what is believed of it, in [0, 1]: replace it to correct the network
    first     features of frame 0 with its given mask; None where no reference asks for them
    previous  features of `frame` with `mask`, where they are known already, as after `begin`
    """

    memory: States
    frame: Float[Tensor, "b 3 h w"]
    mask: Float[Tensor, "b 1 h w"]
    first: Features | None
    previous: Features | None


class RecurrentVOS(nn.Module):
    """One network of the family; one object per batch item.

    encoder      of the current frame; a guided one also sees the previous mask
    memory       cells; may be empty
    decoder      back to the frame's size
    initializer  first states of the cells; None begins with zeros
    matching     references to frame 0 and the previous frame; None asks none

    Frames are RGB in [0, 1] with sides divisible by `stride` (sessions pad), masks in [0, 1], soft ones are meant. The
    network is called on whole clips (`forward` is `unroll`) or frame by frame (`begin`, `step`). Raises `InputError`
    for parts that do not fit and for shapes that do not. Built in lessons 04 and 05.
    """

    def __init__(
        self,
        encoder: MaskedEncoder,
        memory: Memory,
        decoder: Decoder,
        initializer: Initializer | None = None,
        matching: Matching | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.memory = memory
        self.decoder = decoder
        self.initializer = initializer
        self.matching = matching
        self.stride = encoder.stride
        self.references: tuple[Reference, ...] = () if matching is None else matching.references
        if not (initializer or matching or encoder.guided):
            raise InputError(
                "the network never sees the first mask: it needs an initializer, a guided encoder, or references"
            )
        if matching is not None and matching.encoder is None and not encoder.guided:
            raise InputError("references can share the network's encoder only if that is guided")
        self.feeds_back = encoder.guided or "previous" in self.references  # whether answers are inputs later

    @property
    def border(self) -> tuple[float, float, float]:
        """The colour that the encoder sees as zero: what sessions pad with."""
        return self.encoder.border

    def begin(self, frame: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> State:
        """State after the first frame, whose mask is given. A frame of batch 1 serves all objects."""
        mask = mask.to(frame)
        states = self.first_states(frame, mask)
        known = self.refer(frame, mask) if self.references else None
        first = known if "first" in self.references else None
        return State(states, frame, mask, first, known if "previous" in self.references else None)

    def first_states(self, frame: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> States:
        """States of the cells before frame 1: what the initializer writes, or zeros."""
        self._check(frame, mask)
        if self.initializer is None:
            return self.memory.zeros(frame, len(mask))
        return self.initializer(_each(frame, mask), mask, self.memory)

    def step(
        self, frame: Float[Tensor, "b 3 h w"], state: State, blind: Bool[Tensor, "b"] | None = None
    ) -> tuple[Prediction, State]:
        """Answer for the next frame, and the state after it, whose mask is that answer.

        blind  where True, the encoder is shown an empty mask
        """
        features = self.encode(frame, _unless(blind, state.mask))
        hidden, memory = self.memory(features, state.memory)
        prediction = self.decode(features, hidden, self.look_up(state))
        mask = prediction.logits.to(state.mask.dtype).sigmoid()
        return prediction, State(memory, frame, mask, state.first, None)

    def unroll(
        self,
        frames: Float[Tensor, "b t 3 h w"],
        first: Float[Tensor, "b 1 h w"],
        truth: Float[Tensor, "b t 1 h w"] | None = None,
        teacher: Bool[Tensor, "b t"] | bool | None = None,
        detach: bool = False,
        blind: Bool[Tensor, "b t"] | None = None,
    ) -> Prediction:
        """Answers for frames 1 … T-1 of clips, stacked: logits [B, T-1, 1, H, W].

        first    mask of frame 0
        teacher  where True, the mask handed on from frame t is the truth, not the answer (frame 0 is always given); a
                 plain True hands on the truth everywhere, which lets all frames be encoded and decoded in one call;
                 None or False never does
        detach   cut the gradient through masks that are handed on; the cells keep theirs
        blind    where True, the encoder is shown an empty mask with frame t (frame 0 is never encoded so); references
                 keep theirs, so that they are needed

        Raises `InputError` for a teacher without truth, and for shapes that do not fit.
        """
        check_clips(frames, first, truth, teacher)
        frames = frames.expand(len(first), -1, -1, -1, -1)
        if not self.feeds_back:
            return self._at_once(frames, first, None)
        if teacher is True:
            assert truth is not None
            masks = torch.cat([first[:, None].to(frames), truth[:, 1:].to(frames)], dim=1)
            return self._at_once(frames, first, masks, blind)
        state = self.begin(frames[:, 0], first)
        predictions = []
        for t in range(1, frames.shape[1]):
            prediction, state = self.step(frames[:, t], state, None if blind is None else blind[:, t])
            predictions.append(prediction)
            state = state._replace(mask=handed_on(state.mask, truth, teacher, t, detach))
        return stacked(predictions)

    forward = unroll

    def encode(self, frame: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Features:
        """Features of the current frame; the previous mask is used if the encoder is guided."""
        self._check(frame, mask)
        return self.encoder(_each(frame, mask), mask) if self.encoder.guided else self.encoder(frame)

    def refer(self, frame: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Features:
        """Reference features of a frame with its mask, as far as matching asks for them."""
        assert self.matching is not None
        encoder = self.encoder if self.matching.encoder is None else self.matching.encoder
        return self.matching.kept(encoder(_each(frame, mask), mask))

    def look_up(self, state: State) -> dict[Reference, Features]:
        """Features of the references at this step; those of the previous frame are computed unless known."""
        found: dict[Reference, Features] = {}
        if state.first is not None:
            found["first"] = state.first
        if "previous" in self.references:
            found["previous"] = self.refer(state.frame, state.mask) if state.previous is None else state.previous
        return found

    def decode(
        self, features: Features, hidden: dict[int, Tensor], references: dict[Reference, Features]
    ) -> Prediction:
        """Mask and distances from what is seen, remembered and referred to."""
        found = hidden if self.matching is None else self.matching(references, hidden)
        return self.decoder(features.levels, found)

    def _at_once(self, frames: Tensor, first: Tensor, masks: Tensor | None, blind: Tensor | None = None) -> Prediction:
        """`unroll` where the mask handed on from each frame is in `masks` [B, T, 1, H, W], or never used."""
        length = frames.shape[1] - 1
        states = self.first_states(frames[:, 0], first.to(frames))
        now = frames[:, 1:].flatten(0, 1)  # [B * (T-1), 3, H, W]
        references: dict[Reference, Features] = {}
        if masks is None:
            features = self.encoder(now)
            if "first" in self.references:
                references["first"] = over_time(self.refer(frames[:, 0], first.to(frames)), length)
        else:
            before = masks[:, :-1].flatten(0, 1)  # [B * (T-1), 1, H, W]
            features = self.encode(now, _unless(None if blind is None else blind[:, 1:].flatten(), before))
            if "previous" in self.references:
                references["previous"] = self.refer(frames[:, :-1].flatten(0, 1), before)
            if "first" in self.references:
                known = references.get("previous")
                start = self.refer(frames[:, 0], first.to(frames)) if known is None else at_time(known, 0, length)
                references["first"] = over_time(start, length)
        maps = []
        for t in range(length):
            hidden, states = self.memory(at_time(features, t, length), states)
            maps.append(hidden)
        hidden = {s: torch.stack([m[s] for m in maps], dim=1).flatten(0, 1) for s in self.memory.channels}
        return in_time(self.decode(features, hidden, references), length)

    def _check(self, frame: Tensor, mask: Tensor) -> None:
        if (
            frame.ndim != 4
            or mask.ndim != 4
            or mask.shape[1] != 1
            or frame.shape[2:] != mask.shape[2:]
            or len(frame) not in (1, len(mask))
        ):
            raise InputError(
                f"expected a frame [B or 1, 3, H, W] and masks [B, 1, H, W] of its size, got {list(frame.shape)} and "
                f"{list(mask.shape)}"
            )
        if frame.shape[2] % self.stride or frame.shape[3] % self.stride:
            raise InputError(
                f"frames must have sides divisible by {self.stride}, got {list(frame.shape[2:])}; sessions pad by "
                "themselves, in training crop to a multiple"
            )


def check_clips(frames: Tensor, first: Tensor, truth: Tensor | None, teacher: Tensor | bool | None) -> None:
    """Refuse clips, first masks and teachers that `unroll` cannot use. A clip of batch 1 serves all masks."""
    if frames.ndim != 5 or frames.shape[1] < 2 or frames.shape[2] != 3:
        raise InputError(f"frames must be [B, T, 3, H, W] with T of at least 2, got {list(frames.shape)}")
    clips, length, _, height, width = frames.shape
    if first.ndim != 4 or list(first.shape[1:]) != [1, height, width] or clips not in (1, len(first)):
        raise InputError(f"first masks must be {[clips, 1, height, width]} for these frames, got {list(first.shape)}")
    batch = len(first)
    if teacher is None or teacher is False:
        return
    if truth is None:
        raise InputError("a teacher hands on the truth: give `truth` [B, T, 1, H, W], or no teacher")
    if list(truth.shape) != [batch, length, 1, height, width]:
        raise InputError(f"truth must be {[batch, length, 1, height, width]}, got {list(truth.shape)}")
    if isinstance(teacher, Tensor) and (list(teacher.shape) != [batch, length] or teacher.dtype != torch.bool):
        raise InputError(f"teacher must be {[batch, length]} bool, got {list(teacher.shape)} {teacher.dtype}")


def handed_on(
    mask: Float[Tensor, "b 1 h w"], truth: Tensor | None, teacher: Tensor | bool | None, t: int, detach: bool
) -> Float[Tensor, "b 1 h w"]:
    """The mask that frame t gives to frame t + 1: the answer, or the truth where the teacher says so."""
    if detach:
        mask = mask.detach()
    if truth is None or teacher is None or teacher is False:
        return mask
    if teacher is True:
        return truth[:, t].to(mask)
    return torch.where(teacher[:, t, None, None, None], truth[:, t].to(mask), mask)


def stacked(predictions: list[Prediction]) -> Prediction:
    """Answers for single frames to one with time as second axis."""
    distances = [p.distance for p in predictions if p.distance is not None]
    logits = torch.stack([p.logits for p in predictions], dim=1)
    return Prediction(logits, torch.stack(distances, dim=1) if distances else None)


def at_time(features: Features, t: int, length: int) -> Features:
    """Frame t of features whose batch is [B * length], clip by clip."""
    return _mapped(features, lambda x: x.unflatten(0, (-1, length))[:, t])


def over_time(features: Features, length: int) -> Features:
    """Features [B, …] once for each of `length` frames: [B * length, …], clip by clip."""
    return _mapped(features, lambda x: x.repeat_interleave(length, dim=0))


def in_time(prediction: Prediction, length: int) -> Prediction:
    """A prediction of batch [B * length] with time as second axis."""
    distance = prediction.distance
    return Prediction(
        prediction.logits.unflatten(0, (-1, length)),
        None if distance is None else distance.unflatten(0, (-1, length)),
    )


def _mapped(features: Features, change: Callable[[Tensor], Tensor]) -> Features:
    return Features({stride: change(x) for stride, x in features.levels.items()}, change(features.deep))


def _unless(blind: Tensor | None, masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """The masks, empty where `blind` [B] is True."""
    return masks if blind is None else masks * ~blind[:, None, None, None]


def _each(frame: Tensor, mask: Tensor) -> Tensor:
    """The frame once per mask."""
    return frame if len(frame) == len(mask) else frame.expand(len(mask), -1, -1, -1)
