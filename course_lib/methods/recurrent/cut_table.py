"""What every trained row of the ablation loses when a part is cut out of it: the table that its scores cannot show.

A row says what a network scores that was trained without a part; it may have learnt to do without, or never have used
the part at all. Unusual: nothing is trained, only finished runs are tested again, each with each of its parts cut; the
clips are the first of the table's own tests.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from course_lib.data.small_world import SmallClips
from course_lib.errors import InputError
from course_lib.methods.recurrent.ablation import SETTINGS, finished_runs, weights_of
from course_lib.methods.recurrent.ablation_rows import ALIASES, ROW_NAMES
from course_lib.methods.recurrent.cuts import parts, without
from course_lib.methods.recurrent.experiment import load_row
from course_lib.methods.recurrent.scoring import AFTER, Network, follow_small, mean_over
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import small_tests
from course_lib.metrics.object_tracks import every_frame
from course_lib.nn.weights import SHIPPED as FOLDER
from course_lib.training.run_directory import keep_settings
from course_lib.training.summaries import (
    Summary,
    cell,
    check_same_seeds,
    lay_out,
    read_scores,
    titles_of,
    write_scores,
)

SHIPPED = FOLDER / "recurrent-cuts.json"
WHOLE, REFERENCES = "whole", "references"  # nothing cut; first and previous frame, both
CUTS = (WHOLE, "memory 16", "memory 8", "memory 4", "first", "previous", REFERENCES, "mask")
KINDS = {"plain": every_frame, "look-alikes": every_frame, "occlusion": AFTER}  # frames that count
CLIPS = 20  # of each kind


class CutSummary(Summary):
    """J in percent of every run, whole and with each of its parts cut; columns are `CUTS`, NaN for a part not there.

    Kinds of clips are "plain", "look-alikes" and "occlusion", where frames count in which the object is back.
    """

    def lost(self, row: str, cut: str, clips: str = "plain") -> Float[np.ndarray, "s"]:
        """Points of J that a cut costs, one per random seed; NaN where the row has no such part.

        Raises `InputError` naming what there is for an unknown row, cut or kind of clips.
        """
        row = ALIASES.get(row, row)
        return self.numbers(row, WHOLE, clips) - self.numbers(row, cut, clips)

    def table(self, rows: Mapping[str, str] | Sequence[str], cuts: Sequence[str], clips: str = "plain") -> str:
        """A table to print: J of the whole network, then what each cut costs, mean ± standard deviation over seeds.

        rows  names, or name -> how the row is to be called

        Raises `InputError` as `lost` does.
        """
        lines = [["", WHOLE, *(f"- {cut}" for cut in cuts)]]
        for row, title in titles_of(rows).items():
            whole = self.numbers(ALIASES.get(row, row), WHOLE, clips)
            lines.append([title, cell(whole), *(cell(self.lost(row, cut, clips)) for cut in cuts)])
        heading = f"J in percent on {self.clips[clips]} clips, {clips}, and the points that a cut costs"
        return lay_out(heading + self.spread_text(), lines)


@torch.no_grad()
def cut_scores(network: Network, tests: Mapping[str, SmallClips]) -> dict[str, list[float | None]]:
    """J in percent of one network on each kind of clips, a number per entry of `CUTS`, None for parts it has not.

    tests  kind of `KINDS` -> clips. Raises `InputError` for another kind.
    """
    strange = [kind for kind in tests if kind not in KINDS]
    if strange:
        raise InputError(f"no kind of clips {', '.join(map(repr, strange))}; there are {', '.join(KINDS)}")
    cuts: dict[str, tuple[str, ...]] = {WHOLE: ()} | {part: (part,) for part in parts(network)}
    if references := tuple(part for part in ("first", "previous") if part in cuts):
        cuts[REFERENCES] = references

    def score(cut: tuple[str, ...], kind: str) -> float | None:
        with without(network, *cut):
            J = mean_over(follow_small(network, tests[kind]), KINDS[kind])
        return round(J, 2) if np.isfinite(J) else None

    return {kind: [score(cuts[name], kind) if name in cuts else None for name in CUTS] for kind in tests}


def write_cuts(
    folder: str | Path,
    path: str | Path = SHIPPED,
    preset: str | RecurrentTraining = "cpu",
    rows: Sequence[str] = ROW_NAMES,
    clips: int = CLIPS,
) -> Path:
    """Cut every finished run of an ablation's folder and write what comes out to `path`, as JSON; minutes.

    preset  what the folder was trained with
    rows    leave out others, finished or not
    clips   of each kind, the first of the table's tests

    Raises `MissingDataError` if there is no finished run, `InputError` if the folder was trained with other settings or
    its rows not with the same random seeds.
    """
    folder = Path(folder).expanduser()
    config = RecurrentTraining.preset(preset) if isinstance(preset, str) else preset
    found = finished_runs(folder, rows)
    keep_settings(folder / SETTINGS, config)
    check_same_seeds({name: tuple(runs) for name, runs in found.items()})
    tests = {
        kind: SmallClips(each.world, min(clips, each.n), each.seed)
        for kind, each in small_tests(config).items()
        if kind in KINDS
    }
    scores = {
        name: {str(seed): cut_scores(load_row(name, config, weights_of(run)), tests) for seed, run in runs.items()}
        for name, runs in found.items()
    }
    counts = {kind: len(each) for kind, each in tests.items()}
    training = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return write_scores(path, training, CUTS, counts, scores)


def load_cuts(path: str | Path | None = None) -> CutSummary:
    """What `write_cuts` wrote; by default the table that ships.

    Raises `MissingDataError` where there is none, `InputError` for another file. Built in lesson 05.
    """
    return CutSummary(**vars(read_scores(SHIPPED if path is None else Path(path))))
