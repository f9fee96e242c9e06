"""A video followed by a network of the recurrent family: each object is one batch item, with its own memory.

F. Azimi (2024), section 6.3.2: objects are followed independently and meet when the answer is given, where the most
probable one wins. What is fed back is therefore each object's own map, as in training; the merged map is a choice (it
lets objects dispute, but is sharper than any map the network has learned from). Unusual: whatever the length of the
video, a session holds the same number of bytes.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.masked_encoder import Features
from course_lib.methods.recurrent.network import RecurrentVOS, State
from course_lib.vos.aggregate import labels_from_probs, one_hot, soft_aggregate
from course_lib.vos.checks import check_labels, check_new_labels
from course_lib.vos.padding import Pads, pad_to_multiple, unpad

Merge = Literal["soft", "half"]
Feedback = Literal["own", "merged"]


def half_background(masks: Float[Tensor, "k h w"]) -> Float[Tensor, "k1 h w"]:
    """The thesis's merge: background scores one half everywhere, and the largest score wins. Scaled to sum to one."""
    every = torch.cat([torch.full_like(masks[:1], 0.5), masks])
    return every / every.sum(dim=0, keepdim=True)


class RecurrentSession:
    """A video in progress (`course_lib.vos.protocol.Session`); made by `RecurrentSegmenter.start`.

    `masks` [K, H, W] are each object's own probabilities in the frame at hand, before they compete.
    """

    def __init__(
        self,
        net: RecurrentVOS,
        frame: Float[Tensor, "3 h w"],
        labels: UInt8[Tensor, "h w"],
        merge: Merge,
        feedback: Feedback,
    ) -> None:
        self.net, self.merge, self.feedback = net, merge, feedback
        self.ids: Int[Tensor, "k"] = check_labels(labels, (frame.shape[1], frame.shape[2]))
        self._t = 0
        self._frame, self._pads = padded(frame, net.stride, net.border)  # [3, Hp, Wp]
        self._state = self._begun(labels, self.ids)

    @property
    def masks(self) -> Float[Tensor, "k h w"]:
        return unpad(self._state.mask[:, 0], self._pads)

    def step(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "k1 h w"]:
        """Segment the next frame (RGB in [0, 1]): probabilities [K+1, H, W], background first."""
        self._t += 1
        self._frame, _ = padded(frame, self.net.stride, self.net.border)
        state = self._state
        if self.feedback == "merged" and self._t > 1:  # the first masks are given, and do not compete
            state = state._replace(mask=soft_aggregate(state.mask[:, 0])[1:, None])
        self._state = self.net.step(self._frame[None], state)[1]
        return self._merged()

    def add(self, labels: UInt8[Tensor, "h w"]) -> Float[Tensor, "k1 h w"]:
        """Take in objects that first appear in the frame at hand, each with a memory that begins here.

        Their pixels are theirs: the other objects' masks are emptied there before they are fed back.
        """
        height, width = self.masks.shape[1:]
        new = check_new_labels(labels, (height, width), self._t, self.ids).to(self.ids)
        begun = self._begun(labels, new)
        free = 1 - begun.mask.amax(dim=0, keepdim=True)  # [1, 1, Hp, Wp]
        old = self._state._replace(mask=self._state.mask * free, previous=None)
        self._state = joined(old, begun._replace(previous=None))
        self.ids = torch.cat([self.ids, new])
        return self._merged()

    def memory_bytes(self) -> int:
        """Bytes of states, references, the frame at hand and its masks."""
        state = self._state
        held = [state.frame, state.mask, *(x for cell in state.memory.values() for x in cell)]
        for features in {id(f): f for f in (state.first, state.previous) if f is not None}.values():
            held += [features.deep, *features.levels.values()]
        return sum(x.numel() * x.element_size() for x in held)

    def _begun(self, labels: Tensor, ids: Tensor) -> State:
        masks, _ = pad_to_multiple(one_hot(labels, ids)[1:, None], self.net.stride)  # [K, 1, Hp, Wp]
        return self.net.begin(self._frame[None], masks.to(self._frame))

    def _merged(self) -> Float[Tensor, "k1 h w"]:
        return soft_aggregate(self.masks) if self.merge == "soft" else half_background(self.masks)


class RecurrentSegmenter:
    """A causal network of the family (`course_lib.vos.protocol.VideoSegmenter`).

    merge     "soft": soft aggregation; "half": the thesis's rule, background 0.5 and the largest wins
    feedback  what a guided network is told of the last frame: each object's "own" map, or the "merged" one (soft only:
              the thesis's rule gives no masks)

    Raises `InputError` for other choices, and for a network that needs whole clips.
    """

    causal = True

    def __init__(self, net: RecurrentVOS, merge: Merge = "soft", feedback: Feedback = "own") -> None:
        if isinstance(net, BidirectionalVOS):
            raise InputError("a bidirectional network sees the future: use BidirectionalSegmenter, on whole clips")
        _check_choice("merge", merge, ("soft", "half"))
        _check_choice("feedback", feedback, ("own", "merged"))
        if feedback == "merged" and merge != "soft":
            raise InputError("merged masks can be fed back only with merge='soft'; use feedback='own'")
        self.net = net.eval()
        self.merge: Merge = merge
        self.feedback: Feedback = feedback

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.net.parameters()).device

    def start(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> RecurrentSession:
        """Begin a video: frame [3, H, W] in [0, 1], labels [H, W] uint8 (0 background, 255 ignore, others objects)."""
        return RecurrentSession(self.net, frame, labels, self.merge, self.feedback)


class BidirectionalSegmenter:
    """A bidirectional network on whole clips (`course_lib.vos.protocol.OfflineSegmenter`). Not causal.

    window   frames that are looked at together; memory grows with it
    overlap  frames that two windows have in common. A window begins with what the one before says about its frame,
             which has seen `overlap - 1` frames of future, and answers from there on; frame 0 with its given mask stays
             the first reference throughout. The thesis has no rule for long videos, this is ours.
    merge    as in `RecurrentSegmenter`

    Raises `InputError` unless 1 <= overlap < window.
    """

    causal = False

    def __init__(self, net: BidirectionalVOS, window: int = 20, overlap: int = 5, merge: Merge = "soft") -> None:
        if not isinstance(net, BidirectionalVOS):
            raise InputError(f"expected a BidirectionalVOS, got {type(net).__name__}; causal networks run in sessions")
        if not 1 <= overlap < window:
            raise InputError(f"windows need 1 <= overlap < window, got overlap {overlap} and window {window}")
        _check_choice("merge", merge, ("soft", "half"))
        self.net = net.eval()
        self.window, self.overlap = window, overlap
        self.merge: Merge = merge

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.net.parameters()).device

    @torch.no_grad()
    def segment(self, frames: Float[Tensor, "t 3 h w"], labels: UInt8[Tensor, "h w"]) -> UInt8[Tensor, "t h w"]:
        """Label every frame (RGB in [0, 1]) of a clip, given the labels of its first."""
        ids = check_labels(labels, (frames.shape[2], frames.shape[3]))
        given = one_hot(labels, ids)  # [K+1, H, W]
        masks = self.masks(frames, given[1:])
        answers = [labels_from_probs(given, ids)]
        for each in masks[1:]:
            probs = soft_aggregate(each) if self.merge == "soft" else half_background(each)
            answers.append(labels_from_probs(probs, ids))
        return torch.stack(answers)

    @torch.no_grad()
    def masks(self, frames: Float[Tensor, "t 3 h w"], first: Float[Tensor, "k h w"]) -> Float[Tensor, "t k h w"]:
        """Each object's own probabilities in every frame, before they compete; `first` are those of frame 0."""
        pads = padded(frames[0], self.net.stride, self.net.border)[1]
        masks = first.new_empty(len(frames), *first.shape)  # [T, K, H, W]
        masks[0] = first
        anchor = None
        for begin, end in windows(len(frames), self.window, self.overlap):
            clip = torch.stack([padded(frame, self.net.stride, self.net.border)[0] for frame in frames[begin:end]])
            start = pad_to_multiple(masks[begin, :, None], self.net.stride)[0]  # [K, 1, Hp, Wp]
            if begin == 0 and "first" in self.net.net.references:
                anchor = self.net.net.refer(clip[:1], start)
            answer = self.net.unroll(clip[None], start, anchor=anchor).logits.to(masks).sigmoid()  # [K, n-1, 1, Hp, Wp]
            masks[begin + 1 : end] = unpad(answer[:, :, 0].transpose(0, 1), pads)
        return masks


def windows(length: int, window: int, overlap: int) -> list[tuple[int, int]]:
    """Where windows begin and end (exclusive) so that each answers for all of its frames but its first."""
    spans = []
    begin = 0
    while length - begin > 1:
        end = min(begin + window, length)
        spans.append((begin, end))
        if end == length:
            break
        begin = end - overlap
    return spans


def joined(old: State, new: State) -> State:
    """One state for the objects of two, which stand at the same frame."""
    memory = {s: tuple(torch.cat(pair) for pair in zip(old.memory[s], new.memory[s])) for s in old.memory}
    return State(
        memory,
        new.frame,
        torch.cat([old.mask, new.mask]),
        _joined_features(old.first, new.first),
        _joined_features(old.previous, new.previous),
    )


def padded(
    frame: Float[Tensor, "3 h w"], multiple: int, border: tuple[float, float, float]
) -> tuple[Float[Tensor, "3 hp wp"], Pads]:
    """Pad a frame to the network's stride with the colour that the network sees as zero."""
    canvas, pads = pad_to_multiple(frame, multiple)
    if any(pads):
        canvas = frame.new_tensor(border)[:, None, None].expand_as(canvas).clone()
        unpad(canvas, pads).copy_(frame)
    return canvas, pads


def _joined_features(old: Features | None, new: Features | None) -> Features | None:
    if old is None or new is None:
        return None
    return Features({s: torch.cat([old.levels[s], new.levels[s]]) for s in old.levels}, torch.cat([old.deep, new.deep]))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
