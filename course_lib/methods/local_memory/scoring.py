"""Test a network with a memory: pixels of each class in the last frame of every test clip, kept clip by clip.

Intersection over union is a ratio of sums over all clips, so it cannot be averaged clip by clip; the counts are kept,
and any measure, over any clips, follows from them. Unusual: a clip is tested with both kinds of trouble, and a memory
also with sizes that it was not trained for (M. Paul, 2023, table 4.10).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.atomic import atomic_path
from course_lib.data.clip import IGNORE
from course_lib.data.noisy_drives import TROUBLES, NoisyDrives
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.local_memory.memory import MemoryQueue
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.train_data import encode_clips
from course_lib.nn.device import device_of

Counts = dict[str, dict[int, Int[np.ndarray, "n c 3"]]]  # by trouble and memory size: shared, predicted, true pixels
_NOISE_SEED = 7_000_011  # of the trouble laid over test clips: the same for all rows and seeds
_AT_ONCE = 8


@torch.no_grad()
def score_clips(network: LocalMemoryNet, tests: NoisyDrives, sizes: Sequence[int]) -> Counts:
    """Segment the last frame of every clip with memories of these sizes. Puts the network in evaluation mode.

    Raises `InputError` for a memory that is longer than the clips.
    """
    length = tests.frames.shape[1]
    if max(sizes) >= length:
        raise InputError(f"a memory of {max(sizes)} frames needs clips of one frame more, got {length}")
    network.eval()
    device = device_of(network)
    parts: dict[str, dict[int, list[np.ndarray]]] = {t: {size: [] for size in sizes} for t in TROUBLES}
    for number, trouble in enumerate(TROUBLES):
        for begin in range(0, len(tests), _AT_ONCE):
            some = range(begin, min(begin + _AT_ONCE, len(tests)))
            rngs = [np.random.default_rng((_NOISE_SEED, number, item)) for item in some]
            clips = torch.stack([tests.spoilt(item, trouble, rng) for item, rng in zip(some, rngs)])
            labels = tests.labels[some.start : some.stop, -1].to(device)
            clips = clips[:, -(max(sizes) + 1) :].to(device)
            features = encode_clips(network.segmenter, clips)
            for size in sizes:
                classes = answer(network, features, clips[:, -1], size)
                parts[trouble][size].append(count_pixels(classes, labels, network.segmenter.classes))
    return {trouble: {size: np.concatenate(each) for size, each in found.items()} for trouble, found in parts.items()}


def answer(
    network: LocalMemoryNet, features: Float[Tensor, "b t d h w"], frames: Float[Tensor, "b 3 h2 w2"], size: int
) -> Int[Tensor, "b h2 w2"]:
    """Classes of the last frame of clips, with the `size` frames before it as memory; `frames` is that last one."""
    memory = MemoryQueue(max(1, size))
    if size and network.config.source == "past":
        for past in features[:, -(size + 1) : -1].unbind(1):
            memory.write(*network.memory_heads(past))
    fused = network.with_memory(features[:, -1], memory)
    logits = network.segmenter.decode(fused, network.segmenter.padded(frames))
    logits = network.segmenter.upsample(logits, (frames.shape[-2], frames.shape[-1]))
    return logits.max(dim=1).indices


def count_pixels(
    predicted: Int[Tensor, "b h w"], truth: UInt8[Tensor, "b h w"], classes: int
) -> Int[np.ndarray, "b c 3"]:
    """Pixels of each class in each frame: predicted and true, predicted, true; where the truth is 255, none."""
    clip = torch.arange(len(truth), device=truth.device)[:, None, None] * classes  # frame b has bins b*C to b*C + C-1
    known = truth != IGNORE
    places = (clip + truth)[known & (predicted == truth)], (clip + predicted)[known], (clip + truth)[known]
    counts = [torch.bincount(place, minlength=len(truth) * classes) for place in places]
    return torch.stack(counts, dim=-1).view(len(truth), classes, 3).cpu().numpy()


def class_iou(counts: Int[np.ndarray, "*n c 3"]) -> Float[np.ndarray, "c"]:
    """Intersection over union of each class over all clips, in [0, 1]; NaN where a class is nowhere."""
    shared, predicted, true = np.moveaxis(counts.reshape(-1, *counts.shape[-2:]).sum(axis=0).astype(np.float64), -1, 0)
    union = predicted + true - shared
    return np.divide(shared, union, out=np.full_like(union, np.nan), where=union > 0)


def mean_iou(counts: Int[np.ndarray, "*n c 3"]) -> float:
    """Mean over the classes that occur, in [0, 1]."""
    return float(np.nanmean(class_iou(counts)))


def clip_iou(counts: Int[np.ndarray, "n c 3"]) -> Float[np.ndarray, "n"]:
    """Mean over the classes that a clip's frame shows, in [0, 1]: one number per clip, for paired comparisons."""
    shared, predicted, true = np.moveaxis(counts.astype(np.float64), -1, 0)  # [N, C] each
    there = true > 0
    each = np.divide(shared, predicted + true - shared, out=np.zeros_like(shared), where=there)
    return each.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def save_counts(counts: Counts, path: str | Path) -> Path:
    """Write counts as a compressed file of arrays. Raises `WriteError` if the disk refuses."""
    arrays: dict[str, Any] = {
        f"{trouble}/{size}": one.astype(np.int32) for trouble, each in counts.items() for size, one in each.items()
    }
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return Path(path)


def load_counts(path: str | Path) -> Counts:
    """Read what `save_counts` wrote. Raises `MissingDataError` if there is no such file, `InputError` for another."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there are no scores {path}; `train_row` writes them when a run is finished")
    counts: Counts = {}
    try:
        with np.load(path) as arrays:
            for name in arrays.files:
                trouble, size = name.split("/")
                counts.setdefault(trouble, {})[int(size)] = arrays[name]
    except Exception as error:  # damaged bytes make the reader fail in many ways
        raise InputError(f"{path} does not hold scores: {error}") from error
    if set(counts) != set(TROUBLES):
        raise InputError(f"{path} does not hold scores: it has {sorted(counts)}, expected {sorted(TROUBLES)}")
    return counts
