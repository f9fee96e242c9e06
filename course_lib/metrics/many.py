"""Score many videos on all cores.

One video is too little work per NumPy call to gain from threads, so each core gets whole videos in a process of its
own; pairs are taken from the iterable only as cores fall free, so a data set of any length fits into memory.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

from course_lib.errors import InputError
from course_lib.metrics.sequence import Protocol, SequenceScore, evaluate_labels

Pair = tuple[object, object]


def evaluate_sequences(
    pairs: Iterable[Pair | Callable[[], Pair]],
    *,
    tolerance: float = 0.008,
    protocol: Protocol = "all_frames",
    workers: int | None = 1,
) -> Iterator[SequenceScore]:
    """`evaluate_labels` of many videos, yielded in their order as they are done.

    pairs: (prediction, truth) label maps [T, H, W] uint8, or functions without arguments that return such a pair.
    A function (for example `functools.partial(load_pair, "bear")`) reads its files on the core that scores them and is
    the fast way; arrays are copied to the other process first, which costs about as much as scoring them.
    workers: number of processes; 1 works in this one, None takes all cores. With more than one, a script needs the
    usual `if __name__ == "__main__":`. Errors of `evaluate_labels` are raised when their video's turn comes.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise InputError(f"workers must be 1 or more, or None for all cores, got {workers}")
    return _serial(pairs, tolerance, protocol) if workers == 1 else _parallel(pairs, tolerance, protocol, workers)


def _score(pair: Pair | Callable[[], Pair], tolerance: float, protocol: Protocol) -> SequenceScore:
    prediction, truth = pair() if callable(pair) else pair
    return evaluate_labels(prediction, truth, tolerance=tolerance, protocol=protocol)


def _serial(pairs: Iterable, tolerance: float, protocol: Protocol) -> Iterator[SequenceScore]:
    for pair in pairs:
        yield _score(pair, tolerance, protocol)


def _parallel(pairs: Iterable, tolerance: float, protocol: Protocol, workers: int) -> Iterator[SequenceScore]:
    queue = iter(pairs)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))  # the same on every system, safe with torch
    try:
        running = deque(pool.submit(_score, pair, tolerance, protocol) for pair in islice(queue, 2 * workers))
        while running:
            yield running.popleft().result()
            for pair in islice(queue, 1):
                running.append(pool.submit(_score, pair, tolerance, protocol))
    finally:  # also where the caller stops early
        pool.shutdown(cancel_futures=True)
