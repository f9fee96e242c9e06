"""A finished ablation table in small: means of every row, for lessons that show it without training anything.

The table itself holds each score of each clip; this keeps their means per random seed, by kind of clip and by size of
the object, in one file that ships. Unusual: random seeds stay apart, so what is printed always has its spread, and two
rows are compared seed by seed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.ablation import AblationResults, collect
from course_lib.methods.recurrent.ablation_rows import ALIASES

Third = Literal["small", "medium", "large"]

SHIPPED = Path(__file__).parents[2] / "weights" / "recurrent-ablation.json"
EVERY = "all"  # the clips of all kinds together
_WHOLE = ("J", "F", "JF", "J early", "J late", "F early", "F late", "J after", "F after", "confidence")
_BY_SIZE = ("J", "F", "confidence")
_THIRDS: tuple[Third, ...] = ("small", "medium", "large")
SUMMARY_COLUMNS = (*_WHOLE, *(f"{column} {third}" for column in _BY_SIZE for third in _THIRDS))
_DECIMALS = 2
_FORMAT = 1


def size_thirds(areas: Sequence[float] | Float[np.ndarray, "c"]) -> dict[Third, Int[np.ndarray, "k"]]:
    """Which clips show the smallest, the middle and the largest objects, each list from small to large.

    areas  [C] pixels of each clip's object where it first appears; the same for all rows, so thirds are, too

    "small" and "large" have C // 3 clips each, one at least, so that they can be paired by rank; what is left is
    "medium". Of equal areas the earlier clip counts as smaller. Raises `InputError` for fewer than two clips, or NaN.
    """
    values = np.asarray(areas, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"thirds by size need the areas of two clips or more, one number each; got {values.tolist()}")
    order, each = np.argsort(values, kind="stable"), max(1, len(values) // 3)
    return {"small": order[:each], "medium": order[each : len(order) - each], "large": order[len(order) - each :]}


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
        return _spread(self.values)

    def __str__(self) -> str:
        single = ", ".join(f"{value:+.1f}" for value in self.values)
        doubt = "" if math.isnan(self.spread) else f" ± {self.spread:.1f}"
        return f"{self.column}: {self.first} minus {self.second} {self.mean:+.1f}{doubt} points (seeds: {single})"


@dataclass(frozen=True, eq=False)
class AblationSummary:
    """What `write_summary` kept: means over clips in percent ("confidence", mean |p - 0.5|, is at most 50).

    training  the settings that all rows share
    clips     kind of clip -> how many; "all" is all of them
    scores    row -> random seed -> kind -> [columns], NaN where no clip has such a frame
    """

    training: dict
    columns: tuple[str, ...]
    clips: dict[str, int]
    scores: dict[str, dict[int, dict[str, Float[np.ndarray, "k"]]]]

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows in the order of the table."""
        return tuple(self.scores)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Random seeds, the same for all rows."""
        return tuple(sorted(next(iter(self.scores.values()))))

    def of(self, row: str, column: str, clips: str = EVERY) -> Float[np.ndarray, "s"]:
        """One number per random seed, seeds rising. `clips`: a kind of clip, or "all".

        Raises `InputError` naming what there is for an unknown row, column or kind.
        """
        seeds = self.scores.get(ALIASES.get(row, row))
        if seeds is None:
            raise InputError(f"no row {row!r} in the summary; there are {', '.join(self.scores)}")
        if column not in self.columns:
            raise InputError(f"no column {column!r} in the summary; there are {', '.join(self.columns)}")
        if clips not in self.clips:
            raise InputError(f"no clips {clips!r} in the summary; there are {', '.join(self.clips)}")
        place = self.columns.index(column)
        return np.array([seeds[seed][clips][place] for seed in sorted(seeds)])

    def table(
        self,
        rows: Mapping[str, str] | Sequence[str],
        columns: Sequence[str] = ("J", "F", "JF"),
        published: Mapping[str, Mapping[str, float]] | None = None,
        clips: str = EVERY,
    ) -> str:
        """A table to print: mean ± standard deviation over random seeds, and in brackets what is published.

        rows       names, or name -> how the row is to be called
        published  row -> column -> printed number, for the cells that have one

        Raises `InputError` for unknown rows, columns or clips, and for published numbers of cells not shown.
        """
        titles = dict(rows) if isinstance(rows, Mapping) else {row: row for row in rows}
        printed = {row: dict(numbers) for row, numbers in (published or {}).items()}
        strange = [
            f"{r}: {c}" for r, numbers in printed.items() for c in numbers if r not in titles or c not in columns
        ]
        if strange:
            raise InputError(f"published numbers of cells that the table does not show: {', '.join(strange)}")
        lines = [["", *columns]]
        for row, title in titles.items():
            cells = [_cell(self.of(row, c, clips), printed.get(row, {}).get(c)) for c in columns]
            lines.append([title, *cells])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
        return "\n".join([self._heading(clips, bool(printed)), *text])

    def difference(self, first: str, second: str, column: str = "JF", clips: str = EVERY) -> Difference:
        """One row minus another, seed by seed, in points. Raises `InputError` as `of` does."""
        values = self.of(first, column, clips) - self.of(second, column, clips)
        return Difference(first, second, column, tuple(values.tolist()))

    def _heading(self, clips: str, brackets: bool) -> str:
        n = len(self.seeds)
        spread = f", mean ± standard deviation over {n} random seeds" if n > 1 else ", one random seed"
        kind = "clips of all kinds" if clips == EVERY else f"clips, {clips}"
        return f"percent on {self.clips[clips]} {kind}{spread}{'; in brackets: published' if brackets else ''}"


def write_summary(folder: str | Path, path: str | Path = SHIPPED) -> Path:
    """Write the means of all finished runs of an ablation's folder to `path`, as JSON.

    Raises `MissingDataError` if there is no finished run, `InputError` if rows were not trained with the same random
    seeds: a table in which some rows had more tries than others is none.
    """
    results = collect(folder)
    found = {row: tuple(sorted(seeds)) for row, seeds in results.scores.items()}
    if len(set(found.values())) > 1:
        raise InputError(
            f"rows were trained with different random seeds ({found}); finish them with `run_ablation`, then write "
            "the summary"
        )
    table = {
        "format": _FORMAT,
        "training": results.training,
        "columns": SUMMARY_COLUMNS,
        "clips": {EVERY: sum(map(len, results.clips.values()))} | {k: len(n) for k, n in results.clips.items()},
        "scores": {row: {str(seed): _summarised(results, row, seed) for seed in seeds} for row, seeds in found.items()},
    }
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_summary(path: str | Path | None = None) -> AblationSummary:
    """Read a summary; None takes the one that ships. Built in lessons 04 and 05.

    Raises `MissingDataError` where there is none, `InputError` for another file.
    """
    path = SHIPPED if path is None else Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"the summary of the ablation table is not here: there is no {path}. Take a checkout or a release that has "
            "it, or train the table with `run_ablation` (hours) and call `write_summary` on its folder"
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
        return AblationSummary(table["training"], columns, table["clips"], scores)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not hold a summary of an ablation: {error}") from error


def _summarised(results: AblationResults, row: str, seed: int) -> dict[str, list[float | None]]:
    """All columns of one run, for all clips and for each kind. Thirds are taken within a kind, also for "all"."""
    place = sorted(results.scores[row]).index(seed)
    parts: dict[str, dict[str, list[np.ndarray]]] = {kind: {} for kind in (EVERY, *results.clips)}
    for kind in results.clips:
        thirds = size_thirds(results.of(row, kind, "first area")[place])
        for column in _WHOLE:
            values = results.of(row, kind, column)[place]
            of_column = {column: values}
            if column in _BY_SIZE:
                of_column |= {f"{column} {third}": values[chosen] for third, chosen in thirds.items()}
            for name, part in of_column.items():
                for into in (EVERY, kind):
                    parts[into].setdefault(name, []).append(part)
    return {kind: [_percent(np.concatenate(of[name])) for name in SUMMARY_COLUMNS] for kind, of in parts.items()}


def _percent(values: Float[np.ndarray, "c"]) -> float | None:
    """Mean of what is known, None if nothing is."""
    known = values[np.isfinite(values)]
    return round(100 * float(known.mean()), _DECIMALS) if len(known) else None


def _cell(values: Float[np.ndarray, "s"], published: float | None) -> str:
    if np.isnan(values).any():
        text = "-"
    else:
        text = f"{values.mean():.1f}" + ("" if len(values) < 2 else f" ± {_spread(values):.1f}")
    return text if published is None else f"{text} ({published:.1f})"


def _spread(values: Sequence[float] | Float[np.ndarray, "s"]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
