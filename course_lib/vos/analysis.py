"""Follow the objects of a data set and keep what an analysis needs of every frame: scores, areas, confidence.

A report keeps means; where a method fails shows only frame by frame. `follow_objects` runs any method and returns one
`ObjectTrack` per object, from which `course_lib.metrics.slices` and its neighbours make tables by size, time and
occlusion. Unusual: with `report_by_size` a finished report can be sliced without running the method again.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE
from course_lib.errors import InputError
from course_lib.metrics.object_tracks import ObjectTrack, object_tracks
from course_lib.metrics.sequence import evaluate_labels
from course_lib.metrics.slices import SliceTable, by_size
from course_lib.nn.device import device_of
from course_lib.vos.checks import as_float_frame, check_label_video
from course_lib.vos.engine import segment
from course_lib.vos.evaluation import ScoredFrames
from course_lib.vos.protocol import OfflineSegmenter, VideoSegmenter
from course_lib.vos.report import Report
from course_lib.vos.sequences import Sequence as Video
from course_lib.vos.sequences import given_labels, open_sequence


def follow_objects(
    model: VideoSegmenter | OfflineSegmenter,
    dataset: Any,
    *,
    protocol: ScoredFrames | None = None,
    adds_objects: bool | None = None,
) -> list[ObjectTrack]:
    """Run `model` over every clip of `dataset` and return a track of each object, in order of clips and ids.

    dataset, protocol and adds_objects as in `evaluate`, whose per-object means are those of the tracks over their
    scored frames. A `VideoSegmenter` is also asked how sure it is: mean |p - 0.5| of the object's channel over its true
    pixels, from the frame after the one it is given in. Holds the label maps of one clip at a time. Raises `InputError`
    for clips of one name and where data do not fit. Built in lesson 05.
    """
    scored: ScoredFrames = getattr(dataset, "protocol", "youtube_vos") if protocol is None else protocol
    if adds_objects is None:
        adds_objects = getattr(dataset, "adds_objects", False)
    tracks: list[ObjectTrack] = []
    names: set[str] = set()
    for i in range(len(dataset)):
        video = open_sequence(dataset, i, adds_objects)
        if video.name in names:
            raise InputError(f"two sequences of the data set are called {video.name!r}; names must differ")
        names.add(video.name)
        tracks += _follow(model, video, scored)
    return tracks


def first_areas(dataset: Any, adds_objects: bool | None = None) -> dict[tuple[str, int], int]:
    """Pixels of every object in the frame where it is given, by (sequence, id). Reads labels only."""
    if adds_objects is None:
        adds_objects = getattr(dataset, "adds_objects", False)
    areas = {}
    for i in range(len(dataset)):
        video = open_sequence(dataset, i, adds_objects)
        first, later = given_labels(video)
        for labels in (first, *later.values()):
            for label, count in zip(*(values.tolist() for values in labels.unique(return_counts=True))):
                if label not in (0, IGNORE):
                    areas[video.name, label] = count
    return areas


def report_by_size(report: Report, dataset: Any, edges: Sequence[float] | None = None) -> SliceTable:
    """J and F of a finished report by the size of its objects in the frame where they are given.

    dataset: the one that was evaluated. edges: in pixels, or None for terciles. Raises `InputError` if the report holds
    an object that the data set does not give.
    """
    areas = first_areas(dataset, report.settings.get("adds objects") == "True")
    tracks = []
    for sequence in report.sequences:
        for scored in sequence.objects:
            key = (sequence.name, scored.id)
            if key not in areas:
                raise InputError(f"the report has object {key}, which the data set does not give: is it another one?")
            one = np.ones(1)  # a mean stands for all its frames
            there = np.full(1, scored.frames > 0)
            tracks.append(ObjectTrack(*key, one * scored.J_mean, one * scored.F_mean, there, one * areas[key]))
    return by_size(tracks, edges)


def _follow(model: VideoSegmenter | OfflineSegmenter, video: Video, protocol: ScoredFrames) -> list[ObjectTrack]:
    first, later = given_labels(video)
    truth = torch.full((len(video), *video.size), IGNORE, dtype=torch.uint8)
    for t in video.annotated:
        real = video.labels(t)
        if real is not None:
            truth[t] = real
    frames = islice(video.frames(), video.start, None)
    predicted = torch.zeros_like(truth)
    sure: dict[int, Float[np.ndarray, "t"]] | None = None
    if isinstance(model, VideoSegmenter):
        sure = {}
        run = segment(model, frames, first, later)
        for probs in run:
            t = video.start + run.index
            predicted[t] = run.labels(probs).cpu()
            _note_confidence(sure, t, probs, run.ids, truth, given=run.index == 0, joined=later.get(run.index))
    elif isinstance(model, OfflineSegmenter):
        if later:
            raise InputError(f"sequence {video.name!r}: {type(model).__name__} cannot take objects that join later")
        device = device_of(model)
        clip = torch.stack([as_float_frame(frame, t, video.size, device) for t, frame in enumerate(frames)])
        with torch.no_grad():
            answer = model.segment(clip, first.to(device))
        predicted[video.start :] = check_label_video(answer, len(clip), video.size, type(model).__name__).cpu()
    else:
        raise InputError(
            f"{type(model).__name__} is no method: expected `start` (VideoSegmenter) or `segment` (OfflineSegmenter)"
        )
    given = [first, *later.values()]
    ids = sorted({label for labels in given for label in labels.unique().tolist()} - {0, IGNORE})
    score = evaluate_labels(predicted, truth, ids=ids, protocol=protocol, annotated=video.annotated)
    confidence = None if sure is None else [sure.get(label, np.full(len(truth), np.nan)) for label in ids]
    return object_tracks(score, truth, video.name, confidence, predicted)


def _note_confidence(
    sure: dict[int, Float[np.ndarray, "t"]],
    t: int,
    probs: Float[Tensor, "k1 h w"],
    ids: Tensor,
    truth: UInt8[Tensor, "t h w"],
    *,
    given: bool,
    joined: UInt8[Tensor, "h w"] | None,
) -> None:
    """Write how sure the answer to frame t is of every object that it was not told there."""
    told = set() if joined is None else set(joined.unique().tolist())
    for channel, label in enumerate(ids.tolist(), 1):
        if given or label in told:
            continue
        row = sure.setdefault(label, np.full(len(truth), np.nan))
        there = (truth[t] == label).to(probs.device)
        if there.any():
            row[t] = float((probs[channel][there].float() - 0.5).abs().mean())
