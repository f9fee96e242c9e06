"""Takes the solution out of an exercise cell for the student, or only its markers for the solved notebook.

A region runs from `### BEGIN SOLUTION` to `### END SOLUTION` inside a function or method; a cell may hold several.
In the student's cell each region is one `raise NotImplementedError("<name>: …")` at the region's own indentation, which
the exercise's check recognises as "not attempted yet". Text after the first marker becomes the message.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from course_lib.lessons.source import Cell, source_error

_BEGIN = re.compile(r"(\s*)### BEGIN SOLUTION\b:?\s*(.*)")
_END = re.compile(r"\s*### END SOLUTION\s*")


@dataclass(frozen=True)
class Region:
    """A solution: row numbers of its two markers in the cell, its indentation, and what to tell the student."""

    first: int
    last: int
    indent: str
    message: str


def regions(cell: Cell, path: Path) -> list[Region]:
    """The solution regions of a cell. Raises `LessonError` with file and line if the markers do not pair up."""
    found: list[Region] = []
    opened: tuple[int, str, str] | None = None
    for row, line in enumerate(cell.text.splitlines()):
        at = cell.line + 1 + row
        if begin := _BEGIN.fullmatch(line):
            if opened:
                raise source_error(path, at, "### BEGIN SOLUTION inside a solution")
            if not begin[1]:
                raise source_error(path, at, "a solution lies inside a function or method, so it is indented")
            opened = (row, begin[1], begin[2].strip())
        elif _END.fullmatch(line):
            if not opened:
                raise source_error(path, at, "### END SOLUTION without ### BEGIN SOLUTION")
            if row == opened[0] + 1:
                raise source_error(path, at, "the solution is empty")
            found.append(Region(opened[0], row, opened[1], opened[2]))
            opened = None
        elif "BEGIN SOLUTION" in line or "END SOLUTION" in line:
            raise source_error(path, at, "write the markers exactly as ### BEGIN SOLUTION and ### END SOLUTION")
    if opened:
        raise source_error(path, cell.line + 1 + opened[0], "### BEGIN SOLUTION without ### END SOLUTION")
    if found and cell.exercise is None:
        raise source_error(path, cell.line, 'a cell with a solution is tagged tags=["exercise", "name"]')
    return found


def student_text(cell: Cell, path: Path) -> str:
    """The cell as a student gets it."""
    found = regions(cell, path)
    lines = cell.text.splitlines()
    for index, region in reversed(list(enumerate(found, 1))):
        message = region.message or "your code here"
        part = f"part {index} of {len(found)}, " if len(found) > 1 else ""
        text = json.dumps(f"{cell.exercise}: {part}{message}", ensure_ascii=False)
        lines[region.first : region.last + 1] = [f"{region.indent}raise NotImplementedError({text})"]
    return "\n".join(lines)


def solved_text(cell: Cell, path: Path) -> str:
    """The cell with its solution and without markers."""
    markers = {row for region in regions(cell, path) for row in (region.first, region.last)}
    return "\n".join(line for row, line in enumerate(cell.text.splitlines()) if row not in markers)
