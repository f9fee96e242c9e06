"""Who works on what: processes that share a folder take turns by files that only one of them can create.

A turn that its process left behind, killed or not, is free again, because the file names the process. Unusual: this
needs no server and no lock of the operating system, so it is the same on all of them; on another machine's turn it
waits, since it cannot see that process.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from course_lib.data.atomic import write_failed

_FILE = "turn.json"
_PAUSE = 1.0  # seconds between looks


@contextmanager
def take_turn(folder: Path, wait: bool) -> Iterator[bool]:
    """Yield whether the work in `folder` is this process's until the block ends.

    wait  until whoever has it is done; else yield False at once

    Raises `WriteError` if the folder cannot be written.
    """
    path = folder / _FILE
    while not (mine := _created(path)) and wait:
        time.sleep(_PAUSE)
    try:
        yield mine
    finally:
        if mine:
            path.unlink(missing_ok=True)


def is_taken(folder: Path) -> bool:
    """Whether a process is at work in this folder."""
    return _alive(folder / _FILE)


def _created(path: Path) -> bool:
    """Create the file, or take it over from a process that is gone."""
    me = {"pid": os.getpid(), "started": psutil.Process().create_time(), "machine": platform.node()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failed(path, error) from error
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(me, file)
        return True
    except FileExistsError:
        if _alive(path):
            return False
    except OSError as error:
        raise write_failed(path, error) from error
    # Two processes may find the same dead turn: one of them renames it away, the other may then hold a new one.
    left = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.rename(left)
        if _alive(left):
            left.rename(path)
            return False
        left.unlink()
        return _created(path)
    return False


def _alive(path: Path) -> bool:
    """Whether the process that a turn names runs; a file that is just being written counts as its sign of life."""
    try:
        turn = json.loads(path.read_text(encoding="utf-8"))
        pid, started, machine = turn["pid"], turn["started"], turn["machine"]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, OSError):
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < 60
        return False
    if machine != platform.node():
        return True
    with suppress(psutil.Error):
        return abs(psutil.Process(pid).create_time() - started) < 1
    return False
