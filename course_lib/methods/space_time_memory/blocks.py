"""Small blocks of space-time memory networks: a residual block without normalisation, and attention over channels and
positions.

Source: He et al. (CVPR 2016) in the form of STM (Wug Oh et al., ICCV 2019); CBAM (Woo et al., ECCV 2018). Unusual: no
batch norm, since clips come in batches too small for it, and the block ends without an activation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, added to the input; a third on the shortcut where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.downsample = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return self.downsample(x) + self.conv2(F.relu(self.conv1(F.relu(x))))


class ChannelGate(nn.Module):
    """Scale each channel by what its mean and its maximum over positions say."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        gate = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))  # [B, C]
        return x * gate.sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """Scale each position by what its maximum and its mean over channels say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        summary = torch.stack([x.amax(dim=1), x.mean(dim=1)], dim=1)  # [B, 2, H, W]
        return x * self.conv(summary).sigmoid()


class Cbam(nn.Module):
    """Channel gate, then spatial gate."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channel_gate = ChannelGate(channels, reduction)
        self.spatial_gate = SpatialGate()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.spatial_gate(self.channel_gate(x))
