"""Any video, an object in its first frame, and out comes the video with the object coloured.

`course track` calls this. Unusual: an interrupt ends the video at the frame reached instead of throwing the work away,
and the start mask is saved and named, because most failures begin there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, floor
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm

from course_lib.data.clip import object_ids
from course_lib.data.packaged import PACKAGED, packaged_clip
from course_lib.data.palette_png import write_labels
from course_lib.data.video import VideoReader, VideoWriter
from course_lib.errors import InputError
from course_lib.viz.overlay import overlay
from course_lib.vos.engine import Segmentation, segment
from course_lib.vos.models import load_model
from course_lib.vos.protocol import VideoSegmenter
from course_lib.vos.start_mask import box_labels, grabcut_labels, read_mask, resize_labels


@dataclass(frozen=True)
class TrackResult:
    """What `track` wrote. `fps` is that of the method; `visible` counts frames in which any object was seen."""

    video: Path
    start_mask: Path
    masks: Path | None
    ids: tuple[int, ...]
    frames: int
    visible: int
    fps: float
    interrupted: bool

    def __str__(self) -> str:
        lines = [
            f"{self.frames} frames at {self.fps:.1f} per second -> {self.video}",
            f"start mask: {self.start_mask}",
        ]
        if self.masks is not None:
            lines.append(f"masks: {self.masks}")
        if self.visible < self.frames:
            lines.append(f"objects {list(self.ids)} were out of sight in {self.frames - self.visible} frames")
        if self.interrupted:
            lines.append(f"interrupted: the video ends after frame {self.frames - 1}; what stands above is complete")
        return "\n".join(lines)


def track(
    video: str | Path = "bigbuckbunny",
    model: str | VideoSegmenter = "flow",
    box: Sequence[float] | None = None,
    mask: str | Path | None = None,
    box_is_mask: bool = False,
    out: str | Path = "overlay.mp4",
    masks: str | Path | None = None,
    start: int = 0,
    max_side: int | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> TrackResult:
    """Follow an object through a video and write the video with the object coloured.

    video        file, folder of pictures, or the name of a packaged clip: "bigbuckbunny", "carphone", "bikes", which
                 come with a start and a box of their own
    model        name for `load_model` (with `weights`, `device`), or a segmenter
    box          x0, y0, x1, y1 around the object in the first frame, in pixels; GrabCut finds the object inside
    box_is_mask  take the whole rectangle as the object
    mask         instead of `box`: palette, grey or black-and-white PNG of the first frame's size
    out          H.264 video; the start mask is saved beside it as `<name>_start.png`
    masks        folder for a palette PNG per frame
    start        the frame to begin with; box and mask belong to it
    max_side     shrink the video so that its longer side has this many pixels, which makes it faster

    One frame is in memory at a time. An interrupt (Ctrl-C) closes the video at the frame reached; the result says so.
    Raises `InputError` for a box or mask that does not fit, `MissingDataError` for a missing video, `WriteError`.
    """
    path = _video_path(video)
    if box is None and mask is None and str(video) in PACKAGED and path == PACKAGED[str(video)].path:
        start, box = start or PACKAGED[str(video)].start, PACKAGED[str(video)].box
    if (box is None) == (mask is None):
        raise InputError("say where the object is in the first frame: a box (x0 y0 x1 y1) or a mask, one of the two")
    if box_is_mask and box is None:
        raise InputError("box_is_mask needs a box")
    reader = VideoReader(path, max_side=max_side)
    full_size = reader.size if max_side is None else VideoReader(path).size
    first = next(islice(reader, start, None), None) if start >= 0 else None
    if first is None:
        raise InputError(f"there is no start frame {start} in {path.name}: it has {reader.frame_count} frames, from 0")
    if box is not None:
        labels = _labels_in_box(first, box, box_is_mask, full_size)
    elif mask is not None:
        labels = resize_labels(read_mask(mask, full_size), reader.size)
    if isinstance(model, str):
        model = load_model(model, weights=weights, device=device)

    out = Path(out).expanduser()
    start_mask = out.with_name(f"{out.stem}_start.png")
    write_labels(start_mask, labels)
    if progress:
        tqdm.write(
            f"start mask: {int((labels != 0).sum())} pixels of object {object_ids(labels).tolist()} -> {start_mask}"
        )
    run = segment(model, islice(reader, start, None), labels)
    folder = None if masks is None else Path(masks).expanduser()
    frames, visible, interrupted = 0, 0, False
    expected = reader.frame_count - start if reader.frame_count else None
    with (
        VideoWriter(out, fps=reader.fps) as writer,
        tqdm(total=expected, disable=not progress, unit="frame", desc=out.name) as bar,
    ):
        try:
            for answer in _label_maps(run):
                if folder is not None:
                    write_labels(folder / f"{frames:05d}.png", answer)
                writer.write(torch.from_numpy(overlay(run.frame, answer)).permute(2, 0, 1).contiguous())
                visible += bool((answer != 0).any())
                frames += 1
                bar.update()
        except KeyboardInterrupt:
            if frames == 0:
                raise
            interrupted = True
    ids = tuple(run.ids.tolist())
    rate = frames / run.seconds if run.seconds else float("inf")
    return TrackResult(out, start_mask, folder, ids, frames, visible, rate, interrupted)


def _label_maps(run: Segmentation) -> Iterator[UInt8[Tensor, "h w"]]:
    return (run.labels(probs).cpu() for probs in run)


def _video_path(video: str | Path) -> Path:
    """A packaged clip by its name, unless a file or folder is called so."""
    path = Path(video).expanduser()
    return packaged_clip(str(video)) if str(video) in PACKAGED and not path.exists() else path


def _labels_in_box(
    first: UInt8[Tensor, "3 h w"], box: Sequence[float], box_is_mask: bool, full_size: tuple[int, int]
) -> UInt8[Tensor, "h w"]:
    size = (first.shape[1], first.shape[2])
    box_labels(box, full_size)  # judged in the video's own pixels, so that an error speaks of what the user typed
    down, across = size[0] / full_size[0], size[1] / full_size[1]
    x0, y0, x1, y1 = box
    small = (floor(x0 * across), floor(y0 * down), ceil(x1 * across), ceil(y1 * down))  # never empty
    return box_labels(small, size) if box_is_mask else grabcut_labels(first, small)
