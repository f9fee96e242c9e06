"""Where the small network's training samples come from: the synthetic world, its stills, and DAVIS without six of its
sequences.

The six choose checkpoints and nothing else. Unusual: synthetic clips are rendered once, before training, because a step
on a CPU should not wait for a renderer; augmentation makes each pass over them different.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from course_lib.data.clip import Clip
from course_lib.data.clip_files import ClipFiles
from course_lib.data.davis import DavisDataset
from course_lib.data.roots import data_root
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory.train_config import TrainingConfig
from course_lib.training.augment import Augment
from course_lib.training.clips import ClipConfig, Clips, ClipSamples, JoinedClips, frame_at, labels_at

KEPT_OUT = ("bmx-bumps", "dance-jump", "horsejump-low", "mallard-fly", "scooter-gray", "soccerball")
SCENARIOS = ("easy", "lookalikes", "occlusion", "crowded", "fast", "small")  # that training clips are drawn from
_HELD_OUT = 1_000_003  # added to the random seed of clips that choose checkpoints


@dataclass(frozen=True)
class TrainingData:
    """Sources of samples, and clips that choose a checkpoint."""

    stills: ClipSamples
    clips: ClipSamples
    selection: "SelectionClips"


@dataclass(frozen=True)
class SelectionClips:
    """Clips to score, with how to score them; `course_lib.vos.evaluate` reads these attributes."""

    name: str
    clips: tuple[Clip, ...]
    protocol: str
    adds_objects: bool

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]


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


def mixed(real: Clips, world: Clips, share: float) -> JoinedClips:
    """Both, with the real ones repeated until they are about `share` of all."""
    return JoinedClips((real, max(1, round(share / (1 - share) * len(world) / len(real)))), (world, 1))


def davis_folder(root: str | Path | None) -> Path | None:
    """Folder of DAVIS below `root` or COURSE_DATA: 2017 before 2016; None where there is neither."""
    return data_root("davis2017", root) or data_root("davis2016", root)


def training_sequences(davis: Path) -> DavisDataset:
    """DAVIS without the kept-out sequences: the list "train" where the folder has lists, else all that is there."""
    if (davis / "ImageSets").is_dir():
        listed: Iterable[str] = DavisDataset(davis, split="train").names
    else:
        listed = sorted(folder.name for folder in (davis / "JPEGImages" / "480p").iterdir() if folder.is_dir())
    names = [name for name in listed if name not in KEPT_OUT]
    if not names:
        raise MissingDataError(f"{davis} holds no sequence to train on beside the kept-out ones {', '.join(KEPT_OUT)}")
    return DavisDataset(davis, sequences=names)


def kept_out(davis: Path, frames: int = 0) -> SelectionClips:
    """The kept-out sequences, their first `frames` frames (0 for all), foreground as one object.

    Raises `MissingDataError` if the folder has none of them; those it has are used.
    """
    there = [name for name in KEPT_OUT if (davis / "JPEGImages" / "480p" / name).is_dir()]
    if not there:
        raise MissingDataError(f"{davis} has none of the sequences that choose a checkpoint: {', '.join(KEPT_OUT)}")
    dataset = DavisDataset(davis, year=2016, sequences=there)
    length = f", first {frames} frames" if frames else ""
    clips = tuple(_beginning(dataset.stream(i), frames) for i in range(len(dataset)))
    return SelectionClips(f"kept-out DAVIS ({len(there)} sequences{length})", clips, "davis", adds_objects=False)


def held_out_world(config: TrainingConfig, seed: int, frames: int = 0) -> SelectionClips:
    """Synthetic clips that training does not see, their first `frames` frames (0 for all)."""
    clips = render(config.eval_clips, config.world_frames, config.world_size, seed + _HELD_OUT)
    short = tuple(_beginning(clip, frames) for clip in clips)
    return SelectionClips(f"held-out world ({len(clips)} clips)", short, "youtube_vos", adds_objects=True)


def render(n: int, frames: int, size: int, seed: int) -> Sequence[Clip]:
    """`n` clips of the synthetic world, scenario after scenario, kept in memory as plain clips."""
    if n < 1 or frames < 1:
        raise InputError(f"expected at least one clip of at least one frame, got {n} and {frames}")
    clips = []
    for number in range(n):
        name = SCENARIOS[number % len(SCENARIOS)]
        dials = {"occlusion": 0.0} if frames < 8 else {}  # passing behind a panel takes 8 frames
        world = World(scenario(name, image_size=size, length=frames, dense_truth=False, **dials))
        clip = world.dataset(n, seed)[number]
        clips.append(Clip(clip.frames, clip.labels, f"{name}-{clip.name}", clip.fps))
    return clips


def _beginning(clip: Clip | ClipFiles, frames: int) -> Clip:
    times = range(min(frames, len(clip)) if frames else len(clip))
    images = torch.stack([frame_at(clip, t) for t in times])
    return Clip(images, torch.stack([labels_at(clip, t) for t in times]), clip.name, clip.fps)
