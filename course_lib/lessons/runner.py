"""Runs the course: every lesson from first to last cell with papermill, measured, compared with its budget, resumable.

A lesson's result is written the moment it ends, under a key of everything that determines it (source, library, preset,
parameters), so an interrupted run goes on where it stopped. A failing lesson fails the run, not the lessons after it.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from course_lib.errors import LessonError, MissingDataError
from course_lib.lessons.build import derive
from course_lib.lessons.hashes import library_hash, text_hash
from course_lib.lessons.header import measured_path, read_measured
from course_lib.lessons.kernel import RUNS, STRICT, kernel_environment, run_notebook
from course_lib.lessons.presets import Budget, require_preset
from course_lib.lessons.report import LessonResult, read_result, table, write_json, write_page, write_summary
from course_lib.lessons.source import LessonSource, read_sources

INTERRUPTED = 130  # exit code of a run that Ctrl-C ended


def run_course(
    root: Path,
    numbers: Sequence[str | int] = (),
    preset: str = "cpu",
    solved: bool = False,
    out: Path | None = None,
    fresh: bool = False,
    budgets: bool = True,
    seed: int = 0,
    device: str = "auto",
    data_root: Path | None = None,
    record: bool = False,
) -> int:
    """Run lessons (none named means all) and return the exit code: 0 all passed, 1 some did not, 130 interrupted.

    preset: smoke, cpu or gpu. solved: run the solved notebooks strictly, so that a failing check is an error.
    out: folder of executed copies, pages and summary.json [root/runs/course]. fresh: repeat finished lessons.
    budgets: a lesson over its budget counts as failed. seed, device, data_root: passed to the lessons.
    record: store the measured costs in notebooks/measured.json, from where they go into the lessons' headers.
    Raises `InputError` on an unknown preset or lesson, `LessonError` on a faulty source, `MissingDataError` on a
    data_root that is no folder.
    """
    require_preset(preset)
    root = Path(root).resolve()
    out = Path(out).resolve() if out is not None else root / "runs" / "course"
    if data_root is not None and not Path(data_root).is_dir():
        raise MissingDataError(f"--data-root {data_root} is not a folder")
    sources = read_sources(root, numbers)
    if not sources:
        raise LessonError(f"there are no lessons in {root / 'notebooks' / 'source'}")
    lessons = {source.manifest.lesson: source for source in read_sources(root)}
    parameters = {
        "PRESET": preset,
        "SEED": seed,
        "DEVICE": device,
        "DATA_ROOT": str(Path(data_root).resolve()) if data_root is not None else None,
    }
    results: list[LessonResult] = []
    bar = tqdm(total=len(sources), desc="course", unit="lesson", position=0, file=sys.stdout, mininterval=_interval())
    try:
        for source in sources:
            result = _finished(source, out, parameters, solved, fresh, budgets)
            if result is None:
                result = _run(source, lessons, root, out, parameters, solved, budgets)
                tqdm.write(_line(result), file=sys.stdout)
            else:
                tqdm.write(f"{_line(result)} (finished earlier)", file=sys.stdout)
            results.append(result)
            write_summary(out, results)
            bar.update()
    except KeyboardInterrupt:
        bar.close()
        print(
            f"\ninterrupted: {len(results)} of {len(sources)} lessons are finished and kept in {out}. "
            "The same command goes on from there; --fresh starts again."
        )
        return INTERRUPTED
    bar.close()
    print(f"\n{table(results)}\n\npages: {out / 'index.html'}")
    if record:
        _record(root, results)
    failed = [result for result in results if result.status != "passed"]
    for result in failed:
        print(f"\n{result.name}: {result.status}: {result.failure}\n{result.traceback}".rstrip())
    return int(bool(failed))


def _finished(
    source: LessonSource, out: Path, parameters: dict, solved: bool, fresh: bool, budgets: bool
) -> LessonResult | None:
    """The result of an earlier run of exactly this lesson, if it passed and its files are there."""
    result = read_result(out / f"{source.name}.json")
    if fresh or result is None or result.status != "passed" or result.key != _key(source, parameters, solved):
        return None
    over = result.seconds > result.budget_seconds or result.gigabytes > result.budget_gigabytes
    if (budgets and over) or not all((out / f"{source.name}.{kind}").exists() for kind in ("ipynb", "html")):
        return None
    return result


def _run(
    source: LessonSource,
    lessons: dict[str, LessonSource],
    root: Path,
    out: Path,
    parameters: dict,
    solved: bool,
    budgets: bool,
) -> LessonResult:
    manifest, preset = source.manifest, parameters["PRESET"]
    budget: Budget = manifest.budgets[preset]
    state = out / f"{source.name}.json"
    state.unlink(missing_ok=True)  # the files beside it are about to change
    run = run_notebook(
        derive(source, solved, lessons, read_measured(root).get(manifest.lesson, {})),
        out / f"{source.name}.ipynb",
        parameters=parameters,
        folder=root / "notebooks",
        environment=kernel_environment({STRICT: "1" if solved else None, RUNS: str(out / "files" / source.name)}),
        progress={
            "desc": source.name,
            "unit": "cell",
            "position": 1,
            "leave": False,
            "file": sys.stdout,
            "mininterval": _interval(),
        },
        cell_timeout=None if preset == "gpu" else int(max(300, 10 * budget.seconds)),
    )
    write_page(out / f"{source.name}.html", run)
    kind = "solved" if solved else "student"
    key = _key(source, parameters, solved)
    result = LessonResult.of(source, preset, kind, run, budgets, key)
    write_json(state, asdict(result))
    return result


def _key(source: LessonSource, parameters: dict, solved: bool) -> str:
    """Everything that determines a run."""
    data = parameters["DATA_ROOT"] or os.environ.get("COURSE_DATA", "")
    return text_hash(f"{source.sha256} {library_hash()} {parameters} {data} {solved} {sys.version}")


def _line(result: LessonResult) -> str:
    return f"{result.name}: {result.status}  {result.seconds:.1f} s  {result.gigabytes:.2f} GB"


def _interval() -> float:
    """Seconds between two drawings of a bar: rare where each drawing is a line in a log."""
    return 0.1 if sys.stdout.isatty() else 30.0


def _record(root: Path, results: Sequence[LessonResult]) -> None:
    measured = read_measured(root)
    for result in results:
        if result.status == "passed":
            costs = {"seconds": result.seconds, "gigabytes": result.gigabytes}
            measured.setdefault(result.lesson, {})[result.preset] = costs
    write_json(measured_path(root), {lesson: dict(sorted(measured[lesson].items())) for lesson in sorted(measured)})
    print("measured costs are in notebooks/measured.json; `course lessons build` writes them into the headers")
