"""The video segmenter at work on several frames at once: flow and warping on CPU threads while the network is busy.

M. Paul (2023), section 3.4.2: while the network labels one key frame, one core delivers five flows. Three stages,
each in the order of the frames: flow, network, carrying. Unusual: every stage runs the same functions on the same
inputs as `PropagatingSegmenter.run`, so the answers are equal bit for bit, whatever the timing.
"""

import weakref
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import Flow
from course_lib.methods.propagation.label_warp import Motion
from course_lib.methods.propagation.schedule import FrameKind
from course_lib.methods.propagation.video_segmenter import (
    Answer,
    FrameStream,
    Prepared,
    PropagatingSegmenter,
    SegmentedFrame,
)
from course_lib.methods.propagation.workers import Stage, stop_all

THREAD_NAME = "evs"  # the threads are called evs-flow-0, evs-network-0, evs-carry-0, …
_POLL = 0.2  # seconds; a wait without end cannot be interrupted on Windows


class PipelinedSegmenter:
    """Runs a `PropagatingSegmenter` with its stages overlapped; the same answers, in the same order.

    video         what to run
    flow_workers  threads for preparing frames and for flow; each has its own buffers
    lookahead     frames that may be under way at once, which bounds memory, and the delay of a live stream; by default
                  two periods. Answers never depend on later frames, but frame t is handed out only when frame
                  t + lookahead - 1 was asked of the source, or the source has ended.
    """

    def __init__(self, video: PropagatingSegmenter, flow_workers: int = 1, lookahead: int | None = None) -> None:
        if flow_workers < 1:
            raise InputError(f"flow_workers must be at least 1, got {flow_workers}")
        if lookahead is not None and lookahead < 1:
            raise InputError(f"lookahead must be at least 1 frame, got {lookahead}")
        self.video = video
        self.flow_workers = flow_workers
        self.lookahead = lookahead if lookahead is not None else max(4, 2 * video.point.key_every)

    def run(self, frames: Iterable[Tensor], cuts: Collection[int] = ()) -> "PipelinedFrames":
        """Answers as from `PropagatingSegmenter.run`: an iterator, to be read from one thread.

        An error in a thread or in the source is raised in its place, after the answers before it. The threads end with
        the last answer, an error, an interrupt, `close()`, the end of a `with` block, or when the iterator is dropped.
        What torch keeps for each thread, such as autocast, does not reach them.
        """
        return PipelinedFrames(self, frames, cuts)


class PipelinedFrames(Iterator[SegmentedFrame]):
    """The answers of one stream, and the threads that work on it."""

    def __init__(self, pipeline: PipelinedSegmenter, frames: Iterable[Tensor], cuts: Collection[int]) -> None:
        video = pipeline.video
        self._stream = FrameStream(video, cuts)
        self._source = iter(frames)
        self._lookahead = pipeline.lookahead
        self._under_way: deque[Future[SegmentedFrame]] = deque()
        self._source_error: BaseException | None = None
        self._ended = False
        self._stages = _Stages(video, pipeline.flow_workers, 3 * pipeline.lookahead)
        self._stop = weakref.finalize(self, stop_all, self._stages.all)  # also at the end of the interpreter

    def __iter__(self) -> "PipelinedFrames":
        return self

    def __next__(self) -> SegmentedFrame:
        try:
            self._feed()
            if self._under_way:
                return _result(self._under_way.popleft())
            if self._source_error is not None:
                error, self._source_error = self._source_error, None
                raise error
            raise StopIteration
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the threads and forget what is under way; harmless when called again."""
        self._ended = True
        self._under_way.clear()
        self._stop()

    def __enter__(self) -> "PipelinedFrames":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _feed(self) -> None:
        """Take frames from the source until `lookahead` are under way."""
        while not self._ended and len(self._under_way) < self._lookahead:
            try:
                self._under_way.append(self._stages.start(*self._stream.next(next(self._source))))
            except StopIteration:
                self._ended = True
            except Exception as error:  # of the source, or a frame that does not fit: raised in its turn
                self._source_error, self._ended = error, True


class _Stages:
    """The three stages of one stream and what links one frame to the next.

    A task waits only for tasks handed out before it, and each stage starts its tasks in order: see `workers`.
    """

    def __init__(self, video: PropagatingSegmenter, flow_workers: int, room: int) -> None:
        self._video = video
        self._flows: SimpleQueue[Flow] = SimpleQueue()
        for _ in range(flow_workers):
            self._flows.put(video.flow.fork())
        self._flow = Stage(f"{THREAD_NAME}-flow", flow_workers, room)
        self._network = Stage(f"{THREAD_NAME}-network", 1, room)
        self._carry = Stage(f"{THREAD_NAME}-carry", 1, room)
        self.all = (self._flow, self._network, self._carry)
        self._last: tuple[Future[Prepared], Future[Answer]] | None = None

    def start(self, frame: Tensor, index: int, kind: FrameKind) -> "Future[SegmentedFrame]":
        """Hand a frame to the stages; the future holds its answer."""
        video = self._video
        now = self._flow.submit(video.prepare, frame, index, kind)
        if kind == "key":
            answer = self._network.submit(_after, video.segment, now)
        else:
            assert self._last is not None  # a schedule starts with a key frame
            answer = self._onward(kind, now, *self._last)
        self._last = (now, answer)
        return self._carry.submit(_after, video.finish, now, answer)

    def _onward(
        self, kind: FrameKind, now: "Future[Prepared]", before: "Future[Prepared]", known: "Future[Answer]"
    ) -> "Future[Answer]":
        video = self._video
        if kind == "copy":
            return known
        motion = self._flow.submit(_flow_between, video, self._flows, before, now)
        carried = self._carry.submit(_after, video.carry, known, motion)
        if kind == "warp":
            return carried
        if kind == "blend":
            new = self._network.submit(_after, video.segment, now)
            return self._carry.submit(_after, video.blend, new, carried, motion)
        refined = self._network.submit(_after, video.refine, now, carried)
        return self._carry.submit(_after, video.repair, refined, carried, motion)


def _flow_between(
    video: PropagatingSegmenter, flows: "SimpleQueue[Flow]", before: "Future[Prepared]", now: "Future[Prepared]"
) -> Motion:
    first, second = before.result(), now.result()
    flow = flows.get()  # there are as many as threads
    try:
        return video.motion(first, second, flow)
    finally:
        flows.put(flow)


def _after(function: Any, *inputs: Future) -> Any:
    """`function` of the results of futures, waiting for them."""
    return function(*(future.result() for future in inputs))


def _result(future: "Future[SegmentedFrame]") -> SegmentedFrame:
    while True:
        try:
            return future.result(timeout=_POLL)
        except TimeoutError:
            if future.done():  # it was the task that raised TimeoutError
                return future.result()
