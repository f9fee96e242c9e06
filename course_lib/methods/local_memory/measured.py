"""The finished table in small: mIoU and the IoU of each class for every row, for lessons that train nothing.

One file that ships, written from the folder of `run_ablation`. Unusual: random seeds stay apart, so what is printed has
its spread, and two rows are compared seed by seed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from course_lib.data.atomic import atomic_path
from course_lib.data.noisy_drives import TROUBLES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.local_memory.ablation import EVERY, AblationResults, collect

SHIPPED = Path(__file__).parents[2] / "weights" / "local-memory-ablation.json"
MEAN = "mIoU"
COLUMNS = (MEAN, *STREET_CLASSES)
KINDS = (EVERY, *TROUBLES)
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class AblationSummary:
    """What `write_summary` kept; all numbers in percent.

    training  the settings that all rows share
    clips     kind of trouble -> how many test clips; "all" is both
    scores    row -> random seed -> kind -> [columns], NaN for a class that is nowhere
    reads     row -> random seed -> kind -> memory size -> mIoU, for rows that were tested with several
    """

    training: dict
    columns: tuple[str, ...]
    clips: dict[str, int]
    scores: dict[str, dict[int, dict[str, Float[np.ndarray, "k"]]]]
    reads: dict[str, dict[int, dict[str, dict[int, float]]]]

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows in the order of the table."""
        return tuple(self.scores)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Random seeds, the same for all rows."""
        return tuple(sorted(next(iter(self.scores.values()))))

    def of(self, row: str, column: str = MEAN, kind: str = EVERY) -> Float[np.ndarray, "s"]:
        """One number per random seed, seeds rising. column: mIoU or a class; kind: all, noise or glare.

        Raises `InputError` naming what there is for an unknown row, column or kind.
        """
        for what, name, there in (("row", row, self.scores), ("column", column, self.columns), ("kind", kind, KINDS)):
            if name not in there:
                raise InputError(f"no {what} {name!r} in the summary; there are {', '.join(there)}")
        place = self.columns.index(column)
        return np.array([self.scores[row][seed][kind][place] for seed in self.seeds])

    def difference(self, first: str, second: str, column: str = MEAN, kind: str = EVERY) -> Float[np.ndarray, "s"]:
        """One row minus another, seed by seed, in points. Raises `InputError` as `of` does."""
        return self.of(first, column, kind) - self.of(second, column, kind)

    def by_memory_size(self, row: str, kind: str = EVERY) -> dict[int, Float[np.ndarray, "s"]]:
        """mIoU of one trained row read with other memory sizes (table 4.10): size -> [S], sizes rising.

        Raises `InputError` for a row that was tested with its own size only.
        """
        if row not in self.reads or kind not in KINDS:
            raise InputError(
                f"rows tested with several memory sizes are {', '.join(self.reads)}, kinds {', '.join(KINDS)}; got "
                f"{row!r} and {kind!r}"
            )
        sizes = sorted(self.reads[row][self.seeds[0]][kind])
        return {size: np.array([self.reads[row][seed][kind][size] for seed in self.seeds]) for size in sizes}

    def table(
        self,
        rows: Mapping[str, str] | Sequence[str],
        columns: Sequence[str] = (MEAN,),
        kinds: Sequence[str] = KINDS,
        published: Mapping[str, float] | None = None,
    ) -> str:
        """A table to print: mean ± standard deviation over random seeds, and what is published beside it.

        rows       names, or name -> how the row is to be called
        published  row -> mIoU on Cityscapes that the thesis prints

        Raises `InputError` for unknown rows, columns or kinds, and for published numbers of rows not shown.
        """
        titles = dict(rows) if isinstance(rows, Mapping) else {row: row for row in rows}
        strange = [row for row in published or {} if row not in titles]
        if strange:
            raise InputError(f"published numbers of rows that the table does not show: {', '.join(strange)}")
        heads = [kind if column == MEAN else f"{column}, {kind}" for column in columns for kind in kinds]
        lines = [["", *heads, *(["published"] if published else [])]]
        for row, title in titles.items():
            cells = [_cell(self.of(row, column, kind)) for column in columns for kind in kinds]
            printed = [f"{published[row]:.2f}" if row in published else ""] if published else []
            lines.append([title, *cells, *printed])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
        spread = f", mean ± standard deviation over {len(self.seeds)} random seeds" if len(self.seeds) > 1 else ""
        return "\n".join([f"percent, last frame of {self.clips[EVERY]} test clips{spread}", *text])


def write_summary(folder: str | Path, path: str | Path = SHIPPED) -> Path:
    """Write the means of all finished runs of a table's folder to `path`, as JSON.

    Raises `MissingDataError` if there is no finished run, `InputError` if rows were not trained with the same random
    seeds: a table in which some rows had more tries than others is none.
    """
    results = collect(folder)
    found = {row: results.seeds(row) for row in results.rows}
    if len(set(found.values())) > 1:
        raise InputError(
            f"rows were trained with different random seeds ({found}); finish them with `run_ablation`, then write "
            "the summary"
        )
    first = results.rows[0]
    table = {
        "format": _FORMAT,
        "training": results.training,
        "columns": COLUMNS,
        "clips": {kind: results.pixels(first, kind).shape[1] for kind in KINDS},
        "scores": {row: _by_seed(results, row) for row in results.rows},
        "reads": {row: _reads(results, row) for row in results.rows if len(results.sizes(row)) > 1},
    }
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_summary(path: str | Path | None = None) -> AblationSummary:
    """Read a summary; None takes the one that ships. Built in lesson 07.

    Raises `MissingDataError` where there is none, `InputError` for another file.
    """
    path = SHIPPED if path is None else Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"the summary of the table is not here: there is no {path}. Take a checkout or a release that has it, or "
            "train the table with `run_ablation` (an hour) and call `write_summary` on its folder"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != _FORMAT:
            raise ValueError(f"format {table['format']}, this version reads {_FORMAT}")
        columns = tuple(table["columns"])
        scores = {
            row: {
                int(seed): {kind: np.array(values, dtype=np.float64) for kind, values in kinds.items()}
                for seed, kinds in seeds.items()
            }
            for row, seeds in table["scores"].items()
        }
        if any(len(v) != len(columns) for s in scores.values() for kinds in s.values() for v in kinds.values()):
            raise ValueError("a list of scores has not one number per column")
        reads = {
            row: {
                int(seed): {kind: {int(size): v for size, v in sizes.items()} for kind, sizes in kinds.items()}
                for seed, kinds in seeds.items()
            }
            for row, seeds in table["reads"].items()
        }
        return AblationSummary(table["training"], columns, table["clips"], scores, reads)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not hold a summary of this table: {error}") from error


def _by_seed(results: AblationResults, row: str) -> dict[str, dict[str, list[float | None]]]:
    """Columns of one row: random seed -> kind -> numbers."""
    seeds = results.seeds(row)
    found: dict[str, dict[str, list[float | None]]] = {str(seed): {} for seed in seeds}
    for kind in KINDS:
        means, classes = results.mean_iou(row, kind), results.class_iou(row, kind)
        for seed, mean, each in zip(seeds, means, classes):
            found[str(seed)][kind] = [_percent(value) for value in (mean, *each)]
    return found


def _reads(results: AblationResults, row: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """mIoU of one row by memory size: random seed -> kind -> size -> number."""
    seeds = results.seeds(row)
    found: dict[str, dict[str, dict[str, float | None]]] = {str(seed): {kind: {} for kind in KINDS} for seed in seeds}
    for kind in KINDS:
        for size in results.sizes(row):
            for seed, value in zip(seeds, results.mean_iou(row, kind, size)):
                found[str(seed)][kind][str(size)] = _percent(value)
    return found


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * float(value), 2)


def _cell(values: Float[np.ndarray, "s"]) -> str:
    if np.isnan(values).any():
        return "-"
    return f"{values.mean():.1f}" + ("" if len(values) < 2 else f" ± {values.std(ddof=1):.1f}")
