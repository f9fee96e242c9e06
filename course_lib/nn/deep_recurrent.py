"""A deep recurrent memory: layers in which what is seen and what is remembered flow apart and meet by a product.

F. Azimi (2024), section 6.5, table 6.10 (after Pang et al., CVPR 2019): plain stacks of recurrent layers train badly,
so the context bridge module separates the two flows. Unusual: in training, each layer's memory is at random kept from
sending gradients into the features it reads, so that the features are not bent to the memory's needs.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.nn.recurrent_cell import CellState, RecurrentCell


class DeepConvRNN(RecurrentCell):
    """State (h, m^1, ..., m^L): the output of the last layer, then what each of the L = `layers` layers remembers.

    A layer reads the layer below, x (for the first: the features), and hands s * d on to the next:

        d = tanh(W_d * x)        s_t = sigmoid(W_s * [m_{t-1}; x])        output s_t * d        m_t = s_t - 1/2

    To remember s - 1/2 instead of s only shifts a bias, but lets zeros, at the start and beyond the border, mean a
    half-open gate. The output h is not read again: only m runs through time. In training mode, x in the equation of s
    is cut from the gradient with probability `bridge`, drawn once per call and layer from torch's generator (the
    default one, on the CPU); no value changes by it, and in eval mode nothing is drawn.

    A sigmoid passes at most a quarter of a gradient, so with usual small weights m lasts two or three frames.
    `retention` therefore adds an identity to W_s: an untrained layer keeps this share of m from one step to the next,
    0.75 being about what a ConvLSTM with forget bias 1 keeps; 0 leaves the usual weights. This is our choice.
    Raises `InputError` for fewer than one layer and for a `bridge` or a `retention` outside [0, 1].
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        layers: int = 5,
        bridge: float = 0.5,
        retention: float = 0.75,
    ) -> None:
        super().__init__(in_channels, channels, kernel)
        if layers < 1:
            raise InputError(f"a deep recurrent memory needs at least one layer, got {layers}")
        if not 0 <= bridge <= 1:
            raise InputError(f"bridge is the probability of cutting a gradient, in [0, 1], got {bridge}")
        if not 0 <= retention <= 1:
            raise InputError(f"retention is the share of a memory kept per step at first, in [0, 1], got {retention}")
        self.layers = layers
        self.bridge = bridge
        self.maps = layers + 1
        representation, temporal = [], []
        for width in [in_channels, *[channels] * (layers - 1)]:
            representation.append(self.conv(width, channels))  # W_d
            temporal.append(self.conv(channels + width, channels))  # W_s
        for conv in representation:
            # a half-open gate and tanh shrink what they pass; this gain makes up for both, through any depth
            nn.init.xavier_uniform_(conv.weight, gain=2 * nn.init.calculate_gain("tanh"))
        for conv in temporal:
            _retain(conv, retention)
        self.representation = nn.ModuleList(representation)
        self.temporal = nn.ModuleList(temporal)

    def start(self, hidden: Float[Tensor, "b c h w"], cell: Float[Tensor, "b c h w"]) -> CellState:
        """Every layer remembers `hidden`; there is no cell state, so `cell` is not used."""
        return hidden, *[hidden] * self.layers

    def update(self, x: Float[Tensor, "b c h w"], state: CellState) -> CellState:
        cut = (torch.rand(self.layers) < self.bridge).tolist() if self.training else [False] * self.layers
        memories = []
        for layer, remembered in enumerate(state[1:]):
            temporal, representation = self.temporal[layer], self.representation[layer]
            seen = x.detach() if cut[layer] else x
            gate = temporal(torch.cat([remembered, seen], dim=1)).to(temporal.weight.dtype).sigmoid()
            x = gate * representation(x).to(gate.dtype).tanh()  # [B, C, h, w]
            memories.append(gate - 0.5)
        return x, *memories


def _retain(temporal: nn.Conv2d, retention: float) -> None:
    """Let sigmoid(W * m) - 1/2 be about m times `retention`, the slope of a sigmoid at zero being 1/4."""
    channels, middle = temporal.out_channels, temporal.kernel_size[0] // 2
    with torch.no_grad():
        temporal.weight[:, :channels, middle, middle] += 4 * retention * torch.eye(channels)
