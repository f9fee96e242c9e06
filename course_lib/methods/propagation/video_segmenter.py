"""A per-frame segmenter made into a video segmenter: key frames are segmented, the others carried along flow.

The system EVS of M. Paul (2023), section 3.3, for any `FrameSegmenter` and any `Flow`. Each stage of a frame's life is
a method without state, which `pipeline.py` runs on threads and this file one after the other. Unusual: probabilities
are carried, not labels; labels are taken from them for the check and for the answer.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import Flow, OpenCvFlow, motion_between
from course_lib.methods.propagation.inconsistency import AttentionConfig, blend_with_past, find_inconsistent, soften
from course_lib.methods.propagation.label_warp import Engine, Motion, compose, resize_flow, warp_soft
from course_lib.methods.propagation.refiner import Refiner, refine_carried
from course_lib.methods.propagation.schedule import FrameKind, OperatingPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.vos.checks import as_float_frame

_RARE = 1e-12  # probabilities below it count as this, so that they have a logarithm


@dataclass(frozen=True)
class CarryConfig:
    """How answers are carried; the thesis leaves these open. Defaults are the standard choices.

    form       "standard": flow from the new frame to the old; "literal": equation 3.1 as printed
    repeat     "warp" moves the last answer by one step; "compose" moves the key frame's answer along the composed
               flow, so that bilinear blur does not add up
    attention  the mask of the refiner and of EVS 01; None fits its sizes to the grid
    keep       share of the past that EVS 01 keeps where it is consistent
    engine     what warps (see `warp_soft`)
    """

    form: Literal["standard", "literal"] = "standard"
    repeat: Literal["warp", "compose"] = "warp"
    attention: AttentionConfig | None = None
    keep: float = 0.5
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        if self.form not in ("standard", "literal") or self.repeat not in ("warp", "compose"):
            raise InputError(
                f"form must be 'standard' or 'literal' and repeat 'warp' or 'compose', got {self.form!r}, "
                f"{self.repeat!r}"
            )
        if not 0 <= self.keep <= 1:
            raise InputError(f"keep is a share in [0, 1], got {self.keep}")


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """The answer for one frame.

    index      position in the stream; kind: how the answer came about
    labels     [H, W] class of each pixel, on the device of the frame that came in
    probs      [C, h, w] on the network's grid (of the padded, scaled frame), on the network's device
    attention  [h, w] in [0, 1], where a repair or a blend was let in; None for other kinds
    """

    index: int
    kind: FrameKind
    labels: UInt8[Tensor, "h w"]
    probs: Float[Tensor, "c h w"]
    attention: Float[Tensor, "h w"] | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame as the stages need it: scaled and padded for the network, and what flow sees of it."""

    index: int
    kind: FrameKind
    size: tuple[int, int]  # (H, W) as it came
    scaled: tuple[int, int]  # before padding
    home: torch.device
    frame: Float[Tensor, "1 3 hp wp"]
    seen: Any


@dataclass(frozen=True, eq=False)
class Carried:
    """A map that travels: its value now, and, where flows are composed, where it came from and the way back there."""

    value: Float[Tensor, "1 c h w"]
    origin: Float[Tensor, "1 c h w"] | None = None
    way: Float[Tensor, "1 2 h w"] | None = None

    def moved(self, to_past: Float[Tensor, "1 2 h w"], config: CarryConfig) -> "Carried":
        """One frame on."""
        if config.repeat == "warp":
            return Carried(warp_soft(self.value, to_past, config.engine))
        size = (self.value.shape[-2], self.value.shape[-1])
        step = resize_flow(to_past, size).to(self.value.device)
        way = step if self.way is None else compose(step, self.way)
        origin = self.value if self.origin is None else self.origin
        return Carried(warp_soft(origin, way, config.engine), origin, way)


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known about a frame, and all that the next one needs."""

    probs: Carried
    features: Carried | None
    attention: Float[Tensor, "1 1 h w"] | None = None


class PropagatingSegmenter:
    """Labels a video with a network that runs on some of its frames. Causal; any number of streams at once.

    segmenter  in evaluation mode; on any device
    flow       DIS on the CPU by default
    point      which frames are segmented, carried, repaired

    `run(frames)` yields a `SegmentedFrame` for each frame, and holds one frame of history. Built in lesson 06.
    """

    def __init__(
        self,
        segmenter: FrameSegmenter,
        flow: Flow | None = None,
        point: OperatingPoint | None = None,
        config: CarryConfig | None = None,
    ) -> None:
        if segmenter.classes > IGNORE:
            raise InputError(f"labels are uint8 with 255 for 'ignore', but the segmenter has {segmenter.classes}")
        if segmenter.training:
            raise InputError("the segmenter is in training mode, in which batch norm mixes frames: call .eval() first")
        self.segmenter = segmenter
        self.refiner = Refiner(segmenter)
        self.flow = flow if flow is not None else OpenCvFlow()
        self.point = point or OperatingPoint()
        self.config = config or CarryConfig()

    @property
    def device(self) -> torch.device:
        """Where the segmenter lies."""
        tensor = next(self.segmenter.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def run(self, frames: Iterable[Tensor], cuts: Collection[int] = ()) -> Iterator[SegmentedFrame]:
        """Answers for frames [3, H, W], uint8 or float in [0, 1], one by one as they come.

        cuts  indices of frames where a new shot begins: nothing is carried into them and the period starts anew
        Raises `InputError` for frames that are none, or change size without a cut.
        """
        stream = FrameStream(self, cuts)
        last: tuple[Prepared, Answer] | None = None
        for frame in frames:
            now = self.prepare(*stream.next(frame))
            answer = self._answer(now, last)
            last = (now, answer)
            yield self.finish(now, answer)

    def _answer(self, now: Prepared, last: tuple[Prepared, Answer] | None) -> Answer:
        if now.kind == "key":
            return self.segment(now)
        assert last is not None  # a schedule starts with a key frame
        before, known = last
        if now.kind == "copy":
            return known
        motion = self.motion(before, now, self.flow)
        carried = self.carry(known, motion)
        if now.kind == "warp":
            return carried
        if now.kind == "blend":
            return self.blend(self.segment(now), carried, motion)
        return self.repair(self.refine(now, carried), carried, motion)

    def prepare(self, frame: Tensor, index: int, kind: FrameKind) -> Prepared:
        """Scale, pad and look: all that a frame needs before the network and flow."""
        image = as_float_frame(frame, index)[None]  # [1, 3, H, W]
        size = (image.shape[-2], image.shape[-1])
        D = self.point.input_scale
        scaled = (max(1, round(size[0] * D)), max(1, round(size[1] * D)))
        if scaled != size:
            image = F.interpolate(image, scaled, mode="bilinear", align_corners=False, antialias=True)
        fitted = self.segmenter.padded(image)
        seen = self.flow.see(fitted[0]) if self.point.warp else None
        return Prepared(index, kind, size, scaled, frame.device, fitted.to(self.device), seen)

    def motion(self, before: Prepared, now: Prepared, flow: Flow) -> Motion:
        """Flow from `now` to the frame before, and back where the check needs it."""
        both = now.kind in ("refine", "blend")
        return motion_between(flow, before.seen, now.seen, both, literal=self.config.form == "literal")

    @torch.no_grad()
    def segment(self, now: Prepared) -> Answer:
        """The whole network."""
        found = self.segmenter(now.frame)
        features = Carried(found.features) if self.point.carries_features else None
        return Answer(Carried(found.logits.float().softmax(dim=1)), features)

    @torch.no_grad()
    def carry(self, known: Answer, motion: Motion) -> Answer:
        """The answer of the frame before, moved to the new one."""
        features = known.features.moved(motion.to_past, self.config) if known.features is not None else None
        return Answer(known.probs.moved(motion.to_past, self.config), features)

    def refine(self, now: Prepared, carried: Answer) -> Float[Tensor, "1 c h w"]:
        """The refiner's probabilities, from the carried features and the new frame."""
        assert carried.features is not None
        return self.refiner(carried.features.value, now.frame)

    @torch.no_grad()
    def repair(self, refined: Float[Tensor, "1 c h w"], carried: Answer, motion: Motion) -> Answer:
        """The carried answer with the refiner's where labels are inconsistent (equations 3.3, 3.4)."""
        probs, attention = refine_carried(refined, carried.probs.value, motion, self._attention(refined))
        return Answer(Carried(probs), carried.features, attention)

    @torch.no_grad()
    def blend(self, new: Answer, carried: Answer, motion: Motion) -> Answer:
        """A segmented frame's answer blended with the carried past (EVS 01)."""
        config = self._attention(new.probs.value)
        attention = soften(find_inconsistent(carried.probs.value, motion, config), config)
        probs = blend_with_past(attention, new.probs.value, carried.probs.value, self.config.keep)
        return Answer(Carried(probs), new.features, attention)

    @torch.no_grad()
    def finish(self, now: Prepared, answer: Answer) -> SegmentedFrame:
        """Labels for every pixel of the frame as it came.

        Between cells log-probabilities are interpolated, not probabilities: then a key frame gets exactly the labels
        that the network gives it, for logits differ from them by a number that all classes share.
        """
        probs = answer.probs.value
        full = self.segmenter.upsample(probs.clamp(min=_RARE).log(), now.scaled)
        if now.size != now.scaled:
            full = F.interpolate(full, now.size, mode="bilinear", align_corners=False)
        labels = full.max(dim=1).indices[0].to(torch.uint8).to(now.home)  # on a CPU ten times as fast as argmax
        attention = answer.attention if now.kind in ("refine", "blend") else None
        return SegmentedFrame(now.index, now.kind, labels, probs[0], None if attention is None else attention[0, 0])

    def _attention(self, probs: Tensor) -> AttentionConfig:
        return self.config.attention or AttentionConfig.fitting((probs.shape[-2], probs.shape[-1]))

    def __repr__(self) -> str:
        return f"PropagatingSegmenter({type(self.segmenter).__name__}, {self.flow!r}, {self.point})"


class FrameStream:
    """Counts the frames of one stream: gives each its index and kind, and guards their size."""

    def __init__(self, video: PropagatingSegmenter, cuts: Collection[int]) -> None:
        if any(isinstance(cut, bool) or not isinstance(cut, int) or cut < 0 for cut in cuts):
            raise InputError(f"cuts are indices of frames, got {list(cuts)}")
        self._point = video.point
        self._cuts = frozenset(cuts)
        self._index = -1
        self._step = -1  # since the last cut
        self._size: tuple[int, ...] | None = None

    def next(self, frame: Tensor) -> tuple[Tensor, int, FrameKind]:
        """Frame, index and kind of the next frame. Raises `InputError` for another size without a cut."""
        self._index += 1
        if not isinstance(frame, Tensor) or frame.ndim != 3:
            came = list(frame.shape) if isinstance(frame, Tensor) else type(frame).__name__
            raise InputError(f"frame {self._index} must be a tensor [3, H, W] (RGB, channels first), got {came}")
        size = tuple(frame.shape[1:])
        if self._index in self._cuts or self._index == 0:
            self._step, self._size = -1, size
        if size != self._size:
            raise InputError(
                f"frame {self._index} is {list(size)} but the frames before it are {list(self._size or ())}; "
                "resize them, or name the frame in `cuts` where a new shot begins"
            )
        self._step += 1
        return frame, self._index, self._point.kind(self._step)
