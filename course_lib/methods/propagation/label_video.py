"""Any video of a street in, the video with the class of every pixel out: `course label` calls this.

The network looks at key frames, flow carries its answers in between (M. Paul, 2023, chapter 3), with flow on other
threads. Unusual: an interrupt ends the video at the frame reached instead of throwing the work away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm

from course_lib.data.palette_png import write_labels
from course_lib.data.synthetic import World, scenario
from course_lib.data.video import VideoReader, VideoWriter
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import OpenCvFlow
from course_lib.methods.propagation.load import class_names, load_segmenter
from course_lib.methods.propagation.pipeline import PipelinedSegmenter
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.methods.propagation.video_segmenter import PropagatingSegmenter
from course_lib.viz.legend import legend_strip
from course_lib.viz.overlay import overlay

DRIVING = "driving"  # a drive through the course's own world
_DRIVE_FRAMES = 72
_LEAST_WIDTH = 256  # of a legible legend


@dataclass(frozen=True)
class LabelledVideo:
    """What `label_video` wrote. `fps` counts network, flow and drawing; `segmented` the frames that the network saw."""

    video: Path
    labels: Path | None
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    """Of the pixels of all frames, one for each class."""
    frames: int
    segmented: int
    fps: float
    interrupted: bool

    def __str__(self) -> str:
        found = sorted(((s, name) for s, name in zip(self.shares, self.classes) if s >= 0.001), reverse=True)
        lines = [
            f"{self.frames} frames at {self.fps:.1f} per second, {self.segmented} of them segmented -> {self.video}",
            "seen: " + ", ".join(f"{name} {share:.0%}" for share, name in found),
        ]
        if self.labels is not None:
            lines.append(f"classes of every pixel: {self.labels}")
        if self.interrupted:
            lines.append(f"interrupted: the video ends after frame {self.frames - 1}; what stands above is complete")
        return "\n".join(lines)


def label_video(
    video: str | Path = DRIVING,
    segmenter: str | None = None,
    key_every: int = 5,
    warp: bool = True,
    refine: Literal["off", "last", "all"] = "off",
    input_scale: float = 1.0,
    out: str | Path = "labelled.mp4",
    labels: str | Path | None = None,
    weights: str | Path | None = None,
    max_side: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> LabelledVideo:
    """Name the class of every pixel of a video, and write the video painted with them, a legend below.

    video      file, folder of pictures, or "driving": a drive through the course's own world
    segmenter  name for `load_segmenter` (with `weights`, `device`); None takes lite-driving for the course's own world
               and lite-camvid, which has learnt from real streets, for everything else
    key_every, warp, refine, input_scale  the operating point, see `OperatingPoint`; key_every=1 segments each frame
    out        H.264 video
    labels     folder for a palette PNG of class indices per frame
    max_side   shrink the video so that its longer side has this many pixels, which makes it faster

    One frame at a time is in memory, and those under way. Raises `InputError` for settings out of range,
    `MissingDataError` for a missing video, `WriteError`. Built in lesson 06.
    """
    point = OperatingPoint(key_every, warp, refine, input_scale)
    own_world = str(video) == DRIVING and not Path(video).exists()
    name = segmenter or ("lite-driving" if own_world else "lite-camvid")
    classes = class_names(name)
    if len(classes) > 254:
        raise InputError(f"at most 254 classes have a colour, {name} has {len(classes)}")
    frames, rate, count = _drive() if own_world else _file(video, max_side)
    network = load_segmenter(name, weights, device)
    pipeline = PipelinedSegmenter(PropagatingSegmenter(network, OpenCvFlow(), point))
    out = Path(out).expanduser()
    folder = None if labels is None else Path(labels).expanduser()
    source = _Recent(frames)
    pixels, done, segmented, interrupted = np.zeros(len(classes)), 0, 0, False
    strip: Tensor | None = None
    began = perf_counter()
    with (
        VideoWriter(out, fps=rate) as writer,
        tqdm(total=count, disable=not progress, unit="frame", desc=out.name) as bar,
        pipeline.run(source) as answers,
    ):
        try:
            for answer in answers:
                frame, found = source.take(), answer.labels.cpu()
                strip = _strip(classes, frame.shape[2]) if strip is None else strip
                if folder is not None:
                    write_labels(folder / f"{done:05d}.png", found)
                painted = torch.from_numpy(overlay(frame, found + 1)).permute(2, 0, 1)  # colour 0 is "nothing"
                writer.write(torch.cat([painted, strip], dim=1).contiguous())
                pixels += np.bincount(found.flatten().numpy(), minlength=len(classes))
                segmented += answer.kind in ("key", "blend")
                done += 1
                bar.update()
        except KeyboardInterrupt:
            if done == 0:
                raise
            interrupted = True
    shares = tuple((pixels / pixels.sum()).tolist())
    return LabelledVideo(out, folder, classes, shares, done, segmented, done / (perf_counter() - began), interrupted)


class _Recent:
    """Frames on their way: handed to the pipeline as it asks, and to the painter in the same order."""

    def __init__(self, frames: Iterator[UInt8[Tensor, "3 h w"]]) -> None:
        self._frames = frames
        self._under_way: list[Tensor] = []

    def __iter__(self) -> Iterator[UInt8[Tensor, "3 h w"]]:
        for frame in self._frames:
            self._under_way.append(frame)
            yield frame

    def take(self) -> UInt8[Tensor, "3 h w"]:
        """The oldest frame that was not taken yet."""
        return self._under_way.pop(0)


def _drive() -> tuple[Iterator[Tensor], float, int | None]:
    clip = World(scenario(DRIVING, length=_DRIVE_FRAMES, stereo=False, dense_truth=False)).clip(7)
    return iter(clip.frames), 24.0, len(clip.frames)


def _file(video: str | Path, max_side: int | None) -> tuple[Iterator[Tensor], float, int | None]:
    reader = VideoReader(video, max_side=max_side)
    return iter(reader), reader.fps, reader.frame_count


def _strip(classes: tuple[str, ...], width: int) -> UInt8[Tensor, "3 h w"]:
    """The legend as wide as the video; below a width that nobody can read, none."""
    if width < _LEAST_WIDTH:
        return torch.zeros(3, 0, width, dtype=torch.uint8)
    text = int(np.clip(width / 50, 11, 24))
    return torch.from_numpy(legend_strip(classes, width, text).copy()).permute(2, 0, 1)
