"""Optical flow from features that a segmenter computes anyway, refined step by step (RAFT-HS2S).

F. Azimi (2024), section 6.5.2 and figure 6.14, after Teed and Deng (ECCV 2020): a ConvGRU looks at the correlation of
two frames around its present flow, and says how to change it. The motion encoder and the head of increments are
torchvision's. Unusual: the head has no encoders of its own; one plain 3 x 3 ConvGRU stands for RAFT's pair of
separable ones; widths follow from the hidden state, and at 128 they are the published ones.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.optical_flow import raft

from course_lib.errors import InputError
from course_lib.methods.recurrent.correlation import all_pairs, look_up, pyramid
from course_lib.nn.conv_gru import ConvGRU


@dataclass(frozen=True)
class FlowConfig:
    """Size of the flow head. Defaults follow RAFT; raises `InputError` for values out of range."""

    hidden: int = 128
    """Channels of the ConvGRU's state and of the context; an even number. All other widths are multiples of it."""
    iterations: int = 12
    """Refinements of the flow, unless the call says otherwise."""
    levels: int = 4
    """Of the correlation pyramid."""
    radius: int = 4
    """Of the look-up window, in places of the feature map at the finest level."""
    matching: int | None = None
    """Channels of a linear map of the features before they are compared; None compares them as they are."""
    upsampling: Literal["learned", "bilinear"] = "learned"
    """How flow at the stride of the features becomes flow of pixels."""

    def __post_init__(self) -> None:
        counts = (self.iterations, self.levels, self.radius, 1 if self.matching is None else self.matching)
        if self.hidden < 4 or self.hidden % 2 or min(counts) < 1:
            raise InputError(
                f"the flow head needs an even hidden size of 4 or more and counts of 1 or more, got {self}"
            )
        if self.upsampling not in ("learned", "bilinear"):
            raise InputError(f"upsampling must be 'learned' or 'bilinear', got {self.upsampling!r}")


PUBLISHED_FLOW = FlowConfig()
SMALL_FLOW = FlowConfig(hidden=32, iterations=4)


class FlowHead(nn.Module):
    """Flow between two frames from their features and from the context of the first. Built in lesson 05.

    context_channels  of the context map: what the reference encoder says about frame a
    feature_channels  of the maps that are compared
    stride            of all three maps; the flow comes out `stride` times as large
    """

    def __init__(
        self, context_channels: int, feature_channels: int, stride: int = 8, config: FlowConfig = PUBLISHED_FLOW
    ) -> None:
        super().__init__()
        if min(context_channels, feature_channels, stride) < 1:
            raise InputError(
                "the flow head needs channels and a stride of at least 1, got "
                f"{context_channels=}, {feature_channels=}, {stride=}"
            )
        hidden = config.hidden
        self.context_channels, self.feature_channels = context_channels, feature_channels
        self.stride, self.config = stride, config
        self.match = nn.Conv2d(feature_channels, config.matching, 1) if config.matching else nn.Identity()
        self.start = nn.Conv2d(context_channels, 2 * hidden, 1)  # state and context of the ConvGRU
        self.motion = raft.MotionEncoder(
            in_channels_corr=config.levels * (2 * config.radius + 1) ** 2,
            corr_layers=(2 * hidden, 3 * hidden // 2),
            flow_layers=(hidden, hidden // 2),
            out_channels=hidden,
        )
        self.gru = ConvGRU(2 * hidden, hidden)
        self.increment = raft.FlowHead(in_channels=hidden, hidden_size=2 * hidden)
        self.blend: nn.Module | None = None
        if config.upsampling == "learned":
            scores = nn.Conv2d(2 * hidden, 9 * stride**2, 1)
            self.blend = nn.Sequential(nn.Conv2d(hidden, 2 * hidden, 3, padding=1), nn.ReLU(), scores)

    def forward(
        self,
        features_a: Float[Tensor, "b cf h w"],
        features_b: Float[Tensor, "b cf h w"],
        context: Float[Tensor, "b cc h w"],
        iterations: int | None = None,
    ) -> list[Float[Tensor, "b 2 height width"]]:
        """Flows from frame a to frame b in pixels (x, y), [B, 2, h · stride, w · stride], one per iteration.

        Each iteration takes the flow before it as given (no gradient): it learns from its own increment, and what it
        hands on is the state of the ConvGRU. Raises `InputError` for maps that do not fit.
        """
        iterations = self._checked(features_a, features_b, context, iterations)
        levels, radius = self.config.levels, self.config.radius
        correlation = pyramid(all_pairs(self.match(features_a), self.match(features_b)), levels)
        hidden, inputs = self.start(context).chunk(2, dim=1)  # [B, hidden, h, w] each
        state, inputs = self.gru.start(hidden.tanh(), hidden), inputs.relu()
        batch, _, height, width = context.shape
        flow = torch.zeros(batch, 2, height, width, device=context.device)
        flows = []
        for _ in range(iterations):
            flow = flow.detach()
            motion = self.motion(flow, look_up(correlation, flow, radius, levels))  # [B, hidden, h, w]
            state = self.gru(torch.cat([inputs, motion], dim=1), state)
            flow = flow + self.increment(state[0])
            flows.append(self._upsampled(flow, state[0]))
        return flows

    def _upsampled(self, flow: Tensor, state: Tensor) -> Tensor:
        """[B, 2, h, w] in places of the map -> [B, 2, H, W] in pixels."""
        if self.blend is None:
            return F.interpolate(flow * self.stride, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return convex_upsample(flow, self.blend(state).float(), self.stride)

    def _checked(self, a: Tensor, b: Tensor, context: Tensor, iterations: int | None) -> int:
        if a.ndim != 4 or a.shape[1] != self.feature_channels or a.shape != b.shape:
            raise InputError(
                f"the flow head takes two feature maps [B, {self.feature_channels}, h, w], got {list(a.shape)} and "
                f"{list(b.shape)}"
            )
        if context.shape != (len(a), self.context_channels, *a.shape[2:]):
            raise InputError(
                f"with features {list(a.shape)} the context must be "
                f"{[len(a), self.context_channels, *a.shape[2:]]}, got {list(context.shape)}"
            )
        iterations = self.config.iterations if iterations is None else iterations
        if iterations < 1:
            raise InputError(f"the flow head needs at least one iteration, got {iterations}")
        return iterations


def convex_upsample(
    flow: Float[Tensor, "b 2 h w"], scores: Float[Tensor, "b 9*stride**2 h w"], stride: int
) -> Float[Tensor, "b 2 h*stride w*stride"]:
    """Each fine flow is a weighted average of the 3 x 3 coarse ones around it, times `stride`.

    scores  per coarse place: of its 9 neighbours (rows first), for each of its stride² pixels (rows first); their
            softmax are the weights. Beyond the border the nearest flow is repeated, so a constant flow stays one.
    """
    batch, _, height, width = flow.shape
    weights = scores.unflatten(1, (9, stride**2)).softmax(dim=1)  # [B, 9, stride², h, w]
    around = F.unfold(F.pad(flow * stride, (1, 1, 1, 1), mode="replicate"), 3)  # [B, 2 * 9, h * w]
    fine = torch.einsum("bnphw,bcnhw->bcphw", weights, around.view(batch, 2, 9, height, width))
    return F.pixel_shuffle(fine.flatten(1, 2), stride)  # [B, 2 * stride², h, w] -> [B, 2, H, W]
