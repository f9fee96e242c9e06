"""Finds notebooks that are out of step with their source, edited by hand, or against the rules of the course.

A derived notebook is right if building it again would write the same bytes; nothing is executed to find out.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from course_lib.lessons.build import code_hash, derive_all, read_notebook
from course_lib.lessons.hashes import library_hash
from course_lib.lessons.rules import Problem, output_problems, source_problems
from course_lib.lessons.source import read_sources


def check_all(root: Path) -> list[Problem]:
    """All problems of all lessons, errors first. Raises `LessonError` on a source that cannot be read at all."""
    root = Path(root)
    sources = read_sources(root)
    numbers = {source.manifest.lesson for source in sources}
    problems: list[Problem] = []
    for source in sources:
        problems += source_problems(source)
        for need in source.manifest.needs:
            if need not in numbers:
                problems.append(Problem("warning", source.path, 1, f"needs lesson {need}, which does not exist yet"))
    if any(problem.level == "error" for problem in problems):
        return _sorted(problems)  # a faulty source has no notebooks to compare with

    derived = derive_all(root)
    problems += _orphans(root, set(derived))
    outdated = []
    for path, text in derived.items():
        problems += _derived_problems(path, text)
        notebook = read_notebook(path)
        executed = notebook.metadata.get("course", {}).get("executed", {}) if notebook else {}
        if executed and executed.get("library_sha256") != library_hash():
            outdated.append(path.stem[:2])
    if outdated:
        message = (
            f"stored outputs of lesson {', '.join(outdated)} were made by an older library; "
            f"where that matters: `course lessons execute --force {' '.join(outdated)}`"
        )
        problems.append(Problem("warning", root / "notebooks", None, message))
    return _sorted(problems)


def _derived_problems(path: Path, text: str) -> Iterator[Problem]:
    notebook = read_notebook(path)
    if notebook is None:
        yield Problem("error", path, None, "not built: `course lessons build`")
        return
    course = notebook.metadata.get("course", {})
    expected = json.loads(text)
    if path.read_text(encoding="utf-8") != text:
        if course.get("source_sha256") != expected["metadata"]["course"]["source_sha256"]:
            yield Problem("error", path, None, "older than its source: `course lessons build`")
        elif changed := _changed_cells(notebook, expected):
            yield Problem(
                "error",
                path,
                None,
                f"edited by hand (cells {', '.join(changed)}); edit notebooks/source/{path.stem}.py, then "
                "`course lessons build`",
            )
        else:
            yield Problem("error", path, None, "not as built (header, metadata or layout): `course lessons build`")
    if course.get("kind") != "solved":
        executed = course.get("executed")
        if executed is None:
            yield Problem("error", path, None, f"never executed: `course lessons execute {path.stem[:2]}`")
        elif executed.get("code_sha256") != code_hash(notebook):
            yield Problem(
                "error", path, None, f"outputs belong to older code: `course lessons execute {path.stem[:2]}`"
            )
        elif executed.get("preset") != "cpu":
            yield Problem("error", path, None, f"outputs come from preset {executed.get('preset')}, not cpu")
    yield from output_problems(path, notebook, path.stat().st_size)


def _changed_cells(notebook, expected: dict) -> list[str]:
    """Ids of cells that differ in anything but outputs, that are missing, or that nobody asked for."""

    def content(cell) -> tuple:
        return cell["cell_type"], "".join(cell["source"]), json.dumps(cell["metadata"], sort_keys=True)

    found = {cell.get("id", "without id"): content(cell) for cell in notebook.cells}
    wanted = {cell["id"]: content(cell) for cell in expected["cells"] if not cell["id"].startswith("lesson-")}
    extra = [identity for identity in found if identity not in wanted and not identity.startswith("lesson-")]
    return [identity for identity in wanted if found.get(identity) != wanted[identity]] + extra


def _orphans(root: Path, derived: set[Path]) -> Iterator[Problem]:
    """Notebooks beside the derived ones that no source stands behind."""
    for folder in (root / "notebooks", root / "notebooks" / "solutions"):
        for path in sorted(folder.glob("*.ipynb")):
            if path not in derived:
                yield Problem("error", path, None, "no source stands behind this notebook: delete it")


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.level != "error", str(problem.path), problem.line or 0))
