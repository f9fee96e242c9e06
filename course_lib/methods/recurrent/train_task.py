"""What a recurrent network learns from: a clip is unrolled from its first mask, and every later frame is scored.

F. Azimi (2024), sections 6.3.2 and 6.4.2: where the network is fed its own masks, a teacher hands on the truth from
some frames (scheduled sampling). Unusual: the teacher's coins are tossed with the sample, from the sample's own
generator, and by every row alike; so rows see the same clips, and a resumed run tosses the same coins.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.ablation_rows import Row
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.flow_network import FlowPrediction
from course_lib.methods.recurrent.losses import sequence_loss
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.photometric import photometric_loss
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import ClipSource, Sample


class RecurrentTask:
    """Samples and losses of a row (`course_lib.training.Task`).

    clips  one object each, of any length
    seed   of the lengths of clips, where these are drawn
    """

    def __init__(self, row: Row, config: RecurrentTraining, clips: ClipSource, seed: int = 0) -> None:
        self.row, self.config, self.clips, self.seed = row, config, clips, seed
        self.sampling = row.sampling or config.sampling
        self.losses = row.loss(config)

    def sample(self, index: int, step: int, rng: np.random.Generator) -> Sample:
        """frames [T, 3, H, W] in [0, 1]; masks [T, 1, H, W] uint8 (255: unknown); teacher [T] bool; blind [T] bool.

        Where teacher[t], the mask handed on from frame t is the truth; that of frame 0 always is. Where blind[t], the
        encoder is shown an empty mask with frame t.
        """
        progress = step / self.config.steps
        frames = self.config.lengths.draw(progress, step, self.seed)
        clip = self.clips(index, frames, rng)
        teacher = torch.from_numpy(rng.random(frames) < self.sampling.at(progress))
        blind = torch.from_numpy(rng.random(frames) < self.row.blind)  # the last draw: other rows see the same clips
        return {**clip, "teacher": teacher, "blind": blind}

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Of all frames but the first, [B]: "loss", its terms unweighted, and "flow" where the row has a flow head."""
        if not isinstance(model, (RecurrentVOS, BidirectionalVOS)):
            raise InputError(f"this task trains a network of the recurrent family, got {type(model).__name__}")
        masks = batch["masks"]
        truth = (masks == 1).to(batch["frames"].dtype)  # unknown pixels are handed on as background
        certain = self.sampling.at(step / self.config.steps) == 1
        extra = {"blind": batch["blind"]} if self.row.blind else {}
        prediction = model(batch["frames"], truth[:, 0], truth, True if certain else batch["teacher"], **extra)
        terms = sequence_loss(prediction, masks[:, 1:], self.losses)
        if isinstance(prediction, FlowPrediction):
            flow = self._flow(prediction, batch["frames"])
            terms = {**terms, "loss": terms["loss"] + self.config.flow_weight * flow, "flow": flow.detach()}
        return terms

    def _flow(self, prediction: FlowPrediction, frames: Tensor) -> Tensor:
        """Photometric loss of a clip's flows, the mean over its pairs of frames, [B]; hidden pixels are left out."""
        before, after = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)  # [B * (T-1), 3, H, W]
        flows = [flow.float().flatten(0, 1) for flow in prediction.flows]
        back = prediction.back.float().flatten(0, 1)
        return photometric_loss(before, after, flows, back).unflatten(0, (len(frames), -1)).mean(dim=1)
