"""The table: every row with every random seed, equally long, on the same clips, and what came out of it.

M. Paul (2023), tables 4.1 to 4.3 and 4.10, gives one run each, without its spread. Unusual: a finished run is one file,
and processes that work on one folder find out by themselves what is left to do, so a table is made by as many as there
are cores and goes on where it stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from course_lib.data.noisy_drives import TROUBLES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.local_memory.experiment import SCORES, SETTINGS, TableData, train_row
from course_lib.methods.local_memory.rows import ROW_NAMES, Row, row_named
from course_lib.methods.local_memory.scoring import Counts, class_iou, clip_iou, load_counts, mean_iou
from course_lib.methods.local_memory.train_config import LocalMemoryTraining
from course_lib.training.run_directory import keep_settings
from course_lib.training.turns import is_taken

SEEDS = (0, 1, 2, 3, 4, 5)
EVERY = "all"  # clips with either kind of trouble together


@dataclass(frozen=True, eq=False)
class AblationResults:
    """What the runs of a folder scored: counts of pixels, row -> random seed -> trouble -> memory size -> [N, C, 3]."""

    training: dict
    """The settings that all rows share."""
    counts: dict[str, dict[int, Counts]]
    own_sizes: dict[str, int]
    """Memory size that each row was trained with, 0 for controls."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows that have a finished run, in the order of the table."""
        return tuple(self.counts)

    def seeds(self, row: str) -> tuple[int, ...]:
        """Random seeds of a row's finished runs, rising. Raises `InputError` for a row that has none."""
        if row not in self.counts:
            raise InputError(f"no results of row {row!r}; there are {', '.join(self.counts)}")
        return tuple(sorted(self.counts[row]))

    def sizes(self, row: str) -> tuple[int, ...]:
        """Memory sizes that a row was tested with, rising."""
        seed = self.seeds(row)[0]
        return tuple(sorted(self.counts[row][seed][TROUBLES[0]]))

    def pixels(self, row: str, trouble: str = EVERY, size: int | None = None) -> Int[np.ndarray, "s n c 3"]:
        """Counts of one row, random seeds by clips; with "all", clips with noise first, then the same with glare.

        size  of the memory; None takes the row's own. Raises `InputError` for what is not there.
        """
        seeds, wanted = self.seeds(row), self.own_sizes[row] if size is None else size
        if trouble not in (EVERY, *TROUBLES):
            raise InputError(f"no trouble {trouble!r}; there are {EVERY}, {', '.join(TROUBLES)}")
        if wanted not in self.sizes(row):
            raise InputError(f"row {row!r} was not tested with a memory of {wanted}, only with {self.sizes(row)}")
        kinds = TROUBLES if trouble == EVERY else (trouble,)
        return np.stack([np.concatenate([self.counts[row][seed][kind][wanted] for kind in kinds]) for seed in seeds])

    def mean_iou(self, row: str, trouble: str = EVERY, size: int | None = None) -> Float[np.ndarray, "s"]:
        """In [0, 1], counted over all clips: one number per random seed."""
        return np.array([mean_iou(counts) for counts in self.pixels(row, trouble, size)])

    def class_iou(self, row: str, trouble: str = EVERY, size: int | None = None) -> Float[np.ndarray, "s c"]:
        """In [0, 1], of each class of `STREET_CLASSES`; NaN for one that is nowhere."""
        return np.stack([class_iou(counts) for counts in self.pixels(row, trouble, size)])

    def clip_iou(self, row: str, trouble: str = EVERY, size: int | None = None) -> Float[np.ndarray, "s n"]:
        """In [0, 1], of each clip, over the classes that its frame shows: for pairing two rows clip by clip."""
        return np.stack([clip_iou(counts) for counts in self.pixels(row, trouble, size)])

    def __str__(self) -> str:
        """mIoU in percent of every row: mean over random seeds, and their standard deviation."""
        lines = [f"{'':16}" + "".join(f"{name:>16}" for name in (EVERY, *TROUBLES))]
        for row in self.rows:
            cells = []
            for trouble in (EVERY, *TROUBLES):
                values = 100 * self.mean_iou(row, trouble)
                spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
                cells.append(f"{f'{values.mean():.1f}{spread}':>16}")
            lines.append(f"{row:16}" + "".join(cells))
        return "\n".join(lines)


def run_ablation(
    preset: str | LocalMemoryTraining,
    folder: str | Path,
    rows: Sequence[str] = ROW_NAMES,
    seeds: Sequence[int] = SEEDS,
    *,
    length: float = 1.0,
    device: str = "auto",
    progress: bool = True,
) -> AblationResults:
    """Train and test rows that `folder` does not hold yet.

    preset  smoke, cpu or gpu, or a `LocalMemoryTraining`; the same for all rows
    length  share of the preset's steps, for all rows

    Called again, it goes on; called in several processes, these share the work, and each returns when all is done.
    Segmenters are trained first, since the other rows start from them. Raises `InputError` for unknown rows and for a
    folder with other settings. Built in lesson 07.
    """
    chosen = [row_named(name) for name in dict.fromkeys(rows)]
    config = (LocalMemoryTraining.preset(preset) if isinstance(preset, str) else preset).shortened(length)
    folder = Path(folder).expanduser()
    keep_settings(folder / SETTINGS, config)
    first = [(name, seed) for name in dict.fromkeys(row.frame_row for row in chosen) for seed in seeds]
    rest = [(row.name, seed) for seed in seeds for row in chosen if row.trained]
    left = [job for job in (*first, *rest) if not (folder / job[0] / str(job[1]) / SCORES).is_file()]
    data = TableData(config, folder, progress) if left else None
    for wait in (False, True):  # first what nobody is at, then what others are at, in case they do not finish it
        for name, seed in left:
            run = folder / name / str(seed)
            if not (run / SCORES).is_file() and (wait or not is_taken(run)):
                train_row(name, config, folder, seed, device=device, data=data, progress=progress)
    return collect(folder)


def collect(folder: str | Path) -> AblationResults:
    """All finished runs of a folder, rows in the table's order.

    Raises `MissingDataError` if there is none, `InputError` if runs were tested on different clips.
    """
    folder = Path(folder).expanduser()
    counts: dict[str, dict[int, Counts]] = {}
    for name in ROW_NAMES:
        for path in sorted(folder.glob(f"{name}/*/{SCORES}"), key=lambda path: int(path.parent.name)):
            counts.setdefault(name, {})[int(path.parent.name)] = load_counts(path)
    if not counts:
        raise MissingDataError(f"{folder} holds no finished run; `run_ablation` makes them")
    runs = [found for seeds in counts.values() for found in seeds.values()]
    shapes = {one.shape for found in runs for sizes in found.values() for one in sizes.values()}
    if len(shapes) > 1:
        raise InputError(f"runs in {folder} were tested on different clips ({shapes}); use a folder per table")
    training = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return AblationResults(training, counts, {name: _own_size(row_named(name), training) for name in counts})


def _own_size(row: Row, training: dict) -> int:
    """`Row.own_size`, from settings as they were kept."""
    memory = {**training[row.backbone], **row.changes}
    return int(memory["memory_size"]) if memory["source"] == "past" else 0
