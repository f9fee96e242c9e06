"""Follow one object through a clip and write down what the memory held at every frame: `record_run`.

What comes out is a `MemoryRun`, which `course_lib.viz.widgets.MemoryExplorer` shows. Unusual: frames that do not show
the object are not scored, since J of a hidden object is 0 or 1 by convention and says nothing about memory.
"""

import numpy as np

from course_lib.data.clip import Clip
from course_lib.errors import InputError
from course_lib.methods.space_time_memory.session import MemorySession, SpaceTimeSegmenter
from course_lib.metrics import region_similarity
from course_lib.viz.widgets.memory import MemoryRun, Setting
from course_lib.vos.engine import segment


def record_run(segmenter: SpaceTimeSegmenter, clip: Clip, *, target: int = 1, **settings: Setting) -> MemoryRun:
    """Segment `clip`, all its objects together, and record object `target`.

    clip      with labels in every frame; `target` is an id in its first frame
    settings  where the dials of the explorer stand for this run, for example policy="adaptive", capacity=4

    J is nan where `target` is not to be seen. Bytes and birth frames are those of the cells that answered the frame;
    frame 0 was given, so none answered. Time is that of the method alone, the first frame's included.
    Raises `InputError` without labels, or if the first frame does not show `target`.
    """
    if clip.labels is None or clip.annotated is not None:
        raise InputError(f"clip {clip.name!r} must have labels in every frame to record J over time")
    truths = clip.labels == target  # [T, H, W]
    if not truths[0].any():
        ids = ", ".join(str(i) for i in clip.ids.tolist())
        raise InputError(f"object {target} is not in the first frame of clip {clip.name!r}; the clip has {ids}")
    held, scores, births = [], [], []
    following = segment(segmenter, clip.frames, clip.labels[0])
    for probs, truth in zip(following, truths):
        session = following.session
        assert isinstance(session, MemorySession)
        found = (following.labels(probs) == target).cpu()
        scores.append(region_similarity(found, truth) if truth.any() else float("nan"))
        held.append(session.bank.used_bytes())
        cells = session.bank.cells
        births.append(cells.born[: cells.stored].cpu().numpy().copy())
    hidden = ~truths.flatten(1).any(1).numpy()
    return MemoryRun(settings, np.array(scores), np.array(held), births, following.seconds, hidden)
