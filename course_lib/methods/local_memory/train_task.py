"""What a network with a memory learns from: the labels of a clip's last frame, rare classes weighing more.

M. Paul (2023), section 4.3.5. Unusual: the same loss takes pictures and features that were kept, so that both ways of
training can be held against each other.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.train_data import ClipSource, Sample, encode_clips
from course_lib.methods.propagation.train_task import weighted_cross_entropy


class ClipTask:
    """Clips and loss of stages 1 and 2 (`course_lib.training.Task`).

    clips    pictures or features
    weights  of the classes
    """

    def __init__(self, clips: ClipSource, weights: Float[Tensor, "c"]) -> None:
        self.clips, self.weights = clips, weights

    def sample(self, index: int, step: int, rng: np.random.Generator) -> Sample:
        """As `ClipSource` says; nothing is drawn from `rng`."""
        return self.clips(index)

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """[B]: "loss"."""
        if not isinstance(model, LocalMemoryNet):
            raise InputError(f"this task trains a LocalMemoryNet, got {type(model).__name__}")
        labels = batch["labels"]
        if "features" in batch:
            logits = model.from_features(batch["features"].float())
        else:
            clip = batch["clip"]
            last = model.segmenter.padded(clip[:, -1])
            logits = model.from_features(encode_clips(model.segmenter, clip), last)
        logits = model.segmenter.upsample(logits, (labels.shape[1], labels.shape[2]))
        return {"loss": weighted_cross_entropy(logits.float(), labels, self.weights)}
