"""Writes the parts of the README that are data: the tables of lessons, times and claims, between their markers.

`python docs/refresh_readme.py` after a lesson, a measurement or a claim has changed; a test says when it is due.
"""

import re
from pathlib import Path

from course_lib.claims import board_markdown, load_board
from course_lib.lessons.header import duration, read_measured
from course_lib.lessons.source import read_sources

ROOT = Path(__file__).parent.parent


def lessons_table(root: Path) -> str:
    """Number, title and promise of every lesson there is."""
    rows = ["| lesson | what you will be able to do |", "|---|---|"]
    for source in read_sources(root):
        lesson = source.manifest
        rows.append(f"| [{lesson.lesson} · {lesson.title}](notebooks/{source.name}.ipynb) | {lesson.promise} |")
    return "\n".join(rows)


def times_table(root: Path) -> str:
    """Measured time and peak memory of every lesson, per preset."""
    measured = read_measured(root)
    rows = ["| lesson | `smoke` | `cpu` |", "|---|---|---|"]
    for source in read_sources(root):
        costs = measured.get(source.manifest.lesson, {})
        cells = [
            f"{duration(costs[preset]['seconds'])}, {costs[preset]['gigabytes']:.1f} GB" if preset in costs else "–"
            for preset in ("smoke", "cpu")
        ]
        rows.append(f"| {source.manifest.lesson} | {' | '.join(cells)} |")
    return "\n".join(rows)


def refreshed(text: str, root: Path) -> str:
    """The README with its tables as they should be now."""
    blocks = {
        "lessons": lessons_table(root),
        "times": times_table(root),
        "claims": board_markdown(load_board(root / "docs" / "claims.json")).strip(),
    }
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        text, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{block}\n{end}", text, flags=re.DOTALL)  # noqa: B023
        if count != 1:
            raise ValueError(f"README.md needs the markers {begin} and {end} once, found {count}")
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8"), ROOT), encoding="utf-8")
