"""The convolutional LSTM against equation 4.11 pixel by pixel, published parameter counts, and its limits."""

import math

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.recurrent_cell import gradient_reach


def parameters(cell: torch.nn.Module) -> int:
    return sum(p.numel() for p in cell.parameters())


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def one_step_by_pixels(cell: ConvLSTM, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equation 4.11 with one loop for each index: x [Cin, H, W], h and c [C, H, W]."""
    weight, bias = cell.gates.weight.detach().numpy(), cell.gates.bias.detach().numpy()
    inputs, channels, reach = len(x), len(c), cell.kernel // 2
    peep = np.zeros((3, channels)) if cell.peepholes is None else cell.peepholes.detach().numpy()[:, :, 0, 0]
    _, height, width = c.shape

    def pre(gate: int, k: int, row: int, column: int) -> float:
        """(W_x * x + W_h * h + b) of one gate (i, f, o, g), channel and position."""
        out = gate * channels + k
        total = bias[out]
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                y, z = row + dy, column + dx
                if 0 <= y < height and 0 <= z < width:
                    at = (dy + reach, dx + reach)
                    total += sum(weight[out, n][at] * x[n, y, z] for n in range(inputs))
                    total += sum(weight[out, inputs + n][at] * h[n, y, z] for n in range(channels))
        return total

    new_h, new_c = np.zeros_like(h), np.zeros_like(c)
    for k, row, column in np.ndindex(c.shape):
        at = (k, row, column)
        i = sigmoid(pre(0, *at) + peep[0, k] * c[at])
        f = sigmoid(pre(1, *at) + peep[1, k] * c[at])
        g = pre(3, *at)
        new_c[at] = f * c[at] + i * (math.tanh(g) if cell.variant == "tanh" else sigmoid(g))
        o = sigmoid(pre(2, *at) + peep[2, k] * new_c[at])
        new_h[at] = o * (math.tanh(new_c[at]) if cell.variant == "tanh" else max(new_c[at], 0))
    return new_h, new_c


@pytest.mark.parametrize("variant", ["tanh", "relu"])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("kernel", [3, 5])
def test_three_steps_are_equation_4_11_at_every_pixel(variant, peepholes, kernel):
    torch.manual_seed(0)
    cell = ConvLSTM(2, 3, kernel, variant, peepholes).double()
    if peepholes:
        torch.nn.init.normal_(cell.peepholes)
    inputs = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    state = cell.start(*torch.randn(2, 1, 3, 3, 4, dtype=torch.float64))
    h, c = (entry[0].numpy() for entry in state)
    for x in inputs:
        state = cell(x[None], state)
        h, c = one_step_by_pixels(cell, x.numpy(), h, c)
        np.testing.assert_allclose(state[0][0].detach().numpy(), h, rtol=1e-10)
        np.testing.assert_allclose(state[1][0].detach().numpy(), c, rtol=1e-10)


def test_the_output_peephole_sees_the_new_cell_state():
    """By hand: all weights zero, c_0 = 0, so i = 1/2 and g = tanh(1) make c_1; o = sigmoid(2 c_1)."""
    cell = ConvLSTM(1, 1, 1, peepholes=True, forget_bias=0)
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias[3] = 1
        cell.peepholes[2] = 2
    x = torch.zeros(1, 1, 1, 1)
    h, c = cell(x, cell.zeros(x))
    assert c.item() == pytest.approx(math.tanh(1) / 2)
    assert h.item() == pytest.approx(sigmoid(2 * c.item()) * math.tanh(c.item()))


def test_new_peepholes_change_nothing_but_learn():
    torch.manual_seed(0)
    plain, peeping = ConvLSTM(2, 3), ConvLSTM(2, 3, peepholes=True)
    peeping.load_state_dict(plain.state_dict(), strict=False)
    x, state = torch.randn(1, 2, 4, 4), tuple(torch.randn(2, 1, 3, 4, 4))
    assert torch.equal(plain(x, state)[0], peeping(x, state)[0])
    peeping(x, state)[0].sum().backward()
    assert (peeping.peepholes.grad != 0).all()


@pytest.mark.parametrize(
    ("channels", "kernel", "count"),
    [(512, 3, 18_876_416), (256, 5, 13_108_224), (1024, 3, 75_501_568), (1024, 5, 209_719_296), (64, 5, 819_456)],
)
def test_parameter_counts(channels, kernel, count):
    with torch.device("meta"):
        assert parameters(ConvLSTM(channels, channels, kernel)) == count
        assert parameters(ConvLSTM(channels, channels, kernel, peepholes=True)) == count + 3 * channels


def test_the_two_halves_of_the_input_may_differ_in_width():
    assert parameters(ConvLSTM(7, 3)) == 4 * 3 * ((7 + 3) * 9 + 1)


@pytest.mark.parametrize("bias", [1.0, -2.0])
def test_forget_bias_decides_how_fast_an_untouched_memory_fades(bias):
    cell = ConvLSTM(1, 2, forget_bias=bias)
    torch.nn.init.zeros_(cell.gates.weight)
    x = torch.zeros(1, 1, 3, 3)
    state = cell.start(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3))
    for step in range(1, 5):
        state = cell(x, state)  # i = 1/2, but the candidate tanh(0) = 0 adds nothing
        torch.testing.assert_close(state[1], torch.full_like(state[1], sigmoid(bias) ** step))


def test_tanh_bounds_the_output_and_relu_keeps_it_non_negative():
    torch.manual_seed(0)
    x = 50 * torch.randn(4, 2, 6, 6)
    bounded, positive = ConvLSTM(2, 3), ConvLSTM(2, 3, variant="relu")
    a, b = bounded.zeros(x), positive.zeros(x)
    for _ in range(20):
        a, before, b = bounded(x, a), b, positive(x, b)
        assert a[0].abs().max() <= 1
        assert b[0].min() >= 0
        assert b[1].min() >= 0
        assert (b[1] - before[1]).max() <= 1
    assert b[0].max() > 1  # which tanh could not give


def test_many_small_additions_add_up_under_autocast():
    """A cell state in bfloat16 would stop near 0.13, where an addition of 0.0003 is less than half its last digit."""
    cell = ConvLSTM(1, 1, 1, forget_bias=100)
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias[0], cell.gates.bias[3] = -8, 100
    x = torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16)
    state = cell.zeros(x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(600):
            state = cell(x, state)
    assert state[1].item() == pytest.approx(600 * sigmoid(-8), rel=1e-3)


def test_an_open_forget_gate_carries_gradients_without_loss_and_a_closed_one_none():
    """Without hidden weights, time runs through c alone: its gradient is the product of forget gates."""
    inputs = torch.full((1, 9, 1, 3, 3), 0.3)
    reach = {}
    for bias in (1000.0, -1000.0):
        torch.manual_seed(0)
        cell = ConvLSTM(1, 1, 1, forget_bias=bias)
        with torch.no_grad():
            cell.gates.weight[:, 1:] = 0
        reach[bias] = gradient_reach(cell, inputs, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reach[1000.0][:-1], reach[1000.0][:1].expand(8))
    assert not reach[-1000.0][:-1].any()
    assert reach[-1000.0][-1] > 0


@pytest.mark.parametrize("kernel", [3, 5])
def test_each_step_sees_half_a_kernel_further(kernel):
    torch.manual_seed(0)
    cell = ConvLSTM(1, 2, kernel)
    frames = [torch.randn(1, 1, 17, 17, requires_grad=True) for _ in range(3)]
    state = cell.zeros(frames[0])
    for x in frames:
        state = cell(x, state)
    grads = torch.autograd.grad(state[0][0, :, 8, 8].sum(), frames)
    for age, grad in enumerate(reversed(grads)):
        seen = (age + 1) * (kernel // 2)
        rows, columns = grad[0, 0].nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8 - seen, 8 + seen, 8 - seen, 8 + seen)


def test_an_unknown_variant_is_refused():
    with pytest.raises(InputError, match="'tanh' or 'relu', got 'gelu'"):
        ConvLSTM(1, 1, variant="gelu")
