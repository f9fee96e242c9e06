"""What a run of the course leaves behind: a table, `summary.json`, an index page and one HTML page a lesson."""

import contextlib
import copy
import html
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from course_lib.data.atomic import atomic_path
from course_lib.errors import MissingDataError
from course_lib.lessons.kernel import Execution
from course_lib.lessons.source import LessonSource
from course_lib.mathjax import CONFIGURE, MATHJAX, mathjax_script

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class LessonResult:
    """How one lesson ran. `key` says what was run; a later run with the same key need not repeat it."""

    lesson: str
    name: str
    title: str
    preset: str
    kind: str  # student or solved
    status: str  # passed, failed, or over budget
    wall: float  # seconds by the clock
    processor: float  # seconds of processor time
    seconds: float  # the smaller of the two, which counts
    gigabytes: float
    budget_seconds: float
    budget_gigabytes: float
    failure: str
    traceback: str
    key: str

    @classmethod
    def of(
        cls, source: LessonSource, preset: str, kind: str, run: Execution, enforce: bool, key: str
    ) -> "LessonResult":
        """Judge a run by its failure and its budget; `enforce`: over budget is no pass."""
        budget = source.manifest.budgets[preset]
        cost = run.cost
        over = cost.seconds > budget.seconds or cost.gigabytes > budget.gigabytes
        status = "failed" if run.failure else "over budget" if over and enforce else "passed"
        failure = ""
        if run.failure:
            failure = str(run.failure)
        elif over:
            failure = (
                f"took {cost.seconds:.0f} s and {cost.gigabytes:.1f} GB; preset {preset} allows {budget}. "
                "Make it smaller, or widen `budget` in its manifest; --no-budgets reports without failing"
            )
        traceback = _ANSI.sub("", run.failure.traceback) if run.failure else ""
        return cls(
            lesson=source.manifest.lesson,
            name=source.name,
            title=source.manifest.title,
            preset=preset,
            kind=kind,
            status=status,
            wall=round(cost.wall, 2),
            processor=round(cost.processor, 2),
            seconds=round(cost.seconds, 2),
            gigabytes=round(cost.gigabytes, 3),
            budget_seconds=budget.seconds,
            budget_gigabytes=budget.gigabytes,
            failure=failure,
            traceback=traceback,
            key=key,
        )


def read_result(path: Path) -> LessonResult | None:
    """The stored result of an earlier run; None where there is none or an older version wrote it."""
    try:
        return LessonResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(results: Sequence[LessonResult]) -> str:
    """Measured seconds and memory per lesson, with totals, as text."""
    head = ("lesson", "", "seconds", "allowed", "wall", "GB", "allowed", "result")
    rows = [
        (
            result.lesson,
            result.title,
            f"{result.seconds:.1f}",
            f"{result.budget_seconds:g}",
            f"{result.wall:.1f}",
            f"{result.gigabytes:.2f}",
            f"{result.budget_gigabytes:g}",
            result.status,
        )
        for result in results
    ]
    peak = max((result.gigabytes for result in results), default=0.0)
    seconds, wall = sum(result.seconds for result in results), sum(result.wall for result in results)
    total = ("", "all", f"{seconds:.1f}", "", f"{wall:.1f}", f"{peak:.2f}", "", "")
    widths = [max(len(row[column]) for row in (head, *rows, total)) for column in range(len(head))]
    lines = []
    for row in (head, *rows, total):
        cells = [t.ljust(w) if i in {0, 1, 7} else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def write_summary(out: Path, results: Sequence[LessonResult]) -> None:
    """`summary.json` and `index.html` over the lessons that have run so far."""
    write_json(
        out / "summary.json",
        {
            "lessons": [asdict(result) for result in results],
            "seconds": round(sum(result.seconds for result in results), 2),
            "peak_gigabytes": max((result.gigabytes for result in results), default=0.0),
            "passed": all(result.status == "passed" for result in results),
        },
    )
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(_index(results), encoding="utf-8")


def write_page(page: Path, run: Execution) -> None:
    """The executed notebook as an HTML file that loads nothing from a network.

    Widgets become their copies without a kernel. Formulas are typeset by a script beside the page; without the `docs`
    extra they stay as they were typed.
    """
    from nbconvert import HTMLExporter  # slow to import
    from traitlets.config import Config

    notebook = copy.deepcopy(run.notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text/html" in output.get("data", {}):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    folded = Config(TagRemovePreprocessor={"enabled": True, "remove_input_tags": {"hide-input"}})
    exporter = HTMLExporter(
        config=folded, template_name="lab", mathjax_url=MATHJAX, require_js_url="", jupyter_widgets_base_url=""
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = body.replace("<!-- Load mathjax -->", CONFIGURE)
    with contextlib.suppress(MissingDataError):
        script = page.parent / MATHJAX
        if not script.exists():
            script.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mathjax_script(), script)
    with atomic_path(page) as temporary:
        temporary.write_text(body, encoding="utf-8")


def _index(results: Sequence[LessonResult]) -> str:
    marks = {"passed": "✔ passed", "failed": "✘ failed", "over budget": "▲ over budget"}
    rows = "\n".join(
        f"<tr><th scope='row'><a href='{result.name}.html'>{result.lesson} · {html.escape(result.title)}</a></th>"
        f"<td>{result.preset}, {result.kind}</td><td>{result.seconds:.1f} s of {result.budget_seconds:g}</td>"
        f"<td>{result.gigabytes:.2f} GB of {result.budget_gigabytes:g}</td><td>{marks[result.status]}"
        + (f"<pre>{html.escape(result.failure)}</pre>" if result.failure else "")
        + "</td></tr>"
        for result in results
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The course, as it ran here</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
 color-scheme: light dark }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #8888 }}
pre {{ white-space: pre-wrap; font-size: .85em }}
</style></head><body>
<h1>The course, as it ran here</h1>
<p>Seconds are the smaller of wall and processor time; memory is the peak of the lesson's processes together.</p>
<table><thead><tr><th scope="col">Lesson</th><th scope="col">Run</th><th scope="col">Time</th>
<th scope="col">Memory</th><th scope="col">Result</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""
