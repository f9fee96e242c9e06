"""What flow propagation can do and where it fails, measured on the synthetic world: the experiments behind lesson 00.

Four paired comparisons on the same clips: before against after a full occlusion; the object given again after it
against carried through it (the control for the first: late frames may be harder for other reasons); early against late
frames; motion used against motion ignored. Unusual: nothing is trained, so a random seed only picks clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.hidden_target import TARGET, clear_frames, first_usable
from course_lib.data.synthetic import SyntheticClip, World, scenario
from course_lib.errors import InputError
from course_lib.metrics.sequence import evaluate_labels
from course_lib.presets import of_preset
from course_lib.vos.engine import segment
from course_lib.vos.models import load_model
from course_lib.vos.protocol import VideoSegmenter


@dataclass(frozen=True)
class PropagationConfig:
    """Size of the experiments. `preset` gives the three sizes of the course."""

    model: str = "flow"  # as in `load_model`
    model_alone: str = "flow-plain"  # the same without correction
    clips: int = 12  # per random seed
    image_size: int = 96  # side of a frame in pixels
    clear: float = 0.5  # share of the target that must be visible in the frames before and after

    def __post_init__(self) -> None:
        if self.clips < 1 or not 0 < self.clear <= 1:
            raise InputError(f"expected clips >= 1 and 0 < clear <= 1, got {self.clips} and {self.clear}")

    @classmethod
    def preset(cls, name: str) -> "PropagationConfig":
        """smoke: two clips; cpu: a laptop; gpu: larger frames and more clips. Raises `InputError` for another name."""
        sizes = {"smoke": cls(clips=2), "cpu": cls(), "gpu": cls(clips=40, image_size=256)}
        return of_preset(name, sizes)


def before_and_after_occlusion(preset: str, seed: int) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
    """Mean J of the target in clear frames before it is wholly hidden, and after: [C] each, one value per clip."""
    config = PropagationConfig.preset(preset)
    model = load_model(config.model)
    rows = []
    for clip in hiding_clips(config, seed):
        before, after = clear_frames(clip, config.clear)
        J = target_J(follow(model, clip), clip)
        rows.append((J[before].mean(), J[after].mean()))
    first, second = np.array(rows).T
    return first, second


def given_again_and_carried(preset: str, seed: int) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
    """Mean J of the target after the occlusion: given anew in the first clear frame, and carried through.

    Both are scored in the same frames of the same clip, those after the frame in which it is given anew.
    """
    config = PropagationConfig.preset(preset)
    model = load_model(config.model)
    rows = []
    for clip in hiding_clips(config, seed):
        _, after = clear_frames(clip, config.clear)
        start = int(after[0])
        anew = follow(model, clip, start)
        J_anew = target_J(anew, clip, start)
        J_carried = target_J(follow(model, clip), clip)
        rows.append((J_anew[after[1:] - start].mean(), J_carried[after[1:]].mean()))
    first, second = np.array(rows).T
    return first, second


def moved_and_copied(preset: str, seed: int) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
    """Mean J over the objects of easy clips, frame 0 left out: masks carried by flow, and the first mask kept."""
    config = PropagationConfig.preset(preset)
    world = World(scenario("easy", image_size=config.image_size, dense_truth=False))
    models = load_model(config.model), load_model("copy")
    rows = []
    for clip in clips_of(world, config, seed):
        scores = [evaluate_labels(follow(model, clip), clip.labels) for model in models]
        rows.append(tuple(score.J[:, 1:].mean() for score in scores))
    first, second = np.array(rows).T
    return first, second


def early_and_late(preset: str, seed: int) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
    """Mean J over the objects of easy clips in frames 1 to 9, and in frames 21 to 35, carried by flow alone.

    The frames are those of F. Azimi (2024), table 6.6. Flow alone, because re-anchoring is there to stop drift.
    """
    config = PropagationConfig.preset(preset)
    world = World(scenario("easy", image_size=config.image_size, dense_truth=False, length=36))
    model = load_model(config.model_alone)
    rows = []
    for clip in clips_of(world, config, seed):
        J = evaluate_labels(follow(model, clip), clip.labels).J
        rows.append((J[:, 1:10].mean(), J[:, 21:].mean()))
    first, second = np.array(rows).T
    return first, second


def clips_of(world: World, config: PropagationConfig, seed: int) -> Iterator[SyntheticClip]:
    """The clips that a random seed picks."""
    dataset = world.dataset(config.clips, seed)
    return (dataset[i] for i in range(len(dataset)))


def hiding_clips(config: PropagationConfig, seed: int) -> tuple[SyntheticClip, ...]:
    """Clips in which the target passes wholly behind a panel, and is clear in frames before and after.

    About one clip in a hundred has no clear frame on one side (the panel covers the target from the start); the next
    clip is taken instead. The choice looks at the truth only, never at a prediction.
    """
    world = World(scenario("occlusion", image_size=config.image_size, dense_truth=False))
    wanted = f"show {config.clear:.0%} of the target before and after it is hidden"
    dataset = world.dataset(2 * config.clips + 8, seed)
    return first_usable(dataset, config.clips, lambda clip: _has_both_sides(clip, config.clear), wanted)


def _has_both_sides(clip: SyntheticClip, clear: float) -> bool:
    before, after = clear_frames(clip, clear)
    return len(before) >= 1 and len(after) >= 2  # of those after, the first may be given anew


@torch.no_grad()
def follow(model: VideoSegmenter, clip: SyntheticClip, start: int = 0) -> UInt8[Tensor, "t h w"]:
    """Labels of the frames from `start` on, for a model that is given the true labels of frame `start`."""
    run = segment(model, clip.frames[start:], _truth(clip)[start])
    return torch.stack([run.labels(probs) for probs in run])


def target_J(prediction: UInt8[Tensor, "t h w"], clip: SyntheticClip, start: int = 0) -> Float[np.ndarray, "t"]:
    """J of the target in each frame from `start` on."""
    return evaluate_labels(prediction, _truth(clip)[start:], ids=[TARGET]).J[0]


def _truth(clip: SyntheticClip) -> UInt8[Tensor, "t h w"]:
    if clip.labels is None:
        raise InputError(f"{clip.name} has no labels to score against")
    return clip.labels
