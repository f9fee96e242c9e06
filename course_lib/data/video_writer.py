"""Frames to an H.264 file that every browser plays: 8-bit 4:2:0 colour, the index in front, one frame at a time.

Written through PyAV, because OpenCV's wheels carry no H.264 encoder. Unusual: the file appears under its name only when
it is complete, and its colour matrix is written into it, so that no player has to guess.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.atomic import temporary_beside, write_failed
from course_lib.errors import InputError, WriteError

SUFFIXES = (".mp4", ".m4v", ".mov")
_BT601, _BT709, _LIMITED_RANGE = 6, 1, 1  # code points of ITU-T H.273; 601 is the matrix the conversion really uses


class VideoWriter:
    """Context manager that encodes a video: `with VideoWriter("out.mp4", fps=25) as out: out.write(frame)`.

    path     target, .mp4, .m4v or .mov; its folder is made if needed
    fps      frames per second
    size     (height, width) of the frames in pixels, or None to take it from the first frame
    quality  constant rate factor of x264: 0 lossless … 51 worst; 18 looks like the input

    4:2:0 colour needs even sides, so an odd height or width gains one pixel: the last row or column is repeated.
    Leaving the block by an error or an interrupt removes the unfinished file; an earlier one of that name stays.
    Raises `InputError` for unusable frames or settings, `WriteError` when the disk is full or the folder read-only.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int] | None = None, quality: int = 20) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"a video is written as one of {', '.join(SUFFIXES)}; got {self.path.name!r}")
        if not 0 < fps <= 1000:
            raise InputError(f"fps must be above 0 and at most 1000 frames per second, got {fps}")
        if not 0 <= quality <= 51:
            raise InputError(f"quality must lie between 0 (lossless) and 51 (worst), got {quality}")
        if "libx264" not in av.codecs_available:
            raise WriteError("this build of PyAV has no H.264 encoder (libx264); reinstall it with `pip install av`")
        self.fps = fps
        self.size = size
        self.frames_written = 0
        self._quality = quality
        self._temporary = temporary_beside(self.path)
        self._finished = False
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: UInt8[Tensor, "3 h w"]) -> None:
        """Append one RGB frame [3, H, W] uint8."""
        if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8 or frame.numel() == 0:
            raise InputError(f"a frame must be [3, H, W] uint8 and not empty, got {list(frame.shape)} {frame.dtype}")
        if self._finished:
            raise InputError(f"{self.path} is already closed; open a new VideoWriter to write more frames")
        height, width = frame.shape[1:]
        self.size = self.size or (height, width)
        if (height, width) != tuple(self.size):
            raise InputError(
                f"frame {self.frames_written} is {height}x{width} (height x width), the video is "
                f"{self.size[0]}x{self.size[1]}; all frames of a video must agree in size"
            )
        pixels = frame.permute(1, 2, 0).cpu().numpy()  # [3, H, W] -> [H, W, 3]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture.pts = self.frames_written
        with self._write_errors():
            if self._container is None:
                self._container = self._open(height + height % 2, width + width % 2)
            self._container.mux(self._stream.encode(picture))
        self.frames_written += 1

    def close(self) -> None:
        """Finish the file and give it its name. Raises `InputError` if no frame was written."""
        if self._finished:
            return
        if self._container is None:
            raise InputError(f"no frame was written to {self.path}; a video needs at least one")
        with self._write_errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._temporary.replace(self.path)
        self._finished = True

    def abort(self) -> None:
        """Drop the unfinished file. Called by the context manager on any error."""
        if self._container is not None and not self._finished:
            with suppress(OSError, av.FFmpegError):  # the file is thrown away; why it failed was reported already
                self._container.close()
            self._temporary.unlink(missing_ok=True)
        self._finished = True

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self.abort()
            raise write_failed(self.path, error) from error

    def _open(self, height: int, width: int) -> av.container.OutputContainer:
        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self._temporary), "w", options={"movflags": "+faststart"})
        rate = Fraction(self.fps).limit_denominator(1001)  # exact for 25 and 30000/1001
        self._stream = container.add_stream("libx264", rate=rate)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(self._quality), "preset": "veryfast"}
        codec = self._stream.codec_context
        codec.colorspace, codec.color_primaries, codec.color_trc = _BT601, _BT709, _BT709
        codec.color_range = _LIMITED_RANGE
        return container
