"""Checkpoints come back exactly, or not at all."""

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib.errors import InputError, WriteError
from course_lib.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_readable,
    prefixed,
    read_checkpoint,
    restore_module,
    save_checkpoint,
    set_aside_after,
)
from course_lib.training.config import FitConfig
from course_lib.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer


def some(step=3):
    shared = torch.arange(6.0)
    tensors = {
        "model/weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(step)),
        "model/view": shared[2:5],
        "model/tied": shared[2:5],
        "model/transposed": torch.arange(6.0).view(2, 3).T,
        "model/half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "optimizer/0/step": torch.tensor(7.0),
        "window/loss": torch.tensor([0.1, 8.0]),
        "empty/none": torch.zeros(0, 3),
        "ids/long": torch.tensor([2**40]),
    }
    return Checkpoint(step, tensors, {"seconds": 1.25, "best": None, "settings": {"lr": 0.1, "name": "ü"}})


def test_tensors_and_facts_come_back_exactly(tmp_path):
    saved = some()
    read = read_checkpoint(save_checkpoint(tmp_path, saved, keep=1))
    assert read.step == 3 and read.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype and torch.equal(read.tensors[name], tensor), name
    assert {name: read.facts[name] for name in saved.facts} == saved.facts
    assert read.part("optimizer") == {"0/step": torch.tensor(7.0)} and read.part("mod") == {}


@cache
def sound_bytes(folder):
    return save_checkpoint(folder, some(), keep=1).read_bytes()


@given(share=st.floats(0, 0.999))
def test_every_truncation_is_noticed(share, tmp_path_factory):
    data = sound_bytes(tmp_path_factory.getbasetemp() / "sound")
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"checkpoint .*cut.safetensors cannot be read"):
        read_checkpoint(path)


@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_every_flipped_bit_of_the_tensors_is_noticed(place, bit, tmp_path_factory):
    data = bytearray(sound_bytes(tmp_path_factory.getbasetemp() / "sound"))
    header = 8 + int.from_bytes(data[:8], "little")
    data[header + int(place * (len(data) - header))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="do not match their checksum"):
        read_checkpoint(path)


def test_files_that_are_something_else(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "step-00000001.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(path)
    save_checkpoint(tmp_path, Checkpoint(1, {}, {"format": 99}), keep=1)
    with pytest.raises(InputError, match="format 99, this version reads 1"):
        read_checkpoint(path)


def test_only_the_newest_are_kept_and_nothing_else_is_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for step in (1, 2, 10, 9_999_999, 10_000_000):
        save_checkpoint(tmp_path, some(step), keep=3)
    assert [read_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [10, 9_999_999, 10_000_000]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".safetensors") == ["notes.txt"]


def test_damaged_ones_are_passed_over_set_aside_and_not_counted(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, some(step), keep=3)
    for path in list_checkpoints(tmp_path)[1:]:
        path.write_bytes(path.read_bytes()[:-1])
    found, messages = newest_readable(tmp_path)
    assert found.step == 1 and len(messages) == 2 and "step-00000003" in messages[0]
    set_aside_after(tmp_path, 1)
    save_checkpoint(tmp_path, some(2), keep=1)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-00000002.damaged", "step-00000002.safetensors", "step-00000003.damaged",
    ]  # fmt: skip
    assert newest_readable(tmp_path / "nowhere") == (None, [])


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    resource = pytest.importorskip("resource", reason="file size limits exist on POSIX systems only")
    first = save_checkpoint(tmp_path, some(1), keep=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = Checkpoint(2, {"model/weight": torch.zeros(100_000)}, {})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(WriteError, match=r"cannot write .*step-00000002"):
            save_checkpoint(tmp_path, large, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [first.name] and read_checkpoint(first).step == 1


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_an_optimizer_goes_on_where_it_was(kind, tmp_path):
    config = FitConfig(optimizer=kind, lr=0.1, weight_decay=0.01)

    def trained(optimizer, model, steps):
        for step in range(steps):
            optimizer.zero_grad()
            model(torch.full((1, 3), 1.0 + step)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, config)
    trained(optimizer, model, 3)
    tensors = prefixed("model", model.state_dict()) | prefixed("optimizer", optimizer_tensors(optimizer))
    stored = read_checkpoint(save_checkpoint(tmp_path, Checkpoint(3, tensors, {}), keep=1))
    other = nn.Linear(3, 2)
    again = make_optimizer(other, config)
    restore_module(other, stored, "model")
    restore_optimizer(again, stored.part("optimizer"))
    trained(optimizer, model, 4)
    trained(again, other, 4)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    smaller = make_optimizer(nn.Linear(3, 2, bias=False), config)
    with pytest.raises(InputError, match="state of weight 1, this run trains only 1"):
        restore_optimizer(smaller, stored.part("optimizer"))
