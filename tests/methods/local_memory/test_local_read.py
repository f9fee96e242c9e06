"""Reading a neighbourhood: against three loops, against the unfolded version, and by what must not change it."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.errors import InputError
from course_lib.methods.local_memory import global_read, local_affinity, local_read
from course_lib.methods.local_memory.local_read import axis_tiles, local_similarity, plan_tiles, unfold_read


def memory(b=1, s=2, d=5, v=7, h=9, w=13, dtype=torch.float32, grad=False, number=0) -> tuple[Tensor, Tensor, Tensor]:
    """Query key, memory keys and memory values of random numbers."""
    generator = torch.Generator().manual_seed(number)
    shapes = (b, d, h, w), (b, s, d, h, w), (b, s, v, h, w)
    return tuple(torch.randn(x, generator=generator, dtype=dtype).requires_grad_(grad) for x in shapes)


def three_loops(
    query: Tensor, keys: Tensor, values: Tensor, window: int, border: str, scale: float, no_match: float | None
) -> Tensor:
    """(4.2) to (4.5) for one clip, cell by cell."""
    frames, width_v, height, width = values.shape[1:]
    out = torch.zeros(1, width_v, height, width, dtype=values.dtype)
    reach = window // 2
    for y in range(height):
        for x in range(width):
            scores, seen = [], []
            for t in range(frames):
                for yy in range(y - reach, y + reach + 1):
                    for xx in range(x - reach, x + reach + 1):
                        if 0 <= yy < height and 0 <= xx < width:
                            scores.append(scale * (query[0, :, y, x] @ keys[0, t, :, yy, xx]))
                            seen.append(values[0, t, :, yy, xx])
                        elif border == "zero":
                            scores.append(torch.zeros((), dtype=values.dtype))
                            seen.append(torch.zeros(width_v, dtype=values.dtype))
            if no_match is not None:
                scores.append(torch.tensor(no_match, dtype=values.dtype))
                seen.append(torch.zeros(width_v, dtype=values.dtype))
            out[0, :, y, x] = torch.stack(scores).softmax(0) @ torch.stack(seen)
    return out


@pytest.mark.parametrize("border", ["mask", "zero"])
@pytest.mark.parametrize(("window", "no_match"), [(1, None), (3, 0.7), (5, None), (13, 0.7)])
def test_equals_three_loops(border, window, no_match):
    query, keys, values = memory(h=5, w=7, dtype=torch.float64)
    expected = three_loops(query, keys, values, window, border, 0.6, no_match)
    empty = None if no_match is None else torch.tensor([no_match])
    for read in (local_read, unfold_read):
        torch.testing.assert_close(read(query, keys, values, window, border, 0.6, empty), expected)


@given(
    h=st.integers(1, 20),
    w=st.integers(1, 24),
    reach=st.integers(0, 14),
    frames=st.integers(1, 3),
    border=st.sampled_from(["mask", "zero"]),
    chunk=st.sampled_from([64, 4096, None]),
)
def test_equals_the_unfolded_version(h, w, reach, frames, border, chunk):
    query, keys, values = memory(b=2, s=frames, h=h, w=w, number=h + 31 * w)
    window = 2 * reach + 1
    found = local_read(query, keys, values, window, border, chunk_bytes=chunk)
    expected = unfold_read(query.double(), keys.double(), values.double(), window, border)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert (unfold_read(query, keys, values, window, border) - expected).abs().max() < 1e-4


def gradients(read, dtype: torch.dtype, window: int, border: str) -> list[Tensor]:
    """Of query key, keys, values, empty cell and scale, towards a fixed direction."""
    leaves = [x.to(dtype).requires_grad_() for x in memory(b=2, s=3, d=6, h=12, w=17)]
    no_match, scale = torch.tensor([0.3], requires_grad=True), torch.tensor(0.8, requires_grad=True)
    toward = torch.randn(2, 7, 12, 17, generator=torch.Generator().manual_seed(1))
    loss = (read(*leaves, window, border, scale, no_match) * toward).sum()
    return [x.double() for x in torch.autograd.grad(loss, (*leaves, no_match, scale))]


@pytest.mark.parametrize("border", ["mask", "zero"])
@pytest.mark.parametrize("window", [1, 5, 21])
def test_gradients_equal_those_of_the_unfolded_version(window, border):
    expected = gradients(unfold_read, torch.float64, window, border)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-5)):  # of the two parameters, which are float32
        found = gradients(lambda *args: local_read(*args, chunk_bytes=20_000), dtype, window, border)
        for one, other in zip(found, expected):
            assert one.isfinite().all()
            assert (one - other).abs().max() <= tolerance * max(1, other.abs().max())


@pytest.mark.parametrize("border", ["mask", "zero"])
def test_gradients_by_finite_differences(border):
    leaves = memory(s=2, d=2, v=2, h=3, w=5, dtype=torch.float64, grad=True)
    no_match, scale = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([0.3], 0.8))
    assert torch.autograd.gradcheck(
        lambda q, k, v, n, s: local_read(q, k, v, 3, border, s, n, chunk_bytes=256), (*leaves, no_match, scale)
    )


def test_only_a_learnt_empty_cell_learns():
    """Chunks are computed again for gradients even where keys and values are fixed."""
    no_match = torch.zeros(1, requires_grad=True)
    local_read(*memory(), 3, no_match=no_match).sum().backward()
    assert no_match.grad.abs() > 0


def test_the_order_of_frames_does_not_matter():
    query, keys, values = memory(s=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = local_read(query, keys[:, order], values[:, order], 5)
    torch.testing.assert_close(found, local_read(query, keys, values, 5), rtol=0, atol=2e-6)


def test_a_frame_stored_twice_counts_as_once_where_it_is_alone():
    query, keys, values = memory(s=1)
    twice = local_read(query, keys.repeat(1, 2, 1, 1, 1), values.repeat(1, 2, 1, 1, 1), 5)
    torch.testing.assert_close(twice, local_read(query, keys, values, 5), rtol=0, atol=2e-6)


@pytest.mark.parametrize("no_match", [None, torch.tensor([0.5])])
def test_a_window_of_the_whole_frame_is_global_attention(no_match):
    query, keys, values = memory(b=2, s=3)
    whole = global_read(query, keys, values, 0.5, no_match)
    for window in (25, 27, 101, None):  # 25 = 2 * 13 - 1 reaches from any column to any other
        found = local_read(query, keys, values, window, scale=0.5, no_match=no_match, chunk_bytes=5000)
        torch.testing.assert_close(found, whole, rtol=0, atol=2e-6)
    assert not torch.allclose(local_read(query, keys, values, 23, scale=0.5), whole, atol=1e-4)


def test_global_attention_is_a_matrix_product():
    query, keys, values = memory(s=2)
    cells = keys[0].permute(1, 0, 2, 3).flatten(1)  # [D, S*h*w]
    weights = (query[0].flatten(1).T @ cells).softmax(1)
    expected = values[0].permute(1, 0, 2, 3).flatten(1) @ weights.T
    torch.testing.assert_close(global_read(query, keys, values)[0].flatten(1), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("down", "across"), [(2, -1), (0, 3), (-3, -3), (1, 0)])
def test_attention_follows_a_shift(down, across):
    """The memory is the query moved by (down, across): each place's best match lies there, in (4.5)'s order."""
    generator = torch.Generator().manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(1, 16, 12, 14, generator=generator), dim=1) * 20
    keys = query.roll((down, across), (2, 3))[:, None]  # keys(y + down, x + across) = query(y, x)
    window, reach = 7, 3
    weights = local_affinity(query, keys, window)[0, 0]  # [49, 12, 14]
    inner = weights[:, reach:-reach, reach:-reach]
    assert (inner.argmax(0) == (down + reach) * window + across + reach).all()
    values = keys.clone()
    readout = local_read(query, keys, values, window)
    torch.testing.assert_close(readout[..., reach:-reach, reach:-reach], query[..., 3:-3, 3:-3], rtol=0, atol=1e-2)


def test_weights_by_hand():
    """One row of three cells, window 3: what a border takes away, and what an empty cell takes away."""
    query = torch.full((1, 1, 1, 3), 1.0)
    keys = torch.tensor([0.0, 1.0, 2.0]).log1p().view(1, 1, 1, 1, 3)  # exp(score) = 1, 2, 3
    scores = local_similarity(query, keys, 3)[0, 0, :, 0]  # [9, 3]
    torch.testing.assert_close(scores[3:6].exp().T, torch.tensor([[1.0, 1, 2], [1, 2, 3], [2, 3, 1]]))
    assert (scores[:3] == 0).all() and (scores[6:] == 0).all()  # above and below lies nothing
    masked = local_affinity(query, keys, 3)[0, 0, 3:6, 0].T
    torch.testing.assert_close(masked, torch.tensor([[0, 1 / 3, 2 / 3], [1 / 6, 2 / 6, 3 / 6], [2 / 5, 3 / 5, 0]]))
    values = torch.ones(1, 1, 1, 1, 3)
    kept = local_read(query, keys, values, 3, border="zero")[0, 0, 0]
    torch.testing.assert_close(kept, torch.tensor([3 / 10, 6 / 12, 5 / 12]))  # 7, 6 and 7 cells are outside
    kept = local_read(query, keys, values, 3, no_match=torch.tensor([4.0]).log())[0, 0, 0]
    torch.testing.assert_close(kept, torch.tensor([3 / 7, 6 / 10, 5 / 9]))


def test_weights_sum_to_one_without_an_empty_cell_only():
    query, keys, _ = memory(b=2, s=3)
    for border in ("mask", "zero"):
        torch.testing.assert_close(local_affinity(query, keys, 5, border).sum((1, 2)), torch.ones(2, 9, 13))
    assert (local_affinity(query, keys, 5, no_match=torch.zeros(1)).sum((1, 2)) < 1).all()


def test_large_scores_are_no_trouble():
    query, keys, values = memory()
    found = local_read(query * 1e4, keys * 1e4, values, 5)
    assert found.isfinite().all()
    best = local_similarity(query, keys, 5).masked_fill(local_affinity(query, keys, 5) == 0, -torch.inf)
    assert (best.flatten(1, 2).argmax(1) >= 0).all()
    assert found.abs().max() <= values.abs().max() * (1 + 1e-6)


def test_mixed_precision():
    """Scores stay in float32; the readout has the dtype of the values and is as near as bfloat16 values can be."""
    query, keys, values = memory(s=2, h=10, w=11)
    expected = local_read(query.bfloat16().float(), keys.bfloat16().float(), values.bfloat16().float(), 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = local_read(query.bfloat16(), keys.bfloat16(), values.bfloat16(), 5)
        same = local_read(query, keys, values, 5)
        whole = global_read(query, keys, values)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.03)
    assert same.dtype == whole.dtype == torch.float32
    torch.testing.assert_close(same, local_read(query, keys, values, 5), rtol=0, atol=1e-6)


def loud(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Products beyond the largest number of half precision, 65504, which a scale would bring back."""
    query, keys, values = memory(b=2, s=2, d=16, h=6, w=7)
    return (300 * query).to(dtype), (300 * keys).to(dtype), values.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_loses_no_more_than_its_inputs_and_its_output(dtype, autocast):
    half, scale = loud(dtype), 1 / 40_000
    exact = [x.float() for x in half]
    assert dtype == torch.bfloat16 or local_similarity(*half[:2], 5).isinf().any()
    expected = local_read(*exact, 5, scale=scale)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = [local_read(*half, 5, scale=scale), unfold_read(*half, 5, scale=scale)]
        weights = local_affinity(*half[:2], 5, scale=scale)
        whole = global_read(*half, scale=scale)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, local_affinity(*exact[:2], 5, scale=scale), rtol=0, atol=1e-6)
    tolerance = 2 * torch.finfo(dtype).eps * exact[2].abs().max().item()  # weights and readout are rounded
    for one in found:
        assert one.dtype == dtype
        torch.testing.assert_close(one.float(), expected, rtol=0, atol=tolerance)
    assert whole.dtype == dtype
    torch.testing.assert_close(whole.float(), global_read(*exact, scale=scale), rtol=0, atol=tolerance)


class Allocations(TorchDispatchMode):
    """Largest tensor that any operation makes, and the most bytes that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.live = self.peak = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and not any(tensor is x for x in args):
                storage = tensor.untyped_storage()
                if storage not in self.known:
                    self.known.add(storage)
                    self.largest = max(self.largest, storage.nbytes())
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self.freed, storage.nbytes())
        return out

    def freed(self, count: int) -> None:
        self.live -= count


def test_the_meter_counts_what_lives():
    with Allocations() as meter:
        a = torch.zeros(1000)
        del a
        b = torch.zeros(500) + 1
    assert (meter.largest, meter.peak) == (4000, 4000) and len(b) == 500
    with Allocations() as meter:
        kept = [torch.zeros(1000) for _ in range(3)]
    assert meter.peak == 12000 == 4000 * len(kept)


def test_memory_is_bounded_in_training():
    """Neither all pairs of cells nor the unfolded memory ever exist, forwards or backwards."""
    b, s, d, v, h, w, window, chunk = 1, 4, 8, 16, 40, 48, 15, 2**18
    leaves = memory(b, s, d, v, h, w, grad=True)
    with Allocations() as meter:
        local_read(*leaves, window, chunk_bytes=chunk).sum().backward()
    values, cells = 4 * s * v * h * w, h * w
    all_pairs, unfolded, weights = 4 * cells**2, 4 * s * (d + v) * window**2 * cells, 4 * s * window**2 * cells
    gathered = 4 * s * v * (window + 7) ** 2  # the values that one tile of 8 x 8 sees
    assert meter.largest <= max(values, chunk, gathered) < min(all_pairs, weights) / 10
    assert meter.peak < 8 * values + 8 * chunk < unfolded / 25
    assert all(x.grad.isfinite().all() for x in leaves)


def test_memory_grows_with_the_frame_not_with_its_square():
    peaks = []
    for side in (24, 48):
        with Allocations() as meter, torch.no_grad():
            local_read(*memory(1, 2, 8, 16, side, side), 9, chunk_bytes=2**17)
        peaks.append(meter.peak)
    assert peaks[1] / peaks[0] < 4.4  # four times as many cells


@given(
    h=st.integers(1, 70),
    w=st.integers(1, 70),
    reach=st.integers(0, 40),
    cells=st.integers(1, 20),
    budget=st.integers(1, 100_000),
)
def test_tiles_cover_every_window(h, w, reach, cells, budget):
    window = 2 * reach + 1
    rows, columns, step = plan_tiles((h, w), window, cells, budget)
    tile = cells * rows.size * columns.size * rows.cells.shape[1] * columns.cells.shape[1]
    assert step >= 1 and (step * tile <= budget or (step == 1 and rows.size == 1))
    for length, axis in ((h, rows), (w, columns)):
        assert axis.cells.min() == 0 and axis.cells.max() == length - 1 and (axis.cells.diff(dim=1) == 1).all()
        for query in range(length):
            tile, row = divmod(query, axis.size)
            seen = axis.cells[tile, axis.near[tile, row]].tolist()
            assert seen == list(range(max(0, query - reach), min(length, query + reach + 1)))


def test_a_tile_beyond_the_end_still_sees_something():
    assert axis_tiles(9, 3, 8).near[-1].any(dim=1).all()  # else its softmax would be 0 / 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 4}, "odd and at least 1, got 4"),
        ({"window": 0}, "odd and at least 1, got 0"),
        ({"border": "reflect"}, "border must be 'mask' or 'zero', got 'reflect'"),
        ({"window": None, "border": "zero"}, "use border 'mask'"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(InputError, match=message):
        local_read(*memory(), **({"window": 3} | change))


def test_bad_shapes():
    query, keys, values = memory()
    for bad in (
        (query[:, :4], keys, values),
        (query, keys[..., :-1], values),
        (query, keys[:, :1], values),
        (query, keys[:, :0], values[:, :0]),
        (query[0], keys, values),
    ):
        for read in (local_read, unfold_read):
            with pytest.raises(InputError, match="a memory read takes a query key"):
                read(*bad, 3)
        with pytest.raises(InputError, match="a memory read takes a query key"):
            global_read(*bad)
