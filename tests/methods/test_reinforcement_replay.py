"""Replay memory against a slow list, on what may be drawn and how often."""

from collections import Counter, deque
from copy import deepcopy

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.replay import ReplayMemory
from course_lib.nn.weights import load_exactly


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(first: int, count: int) -> dict[str, torch.Tensor]:
    """Rows that tell their own age, twice."""
    number = torch.arange(first, first + count)
    return {"number": number, "picture": number[:, None, None].expand(-1, 2, 3).float()}


@given(capacity=st.integers(1, 9), sizes=st.lists(st.integers(1, 25), min_size=1, max_size=8))
@example(capacity=4, sizes=[6, 1])  # more than fits, then one that must overwrite the oldest
def test_it_holds_what_a_list_of_the_latest_would(capacity, sizes):
    memory, slow, count = ReplayMemory(capacity), deque(maxlen=capacity), 0
    for size in sizes:
        memory.add(numbered(count, size))
        slow.extend(range(count, count + size))
        count += size
    assert len(memory) == len(slow)
    drawn = memory.sample(400, rng())
    assert set(drawn["number"].tolist()) == set(slow)  # none older than the capacity, and none left out
    assert (drawn["picture"] == drawn["number"][:, None, None]).all()  # rows of different names stay together


def test_all_rows_are_drawn_equally_often():
    memory = ReplayMemory(10)
    memory.add(numbered(0, 13))
    seen = Counter(memory.sample(20_000, rng())["number"].tolist())
    assert sorted(seen) == list(range(3, 13))
    chi_square = sum((count - 2000) ** 2 / 2000 for count in seen.values())
    assert chi_square < 27.9  # 0.999 quantile, 9 degrees of freedom


def test_one_generator_one_sample():
    memory = ReplayMemory(50)
    memory.add(numbered(0, 50))
    first, again, other = (memory.sample(20, rng(seed))["number"] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_samples_are_copies_without_gradient():
    memory = ReplayMemory(4)
    memory.add({"value": torch.ones(4, requires_grad=True) * 2})
    drawn = memory.sample(4, rng())["value"]
    assert not drawn.requires_grad
    drawn.zero_()
    assert (memory.sample(4, rng())["value"] == 2).all()


def test_recipes_are_exact_and_ten_thousand_times_smaller_than_views():
    """1,000 transitions of 224x224 views are 1.2 GB; as image index and two matrices, below 100 kB."""
    views = 1000 * 2 * 3 * 224 * 224 * 4
    memory = ReplayMemory(1000)
    matrix = torch.randn(32, 3, 3, generator=rng())
    recipe = {
        "image": torch.arange(32),
        "matrix": matrix,
        "next_matrix": matrix @ matrix,
        "action": torch.zeros(32, dtype=torch.int64),
        "reward": torch.zeros(32),
        "done": torch.zeros(32, dtype=torch.bool),
    }
    memory.add(recipe)
    assert memory.memory_bytes() == 1000 * (8 + 36 + 36 + 8 + 4 + 1)
    assert views / memory.memory_bytes() > 10_000
    drawn = memory.sample(64, rng())
    assert torch.equal(drawn["matrix"], matrix[drawn["image"]])
    assert drawn["done"].dtype == torch.bool and drawn["image"].dtype == torch.int64


def test_a_restored_memory_goes_on_as_the_first():
    one, two = ReplayMemory(7), ReplayMemory(7, example=numbered(0, 1))
    one.add(numbered(0, 5))
    saved = deepcopy(one.state_dict())
    assert all(isinstance(value, torch.Tensor) for value in saved.values())  # what a safetensors file can hold
    one.add(numbered(5, 4))
    load_exactly(two, saved, "a checkpoint")
    assert len(two) == 5
    two.add(numbered(5, 4))
    for name, rows in one.sample(100, rng()).items():
        assert torch.equal(rows, two.sample(100, rng())[name])


def test_an_example_is_not_stored():
    memory = ReplayMemory(7, example=numbered(3, 2))
    assert len(memory) == 0 and memory.memory_bytes() == 7 * (8 + 6 * 4)
    with pytest.raises(InputError, match="empty"):
        memory.sample(1)


def test_it_moves_and_is_saved_with_the_network_that_learns_from_it():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), ReplayMemory(3, example=numbered(0, 1)))
    assert {name.split(".", 1)[1] for name in network.state_dict()} == {
        "weight", "bias", "rows.number", "rows.picture", "_extra_state",
    }  # fmt: skip
    assert not [name for name, _ in network.named_parameters() if "rows" in name]
    moved = network.to("meta")[1]
    assert {rows.device.type for rows in moved.buffers()} == {"meta"}


def filled() -> ReplayMemory:
    memory = ReplayMemory(4)
    memory.add(numbered(0, 2))
    return memory


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReplayMemory(0), "at least 1 transition, got 0"),
        (lambda: ReplayMemory(3).sample(1), "empty: add transitions"),
        (lambda: filled().sample(0), "at least 1"),
        (lambda: filled().add({}), r"stores .*got \[\]"),
        (lambda: ReplayMemory(3).add({"number": torch.tensor(3)}), "without rows"),
        (lambda: filled().add({"number": torch.zeros(2).long()}), r"stores \['number', 'picture'\], got \['number'\]"),
        (lambda: filled().add(numbered(0, 2) | {"number": torch.zeros(3).long()}), "number: 3, picture: 2"),
        (lambda: filled().add(numbered(0, 2) | {"number": torch.zeros(2)}), "int64.*got .*float32"),
        (lambda: filled().add(numbered(0, 2) | {"picture": torch.zeros(2, 3, 2)}), r"rows \[2, 3\].*got \[3, 2\]"),
        (
            lambda: load_exactly(ReplayMemory(5, numbered(0, 1)), filled().state_dict(), "a run"),
            r"is \[4\], expected \[5\]",
        ),
        (lambda: ReplayMemory(3, {}), "at least one named tensor"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_refused_batch_leaves_the_memory_as_it_was():
    memory = filled()
    with pytest.raises(InputError):
        memory.add(numbered(7, 2) | {"picture": torch.zeros(2, 1)})
    assert set(memory.sample(50, rng())["number"].tolist()) == {0, 1} and len(memory) == 2
