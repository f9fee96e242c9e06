"""Memory banks against a slow reference that keeps cells in a list, and against hand-computed examples."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.errors import CourseError, InputError
from course_lib.methods.space_time_memory import MemoryConfig, make_bank, policies
from course_lib.methods.space_time_memory.banks import MemoryBank
from course_lib.methods.space_time_memory.cells import Cells, MemoryCapError

KEY, VALUE = 3, 4


@dataclass
class Cell:
    """One stored cell of the slow reference."""

    name: tuple[int, int]  # frame, position
    key: np.ndarray
    value: np.ndarray  # [K, Cv]
    uses: Fraction | float = Fraction(0)

    @property
    def born(self) -> int:
        return self.name[0]


@dataclass
class SlowBank:
    """The adaptive memory as a list, in the order of writing."""

    limit: float
    top_k: int
    mass: bool = False
    pin: bool = False
    cells: list[Cell] = field(default_factory=list)

    def read(self, query: np.ndarray, births: list[int]) -> np.ndarray:
        """Readout [K, Cv] of one query [Ck]; `births` of each object."""
        out = []
        for k, birth in enumerate(births):
            valid = [c for c in self.cells if c.born >= birth]
            best = sorted(valid, key=lambda c: ((c.key - query) ** 2).sum())[: self.top_k]
            scores = np.array([-((c.key - query) ** 2).sum() / np.sqrt(KEY) for c in best])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            out.append(sum(w * c.value[k] for w, c in zip(weights, best, strict=True)))
            if birth == births[0] and k == 0:
                for w, c in zip(weights, best, strict=True):
                    c.uses += float(w) if self.mass else 1
        return np.array(out)

    def write(self, keys: np.ndarray, values: np.ndarray, t: int) -> None:
        need = len(self.cells) + len(keys) - self.limit
        if need > 0:
            first = self.cells[0].born if self.pin else -1
            judged = [c for c in self.cells if c.born != first]
            gone = sorted(judged, key=lambda c: c.uses / max(t - c.born, 1))[: int(need)]  # stable: of equals the older
            self.cells = [c for c in self.cells if c not in gone]
        self.cells += [Cell((t, i), key, values[:, i]) for i, key in enumerate(keys)]


def names_of(bank: MemoryBank, per_frame: int) -> dict[tuple[int, int], float]:
    """What the bank holds: (frame, position) -> uses. Positions follow from the order of writing."""
    cells, n = bank.cells, bank.cells.stored
    return {
        (int(born), int(serial) % per_frame): float(uses)
        for born, serial, uses in zip(cells.born[:n], cells.serial[:n], cells.uses[:n], strict=True)
    }


@settings(max_examples=80)
@given(
    per_frame=st.integers(2, 6),
    frames=st.sampled_from([1.0, 1.5, 2.0, 3.0, float("inf")]),
    policy=st.sampled_from(["adaptive", "softmax_index", "pinned"]),
    top_k=st.integers(1, 5),
    every=st.integers(1, 3),
    late=st.one_of(st.none(), st.integers(1, 5)),
    seed=st.integers(0, 1000),
)
def test_banks_equal_a_list_of_cells(per_frame, frames, policy, top_k, every, late, seed):
    frames = max(frames, 2.0) if policy == "pinned" else frames
    rng = np.random.default_rng(seed)
    bank = make_bank(MemoryConfig(policy=policy, capacity=frames, top_k=top_k))
    limit = frames if frames == float("inf") else int(frames * per_frame)
    slow = SlowBank(limit, top_k, mass=policy == "softmax_index", pin=policy == "pinned")
    births = [0, 0]
    bank.add_objects(2, birth=0)
    for t in range(9):
        if t > 0:
            query = rng.standard_normal((3, KEY))
            uses = bank.cells.uses[: bank.cells.stored].sum()
            found = bank.read(torch.from_numpy(query.T).float())  # [K, Cv, Q]
            expected = np.stack([slow.read(q, births) for q in query], axis=2)
            np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
            gained = float(bank.cells.uses[: bank.cells.stored].sum() - uses)
            assert gained == pytest.approx(3 if slow.mass else 3 * min(top_k, len(slow.cells)), abs=1e-4)
        if t == late:
            births.append(t)
            bank.add_objects(1, birth=t)
        if t % every == 0 or t == late:
            keys = rng.standard_normal((per_frame, KEY))
            values = rng.standard_normal((len(births), per_frame, VALUE))
            for cell in slow.cells:  # what an object was before it joined must never be asked for
                cell.value = np.concatenate([cell.value, np.full((len(births) - len(cell.value), VALUE), np.nan)])
            slow.write(keys, values, t)
            bank.write(
                torch.from_numpy(keys.T).float(), torch.from_numpy(values).mT.float(), t, annotated=t in (0, late)
            )
        held = names_of(bank, per_frame)
        assert held.keys() == {c.name for c in slow.cells}
        assert len(held) == bank.cells.stored <= limit
        for cell in slow.cells:
            assert held[cell.name] == pytest.approx(float(cell.uses), abs=1e-4)
        assert bank.memory_bytes() >= bank.used_bytes()


def test_least_frequently_used_by_hand():
    """A, B born at 0, C, D at 5, used 30, 4, 10, 2 times: at frame 10 that is 3.0, 0.4, 2.0, 0.4 per frame."""
    cells = Cells(None, None, mass=False)
    cells.add_objects(1, 0)
    for t in (0, 5):
        cells.reserve(cells.stored + 2, torch.zeros(2, 1), torch.zeros(1, 2, 1))
        cells.put(slice(cells.stored, cells.stored + 2), torch.zeros(2, 1), torch.zeros(1, 2, 1), t)
        cells.stored += 2
    cells.uses[:4] = torch.tensor([30, 4, 10, 2])
    worth = policies.least_frequently_used(cells, 10)
    torch.testing.assert_close(worth, torch.tensor([3.0, 0.4, 2.0, 0.4]))
    assert cells.least(worth, 2).tolist() == [1, 3]  # B and D, the older first
    assert policies.least_frequently_used(cells, 5).isfinite().all()  # age 0 counts as 1


def test_a_former_star_outlives_its_use_under_attention_mass_and_not_under_counts():
    """Age 100. E had weight 0.95 in 20 frames, then nothing; F was among the best in every frame, with weight 0.02."""
    cells = Cells(None, None, mass=True)
    cells.add_objects(1, 0)
    cells.reserve(2, torch.zeros(2, 1), torch.zeros(1, 2, 1))
    cells.put(slice(0, 2), torch.zeros(2, 1), torch.zeros(1, 2, 1), 0)
    cells.stored = 2
    cells.uses[:2] = torch.tensor([20 * 0.95, 100 * 0.02])
    mass = policies.least_frequently_used(cells, 100)
    torch.testing.assert_close(mass, torch.tensor([0.19, 0.02]))
    cells.uses[:2] = torch.tensor([20.0, 100.0])
    count = policies.least_frequently_used(cells, 100)
    torch.testing.assert_close(count, torch.tensor([0.2, 1.0]))
    assert cells.least(mass, 1).item() == 1 and cells.least(count, 1).item() == 0


def run(policy: str, length: int, per_frame: int = 6, every: int = 5, **settings: object) -> MemoryBank:
    """A bank after `length` frames of noise, of which the last has been read and not written."""
    g = torch.Generator().manual_seed(7)
    config = MemoryConfig(policy=policy, mem_every=every, top_k=4, **settings)
    bank = make_bank(config)
    bank.add_objects(1, birth=0)
    every = 1 if policy == "first_and_latest" else every
    for t in range(length):
        if t > 0:
            bank.read(torch.randn(KEY, per_frame, generator=g))
        if t % every == 0 and t < length - 1:
            bank.write(
                torch.randn(KEY, per_frame, generator=g), torch.randn(1, VALUE, per_frame, generator=g), t, t == 0
            )
    return bank


def test_frames_held_at_frame_20():
    assert run("every_k", 21).cells.stored == 4 * 6  # frames 0, 5, 10, 15
    latest = run("first_and_latest", 21)
    assert sorted({t for t, _ in names_of(latest, 6)}) == [0, 19] and latest.cells.stored == 2 * 6
    assert run("adaptive", 21).cells.stored == 2 * 6


def test_an_unbounded_adaptive_memory_is_every_k_bit_for_bit():
    query = torch.randn(KEY, 5, generator=torch.Generator().manual_seed(2))
    for policy in ("adaptive", "softmax_index", "pinned", "fifo", "random"):
        unbounded = run(policy, 60, capacity=float("inf"))
        assert torch.equal(unbounded.read(query), run("every_k", 60).read(query))


def test_fifo_keeps_the_latest_frames_and_pinned_the_first():
    assert {t for t, _ in names_of(run("fifo", 42), 6)} == {35, 40}
    held = names_of(run("pinned", 62, capacity=2), 6)
    assert sum(t == 0 for t, _ in held) == 6 and sum(t == 60 for t, _ in held) == 6


def test_random_eviction_follows_its_seed_and_spares_the_frame_being_written():
    names = [set(names_of(run("random", 62, seed=seed), 6)) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert all(sum(t == 60 for t, _ in held) == 6 for held in names)


def test_random_eviction_favours_nobody():
    """Of 40 cells 20 go; over many draws each goes half of the time."""
    cells = Cells(None, None, mass=False)
    cells.add_objects(1, 0)
    cells.reserve(40, torch.zeros(40, 1), torch.zeros(1, 40, 1))
    cells.put(slice(0, 40), torch.zeros(40, 1), torch.zeros(1, 40, 1), 0)
    cells.stored = 40
    worth = policies.at_random(0)
    gone = torch.bincount(torch.cat([cells.least(worth(cells, 1), 20) for _ in range(400)]), minlength=40)
    assert (gone - 200).abs().max() < 50  # five standard deviations


def test_memory_is_flat_or_a_staircase():
    flat = [run(policy, n).memory_bytes() for policy in ("adaptive", "pinned", "fifo", "merging") for n in (2, 30, 90)]
    assert len(set(flat)) == 1
    used = [run("every_k", n).used_bytes() for n in (2, 7, 12, 102)]
    assert used == [used[0] * n for n in (1, 2, 3, 21)]


def test_appending_a_frame_copies_none_of_the_others():
    bank = run("every_k", 2)
    moves, where = 0, bank.cells.keys.data_ptr()
    for t in range(1, 200):
        bank.write(torch.randn(KEY, 6), torch.randn(1, VALUE, 6), t)
        moves += bank.cells.keys.data_ptr() != where
        where = bank.cells.keys.data_ptr()
    assert bank.cells.stored == 200 * 6 and moves <= 7  # 4 frames at first, then doubled


def test_a_cap_raises_before_it_is_passed():
    bank = make_bank(MemoryConfig(max_bytes=4000))
    bank.add_objects(1, birth=0)
    message = (
        r"would need .* MiB for \d+ cells, more than the cap of 0\.0 MiB \(max_bytes\).*'adaptive' keeps it constant"
    )
    with pytest.raises(MemoryCapError, match=message) as caught:
        for t in range(100):
            bank.write(torch.zeros(KEY, 6), torch.zeros(1, VALUE, 6), t)
            assert bank.memory_bytes() <= 4000
    assert bank.cells.stored > 4 * 6  # the cap is used up, not only half of it
    assert isinstance(caught.value, (MemoryError, CourseError))
    bank.read(torch.zeros(KEY, 2))  # what was stored is still there


def test_temporary_cells_answer_once_and_do_not_count():
    g = torch.Generator().manual_seed(0)
    bank = make_bank(MemoryConfig(policy="adaptive", capacity=1, top_k=2))
    bank.add_objects(1, birth=0)
    key = torch.randn(KEY, 5, generator=g)
    bank.write(key, torch.zeros(1, VALUE, 5), 0, annotated=True)
    query = torch.randn(KEY, 4, generator=g)
    bank.write(query, torch.ones(1, VALUE, 4), 1, temporary=True)
    assert bank.read(query).mean() > 0.5  # the temporary cells fit exactly
    assert bank.cells.uses[:5].sum() == 4 * 2  # every vote went to a stored cell all the same
    bank.write(query, torch.full((1, VALUE, 4), 2.0), 2, temporary=True)
    assert bank.cells.temporary == 4 and bank.cells.stored == 5
    bank.write(key, torch.zeros(1, VALUE, 5), 3)
    assert bank.cells.temporary == 0 and bank.read(query).abs().max() == 0


def test_first_and_latest_keeps_every_annotated_frame():
    bank = make_bank(MemoryConfig(policy="first_and_latest"))
    bank.add_objects(1, birth=0)
    for t in range(8):
        if t == 4:
            bank.add_objects(1, birth=4)
        bank.write(torch.randn(KEY, 6), torch.randn(1 + (t >= 4), VALUE, 6), t, annotated=t in (0, 4))
    assert {t for t, _ in names_of(bank, 6)} == {0, 4, 7}


def test_merging_by_hand():
    """Same direction, other length: directions and lengths are averaged apart, values with the same rate."""
    bank = make_bank(MemoryConfig(policy="merging", capacity=3, merge_rate=0.25, top_k=1))
    bank.add_objects(1, birth=0)
    keys = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])  # [Ck, N]: along x and along y
    bank.write(keys, torch.tensor([[[1.0, 5.0]]]), 0, annotated=True)
    new = torch.tensor([[4.0, 0.0], [0.0, 0.0], [0.0, 1.0]])  # along x but longer, and along z
    bank.write(new, torch.tensor([[[3.0, 7.0]]]), 5)
    cells = bank.cells
    assert cells.stored == 3
    torch.testing.assert_close(cells.keys[:3], torch.tensor([[2.5, 0, 0], [0, 2, 0], [0, 0, 1]]))
    torch.testing.assert_close(cells.groups[0].values[0, :3, 0], torch.tensor([1.5, 5.0, 7.0]))
    assert cells.born[:3].tolist() == [0, 0, 5]


def test_several_cells_that_merge_into_one_enter_with_their_mean():
    bank = make_bank(MemoryConfig(policy="merging", capacity=2, merge_rate=0.5, top_k=1))
    bank.add_objects(1, birth=0)
    bank.write(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[[0.0, 0.0]]]), 0, annotated=True)
    bank.write(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[[2.0, 4.0]]]), 5)
    assert bank.cells.stored == 2
    torch.testing.assert_close(bank.cells.groups[0].values[0, :2, 0], torch.tensor([1.5, 0.0]))


def test_merging_stays_within_its_capacity_and_never_merges_across_a_birth():
    g = torch.Generator().manual_seed(0)
    bank = make_bank(MemoryConfig(policy="merging", capacity=2, top_k=2, merge_threshold=0.5))
    bank.add_objects(1, birth=0)
    for t in range(12):
        if t == 6:
            bank.add_objects(1, birth=6)
            before = bank.cells.groups[0].values[:, :12].clone()
        bank.write(torch.randn(KEY, 6, generator=g), torch.randn(1 + (t >= 6), VALUE, 6, generator=g), t, t in (0, 6))
        assert bank.cells.stored <= 12
        if t == 6:
            assert (bank.cells.born[:12] == 6).sum() == 6  # nothing merged: all six were added
            old = bank.cells.born[:12] < 6
            assert torch.equal(bank.cells.groups[0].values[:, :12][:, old], before[:, old])
        assert bank.read(torch.randn(KEY, 3, generator=g)).isfinite().all()


def test_errors():
    with pytest.raises(InputError, match="policy must be one of every_k, first_and_latest, adaptive"):
        MemoryConfig(policy="lru")
    with pytest.raises(InputError, match="at least 2 frames' worth of cells: the pinned frame and a new one; got 1"):
        MemoryConfig(policy="pinned", capacity=1)
    with pytest.raises(InputError, match=r"since a new frame must fit; got 0\.5"):
        MemoryConfig(policy="adaptive", capacity=0.5)
    with pytest.raises(InputError, match="top_k cannot be None"):
        MemoryConfig(policy="adaptive", top_k=None)
    with pytest.raises(InputError, match="mem_every must be at least 1"):
        MemoryConfig(mem_every=0)
    with pytest.raises(InputError, match="merge_rate must lie between 0 and 1"):
        MemoryConfig(policy="merging", merge_rate=1.0)
    bank = make_bank(MemoryConfig(policy="adaptive", capacity=1))
    bank.add_objects(2, birth=0)
    with pytest.raises(InputError, match="the memory is empty"):
        bank.read(torch.zeros(KEY, 2))
    with pytest.raises(InputError, match=r"memory of 2 objects takes keys \[Ck, N\].*got \[3, 6\] and \[1, 4, 6\]"):
        bank.write(torch.zeros(KEY, 6), torch.zeros(1, VALUE, 6), 0)
    bank.write(torch.zeros(KEY, 6), torch.zeros(2, VALUE, 6), 0)
    with pytest.raises(InputError, match="a frame of 7 cells does not fit into a memory of 6"):
        bank.write(torch.zeros(KEY, 7), torch.zeros(2, VALUE, 7), 5)
    with pytest.raises(InputError, match="in order of time; got 1 at frame -1"):
        bank.add_objects(1, birth=-1)
