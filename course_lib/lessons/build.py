"""Derives the two notebooks of a lesson, student's and solved, from its source.

The same source always gives the same bytes: cell ids are hashes of cell contents, so inserting a cell moves no other
id, and the outputs that an earlier execution stored stay with the cells that have not changed.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from course_lib.data.atomic import atomic_path
from course_lib.errors import LessonError
from course_lib.lessons.header import read_measured, render_header
from course_lib.lessons.solutions import solved_text, student_text
from course_lib.lessons.source import LessonSource, read_sources

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE_INFO = {  # without the version of the Python at hand, which would differ from machine to machine
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
_NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


def notebook_path(root: Path, name: str, solved: bool) -> Path:
    """Where the notebook of lesson `name` (`NN_slug`) lies."""
    folder = Path(root) / "notebooks"
    return (folder / "solutions" if solved else folder) / f"{name}.ipynb"


def build(root: Path, numbers: Sequence[str | int] = ()) -> list[Path]:
    """Derive the notebooks of the lessons `numbers` (none means all) and write those whose bytes change.

    Returns the written paths. Raises `LessonError` with file and line on a faulty source, `WriteError` on a full disk.
    """
    written = []
    for path, text in derive_all(Path(root), numbers).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


def derive_all(root: Path, numbers: Sequence[str | int] = ()) -> dict[Path, str]:
    """What `build` would write: path -> text of every derived notebook, stored outputs carried over."""
    chosen = read_sources(root, numbers)
    lessons = {source.manifest.lesson: source for source in read_sources(root)}
    measured = read_measured(root)
    texts = {}
    for source in chosen:
        for solved in (False, True):
            path = notebook_path(root, source.name, solved)
            notebook = derive(source, solved, lessons, measured.get(source.manifest.lesson, {}))
            texts[path] = notebook_text(with_outputs(notebook, read_notebook(path)))
    return texts


def derive(
    source: LessonSource,
    solved: bool,
    lessons: Mapping[str, LessonSource] | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> NotebookNode:
    """One notebook without outputs. `lessons` (by number) gives links to prerequisites, `costs` the measured table."""
    header = new_markdown_cell(render_header(source, lessons or {}, costs or {}), id=f"lesson-{source.manifest.lesson}")
    cells, seen = [header], Counter[str]()
    for cell in source.cells:
        text = cell.text
        if cell.kind == "code":
            text = solved_text(cell, source.path) if solved else student_text(cell, source.path)
        content = f"{cell.kind}\n{text}"
        seen[content] += 1
        identity = hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()[:12]
        cells.append(_NEW_CELL[cell.kind](text, id=identity, metadata=_shown(dict(cell.metadata))))
    kind = "solved" if solved else "student"
    course = {"lesson": source.manifest.lesson, "kind": kind, "source_sha256": source.sha256}
    metadata = {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO), "course": course}
    notebook = new_notebook(cells=cells, metadata=metadata)
    notebook.nbformat_minor = 5  # the first format with cell ids
    return notebook


def _shown(metadata: dict) -> dict:
    """Fold the code of cells tagged hide-input (quizzes: it holds the answers), in JupyterLab as on the site."""
    if "hide-input" in metadata.get("tags", ()):
        metadata["jupyter"] = {"source_hidden": True}
    return metadata


def code_hash(notebook: NotebookNode) -> str:
    """Hash of what the kernel would run: stored outputs are current while it stays the same."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode() + b"\0")
    return digest.hexdigest()


def with_outputs(notebook: NotebookNode, existing: NotebookNode | None) -> NotebookNode:
    """Carry over the outputs of cells that `existing` has under the same id, and the record of their execution."""
    if existing is None:
        return notebook
    stored = {cell.get("id"): cell for cell in existing.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and (old := stored.get(cell.id)) is not None and old.source == cell.source:
            cell.outputs = old.outputs
            cell.execution_count = old.execution_count
    executed = existing.metadata.get("course", {}).get("executed")
    if executed is not None:
        notebook.metadata.course["executed"] = executed
    return notebook


def read_notebook(path: Path) -> NotebookNode | None:
    """The notebook at `path`, None where there is none. Raises `LessonError` if it cannot be read."""
    if not path.exists():
        return None
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except Exception as error:  # nbformat lets JSON, schema and key errors of many kinds through
        raise LessonError(
            f"{path} is not a readable notebook ({type(error).__name__}). It is derived: delete it, then run "
            "`course lessons build` and `course lessons execute`"
        ) from error


def notebook_text(notebook: NotebookNode) -> str:
    """The notebook as it is written: sorted keys, one line a line, a newline at the end."""
    text: Any = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    return text if text.endswith("\n") else text + "\n"
