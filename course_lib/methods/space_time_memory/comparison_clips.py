"""Clips on which memory policies differ: one kind whose objects change all the time, one whose target is long hidden.

Both come from the synthetic world. Unusual: the world hides an object for three frames or few more, whatever its dials;
here time slows down while the object is behind the panel, so that it goes in and comes out as fast as ever.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from course_lib.data.hidden_target import clear_frames, first_usable, visible
from course_lib.data.synthetic import SyntheticClip, SyntheticDataset, World, WorldConfig, scenario
from course_lib.data.world.panel import FRAMES_HIDDEN
from course_lib.data.world.scene import Motion, Scene
from course_lib.errors import InputError
from course_lib.presets import of_preset

CHANGED = 0.5  # drift of a look that has changed: halfway to another texture; all the way, and it is another object
LEAST_AFTER = 3  # clear frames after the hiding that a clip must have

# "changing": texture, shape and light change from the first frame to the last, no object leaves.
# "hidden": the target passes behind a panel and looks the same after it. "hidden_changed": it does not.
Kind = Literal["changing", "hidden", "hidden_changed"]


@dataclass(frozen=True)
class ComparisonConfig:
    """Size of the comparisons. `preset` gives the three sizes of the course. Raises `InputError` out of range."""

    clips: int = 4
    """Changing clips per random seed."""
    clips_hidden: int = 6
    """Clips with a hidden target per random seed; they are shorter."""
    image_size: int = 192
    """Side of a frame in pixels: 12x12 = 144 cells per frame."""
    length: int = 200
    """Frames of a changing clip."""
    short: int = 60
    """Its first frames, which stand for a short clip."""
    frames_hidden: int = 30
    """Fewest frames that the target is wholly hidden."""
    clear: float = 0.5
    """Share of an object that must be visible in frame 0, and of the target after the hiding in frames that count."""
    mem_every: int = 5
    """Frames between two writes."""
    top_k: int = 3
    """Cells that answer one query cell, the same for every memory: 1 % of the cells of two frames, 0.5 % of four."""
    passes: int = 3
    """Repetitions of a measurement of speed, whose median counts."""
    weights: Path | None = None
    """Of the small network; None takes those of the course."""

    def __post_init__(self) -> None:
        if min(self.clips, self.clips_hidden, self.frames_hidden, self.mem_every, self.top_k, self.passes) < 1:
            raise InputError(
                f"clips, clips_hidden, frames_hidden, mem_every, top_k and passes must be at least 1, got {self}"
            )
        if not 2 <= self.short < self.length or not 0 < self.clear <= 1:
            raise InputError(
                "expected 2 <= short < length and 0 < clear <= 1, got "
                f"short {self.short}, length {self.length}, clear {self.clear}"
            )

    @classmethod
    def preset(cls, name: str) -> "ComparisonConfig":
        """smoke: two short clips of small frames; cpu: a laptop; gpu: larger and longer. `InputError` for another."""
        sizes = {
            "smoke": cls(clips=2, clips_hidden=2, image_size=96, length=32, short=12, frames_hidden=9, passes=1),
            "cpu": cls(),
            "gpu": cls(clips=12, clips_hidden=18, image_size=256, length=300, frames_hidden=60, top_k=5),
        }
        return of_preset(name, sizes)


class DwellingWorld(World):
    """A world in which time runs slowly while the target is hidden: three hidden frames become `frames_hidden`.

    Before and after, a clip shows the same frames as one of `World(plan)` with that seed. Textures drift with the time
    that is shown, so they change most while the target is hidden.
    """

    def __init__(self, plan: WorldConfig, frames_hidden: int) -> None:
        if frames_hidden < FRAMES_HIDDEN:
            raise InputError(f"the world hides for {FRAMES_HIDDEN} frames anyhow, got frames_hidden={frames_hidden}")
        if plan.occlusion < 1 or plan.deformation or plan.light:
            raise InputError("only clips with occlusion 1, deformation 0 and light 0 can dwell on a hidden target")
        super().__init__(replace(plan, length=plan.length + frames_hidden - FRAMES_HIDDEN))
        self._planned = World(replace(plan, dense_truth=False))
        self._frames_hidden = frames_hidden

    def plan(self, seed: int) -> Scene:
        """The layers and motions of a clip, before anything is drawn. Renders the planned clip to see when it hides."""
        scene = self._planned.plan(seed)
        hidden = np.flatnonzero(visible(self._planned.clip(seed)) == 0)
        begin = int(np.median(hidden)) - FRAMES_HIDDEN // 2
        inner = np.linspace(begin, begin + FRAMES_HIDDEN - 1, self._frames_hidden)
        after = np.arange(begin + FRAMES_HIDDEN, self._planned.config.length)
        moments = np.concatenate([np.arange(begin), inner, after]) / self.config.frame_rate  # [T] of the plan
        layers = tuple(replace(layer, motion=Rescheduled(layer.motion, moments, self.config)) for layer in scene.layers)
        return replace(scene, layers=layers, seconds=self.config.length / self.config.frame_rate)

    def dataset(self, n: int, seed: int) -> SyntheticDataset:
        """A map-style dataset of `n` clips of this world."""
        dataset = super().dataset(n, seed)
        dataset.world = self  # it made a plain world of the config, in which time runs evenly
        return dataset


@dataclass(frozen=True, eq=False)
class Rescheduled:
    """A motion of which each frame shows another moment."""

    motion: Motion
    moments: Float[np.ndarray, "t"]
    """Seconds, one for each frame of the clip."""
    config: WorldConfig

    def __call__(self, times: Float[np.ndarray, "m"], eye: str) -> Float[np.ndarray, "m 3 3"]:
        frames = np.arange(len(self.moments)) / self.config.frame_rate
        return self.motion(np.interp(times, frames, self.moments), eye)


@lru_cache(maxsize=1)
def clips_of(config: ComparisonConfig, seed: int, kind: Kind) -> tuple[SyntheticClip, ...]:
    """The clips of one kind that a random seed picks. The last are kept, as policies are compared on the same."""
    if kind == "changing":
        return changing_clips(config, seed)
    if kind == "hidden":
        return hidden_clips(config, seed)
    if kind == "hidden_changed":
        return hidden_clips(config, seed, drift=CHANGED)
    raise InputError(f"clips are 'changing', 'hidden' or 'hidden_changed', got {kind!r}")


def changing_clips(config: ComparisonConfig, seed: int) -> tuple[SyntheticClip, ...]:
    """The scenario "long" with three objects that deform more and never leave; all are in view in frame 0."""
    dials = scenario(
        "long", image_size=config.image_size, length=config.length, n_objects=3, size=0.28, leave=0.0, deformation=0.5,
        dense_truth=False,
    )  # fmt: skip

    def usable(clip: SyntheticClip) -> bool:
        return _all_in_view(clip, config.clear)

    dataset = World(dials).dataset(4 * config.clips + 8, seed)
    return first_usable(dataset, config.clips, usable, f"show {config.clear:.0%} of all objects in frame 0")


def hidden_clips(
    config: ComparisonConfig, seed: int, frames_hidden: int | None = None, drift: float = 0.0
) -> tuple[SyntheticClip, ...]:
    """Clips whose object `TARGET` passes once behind a panel and is wholly hidden for `frames_hidden` frames or more.

    frames_hidden  None takes that of the config
    drift          how far all objects' textures change over the clip, 0 to 1, mostly while the target is hidden

    The scenario "occlusion" in a `DwellingWorld`. All objects are in view in frame 0, the target also after it was
    hidden. The choice looks at the truth only, never at a prediction. Raises `InputError` if too few clips are of that
    kind. Built in lesson 13.
    """
    frames_hidden = config.frames_hidden if frames_hidden is None else frames_hidden
    dials = scenario("occlusion", image_size=config.image_size, drift=drift, dense_truth=False)

    def usable(clip: SyntheticClip) -> bool:
        hidden = np.flatnonzero(visible(clip) == 0)
        once = len(hidden) >= frames_hidden and np.ptp(hidden) + 1 == len(hidden)
        return once and len(clear_frames(clip, config.clear)[1]) >= LEAST_AFTER and _all_in_view(clip, config.clear)

    wanted = f"hide the target for {frames_hidden} frames and show {config.clear:.0%} of all objects in frame 0"
    dataset = DwellingWorld(dials, frames_hidden).dataset(4 * config.clips_hidden + 8, seed)
    return first_usable(dataset, config.clips_hidden, usable, wanted)


def _all_in_view(clip: SyntheticClip, clear: float) -> bool:
    """Then all objects are given in frame 0, and no memory grows because one joins later."""
    return bool((clip.visible[0] >= clear).all())
