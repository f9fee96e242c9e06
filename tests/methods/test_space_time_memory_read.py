"""Memory reads: the chunked gather equals the dense product, and both do what attention over a memory should."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.nn.attention_read import (
    affinity,
    dense_read,
    gather_read,
    negative_distance,
    read_memory,
    similarity,
    similarity_chunks,
    similarity_rows,
    top_k_of_rows,
)


def memory(cells: int, queries: int, objects: int = 2, batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Keys [B, 8, N], values [B, K, 5, N] and queries [B, 8, Q]."""
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 8, cells, generator=g),
        torch.randn(batch, objects, 5, cells, generator=g),
        torch.randn(batch, 8, queries, generator=g),
    )


@given(
    cells=st.integers(1, 300),
    queries=st.integers(1, 20),
    top_k=st.sampled_from([1, 2, 7, 400, None]),
    metric=st.sampled_from(["l2", "dot", "cosine"]),
    chunk_bytes=st.sampled_from([1, 5000, None]),
    seed=st.integers(0, 10),
)
def test_gathering_in_chunks_equals_the_dense_read(cells, queries, top_k, metric, chunk_bytes, seed):
    keys, values, query = memory(cells, queries, batch=2, seed=seed)
    weights = affinity(similarity(keys, query, metric), top_k)
    found = read_memory(keys, values, query, top_k, metric, chunk_bytes)
    torch.testing.assert_close(found.readout, dense_read(weights, values), atol=1e-5, rtol=0)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, queries))
    if found.cells is not None:
        scattered = torch.zeros_like(weights).scatter(1, found.cells, found.weights)
        torch.testing.assert_close(scattered, weights, atol=1e-6, rtol=0)


def test_a_memory_of_60_frames_reads_as_the_dense_product_does():
    g = torch.Generator().manual_seed(3)
    keys = torch.randn(1, 60 * 90, 64, generator=g).mT
    values = torch.randn(1, 2, 60 * 90, 32, generator=g).mT
    query = torch.randn(1, 64, 90, generator=g)
    dense = dense_read(affinity(similarity(keys, query), 20), values)
    torch.testing.assert_close(read_memory(keys, values, query).readout, dense, atol=1e-5, rtol=0)


@given(cells=st.integers(1, 700), top_k=st.integers(1, 12), block=st.sampled_from([2, 8, 32]), seed=st.integers(0, 20))
def test_block_maxima_find_the_best_cells(cells, top_k, block, seed):
    rows = torch.randn(3, cells, generator=torch.Generator().manual_seed(seed))
    scores, columns = top_k_of_rows(rows, top_k, block)
    expected = rows.sort(dim=1, descending=True).values[:, :top_k]
    assert torch.equal(scores.sort(dim=1, descending=True).values, expected)
    assert torch.equal(rows.gather(1, columns), scores)


def test_equal_scores_still_give_distinct_cells():
    _, columns = top_k_of_rows(torch.zeros(2, 1000), 20)
    assert all(len(set(row)) == 20 for row in columns.tolist())


def test_distance_by_brute_force():
    keys, _, query = memory(7, 5)
    brute = -torch.cdist(keys.double().mT, query.double().mT).square() / math.sqrt(8)  # [1, N, Q]
    np.testing.assert_allclose(negative_distance(keys, query), brute, atol=1e-5)
    assert (negative_distance(keys, keys).diagonal(dim1=1, dim2=2).abs() < 1e-5).all()
    offset = negative_distance(keys, query) - similarity(keys, query)
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset), atol=1e-5, rtol=0)


def test_a_constant_per_query_changes_nothing_and_a_factor_does():
    keys, _, query = memory(40, 6)
    scores = similarity(keys, query)
    weights = affinity(scores, 5)
    torch.testing.assert_close(affinity(scores + torch.randn(1, 1, 6), 5), weights)
    assert not torch.allclose(affinity(1.5 * scores, 5), weights, atol=1e-3)


def test_a_long_key_wins_by_dot_product_and_loses_by_distance():
    keys = torch.tensor([[3.0, 0.0], [1.0, 0.0]]).T[None]  # [1, 2, N=2]
    query = torch.tensor([1.0, 0.0]).view(1, 2, 1)
    best = {metric: int(similarity(keys, query, metric)[0, :, 0].argmax()) for metric in ("dot", "l2")}
    assert best == {"dot": 0, "l2": 1}
    cosine = similarity(keys, query, "cosine")[0, :, 0]
    torch.testing.assert_close(cosine, torch.full((2,), math.sqrt(2)))  # length does not matter at all


def test_the_order_of_cells_does_not_matter():
    keys, values, query = memory(50, 9)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    shuffled = read_memory(keys[..., order], values[..., order], query, 4)
    torch.testing.assert_close(shuffled.readout, read_memory(keys, values, query, 4).readout, atol=1e-6, rtol=0)


def test_few_cells_remove_the_tail():
    """One cell fits; a thousand do not, but together outvote it unless only the best may answer."""
    keys = torch.zeros(1, 1, 1001)
    keys[..., 1:] = 2.0  # distance 4 to the query at 0: weight e^-4 each
    values = (torch.arange(1001) == 0).float().view(1, 1, 1, -1)
    query = torch.zeros(1, 1, 1)
    everyone = read_memory(keys, values, query, None).readout.item()
    assert everyone == pytest.approx(1 / (1 + 1000 * math.exp(-4)), rel=1e-4)
    assert read_memory(keys, values, query, 20).readout.item() == pytest.approx(1 / (1 + 19 * math.exp(-4)), rel=1e-4)


def test_gradients_of_the_gathered_read():
    keys, values, query = (x.double().requires_grad_() for x in memory(30, 3))
    assert torch.autograd.gradcheck(lambda *a: read_memory(*a, top_k=4).readout, (keys, values, query))
    assert torch.autograd.gradcheck(lambda *a: read_memory(*a, top_k=None).readout, (keys, values, query))


def test_half_precision_values_are_scored_in_float32():
    keys, values, query = memory(60, 8)
    keys, values, query = (keys * 30).half(), values.half(), (query * 30).half()  # |k|^2 would overflow half precision
    scores = similarity(keys, query)
    assert scores.dtype == torch.float32 and scores.isfinite().all()
    found = read_memory(keys, values, query, 5)
    assert found.readout.dtype == torch.float16
    exact = read_memory(keys.float(), values.float(), query.float(), 5).readout
    torch.testing.assert_close(found.readout.float(), exact, atol=5e-3, rtol=0)


def test_chunks_cover_the_queries_and_stay_small():
    keys, _, query = (x[0] for x in memory(100, 33))
    seen = []
    for part, rows in similarity_chunks(keys.T, query.T, "l2", chunk_bytes=10 * 100 * 4):
        assert rows.numel() * 4 <= 10 * 100 * 4
        torch.testing.assert_close(rows, similarity_rows(keys.T, query.T[part]), atol=1e-5, rtol=0)
        seen += list(range(33))[part]
    assert seen == list(range(33))


def test_gather_read_by_hand():
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    found = gather_read(values, torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[2.5, 25.0], [2.0, 20.0]]))


def test_affinity_may_differ_between_objects():
    _, values, _ = memory(12, 4)
    weights = torch.rand(1, 2, 12, 4)
    found = dense_read(weights, values)
    torch.testing.assert_close(found[0, 1], values[0, 1] @ weights[0, 1])


def test_errors():
    keys, values, query = memory(10, 4)
    with pytest.raises(InputError, match=r"keys \[B, Ck, N\].*got \[1, 8, 10\], \[1, 2, 5, 9\] and \[1, 8, 4\]"):
        read_memory(keys, values[..., :9], query)
    with pytest.raises(InputError, match="at least one cell"):
        read_memory(keys[..., :0], values[..., :0], query)
    with pytest.raises(InputError, match="top_k must be at least 1"):
        read_memory(keys, values, query, 0)
    with pytest.raises(InputError, match="'l2', 'dot' or 'cosine', got 'l1'"):
        similarity(keys, query, "l1")
