"""A finished ablation table in small: means of every row, for lessons that show it without training anything.

The table itself holds each score of each clip; this keeps their means per random seed, by kind of clip and by size of
the object, in one file that ships. Unusual: random seeds stay apart, so what is printed always has its spread, and two
rows are compared seed by seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from course_lib.errors import InputError
from course_lib.methods.recurrent.ablation import AblationResults, collect
from course_lib.methods.recurrent.ablation_rows import ALIASES
from course_lib.nn.weights import SHIPPED as FOLDER
from course_lib.training.summaries import (
    Difference,
    Summary,
    cell,
    check_same_seeds,
    lay_out,
    percent,
    read_scores,
    titles_of,
    write_scores,
)

Third = Literal["small", "medium", "large"]

SHIPPED = FOLDER / "recurrent-ablation.json"
EVERY = "all"  # the clips of all kinds together
_WHOLE = ("J", "F", "JF", "J early", "J late", "F early", "F late", "J after", "F after", "confidence")
_BY_SIZE = ("J", "F", "confidence")
_THIRDS: tuple[Third, ...] = ("small", "medium", "large")
SUMMARY_COLUMNS = (*_WHOLE, *(f"{column} {third}" for column in _BY_SIZE for third in _THIRDS))


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


class AblationSummary(Summary):
    """Means over clips in percent ("confidence", mean |p - 0.5|, is at most 50)."""

    def of(self, row: str, column: str, clips: str = EVERY) -> Float[np.ndarray, "s"]:
        """One number per random seed, seeds rising. `clips`: a kind of clip, or "all".

        Raises `InputError` naming what there is for an unknown row, column or kind.
        """
        return self.numbers(ALIASES.get(row, row), column, clips)

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
        titles = titles_of(rows)
        printed = {row: dict(numbers) for row, numbers in (published or {}).items()}
        strange = [
            f"{r}: {c}" for r, numbers in printed.items() for c in numbers if r not in titles or c not in columns
        ]
        if strange:
            raise InputError(f"published numbers of cells that the table does not show: {', '.join(strange)}")
        lines = [["", *columns]]
        for row, title in titles.items():
            cells = [cell(self.of(row, c, clips), printed.get(row, {}).get(c)) for c in columns]
            lines.append([title, *cells])
        return lay_out(self._heading(clips, bool(printed)), lines)

    def difference(self, first: str, second: str, column: str = "JF", clips: str = EVERY) -> Difference:
        """One row minus another, seed by seed, in points. Raises `InputError` as `of` does."""
        values = self.of(first, column, clips) - self.of(second, column, clips)
        return Difference(first, second, column, tuple(values.tolist()))

    def _heading(self, clips: str, brackets: bool) -> str:
        kind = "clips of all kinds" if clips == EVERY else f"clips, {clips}"
        ending = "; in brackets: published" if brackets else ""
        return f"percent on {self.clips[clips]} {kind}{self.spread_text()}{ending}"


def write_summary(folder: str | Path, path: str | Path = SHIPPED) -> Path:
    """Write the means of all finished runs of an ablation's folder to `path`, as JSON.

    Raises `MissingDataError` if there is no finished run, `InputError` if rows were not trained with the same random
    seeds: a table in which some rows had more tries than others is none.
    """
    results = collect(folder)
    check_same_seeds({row: tuple(sorted(seeds)) for row, seeds in results.scores.items()})
    clips = {EVERY: sum(map(len, results.clips.values()))} | {k: len(n) for k, n in results.clips.items()}
    scores = {
        row: {str(seed): _summarised(results, row, seed) for seed in sorted(seeds)}
        for row, seeds in results.scores.items()
    }
    return write_scores(path, results.training, SUMMARY_COLUMNS, clips, scores)


def load_summary(path: str | Path | None = None) -> AblationSummary:
    """Read a summary; None takes the one that ships. Built in lessons 04 and 05.

    Raises `MissingDataError` where there is none, `InputError` for another file.
    """
    return AblationSummary(**vars(read_scores(SHIPPED if path is None else Path(path))))


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
    return {kind: [percent(np.concatenate(of[name])) for name in SUMMARY_COLUMNS] for kind, of in parts.items()}
