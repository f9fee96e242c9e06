"""HOTA, CLEAR and identity scores of multi-object tracks, computed by TrackEval in memory.

HOTA (Luiten et al., 2020), CLEAR MOT (Bernardin and Stiefelhagen, 2008), IDF1 (Ristani et al., 2016). TrackEval
expects folders of text files; this hands its metric classes plain arrays, after the preprocessing of MOTChallenge.
"""

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, fields
from io import StringIO
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from course_lib.errors import InputError
from course_lib.metrics.boxes import EPS, box_iou
from course_lib.metrics.tracks import BoxTracks

HOTA_THRESHOLDS = np.arange(1, 20) / 20  # overlap from which two boxes may match: 0.05 to 0.95
Score = TypeVar("Score", "HotaScore", "ClearScore", "IdentityScore")  # one of the three parts below
MATCH_THRESHOLD = 0.5  # of CLEAR, of identity and of the removal of distractors


@dataclass(frozen=True, eq=False)
class HotaScore:
    """Higher order tracking accuracy, each array over the 19 thresholds 0.05, ..., 0.95 of overlap.

    HOTA is the geometric mean of DetA (detection) and AssA (association) per threshold; Re recall, Pr precision,
    LocA overlap of the matches, OWTA open-world accuracy; HOTA_TP, HOTA_FN, HOTA_FP count boxes.
    """

    HOTA: Float[np.ndarray, "19"]
    DetA: Float[np.ndarray, "19"]
    AssA: Float[np.ndarray, "19"]
    DetRe: Float[np.ndarray, "19"]
    DetPr: Float[np.ndarray, "19"]
    AssRe: Float[np.ndarray, "19"]
    AssPr: Float[np.ndarray, "19"]
    LocA: Float[np.ndarray, "19"]
    OWTA: Float[np.ndarray, "19"]
    HOTA_TP: Float[np.ndarray, "19"]
    HOTA_FN: Float[np.ndarray, "19"]
    HOTA_FP: Float[np.ndarray, "19"]


@dataclass(frozen=True)
class ClearScore:
    """CLEAR MOT at overlap 0.5.

    MOTA accuracy, MOTP mean overlap of the matches (higher is better), IDSW identity switches, Frag interruptions;
    objects mostly tracked (MT, more than 80 % of their frames), partly (PT), mostly lost (ML, less than 20 %) and
    their shares (MTR, PTR, MLR); boxes matched (CLR_TP), missed (CLR_FN), false (CLR_FP).
    """

    MOTA: float
    MOTP: float
    MODA: float
    CLR_Re: float
    CLR_Pr: float
    MTR: float
    PTR: float
    MLR: float
    sMOTA: float
    CLR_F1: float
    FP_per_frame: float
    MOTAL: float
    MOTP_sum: float
    CLR_TP: int
    CLR_FN: int
    CLR_FP: int
    IDSW: int
    MT: int
    PT: int
    ML: int
    Frag: int
    CLR_Frames: int


@dataclass(frozen=True)
class IdentityScore:
    """One assignment of tracks to objects over the whole video: IDF1, its recall and precision, and the counts."""

    IDF1: float
    IDR: float
    IDP: float
    IDTP: int
    IDFN: int
    IDFP: int


@dataclass(frozen=True, eq=False)
class MotScore:
    """All scores of one video, or of several combined; fractions, not percent."""

    hota: HotaScore
    clear: ClearScore
    identity: IdentityScore

    @property
    def HOTA(self) -> float:
        """Mean of HOTA over the thresholds, the figure by which MOTChallenge ranks."""
        return float(self.hota.HOTA.mean())

    @property
    def DetA(self) -> float:
        """Mean detection accuracy over the thresholds."""
        return float(self.hota.DetA.mean())

    @property
    def AssA(self) -> float:
        """Mean association accuracy over the thresholds."""
        return float(self.hota.AssA.mean())

    @property
    def MOTA(self) -> float:
        """Multi-object tracking accuracy: 1 - (misses + false boxes + identity switches) / true boxes."""
        return self.clear.MOTA

    @property
    def IDF1(self) -> float:
        """F1 of the boxes whose identity is right."""
        return self.identity.IDF1


def mot_scores(truth: BoxTracks, tracks: BoxTracks, *, frames: int | None = None) -> MotScore:
    """Score the tracks of one video.

    truth, tracks: boxes with frame and identity; see `BoxTracks`. True boxes marked `ignore` are not asked for, but a
    track on one is a false positive, as in the official program. Where the truth has distractors, each frame is
    matched once beforehand, and tracked boxes that fall to a distractor are removed, as is the distractor. frames:
    length of the video (None: up to the last box); only false positives per frame depend on it. Raises `InputError`
    if `frames` is too small. Built in lesson 11.
    """
    last = int(max(truth.frame.max(initial=0), tracks.frame.max(initial=0)))
    frames = last + 1 if frames is None else frames
    if frames <= last:
        raise InputError(f"frames must be {last + 1} or more, as there is a box in frame {last}, got {frames}")
    if truth.distractor.any():
        tracks = tracks.select(~_on_distractor(truth, tracks))
    data = _trackeval_data(truth.select(~truth.ignore & ~truth.distractor), tracks, frames)
    hota, clear, identity = _metrics()
    return MotScore(
        _read(HotaScore, hota.eval_sequence(data)),
        _read(ClearScore, clear.eval_sequence(data)),
        _read(IdentityScore, identity.eval_sequence(data)),
    )


def combine_mot_scores(scores: Sequence[MotScore]) -> MotScore:
    """Scores of several videos as one: counts are added and ratios formed anew, association weighted by matches.

    This is no mean over videos. Raises `InputError` without scores.
    """
    scores = list(scores)
    if not scores:
        raise InputError("combine_mot_scores needs the score of at least one video, got none")
    hota, clear, identity = _metrics()
    return MotScore(
        _read(HotaScore, hota.combine_sequences({i: asdict(score.hota) for i, score in enumerate(scores)})),
        _read(ClearScore, clear.combine_sequences({i: asdict(score.clear) for i, score in enumerate(scores)})),
        _read(IdentityScore, identity.combine_sequences({i: asdict(score.identity) for i, score in enumerate(scores)})),
    )


def _metrics() -> tuple:
    with redirect_stdout(StringIO()):  # TrackEval reports missing optional parts on import
        from trackeval.metrics import CLEAR, HOTA, Identity
    config = {"THRESHOLD": MATCH_THRESHOLD, "PRINT_CONFIG": False}
    return HOTA(), CLEAR(dict(config)), Identity(dict(config))


def _read(kind: type[Score], values: dict) -> Score:
    """A dataclass from TrackEval's dictionary; scalars as Python numbers."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        value = values[field.name]
        found[field.name] = field.type(value) if field.type in (int, float) else np.asarray(value)
    return kind(**found)


def _on_distractor(truth: BoxTracks, tracks: BoxTracks) -> Bool[np.ndarray, "m"]:
    """Which tracked boxes the best matching of their frame gives to a distractor."""
    from scipy.optimize import linear_sum_assignment  # slow to import, needed here only

    hit = np.zeros(len(tracks.frame), dtype=np.bool_)
    for t in np.intersect1d(truth.frame, tracks.frame):
        wanted, found = np.flatnonzero(truth.frame == t), np.flatnonzero(tracks.frame == t)
        overlap = box_iou(truth.boxes[wanted], tracks.boxes[found])
        overlap[overlap < MATCH_THRESHOLD - EPS] = 0
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        rows, columns = rows[overlap[rows, columns] > 0], columns[overlap[rows, columns] > 0]
        hit[found[columns[truth.distractor[wanted[rows]]]]] = True
    return hit


def _by_frame(tracks: BoxTracks, frames: int) -> tuple[list[Int[np.ndarray, "n"]], list[Float[np.ndarray, "n 4"]], int]:
    """Identities numbered from 0 and boxes, frame by frame; number of identities."""
    names, numbers = np.unique(tracks.ids, return_inverse=True)
    rows = [np.flatnonzero(tracks.frame == t) for t in range(frames)]
    return [numbers[r] for r in rows], [tracks.boxes[r] for r in rows], len(names)


def _trackeval_data(truth: BoxTracks, tracks: BoxTracks, frames: int) -> dict:
    """What TrackEval's metric classes read."""
    truth_ids, truth_boxes, n_truth = _by_frame(truth, frames)
    track_ids, track_boxes, n_tracks = _by_frame(tracks, frames)
    return {
        "num_timesteps": frames,
        "num_gt_dets": len(truth.frame),
        "num_tracker_dets": len(tracks.frame),
        "num_gt_ids": n_truth,
        "num_tracker_ids": n_tracks,
        "gt_ids": truth_ids,
        "tracker_ids": track_ids,
        "similarity_scores": [box_iou(a, b) for a, b in zip(truth_boxes, track_boxes, strict=True)],
    }
