"""Trackers brought to where `recurrent.py` times them: at their start, and after many frames of a video.

A recurrent session walks there frame by frame, and is left at each place as a copy. A space-time memory is filled
instead, with what it would hold: thousands of frames cost a moment.
"""

import statistics
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.data.synthetic import World, scenario
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter
from course_lib.methods.space_time_memory import MemorySession, SpaceTimeSegmenter
from course_lib.vos.protocol import Session, VideoSegmenter

Cells = list[tuple[Tensor, Tensor]]  # keys [Ck, N] and values [1, Cv, N] of each frame


@dataclass(frozen=True)
class Film:
    """Frames [T, 3, H, W] in [0, 1], shown again and again, and the labels [H, W] of the first."""

    frames: Tensor
    labels: Tensor

    def frame(self, t: int) -> Tensor:
        return self.frames[t % len(self.frames)]


@dataclass
class Timed:
    """One thing that is timed: `ready` brings it to its place, what that returns is timed and answers `frames`."""

    ready: Callable[[], Callable[[], object]]
    frames: int
    ms: list[float] = field(default_factory=list)  # per frame, one a round


@dataclass
class Tracker:
    """A method, to be timed as it begins and after so many frames.

    opening   start and first answer; None where there is no beginning apart
    later     timed after so many frames, or on clips of so many
    held      bytes after so many frames
    constant  whether it held the same after every single one
    """

    parameters: int
    opening: Timed | None
    later: dict[int, Timed]
    held: dict[int, int]
    constant: bool
    working: int = 0

    def rate(self) -> list[float]:
        """Milliseconds per frame in each round, whatever the length."""
        return [statistics.median(ms) for ms in zip(*(timed.ms for timed in self.later.values()), strict=True)]

    def late_over_early(self) -> list[float]:
        """Time of the latest frames over that of the earliest, in each round."""
        first, *_, last = self.later.values()
        return [b / a for a, b in zip(first.ms, last.ms, strict=True)]


def film(size: tuple[int, int], device: torch.device) -> Film:
    """One object that covers about a tenth of the frame."""
    clip = World(scenario("easy", n_objects=1, size=0.4, length=24, image_size=size, dense_truth=False)).clip(0)
    return Film(clip.frames.to(device).float() / 255, clip.labels[0].to(device))


def recurrent_tracker(
    net: RecurrentVOS, film: Film, walked: Sequence[int], noted: Sequence[int], block: int
) -> Tracker:
    """A causal member of the family. `walked`: where it is timed; `noted`: where its bytes are written down."""
    segmenter = RecurrentSegmenter(net)
    session = segmenter.start(film.frame(0), film.labels)
    later, held, seen = {}, {}, set()
    for t in range(1, max(walked) + 1):
        session.step(film.frame(t))
        seen.add(session.memory_bytes())
        if t in walked:  # a session replaces its state and never writes into it, so a shallow copy stays where it is
            later[t] = Timed(partial(_continued, partial(copy, copy(session)), film, t, block), block)
        if t in noted:
            held[t] = session.memory_bytes()
    return Tracker(_parameters(net), _opening(segmenter, film), later, held, len(seen) == 1)


def offline_tracker(net: BidirectionalVOS, film: Film, windows: Sequence[int]) -> Tracker:
    """A bidirectional network on clips of so many windows, whose frames and masks it holds."""
    segmenter = BidirectionalSegmenter(net)
    new, later, held = segmenter.window - segmenter.overlap, {}, {}
    for count in windows:
        frames = torch.stack([film.frame(t) for t in range(segmenter.overlap + count * new)])
        whole = partial(segmenter.segment, frames, film.labels)
        later[len(frames)] = Timed(lambda whole=whole: whole, count * new)
        held[len(frames)] = frames.numel() // 3 * 4 * frames.element_size()  # three channels, and a mask
    return Tracker(_parameters(net), None, later, held, constant=False)


def memory_tracker(segmenter: SpaceTimeSegmenter, film: Film, lengths: Sequence[int], block: int) -> Tracker:
    """A space-time memory of any policy, as it is after so many frames."""
    cells = cells_of(segmenter, film)
    later, held = {}, {}
    for length in lengths:
        aged = partial(aged_session, segmenter, film, cells, length)
        later[length] = Timed(partial(_continued, aged, film, length, block), block)
        held[length] = aged().memory_bytes()
    constant = len(set(held.values())) == 1
    return Tracker(_parameters(segmenter.net), _opening(segmenter, film), later, held, constant)


def cells_of(segmenter: SpaceTimeSegmenter, film: Film) -> Cells:
    """What a session would write of every frame of the film."""
    net, found = segmenter.net, []
    masks = (film.labels == 1).float().expand(1, 1, -1, -1)
    for frame in film.frames[:, None]:  # [1, 3, H, W]
        features = net.encode_key(frame)
        found.append((features.key[0].flatten(1), net.encode_value(frame, features, masks)[0].flatten(2)))
    return found


def aged_session(segmenter: SpaceTimeSegmenter, film: Film, cells: Cells, length: int) -> MemorySession:
    """A session that holds what it would after `length` steps; all frames but the first are put into its memory."""
    session = segmenter.start(film.frame(0), film.labels)
    session.step(film.frame(1))  # writes the first frame
    every = segmenter.memory.mem_every
    for t in range(every, length, every):
        keys, values = cells[t // every % len(cells)]
        session.bank.write(keys + 0.1 * keys.std() * torch.randn_like(keys), values, t)  # no two cells are the same
    return session


def _opening(segmenter: VideoSegmenter, film: Film) -> Timed:
    def opened() -> Tensor:
        return segmenter.start(film.frame(0), film.labels).step(film.frame(1))

    return Timed(lambda: opened, 1)


def _continued(begin: Callable[[], Session], film: Film, start: int, count: int) -> Callable[[], Tensor]:
    """Steps of a session to be timed. One goes before them, so that this network is the one in the caches."""
    session = begin()
    session.step(film.frame(start + 1))

    def steps() -> Tensor:
        return [session.step(film.frame(start + 2 + t)) for t in range(count)][-1]

    return steps


def _parameters(net: nn.Module) -> int:
    return sum(x.numel() for x in net.parameters())
