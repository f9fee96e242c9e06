"""What an evaluation found: J, F, their recall and decay per object, speed and memory, as a table, JSON and CSV.

Scores are means over objects (not over videos or frames), as in DAVIS 2017 (Pont-Tuset et al., 2017). Unusual: the
settings travel with the numbers, so that two reports are compared only if they measured the same thing.
"""

import csv
import html
import io
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError

_FORMAT = 1  # of report.json
_CSV_COLUMNS = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay")


@dataclass(frozen=True)
class ObjectScore:
    """One object of one sequence. J and F: mean, share of frames above 0.5, loss from first to last quarter."""

    id: int
    J_mean: float
    J_recall: float
    J_decay: float
    F_mean: float
    F_recall: float
    F_decay: float
    frames: int  # that were scored


@dataclass(frozen=True)
class SequenceResult:
    """One sequence: its objects, what the method took. `seconds` of `frames` frames are spent in the method alone."""

    name: str
    frames: int
    seconds: float
    peak_memory_bytes: int | None  # None for methods that hold the whole clip
    objects: tuple[ObjectScore, ...]

    @property
    def J(self) -> float:
        """Mean region similarity over objects."""
        return _mean([o.J_mean for o in self.objects])

    @property
    def F(self) -> float:
        """Mean contour accuracy over objects."""
        return _mean([o.F_mean for o in self.objects])

    @property
    def JF(self) -> float:
        """J&F, the mean of both."""
        return (self.J + self.F) / 2

    @property
    def fps(self) -> float:
        """Frames per second of the method."""
        return self.frames / self.seconds if self.seconds > 0 else math.inf


@dataclass(frozen=True)
class Report:
    """Result of `evaluate`. `str(report)` is a table, a notebook shows it as one, `save` writes JSON and CSV."""

    model: str
    dataset: str
    sequences: tuple[SequenceResult, ...]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def objects(self) -> tuple[ObjectScore, ...]:
        """All objects of all sequences."""
        return tuple(o for sequence in self.sequences for o in sequence.objects)

    @property
    def J(self) -> float:
        """Mean over objects of their mean J."""
        return _mean([o.J_mean for o in self.objects])

    @property
    def F(self) -> float:
        """Mean over objects of their mean F."""
        return _mean([o.F_mean for o in self.objects])

    @property
    def JF(self) -> float:
        """J&F, the mean of both; the one number that leaderboards sort by."""
        return (self.J + self.F) / 2

    @property
    def fps(self) -> float:
        """Frames per second of the method over all sequences."""
        seconds = sum(s.seconds for s in self.sequences)
        return sum(s.frames for s in self.sequences) / seconds if seconds > 0 else math.inf

    @property
    def peak_memory_bytes(self) -> int | None:
        """Most that a session held between two frames; None where no method had a session."""
        held = [s.peak_memory_bytes for s in self.sequences if s.peak_memory_bytes is not None]
        return max(held) if held else None

    def summary(self) -> dict[str, float | None]:
        """Global figures: J&F, J and F with recall and decay (means over objects), fps, peak memory in bytes."""
        columns = {name: _mean([getattr(o, name) for o in self.objects]) for name in _CSV_COLUMNS}
        return {"JF": self.JF, **columns, "fps": self.fps, "peak_memory_bytes": self.peak_memory_bytes}

    def __str__(self) -> str:
        header, rows, total = self._table()
        widths = [max(len(row[i]) for row in (header, *rows, total)) for i in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

        def line(cells: list[str]) -> str:
            return "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))])

        title = f"{self.model} on {self.dataset}: J&F {self.JF:.3f}"
        return "\n".join([title, line(header), rule, *(line(row) for row in rows), rule, line(total)])

    def _repr_html_(self) -> str:
        header, rows, total = self._table()

        def cells(row: list[str], tag: str) -> str:
            return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
        caption = html.escape(f"{self.model} on {self.dataset}")
        return (
            f"<table><caption>{caption}</caption><thead><tr>{cells(header, 'th')}</tr></thead>"
            f"<tbody>{body}</tbody><tfoot><tr>{cells(total, 'th')}</tr></tfoot></table>"
        )

    def _table(self) -> tuple[list[str], list[list[str]], list[str]]:
        header = ["sequence", "objects", "frames", "J&F", "J", "F", "J decay", "fps", "memory"]
        rows = [
            [s.name, str(len(s.objects)), str(s.frames), _3(s.JF), _3(s.J), _3(s.F)]
            + [_3(_mean([o.J_decay for o in s.objects])), _rate(s.fps), _size(s.peak_memory_bytes)]
            for s in self.sequences
        ]
        total = ["all", str(len(self.objects)), str(sum(s.frames for s in self.sequences))]
        total += [_3(self.JF), _3(self.J), _3(self.F), _3(self.summary()["J_decay"])]
        return header, rows, [*total, _rate(self.fps), _size(self.peak_memory_bytes)]

    def to_json(self) -> str:
        """The report as JSON text; what is not a number (an object without scored frames) becomes null."""
        content = {"format": _FORMAT, "model": self.model, "dataset": self.dataset, "settings": self.settings}
        content |= {"global": self.summary(), "sequences": [asdict(s) for s in self.sequences]}
        return json.dumps(_finite(content), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """One line per object, one per sequence (object "all"), and one for everything (sequence "all")."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["sequence", "object", "JF", *_CSV_COLUMNS, "frames", "fps", "peak_memory_bytes"])

        def row(sequence: str, which: object, scored: tuple[ObjectScore, ...], tail: list[object]) -> None:
            means = [_mean([getattr(o, name) for o in scored]) for name in _CSV_COLUMNS]
            numbers = [(means[0] + means[3]) / 2, *means]
            writer.writerow([sequence, which, *(f"{n:.6f}" for n in numbers), *tail])

        for s in self.sequences:
            for o in s.objects:
                row(s.name, o.id, (o,), [o.frames, "", ""])
            row(s.name, "all", s.objects, [s.frames, f"{s.fps:.3f}", _blank(s.peak_memory_bytes)])
        frames = sum(s.frames for s in self.sequences)
        row("all", "all", self.objects, [frames, f"{self.fps:.3f}", _blank(self.peak_memory_bytes)])
        return text.getvalue()

    def save(self, folder: str | Path) -> None:
        """Write `report.json` and `report.csv` into `folder`, each whole or not at all. Raises `WriteError`."""
        for name, text in (("report.json", self.to_json()), ("report.csv", self.to_csv())):
            with atomic_path(Path(folder) / name) as temporary:
                temporary.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Report":
        """Read what `save` wrote. Raises `MissingDataError` if there is no report, `InputError` if it is damaged."""
        path = Path(folder) / "report.json"
        if not path.is_file():
            raise MissingDataError(f"there is no report {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            sequences = tuple(_sequence(entry) for entry in content["sequences"])
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}, expected {_FORMAT}")
            return cls(content["model"], content["dataset"], sequences, content["settings"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is no report of this library ({error}); remove it or choose another folder"
            ) from error


def _sequence(entry: dict) -> SequenceResult:
    def score(o: dict) -> ObjectScore:
        scores = {name: math.nan if o[name] is None else float(o[name]) for name in _CSV_COLUMNS}
        return ObjectScore(id=int(o["id"]), frames=int(o["frames"]), **scores)

    return SequenceResult(**{**entry, "objects": tuple(score(o) for o in entry["objects"])})


def _mean(values: list[float]) -> float:
    there = [v for v in values if not math.isnan(v)]
    return sum(there) / len(there) if there else math.nan


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _3(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _rate(fps: float) -> str:
    return "-" if math.isinf(fps) else f"{fps:.1f}"


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.2f} MiB"


def _blank(value: int | None) -> object:
    return "" if value is None else value
