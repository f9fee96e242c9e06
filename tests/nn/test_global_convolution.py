"""A global convolution is a dense convolution whose kernel is two separable ones, at a fraction of the weights."""

import pytest
import torch
from torch import nn

from course_lib.errors import InputError
from course_lib.nn.global_convolution import GlobalConvolution


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def dense_kernel(block: GlobalConvolution) -> torch.Tensor:
    """The k x k kernel [outputs, inputs, k, k] that both paths make, from outer products of their strips."""
    tall, wide = block.tall.weight[..., 0], block.wide.weight[..., 0, :]  # [mid, inputs, k]
    then_wide, then_tall = block.tall_wide.weight[..., 0, :], block.wide_tall.weight[..., 0]  # [outputs, mid, k]
    first = torch.einsum("omx,miy->oiyx", then_wide, tall)
    return first + torch.einsum("omy,mix->oiyx", then_tall, wide)


def test_it_is_the_dense_convolution_with_the_sum_of_two_separable_kernels():
    torch.manual_seed(0)
    block = GlobalConvolution(3, 4, mid=5, kernel=7)
    for strip in (block.tall, block.wide):
        nn.init.zeros_(strip.bias)  # a first strip's bias meets the border in its second strip; tested apart
    x = torch.randn(2, 3, 9, 13)
    bias = block.tall_wide.bias + block.wide_tall.bias
    dense = nn.functional.conv2d(x, dense_kernel(block), bias, padding=3)
    assert torch.allclose(block(x), dense, atol=1e-5)


def test_an_impulse_answers_with_the_kernel_turned_round():
    torch.manual_seed(0)
    block = GlobalConvolution(1, 1, mid=2, kernel=5)
    impulse = torch.zeros(1, 1, 11, 11)
    impulse[..., 5, 5] = 1
    answer = block(impulse) - block(torch.zeros_like(impulse))
    expected = torch.zeros(11, 11)
    expected[3:8, 3:8] = dense_kernel(block)[0, 0].flip(0, 1)
    assert torch.allclose(answer[0, 0], expected, atol=1e-6)


def test_without_a_second_channel_between_strips_the_kernel_has_rank_two():
    torch.manual_seed(0)
    block = GlobalConvolution(1, 1, mid=1, kernel=7)
    assert torch.linalg.matrix_rank(dense_kernel(block)[0, 0]) == 2
    block.wide_tall.weight.data.zero_()
    assert torch.linalg.matrix_rank(dense_kernel(block)[0, 0]) == 1


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_one_cell_sees_a_window_of_kernel_by_kernel_cells(kernel):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 15, 15, requires_grad=True)
    GlobalConvolution(2, 3, mid=4, kernel=kernel)(x)[..., 7, 7].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    inside = torch.zeros(15, 15, dtype=torch.bool)
    half = kernel // 2
    inside[7 - half : 8 + half, 7 - half : 8 + half] = True
    assert torch.equal(seen, inside)


def test_weights_are_as_many_as_published():
    with torch.device("meta"):
        block, dense = GlobalConvolution(2048, 512, mid=256, kernel=7), nn.Conv2d(2048, 512, 7, padding=3)
    assert count(block) == 9_176_576
    assert count(dense) == 51_380_736
    assert round(count(dense) / count(block), 1) == 5.6


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(InputError, match="must be odd, got 4"):
        GlobalConvolution(2, 2, 2, kernel=4)
