"""Threads that do one stage of a pipeline in order, and that always end: after the last frame, an error, or a Ctrl-C.

A stage takes tasks from a bounded queue and answers with futures. Unusual: tasks may wait for the futures of tasks that
were handed out before them, in any stage; the oldest unfinished task then always finds its inputs finished, so there is
no deadlock, and after `stop_all` the rest is cancelled, so there is none either.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import Empty, Queue
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Task = tuple[Future, Callable[..., Any], tuple[Any, ...]]


class Stage:
    """`threads` workers that start tasks in the order in which they came.

    room  tasks that may wait; `submit` blocks beyond it
    The threads are daemons: an interpreter that ends does not wait for one that hangs.
    """

    def __init__(self, name: str, threads: int, room: int) -> None:
        self._inbox: Queue[_Task | None] = Queue(maxsize=room + threads)  # the end of each thread always finds room
        self._stopping = threading.Event()
        self.threads = tuple(
            threading.Thread(target=_work, args=(self._inbox, self._stopping), name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        )
        for thread in self.threads:
            thread.start()

    def submit(self, task: Callable[..., _Result], *arguments: Any) -> "Future[_Result]":
        """Queue a task. Its result, or its exception with the traceback of its thread, is in the future."""
        future: Future[_Result] = Future()
        self._inbox.put((future, task, arguments))
        return future

    def _refuse(self) -> None:
        self._stopping.set()

    def _drain(self) -> None:
        while True:
            try:
                task = self._inbox.get_nowait()
            except Empty:
                break
            if task is not None:
                task[0].cancel()
        for _ in self.threads:
            self._inbox.put(None)

    def _join(self) -> None:
        for thread in self.threads:
            if thread is not threading.current_thread():  # the garbage collector may run in any thread
                thread.join()


def stop_all(stages: Iterable[Stage]) -> None:
    """End the threads of stages that work together: waiting tasks are cancelled, running ones finish.

    Returns when the threads are gone. May be called once only per stage, from any thread.
    """
    stages = tuple(stages)
    for stage in stages:
        stage._refuse()
    for stage in stages:
        stage._drain()
    for stage in stages:
        stage._join()


def _work(inbox: "Queue[_Task | None]", stopping: threading.Event) -> None:
    """A thread's life. Holds no reference to its stage, nor to a task's data while it waits."""
    while True:
        task = inbox.get()
        if task is None:
            return
        future, function, arguments = task
        if stopping.is_set():
            future.cancel()
        elif future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # also SystemExit: it belongs to the caller, not to this thread
                future.set_exception(error)
        del task, future, function, arguments
