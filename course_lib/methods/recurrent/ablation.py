"""The ablation table: every row with every random seed, equally long, on the same clips; one JSON of what came out.

F. Azimi (2024), tables 6.2, 6.3 and 6.8 to 6.11, which give one run each without its spread. Unusual: a finished run is
one file, so several processes may share a folder, a stopped table goes on where it was, and any two rows can be
compared clip by clip (`paired_bootstrap`) without training again.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.ablation_rows import ALIASES, ROW_NAMES, SHIPPED_ROWS, row_named
from course_lib.methods.recurrent.experiment import LITE_NAME, TRACKS, train_row
from course_lib.methods.recurrent.load import SHIPPED
from course_lib.methods.recurrent.scoring import AFTER, EARLY, LATE, load_tracks
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.metrics.object_tracks import Frames, Measure, ObjectTrack, every_frame
from course_lib.training.cards import load_card, save_card
from course_lib.training.run_directory import keep_settings
from course_lib.training.turns import take_turn

SEEDS = (0, 1, 2)
RESULTS = "ablation.json"
SETTINGS = "training.json"
_COLUMNS: dict[str, tuple[Measure, Frames]] = {
    "J": ("J", every_frame),
    "F": ("F", every_frame),
    "J early": ("J", EARLY),
    "J late": ("J", LATE),
    "F early": ("F", EARLY),
    "F late": ("F", LATE),
    "J after": ("J", AFTER),
    "F after": ("F", AFTER),
}
COLUMNS = (*_COLUMNS, "first area", "confidence")  # of a clip


@dataclass(frozen=True, eq=False)
class AblationResults:
    """What `run_ablation` wrote.

    clips   test set -> names of its clips, the same for all rows
    scores  row -> random seed -> test set -> column -> [clips], NaN where a clip has no such frame; scores in [0, 1],
            "first area" in pixels, "confidence" mean |p - 0.5| over the object's pixels
    """

    training: dict
    """The settings that all rows share."""
    clips: dict[str, list[str]]
    scores: dict[str, dict[int, dict[str, dict[str, Float[np.ndarray, "c"]]]]]

    def of(self, row: str, test_set: str, column: str) -> Float[np.ndarray, "s c"]:
        """One column of a row, random seeds by clips; "JF" is the mean of J and F. Seeds rise.

        Raises `InputError` for a row, set or column that is not there.
        """
        seeds = self.scores.get(ALIASES.get(row, row))
        if not seeds:
            raise InputError(f"no results of row {row!r}; there are {', '.join(self.scores)}")
        if test_set not in self.clips:
            raise InputError(f"no test set {test_set!r}; there are {', '.join(self.clips)}")
        if column == "JF":
            return (self.of(row, test_set, "J") + self.of(row, test_set, "F")) / 2
        if column not in COLUMNS:
            raise InputError(f"no column {column!r}; there are JF, {', '.join(COLUMNS)}")
        return np.stack([seeds[seed][test_set][column] for seed in sorted(seeds)])

    def __str__(self) -> str:
        """J&F in percent of every row and test set: mean over seeds and clips, and the seeds' standard deviation."""
        lines = [f"{'':20}" + "".join(f"{name:>18}" for name in self.clips)]
        for row in self.scores:
            cells = []
            for name in self.clips:
                means = 100 * np.nanmean(self.of(row, name, "JF"), axis=1)  # [S]
                spread = f" ± {means.std(ddof=1):.1f}" if len(means) > 1 else ""
                cells.append(f"{f'{means.mean():.1f}{spread}':>18}")
            lines.append(f"{row:20}" + "".join(cells))
        return "\n".join(lines)


def run_ablation(
    preset: str | RecurrentTraining,
    folder: str | Path,
    rows: Sequence[str] = ROW_NAMES,
    seeds: Sequence[int] = SEEDS,
    *,
    length: float = 1.0,
    device: str = "auto",
    progress: bool = True,
) -> AblationResults:
    """Train and test rows that `folder` does not hold yet, seed by seed, and write `ablation.json` of all it holds.

    preset  smoke or cpu, whose training is the same for all rows, or a `RecurrentTraining`
    length  share of the preset's steps, for all rows

    Called again, it goes on; called in several processes, these share the work, and each returns when all is done.
    Checkpoints of a finished run are removed, weights and tracks stay. Raises `InputError` for unknown rows, for a
    folder with other settings, and for the preset gpu, which trains its families differently long. Built in lessons 04
    and 05.
    """
    if preset == "gpu":
        raise InputError(
            "the published training differs between families, so rows of preset 'gpu' have no equal steps; pass one "
            "RecurrentTraining for all, for example RecurrentTraining.preset('gpu', 'hs2s')"
        )
    names = list(dict.fromkeys(row_named(name).name for name in rows))
    config = (RecurrentTraining.preset(preset) if isinstance(preset, str) else preset).shortened(length)
    folder = Path(folder).expanduser()
    keep_settings(folder / SETTINGS, config)
    for wait in (False, True):  # first what nobody is at, then what others are at, in case they do not finish it
        for seed in seeds:
            for name in names:
                run = folder / name / str(seed)
                if not (run / TRACKS).is_file():
                    _take_part(name, config, run, seed, wait, device, progress)
    return collect(folder)


def _take_part(
    name: str, config: RecurrentTraining, run: Path, seed: int, wait: bool, device: str, progress: bool
) -> None:
    """Train a row with one random seed, unless another process is at it, or has finished it after a wait."""
    with take_turn(run, wait) as mine:
        if not mine or (run / TRACKS).is_file():
            return
        train_row(name, config, run, seed, device=device, progress=progress)
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        collect(run.parents[1])


def finished_runs(folder: str | Path, rows: Sequence[str] = ROW_NAMES) -> dict[str, dict[int, Path]]:
    """Row -> random seed -> folder of the run, of the finished runs of a table; rows in its order, seeds rising.

    Raises `MissingDataError` if there is none.
    """
    folder = Path(folder).expanduser()
    found: dict[str, dict[int, Path]] = {}
    for name in ROW_NAMES:
        if name not in rows:
            continue
        for path in sorted(folder.glob(f"{name}/*/{TRACKS}"), key=lambda path: int(path.parent.name)):
            found.setdefault(name, {})[int(path.parent.name)] = path.parent
    if not found:
        raise MissingDataError(f"{folder} holds no finished run; `run_ablation` makes them")
    return found


def weights_of(run: Path) -> Path:
    """Where the weights of a run of a table lie."""
    return run / f"{run.parent.name}.safetensors"


def collect(folder: str | Path) -> AblationResults:
    """Gather all finished runs of a folder into its `ablation.json`, rows in the table's order.

    Raises `MissingDataError` if there is none, `InputError` if runs were tested on different clips.
    """
    folder = Path(folder).expanduser()
    clips: dict[str, list[str]] = {}
    scores: dict[str, dict[str, dict[str, dict[str, list[float | None]]]]] = {}
    for name, runs in finished_runs(folder).items():
        for seed, run in runs.items():
            path = run / TRACKS
            for test_set, tracks in load_tracks(path).items():
                found = [track.clip for track in tracks]
                if clips.setdefault(test_set, found) != found:
                    raise InputError(
                        f"{path} was tested on other clips than the runs before it; use a folder per table"
                    )
                of_seed = scores.setdefault(name, {}).setdefault(str(seed), {})
                of_seed[test_set] = {column: _column(tracks, column) for column in COLUMNS}
    training = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    table = {"training": training, "clips": clips, "scores": scores}
    with atomic_path(folder / RESULTS) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")
    return load_results(folder / RESULTS)


def ship(folder: str | Path, name: str, to: str | Path = SHIPPED, seed: int = 0) -> Path:
    """Copy a finished row out of a table of preset cpu, as the weights `name` with their card; returns their path.

    name  of `SHIPPED_ROWS`; `course train NAME` trains the same network from nothing

    Raises `InputError` for another name and for a table of other settings, `MissingDataError` if the run is not there.
    """
    folder = Path(folder).expanduser()
    if name not in SHIPPED_ROWS or name == LITE_NAME:
        names = [n for n in SHIPPED_ROWS if n != LITE_NAME]
        raise InputError(f"{name!r} is no network that ships from this table; there are {', '.join(names)}")
    row = row_named(SHIPPED_ROWS[name])
    keep_settings(folder / SETTINGS, RecurrentTraining.preset("cpu", row.family))
    source = weights_of(folder / row.name / str(seed))
    card = load_card(source)
    target = Path(to) / f"{name}.safetensors"
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    save_card(replace(card, name=name, command=f"course train {name} --preset cpu --seed {seed}"), target)
    return target


def load_results(path: str | Path) -> AblationResults:
    """Read an `ablation.json`. Raises `MissingDataError` where there is none, `InputError` for another file."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there are no results {path}; `run_ablation` writes them")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        scores = {
            row: {
                int(seed): {
                    name: {column: np.array(values, dtype=np.float64) for column, values in columns.items()}
                    for name, columns in sets.items()
                }
                for seed, sets in seeds.items()
            }
            for row, seeds in table["scores"].items()
        }
        return AblationResults(table["training"], table["clips"], scores)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not hold results of an ablation: {error}") from error


def _column(tracks: Sequence[ObjectTrack], column: str) -> list[float | None]:
    """A number per clip, None where it has no such frame."""
    if column == "first area":
        values = [track.first_area for track in tracks]
    elif column == "confidence":
        values = [_sure(track) for track in tracks]
    else:
        measure, frames = _COLUMNS[column]
        values = [track.mean(frames(track), measure) for track in tracks]
    return [None if math.isnan(value) else round(value, 4) for value in values]


def _sure(track: ObjectTrack) -> float:
    if track.confidence is None or np.isnan(track.confidence).all():
        return math.nan
    return float(np.nanmean(track.confidence))
