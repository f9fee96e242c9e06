"""Ctrl-C, and a cluster's request to stop, as a wish: the step in hand is finished and saved, then the run ends.

Unusual: the second Ctrl-C acts at once, for a step that hangs; what was saved before is intact then, too.
"""

import signal
import sys
import threading
from types import FrameType, TracebackType


class StopRequest:
    """Context in which the first SIGINT or SIGTERM sets `signal`. Outside the main thread it does nothing."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after this step; interrupt again to stop at once", file=sys.stderr, flush=True)

    def leave(self) -> None:
        """End the program the way the signal asked for."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
