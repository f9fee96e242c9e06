"""What every recurrent cell must keep to, tested on all of them, and the gradient reach."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.errors import InputError
from course_lib.nn.conv_gru import ConvGRU
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.deep_recurrent import DeepConvRNN
from course_lib.nn.recurrent_cell import RecurrentCell, gradient_reach
from course_lib.nn.tensor_train import ConvTTLSTM

MAKERS = {
    "lstm": ConvLSTM,
    "lstm-relu": partial(ConvLSTM, variant="relu"),
    "lstm-peepholes": partial(ConvLSTM, peepholes=True),
    "gru": ConvGRU,
    "tensor-train": partial(ConvTTLSTM, kernel=3, rank=2),
    "tensor-train-long": partial(ConvTTLSTM, kernel=3, order=2, steps=4, rank=2),
    "deep": partial(DeepConvRNN, layers=3),
}
Maker = Callable[..., RecurrentCell]


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def make(request: pytest.FixtureRequest) -> Maker:
    torch.manual_seed(0)
    return request.param


def run(cell: RecurrentCell, inputs: Tensor) -> tuple[Tensor, ...]:
    """The state after inputs [B, T, C, h, w], from zeros."""
    state = cell.zeros(inputs[:, 0])
    for x in inputs.unbind(1):
        state = cell(x, state)
    return state


def test_zeros_have_size_dtype_and_device_of_the_example(make):
    cell = make(3, 5)
    for like in (torch.ones(2, 9, 4, 7, dtype=torch.float64), torch.ones(1, 1, 3, 3, device="meta")):
        state = cell.zeros(like)
        assert len(state) == cell.maps
        for entry in state:
            assert entry.shape == (like.shape[0], 5, *like.shape[2:])
            assert (entry.dtype, entry.device) == (like.dtype, like.device)
    assert all(not entry.any() for entry in cell.zeros(torch.ones(2, 9, 4, 7)))


def test_a_state_keeps_its_shapes_and_its_first_entry_has_the_channels_of_the_cell(make):
    cell = make(3, 5)
    for size in ((1, 1), (2, 9), (6, 5)):  # down to one cell, and not square
        x = torch.randn(2, 3, *size)
        after = cell(x, cell.zeros(x))
        assert isinstance(after, tuple)
        assert [e.shape for e in after] == [e.shape for e in cell.zeros(x)]
        assert torch.equal(after[0], cell(x, cell.zeros(x))[0])


def test_start_puts_the_hidden_map_first_and_is_a_state_of_the_cell(make):
    cell = make(3, 5)
    hidden, memory = torch.randn(2, 2, 5, 6, 6)
    state = cell.start(hidden, memory)
    assert state[0] is hidden
    x = torch.randn(2, 3, 6, 6)
    moved = cell.start(hidden + 0.5, memory)
    assert not torch.allclose(cell(x, state)[0], cell(x, moved)[0])
    assert len(cell(x, state)) == len(state) == cell.maps


def test_gradients_of_input_state_and_weights_are_those_of_finite_differences(make):
    cell = make(2, 2).double().eval()
    names, weights = zip(*cell.named_parameters())
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64)
    state = tuple(torch.rand(1, 2, 3, 2, dtype=torch.float64) + 0.1 for _ in range(cell.maps))  # off the ReLU's corner

    def two_steps(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, weights = rest[: cell.maps], rest[cell.maps :]
        named = dict(zip(names, weights))
        return functional_call(cell, named, (x, functional_call(cell, named, (x, state))))

    inputs = [t.detach().clone().requires_grad_() for t in (x, *state, *weights)]
    assert torch.autograd.gradcheck(two_steps, inputs)


def test_items_of_a_batch_do_not_see_each_other(make):
    cell = make(3, 4).eval()
    inputs = torch.randn(3, 4, 3, 5, 6)
    together = run(cell, inputs)
    for item in range(3):
        alone = run(cell, inputs[item : item + 1])
        for a, b in zip(together, alone):
            torch.testing.assert_close(a[item : item + 1], b, atol=1e-6, rtol=1e-5)


def test_weights_are_shared_by_all_positions(make):
    """Away from the border, moving the image by one column moves the state by one column."""
    cell = make(2, 3).eval()
    scene = torch.randn(1, 2, 2, 25, 26)
    a, b = run(cell, scene[..., :-1]), run(cell, scene[..., 1:])
    for left, right in zip(a, b):
        torch.testing.assert_close(left[..., 11:14, 12:14], right[..., 11:14, 11:13], atol=1e-6, rtol=1e-5)


def test_states_stay_finite_over_two_hundred_steps(make):
    cell = make(4, 4).eval()
    x = 10 * torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        state = cell.zeros(x)
        for _ in range(200):
            state = cell(x, state)
    assert all(entry.isfinite().all() for entry in state)
    assert max(entry.abs().max() for entry in state) <= 200  # the non-negative LSTM may add one a step


def test_autocast_computes_in_bfloat16_and_keeps_the_state_in_float32(make):
    cell = make(4, 4).eval()
    inputs = torch.randn(1, 6, 4, 5, 5)
    exact = run(cell, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(cell, inputs.bfloat16())
    assert {entry.dtype for entry in half} == {torch.float32}
    assert not torch.equal(half[0], exact[0])
    torch.testing.assert_close(half[0], exact[0], atol=0.03, rtol=0.03)


def test_a_cell_of_bfloat16_weights_keeps_a_bfloat16_state(make):
    state = run(make(3, 4).bfloat16(), torch.randn(1, 3, 3, 4, 4).bfloat16())
    assert {entry.dtype for entry in state} == {torch.bfloat16}


def test_a_saved_cell_loads_into_a_new_one(make):
    old, new = make(3, 4).eval(), make(3, 4).eval()
    inputs = torch.randn(1, 3, 3, 4, 4)
    assert not torch.equal(run(old, inputs)[0], run(new, inputs)[0])
    new.load_state_dict(old.state_dict())
    assert torch.equal(run(old, inputs)[0], run(new, inputs)[0])


def test_errors_say_what_was_expected_and_what_came(make):
    cell = make(3, 4)
    name = type(cell).__name__
    x = torch.randn(2, 3, 5, 6)
    state = cell.zeros(x)
    with pytest.raises(InputError, match=rf"{name} takes features \[B, 3, h, w\] float, got \[2, 7, 5, 6\] float32"):
        cell(torch.randn(2, 7, 5, 6), state)
    with pytest.raises(InputError, match=r"got \[3, 5, 6\] float32"):
        cell(x[0], state)
    with pytest.raises(InputError, match="uint8"):
        cell(x.byte(), state)
    with pytest.raises(InputError, match=rf"{name} holds {cell.maps} maps, got {cell.maps + 1}; begin with `zeros`"):
        cell(x, (*state, state[0]))
    with pytest.raises(InputError, match=r"\[2, 4, 5, 6\], got an entry \[2, 4, 5, 7\] float32"):
        cell(x, (*state[:-1], torch.zeros(2, 4, 5, 7)))
    with pytest.raises(InputError, match=r"got an entry \[1, 4, 5, 6\]"):  # would broadcast unseen
        cell(x, tuple(entry[:1] for entry in state))
    with pytest.raises(InputError, match=r"\[B, C, h, w\], got \[3, 5, 6\]"):
        cell.zeros(x[0])


def test_impossible_sizes_are_refused(make):
    with pytest.raises(InputError, match="in_channels=0"):
        make(0, 4)
    with pytest.raises(InputError, match="channels=-1"):
        make(3, -1)
    with pytest.raises(InputError, match=r"must be odd.*got 4"):
        make(3, 4, kernel=4)


def test_gradient_reach_is_the_norm_of_the_jacobians(make):
    cell = make(2, 2).double().eval()
    inputs = torch.randn(1, 3, 2, 2, 2, dtype=torch.float64)
    state = tuple(torch.rand(1, 2, 2, 2, dtype=torch.float64) for _ in range(cell.maps))

    def last(frames: Tensor) -> Tensor:
        after = state
        for x in frames.unbind(1):
            after = cell(x, after)
        return after[0]

    jacobian = torch.autograd.functional.jacobian(last, inputs)  # [1, C, h, w, 1, T, C, h, w]
    exact = jacobian.flatten(0, 4).square().sum((0, 2, 3, 4)).sqrt()
    estimate = gradient_reach(cell, inputs, state, probes=800, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(estimate, exact, rtol=0.1, atol=0)


def test_gradient_reach_goes_back_to_the_first_of_twelve_frames_and_fades(make):
    cell = make(4, 4).eval()
    reach = gradient_reach(cell, torch.randn(1, 12, 4, 6, 6))
    assert reach.shape == (12,)
    assert reach.isfinite().all()
    assert (reach > 0).all()
    assert reach[-1] > reach[5] > reach[0]


def test_gradient_reach_leaves_no_trace_and_repeats():
    cell = ConvLSTM(2, 2)
    inputs = torch.randn(1, 4, 2, 3, 3)
    with torch.no_grad():  # as in a notebook cell that only looks
        a, b = (gradient_reach(cell, inputs, probes=2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert all(p.grad is None for p in cell.parameters())
    assert not inputs.requires_grad


def test_gradient_reach_refuses_what_is_not_a_sequence():
    cell = ConvLSTM(2, 2)
    with pytest.raises(InputError, match=r"inputs \[B, T, C, h, w\].*got \[1, 2, 3, 3\] float32 and 8"):
        gradient_reach(cell, torch.randn(1, 2, 3, 3))
    with pytest.raises(InputError, match="and 0"):
        gradient_reach(cell, torch.randn(1, 2, 2, 3, 3), probes=0)
    with pytest.raises(InputError, match=r"got \[1, 0, 2, 3, 3\]"):
        gradient_reach(cell, torch.randn(1, 0, 2, 3, 3))
