"""Masks carried from frame to frame by optical flow: no training, no GPU, real time; the baseline of the course.

For each pixel of the new frame, flow says where it was in the old one, and the soft mask is read there. Where going
forward and backward disagrees (Sundaram et al., 2010) the carried mask does not count. Unusual: re-anchoring. Near the
contour the colours of the first frame vote and the contour snaps to edges, so drift does not add up; switch it off
(`reanchor=False`) to see what flow alone does. Nothing is found again once its mask is empty.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.propagation.anchor import ColourAnchor, colour_cells, guided_filter, near_contour, scaled
from course_lib.methods.propagation.flow import (
    FlowEstimator,
    FlowMethod,
    FlowPreset,
    as_picture,
    consistent,
    grey,
    sample,
)
from course_lib.vos.aggregate import add_objects, one_hot, soft_aggregate
from course_lib.vos.checks import as_float_frame, check_labels, check_new_labels

_SURE = 0.01  # evidence is limited to odds of (1 + _SURE) / _SURE, so that no mask is beyond doubt


@dataclass(frozen=True)
class MaskFlowConfig:
    """How masks are carried. Lengths are shares of the shorter side, so that one setting fits all resolutions."""

    flow: FlowMethod = "dis"  # or "farneback"
    preset: FlowPreset = "ultrafast"  # of DIS; "medium" is finer and several times slower
    reanchor: bool = True  # False carries masks by flow alone
    band: float = 0.08  # how far from the carried contour the colours of the first frame may change the mask
    colour: float = 1.0  # weight of their vote
    unsure: float = 0.0  # share of the carried mask's log odds that counts where the flow check fails; 1: no check
    edge: float = 1 / 60  # radius of the guided filter that snaps the contour to edges; 0 leaves it out
    sharpen: float = 2.0  # factor on log odds after the filter; competition of objects doubles it

    def __post_init__(self) -> None:
        for name in ("band", "edge"):
            if not 0 <= getattr(self, name) < 0.5:
                raise InputError(f"{name} is a share of the shorter side in [0, 0.5), got {getattr(self, name)}")
        if not 0 <= self.unsure <= 1 or self.colour < 0 or self.sharpen <= 0:
            raise InputError(
                "expected 0 <= unsure <= 1, colour >= 0 and sharpen > 0, "
                f"got {self.unsure}, {self.colour}, {self.sharpen}"
            )


class MaskFlow:
    """`VideoSegmenter` that carries masks by optical flow. Works on the CPU wherever the frames are."""

    def __init__(self, config: MaskFlowConfig | None = None) -> None:
        self.config = config or MaskFlowConfig()
        self.device = torch.device("cpu")

    def start(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> "MaskFlowSession":
        """Begin a video with the labels of its first frame. Raises `InputError` if they do not fit it."""
        return MaskFlowSession(self.config, frame, labels)

    def __repr__(self) -> str:
        return f"MaskFlow({self.config})"


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame and its answer, in the form that the next step needs."""

    picture: UInt8[np.ndarray, "h w 3"]
    grey: UInt8[np.ndarray, "h w"]
    probs: Float[Tensor, "k1 h w"]


class MaskFlowSession:
    """One video carried by flow: holds the latest frame with its masks, and each object's colour anchor."""

    def __init__(self, config: MaskFlowConfig, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> None:
        self.config = config
        self._size = (frame.shape[1], frame.shape[2])
        self._estimate = FlowEstimator(config.flow, config.preset)
        self.ids: Int[Tensor, "k"] = check_labels(labels, self._size).cpu()
        picture = as_picture(as_float_frame(frame))
        self._last = _Seen(picture, grey(picture), one_hot(labels.cpu(), self.ids))
        self._anchors: list[ColourAnchor] = []
        self._anchor(self.ids)
        self._steps = 0

    def step(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "k1 h w"]:
        """Carry the masks to the next frame: [3, H, W] in [0, 1] -> probabilities [K+1, H, W]."""
        self._steps += 1
        picture = as_picture(as_float_frame(frame, self._steps, self._size))
        now = grey(picture)
        before = self._last
        backward = self._estimate(now, before.grey)  # for each new pixel, where it was
        carried = np.stack([sample(p, backward) for p in before.probs[1:].numpy()])  # [K, H, W]
        if self.config.reanchor:
            forward = self._estimate(before.grey, now)
            probs = self._reanchored(carried, consistent(backward, forward), picture)
        else:
            objects = torch.from_numpy(carried)
            probs = torch.cat([(1 - objects.sum(0, keepdim=True)).clamp(min=0), objects])
        self._last = _Seen(picture, now, probs)
        return probs.to(frame.device, copy=True)

    def add(self, labels: UInt8[Tensor, "h w"]) -> Float[Tensor, "k1 h w"]:
        """Take in objects that first appear in the frame just stepped. Returns its probabilities with them."""
        new = check_new_labels(labels, self._size, self._steps, self.ids).cpu()
        self.ids = torch.cat([self.ids, new])
        self._last = replace(self._last, probs=add_objects(self._last.probs, labels.cpu(), new))
        self._anchor(new)
        return self._last.probs.to(labels.device, copy=True)

    def memory_bytes(self) -> int:
        """Bytes of the last frame, its masks and the colour anchors; constant over time."""
        last = self._last
        return last.picture.nbytes + last.grey.nbytes + last.probs.nbytes + sum(a.nbytes for a in self._anchors)

    def _anchor(self, ids: Int[Tensor, "n"]) -> None:
        """Learn the colours of the newest objects from the frame they are given in."""
        if not self.config.reanchor:
            return
        cells = colour_cells(self._last.picture)
        for mask in self._last.probs[-len(ids) :].numpy() > 0.5:
            self._anchors.append(ColourAnchor.learn(cells, mask))

    def _reanchored(
        self, carried: Float[np.ndarray, "k h w"], reliable: np.ndarray, picture: UInt8[np.ndarray, "h w 3"]
    ) -> Float[Tensor, "k1 h w"]:
        """Correct each carried mask near its contour, then let the objects compete for each pixel."""
        config = self.config
        band = scaled(config.band, self._size)
        radius = scaled(config.edge, self._size) if config.edge else 0
        corrected = np.zeros_like(carried)
        for k, (mask, anchor) in enumerate(zip(carried, self._anchors, strict=True)):
            window = _window(mask > 0.5, 2 * (band + radius))
            if window is None:  # gone: nothing to correct
                continue
            old, trust = mask[window], np.where(reliable[window], 1.0, config.unsure).astype(np.float32)
            odds = np.log((old + _SURE) / (1 - old + _SURE))
            vote = anchor.vote(colour_cells(picture[window]))
            contour = near_contour(old > 0.5, band)
            odds = np.where(contour, trust * odds + config.colour * vote, odds)
            soft = _sigmoid(odds)
            if radius:
                soft = guided_filter(picture[window].astype(np.float32) / 255, soft, radius)
            soft = soft.clip(1e-6, 1 - 1e-6)
            corrected[k][window] = _sigmoid(config.sharpen * np.log(soft / (1 - soft)))
        return soft_aggregate(torch.from_numpy(corrected))


class CopyFirstMask:
    """`VideoSegmenter` that answers every frame with the first mask: what motion costs a method that ignores it."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def start(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> "CopySession":
        """Begin a video. Raises `InputError` if labels and frame do not fit."""
        return CopySession(frame, labels)

    def __repr__(self) -> str:
        return "CopyFirstMask()"


class CopySession:
    """Holds the masks it was given, nothing else."""

    def __init__(self, frame: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]) -> None:
        self._size = (frame.shape[1], frame.shape[2])
        self.ids: Int[Tensor, "k"] = check_labels(labels, self._size)
        self._probs = one_hot(labels, self.ids)
        self._steps = 0

    def step(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "k1 h w"]:
        """The masks as given: probabilities [K+1, H, W] of zeros and ones."""
        self._steps += 1
        as_float_frame(frame, self._steps, self._size)
        return self._probs.clone()

    def add(self, labels: UInt8[Tensor, "h w"]) -> Float[Tensor, "k1 h w"]:
        """Take in objects that first appear in the frame just stepped."""
        new = check_new_labels(labels, self._size, self._steps, self.ids)
        self.ids = torch.cat([self.ids, new])
        self._probs = add_objects(self._probs, labels, new)
        return self._probs.clone()

    def memory_bytes(self) -> int:
        """Bytes of the masks."""
        return self._probs.nbytes


def load_flow(weights: Path | None, device: torch.device) -> MaskFlow:
    """`load_model("flow")`."""
    _refuse_weights("flow", weights)
    return MaskFlow()


def load_plain_flow(weights: Path | None, device: torch.device) -> MaskFlow:
    """`load_model("flow-plain")`."""
    _refuse_weights("flow-plain", weights)
    return MaskFlow(MaskFlowConfig(reanchor=False))


def load_copy(weights: Path | None, device: torch.device) -> CopyFirstMask:
    """`load_model("copy")`."""
    _refuse_weights("copy", weights)
    return CopyFirstMask()


def _refuse_weights(name: str, weights: Path | None) -> None:
    if weights is not None:
        raise InputError(f"model {name!r} is not trained and takes no weights, got {weights}; leave weights out")


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Rectangle around the object with `margin` pixels more on each side, or None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
