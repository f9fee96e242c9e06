"""Axial attention is full attention whose scores outside the row, then outside the column, are minus infinity."""

import pytest
import torch

from course_lib.errors import InputError
from course_lib.nn.axial_attention import AxialAttention, LineAttention, by_offset


def line_attention(inputs: int = 6, outputs: int = 8, heads: int = 2, span: int = 5, along: str = "row"):
    """A `LineAttention` whose offsets weigh as much as its features."""
    torch.manual_seed(0)
    layer = LineAttention(inputs, outputs, heads, span, along)
    with torch.no_grad():
        for table in (layer.query_offsets, layer.key_offsets, layer.value_offsets):
            table.normal_()
    return layer


def slow_full_attention(layer: LineAttention, x: torch.Tensor) -> torch.Tensor:
    """Every cell against every cell of the image, one score at a time; scores off the line are minus infinity."""
    batch, _, height, width = x.shape
    query, key, value = layer.project(x).detach().chunk(3, dim=1)
    size = query.shape[1] // layer.heads
    zero = (layer.query_offsets.shape[1] + 1) // 2 - 1  # column of the table for offset 0
    cells = [(y, x) for y in range(height) for x in range(width)]
    out = torch.zeros_like(query)
    for b in range(batch):
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            for cell in cells:
                q = query[b, part, cell[0], cell[1]]
                scores, values = [], []
                for other in cells:
                    dy, dx = other[0] - cell[0], other[1] - cell[1]
                    off_line = dy if layer.along == "row" else dx
                    if off_line:
                        scores.append(torch.tensor(-torch.inf))
                        values.append(torch.zeros(size))
                        continue
                    n = zero + (dx if layer.along == "row" else dy)
                    k = key[b, part, other[0], other[1]]
                    score = q @ k + q @ layer.query_offsets[:, n] + k @ layer.key_offsets[:, n]
                    scores.append(score / size**0.5)
                    values.append(value[b, part, other[0], other[1]] + layer.value_offsets[:, n])
                weights = torch.stack(scores).softmax(0)
                out[b, part, cell[0], cell[1]] = (weights[:, None] * torch.stack(values)).sum(0)
    return out


@pytest.mark.parametrize(("along", "span"), [("row", 5), ("column", 4)])
def test_one_hop_is_full_attention_kept_to_the_line(along, span):
    layer = line_attention(span=span, along=along)
    x = torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        assert torch.allclose(layer(x), slow_full_attention(layer, x), atol=1e-5)


def test_two_hops_are_the_row_then_the_column_each_added():
    torch.manual_seed(0)
    block = AxialAttention(4, heads=2, span=(3, 4))
    x = torch.randn(1, 4, 3, 4)
    with torch.no_grad():
        by_row = x + slow_full_attention(block.row, block.row_norm(x))
        by_both = by_row + slow_full_attention(block.column, block.column_norm(by_row))
        assert torch.allclose(block(x), by_both, atol=1e-5)


def test_a_hop_reaches_the_line_and_two_hops_the_image():
    torch.manual_seed(0)

    def reached(layer):
        x = torch.randn(1, 4, 5, 6, requires_grad=True)
        layer(x)[0, :, 2, 3].sum().backward()
        return x.grad.abs().sum(dim=(0, 1)) > 1e-8

    row, column = torch.zeros(5, 6, dtype=torch.bool), torch.zeros(5, 6, dtype=torch.bool)
    row[2], column[:, 3] = True, True
    assert torch.equal(reached(LineAttention(4, 4, 2, 6, "row")), row)
    assert torch.equal(reached(LineAttention(4, 4, 2, 5, "column")), column)
    first, second = LineAttention(4, 4, 2, 6, "row"), LineAttention(4, 4, 2, 5, "column")
    assert reached(lambda x: second(first(x))).all()


def test_weights_of_a_line_sum_to_one():
    for along, length, lines in (("row", 7, 3), ("column", 3, 7)):
        affinity = line_attention(along=along).affinity(10 * torch.randn(2, 6, 3, 7))
        assert affinity.shape == (2, 2, lines, length, length)  # heads, lines, answering cell, asking cell
        assert (affinity >= 0).all() and torch.allclose(affinity.sum(3), torch.ones(2, 2, lines, length))


def test_rows_and_columns_are_one_operation_on_a_transposed_image():
    row, column = line_attention(span=5, along="row"), line_attention(span=5, along="column")
    column.load_state_dict(row.state_dict())
    x = torch.randn(2, 6, 4, 5)
    assert torch.allclose(row(x), column(x.transpose(2, 3)).transpose(2, 3), atol=1e-6)


def test_the_batch_may_be_permuted():
    torch.manual_seed(0)
    block = AxialAttention(8, heads=4, span=(4, 4))
    x, order = torch.randn(5, 8, 4, 4), torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(block(x)[order], block(x[order]), atol=1e-6)


def test_without_offsets_cells_of_a_line_may_be_permuted():
    layer = line_attention()
    x, order = torch.randn(1, 6, 3, 5), torch.tensor([4, 2, 0, 1, 3])
    assert not torch.allclose(layer(x)[..., order], layer(x[..., order]), atol=1e-2)
    with torch.no_grad():
        for table in (layer.query_offsets, layer.key_offsets, layer.value_offsets):
            table.zero_()
    assert torch.allclose(layer(x)[..., order], layer(x[..., order]), atol=1e-5)


def test_a_table_of_offsets_is_read_by_difference():
    table = torch.arange(-3.0, 4.0)[None]  # span 4: the entry of offset o is o
    read = by_offset(table, 4)[0]
    assert torch.equal(read, torch.tensor([[n - q for q in range(4)] for n in range(4)]).float())


@pytest.mark.parametrize("length", [1, 2, 3, 6, 9])
def test_other_lengths_stretch_the_table_linearly(length):
    table = torch.arange(-3.0, 4.0)[None]
    read = by_offset(table, length)[0]
    step = 0.0 if length == 1 else 3 / (length - 1)  # the longest offset stays the longest
    expected = torch.tensor([[(n - q) * step for q in range(length)] for n in range(length)])
    assert torch.allclose(read, expected, atol=1e-6)


def test_any_size_is_taken():
    block = AxialAttention(8, heads=2, span=(4, 6))
    for size in [(1, 1), (4, 6), (7, 3), (9, 17)]:
        assert block(torch.randn(1, 8, *size)).shape == (1, 8, *size)


def test_gradients_against_finite_differences():
    layer = line_attention(inputs=2, outputs=2, heads=1, span=2).double()
    x = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"outputs": 8, "heads": 3}, "8 channels cannot be split among 3 heads"),
        ({"span": 0}, "at least 1, got 0"),
        ({"along": "diagonal"}, "'row' or a 'column', got 'diagonal'"),
    ],
)
def test_what_cannot_be_built_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        LineAttention(**({"inputs": 4, "outputs": 8, "heads": 2, "span": 4, "along": "row"} | given))
