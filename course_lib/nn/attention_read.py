"""Reading a memory by attention: each query cell averages the values of the memory cells whose keys are like its own.

The lineage in one file: scaled dot product (Wug Oh et al., STM, ICCV 2019), negative squared distance (Cheng et al.,
STCN, NeurIPS 2021), and only the best few cells (Cheng et al., MiVOS, CVPR 2021). Unusual: `read_memory` never forms
the affinity matrix. It walks over chunks of queries, finds the best cells by block maxima, and gathers their values;
the obvious dense version, `dense_read(affinity(similarity(...)))`, stands beside it and gives the same numbers.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError

Metric = Literal["l2", "dot", "cosine"]

CHUNK_BYTES = 16 * 2**20  # of scores held at once on a CPU, about what stays in cache
ACCELERATOR_CHUNK_BYTES = 512 * 2**20
BLOCK = 32  # neighbouring memory cells that share one maximum in the search for the best


class Read(NamedTuple):
    """What a read found: the readout [B, K, Cv, Q], and for each query its cells and their weights [B, top_k, Q].

    `cells` and `weights` are None where every cell took part.
    """

    readout: Float[Tensor, "b k c q"]
    cells: Int[Tensor, "b top_k q"] | None
    weights: Float[Tensor, "b top_k q"] | None


def similarity(
    keys: Float[Tensor, "b c n"], queries: Float[Tensor, "b c q"], metric: Metric = "l2"
) -> Float[Tensor, "b n q"]:
    """Score of each memory cell for each query cell.

    l2      (2 <k, q> - |k|^2) / sqrt(C): the negative squared distance without |q|^2, which no softmax notices
    dot     <k, q> / sqrt(C): a long key wins every query
    cosine  sqrt(C) <k, q> / (|k| |q|): the dot product of keys stretched to length sqrt(C); a zero key scores 0

    Differentiable. `negative_distance` gives l2 with the query's term. Raises `InputError` for an unknown metric.
    """
    return similarity_rows(keys.mT, queries.mT, metric).mT


def negative_distance(keys: Float[Tensor, "b c n"], queries: Float[Tensor, "b c q"]) -> Float[Tensor, "b n q"]:
    """-|k - q|^2 / sqrt(C), at most 0. For whatever multiplies scores, where a constant per query does matter."""
    own = queries.square().sum(1, keepdim=True) / math.sqrt(keys.shape[1])  # [B, 1, Q]
    return similarity(keys, queries, "l2") - own


def affinity(scores: Float[Tensor, "*b n q"], top_k: int | None = None) -> Float[Tensor, "*b n q"]:
    """Softmax over memory cells, of the `top_k` best of each query (None: of all). Dense; columns sum to one."""
    if top_k is None or top_k >= scores.shape[-2]:
        return scores.softmax(dim=-2)
    best, cells = scores.topk(top_k, dim=-2)  # [*B, top_k, Q]
    return torch.zeros_like(scores).scatter(-2, cells, best.softmax(dim=-2))


def dense_read(weights: Float[Tensor, "*b n q"], values: Float[Tensor, "b k c n"]) -> Float[Tensor, "b k c q"]:
    """Readout by one large product. `weights` is [B, N, Q] for all objects, or [B, K, N, Q] with one per object."""
    return values @ (weights[:, None] if weights.ndim == 3 else weights)


def read_memory(
    keys: Float[Tensor, "b c n"],
    values: Float[Tensor, "b k cv n"],
    queries: Float[Tensor, "b c q"],
    top_k: int | None = 20,
    metric: Metric = "l2",
    chunk_bytes: int | None = None,
) -> Read:
    """Average, for each query cell, the values of its `top_k` most similar memory cells.

    Equals `dense_read(affinity(similarity(keys, queries, metric), top_k), values)`, in time that grows with
    top_k instead of N for the values, and in memory bounded by `chunk_bytes` for the scores. Fastest where cells
    are stored one after another (`keys.mT` and `values.mT` contiguous, as a memory bank keeps them); other layouts are
    copied once. Fewer than `top_k` cells: all are read. No gradient is needed at inference, but it flows if asked for.

    Raises `InputError` for shapes that do not fit, an empty memory, or a `top_k` below 1. Built in lesson 13.
    """
    _check(keys, values, queries, top_k)
    found = [_read_one(k, v, q, top_k, metric, chunk_bytes) for k, v, q in zip(keys.mT, values.mT, queries.mT)]
    readouts, cells, weights = zip(*found)
    if top_k is None or top_k >= keys.shape[2]:
        return Read(torch.stack(readouts), None, None)
    return Read(torch.stack(readouts), torch.stack(cells), torch.stack(weights))


def _read_one(
    keys: Float[Tensor, "n c"],
    values: Float[Tensor, "k n cv"],
    queries: Float[Tensor, "q c"],
    top_k: int | None,
    metric: Metric,
    chunk_bytes: int | None,
) -> tuple[Float[Tensor, "k cv q"], Int[Tensor, "top_k q"] | None, Float[Tensor, "top_k q"] | None]:
    """One memory of a batch, cell by cell; readout, cells and weights as in `Read`."""
    values = values.contiguous()
    chunks = similarity_chunks(keys, queries, metric, chunk_bytes)
    if top_k is None or top_k >= len(keys):
        readouts = [rows.softmax(dim=1).to(values.dtype) @ values for _, rows in chunks]
        return torch.cat(readouts, dim=1).mT, None, None
    readouts, chosen, shares = [], [], []
    for _, rows in chunks:
        scores, cells = top_k_of_rows(rows, top_k)  # [q, top_k]
        weights = scores.softmax(dim=1)
        readouts.append(torch.stack([gather_read(v, cells, weights) for v in values]))
        chosen.append(cells)
        shares.append(weights)
    return torch.cat(readouts, dim=1).mT, torch.cat(chosen).mT, torch.cat(shares).mT


def similarity_rows(
    keys: Float[Tensor, "*b n c"], queries: Float[Tensor, "*b q c"], metric: Metric = "l2"
) -> Float[Tensor, "*b q n"]:
    """`similarity` for cells stored row by row, one row of scores per query. Always in float32 or better."""
    keys, queries, bias = _factors(keys, queries, metric)
    with torch.autocast(keys.device.type, enabled=False):  # l2 subtracts large numbers, which half precision cannot
        scores = queries @ keys.mT
    return scores if bias is None else scores + bias[..., None, :]


def similarity_chunks(
    keys: Float[Tensor, "n c"], queries: Float[Tensor, "q c"], metric: Metric = "l2", chunk_bytes: int | None = None
) -> Iterator[tuple[slice, Float[Tensor, "chunk n"]]]:
    """`similarity_rows` a few queries at a time, with the slice of queries: `chunk_bytes` at most, one row at least.

    Without gradients every chunk is written over the one before it, so use it up first.
    """
    keys, queries, bias = _factors(keys, queries, metric)
    if chunk_bytes is None:
        chunk_bytes = CHUNK_BYTES if keys.device.type == "cpu" else ACCELERATOR_CHUNK_BYTES
    step = min(len(queries), max(1, chunk_bytes // (len(keys) * keys.element_size())))
    learns = torch.is_grad_enabled() and (keys.requires_grad or queries.requires_grad)
    scores = None if learns else keys.new_empty(step, len(keys))  # fresh pages for each chunk would cost a third more
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        out = None if scores is None else scores[: len(some)]
        with torch.autocast(keys.device.type, enabled=False):
            rows = torch.mm(some, keys.T, out=out) if bias is None else torch.addmm(bias, some, keys.T, out=out)
        yield slice(start, start + len(some)), rows


def top_k_of_rows(
    rows: Float[Tensor, "q n"], top_k: int, block: int = BLOCK
) -> tuple[Float[Tensor, "q top_k"], Int[Tensor, "q top_k"]]:
    """The `top_k` largest entries of each row and their columns, in no particular order.

    The k best cells lie in at most k blocks, and those have the k largest block maxima; so a maximum over blocks, which
    is one pass over memory, leaves few candidates to sort. Exact; among equal scores any may be chosen.
    """
    count, columns = rows.shape
    top_k = min(top_k, columns)
    whole = columns // block * block
    if columns < 4 * top_k * block:  # too few blocks to save anything
        return rows.topk(top_k, dim=1, sorted=False)
    blocks = rows[:, :whole].unflatten(1, (-1, block))  # [Q, N/block, block]
    best = blocks.amax(dim=2).topk(top_k, dim=1, sorted=False).indices  # [Q, top_k]
    offsets = torch.arange(block, device=rows.device)
    columns_of = (best[:, :, None] * block + offsets).flatten(1)  # [Q, top_k * block]
    rest = torch.arange(whole, columns, device=rows.device).expand(count, -1)
    columns_of = torch.cat([columns_of, rest], dim=1)
    scores, at = rows.gather(1, columns_of).topk(top_k, dim=1, sorted=False)
    return scores, columns_of.gather(1, at)


def gather_read(
    values: Float[Tensor, "n cv"], cells: Int[Tensor, "q top_k"], weights: Float[Tensor, "q top_k"]
) -> Float[Tensor, "q cv"]:
    """Weighted sum of the chosen rows of `values` for each query."""
    weights = weights.to(values.dtype)
    if values.device.type in ("cpu", "cuda"):  # gathers and sums in one kernel, without the [Q, top_k, Cv] in between
        return F.embedding_bag(cells, values, per_sample_weights=weights, mode="sum")
    return torch.bmm(weights[:, None], values[cells])[:, 0]  # [Q, 1, top_k] x [Q, top_k, Cv]


def _factors(keys: Tensor, queries: Tensor, metric: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys [*B, N, C], queries [*B, Q, C] and bias [*B, N] or None such that scores are queries @ keys.T + bias."""
    keys, queries = (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in (keys, queries))
    root = math.sqrt(keys.shape[-1])
    if metric == "l2":
        return keys, queries * (2 / root), keys.square().sum(-1) / -root
    if metric == "dot":
        return keys, queries / root, None
    if metric == "cosine":
        return F.normalize(keys, dim=-1), F.normalize(queries, dim=-1) * root, None
    raise InputError(f"metric must be 'l2', 'dot' or 'cosine', got {metric!r}")


def _check(keys: Tensor, values: Tensor, queries: Tensor, top_k: int | None) -> None:
    fits = (
        (keys.ndim, values.ndim, queries.ndim) == (3, 4, 3)
        and keys.shape[0] == values.shape[0] == queries.shape[0]
        and keys.shape[1] == queries.shape[1]
        and keys.shape[2] == values.shape[3]
        and keys.shape[2] > 0
    )
    if not fits:
        raise InputError(
            "a memory read takes keys [B, Ck, N], values [B, K, Cv, N] and queries [B, Ck, Q] with at least one cell, "
            f"got {list(keys.shape)}, {list(values.shape)} and {list(queries.shape)}"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k must be at least 1, or None to read every cell, got {top_k}")
