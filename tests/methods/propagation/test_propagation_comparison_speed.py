"""Times are taken as they should be: with a clock that is made up, and by what must be true of any machine."""

import numpy as np
import pytest
import torch

import course_lib.methods.propagation.comparison_speed as speed
from course_lib.errors import InputError
from course_lib.methods.propagation.comparison_speed import SpeedConfig, SpeedUp, interleaved_ms, stream_ms
from course_lib.methods.propagation.schedule import OperatingPoint

CONFIG = SpeedConfig.preset("smoke")


def test_calls_take_turns_on_one_thread_and_the_first_round_does_not_count(monkeypatch):
    now, order = [0.0], []

    def spend(name, milliseconds):
        def call():
            order.append(name)
            assert torch.get_num_threads() == 1 and not torch.is_grad_enabled()
            now[0] += milliseconds / 1000 * (10 if len(order) <= 2 else 1)

        return call

    monkeypatch.setattr(speed, "process_time", lambda: now[0])
    threads = torch.get_num_threads()
    times = interleaved_ms([spend("a", 2), spend("b", 3)], 2)
    np.testing.assert_allclose(times, [[2, 3], [2, 3]])
    assert order == ["a", "b"] * 3 and torch.get_num_threads() == threads


def test_flow_is_left_out_of_the_networks_lane():
    point = (OperatingPoint(5),)
    lane, whole = (stream_ms(CONFIG, 1, point, one_core=one_core) for one_core in (False, True))
    assert lane.shape == (CONFIG.rounds, 1)
    assert 0 < np.median(lane) < 0.9 * np.median(whole)


def test_a_speed_up_is_a_ratio_beside_what_is_asked():
    found, asked = SpeedUp(10)(CONFIG, 1)
    assert found.shape == asked.shape == (CONFIG.rounds,) and (asked == 7).all()
    assert (found > 1.2).all()
    assert (SpeedUp(10, one_core=True)(CONFIG, 1)[0] < found).all()


def test_the_refiner_is_a_part_of_the_network():
    share, nought = speed.refiner_and_network(CONFIG, 1)
    assert (nought == 0).all() and 0.2 < np.median(share) < 0.9


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="rounds >= 1"):
        SpeedConfig(rounds=0)
    with pytest.raises(InputError, match="unknown preset"):
        SpeedConfig.preset("huge")
