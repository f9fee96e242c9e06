"""The refiner: a network that labels a frame with deep features that were carried from the past.

Deep features change slowest and cost most; so they are warped, and only the shallow branches and the decoder see the
new frame (M. Paul, 2023, section 3.3.5, whose "low level features" are these deep ones of low resolution). Unusual:
nothing is trained. The refiner is the segmenter's own `decode`, so it costs what is left of the network without
`encode`'s deep part.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.propagation.inconsistency import AttentionConfig, find_inconsistent, refine_inside, soften
from course_lib.methods.propagation.label_warp import Motion
from course_lib.methods.propagation.segmenter import FrameSegmenter


class Refiner:
    """Probabilities of a frame from deep features carried to it. Shares every weight with its segmenter.

    Works for any `FrameSegmenter`: one whose decoder does not look at the frame gives what deep feature flow gives
    (Zhu et al., CVPR 2017).
    """

    def __init__(self, segmenter: FrameSegmenter) -> None:
        self.segmenter = segmenter

    @torch.no_grad()
    def __call__(
        self, carried_features: Float[Tensor, "b d h2 w2"], frames: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b classes h3 w3"]:
        """Class probabilities at the stride of the segmenter's logits, float32. Sides of `frames` must fit.

        Raises `InputError` for features of another number of channels.
        """
        if carried_features.ndim != 4 or carried_features.shape[1] != self.segmenter.features_channels:
            raise InputError(
                f"the refiner of {type(self.segmenter).__name__} takes features [B, "
                f"{self.segmenter.features_channels}, h, w], got {list(carried_features.shape)}"
            )
        return self.segmenter.decode(carried_features, frames).float().softmax(dim=1)


def refine_carried(
    refined: Float[Tensor, "b c h w"], carried: Float[Tensor, "b c h w"], motion: Motion, config: AttentionConfig
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 1 h w"]]:
    """The Inconsistency Attention Module: refined probabilities where the carried ones are in doubt, and the weights.

    refined, carried  probabilities of the new frame on one grid; motion: from the old frame to it, both ways
    Returns the probabilities and the attention in [0, 1].
    """
    attention = soften(find_inconsistent(carried, motion, config), config)
    return refine_inside(attention, refined, carried), attention
