"""The deep recurrent memory against its equations, its cut gradients, and what depth does to signals."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.nn.deep_recurrent import DeepConvRNN


def by_equations(cell: DeepConvRNN, x: torch.Tensor, state: tuple, cut: list[bool]) -> tuple[torch.Tensor, ...]:
    """One step written out, with two separate convolutions for memory and input, and the layers to cut given."""
    memories = []
    for layer, m in enumerate(state[1:]):
        w_d, w_s = cell.representation[layer], cell.temporal[layer]
        d = torch.tanh(F.conv2d(x, w_d.weight, w_d.bias, padding="same"))
        read = x.detach() if cut[layer] else x
        of_memory = F.conv2d(m, w_s.weight[:, : cell.channels], w_s.bias, padding="same")
        s = torch.sigmoid(of_memory + F.conv2d(read, w_s.weight[:, cell.channels :], padding="same"))
        memories.append(s - 0.5)
        x = s * d
    return x, *memories


def gradient(cell: DeepConvRNN, x: torch.Tensor, state: tuple) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(cell(x, state)[0].square().sum(), x)[0]


@pytest.fixture
def scene() -> tuple[DeepConvRNN, torch.Tensor, tuple]:
    torch.manual_seed(0)
    cell = DeepConvRNN(2, 3, layers=4).double()
    for conv in (*cell.representation, *cell.temporal):
        torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    return cell, x, tuple(torch.randn(cell.maps, 2, 3, 5, 4, dtype=torch.float64))


def test_a_step_is_the_equations(scene):
    cell, x, state = scene
    torch.testing.assert_close(cell.eval()(x, state), by_equations(cell, x, state, [False] * 4))


def test_the_last_output_is_not_part_of_the_memory(scene):
    cell, x, state = scene
    for a, b in zip(cell(x, state), cell(x, (torch.zeros_like(state[0]), *state[1:]))):
        assert torch.equal(a, b)


def test_training_changes_gradients_and_no_value(scene):
    cell, x, state = scene
    for a, b in zip(cell.train()(x, state), cell.eval()(x, state)):
        assert torch.equal(a, b)
    cell.bridge = 1.0
    assert not torch.allclose(gradient(cell.train(), x, state), gradient(cell.eval(), x, state))
    cell.bridge = 0.0
    assert torch.equal(gradient(cell.train(), x, state), gradient(cell.eval(), x, state))


def test_a_cut_layer_learns_but_does_not_bend_its_input():
    torch.manual_seed(0)
    cell = DeepConvRNN(2, 3, layers=1, bridge=1.0)
    x, state = torch.randn(1, 2, 4, 4), tuple(torch.randn(2, 1, 3, 4, 4))
    got = gradient(cell.train(), x, state)
    gate = cell.eval()(x, state)[1].detach() + 0.5
    x.requires_grad_()
    (expected,) = torch.autograd.grad((gate * cell.representation[0](x).tanh()).square().sum(), x)
    torch.testing.assert_close(got, expected)
    cell.train()(x, state)[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in cell.parameters())


def test_cuts_are_drawn_once_per_call_and_layer_from_torchs_generator(scene):
    cell, x, state = scene
    cell.train()
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        cut = (torch.rand(4) < 0.5).tolist()
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        got = gradient(cell, x, state)
        assert torch.equal(torch.get_rng_state(), after)  # four numbers, no more
        leaf = x.detach().requires_grad_()
        (expected,) = torch.autograd.grad(by_equations(cell, leaf, state, cut)[0].square().sum(), leaf)
        torch.testing.assert_close(got, expected)
        seen.add(tuple(cut))
    assert len(seen) > 6


def test_nothing_is_drawn_in_eval_mode(scene):
    cell, x, state = scene
    before = torch.get_rng_state()
    cell.eval()(x, state)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("retention", [0.0, 0.5, 0.75, 1.0])
def test_an_untrained_layer_keeps_the_promised_share_of_a_small_memory(retention):
    """With the small random weights taken away again, which are those of a cell without retention."""
    cells = []
    for share in (retention, 0.0):
        torch.manual_seed(0)
        cells.append(DeepConvRNN(1, 2, layers=2, retention=share).eval())
    cell, without = cells
    with torch.no_grad():
        for conv, small in zip(cell.temporal, without.temporal):
            conv.weight -= small.weight
    x = torch.zeros(1, 1, 3, 3)
    memory = 0.01 * torch.randn(1, 2, 3, 3).clamp(-2, 2)
    state = cell.start(memory, memory)
    for step in range(1, 4):
        state = cell(x, state)
        for m in state[1:]:
            torch.testing.assert_close(m, retention**step * memory, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("layers", [1, 5, 15])
def test_signals_and_gradients_pass_an_untrained_stack_of_any_depth(layers):
    torch.manual_seed(0)
    cell = DeepConvRNN(16, 16, layers=layers).eval()
    x = torch.randn(1, 16, 12, 12, requires_grad=True)
    output = cell(x, cell.zeros(x))[0]
    (grad,) = torch.autograd.grad(output, x, torch.randn_like(output))
    assert 0.2 < output.std() < 0.6
    assert 0.3 < grad.std() < 3


def test_outputs_and_memories_are_bounded():
    torch.manual_seed(0)
    cell = DeepConvRNN(2, 3)
    output, *memories = cell(1000 * torch.randn(1, 2, 6, 6), cell.zeros(torch.zeros(1, 2, 6, 6)))
    assert output.abs().max() <= 1
    assert all(m.abs().max() <= 0.5 for m in memories)


def test_parameters_grow_with_depth():
    counts = [sum(p.numel() for p in DeepConvRNN(7, 4, layers=n).parameters()) for n in (1, 2, 5)]
    first = 4 * (7 * 9 + 1) + 4 * ((7 + 4) * 9 + 1)
    further = 4 * (4 * 9 + 1) + 4 * (8 * 9 + 1)
    assert counts == [first, first + further, first + 4 * further]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"layers": 0}, "layer, got 0"), ({"bridge": 1.5}, "got 1.5"), ({"retention": -0.1}, "got -0.1")],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        DeepConvRNN(1, 1, **arguments)
