"""What a space-time memory network learns from: frame 1 from frame 0, then frame 2 from frame 0 and its own frame 1.

Source: Cheng et al. (NeurIPS 2021), after STM (Wug Oh et al., ICCV 2019). Unusual: the mask of frame 1 goes into the
memory as it came out, soft and with its gradient, so the network learns to write memories that it can read later.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.space_time_memory.network import STCN, Regulariser
from course_lib.methods.space_time_memory.reallocation import support_cells
from course_lib.methods.space_time_memory.train_config import Stage
from course_lib.training.clips import ClipSamples
from course_lib.training.losses import bootstrapped_cross_entropy
from course_lib.training.schedules import frame_gap, hard_pixel_share
from course_lib.vos.aggregate import aggregation_logits


class SpaceTimeTask:
    """Samples of one stage and their losses (`course_lib.training.Task`).

    stills       draws moving views of one image; clips draws frames of a video
    regulariser  acts on the attention while training (see `regularisers`); None trains as published
    """

    def __init__(
        self, stage: Stage, stills: ClipSamples, clips: ClipSamples, regulariser: Regulariser | None = None
    ) -> None:
        self.stage, self.stills, self.clips, self.regulariser = stage, stills, clips, regulariser

    def sample(self, index: int, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """frames [3, 3, H, W] in [0, 1], labels [3, H, W], objects [K] bool: which of the labels 1..K exist."""
        if rng.uniform() < self.stage.still_share:
            return self.stills(index, rng, max_gap=0)
        narrowest, widest = self.stage.gaps
        return self.clips(index, rng, frame_gap(step / self.stage.steps, widest, narrowest))

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Bootstrapped cross-entropy of frame 1 plus that of frame 2, [B] each, in nats."""
        if not isinstance(model, STCN):
            raise InputError(f"this task trains an STCN, got {type(model).__name__}")
        share = hard_pixel_share(step / self.stage.steps, *self.stage.mining)
        first, second = predict(model, batch["frames"], batch["labels"], batch["objects"], self.regulariser)
        one = bootstrapped_cross_entropy(first, batch["labels"][:, 1], share)
        two = bootstrapped_cross_entropy(second, batch["labels"][:, 2], share)
        return {"loss": one + two, "frame1": one.detach(), "frame2": two.detach()}


def predict(
    net: STCN,
    frames: Float[Tensor, "b 3 3 h w"],
    labels: UInt8[Tensor, "b 3 h w"],
    objects: Bool[Tensor, "b k"],
    regulariser: Regulariser | None = None,
) -> tuple[Float[Tensor, "b k1 h w"], Float[Tensor, "b k1 h w"]]:
    """Class logits of frames 1 and 2, background first. Of `labels` only frame 0 is used.

    Objects that do not exist have probability 0 and leave no gradient. The memory is read with a plain softmax over
    all cells: top-k would give no gradient to keys that should have been found and were not. A regulariser takes the
    softmax's place, and is told which cells lie in which object's mask.
    """
    features = net.encode_key(frames.flatten(0, 1))  # of B * 3 frames
    per_frame = [type(features)(*(x.unflatten(0, (-1, 3))[:, t] for x in features)) for t in range(3)]
    exists = objects[:, :, None, None]
    ids = torch.arange(1, objects.shape[1] + 1, device=labels.device)[:, None, None]
    masks = ((labels[:, :1] == ids) & exists).to(frames.dtype)  # [B, K, H, W]
    keys: list[Tensor] = []
    values: list[Tensor] = []
    supports: list[Tensor] = []
    answers = []
    for t in (1, 2):
        keys.append(per_frame[t - 1].key.flatten(2))  # [B, Ck, h*w]
        values.append(net.encode_value(frames[:, t - 1], per_frame[t - 1], masks).flatten(3))  # [B, K, Cv, h*w]
        supports.append(support_cells(masks))  # [B, K, h*w]
        readout = net.read(
            torch.cat(keys, 2), torch.cat(values, 3), per_frame[t].key, None, regulariser, torch.cat(supports, 2)
        )
        probs = net.decode(readout, per_frame[t]).float().sigmoid() * exists
        logits = aggregation_logits(probs)
        answers.append(logits)
        masks = logits.softmax(dim=1)[:, 1:] * exists
    return answers[0], answers[1]
