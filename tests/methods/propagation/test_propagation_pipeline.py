"""The pipeline under hostile timing: equal answers, errors in their place, and no thread left behind."""

import _thread
import gc
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import CancelledError

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import OpenCvFlow
from course_lib.methods.propagation.pipeline import THREAD_NAME, PipelinedSegmenter
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.video_segmenter import CarryConfig, PropagatingSegmenter
from course_lib.methods.propagation.workers import Stage, stop_all

PATIENCE = 60.0  # seconds after which a test counts as deadlocked, on a machine that does much else


class Flaky(FrameSegmenter):
    """Random weights; waits a random moment at each call, and may fail."""

    def __init__(self, delay=0.0, fail_at=None):
        super().__init__(4, 8, 4, 8, 5)
        torch.manual_seed(0)
        self.deep = nn.Conv2d(3, 5, 8, stride=8)
        self.lateral = nn.Conv2d(3, 4, 4, stride=4)
        self.out = nn.Conv2d(5, 4, 1)
        self.delay, self.fail_at, self.calls = delay, fail_at, 0
        self.eval()

    def encode(self, frames):
        time.sleep(random.random() * self.delay)
        if self.calls == self.fail_at:
            raise_inside_the_network()
        self.calls += 1
        return torch.tanh(8 * self.deep(frames - 0.5))

    def decode(self, features, frames=None):
        time.sleep(random.random() * self.delay)
        up = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
        return 4 * (self.out(up) + self.lateral(frames - 0.5))


class SlowFlow(OpenCvFlow):
    """DIS that waits a random moment, and may fail."""

    def __init__(self, delay=0.0, fail_at=None, count=None):
        super().__init__()
        self.delay, self.fail_at = delay, fail_at
        self.count = count if count is not None else []

    def __call__(self, source, target):
        time.sleep(random.random() * self.delay)
        self.count.append(None)
        if len(self.count) == self.fail_at:
            raise_inside_flow()
        return super().__call__(source, target)

    def fork(self):
        return SlowFlow(self.delay, self.fail_at, self.count)


def raise_inside_flow():
    raise ArithmeticError("no flow today")


def raise_inside_the_network():
    raise MemoryError("the network is too large")


def movie(length=9, size=(32, 48), seed=0):
    grain = torch.rand(1, 3, 8, 24, generator=torch.Generator().manual_seed(seed))
    large = F.interpolate(grain, (size[0], size[1] + 2 * length), mode="bicubic", align_corners=False).clamp(0, 1)
    return [(large[0, :, :, 2 * t : 2 * t + size[1]] * 255).round().to(torch.uint8) for t in range(length)]


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def in_time(function, *arguments):
    """Result of a function that must not hang; its exceptions are passed on."""
    done = []

    def work():
        try:
            done.append((function(*arguments), None))
        except BaseException as error:
            done.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"deadlock; threads: {alive()}"
    result, error = done[0]
    if error is not None:
        raise error
    return result


def same(first, second):
    return (
        first.index == second.index
        and first.kind == second.kind
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.probs, second.probs)
        and (first.attention is None) == (second.attention is None)
        and (first.attention is None or torch.equal(first.attention, second.attention))
    )


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert alive() == []


POINTS = [
    OperatingPoint(1),
    OperatingPoint(1, refine="last"),
    OperatingPoint(2, refine="last"),
    OperatingPoint(3),
    OperatingPoint(3, warp=False),
    OperatingPoint(4, refine="all"),
    OperatingPoint(4, input_scale=0.75),
    OperatingPoint(20, refine="last"),
]


@pytest.mark.parametrize("point", POINTS, ids=str)
@pytest.mark.parametrize(("workers", "lookahead"), [(1, None), (3, 5), (2, 1)])
def test_answers_are_equal_under_random_delays(point, workers, lookahead):
    frames = movie()
    wanted = list(PropagatingSegmenter(Flaky(), point=point).run(frames, cuts=(5,)))
    for _ in range(2):
        slow = PropagatingSegmenter(Flaky(delay=0.01), SlowFlow(delay=0.01), point)
        found = in_time(list, PipelinedSegmenter(slow, workers, lookahead).run(frames, cuts=(5,)))
        assert len(found) == len(wanted) and all(map(same, found, wanted))


@pytest.mark.parametrize("config", [CarryConfig(form="literal"), CarryConfig(repeat="compose", engine="torch")])
def test_every_way_of_carrying_is_equal(config):
    video = PropagatingSegmenter(Flaky(), SlowFlow(delay=0.005), OperatingPoint(3, refine="all"), config)
    found = in_time(list, PipelinedSegmenter(video, 2).run(movie()))
    assert all(map(same, found, video.run(movie())))


def test_the_network_is_not_waited_for():
    """Key frame 0 is held until flow of the frames behind it is done: it ends only if both really run at once."""
    flow = SlowFlow()
    done = threading.Event()

    class Waiting(Flaky):
        def encode(self, frames):
            waited = 0.0
            while len(flow.count) < 3 and waited < PATIENCE:
                time.sleep(0.01)
                waited += 0.01
            done.set() if len(flow.count) >= 3 else None
            return super().encode(frames)

    answers = in_time(list, PipelinedSegmenter(PropagatingSegmenter(Waiting(), flow, OperatingPoint(4))).run(movie(4)))
    assert done.is_set() and len(answers) == 4


@pytest.mark.parametrize("lookahead", [1, 3, 6])
def test_no_more_frames_are_taken_than_allowed(lookahead):
    taken = []

    def source():
        for frame in movie(12):
            taken.append(None)
            yield frame

    def run():
        for answer in PipelinedSegmenter(PropagatingSegmenter(Flaky()), lookahead=lookahead).run(source()):
            assert len(taken) <= answer.index + lookahead

    in_time(run)
    assert len(taken) == 12


def test_future_frames_change_nothing():
    frames = movie()
    changed = frames[:5] + [255 - frame for frame in frames[5:]]
    pipeline = PipelinedSegmenter(PropagatingSegmenter(Flaky(), point=OperatingPoint(4, refine="all")), 2)
    first, second = (in_time(list, pipeline.run(clip)) for clip in (frames, changed))
    assert all(map(same, first[:5], second[:5])) and not same(first[5], second[5])


def collect(pipeline, frames, **keywords):
    """Answers until the error, and the error."""
    answers = []

    def run():
        for answer in pipeline.run(frames, **keywords):
            answers.append(answer)

    with pytest.raises(BaseException) as caught:
        in_time(run)
    return answers, caught.value


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_flow_reaches_the_caller_after_the_answers_before_it(workers):
    wanted = list(PropagatingSegmenter(Flaky(), point=OperatingPoint(3)).run(movie()))
    video = PropagatingSegmenter(Flaky(delay=0.005), SlowFlow(fail_at=3), OperatingPoint(3))
    answers, error = collect(PipelinedSegmenter(video, workers), movie())
    assert isinstance(error, ArithmeticError)
    assert "raise_inside_flow" in "".join(traceback.format_exception(error))  # the line where it happened
    if workers == 1:  # the third flow is that of frame 4: frame 3 is a key
        assert len(answers) == 4
    assert all(map(same, answers, wanted))


def test_an_error_in_the_network_reaches_the_caller():
    video = PropagatingSegmenter(Flaky(fail_at=1), SlowFlow(delay=0.005), OperatingPoint(3))
    answers, error = collect(PipelinedSegmenter(video), movie())
    assert isinstance(error, MemoryError) and len(answers) == 3
    assert "raise_inside_the_network" in "".join(traceback.format_exception(error))


def test_an_error_of_the_source_and_a_wrong_frame_wait_their_turn():
    def source():
        yield from movie(5)
        raise OSError("the camera was unplugged")

    pipeline = PipelinedSegmenter(PropagatingSegmenter(Flaky()), lookahead=20)
    answers, error = collect(pipeline, source())
    assert isinstance(error, OSError) and len(answers) == 5
    answers, error = collect(pipeline, [*movie(3), *movie(2, size=(24, 48))])
    assert isinstance(error, InputError) and "frame 3 is [24, 48]" in str(error) and len(answers) == 3
    answers, error = collect(pipeline, [*movie(2), movie(1)[0].float()])
    assert isinstance(error, InputError) and "frame 2 holds values" in str(error) and len(answers) == 2


def test_breaking_off_ends_the_threads():
    pipeline = PipelinedSegmenter(PropagatingSegmenter(Flaky(delay=0.02), SlowFlow(delay=0.02)), 2)

    def broken():
        for answer in pipeline.run(movie()):
            if answer.index == 2:
                break

    in_time(broken)
    assert alive() == []


def test_dropping_the_iterator_ends_the_threads_also_in_a_cycle():
    pipeline = PipelinedSegmenter(PropagatingSegmenter(Flaky(delay=0.01)))

    def dropped():
        stream = pipeline.run(movie())
        next(stream)
        assert len(alive()) == 3
        del stream
        assert alive() == []
        holder = [pipeline.run(movie())]
        next(holder[0])
        holder.append(holder)
        del holder
        gc.collect()

    in_time(dropped)
    assert alive() == []


def test_closing_by_hand():
    pipeline = PipelinedSegmenter(PropagatingSegmenter(Flaky()))

    def closed():
        with pipeline.run(movie()) as stream:
            next(stream)
        assert alive() == []
        stream.close()
        assert list(stream) == []

    in_time(closed)


def test_an_interrupt_while_waiting():
    """Ctrl-C arrives while the caller waits for a slow network."""
    video = PropagatingSegmenter(Flaky(delay=0.0))
    entered = threading.Event()

    class Slow(Flaky):
        def encode(self, frames):
            entered.set()
            time.sleep(1.0)
            return super().encode(frames)

    video = PropagatingSegmenter(Slow())

    def press():
        entered.wait(PATIENCE)
        _thread.interrupt_main()

    presser = threading.Thread(target=press)
    stream = PipelinedSegmenter(video).run(movie())
    # A shell starts background jobs with Ctrl-C ignored, and then Python would not notice it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            next(stream)
            time.sleep(PATIENCE)  # where the interrupt would be noticed if the wait had swallowed it
    finally:
        presser.join()
        signal.signal(signal.SIGINT, before)
        stream.close()
    assert alive() == []


def test_an_interrupt_in_the_source():
    def source():
        yield from movie(3)
        raise KeyboardInterrupt

    _, error = collect(PipelinedSegmenter(PropagatingSegmenter(Flaky()), lookahead=2), source())
    assert isinstance(error, KeyboardInterrupt)


def test_an_abandoned_stream_does_not_hold_up_the_interpreter():
    code = """
import torch
from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.pipeline import PipelinedSegmenter
from course_lib.methods.propagation.video_segmenter import PropagatingSegmenter
torch.set_num_threads(1)
stream = PipelinedSegmenter(PropagatingSegmenter(LiteSegmenter(3, weights=None).eval())).run(torch.rand(9, 3, 32, 48))
print(next(stream).kind)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=5 * PATIENCE)
    assert run.returncode == 0 and run.stdout == "key\n" and not run.stderr


def test_an_empty_stream():
    assert in_time(list, PipelinedSegmenter(PropagatingSegmenter(Flaky())).run([])) == []


def test_a_stage_keeps_order_and_cancels_what_waits():
    gate, order = threading.Event(), []
    stage = Stage(f"{THREAD_NAME}-test", threads=1, room=4)
    first = stage.submit(gate.wait, PATIENCE)
    rest = [stage.submit(order.append, i) for i in range(3)]
    gate.set()
    assert first.result(PATIENCE) and [future.result(PATIENCE) for future in rest] == [None] * 3 and order == [0, 1, 2]
    gate.clear()
    running, waiting = stage.submit(gate.wait, PATIENCE), stage.submit(order.append, 9)
    while not running.running():
        time.sleep(0.001)
    threading.Timer(0.05, gate.set).start()
    in_time(stop_all, [stage])
    assert running.result() and waiting.cancelled() and order == [0, 1, 2]
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)


def test_bad_settings_are_named():
    video = PropagatingSegmenter(Flaky())
    with pytest.raises(InputError, match="flow_workers"):
        PipelinedSegmenter(video, flow_workers=0)
    with pytest.raises(InputError, match="lookahead"):
        PipelinedSegmenter(video, lookahead=0)
    with pytest.raises(InputError, match="indices of frames"):
        PipelinedSegmenter(video).run(movie(), cuts=(-3,))
