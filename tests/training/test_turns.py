"""Processes that share a folder: one at a time, turns of the dead are free, and who waits is let in."""

import json
import os
import platform
import subprocess
import sys
import threading
import time

import psutil
import pytest

import course_lib.training.turns as turns
from course_lib.errors import WriteError
from course_lib.training.turns import is_taken, take_turn


def write(folder, **changes):
    me = {"pid": os.getpid(), "started": psutil.Process().create_time(), "machine": platform.node()}
    (folder / "turn.json").write_text(json.dumps({**me, **changes}))


def test_only_one_has_the_turn_and_the_next_gets_it(tmp_path):
    folder = tmp_path / "run"
    assert not is_taken(folder)
    with take_turn(folder, wait=False) as first:
        assert first and is_taken(folder)
        with take_turn(folder, wait=False) as second:
            assert not second
        assert is_taken(folder)  # the second did not end the first's turn
    assert not is_taken(folder)
    with pytest.raises(RuntimeError), take_turn(folder, wait=False):
        raise RuntimeError
    assert not is_taken(folder)


def test_the_turn_of_a_process_that_is_gone_is_free(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    write(tmp_path, pid=gone.pid)
    assert not is_taken(tmp_path)
    with take_turn(tmp_path, wait=False) as mine:
        assert mine
    write(tmp_path, started=psutil.Process().create_time() - 100)  # the number was given to another process
    assert not is_taken(tmp_path)
    write(tmp_path, machine="elsewhere")  # cannot be seen from here
    assert is_taken(tmp_path)


def test_a_turn_that_is_being_written_counts_for_a_while(tmp_path):
    path = tmp_path / "turn.json"
    path.write_text("")
    assert is_taken(tmp_path)
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert not is_taken(tmp_path)


def test_who_waits_is_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "_PAUSE", 0.01)
    order = []

    def other():
        with take_turn(tmp_path, wait=True) as mine:
            order.append(mine)

    with take_turn(tmp_path, wait=True):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", True]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError), take_turn(tmp_path / "file", wait=False):
        pass
