"""How fast memory policies are, against each other: sessions that take turns on the same frames, in processor time.

After Pourganjalikhan (2021), section 3.5.4. Unusual: the policies take turns frame by frame, so whatever else the
machine does slows all of them alike, and processor time on one thread does not count the waiting.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from time import process_time

import numpy as np
import torch
from jaxtyping import Float

from course_lib.data.synthetic import SyntheticClip
from course_lib.methods.space_time_memory.comparison_clips import ComparisonConfig, changing_clips
from course_lib.methods.space_time_memory.comparisons import Pair, config_of, memory_of, small_segmenter
from course_lib.methods.space_time_memory.config import MemoryConfig, Policy
from course_lib.vos.checks import as_float_frame
from course_lib.vos.protocol import VideoSegmenter


def adaptive_and_every_k_speed(preset: str | ComparisonConfig, seed: int) -> Pair:
    """Frames per processor second [1] over a changing clip: adaptive memory of two frames, and the growing memory."""
    adaptive, every_k, _ = _speeds(config_of(preset), seed)
    return np.array([adaptive]), np.array([every_k])


def adaptive_and_first_latest_speed(preset: str | ComparisonConfig, seed: int) -> Pair:
    """Frames per processor second [1] over a changing clip: adaptive memory of two frames, and first-and-latest."""
    adaptive, _, latest = _speeds(config_of(preset), seed)
    return np.array([adaptive]), np.array([latest])


def paired_speeds(config: ComparisonConfig, seed: int, memories: tuple[MemoryConfig, ...]) -> tuple[float, ...]:
    """Frames per processor second of each memory: median over `passes` passes over one changing clip.

    On the CPU and one thread, whatever the machine has; the number of threads is restored. Built in lesson 13.
    """
    clip = changing_clips(replace(config, clips=1), seed)[0]
    device = torch.device("cpu")
    segmenters = [small_segmenter(config, memory, device) for memory in memories]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates = [_one_pass(segmenters, clip) for _ in range(config.passes)]
    finally:
        torch.set_num_threads(threads)
    return tuple(np.median(rates, axis=0).tolist())


@torch.no_grad()
def _one_pass(segmenters: Sequence[VideoSegmenter], clip: SyntheticClip) -> Float[np.ndarray, "p"]:
    """Frames per processor second of each, over the frames after the first; who begins changes with every frame."""
    assert clip.labels is not None
    first = as_float_frame(clip.frames[0])
    sessions = [segmenter.start(first, clip.labels[0]) for segmenter in segmenters]
    seconds = np.zeros(len(sessions))
    for t in range(1, len(clip)):
        frame = as_float_frame(clip.frames[t], t)
        for turn in range(len(sessions)):
            i = (turn + t) % len(sessions)
            began = process_time()
            sessions[i].step(frame)
            seconds[i] += process_time() - began
    return (len(clip) - 1) / seconds


@cache
def _speeds(config: ComparisonConfig, seed: int) -> tuple[float, ...]:
    """Of the three memories, measured together."""
    policies: tuple[Policy, ...] = ("adaptive", "every_k", "first_and_latest")
    return paired_speeds(config, seed, tuple(memory_of(config, policy) for policy in policies))
