"""The tensor-train LSTM against a dense contraction, its recursion by hand, and which past it sees."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.recurrent_cell import gradient_reach
from course_lib.nn.tensor_train import ConvTTLSTM


def parameters(cell: torch.nn.Module) -> int:
    return sum(p.numel() for p in cell.parameters())


def history(cell: ConvTTLSTM, size: int = 5) -> list[torch.Tensor]:
    return list(torch.randn(cell.steps, 2, cell.channels, size, size, dtype=torch.float64))


def test_parameter_counts():
    assert parameters(ConvTTLSTM(64, 64)) == 502_696
    assert parameters(ConvLSTM(64, 64, 5)) == 819_456


@pytest.mark.parametrize(("order", "steps"), [(1, 1), (1, 3), (3, 3), (2, 4), (4, 5)])
def test_with_pointwise_kernels_the_train_is_one_dense_tensor(order, steps):
    """Each window's weight is a product of cores; their sum over windows is a tensor [rank, steps, C]."""
    torch.manual_seed(0)
    cell = ConvTTLSTM(2, 3, 1, order, steps, rank=4).double()
    states = history(cell)
    window = steps - order + 1
    cores = [core.weight[:, :, 0, 0] for core in cell.cores]
    dense = torch.zeros(4, steps, 3, dtype=torch.float64)
    for n in range(order):
        entry = cell.summaries[n].weight[:, :, 0, 0].view(4, window, 3)
        for core in cores[n:]:
            entry = torch.einsum("pr,rsc->psc", core, entry)
        dense[:, n : n + window] += entry
    expected = torch.einsum("rsc,sbcyx->bryx", dense, torch.stack(states))
    torch.testing.assert_close(cell.train_of(states), expected)


def test_the_recursion_of_order_two_unrolled_by_hand():
    """Order 2 over 3 steps: w_2 = P_2 * [h_{t-2}; h_{t-1}] + A_1 * (P_1 * [h_{t-3}; h_{t-2}]), then the gates."""
    torch.manual_seed(0)
    cell = ConvTTLSTM(2, 3, 3, order=2, steps=3, rank=4).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    h3, h2, h1 = history(cell)
    c = torch.randn_like(h1)
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)

    def conv(of: torch.Tensor, by: torch.nn.Conv2d) -> torch.Tensor:
        return F.conv2d(of, by.weight, by.bias, padding="same")

    first = conv(torch.cat([h3, h2], 1), cell.summaries[0])
    w = conv(torch.cat([h2, h1], 1), cell.summaries[1]) + conv(first, cell.cores[0])
    i, f, o, g = conv(torch.cat([x, w], 1), cell.gates).chunk(4, 1)
    new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    new_h = o.sigmoid() * new_c.tanh()
    torch.testing.assert_close(cell(x, (h1, c, h2, h3)), (new_h, new_c, h1, h2))


def test_the_state_holds_the_last_outputs_newest_first():
    torch.manual_seed(0)
    cell = ConvTTLSTM(2, 3, 3, order=3, steps=4)
    x = torch.randn(1, 2, 4, 4)
    state, outputs = cell.zeros(x), []
    for _ in range(6):
        state = cell(torch.randn_like(x), state)
        outputs.append(state[0])
    for kept, output in zip((state[0], *state[2:]), reversed(outputs)):
        assert torch.equal(kept, output)


def test_it_sees_three_frames_back_where_an_lstm_given_its_state_does_not():
    torch.manual_seed(0)
    cell, lstm = ConvTTLSTM(2, 3), ConvLSTM(2, 3)
    x = torch.randn(1, 2, 6, 6)
    h, c, older, oldest = torch.randn(4, 1, 3, 6, 6)
    full = cell(x, (h, c, older, oldest))[0]
    assert not torch.allclose(full, cell(x, (h, c, older, torch.zeros_like(oldest)))[0])
    assert not torch.allclose(full, cell(x, (h, c, torch.zeros_like(older), oldest))[0])
    oldest.requires_grad_()
    (grad,) = torch.autograd.grad(lstm(x, (h, c))[0].sum(), oldest, allow_unused=True)
    assert grad is None  # all that an LSTM knows of it is in (h, c)


def test_a_train_that_reads_only_its_oldest_window_skips_the_frames_between():
    """Forget gate shut and P_2 = P_3 = 0: the output at t hangs on inputs t, t - 3, t - 6 and on no other."""
    torch.manual_seed(0)
    cell = ConvTTLSTM(2, 3)
    with torch.no_grad():
        cell.gates.bias[3:6] = -1000
        for summary in cell.summaries[1:]:
            summary.weight.zero_()
    reach = gradient_reach(cell, torch.randn(1, 8, 2, 5, 5))
    assert (reach > 0).tolist() == [False, True, False, False, True, False, False, True]


def test_older_states_are_seen_from_further_around():
    """h_{t-n} passes P_n, n - 1 cores and the gates: n + 1 kernels of size 3."""
    torch.manual_seed(0)
    cell = ConvTTLSTM(1, 2, 3)
    h, c, older, oldest = (torch.randn(1, 2, 15, 15, requires_grad=True) for _ in range(4))
    output = cell(torch.randn(1, 1, 15, 15), (h, c, older, oldest))[0]
    grads = torch.autograd.grad(output[0, :, 7, 7].sum(), (h, older, oldest))
    for n, grad in enumerate(grads, start=1):
        rows, columns = grad[0].sum(0).nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6 - n, 8 + n, 6 - n, 8 + n)


def test_it_starts_as_if_every_earlier_frame_had_left_the_initial_state():
    cell = ConvTTLSTM(2, 3, order=2, steps=4)
    hidden, memory = torch.randn(2, 1, 3, 4, 4)
    h, c, *older = cell.start(hidden, memory)
    assert h is hidden
    assert c is memory
    assert len(older) == 3
    assert all(entry is hidden for entry in older)


@pytest.mark.parametrize(("order", "steps", "rank"), [(0, 3, 8), (4, 3, 8), (3, 3, 0)])
def test_a_train_that_cannot_be_built_is_refused(order, steps, rank):
    with pytest.raises(InputError, match=f"steps >= order.*order={order}, rank={rank}, steps={steps}"):
        ConvTTLSTM(2, 3, order=order, steps=steps, rank=rank)
