"""What every lesson keeps to, checked on its source and on its stored outputs.

Each rule yields `Problem`s with file, line and the remedy. Unusual: the rules read sources, not derived notebooks, so
that every complaint points at the line to edit.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbformat import NotebookNode

from course_lib.errors import LessonError
from course_lib.lessons.solutions import solved_text, student_text
from course_lib.lessons.source import Cell, LessonSource

MAX_BYTES = 400_000
HINTS = 3
_FORBIDDEN = (
    (r"\bpip3?\s+install\b", "a lesson installs nothing; declare the package in pyproject.toml"),
    (r"\bos\.chdir\b|^\s*%cd\b", "a lesson stays in its folder; use paths from `course`"),
    (r"(?<![\w.:/<])/(?:home|Users|root|tmp|mnt|opt|usr|var|content)/", "no absolute paths; use paths from `course`"),
    (r"\b[A-Za-z]:[\\/]{1,2}Users\b", "no absolute paths; use paths from `course`"),
    (
        r"\burlretrieve\b|\brequests\.get\b|^\s*!\s*(wget|curl)\b|\burlopen\b",
        "no download without a checksum (data_scripts)",
    ),
    (
        r"\b(torch|np\.random|numpy\.random|random)\.(manual_seed|seed)\(",
        "no global seeds in cells: `lesson(...)` sets them; use course.generator()",
    ),
    (r"\bset_num_threads\(", "`lesson(...)` sets the number of threads"),
)
_HINT = re.compile(r"<details>\s*<summary>\s*Hint\s+(\d+)\s*</summary>")
_PRESET = re.compile(r"\bPRESET\b|\.pick\(|\.preset\b")
_LOCAL_PATH = re.compile(r"(?<![\w.:/<])/(?:home|Users|root|tmp)/\w+")


@dataclass(frozen=True)
class Problem:
    """Something to mend. `line` counts from 1; None where the file as a whole is meant."""

    level: Literal["error", "warning"]
    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.level}: {self.message}"


def source_problems(source: LessonSource) -> Iterator[Problem]:
    """Rules on a lesson's source."""
    for cell in source.cells:
        yield from _cell_problems(source, cell)
    yield from _exercise_problems(source)


def _cell_problems(source: LessonSource, cell: Cell) -> Iterator[Problem]:
    def problem(message: str, row: int | None = None) -> Problem:
        return Problem("error", source.path, cell.line + (0 if row is None else row + 1), message)

    rows = cell.text.splitlines()
    if cell.kind == "markdown":
        for row, line in enumerate(rows):
            if re.search(r"!\[\s*\]\(", line) or _has_bare_image(line):
                yield problem("a picture without alt text: say what it shows", row)
        return
    if cell.kind != "code":
        return
    for pattern, remedy in _FORBIDDEN:
        for row, line in enumerate(rows):
            if re.search(pattern, line):
                yield problem(f"`{line.strip()}`: {remedy}", row)
    try:
        for text in (student_text(cell, source.path), solved_text(cell, source.path)):
            _parse(text)
    except SyntaxError as error:
        yield problem(f"not Python: {error.msg}", (error.lineno or 1) - 1)
        return
    except LessonError as error:
        yield Problem("error", source.path, cell.line, str(error).partition(": ")[2])
        return
    if re.search(r"\bcheck\.\w+\(", cell.text) and "check" not in cell.tags:
        yield problem('a cell that checks an exercise is tagged: tags=["check"]')
    if "nbval-check-output" in cell.tags:
        for row, line in enumerate(rows):
            if _PRESET.search(line):
                yield problem("a cell tagged nbval-check-output must give the same output at every preset", row)


def _parse(text: str) -> ast.Module:
    """The cell as Python, with IPython's magics understood."""
    from IPython.core.inputtransformer2 import TransformerManager

    return ast.parse(TransformerManager().transform_cell(text))


def _exercise_problems(source: LessonSource) -> Iterator[Problem]:
    cells = source.cells
    starts = [index for index, cell in enumerate(cells) if "exercise" in cell.tags]
    if not 3 <= len(starts) <= 6:
        yield Problem("warning", source.path, None, f"a lesson has 3 to 6 exercises, this one has {len(starts)}")
    names = [cells[start].exercise for start in starts]
    for order, start in enumerate(starts):
        cell, name = cells[start], names[order]
        end = starts[order + 1] if order + 1 < len(starts) else len(cells)

        def problem(message: str, line: int = cell.line) -> Problem:
            return Problem("error", source.path, line, message)

        if cell.kind != "code" or name is None:
            yield problem('an exercise is a code cell tagged with its name: tags=["exercise", "name"]')
            continue
        if names.index(name) != order:
            yield problem(f"two exercises named {name}")
        if not re.search(rf"^(def|class)\s+{re.escape(name)}\b", cell.text, re.MULTILINE):
            yield problem(f"exercise {name} defines no function or class of that name")
        if "### BEGIN SOLUTION" not in cell.text:
            yield problem(f"exercise {name} has no ### BEGIN SOLUTION … ### END SOLUTION")
        call = re.compile(rf"\b{re.escape(name)}\s*=\s*check\.{re.escape(name)}\(\s*{re.escape(name)}\s*\)")
        if not any("check" in later.tags and call.search(later.text) for later in cells[start + 1 :]):
            yield problem(f'exercise {name} has no check cell: `{name} = check.{name}({name})`, tags=["check"]')
        text = "\n".join(later.text for later in cells[start + 1 : end] if later.kind == "markdown")
        hints = [int(number) for number in _HINT.findall(text)]
        if hints != list(range(1, HINTS + 1)):
            yield problem(
                f"exercise {name} needs {HINTS} graded hints before the next exercise, each "
                f"<details><summary>Hint 1</summary> … </details>; found {hints or 'none'}"
            )


def output_problems(path: Path, notebook: NotebookNode, size: int) -> Iterator[Problem]:
    """Rules on a notebook with its stored outputs; `size` in bytes as written."""
    if size > MAX_BYTES:
        yield Problem(
            "error", path, None, f"{size / 1000:.0f} KB; at most {MAX_BYTES // 1000} KB: fewer or smaller figures"
        )
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for message in _output_messages(output, cell):
                first = cell.source.strip().partition("\n")[0]
                yield Problem("error", path, None, f"cell {cell.id} (`{first}`): {message}")


def _output_messages(output: NotebookNode, cell: NotebookNode) -> Iterator[str]:
    if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", ()):
        yield f"stored output is an error, {output.ename}: {output.evalue}"
    data = output.get("data", {})
    html = "".join(data.get("text/html", ""))
    for mime in data:
        alt = str(output.get("metadata", {}).get(mime, {}).get("alt", "")).strip()
        if mime.startswith("image/") and not alt and "alt=" not in html:
            yield "a figure without alt text: show figures with course_lib.viz"
    if _has_bare_image(html):
        yield "a picture without alt text: show figures with course_lib.viz"
    texts = [output.get("text", ""), *(value for mime, value in data.items() if mime.startswith("text/"))]
    for text in texts:
        if found := _LOCAL_PATH.search("".join(text)):
            yield f"a folder of this machine in a stored output: {found[0]}"


def _has_bare_image(html: str) -> bool:
    tags = re.findall(r"<img\b[^>]*>", html)
    return any(not re.search(r"\balt\s*=\s*([\"'])\s*[^\"'\s]", tag) and "aria-hidden" not in tag for tag in tags)
