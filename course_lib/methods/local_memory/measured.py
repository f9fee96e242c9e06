"""The finished table in small: mIoU and the IoU of each class for every row, for lessons that train nothing.

One file that ships, written from the folder of `run_ablation`. Unusual: random seeds stay apart, so what is printed has
its spread, and two rows are compared seed by seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from course_lib.data.noisy_drives import TROUBLES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError
from course_lib.methods.local_memory.ablation import EVERY, AblationResults, collect
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

SHIPPED = FOLDER / "local-memory-ablation.json"
MEAN = "mIoU"
COLUMNS = (MEAN, *STREET_CLASSES)
KINDS = (EVERY, *TROUBLES)


class AblationSummary(Summary):
    """Means over the last frames of the test clips, in percent; `clips` are kinds of trouble, "all" is both."""

    def of(self, row: str, column: str = MEAN, kind: str = EVERY) -> Float[np.ndarray, "s"]:
        """One number per random seed, seeds rising. column: mIoU or a class; kind: all, noise or glare.

        Raises `InputError` naming what there is for an unknown row, column or kind.
        """
        return self.numbers(row, column, kind)

    def difference(self, first: str, second: str, column: str = MEAN, kind: str = EVERY) -> Difference:
        """One row minus another, seed by seed, in points. Raises `InputError` as `of` does."""
        values = self.of(first, column, kind) - self.of(second, column, kind)
        return Difference(first, second, column, tuple(values.tolist()))

    def by_memory_size(self, row: str, kind: str = EVERY) -> dict[int, Float[np.ndarray, "s"]]:
        """mIoU of one trained row read with other memory sizes (table 4.10): size -> [S], sizes rising.

        Raises `InputError` for a row that was tested with its own size only.
        """
        reads = self.more["reads"]
        if row not in reads or kind not in KINDS:
            raise InputError(
                f"rows tested with several memory sizes are {', '.join(reads)}, kinds {', '.join(KINDS)}; got "
                f"{row!r} and {kind!r}"
            )
        of_seed = [reads[row][str(seed)][kind] for seed in self.seeds]
        return {size: np.array([found[str(size)] for found in of_seed]) for size in sorted(map(int, of_seed[0]))}

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
        titles = titles_of(rows)
        strange = [row for row in published or {} if row not in titles]
        if strange:
            raise InputError(f"published numbers of rows that the table does not show: {', '.join(strange)}")
        heads = [kind if column == MEAN else f"{column}, {kind}" for column in columns for kind in kinds]
        lines = [["", *heads, *(["published"] if published else [])]]
        for row, title in titles.items():
            cells = [cell(self.of(row, column, kind)) for column in columns for kind in kinds]
            printed = [f"{published[row]:.2f}" if row in published else ""] if published else []
            lines.append([title, *cells, *printed])
        return lay_out(f"percent, last frame of {self.clips[EVERY]} test clips{self.spread_text()}", lines)


def write_summary(folder: str | Path, path: str | Path = SHIPPED) -> Path:
    """Write the means of all finished runs of a table's folder to `path`, as JSON.

    Raises `MissingDataError` if there is no finished run, `InputError` if rows were not trained with the same random
    seeds: a table in which some rows had more tries than others is none.
    """
    results = collect(folder)
    check_same_seeds({row: results.seeds(row) for row in results.rows})
    clips = {kind: results.pixels(results.rows[0], kind).shape[1] for kind in KINDS}
    scores = {row: _by_seed(results, row) for row in results.rows}
    reads = {row: _reads(results, row) for row in results.rows if len(results.sizes(row)) > 1}
    return write_scores(path, results.training, COLUMNS, clips, scores, reads=reads)


def load_summary(path: str | Path | None = None) -> AblationSummary:
    """Read a summary; None takes the one that ships. Built in lesson 07.

    Raises `MissingDataError` where there is none, `InputError` for another file.
    """
    return AblationSummary(**vars(read_scores(SHIPPED if path is None else Path(path))))


def _by_seed(results: AblationResults, row: str) -> dict[str, dict[str, list[float | None]]]:
    """Columns of one row: random seed -> kind -> numbers."""
    seeds = results.seeds(row)
    found: dict[str, dict[str, list[float | None]]] = {str(seed): {} for seed in seeds}
    for kind in KINDS:
        means, classes = results.mean_iou(row, kind), results.class_iou(row, kind)
        for seed, mean, each in zip(seeds, means, classes):
            found[str(seed)][kind] = [percent(value) for value in (mean, *each)]
    return found


def _reads(results: AblationResults, row: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """mIoU of one row by memory size: random seed -> kind -> size -> number."""
    seeds = results.seeds(row)
    found: dict[str, dict[str, dict[str, float | None]]] = {str(seed): {kind: {} for kind in KINDS} for seed in seeds}
    for kind in KINDS:
        for size in results.sizes(row):
            for seed, value in zip(seeds, results.mean_iou(row, kind, size)):
                found[str(seed)][kind][str(size)] = percent(value)
    return found
