"""The small network beside methods that were never trained, on the same clips: `compare_small` and its table.

The clips are the kept-out DAVIS sequences. Unusual: they chose the network's checkpoint, and half of them were in view
when the settings of `flow` were chosen, so these are selection scores, and whoever prints them says so (`SELECTION`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory.train_data import SelectionClips, davis_folder, kept_out
from course_lib.vos.evaluation import evaluate
from course_lib.vos.models import load_model
from course_lib.vos.protocol import VideoSegmenter
from course_lib.vos.report import Report, SequenceResult

BASELINES = ("flow", "flow-plain", "copy")  # by `load_model`; none of them was trained
EVERYTHING = "all"  # sequence of the rows that are means
SELECTION = (
    "Scores of stcn-small are selection scores, hence optimistic: the sequences chose its checkpoint, not its weights. "
    "hs2s-lite is as its last step left it. Three of the six were in view when the settings of 'flow' were chosen."
)


@dataclass(frozen=True)
class Row:
    """One method on one sequence, or on all of them: J&F, J and F in percent, frames per second of the method."""

    model: str
    sequence: str
    JF: float
    J: float
    F: float
    frames: int
    fps: float


def compare_small(
    data_root: str | Path | None = None,
    models: Sequence[str] = ("stcn-small", *BASELINES),
    frames: int = 0,
    device: str = "auto",
    weights: Mapping[str, str | Path] | None = None,
) -> list[Row]:
    """Score methods on the kept-out DAVIS sequences: for each, a row per sequence and one for all, in that order.

    data_root  folder with DAVIS in it; None takes what COURSE_DATA names
    models     names of `load_model`
    frames     look at the first frames of each sequence only, at least 3; 0 for all
    weights    checkpoint files by name of model, for those that should not take what ships

    Raises `MissingDataError` without the data or a checkpoint, `InputError` for unknown names. Built in lesson 13.
    """
    chosen = {} if weights is None else dict(weights)
    if not models or not set(chosen) <= set(models) or len(set(models)) < len(models):
        raise InputError(f"expected different models, and weights for some of them; got {models} and {sorted(chosen)}")
    davis = davis_folder(data_root)
    if davis is None:
        raise MissingDataError(
            "the comparison is made on DAVIS, which was not found; set COURSE_DATA or pass data_root"
        )
    methods = {name: load_model(name, chosen.get(name), device) for name in models}
    return score_methods(methods, kept_out(davis, frames))


def score_methods(methods: Mapping[str, VideoSegmenter], clips: SelectionClips) -> list[Row]:
    """Rows of each method on each clip, and on all of them (mean over objects), in that order."""
    rows = []
    for name, method in methods.items():
        report = evaluate(method, clips, name=name, progress=False)
        rows += [_row(name, result.name, result, result.frames) for result in report.sequences]
        rows.append(_row(name, EVERYTHING, report, sum(result.frames for result in report.sequences)))
    return rows


def comparison_table(rows: Sequence[Row]) -> str:
    """Markdown: J&F of each method (columns) on each sequence (rows), then on all, then frames per second."""
    models = list(dict.fromkeys(row.model for row in rows))
    sequences = list(dict.fromkeys(row.sequence for row in rows))
    cells = {(row.model, row.sequence): row for row in rows}
    lines = [f"| J&F | {' | '.join(models)} |", f"|---|{'---|' * len(models)}"]
    for sequence in sequences:
        scores = [f"{cells[model, sequence].JF:.1f}" for model in models]
        lines.append(f"| {sequence} | {' | '.join(scores)} |")
    rates = [f"{cells[model, EVERYTHING].fps:.3g}" for model in models]
    return "\n".join([*lines, f"| frames per second | {' | '.join(rates)} |"])


def _row(model: str, sequence: str, scored: Report | SequenceResult, frames: int) -> Row:
    JF, J, F = (round(100 * value, 1) for value in (scored.JF, scored.J, scored.F))
    return Row(model, sequence, JF, J, F, frames, round(scored.fps, 1))
