"""Times and bytes are counted as they should be: on computations whose bytes are known, and in turns."""

from functools import partial

import numpy as np
import pytest
import torch

import course_lib.methods.local_memory.comparison_cost as cost
from course_lib.errors import InputError
from course_lib.methods.local_memory import comparisons
from course_lib.methods.local_memory.comparison_cost import CostConfig
from course_lib.methods.local_memory.global_read import global_read
from course_lib.methods.local_memory.local_read import local_read, unfold_read
from course_lib.methods.local_memory.peak_memory import peak_bytes

CONFIG = CostConfig.preset("smoke")


def test_bytes_of_what_is_alive_at_once():
    x = torch.ones(1000)
    assert peak_bytes(lambda: x * 2, x) == 4000
    assert peak_bytes(lambda: (x * 2) * 3, x) == 8000  # the first product lives until the second is there
    assert peak_bytes(lambda: [x * 2 for _ in range(5)], x) == 20_000
    assert peak_bytes(lambda: x.view(10, 100).t()[:3], x) == 0  # views cost nothing
    assert peak_bytes(lambda: x.mul_(1), x) == 0
    assert peak_bytes(lambda: (x * 2).sum(), x) == 4004

    def one_after_the_other():
        for _ in range(5):
            y = x * 2
            del y

    assert peak_bytes(one_after_the_other, x) == 4000


def test_bytes_of_the_three_ways_to_read():
    query, keys, values = memory = cost._memory(CostConfig(cells=(16, 32)), 0)
    cells, frames, window = 16 * 32, 3, 5
    everywhere = peak_bytes(partial(global_read, *memory), *memory)
    assert 2 <= everywhere / (4 * frames * cells**2) < 2.5  # scores, and weights of the same size
    written = peak_bytes(partial(unfold_read, query, keys, values, window), *memory)
    assert written > 4 * frames * (16 + 64) * window**2 * cells * 0.8
    chunked = peak_bytes(partial(local_read, query, keys, values, window, chunk_bytes=2**16), *memory)
    assert chunked < everywhere and chunked < written / 3


def test_a_memory_adds_time():
    added, nought = cost.added_time(CONFIG, 0)
    assert added.shape == nought.shape == (CONFIG.rounds,)
    assert 0 < np.median(added) < 2 and (nought == 0).all()


def test_costs_come_in_pairs():
    for experiment in (cost.window_and_global_ms, cost.wide_window_and_global_ms, cost.written_out_and_global_ms):
        first, second = experiment(CONFIG, 1)
        assert first.shape == second.shape == (CONFIG.rounds,) and (first > 0).all() and (second > 0).all()
    share, _ = cost.window_share_of_global_bytes(CONFIG, 1)
    written, everything = cost.written_out_and_global_mib(CONFIG, 1)
    assert share < 1 and written > everything
    assert share == cost.window_share_of_global_bytes(CONFIG, 2)[0]  # bytes do not depend on what is in them


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="rounds >= 1"):
        CostConfig(rounds=0)
    with pytest.raises(InputError, match="unknown preset"):
        CostConfig.preset("huge")


def test_a_comparison_trains_what_its_table_lacks(tmp_path):
    """Two steps each; the second call finds both rows and gives the same."""
    first, second = comparisons.one_frame_and_none("smoke", 0, folder=tmp_path)
    assert first.shape == second.shape == (1,) and np.isfinite(first).all()
    runs = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/0/scores.npz"))
    assert runs == ["frame/0/scores.npz", "size-1/0/scores.npz"]
    again = comparisons.one_frame_and_none("smoke", 0, folder=tmp_path)
    np.testing.assert_array_equal(np.stack(again), np.stack((first, second)))
    longer, own = comparisons.read_longer("smoke", 0, folder=tmp_path)
    assert longer.shape == own.shape == (1,)
    ranks, nought = comparisons.class_ranks("smoke", 0, folder=tmp_path)
    assert ranks.shape == nought.shape == (1,) and -1 <= ranks[0] <= 1
