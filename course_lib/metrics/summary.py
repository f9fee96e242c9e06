"""From scores of videos to the figures of a benchmark table.

DAVIS averages over all objects of all videos (Pont-Tuset et al., 2017), so a video with many objects weighs more;
YouTube-VOS (Xu et al., 2018) averages apart over objects of classes seen and unseen in training. Neither averages
over videos.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.errors import InputError
from course_lib.metrics.sequence import SequenceScore
from course_lib.metrics.statistics import Statistics, finite_mean


@dataclass(frozen=True)
class DavisSummary:
    """Figures of a DAVIS table: statistics of J and of F, each a mean over `objects` objects; JF_mean is J&F."""

    J: Statistics
    F: Statistics
    JF_mean: float
    objects: int


def davis_summary(scores: Sequence[SequenceScore], *, wrap_uint8_borders: bool = False) -> DavisSummary:
    """Mean over all objects of all videos, from scores with `protocol="davis"` (or any other).

    A NaN of one object (no scored frame, or a wrapped decay) makes the mean NaN, as in the official program;
    `wrap_uint8_borders` is explained at `statistics`. Raises `InputError` without scores.
    """
    scores = list(scores)
    if not scores:
        raise InputError("davis_summary needs the score of at least one video, got none")
    J = [entry for score in scores for entry in score.J_statistics(wrap_uint8_borders=wrap_uint8_borders)]
    F = [entry for score in scores for entry in score.F_statistics(wrap_uint8_borders=wrap_uint8_borders)]
    mean_J, mean_F = _mean_of(J), _mean_of(F)
    return DavisSummary(mean_J, mean_F, (mean_J.mean + mean_F.mean) / 2, len(J))


def _mean_of(entries: list[Statistics]) -> Statistics:
    table = np.array([[entry.mean, entry.recall, entry.decay] for entry in entries])  # [K, 3]
    return Statistics(*table.mean(axis=0).tolist())


@dataclass(frozen=True)
class YouTubeVosSummary:
    """Figures of a YouTube-VOS table; `overall` (called G there) is the mean of the four.

    A group without objects is NaN, and so is then `overall`. `objects_unscored` counts objects that appear in no
    annotated frame but their last, where nothing is left to score.
    """

    J_seen: float
    J_unseen: float
    F_seen: float
    F_unseen: float
    overall: float
    objects_seen: int
    objects_unseen: int
    objects_unscored: int


def youtube_vos_summary(scores: Sequence[SequenceScore], seen: Sequence[Collection[int]]) -> YouTubeVosSummary:
    """J and F over objects of seen and of unseen classes, from scores with `protocol="youtube_vos"`.

    seen: for each video the ids of its objects whose class occurs in training; all others are unseen.
    Raises `InputError` if the lengths differ or `seen` names an id that its score does not have.
    """
    scores = list(scores)
    if len(scores) != len(seen):
        raise InputError(f"youtube_vos_summary: {len(scores)} scores but {len(seen)} lists of seen ids")
    means: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    unscored = 0
    for video, (score, seen_ids) in enumerate(zip(scores, seen, strict=True)):
        strange = set(seen_ids) - set(score.ids.tolist())
        if strange:
            raise InputError(f"video {video}: seen names ids {sorted(strange)}, its score has {score.ids.tolist()}")
        for k, label in enumerate(score.ids.tolist()):
            chosen = score.scored[k]
            if not chosen.any():
                unscored += 1
                continue
            means[label in seen_ids].append((finite_mean(score.J[k, chosen]), finite_mean(score.F[k, chosen])))
    J_seen, F_seen = _columns(means[True])
    J_unseen, F_unseen = _columns(means[False])
    overall = (J_seen + J_unseen + F_seen + F_unseen) / 4
    return YouTubeVosSummary(J_seen, J_unseen, F_seen, F_unseen, overall, len(means[True]), len(means[False]), unscored)


def _columns(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    J, F = np.array(pairs).reshape(-1, 2).T
    return finite_mean(J), finite_mean(F)
