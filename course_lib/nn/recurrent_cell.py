"""What every convolutional recurrent cell promises, so that a network can carry any of them.

A cell turns the features of a frame and its own state into the next state; the state is a tuple of maps, and its first
entry is the hidden state, which is also the output. F. Azimi (2024), sections 6.2 and 6.5, compares such memories.
Unusual: a state has the precision of the cell's weights, also under autocast, because what is added up over hundreds
of frames in bfloat16 stops growing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError

CellState = tuple[Tensor, ...]  # maps [B, C, h, w]; the first is the hidden state


class RecurrentCell(nn.Module):
    """Base of the cells. `cell(x, state)` gives the new state, whose first entry is the output.

    x is [B, in_channels, h, w] float and a state is a tuple of `maps` tensors [B, channels, h, w]. Weights are shared
    by all positions, so h and w may differ from call to call as long as x and state agree. `kernel` is odd; borders
    are padded with zeros. Raises `InputError` for sizes below 1, an even kernel, and an x or a state that do not fit.
    Subclasses say how many `maps` they keep and write `update`. Lessons 04 and 05 build them.
    """

    maps: int  # tensors in a state

    def __init__(self, in_channels: int, channels: int, kernel: int) -> None:
        super().__init__()
        if in_channels < 1 or channels < 1:
            raise InputError(f"a recurrent cell needs at least one channel, got in_channels={in_channels}, {channels=}")
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"the kernel of a recurrent cell must be odd, so that maps keep their size, got {kernel}")
        self.in_channels = in_channels
        self.channels = channels
        self.kernel = kernel

    def zeros(self, like: Float[Tensor, "b c h w"]) -> CellState:
        """An empty memory with the batch, size, device and dtype of `like` [B, any, h, w]."""
        if like.ndim != 4:
            raise InputError(f"the state of {type(self).__name__} starts from a tensor [B, C, h, w], got {_told(like)}")
        batch, _, height, width = like.shape
        return tuple(like.new_zeros(batch, self.channels, height, width) for _ in range(self.maps))

    def start(self, hidden: Float[Tensor, "b c h w"], cell: Float[Tensor, "b c h w"]) -> CellState:
        """The state that an initializer's two maps stand for: h_0 and c_0, each [B, channels, h, w].

        A cell without a separate cell state uses `hidden` alone.
        """
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        self._check(x, state)
        return self.update(x, state)

    def update(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        """One step in time, of checked input."""
        raise NotImplementedError

    def conv(self, inputs: int, outputs: int) -> nn.Conv2d:
        """A convolution of the cell's kernel that keeps the size of a map; its biases start at zero."""
        conv = nn.Conv2d(inputs, outputs, self.kernel, padding=self.kernel // 2)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        return conv

    def _check(self, x: Tensor, state: CellState) -> None:
        name = type(self).__name__
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point():
            raise InputError(f"{name} takes features [B, {self.in_channels}, h, w] float, got {_told(x)}")
        if len(state) != self.maps:
            raise InputError(
                f"the state of {name} holds {self.maps} maps, got {len(state)}; begin with `zeros` or `start`"
            )
        expected = (x.shape[0], self.channels, *x.shape[2:])
        for entry in state:
            if entry.shape != expected:
                raise InputError(
                    f"with features {list(x.shape)}, the state of {name} is {self.maps} x {list(expected)}, "
                    f"got an entry {_told(entry)}"
                )


def _told(x: Tensor) -> str:
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"


def gradient_reach(
    cell: RecurrentCell,
    inputs: Float[Tensor, "b t c h w"],
    state: CellState | None = None,
    probes: int = 8,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "t"]:
    """How strongly the output of the last step depends on the input of each step: |d output_T / d input_t|.

    inputs [B, T, in_channels, h, w]; `state` is where the cell starts (None: zeros). Returns T Frobenius norms of
    Jacobians, the last for the current input; a memory that has forgotten frame t has a zero there. A Jacobian
    is never formed: |v J|^2 with v ~ N(0, 1) is on average |J|^2, and `probes` such v are averaged, each one backward
    pass through time. The cell runs in its present mode (train or eval) and no gradient is left on its weights.
    Raises `InputError` for inputs of another rank, without a step, or `probes` below 1. Shown in lesson 05.
    """
    if inputs.ndim != 5 or inputs.shape[1] < 1 or probes < 1:
        raise InputError(
            f"gradient_reach takes inputs [B, T, C, h, w] of at least one step and probes >= 1, "
            f"got {_told(inputs)} and {probes}"
        )
    with torch.enable_grad():
        frames = [frame.detach().clone().requires_grad_() for frame in inputs.unbind(1)]
        state = cell.zeros(frames[0]) if state is None else tuple(entry.detach() for entry in state)
        for frame in frames:
            state = cell(frame, state)
        output = state[0]
        squares = torch.zeros(len(frames), dtype=output.dtype, device=output.device)
        for _ in range(probes):
            probe = torch.randn(output.shape, generator=generator, dtype=output.dtype).to(output.device)
            grads = torch.autograd.grad(
                output, frames, probe, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            squares += torch.stack([grad.square().sum() for grad in grads])
    return (squares / probes).sqrt()
