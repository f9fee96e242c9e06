"""Clips of the synthetic world with a target that hides: when it is clear to see, and how to pick clips fit for a test.

Comparisons before and after an occlusion need frames in which the target is well in view on the side they look at.
Unusual: the choice of clips looks at the truth only, never at a prediction, so it favours no method.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
from jaxtyping import Float, Int

from course_lib.data.synthetic import SyntheticClip, SyntheticDataset
from course_lib.errors import InputError

TARGET = 1  # the object that the scenario "occlusion" hides


def visible(clip: SyntheticClip) -> Float[np.ndarray, "t"]:
    """Share of the target that is seen in each frame."""
    return clip.visible[:, TARGET - 1].cpu().numpy()


def clear_frames(clip: SyntheticClip, clear: float) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]:
    """Frames before the target is first hidden and after it is last hidden that show at least `clear` of it.

    Frame 0 is given, so it does not count. Raises `InputError` for a clip in which the target is never wholly hidden.
    """
    shown = visible(clip)
    hidden = np.flatnonzero(shown == 0)
    if not len(hidden):
        raise InputError(f"{clip.name}: object {TARGET} is never wholly hidden; take clips of the scenario 'occlusion'")
    frames = np.flatnonzero(shown >= clear)
    return frames[(frames > 0) & (frames < hidden[0])], frames[frames > hidden[-1]]


def first_usable(
    dataset: SyntheticDataset, count: int, usable: Callable[[SyntheticClip], bool], wanted: str
) -> tuple[SyntheticClip, ...]:
    """The first `count` usable clips of a data set, in its order.

    wanted  what a usable clip does, for the message: "only 1 of 12 clips show 50% of the target ..."

    Raises `InputError` if there are fewer.
    """
    clips = tuple(islice(filter(usable, (dataset[i] for i in range(len(dataset)))), count))
    if len(clips) < count:
        raise InputError(
            f"only {len(clips)} of {len(dataset)} clips {wanted}, {count} are needed; lower `clear` or enlarge "
            "`image_size`"
        )
    return clips
