"""From what the memory says, and what the frame shows, to one mask per object.

Source: Cheng et al. (NeurIPS 2021); the refinement with skip connections goes back to Wug Oh et al. (ICCV 2019). Half
of the input is the current frame: the read-out alone knows nothing of its edges. Unusual: objects are decoded
independently, so skip features are projected once per frame for all of them.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.methods.space_time_memory.blocks import ResidualBlock
from course_lib.methods.space_time_memory.config import StcnConfig
from course_lib.methods.space_time_memory.encoders import FrameFeatures


class UpBlock(nn.Module):
    """Double the size of the objects' maps, add the frame's finer features, and blend."""

    def __init__(self, skip: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip, inputs, 3, padding=1)
        self.out_conv = ResidualBlock(inputs, outputs)

    def forward(
        self, skip: Float[Tensor, "b c1 h2 w2"], x: Float[Tensor, "b k c h w"]
    ) -> Float[Tensor, "b k c2 h2 w2"]:
        objects = x.shape[1]
        fine = F.interpolate(x.flatten(0, 1), scale_factor=2, mode="bilinear", align_corners=False)
        fine = fine.unflatten(0, (-1, objects)) + self.skip_conv(skip)[:, None]  # [B, K, C, 2h, 2w]
        return self.out_conv(fine.flatten(0, 1)).unflatten(0, (-1, objects))


class Decoder(nn.Module):
    """Readout [B, K, Cv, h, w] and the frame's features to logits [B, K, 16 h, 16 w]."""

    def __init__(self, config: StcnConfig, channels: dict[int, int]) -> None:
        super().__init__()
        at16, at8, at4 = config.decoder_channels
        self.compress = ResidualBlock(config.value_channels + config.skip_channels, at16)
        self.up_16_8 = UpBlock(channels[8], at16, at8)
        self.up_8_4 = UpBlock(channels[4], at8, at4)
        self.pred = nn.Conv2d(at4, 1, 3, padding=1)

    def forward(self, readout: Float[Tensor, "b k cv h w"], features: FrameFeatures) -> Float[Tensor, "b k h16 w16"]:
        objects = readout.shape[1]
        skip = features.skip[:, None].expand(-1, objects, -1, -1, -1)
        x = torch.cat([readout, skip], dim=2).flatten(0, 1)  # [B*K, Cv + Cs, h, w]
        x = self.compress(x).unflatten(0, (-1, objects))
        x = self.up_8_4(features.f4, self.up_16_8(features.f8, x))
        logits = self.pred(F.relu(x.flatten(0, 1)))  # [B*K, 1, 4h, 4w]
        logits = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        return logits[:, 0].unflatten(0, (-1, objects))
