"""Samples of the three stages: single spoilt frames, then clips, as pictures or as features that were kept.

Unusual: what stages 1 and 2 see of a clip (its kind of trouble, its noise, whether it is mirrored) follows from the
clip's number, so features computed once are those that would be computed every time.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from course_lib.data.noisy_drives import TROUBLES, NoisyDrives
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.nn.device import device_of
from course_lib.training.samples import epoch_order

Sample = dict[str, Tensor]
_AT_ONCE = 8  # clips


class SpoiltFrames:
    """Single frames of all clips in a new order each epoch, with new trouble each time; half of them mirrored."""

    def __init__(self, drives: NoisyDrives, seed: int = 0) -> None:
        self.drives, self.seed = drives, seed

    def __call__(self, index: int, rng: np.random.Generator) -> Sample:
        """frames [3, H, W] float in [0, 1]; labels [H, W] uint8."""
        length = self.drives.frames.shape[1]
        clip, t = divmod(epoch_order(index, len(self.drives) * length, self.seed), length)
        trouble = TROUBLES[int(rng.integers(len(TROUBLES)))]
        frame, labels = self.drives.spoilt(clip, trouble, rng, slice(t, t + 1))[0], self.drives.labels[clip, t]
        if rng.random() < 0.5:
            frame, labels = frame.flip(-1), labels.flip(-1)
        return {"frames": frame, "labels": labels}


class ClipSource(Protocol):
    """Training clips by number."""

    def __call__(self, index: int) -> Sample:
        """ "clip" [T, 3, H, W] in [0, 1] or "features" [T, D, h, w]; labels [H, W] uint8 of the last frame."""
        ...


class SpoiltClips:
    """Clips as pictures, in a new order each epoch; the two kinds of trouble alternate."""

    def __init__(self, drives: NoisyDrives, seed: int = 0) -> None:
        self.drives, self.seed = drives, seed

    def __call__(self, index: int) -> Sample:
        return self.clip(epoch_order(index, len(self.drives), self.seed))

    def clip(self, item: int) -> Sample:
        """Clip `item` of the drives, the same whenever it is asked for."""
        rng = np.random.default_rng((self.seed, item))
        frames = self.drives.spoilt(item, TROUBLES[item % len(TROUBLES)], rng)
        labels = self.drives.labels[item, -1]
        if rng.random() < 0.5:
            frames, labels = frames.flip(-1), labels.flip(-1)
        return {"clip": frames, "labels": labels}


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """The same clips as features of an encoder that does not change any more."""

    features: Float16[Tensor, "n t d h w"]
    labels: UInt8[Tensor, "n h2 w2"]
    seed: int = 0

    def __call__(self, index: int) -> Sample:
        item = epoch_order(index, len(self.features), self.seed)
        return {"features": self.features[item], "labels": self.labels[item]}


@torch.no_grad()
def keep_features(segmenter: FrameSegmenter, clips: SpoiltClips) -> KeptFeatures:
    """Encode all frames of all clips once, on the segmenter's device; kept on the CPU in half precision.

    Takes 2 · T · D · h · w bytes for each clip. Puts the segmenter in evaluation mode.
    """
    segmenter.eval()
    device, n = device_of(segmenter), len(clips.drives)
    features: Tensor | None = None
    labels = torch.empty_like(clips.drives.labels[:, -1])
    for begin in range(0, n, _AT_ONCE):
        some = range(begin, min(begin + _AT_ONCE, n))
        samples = [clips.clip(item) for item in some]
        labels[begin : some.stop] = torch.stack([sample["labels"] for sample in samples])
        found = encode_clips(segmenter, torch.stack([sample["clip"] for sample in samples]).to(device))
        if features is None:
            features = torch.empty(n, *found.shape[1:], dtype=torch.float16)
        features[begin : some.stop] = found.to(features)
    assert features is not None  # drives hold a clip at least
    return KeptFeatures(features, labels, clips.seed)


def encode_clips(segmenter: FrameSegmenter, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t d h2 w2"]:
    """Features of every frame, padded where sides do not fit."""
    padded = segmenter.padded(clips.flatten(0, 1))  # [B*T, 3, H, W]
    return segmenter.encode(padded).unflatten(0, clips.shape[:2])
