"""The clips that the course's small networks learn from and are judged on: the synthetic world, and DAVIS without six.

The six kept-out sequences choose checkpoints and fill leaderboards; no network of the course trains on them. Unusual:
world clips are rendered once, before training, because a step on a CPU should not wait for a renderer.
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
from course_lib.training.clips import Clips, JoinedClips, frame_at, labels_at

KEPT_OUT = ("bmx-bumps", "dance-jump", "horsejump-low", "mallard-fly", "scooter-gray", "soccerball")
SCENARIOS = ("easy", "lookalikes", "occlusion", "crowded", "fast", "small")  # that training clips are drawn from


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
    clips = tuple(beginning(dataset.stream(i), frames) for i in range(len(dataset)))
    return SelectionClips(f"kept-out DAVIS ({len(there)} sequences{length})", clips, "davis", adds_objects=False)


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


def beginning(clip: Clip | ClipFiles, frames: int) -> Clip:
    """The first `frames` frames of a clip (0 for all), read into memory."""
    times = range(min(frames, len(clip)) if frames else len(clip))
    images = torch.stack([frame_at(clip, t) for t in times])
    return Clip(images, torch.stack([labels_at(clip, t) for t in times]), clip.name, clip.fps)
