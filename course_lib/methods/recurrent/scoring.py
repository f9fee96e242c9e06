"""Test a network of the family: tracks of every test clip, their file, and the numbers of a card.

F. Azimi (2024), section 6.4.2, looks at early and late frames and at what comes after an occlusion; so every frame's
score is kept. Unusual: small clips are of one length and go through a causal network as one batch, which gives what a
session gives, clip by clip, many times sooner.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.atomic import atomic_path
from course_lib.data.small_world import SmallClips
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import davis, small_tests, youtube_tests
from course_lib.metrics.object_tracks import Frames, Measure, ObjectTrack, early, every_frame, late, object_tracks
from course_lib.metrics.occlusion import after_occlusion
from course_lib.metrics.sequence import evaluate_labels
from course_lib.training.course_clips import kept_out
from course_lib.vos.analysis import follow_objects

Network = RecurrentVOS | BidirectionalVOS
Tracks = dict[str, list[ObjectTrack]]  # by test set

EARLY, LATE = early(9), late(17)  # of test clips of 24 frames: the first 8 that are scored, and the last 6
AFTER = after_occlusion()  # frames in which the object is visible again
_AT_ONCE = 30
_MEASURES: tuple[Measure, ...] = ("JF", "J", "F")
_DIGITS = 4


@torch.no_grad()
def score(network: Network, config: RecurrentTraining, root: str | Path | None = None) -> Tracks:
    """Tracks of all test clips of a config: four kinds of small clips, or the real videos that training leaves out.

    Raises `MissingDataError` for real data that are not there.
    """
    if config.data == "small world":
        return {name: follow_small(network, clips) for name, clips in small_tests(config).items()}
    both_ways = isinstance(network, BidirectionalVOS)
    model = BidirectionalSegmenter(network) if isinstance(network, BidirectionalVOS) else RecurrentSegmenter(network)
    if config.data == "davis":
        return {"kept-out DAVIS": follow_objects(model, kept_out(davis(root), config.test_frames))}
    videos = youtube_tests(root, config.test_clips, together=both_ways)
    return {"kept-out YouTube-VOS": follow_objects(model, videos, adds_objects=not both_ways)}


@torch.no_grad()
def follow_small(network: Network, clips: SmallClips) -> list[ObjectTrack]:
    """What `course_lib.vos.analysis.follow_objects` gives for small clips, with many clips in a batch.

    Confidence is that of the network's own map, before it meets the background in a session; a bidirectional network
    records none.
    """
    network.eval()
    if isinstance(network, BidirectionalVOS):
        return follow_objects(BidirectionalSegmenter(network), clips)
    device = next(network.parameters()).device
    tracks: list[ObjectTrack] = []
    for begin in range(0, len(clips), _AT_ONCE):
        drawn = [clips[i] for i in range(begin, min(begin + _AT_ONCE, len(clips)))]
        labels = torch.stack([clip.labels for clip in drawn if clip.labels is not None])  # [N, T, H, W]
        frames = torch.stack([clip.frames for clip in drawn]).to(device).float() / 255
        probs = network.unroll(frames, labels[:, :1].to(device).float()).logits.float().sigmoid().cpu()
        for clip, truth, each in zip(drawn, labels, probs[:, :, 0]):
            tracks.append(_track(clip.name, each, truth))
    return tracks


def _track(name: str, probs: Float[Tensor, "t1 h w"], truth: UInt8[Tensor, "t h w"]) -> ObjectTrack:
    """Of one clip from the probabilities of its frames after the first."""
    predicted = torch.cat([truth[:1], (probs > 0.5).to(torch.uint8)])
    scores = evaluate_labels(predicted, truth, ids=[1], protocol="youtube_vos")
    there = truth[1:] == 1
    doubt = ((probs - 0.5).abs() * there).sum((1, 2)) / there.sum((1, 2))  # NaN where nothing of it is seen
    confidence = np.concatenate([[np.nan], doubt.double().numpy()])
    return object_tracks(scores, truth, name, [confidence], predicted)[0]


def mean_over(tracks: Iterable[ObjectTrack], frames: Frames = every_frame, measure: Measure = "J") -> float:
    """Mean over objects of their mean over some frames, in percent; NaN if no object has such a frame."""
    means = [track.mean(frames(track), measure) for track in tracks]
    known = [mean for mean in means if not math.isnan(mean)]
    return 100 * float(np.mean(known)) if known else math.nan


def metrics(tracks: Tracks) -> dict[str, float]:
    """Scores in percent for a card; those that no test clip allows are left out."""
    found = {}
    for name, several in tracks.items():
        where = f"{name} ({len({track.clip for track in several})} clips)"
        for measure in _MEASURES:
            found[f"{measure.replace('JF', 'J&F')}, {where}"] = mean_over(several, every_frame, measure)
        for title, frames in (("first 8 frames", EARLY), ("after frame 17", LATE), ("after an occlusion", AFTER)):
            found[f"J {title}, {where}"] = mean_over(several, frames)
    return {name: round(value, 2) for name, value in found.items() if not math.isnan(value)}


def save_tracks(tracks: Tracks, path: str | Path) -> Path:
    """Write tracks as JSON, four digits a number. Raises `WriteError` if the disk refuses."""
    table = {name: [_as_json(track) for track in several] for name, several in tracks.items()}
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")
    return Path(path)


def load_tracks(path: str | Path) -> Tracks:
    """Read what `save_tracks` wrote. Raises `MissingDataError` if there is no such file, `InputError` for another."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there are no tracks {path}; `train_row` writes them when a run is finished")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {name: [_from_json(entry) for entry in several] for name, several in table.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not hold tracks: {error}") from error


def _as_json(track: ObjectTrack) -> dict[str, object]:
    values = {"J": track.J, "F": track.F, "area": track.area, "confidence": track.confidence, "claimed": track.claimed}
    numbers = {
        name: None if row is None else [None if math.isnan(x) else round(x, _DIGITS) for x in row.tolist()]
        for name, row in values.items()
    }
    return {"clip": track.clip, "id": track.id, "scored": track.scored.astype(int).tolist(), **numbers}


def _from_json(entry: dict) -> ObjectTrack:
    J, F, area = (np.array(entry[name], dtype=np.float64) for name in ("J", "F", "area"))
    optional = (entry.get(name) for name in ("confidence", "claimed"))  # tables of before do not know what was claimed
    sure, said = (None if row is None else np.array(row, dtype=np.float64) for row in optional)
    return ObjectTrack(entry["clip"], entry["id"], J, F, np.array(entry["scored"], dtype=np.bool_), area, sure, said)
