"""What summaries of finished tables have in common: rows, random seeds that stay apart, and how they are printed.

A table holds every score of every test clip; its summary keeps the means of each run, ships as one small JSON, and lets
a lesson print the table and compare two rows without training anything. Unusual: a table in which some rows had more
tries than others is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError

Scores = dict[str, dict[int, dict[str, Float[np.ndarray, "k"]]]]  # row -> random seed -> kind of clip -> columns
_FORMAT = 1
_ENTRIES = ("format", "training", "columns", "clips", "scores")
_DECIMALS = 2


@dataclass(frozen=True)
class Difference:
    """One row minus another in one column, for each random seed; points, both on the same clips."""

    first: str
    second: str
    column: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over random seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Standard deviation over random seeds; NaN for a single one."""
        return spread_of(self.values)

    def __str__(self) -> str:
        single = ", ".join(f"{value:+.1f}" for value in self.values)
        doubt = "" if math.isnan(self.spread) else f" ± {self.spread:.1f}"
        return f"{self.column}: {self.first} minus {self.second} {self.mean:+.1f}{doubt} points (seeds: {single})"


@dataclass(frozen=True, eq=False)
class Summary:
    """Means of every run, in percent. Rooms add what their tables have beside it.

    training  the settings that all rows share
    clips     kind of clip -> how many; "all" is all of them
    scores    row -> random seed -> kind -> [columns], NaN where no clip has such a frame
    more      what one room's tables have beside it, as it stands in the file
    """

    training: dict
    columns: tuple[str, ...]
    clips: dict[str, int]
    scores: Scores
    more: dict

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows in the order of the table."""
        return tuple(self.scores)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Random seeds, the same for all rows."""
        return tuple(sorted(next(iter(self.scores.values()))))

    def numbers(self, row: str, column: str, clips: str) -> Float[np.ndarray, "s"]:
        """One number per random seed, seeds rising.

        Raises `InputError` naming what there is for an unknown row, column or kind of clip.
        """
        known = (("row", row, self.scores), ("column", column, self.columns), ("kind of clip", clips, self.clips))
        for what, name, there in known:
            if name not in there:
                raise InputError(f"no {what} {name!r} in the summary; there are {', '.join(there)}")
        place = self.columns.index(column)
        return np.array([self.scores[row][seed][clips][place] for seed in self.seeds])

    def spread_text(self) -> str:
        """For headings: over how many random seeds a mean was taken."""
        n = len(self.seeds)
        return f", mean ± standard deviation over {n} random seeds" if n > 1 else ", one random seed"


def write_scores(
    path: str | Path,
    training: dict,
    columns: Sequence[str],
    clips: Mapping[str, int],
    scores: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]],
    **more: Any,
) -> Path:
    """Write a summary as JSON; `more` are further entries, of one room alone.

    scores  row -> random seed -> kind of clip -> a number per column, None where there is none

    Raises `WriteError` if the disk refuses.
    """
    table = {"format": _FORMAT, "training": training, "columns": columns, "clips": clips, "scores": scores, **more}
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def check_same_seeds(found: Mapping[str, Sequence[int]]) -> None:
    """Raise `InputError` unless all rows have the same random seeds. found: row -> its seeds."""
    if len({tuple(sorted(seeds)) for seeds in found.values()}) > 1:
        raise InputError(
            f"rows were trained with different random seeds ({dict(found)}); finish them with `run_ablation`, then "
            "write the summary"
        )


def read_scores(path: Path) -> Summary:
    """What `write_scores` wrote.

    Raises `MissingDataError` where there is none, `InputError` for another file.
    """
    if not path.is_file():
        raise MissingDataError(
            f"the summary of the table is not here: there is no {path}. Take a checkout or a release that has it, or "
            "train the table with `run_ablation` (hours) and call `write_summary` on its folder"
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
        more = {name: entry for name, entry in table.items() if name not in _ENTRIES}
        return Summary(table["training"], columns, table["clips"], scores, more)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not hold a summary of a table: {error}") from error


def percent(values: float | Float[np.ndarray, "c"]) -> float | None:
    """Mean of what is known, in percent with two decimals; None if nothing is."""
    known = np.atleast_1d(np.asarray(values, dtype=np.float64))
    known = known[np.isfinite(known)]
    return round(100 * float(known.mean()), _DECIMALS) if len(known) else None


def spread_of(values: Sequence[float] | Float[np.ndarray, "s"]) -> float:
    """Standard deviation over random seeds; NaN for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def cell(values: Float[np.ndarray, "s"], published: float | None = None) -> str:
    """Mean ± standard deviation over random seeds, a dash where one is unknown; in brackets what is published."""
    if np.isnan(values).any():
        text = "-"
    else:
        text = f"{round(values.mean(), 1) + 0.0:.1f}" + ("" if len(values) < 2 else f" ± {spread_of(values):.1f}")
    return text if published is None else f"{text} ({published:.1f})"


def titles_of(rows: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Row -> how it is called, from names or from a mapping."""
    return dict(rows) if isinstance(rows, Mapping) else {row: row for row in rows}


def lay_out(heading: str, lines: Sequence[Sequence[str]]) -> str:
    """A table to print: the first column to the left, the others to the right, under a heading."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    return "\n".join([heading, *text])
