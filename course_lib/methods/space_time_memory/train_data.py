"""Where the small network's training samples come from: the synthetic world, its stills, and DAVIS without six of its
sequences.

The six choose checkpoints and nothing else. Unusual: synthetic clips are rendered once, before training, because a step
on a CPU should not wait for a renderer; augmentation makes each pass over them different.
"""

from dataclasses import dataclass
from pathlib import Path

from course_lib.methods.space_time_memory.train_config import TrainingConfig
from course_lib.training.augment import Augment
from course_lib.training.clips import ClipConfig, Clips, ClipSamples
from course_lib.training.course_clips import (
    KEPT_OUT,
    SCENARIOS,
    SelectionClips,
    beginning,
    davis_folder,
    kept_out,
    mixed,
    render,
    training_sequences,
)

__all__ = [
    "KEPT_OUT",
    "SCENARIOS",
    "SelectionClips",
    "TrainingData",
    "davis_folder",
    "held_out_world",
    "kept_out",
    "mixed",
    "render",
    "training_data",
    "training_sequences",
]
_HELD_OUT = 1_000_003  # added to the random seed of clips that choose checkpoints


@dataclass(frozen=True)
class TrainingData:
    """Sources of samples, and clips that choose a checkpoint."""

    stills: ClipSamples
    clips: ClipSamples
    selection: SelectionClips


def training_data(config: TrainingConfig, davis: Path | None, seed: int) -> TrainingData:
    """Samples and selection clips; `davis` None leaves real data out altogether."""
    clips: Clips = render(config.world_clips, config.world_frames, config.world_size, seed)
    stills: Clips = render(config.stills, 1, config.world_size, seed + 1)
    selection = (
        held_out_world(config, seed, config.eval_frames) if davis is None else kept_out(davis, config.eval_frames)
    )
    if davis is not None:
        real = training_sequences(davis)
        clips, stills = (mixed(real, world, config.real_share) for world in (clips, stills))
    side = (config.size, config.size)
    shown = ClipConfig(size=side, min_pixels=config.min_pixels, paste=config.paste, reverse=0.5)
    viewed = ClipConfig(size=side, min_pixels=config.min_pixels, paste=config.paste, augment=Augment.for_stills())
    return TrainingData(ClipSamples(stills, viewed, seed), ClipSamples(clips, shown, seed), selection)


def held_out_world(config: TrainingConfig, seed: int, frames: int = 0) -> SelectionClips:
    """Synthetic clips that training does not see, their first `frames` frames (0 for all)."""
    clips = render(config.eval_clips, config.world_frames, config.world_size, seed + _HELD_OUT)
    short = tuple(beginning(clip, frames) for clip in clips)
    return SelectionClips(f"held-out world ({len(clips)} clips)", short, "youtube_vos", adds_objects=True)
