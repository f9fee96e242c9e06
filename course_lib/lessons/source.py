"""Reads a lesson's source: a Python file in jupytext's percent format whose first cell is the manifest.

The cells come back with their line numbers, so that whatever is wrong later can be named by file and line.
Unusual: the manifest is YAML in which every value is text, so that lesson `08` stays `08` and no `no` becomes False.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jupytext
import yaml

from course_lib.errors import InputError, LessonError
from course_lib.lessons.hashes import text_hash
from course_lib.lessons.presets import BUDGETS, Budget

PARAMETERS = {"PRESET": "cpu", "SEED": 0, "DEVICE": "auto", "DATA_ROOT": None}
_MARKER = re.compile(r"#\s*%%(\s|$)")
_FILE_NAME = re.compile(r"(\d\d)_[a-z0-9_]+\.py")
_REQUIRED = ("lesson", "title", "promise", "needs", "objectives", "terms", "source")
_JUPYTEXT_ONLY = (
    "title",
    "lines_to_next_cell",
    "cell_marker",
    "cell_depth",
    "region_name",
    "name",
    "incorrectly_encoded_metadata",
)


@dataclass(frozen=True)
class Manifest:
    """What a lesson says about itself."""

    lesson: str  # two digits
    title: str
    promise: str  # one sentence
    needs: tuple[str, ...]  # numbers of lessons to have done before
    objectives: tuple[str, ...]  # three to five, each checkable
    terms: tuple[str, ...]  # glossary terms introduced
    source: str  # thesis or paper, section
    budgets: Mapping[str, Budget]  # per preset


@dataclass(frozen=True)
class Cell:
    """One cell of a source. `line` is where its `# %%` marker stands, counted from 1."""

    kind: Literal["code", "markdown", "raw"]
    text: str
    tags: tuple[str, ...]
    line: int
    metadata: dict[str, Any] = field(default_factory=dict)  # tags included

    @property
    def exercise(self) -> str | None:
        """Name of the exercise set in this cell, if it is one: the tag beside `exercise`."""
        names = [tag for tag in self.tags if tag != "exercise"]
        return names[0] if "exercise" in self.tags and names else None


@dataclass(frozen=True)
class LessonSource:
    """A lesson as written: manifest and the cells after it."""

    path: Path
    text: str
    manifest: Manifest
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """File name without suffix, for example `13_adaptive_memory`."""
        return self.path.stem

    @property
    def sha256(self) -> str:
        return text_hash(self.text)


def source_error(path: Path, line: int, message: str) -> LessonError:
    """An error that an editor can jump to."""
    return LessonError(f"{path}:{line}: {message}")


def lesson_number(number: str | int) -> str:
    """`0`, `"0"` and `"00"` are all lesson `00`. Raises `InputError` on anything that is no lesson number."""
    if not re.fullmatch(r"\d{1,2}", str(number)):
        raise InputError(f"a lesson is named by its number, for example 00 or 13; got {str(number)!r}")
    return f"{int(number):02d}"


def read_sources(root: Path, numbers: Sequence[str | int] = ()) -> list[LessonSource]:
    """The sources in `root/notebooks/source` in course order; only the `numbers` asked for, if any.

    Raises `LessonError` on a source that breaks the form or two of one number, `InputError` on a number nobody has.
    """
    folder = Path(root) / "notebooks" / "source"
    if not folder.is_dir():
        raise LessonError(f"no lesson sources in {folder}; run this inside a checkout of the course")
    wanted = {lesson_number(number) for number in numbers}
    paths: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise LessonError(f"{path}: a lesson source is named NN_slug.py (two digits, lower case)")
        if match[1] in paths:
            raise LessonError(f"{path}: lesson {match[1]} exists already as {paths[match[1]].name}")
        paths[match[1]] = path
    if missing := sorted(wanted - set(paths)):
        raise InputError(f"no lesson {', '.join(missing)}; there are {', '.join(paths) or 'none yet'}")
    return [read_source(path) for number, path in paths.items() if not wanted or number in wanted]


def read_source(path: Path) -> LessonSource:
    """Read and validate one source. Raises `LessonError` with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LessonError(f"{path}: a lesson source is UTF-8 text ({error.reason} at byte {error.start})") from error
    cells = _cells(path, text)
    if not cells or cells[0].kind != "raw" or "manifest" not in cells[0].tags:
        line = cells[0].line if cells else 1
        raise source_error(path, line, 'the first cell must be the manifest: `# %% [raw] tags=["manifest"]`')
    manifest = read_manifest(path, cells[0])
    match = _FILE_NAME.fullmatch(path.name)
    if match is not None and match[1] != manifest.lesson:
        raise source_error(path, cells[0].line, f"the manifest says lesson {manifest.lesson}, the file name {match[1]}")
    _require_parameters(path, cells[1:])
    return LessonSource(path, text, manifest, tuple(cells[1:]))


def _cells(path: Path, text: str) -> list[Cell]:
    lines = text.splitlines()
    markers = [number for number, line in enumerate(lines, 1) if _MARKER.match(line)]
    before = [line for line in lines[: markers[0] - 1 if markers else None] if line.strip()]
    if before and not before[0].startswith("# ---"):
        raise source_error(path, lines.index(before[0]) + 1, "text before the first `# %%` marker belongs to no cell")
    notebook = jupytext.reads(text, fmt="py:percent")
    if len(notebook.cells) != len(markers):
        raise source_error(
            path, 1, f"{len(markers)} `# %%` markers but {len(notebook.cells)} cells; a marker stands inside a string"
        )
    cells = []
    for line, cell in zip(markers, notebook.cells):
        metadata = {key: value for key, value in cell.metadata.items() if key not in _JUPYTEXT_ONLY}
        tags = metadata.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise source_error(path, line, f'tags are a list of texts, for example tags=["check"]; got {tags!r}')
        cells.append(Cell(cell.cell_type, cell.source, tuple(tags), line, metadata))
    return cells


def read_manifest(path: Path, cell: Cell) -> Manifest:
    """Validate the manifest cell. Raises `LessonError` naming the line of the key at fault."""

    def fail(key: str, message: str) -> LessonError:
        rows = [row for row, line in enumerate(cell.text.splitlines(), 1) if line.startswith(f"{key}:")]
        return source_error(path, cell.line + (rows[0] if rows else 0), f"manifest: {message}")

    try:
        entries = yaml.load(cell.text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        row = error.problem_mark.line + 1 if getattr(error, "problem_mark", None) else 0
        problem = getattr(error, "problem", None) or str(error)
        raise source_error(path, cell.line + row, f"manifest: not YAML ({problem}); quote texts with `: `") from error
    if not isinstance(entries, dict):
        raise source_error(path, cell.line, "manifest: one `key: value` a line is expected")
    if missing := [key for key in _REQUIRED if key not in entries]:
        raise source_error(path, cell.line, f"manifest: {', '.join(missing)} missing")
    if unknown := [key for key in entries if key not in (*_REQUIRED, "budget")]:
        raise fail(unknown[0], f"unknown key {unknown[0]}; there are {', '.join(_REQUIRED)} and budget")
    for key in ("lesson", "title", "promise", "source"):
        if not isinstance(entries[key], str) or not entries[key].strip():
            raise fail(key, f"{key} must be a text")
    for key in ("needs", "objectives", "terms"):
        if not isinstance(entries[key], list) or not all(isinstance(item, str) and item for item in entries[key]):
            raise fail(
                key, f"{key} must be a list of texts, for example [one, two]; quote texts that hold `: ` or a comma"
            )
    if not 3 <= len(entries["objectives"]) <= 5:
        raise fail("objectives", f"3 to 5 objectives are expected, got {len(entries['objectives'])}")
    if entries["promise"].rstrip(".!").count(". "):
        raise fail("promise", "the promise is one sentence")
    try:
        at = "lesson"
        number = lesson_number(entries[at])
        at = "needs"
        needs = tuple(lesson_number(need) for need in entries[at])
    except InputError as error:
        raise fail(at, str(error)) from error
    if late := [need for need in needs if need >= number]:
        raise fail("needs", f"lesson {number} cannot need lesson {late[0]}, which comes later")
    try:
        budgets = {**BUDGETS, **_budgets(entries.get("budget", {}))}
    except (AttributeError, TypeError, ValueError) as error:
        raise fail("budget", "budget maps a preset to seconds and gigabytes, for example {cpu: [150, 5]}") from error
    return Manifest(
        lesson=number,
        title=entries["title"].strip(),
        promise=entries["promise"].strip(),
        needs=needs,
        objectives=tuple(entries["objectives"]),
        terms=tuple(entries["terms"]),
        source=entries["source"].strip(),
        budgets=budgets,
    )


def _budgets(entries: Mapping[str, Sequence[str]]) -> dict[str, Budget]:
    if unknown := set(entries) - set(BUDGETS):
        raise ValueError(f"unknown preset {unknown}")
    return {preset: Budget(float(seconds), float(gigabytes)) for preset, (seconds, gigabytes) in entries.items()}


def _require_parameters(path: Path, cells: Sequence[Cell]) -> None:
    """The first code cell sets exactly the four parameters to their defaults, which papermill then overrides."""
    tagged = [cell for cell in cells if "parameters" in cell.tags]
    code = [cell for cell in cells if cell.kind == "code"]
    if len(tagged) != 1 or tagged[0] is not code[0]:
        line = tagged[-1].line if tagged else 1
        raise source_error(path, line, 'the first code cell, and no other, is tagged "parameters"')
    try:
        found = {
            node.targets[0].id: ast.literal_eval(node.value)  # type: ignore[attr-defined]
            for node in ast.parse(tagged[0].text).body
        }
    except (AttributeError, SyntaxError, ValueError):
        found = {}
    if found != PARAMETERS:
        form = "; ".join(f"{name} = {value!r}" for name, value in PARAMETERS.items())
        raise source_error(path, tagged[0].line, f"the parameters cell holds exactly: {form}")
