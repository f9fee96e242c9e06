"""The convolutional GRU against its equations written out, and its limits."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.nn.conv_gru import ConvGRU
from course_lib.nn.conv_lstm import ConvLSTM


def parameters(cell: torch.nn.Module) -> int:
    return sum(p.numel() for p in cell.parameters())


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_three_steps_are_the_equations(kernel):
    """z, r and q each from two separate convolutions, one of the state and one of the input."""
    torch.manual_seed(0)
    cell = ConvGRU(2, 3, kernel).double()
    for conv in (cell.gates, cell.candidate):
        torch.nn.init.normal_(conv.bias)
    weights = (*cell.gates.weight.chunk(2), cell.candidate.weight)
    biases = (*cell.gates.bias.chunk(2), cell.candidate.bias)

    def pre(gate: int, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        of_state = F.conv2d(h, weights[gate][:, :3], biases[gate], padding="same")
        return of_state + F.conv2d(x, weights[gate][:, 3:], padding="same")

    h = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    state = cell.start(h, torch.full_like(h, torch.nan))  # the second map is not used
    for x in torch.randn(3, 2, 2, 5, 4, dtype=torch.float64):
        state = cell(x, state)
        z = torch.sigmoid(pre(0, h, x))
        r = torch.sigmoid(pre(1, h, x))
        q = torch.tanh(pre(2, r * h, x))
        h = (1 - z) * h + z * q
        torch.testing.assert_close(state, (h,))


def test_against_torch_on_a_single_pixel():
    """torch.nn.GRUCell writes h <- (1 - z) n + z h, so its z is one minus ours, and resets after its product."""
    torch.manual_seed(0)
    cell, other = ConvGRU(3, 4, 1), torch.nn.GRUCell(3, 4)
    with torch.no_grad():
        cell.candidate.weight[:, :4] = 0  # where the reset gate would make the two differ
        (z, r), q = cell.gates.weight[:, :, 0, 0].chunk(2), cell.candidate.weight[:, :, 0, 0]
        other.weight_hh.copy_(torch.cat([r[:, :4], -z[:, :4], q[:, :4]]))
        other.weight_ih.copy_(torch.cat([r[:, 4:], -z[:, 4:], q[:, 4:]]))
        other.bias_hh.zero_()
        other.bias_ih.zero_()
    x, h = torch.randn(5, 3), torch.randn(5, 4)
    torch.testing.assert_close(cell(x[:, :, None, None], (h[:, :, None, None],))[0][:, :, 0, 0], other(x, h))


def test_parameter_counts():
    assert parameters(ConvGRU(64, 64)) == 221_376
    assert parameters(ConvLSTM(64, 64)) == 295_168


@pytest.mark.parametrize("amplitude", [1.0, 100.0])
def test_the_state_stays_within_one(amplitude):
    torch.manual_seed(0)
    cell = ConvGRU(2, 3)
    state = (torch.rand(1, 3, 6, 6) * 2 - 1,)
    for _ in range(50):
        state = cell(amplitude * torch.randn(1, 2, 6, 6), state)
        assert state[0].abs().max() <= 1


def test_a_closed_update_gate_keeps_the_state_and_an_open_one_replaces_it():
    torch.manual_seed(0)
    cell = ConvGRU(2, 3)
    x, h = torch.randn(1, 2, 5, 5), torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        cell.gates.bias[:3] = -1000
    assert torch.equal(cell(x, (h,))[0], h)
    with torch.no_grad():
        cell.gates.bias[:3] = 1000
        cell.gates.bias[3:] = -1000  # and nothing of h reaches the candidate
    torch.testing.assert_close(cell(x, (h,))[0], cell(x, (torch.zeros_like(h),))[0], atol=1e-6, rtol=0)
