"""Two processes on the same global batch are one process; so are data workers, and pieces of a batch."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from course_lib.errors import InputError
from course_lib.training import FitConfig
from course_lib.training.run_directory import read_metrics
from course_lib.training.samples import RankBatches, collate, epoch_order, sample_rng


def close(a, b, tolerance):
    return all(torch.allclose(a[name], b[name], rtol=0, atol=tolerance) for name in a)


def test_two_processes_equal_one(tiny, start_tiny, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start_tiny(tmp_path / "two", 24, 0, launcher)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    one = tiny.train(tmp_path / "one")

    final = [load_file(tmp_path / run / "checkpoints" / "step-00000024.safetensors") for run in ("one", "two")]
    weights = [{k: v for k, v in state.items() if k.startswith(("model", "average"))} for state in final]
    start = tiny.network().state_dict()
    assert close(*weights, tolerance=1e-5)
    assert (weights[0]["model/head.weight"] - start["head.weight"]).abs().max() > 1e-2, "it has to have learnt"
    two = read_metrics(tmp_path / "two" / "metrics.jsonl")
    assert [(row["phase"], row["step"]) for row in two] == [(row["phase"], row["step"]) for row in one.rows]
    for a, b in zip(one.rows, two):
        for name in set(a) - {"seconds", "phase", "step"}:
            assert a[name] == pytest.approx(b[name], abs=1e-5), (a, b)


def test_the_loss_of_a_batch_does_not_depend_on_its_pieces(tiny):
    whole = tiny.train(None)
    pieces = tiny.train(None, replace(tiny.CONFIG, accumulate=4))
    assert close(whole.model.state_dict(), pieces.model.state_dict(), 1e-5)


def test_workers_give_the_samples_of_the_main_process(tiny):
    config = replace(tiny.CONFIG, steps=4)
    alone, helped = tiny.train(None, config), tiny.train(None, replace(config, workers=2))
    assert close(alone.model.state_dict(), helped.model.state_dict(), 0)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 6), st.integers(0, 6))
def test_processes_share_out_each_batch_without_overlap(local, world, start, more):
    config = FitConfig(batch_size=local * world, steps=start + more or 1)
    shares = [list(RankBatches(config, start, rank, world)) for rank in range(world)]
    for step, parts in enumerate(zip(*shares), start):
        begin = step * config.batch_size
        assert [number for part in parts for number in part] == list(range(begin, begin + config.batch_size))


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match=r"6 cannot be dealt out evenly to 2 processes in 2 pieces each; .* of 4"):
        RankBatches(FitConfig(batch_size=6, accumulate=2), 0, 0, 2)


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_visits_each_item_once(n, seed, epoch):
    visited = [epoch_order(index, n, seed) for index in range(epoch * n, (epoch + 1) * n)]
    assert sorted(visited) == list(range(n))


def test_epochs_and_seeds_have_their_own_orders():
    orders = {tuple(epoch_order(e * 50 + i, 50, seed) for i in range(50)) for e in range(3) for seed in range(3)}
    assert len(orders) == 9
    with pytest.raises(InputError, match="empty"):
        epoch_order(0, 0)


def test_generators_of_samples_differ_and_repeat():
    draws = {(seed, index): sample_rng(seed, index).random() for seed in range(5) for index in range(200)}
    assert len(set(draws.values())) == 1000
    assert sample_rng(3, 7).random() == draws[3, 7]


def test_samples_of_unequal_shape_are_named():
    with pytest.raises(InputError, match=r"'x' must be a tensor of the same shape .*\[\[2\], \[3\]\]"):
        collate([{"x": torch.zeros(2)}, {"x": torch.zeros(3)}])
    with pytest.raises(InputError, match=r"'x' .*'NoneType'"):
        collate([{"x": torch.zeros(2)}, {}])
