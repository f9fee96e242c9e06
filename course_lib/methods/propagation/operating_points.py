"""Every operating point on the same driving clips: how well each frame is labelled, by how far it is from a key frame.

M. Paul (2023), section 3.4, scores one frame of each video, which is always the last of a period; here every frame is
counted, so the worst frame of the cycle (what the thesis prints), the mean of the cycle (what a viewer sees) and the
loss after each step come from one run. Unusual: clips are at video rate, streams are laid so that the last frame of a
clip ends a period at any S, and an IoU counts for a clip only where its truth shows the class, so that two runs on one
clip are averages over the same classes.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import Flow, KnownFlow, OpenCvFlow, motion_between
from course_lib.methods.propagation.inconsistency import AttentionConfig
from course_lib.methods.propagation.label_warp import Motion, warp_labels
from course_lib.methods.propagation.load import load_segmenter
from course_lib.methods.propagation.oracle import OracleSegmenter
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.video_segmenter import Answer, Carried, CarryConfig, PropagatingSegmenter
from course_lib.metrics.confusion import ConfusionMatrix
from course_lib.nn.device import resolve_device
from course_lib.presets import of_preset

FlowName = Literal["dis", "dis fast", "dis medium", "farneback", "exact"]
ORACLE = "oracle"
CLASSES = len(STREET_CLASSES)
THIN_AND_MOVING = ("pole", "person")
STATIC = ("road", "sky")
SPREAD_OUT = ("fence", "terrain")  # static, too; the thesis finds that such classes gain


@dataclass(frozen=True)
class OperatingConfig:
    """The clips. `preset` gives the three sizes of the course.

    weights  folder of trained segmenters, `<name>.safetensors`; None takes those of the course
    """

    clips: int = 12  # per random seed
    length: int = 30  # frames; 2, 3, 5 and 10 divide it, as Cityscapes' snippets
    height: int = 128
    width: int = 256
    frame_rate: float = 24.0
    device: str = "auto"  # of the network
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.clips < 1 or self.length < 2:
            raise InputError(f"expected clips >= 1 and length >= 2, got {self.clips} and {self.length}")

    @classmethod
    def preset(cls, name: str) -> "OperatingConfig":
        """smoke: two short clips; cpu: a laptop; gpu: large frames. Raises `InputError` for another name."""
        sizes = {
            "smoke": cls(clips=2, length=10, height=64, width=128),
            "cpu": cls(),
            "gpu": cls(clips=40, height=512, width=1024),
        }
        return of_preset(name, sizes)


@dataclass(frozen=True)
class Setting:
    """What runs on the clips.

    segmenter  "oracle", which knows the truth of key frames, or the name of trained weights
    flow       what finds motion; "exact" is the world's own
    form       "literal": equation 3.1 as printed
    check      what counts as inconsistent, see `AttentionConfig`
    replace    the refiner's answer counts everywhere, not only where labels are inconsistent (M = 1 in equation 3.4)
    """

    point: OperatingPoint
    segmenter: str = ORACLE
    flow: FlowName = "dis"
    form: Literal["standard", "literal"] = "standard"
    check: Literal["labels", "vectors", "either"] = "labels"
    replace: bool = False

    def __post_init__(self) -> None:
        if self.flow not in get_args(FlowName):
            raise InputError(f"flow must be one of {', '.join(get_args(FlowName))}; got {self.flow!r}")
        if self.segmenter == ORACLE and (self.point.input_scale != 1 or self.point.refined_per_period):
            raise InputError("the oracle knows labels of whole frames: no input scale, and nothing for it to refine")
        if self.replace and not self.point.refined_per_period:
            raise InputError("replace says where refined answers count: it needs a point that refines")


class DrivingClip(NamedTuple):
    """What the runs need of one clip. Flow and occlusion are None where the truth was not asked for."""

    frames: UInt8[Tensor, "t 3 h w"]
    semantic: UInt8[Tensor, "t h w"]
    forward: Float[Tensor, "t1 2 h w"] | None
    backward: Float[Tensor, "t1 2 h w"] | None
    unseen_before: Bool[Tensor, "t1 h w"] | None  # pixels of t + 1 whose point was hidden or out of the frame in t


@dataclass(frozen=True, eq=False)
class PointScores:
    """Confusion counts of every frame of every clip.

    start   first frame of the stream, so that the last one ends a period; counts before it are 0
    counts  [clips, T, classes, classes] pixels by true class, then predicted class
    """

    start: int
    counts: Int[np.ndarray, "n t c c"]

    def at(self, period: int, step: int) -> Int[np.ndarray, "n c c"]:
        """Counts of the frames that lie `step` frames after the start of a period of `period` frames, summed.

        Periods are laid so that the clip's last frame ends one: (S, S - 1) are the worst frames at S, (S, k) those
        after k steps, (1, 0) all. Raises `InputError` where there is no such frame.
        """
        length = self.counts.shape[1]
        if not 0 <= step < period:
            raise InputError(f"a period of {period} frames has the steps 0 to {period - 1}, got {step}")
        frames = [t for t in range(self.start, length) if (t - length) % period == step]
        if not frames:
            raise InputError(f"clips of {length} frames, from {self.start} on, show no step {step} of {period}")
        return self.counts[:, frames].sum(axis=1)

    def ious(self, period: int = 1, step: int = 0) -> Float[np.ndarray, "n c"]:
        """IoU of each clip and class over those frames; NaN where the clip's truth does not show the class."""
        return class_ious(self.at(period, step))

    def mIoU(self, period: int = 1, step: int = 0) -> Float[np.ndarray, "n"]:
        """Mean IoU of each clip over the classes that its truth shows in those frames."""
        return np.nanmean(self.ious(period, step), axis=1)

    def pooled(self, period: int = 1, step: int = 0) -> Float[np.ndarray, "c"]:
        """IoU of each class over all clips together, as the thesis has it; NaN where none shows the class."""
        return class_ious(self.at(period, step).sum(axis=0, keepdims=True))[0]


def class_ious(counts: Int[np.ndarray, "n c c"]) -> Float[np.ndarray, "n c"]:
    """Intersection over union from confusion counts (truth first); NaN for a class without a true pixel."""
    shared = np.diagonal(counts, axis1=1, axis2=2).astype(np.float64)
    true, found = counts.sum(axis=2), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(true > 0, shared / (true + found - shared), np.nan)


def driving_clips(config: OperatingConfig, seed: int) -> tuple[DrivingClip, ...]:
    """The clips of a random seed, without flow and occlusion."""
    return _plain_clips(config, seed)


def score_point(config: OperatingConfig, seed: int, setting: Setting) -> PointScores:
    """Run a setting on the clips of a random seed. A run is kept, so claims may share it. Built in lesson 06.

    Raises `MissingDataError` where trained weights are not there, `InputError` for clips shorter than a period.
    """
    return _score(config, seed, setting)


def steadiness(config: OperatingConfig, seed: int, setting: Setting) -> Float[np.ndarray, "n"]:
    """Temporal consistency of each clip: mIoU between the labels of a frame and those of the frame before, carried
    along the true flow, on the pixels that were seen in both. The truth does not enter otherwise.
    """
    values = []
    for clip in _dense_clips(config, seed):
        labels = run_setting(config, clip, setting)
        assert clip.backward is not None and clip.unseen_before is not None
        matrix = ConfusionMatrix(CLASSES)
        first = len(clip.frames) - len(labels)
        before = warp_labels(labels[:-1], clip.backward[first:])
        matrix.update(labels[1:], before.masked_fill(clip.unseen_before[first:], IGNORE))
        values.append(matrix.mean_iou())
    return np.array(values)


def inconsistent_shares(
    config: OperatingConfig,
    seed: int,
    steps: tuple[int, ...] = (1, 2, 4),
    flow: FlowName = "dis",
    back: int | None = None,
) -> Float[np.ndarray, "n k"]:
    """Share of pixels whose label does not survive the way back and forth again (equation 3.3), after so many steps.

    Labels are the truth of frame 0, carried as labels, nearest neighbour, as in the thesis, which does not say how far
    they go back: `back` steps, or with None all the way to frame 0.
    """
    if not steps or min(steps) < 1 or max(steps) >= config.length:
        raise InputError(f"steps must lie between 1 and {config.length - 1}, got {steps}")
    rows = []
    for clip in _clips_for(config, seed, flow):
        find = _flow(flow, clip)
        seen = [find.see(frame.float() / 255) for frame in clip.frames[: max(steps) + 1]]
        motions = [motion_between(find, before, now, both=True) for before, now in pairwise(seen)]
        rows.append([_changed(clip.semantic[:1], motions[:k], back) for k in steps])
    return np.array(rows)


def _changed(labels: UInt8[Tensor, "1 h w"], motions: list[Motion], back: int | None) -> float:
    """Carry labels along; share of pixels whose label then changes on the way `back` and forth again."""
    for motion in motions:
        labels = warp_labels(labels, motion.to_past)
    returned, motions = labels, motions[-back:] if back else motions
    for motion in reversed(motions):
        assert motion.to_future is not None
        returned = warp_labels(returned, motion.to_future)
    for motion in motions:
        returned = warp_labels(returned, motion.to_past)
    return float((labels != returned).float().mean())


def run_setting(config: OperatingConfig, clip: DrivingClip, setting: Setting) -> UInt8[Tensor, "t2 h w"]:
    """Labels of a clip from the first frame of its stream on: the last frame ends a period."""
    start = _start(config, setting.point)
    video = _Replacing if setting.replace else PropagatingSegmenter
    segmenter = _segmenter(config, clip, setting)
    sides = [segmenter.fitting(round(side * setting.point.input_scale)) for side in (config.height, config.width)]
    grid = (sides[0] // segmenter.logits_stride, sides[1] // segmenter.logits_stride)
    carry = CarryConfig(setting.form, attention=AttentionConfig.fitting(grid, setting.check))
    runner = video(segmenter, _flow(setting.flow, clip), setting.point, carry)
    return torch.stack([answer.labels for answer in runner.run(clip.frames[start:])])


class _Replacing(PropagatingSegmenter):
    """The refiner's answer everywhere."""

    def repair(self, refined: Float[Tensor, "1 c h w"], carried: Answer, motion: Motion) -> Answer:
        return Answer(Carried(refined), carried.features, torch.ones_like(refined[:, :1]))


def _start(config: OperatingConfig, point: OperatingPoint) -> int:
    if point.key_every > config.length:
        raise InputError(f"clips of {config.length} frames are too short for a period of {point.key_every}")
    return config.length % point.key_every


@lru_cache(maxsize=256)
def _score(config: OperatingConfig, seed: int, setting: Setting) -> PointScores:
    start, counts = _start(config, setting.point), []
    for clip in _clips_for(config, seed, setting.flow):
        labels = run_setting(config, clip, setting)
        of_clip = np.zeros((config.length, CLASSES, CLASSES), dtype=np.int64)
        for t, found in enumerate(labels, start):
            matrix = ConfusionMatrix(CLASSES)
            matrix.update(found, clip.semantic[t])
            of_clip[t] = matrix.counts.numpy()
        counts.append(of_clip)
    return PointScores(start, np.stack(counts))


def _clips_for(config: OperatingConfig, seed: int, flow: FlowName) -> tuple[DrivingClip, ...]:
    return _dense_clips(config, seed) if flow == "exact" else _plain_clips(config, seed)


@lru_cache(maxsize=5)
def _plain_clips(config: OperatingConfig, seed: int) -> tuple[DrivingClip, ...]:
    return _render(config, seed, dense=False)


@lru_cache(maxsize=1)  # flow takes ten times the room of frames
def _dense_clips(config: OperatingConfig, seed: int) -> tuple[DrivingClip, ...]:
    return _render(config, seed, dense=True)


def _render(config: OperatingConfig, seed: int, dense: bool) -> tuple[DrivingClip, ...]:
    dials = scenario(
        "driving", image_size=(config.height, config.width), length=config.length, frame_rate=config.frame_rate,
        stereo=False, dense_truth=dense,
    )  # fmt: skip
    dataset = World(dials).dataset(config.clips, seed)
    clips = []
    for i in range(config.clips):
        clip = dataset[i]
        assert clip.semantic is not None
        clips.append(
            DrivingClip(clip.frames, clip.semantic, clip.forward_flow, clip.backward_flow, clip.occluded_backward)
        )
    return tuple(clips)


def _segmenter(config: OperatingConfig, clip: DrivingClip, setting: Setting) -> FrameSegmenter:
    if setting.segmenter == ORACLE:
        return OracleSegmenter(clip.frames, clip.semantic, CLASSES)
    return _trained(setting.segmenter, config.weights, config.device)


@lru_cache(maxsize=2)
def _trained(name: str, folder: Path | None, device: str) -> FrameSegmenter:
    weights = None if folder is None else folder / f"{name}.safetensors"
    return load_segmenter(name, weights, resolve_device(device))


def _flow(name: FlowName, clip: DrivingClip) -> Flow:
    if name == "exact":
        assert clip.forward is not None and clip.backward is not None
        return KnownFlow(clip.frames, clip.forward, clip.backward)
    if name == "farneback":
        return OpenCvFlow("farneback")
    return OpenCvFlow("dis", "ultrafast" if name == "dis" else "fast" if name == "dis fast" else "medium")
