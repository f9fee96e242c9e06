"""Runs student notebooks and stores their outputs in the repository, but only where the code has changed.

Stored outputs are what a reader on the web sees, so they come from a run that anybody can repeat: preset `cpu`, seed 0,
processor only, without real data sets (whose licences forbid storing their frames) and without progress bars.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from course_lib.data.atomic import atomic_path
from course_lib.lessons.build import code_hash, derive, notebook_path, notebook_text, read_notebook, with_outputs
from course_lib.lessons.hashes import library_hash
from course_lib.lessons.header import read_measured
from course_lib.lessons.kernel import RUNS, STRICT, Execution, kernel_environment, run_notebook
from course_lib.lessons.outputs import store_outputs
from course_lib.lessons.presets import require_preset
from course_lib.lessons.source import LessonSource, read_sources


def execute(
    root: Path, numbers: Sequence[str | int] = (), preset: str = "cpu", solved: bool = False, force: bool = False
) -> int:
    """Execute the lessons `numbers` (none means all) and store their outputs. Returns the exit code.

    solved: run the solved notebooks instead, strictly (a failing check is an error), and store nothing.
    force: also run notebooks whose stored outputs belong to their code. A lesson that fails keeps the outputs it had;
    the others are still run. Raises `LessonError` on a faulty source, `InputError` on an unknown lesson or preset.
    """
    root = Path(root).resolve()
    require_preset(preset)
    chosen = read_sources(root, numbers)
    lessons = {source.manifest.lesson: source for source in read_sources(root)}
    measured = read_measured(root)
    failed = []
    for source in chosen:
        notebook = derive(source, solved, lessons, measured.get(source.manifest.lesson, {}))
        path = notebook_path(root, source.name, solved)
        if not solved:
            notebook = with_outputs(notebook, read_notebook(path))
            done = notebook.metadata.course.get("executed", {})
            if not force and (done.get("code_sha256"), done.get("preset")) == (code_hash(notebook), preset):
                print(f"{source.name}: stored outputs are current")
                _write(path, notebook_text(notebook))
                continue
        execution = _run(root, source, notebook, preset, solved)
        if execution.failure:
            failed.append(source.name)
            tqdm.write(f"{source.name}: {execution.failure}\n{execution.failure.traceback}")
            continue
        print(f"{source.name}: {execution.cost.wall:.0f} s, {execution.cost.gigabytes:.1f} GB")
        if not solved:
            store_outputs(notebook, execution.notebook, root)
            notebook.metadata.course["executed"] = {
                "code_sha256": code_hash(notebook),
                "library_sha256": library_hash(),
                "preset": preset,
            }
            _write(path, notebook_text(notebook))
    if failed:
        print(f"failed: {', '.join(failed)}; their notebooks keep the outputs they had")
    return int(bool(failed))


def _run(root: Path, source: LessonSource, notebook, preset: str, solved: bool) -> Execution:
    with tempfile.TemporaryDirectory() as folder:
        environment = kernel_environment(
            {
                "COURSE_DATA": None,
                "TQDM_DISABLE": "1",
                STRICT: "1" if solved else None,
                RUNS: str(Path(folder) / "files"),
            }
        )
        return run_notebook(
            notebook,
            Path(folder) / f"{source.name}.ipynb",
            parameters={"PRESET": preset, "SEED": 0, "DEVICE": "cpu", "DATA_ROOT": None},
            folder=root / "notebooks",
            environment=environment,
            progress={"desc": source.name, "leave": False},
            keep_widgets=False,
        )


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
