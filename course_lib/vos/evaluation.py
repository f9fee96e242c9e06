"""Score a method on a data set: J and F per object, frames per second, memory; a run that was cut off goes on.

Protocol, as in DAVIS (Perazzi et al., 2016) and YouTube-VOS (Xu et al., 2018): the labels of an object's first frame
are given, so that frame is not scored; "davis" leaves out the last frame too. Values are averaged over an object's
frames, then over objects. Unusual: results are on disk after every sequence, each file whole or not there.
"""

import hashlib
import shutil
from collections.abc import Sized
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.atomic import temporary_beside, write_failed
from course_lib.data.clip import object_ids
from course_lib.data.palette_png import write_labels
from course_lib.errors import InputError, WriteError
from course_lib.metrics.sequence import evaluate_labels
from course_lib.nn.device import device_of
from course_lib.vos.checks import as_float_frame, check_label_video, check_labels
from course_lib.vos.engine import segment
from course_lib.vos.protocol import OfflineSegmenter, VideoSegmenter
from course_lib.vos.report import ObjectScore, Report, SequenceResult
from course_lib.vos.sequences import Sequence, given_labels, open_sequence

ScoredFrames = Literal["davis", "youtube_vos"]


def evaluate(
    model: VideoSegmenter | OfflineSegmenter,
    dataset: Sized,
    out: str | Path | None = None,
    *,
    masks: bool = False,
    name: str | None = None,
    protocol: ScoredFrames | None = None,
    adds_objects: bool | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Report:
    """Run `model` over every clip of `dataset` and score it against the truth.

    dataset       any sized sequence of `Clip`s, read one at a time; one with `stream(i)` is read frame by frame.
                  Its attributes `name`, `names`, `protocol`, `adds_objects` are used where it has them
    out           folder for `report.json` and `report.csv`; a run that stopped there goes on where it stopped
    masks         also write the predictions, DAVIS layout: `out/<sequence>/00000.png`, palette PNGs
    name          of the method in the report; its class by default
    protocol      "youtube_vos" (default): every frame of an object after the one it is given in;
                  "davis": all frames but the first and the last
    adds_objects  give objects that join later at the frame where they first appear (else they are an error)
    fresh         forget what `out` holds and start again

    Predicted frames before the first annotation are background. Memory: the label maps of one sequence and, for an
    `OfflineSegmenter`, its frames. Raises `InputError` if `out` holds results of other settings or data do not fit,
    `WriteError` if the disk is full: finished sequences stay. Built in lesson 00.
    """
    if masks and out is None:
        raise InputError("masks=True needs a folder: pass out=")
    if len(dataset) == 0:
        raise InputError("the data set is empty: there is no clip to evaluate")
    protocol = protocol or getattr(dataset, "protocol", "youtube_vos")
    if protocol not in ("davis", "youtube_vos"):
        raise InputError(f"protocol must be 'davis' or 'youtube_vos', got {protocol!r}")
    if adds_objects is None:
        adds_objects = getattr(dataset, "adds_objects", False)
    report = Report(
        model=name or type(model).__name__,
        dataset=getattr(dataset, "name", type(dataset).__name__),
        sequences=(),
        settings={"protocol": protocol, "adds objects": str(adds_objects), **_fingerprint(model)},
    )
    folder = None if out is None else Path(out)
    if folder is not None and not fresh:
        report = _resume(report, folder)
    finished = {s.name: s for s in report.sequences}
    names = getattr(dataset, "names", None)
    results: dict[str, SequenceResult] = {}
    with tqdm(total=len(dataset), disable=not progress, unit="clip", desc=report.model) as bar:
        for i in range(len(dataset)):
            sequence = None
            if names is not None:  # a finished sequence need not be opened
                title = str(names[i])
            else:
                sequence = open_sequence(dataset, i, adds_objects)
                title = sequence.name
            _check_name(title, results)
            masks_missing = masks and folder is not None and not (folder / title).is_dir()
            if title in finished and not masks_missing:
                results[title] = finished[title]
            else:
                if sequence is None:
                    sequence = open_sequence(dataset, i, adds_objects)
                results[title], predicted = _evaluate_one(model, sequence, protocol)
                kept = tuple({**finished, **results}.values())  # a stop before the end forgets nothing that was done
                if folder is not None:
                    if masks:
                        _write_masks(folder / title, predicted)
                    replace(report, sequences=kept).save(folder)
            bar.set_postfix_str(f"{title} J&F {results[title].JF:.3f}")
            bar.update()
    return replace(report, sequences=tuple(results.values()))


def _evaluate_one(
    model: VideoSegmenter | OfflineSegmenter, sequence: Sequence, protocol: ScoredFrames
) -> tuple[SequenceResult, UInt8[Tensor, "t h w"]]:
    first, later = given_labels(sequence)
    frames = islice(sequence.frames(), sequence.start, None)
    predicted = torch.zeros(len(sequence), *sequence.size, dtype=torch.uint8)
    truth = torch.full_like(predicted, 255)
    for t in sequence.annotated:
        real = sequence.labels(t)
        if real is not None:
            truth[t] = real
    peak = None
    if isinstance(model, VideoSegmenter):
        peak = 0
        run = segment(model, frames, first, later)
        for probs in run:
            predicted[sequence.start + run.index] = run.labels(probs).cpu()
            peak = max(peak, run.memory_bytes())
        answered, seconds = run.index + 1, run.seconds
    elif isinstance(model, OfflineSegmenter):
        answer, seconds = _segment_offline(model, sequence, first, later)
        answered = len(answer)
        predicted[sequence.start :] = answer
    else:
        raise InputError(
            f"{type(model).__name__} is no method: expected `start` (VideoSegmenter) or `segment` (OfflineSegmenter)"
        )
    ids = sorted({*object_ids(first).tolist(), *(i for labels in later.values() for i in object_ids(labels).tolist())})
    score = evaluate_labels(predicted, truth, ids=ids, protocol=protocol, annotated=sequence.annotated)
    objects = tuple(
        ObjectScore(int(label), J.mean, J.recall, J.decay, F.mean, F.recall, F.decay, frames=int(scored.sum()))
        for label, J, F, scored in zip(score.ids, score.J_statistics(), score.F_statistics(), score.scored)
    )
    return SequenceResult(sequence.name, answered, seconds, peak, objects), predicted


def _segment_offline(
    model: OfflineSegmenter, sequence: Sequence, first: Tensor, later: dict[int, Tensor]
) -> tuple[UInt8[Tensor, "t h w"], float]:
    method = type(model).__name__
    if later:
        raise InputError(
            f"sequence {sequence.name!r}: objects join at frames {[t + sequence.start for t in later]}, but {method} "
            "takes a whole clip with the labels of its first frame only; evaluate it on data without late objects"
        )
    device = device_of(model)
    check_labels(first, sequence.size)
    frames = [
        as_float_frame(frame, t, sequence.size, device)
        for t, frame in enumerate(islice(sequence.frames(), sequence.start, None))
    ]
    clip = torch.stack(frames)  # [T, 3, H, W]
    began = perf_counter()
    with torch.no_grad():
        answer = model.segment(clip, first.to(device))
    answer = check_label_video(answer, len(clip), sequence.size, method).cpu()
    return answer, perf_counter() - began


def _fingerprint(model: object) -> dict[str, str]:
    """What distinguishes this method from another of its class: its configuration and its weights."""
    settings = {"method": type(model).__name__}
    if hasattr(model, "config"):
        settings["config"] = repr(model.config)
    if isinstance(model, nn.Module):
        digest = hashlib.sha256()
        for key, value in model.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        settings["weights"] = digest.hexdigest()[:16]
    return settings


def _resume(report: Report, folder: Path) -> Report:
    """The report in `folder`, if there is one and it measured the same; an empty one if there is none."""
    if not (folder / "report.json").is_file():
        return report
    before = Report.load(folder)
    ours = {"model": report.model, "dataset": report.dataset, **report.settings}
    theirs = {"model": before.model, "dataset": before.dataset, **before.settings}
    differ = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if differ:
        listed = "; ".join(f"{key}: {theirs.get(key)} there, {ours.get(key)} now" for key in differ)
        raise InputError(
            f"{folder} holds results of other settings ({listed}). Choose another folder, or pass fresh=True to "
            "replace them"
        )
    return before


def _check_name(title: str, done: dict[str, SequenceResult]) -> None:
    if title in done:
        raise InputError(f"two sequences of the data set are called {title!r}; names must differ")
    if not title or title in (".", "..") or any(c in title for c in '/\\:*?"<>|'):
        raise InputError(f"sequence name {title!r} cannot be a folder's name; rename the clip")


def _write_masks(folder: Path, labels: UInt8[Tensor, "t h w"]) -> None:
    """Palette PNGs of one sequence; the folder appears when all are written."""
    partial = temporary_beside(folder)
    try:
        for t, frame in enumerate(labels):
            write_labels(partial / f"{t:05d}.png", frame)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except WriteError:
        raise
    except OSError as error:
        raise write_failed(folder, error) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(partial)
