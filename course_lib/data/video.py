"""Video files as a stream of upright RGB frames, whatever their length, from any format FFmpeg or OpenCV knows.

Decoded through PyAV, packet by packet, so that a damaged packet costs its own frames and not the rest of the video; a
file only OpenCV can open is read by it. Unusual: a file that breaks off gives all its frames, then a warning with their
number, because half a result is worth more than an error. `VideoWriter` is the way back.
"""

import math
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import Clip
from course_lib.data.clip_files import image_files, read_frame
from course_lib.data.video_writer import VideoWriter
from course_lib.errors import InputError, MissingDataError

__all__ = ["TruncatedVideoWarning", "VideoReader", "VideoWriter", "read_clip"]

DEFAULT_FPS = 24.0  # where the file does not say, and for folders of images
_TOLERATED_GAP = 0.05  # headers round durations; a video shorter than announced by less than this share is whole


class TruncatedVideoWarning(UserWarning):
    """A video broke off or has damaged parts; the frames that could be read were delivered."""


@dataclass(frozen=True)
class _Picture:
    pixels: UInt8[np.ndarray, "h w 3"]  # RGB, upright
    rotation: int  # degrees clockwise by which the stored picture was turned
    end: float | None  # seconds from the start of the video to the end of this picture, None if unknown


class _Source:
    """Where pictures come from; `pictures()` starts a new pass."""

    fps: float = DEFAULT_FPS
    frame_count: int | None = None
    duration: float | None = None  # seconds, as announced by the file
    damaged: int = 0  # packets that could not be decoded in the latest pass

    def pictures(self) -> Iterator[_Picture]:
        raise NotImplementedError


class VideoReader:
    """A video to iterate over: `for frame in VideoReader("my.mp4", max_side=480)` gives [3, H, W] uint8 RGB tensors.

    path      video file, or a folder of images in the order of their names
    max_side  shrink frames so that the longer side has this many pixels; smaller videos stay as they are

    Each loop starts from the beginning and holds one frame. Frames come upright, turned as the file's rotation tag
    says; pixels are taken as square and frames as evenly spaced in time. If the video breaks off, the loop ends after
    the last readable frame with a `TruncatedVideoWarning`; `frames_read` and `truncated` tell of the latest loop.
    Raises `MissingDataError` if there is no such file, `InputError` if it is empty or holds no readable video.

    size         (height, width) of the delivered frames in pixels
    fps          frames per second
    frame_count  an estimate from the file's header; None where it says nothing
    rotation     degrees clockwise by which stored frames are turned: 0, 90, 180 or 270
    """

    def __init__(self, path: str | Path, max_side: int | None = None) -> None:
        self.path = Path(path).expanduser()
        if max_side is not None and max_side < 1:
            raise InputError(f"max_side must be at least 1 pixel, got {max_side}")
        self._source = _open_source(self.path)
        self.fps = self._source.fps
        self.frame_count = self._source.frame_count
        self.frames_read = 0
        self.truncated = False
        first = next(self._source.pictures(), None)
        if first is None:
            raise InputError(f"{self.path} is a video without a single readable frame; it is empty or damaged")
        self.rotation = first.rotation
        self._stored_size: tuple[int, int] = first.pixels.shape[:2]
        self.size = _shrunk(self._stored_size, max_side)

    def __iter__(self) -> Iterator[UInt8[Tensor, "3 h w"]]:
        self.frames_read, self.truncated = 0, False
        end = None
        for picture in self._source.pictures():
            pixels = picture.pixels
            if pixels.shape[:2] != self._stored_size:
                raise InputError(
                    f"{self.path}: frame {self.frames_read} is {pixels.shape[0]}x{pixels.shape[1]} (height x width), "
                    f"the frames before are {self._stored_size[0]}x{self._stored_size[1]}; "
                    "all frames of a video must agree in size"
                )
            if self.size != self._stored_size:
                pixels = cv2.resize(pixels, self.size[::-1], interpolation=cv2.INTER_AREA)
            self.frames_read += 1
            end = picture.end if picture.end is not None else self.frames_read / self.fps
            yield torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # [H, W, 3] -> [3, H, W]
        self._warn_if_cut(end)

    def _warn_if_cut(self, end: float | None) -> None:
        announced = self._source.duration
        short = end is not None and announced is not None and end < announced * (1 - _TOLERATED_GAP) - 2 / self.fps
        self.truncated = short or self._source.damaged > 0
        if self.truncated:
            length = f" of about {self.frame_count}" if self.frame_count else ""
            warnings.warn(
                f"{self.path} is truncated or damaged: {self.frames_read}{length} frames could be read, "
                "and those were used. Copy the file again to have the rest",
                TruncatedVideoWarning,
                stacklevel=3,
            )


def read_clip(
    path: str | Path,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_side: int | None = None,
) -> Clip:
    """Frames `start`, `start + step`, … before `stop` of a video file or folder of images as a `Clip` without labels.

    Holds all of them in memory; iterate over `VideoReader` for a long video. Raises as `VideoReader` does, and
    `InputError` if the range holds no frame.
    """
    if start < 0 or step < 1 or (stop is not None and stop <= start):
        raise InputError(f"expected 0 <= start < stop and step >= 1, got start={start}, stop={stop}, step={step}")
    reader = VideoReader(path, max_side)
    frames = []
    for t, frame in enumerate(reader):
        if stop is not None and t >= stop:
            break
        if t >= start and (t - start) % step == 0:
            frames.append(frame)
    if not frames:
        raise InputError(f"{reader.path} has {reader.frames_read} frames, none of them from frame {start} on")
    return Clip(torch.stack(frames), name=reader.path.stem, fps=reader.fps / step)


class _PyAvFile(_Source):
    """A file that FFmpeg can demux."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} holds no video track (only {_kinds(container)})")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.fps = _sane_fps(float(rate) if rate else 0.0)
            if stream.duration is not None and stream.time_base is not None:
                self.duration = float(stream.duration * stream.time_base)
            elif container.duration is not None and len(container.streams) == 1:  # else it may be that of the sound
                self.duration = container.duration / av.time_base
            estimate = round(self.duration * self.fps) if self.duration else None
            self.frame_count = stream.frames or estimate

    def pictures(self) -> Iterator[_Picture]:
        self.damaged = 0
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # frame threads swallow decoding errors, and with them the frames in flight
            beginning = float((stream.start_time or 0) * (stream.time_base or 0))
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    decoded = packet.decode() if packet is not None else []
                except (av.FFmpegError, OSError):
                    self.damaged += 1
                    continue
                if packet is None:
                    return
                for frame in decoded:
                    turned = _quarter_turns(frame)
                    pixels = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), -turned))
                    end = None if frame.time is None else frame.time - beginning + 1 / self.fps
                    yield _Picture(pixels, 90 * turned, end)


class _OpenCvFile(_Source):
    """A file that only OpenCV opens, through a backend of the operating system. It hides damage, so none is counted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        capture = cv2.VideoCapture(str(path))
        try:
            if not capture.isOpened():
                raise InputError(
                    f"{path} is not a video that FFmpeg or OpenCV can open: it is damaged, cut off before its index, "
                    "or of another kind. Expected for example H.264 in .mp4; convert or copy it again"
                )
            self.fps = _sane_fps(capture.get(cv2.CAP_PROP_FPS))
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.frame_count = int(count) if 0 < count < 1e9 else None
        finally:
            capture.release()

    def pictures(self) -> Iterator[_Picture]:
        capture = cv2.VideoCapture(str(self.path))
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        rotation = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        try:
            while True:
                there, pixels = capture.read()
                if not there:
                    return
                yield _Picture(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), rotation, None)
        finally:
            capture.release()


class _ImageFolder(_Source):
    """A folder of images, one per frame."""

    def __init__(self, path: Path) -> None:
        self.files = image_files(path)
        self.frame_count = len(self.files)
        if not self.files:
            raise InputError(f"the folder {path} holds no images; expected frames such as 00000.jpg or 00000.png")

    def pictures(self) -> Iterator[_Picture]:
        for file in self.files:
            yield _Picture(np.ascontiguousarray(read_frame(file).permute(1, 2, 0).numpy()), 0, None)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Clockwise quarter turns for display, from the frame's matrix (a b u / c d v / x y w, 32-bit integers)."""
    side_data: Any = frame.side_data  # PyAV's annotation of it is wrong
    if "DISPLAYMATRIX" not in side_data:
        return 0
    a, b = struct.unpack("2i", bytes(side_data["DISPLAYMATRIX"])[:8])
    return round(math.atan2(b, a) / (math.pi / 2)) % 4


def _open_source(path: Path) -> _Source:
    if path.is_dir():
        return _ImageFolder(path)
    if not path.is_file():
        raise MissingDataError(f"there is no video {path}; give the path of a video file or of a folder of images")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is an empty file (0 bytes), not a video; copy or download it again")
    try:
        return _PyAvFile(path)
    except (av.FFmpegError, OSError):
        return _OpenCvFile(path)


def _kinds(container: av.container.InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _sane_fps(fps: float) -> float:
    return fps if 0 < fps <= 1000 else DEFAULT_FPS


def _shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    if max_side is None or max(size) <= max_side:
        return size
    scale = max_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
