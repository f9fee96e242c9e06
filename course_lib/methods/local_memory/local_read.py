"""Local attention over a memory of frames: each cell of the query frame looks into a window of every stored frame.

Source: M. Paul (2023), sections 4.3.2 and 4.3.3, equations (4.2) to (4.5): one softmax over space and time together.
The printed (4.2) shifts the query; (4.5) reads the memory at the shifted place, so here the memory is shifted
throughout. Unusual: `local_read` neither unfolds the memory nor forms a matrix of all pairs of cells. It cuts the
query into small tiles; the cells that any query of a tile can see form a rectangle, which a dense product reads, with
everything outside the own window of a query masked. A chunk of tiles at a time is held, and computed again for
gradients.
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from course_lib.errors import InputError

Border = Literal["mask", "zero"]

CHUNK_BYTES = 16 * 2**20  # of scores held at once on a CPU, about what stays in cache
ACCELERATOR_CHUNK_BYTES = 256 * 2**20


def local_similarity(
    query_key: Float[Tensor, "b d h w"], memory_keys: Float[Tensor, "b s d h w"], window: int
) -> Float[Tensor, "b s r h w"]:
    """Inner product of each query cell with the memory cells of its window, r = window² of them for each frame.

    Entry (dy + reach) · window + dx + reach of axis 2 belongs to the memory cell (y + dy, x + dx), where
    reach = (window - 1) / 2; it is 0 where that lies outside the frame. Built in lesson 07.
    """
    check_read(query_key, memory_keys, memory_keys, window)
    batch, frames, channels, height, width = memory_keys.shape
    seen = F.unfold(memory_keys.flatten(0, 1), window, padding=window // 2)  # [B*S, D*r, h*w]
    seen = seen.view(batch, frames, channels, window**2, height * width)
    return torch.einsum("bdq,bsdrq->bsrq", query_key.flatten(2), seen).unflatten(3, (height, width))


def local_affinity(
    query_key: Float[Tensor, "b d h w"],
    memory_keys: Float[Tensor, "b s d h w"],
    window: int,
    border: Border = "mask",
    scale: float | Float[Tensor, ""] = 1.0,
    no_match: Float[Tensor, "1"] | None = None,
) -> Float[Tensor, "b s r h w"]:
    """Weight of each memory cell of its window for each query cell: one softmax over all frames and places.

    Sums to 1 over axes 1 and 2, together with what falls outside the frame (border "zero") and to `no_match`.
    Arguments as in `local_read`; float32 or better, also of keys in half precision. For looking at attention, and for
    losses on it. Built in lesson 07.
    """
    _check_border(border)
    query, keys = raised(query_key, memory_keys)
    with torch.autocast(query.device.type, enabled=False):
        scores = local_similarity(query * scale, keys, window)
    batch, frames, _, height, width = scores.shape
    if border == "mask":
        scores = scores.masked_fill(~window_inside((height, width), window, scores.device), -torch.inf)
    flat = scores.flatten(1, 2)  # [B, S*r, h, w]
    if no_match is not None:
        flat = torch.cat([flat, no_match.to(flat).view(1, 1, 1, 1).expand(batch, 1, height, width)], dim=1)
    weights = flat.movedim(1, 3).softmax(dim=3).movedim(3, 1)  # float32 adds up neighbours in memory more exactly
    return weights[:, : frames * window**2].unflatten(1, (frames, window**2))


def unfold_read(
    query_key: Float[Tensor, "b d h w"],
    memory_keys: Float[Tensor, "b s d h w"],
    memory_values: Float[Tensor, "b s v h w"],
    window: int,
    border: Border = "mask",
    scale: float | Float[Tensor, ""] = 1.0,
    no_match: Float[Tensor, "1"] | None = None,
) -> Float[Tensor, "b v h w"]:
    """The same as `local_read`, the obvious way: every window of the memory is written out.

    Holds S · (D + V) · window² · h · w numbers, five gigabytes at the published size. Built in lesson 07.
    """
    check_read(query_key, memory_keys, memory_values, window)
    weights = local_affinity(query_key, memory_keys, window, border, scale, no_match)
    batch, frames, channels, height, width = memory_values.shape
    with torch.autocast(memory_values.device.type, enabled=False):
        seen = F.unfold(memory_values.flatten(0, 1), window, padding=window // 2)
        seen = seen.view(batch, frames, channels, window**2, height * width)
        readout = torch.einsum("bsrq,bsvrq->bvq", weights.flatten(3).to(seen.dtype), seen)
    return readout.unflatten(2, (height, width))


def local_read(
    query_key: Float[Tensor, "b d h w"],
    memory_keys: Float[Tensor, "b s d h w"],
    memory_values: Float[Tensor, "b s v h w"],
    window: int | None,
    border: Border = "mask",
    scale: float | Float[Tensor, ""] = 1.0,
    no_match: Float[Tensor, "1"] | None = None,
    chunk_bytes: int | None = None,
) -> Float[Tensor, "b v h w"]:
    """Average, for each query cell, the values of the memory cells in its window, by how well their keys match.

    window       side of the window in cells, odd; 1 looks at the same place only, None at all places
    border       "mask": cells outside the frame do not exist. "zero", as published: they match with score 0 and hold
                 the value 0, so they weaken the readout near the border
    scale        factor on the scores: 1 as printed in (4.4); D^-0.5 is the usual one; a tensor may learn
    no_match     score of an additional, empty memory cell: what goes to it is missing from the readout
    chunk_bytes  of scores that are held at once, to within one row of tiles; None chooses by device

    Any number of frames S, in any order: none changes the result. Differentiable, with chunks computed again on the
    way back; scores are float32 or better under mixed precision, the readout has the dtype of the values.
    Raises `InputError` for shapes that do not fit, an even window, or an empty memory. Built in lesson 07.
    """
    _check_border(border)
    check_read(query_key, memory_keys, memory_values, 1 if window is None else window)
    height, width = query_key.shape[-2:]
    if window is None:
        if border == "zero":
            raise InputError("border 'zero' pads by half a window: with window=None use border 'mask'")
        window = 2 * max(height, width) - 1
    with torch.autocast(query_key.device.type, enabled=False):
        query, keys = raised(query_key, memory_keys)
        outside = _outside_score((height, width), window, memory_keys.shape[1], border, query)
        if no_match is not None:
            empty = no_match.to(query).view(1, 1).expand(height, width)
            outside = empty if outside is None else torch.logaddexp(empty, outside)
        if chunk_bytes is None:
            chunk_bytes = CHUNK_BYTES if query.device.type == "cpu" else ACCELERATOR_CHUNK_BYTES
        return _tiled_read(query * scale, keys, memory_values, window, outside, chunk_bytes)


def raised(*keys: Tensor) -> tuple[Tensor, ...]:
    """The same in float32 or better: scores of keys in half precision soon exceed its largest number."""
    return tuple(x.to(torch.promote_types(x.dtype, torch.float32)) for x in keys)


def window_inside(size: tuple[int, int], window: int, device: torch.device | None = None) -> Bool[Tensor, "r h w"]:
    """Which cells of the window around each place lie inside a frame of size (h, w); r as in `local_similarity`."""
    reach = window // 2
    rows, columns = (
        (torch.arange(side, device=device)[:, None] + torch.arange(-reach, reach + 1, device=device)) for side in size
    )  # [h, window], [w, window]
    ok_rows, ok_columns = (rows >= 0) & (rows < size[0]), (columns >= 0) & (columns < size[1])
    inside = ok_rows.T[:, None, :, None] & ok_columns.T[None, :, None, :]  # [window, window, h, w]
    return inside.flatten(0, 1)


class AxisTiles(NamedTuple):
    """One axis of a frame cut into tiles, and the cells that each tile can see."""

    size: int  # cells of a tile; the last tile may reach beyond the frame
    cells: Int[Tensor, "tiles seen"]  # of the memory that some query of the tile sees
    near: Bool[Tensor, "tiles size seen"]  # which of them each query of the tile sees

    @property
    def starts(self) -> list[int]:
        """First cell of each tile's `cells`, which are consecutive."""
        return [int(x) for x in self.cells[:, 0]]


def axis_tiles(length: int, window: int, size: int) -> AxisTiles:
    """Tiles of `size` cells on an axis of `length`. A query beyond the end counts as the last one, and is not used."""
    reach = window // 2
    seen = min(length, size + 2 * reach)
    first = torch.arange(0, length, size)  # of the queries
    start = (first - reach).clamp(0, length - seen)  # at a border, tiles see further inwards instead
    cells = start[:, None] + torch.arange(seen)
    queries = (first[:, None] + torch.arange(size)).clamp(max=length - 1)
    return AxisTiles(size, cells, (queries[:, :, None] - cells[:, None, :]).abs() <= reach)


def plan_tiles(size: tuple[int, int], window: int, cells: int, chunk_scores: int) -> tuple[AxisTiles, AxisTiles, int]:
    """Tiles of rows, tiles of columns, and how many tiles of a row make a chunk.

    cells  batch size x stored frames, by which the number of scores grows

    A chunk holds at most `chunk_scores` scores, where one row of one tile does not hold more already.
    """
    height, width = size
    best = 4 if window < 11 else 8  # measured: smaller tiles waste less of what they see, larger ones multiply faster
    across = width if best + window - 1 >= width else best  # a tile that sees the whole width need not be cut
    columns = axis_tiles(width, window, across)
    for down in (8, 4, 2, 1):
        rows = axis_tiles(height, window, min(down, best, height))
        scores = cells * rows.size * rows.cells.shape[1] * across * columns.cells.shape[1]
        if scores <= chunk_scores:
            break
    return rows, columns, max(1, chunk_scores // scores)


def _tiled_read(
    query: Float[Tensor, "b d h w"],
    keys: Float[Tensor, "b s d h w"],
    values: Float[Tensor, "b s v h w"],
    window: int,
    outside: Float[Tensor, "h w"] | None,
    chunk_bytes: int,
) -> Float[Tensor, "b v h w"]:
    batch, frames, _, height, width = keys.shape
    rows, columns, step = plan_tiles((height, width), window, batch * frames, chunk_bytes // query.element_size())
    (down, tall), (across, wide) = ((len(axis.cells), axis.size) for axis in (rows, columns))
    below, right = down * tall - height, across * wide - width
    cut = (0, right, 0, below)
    tiles = F.pad(query, cut).view(batch, -1, down, tall, across, wide).permute(0, 2, 4, 5, 3, 1)
    if outside is not None:
        outside = F.pad(outside, cut).view(down, tall, across, wide).permute(0, 2, 3, 1)  # [down, across, wide, tall]
    keys, values = (x.permute(0, 4, 3, 1, 2).contiguous() for x in (keys, values))  # [B, w, h, S, channels]
    near_rows, near_columns, cells = (x.to(query.device) for x in (rows.near, columns.near, columns.cells))
    learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (query, keys, values, outside))
    bands = []
    for i, top in enumerate(rows.starts):
        band = slice(top, top + rows.cells.shape[1])
        parts = []
        for j in range(0, across, step):
            some = slice(j, j + step)
            near = near_columns[some, :, None, :, None] & near_rows[i][None, None, :, None, :]
            empty = None if outside is None else outside[i, some]
            chunk = (tiles[:, i, some], keys[:, :, band], values[:, :, band], cells[some], near, empty)
            if learns:
                parts.append(checkpoint(_read_chunk, *chunk, use_reentrant=False, preserve_rng_state=False))
            else:
                parts.append(_read_chunk(*chunk))
        bands.append(torch.cat(parts, dim=1))  # [B, across, wide, tall, V]
    readout = torch.stack(bands, dim=1).permute(0, 5, 1, 4, 2, 3)  # [B, V, down, tall, across, wide]
    return readout.reshape(batch, -1, down * tall, across * wide)[..., :height, :width]


def _read_chunk(
    query: Float[Tensor, "b n wide tall d"],
    keys: Float[Tensor, "b w seen_rows s d"],
    values: Float[Tensor, "b w seen_rows s v"],
    cells: Int[Tensor, "n seen_columns"],
    near: Bool[Tensor, "n wide tall seen_columns seen_rows"],
    outside: Float[Tensor, "n wide tall"] | None,
) -> Float[Tensor, "b n wide tall v"]:
    """Read n tiles that lie side by side. A tile's memory cells are in the order column, row, frame."""
    batch, tiles, wide, tall, _ = query.shape
    frames = keys.shape[3]
    if cells.shape[1] < keys.shape[1]:
        keys, values = keys.index_select(1, cells.flatten()), values.index_select(1, cells.flatten())
    keys, values = (x.reshape(batch * tiles, -1, x.shape[-1]) for x in (keys, values))  # [B*n, cells, channels]
    hidden = torch.zeros(near.shape, dtype=query.dtype, device=query.device).masked_fill_(~near, -torch.inf)
    hidden = hidden[..., None].expand(*near.shape, frames).reshape(1, tiles, wide * tall, -1)
    scores = torch.bmm(query.reshape(batch * tiles, wide * tall, -1), keys.mT)  # [B*n, queries, cells]
    scores.view(batch, tiles, wide * tall, -1).add_(hidden)
    if outside is None:
        weights = scores.softmax(dim=-1)
    else:
        whole = scores.logsumexp(dim=-1).view(batch, tiles, -1)
        whole = torch.logaddexp(whole, outside.reshape(1, tiles, -1)).view(batch * tiles, -1, 1)
        weights = (scores - whole).exp()
    return torch.bmm(weights.to(values.dtype), values).view(batch, tiles, wide, tall, -1)


def _outside_score(
    size: tuple[int, int], window: int, frames: int, border: Border, like: Tensor
) -> Float[Tensor, "h w"] | None:
    """Logarithm of how many cells with score 0 the windows meet outside the frame; None if they do not count."""
    if border == "mask":
        return None
    reach = window // 2
    inside = []
    for side in size:
        places = torch.arange(side, device=like.device)
        inside.append((places + reach).clamp(max=side - 1) - (places - reach).clamp(min=0) + 1)
    return (frames * (window**2 - inside[0][:, None] * inside[1])).to(like.dtype).log()


def check_read(query_key: Tensor, memory_keys: Tensor, memory_values: Tensor, window: int) -> None:
    """Refuse shapes that do not fit, an empty memory, and an even window."""
    fits = (
        (query_key.ndim, memory_keys.ndim, memory_values.ndim) == (4, 5, 5)
        and len(query_key) == len(memory_keys)
        and query_key.shape[1:] == memory_keys.shape[2:]
        and memory_keys.shape[:2] == memory_values.shape[:2]
        and memory_keys.shape[3:] == memory_values.shape[3:]
        and memory_keys.shape[1] > 0
    )
    if not fits:
        raise InputError(
            "a memory read takes a query key [B, D, h, w], memory keys [B, S, D, h, w] and memory values "
            f"[B, S, V, h, w] with at least one frame, got {list(query_key.shape)}, {list(memory_keys.shape)} and "
            f"{list(memory_values.shape)}"
        )
    if window < 1 or window % 2 == 0:
        raise InputError(f"the window is a side length in cells with a centre: odd and at least 1, got {window}")


def _check_border(border: str) -> None:
    if border not in get_args(Border):
        raise InputError(f"border must be 'mask' or 'zero', got {border!r}")
