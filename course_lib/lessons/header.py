"""The first thing a learner sees: the manifest rendered as Markdown, with measured costs.

Costs come from `notebooks/measured.json`, which `run_course(..., record=True)` writes; they are rounded so coarsely
that a new measurement of an unchanged lesson seldom changes the notebook.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from course_lib.errors import LessonError
from course_lib.lessons.presets import BUDGETS
from course_lib.lessons.source import LessonSource

Measured = dict[str, dict[str, dict[str, float]]]  # lesson -> preset -> seconds, gigabytes


def measured_path(root: Path) -> Path:
    """Where measured costs are kept."""
    return Path(root) / "notebooks" / "measured.json"


def read_measured(root: Path) -> Measured:
    """Measured seconds and gigabytes per lesson and preset; empty where nothing was measured yet."""
    path = measured_path(root)
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LessonError(
            f"{path} is not JSON ({error}); restore it from git or delete it and measure again"
        ) from error


def duration(seconds: float) -> str:
    """Rounded up: 5 s steps below two minutes, minutes below two hours, then hours."""
    if seconds <= 120:
        return f"{math.ceil(seconds / 5) * 5} s"
    return f"{math.ceil(seconds / 60)} min" if seconds <= 7200 else f"{math.ceil(seconds / 3600)} h"


def render_header(
    source: LessonSource, lessons: Mapping[str, LessonSource], costs: Mapping[str, Mapping[str, float]]
) -> str:
    """Markdown of the first cell. `lessons`: number to source, for links; `costs`: preset to measurements."""
    manifest = source.manifest
    if manifest.needs:
        before = ", ".join(_link(need, lessons.get(need)) for need in manifest.needs)
    else:
        before = "nothing, this is a place to start"
    rows = [
        f"| `{preset}` | {_cost(costs.get(preset))} | {budget} |"
        for preset, budget in manifest.budgets.items()
        if preset in BUDGETS
    ]
    parts = [
        f"# {manifest.lesson} · {manifest.title}",
        f"**{manifest.promise}**",
        "After this lesson you can",
        "\n".join(f"- {objective}" for objective in manifest.objectives),
        f"**Before this:** {before}.",
        f"**New terms:** {', '.join(f'*{term}*' for term in manifest.terms)}." if manifest.terms else "",
        f"**Source:** {manifest.source.rstrip('.')}.",
        "| preset | measured | allowed |\n|---|---|---|\n" + "\n".join(rows),
        "Measured on two CPU cores without a GPU. Choose the preset in the cell below.",
    ]
    return "\n\n".join(part for part in parts if part)


def _link(number: str, lesson: LessonSource | None) -> str:
    return f"[{number} · {lesson.manifest.title}]({lesson.name}.ipynb)" if lesson else f"lesson {number}"


def _cost(cost: Mapping[str, float] | None) -> str:
    if not cost:
        return "not measured yet"
    return f"{duration(cost['seconds'])}, {max(0.1, math.ceil(cost['gigabytes'] * 10) / 10):.1f} GB"
