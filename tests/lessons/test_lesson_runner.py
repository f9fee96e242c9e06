"""The gate itself: what fails must fail the run, what is finished must survive, and every run is measured."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_lib.errors import InputError, LessonError, MissingDataError
from course_lib.lessons.build import notebook_text, read_notebook
from course_lib.lessons.kernel import Cost, ProcessWatch
from course_lib.lessons.runner import run_course

pytestmark = pytest.mark.notebook

CALL = "import sys; from pathlib import Path; from course_lib.lessons.runner import run_course; "


def run_in_subprocess(root: Path, **arguments: object) -> subprocess.CompletedProcess:
    """`run_course` as its users meet it: a process with an exit code."""
    code = CALL + f"sys.exit(run_course(Path({str(root)!r}), **{arguments!r}))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


def result(project, name: str) -> dict:
    return json.loads((project.root / "runs" / "course" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_failing_lesson_fails_the_run_but_not_the_others(project):
    project.add("01", "# %%\nprint('fine', PRESET, SEED, DATA_ROOT)\n", name="fine")
    project.add("02", "# %%\nraise ValueError('deliberately wrong')\n", name="broken")
    project.add("03", "# %%\nimport os\nos._exit(3)\n", name="dies")
    done = run_in_subprocess(project.root, preset="smoke", seed=5)
    assert done.returncode == 1
    assert [result(project, n)["status"] for n in ("01_fine", "02_broken", "03_dies")] == ["passed", "failed", "failed"]
    assert "ValueError: deliberately wrong" in done.stdout and "cell 4 stopped" in done.stdout
    assert "raise ValueError('deliberately wrong')" in done.stdout, "the failing cell is shown"
    assert "os._exit(3)" in done.stdout, "a kernel that dies is blamed on its cell"

    out = project.root / "runs" / "course"
    copy = read_notebook(out / "01_fine.ipynb")
    assert any("fine smoke 5 None" in o.text for cell in copy.cells for o in cell.get("outputs", ()))
    assert "fine smoke 5 None" in (out / "01_fine.html").read_text(encoding="utf-8")
    index = (out / "index.html").read_text(encoding="utf-8")
    assert "01_fine.html" in index and "✘ failed" in index and "deliberately wrong" in index
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["passed"] is False and len(summary["lessons"]) == 3
    fine = summary["lessons"][0]
    assert 0.2 < fine["seconds"] <= fine["wall"] < 60 and 0.02 < fine["gigabytes"] < 1

    # Resume: what passed is kept, what failed is run again; a changed source or preset is run again too.
    stamp = (out / "01_fine.ipynb").stat().st_mtime_ns
    (project.sources / "02_broken.py").write_text(
        (project.sources / "02_broken.py").read_text().replace("raise ValueError", "print")
    )
    (project.sources / "03_dies.py").unlink()
    done = run_in_subprocess(project.root, preset="smoke", seed=5)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "01_fine: passed" in done.stdout and done.stdout.count("(finished earlier)") == 1
    assert (out / "01_fine.ipynb").stat().st_mtime_ns == stamp
    assert run_course(project.root, ["01"], preset="smoke", seed=6) == 0
    assert (out / "01_fine.ipynb").stat().st_mtime_ns != stamp, "another seed is another run"


def test_a_failing_check_fails_the_solved_run_and_spares_the_student(project, exercise_cells, capsys):
    project.add("01", exercise_cells(solution="return x * x") + "# %%\nprint('after', double(21))\n")
    assert run_course(project.root, preset="smoke", solved=True) == 1
    assert "CheckFailed: double is not right yet" in capsys.readouterr().out
    assert result(project, "01_tiny")["kind"] == "solved"

    assert run_course(project.root, preset="smoke") == 0, "the student's notebook runs to its end"
    copy = read_notebook(project.root / "runs/course/01_tiny.ipynb")
    shown = json.dumps(copy.cells, ensure_ascii=False)
    assert "double: not attempted yet — the lesson goes on with the reference" in shown
    assert "after 42" in shown, "the reference stands in below the check"

    path = project.sources / "01_tiny.py"
    path.write_text(path.read_text().replace("return x * x", "return x + x"))
    assert run_course(project.root, preset="smoke", solved=True) == 0


SLOW = """\
# %%
import time
from pathlib import Path

for _ in range(600):
    if not Path("slow").exists():
        break
    time.sleep(0.1)
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_an_interrupted_run_goes_on(project, how):
    project.add("01", "# %%\nprint('quick')\n", name="quick")
    project.add("02", SLOW, name="slow")
    flag = project.root / "notebooks" / "slow"
    flag.touch()
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # background jobs may ignore it
    code = CALL + heed + f"sys.exit(run_course(Path({str(project.root)!r}), preset='smoke'))"
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    out = project.root / "runs" / "course"
    deadline = time.monotonic() + 60
    while not ((out / "01_quick.json").exists() and "done" in _source_running(out / "02_slow.ipynb")):
        assert time.monotonic() < deadline and running.poll() is None, running.communicate()[0]
        time.sleep(0.05)
    os.kill(running.pid, getattr(signal, how))
    text = running.communicate(timeout=60)[0]
    assert running.returncode == (130 if how == "SIGINT" else -signal.SIGKILL), text
    if how == "SIGINT":
        assert "1 of 2 lessons are finished" in text and "The same command goes on from there" in text
    assert not (out / "02_slow.json").exists()

    flag.unlink()
    done = run_in_subprocess(project.root, preset="smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(finished earlier)" in done.stdout
    assert result(project, "02_slow")["status"] == "passed"


def _source_running(copy: Path) -> str:
    """Source of the cell that papermill says is running."""
    try:
        notebook = read_notebook(copy)
    except LessonError:  # papermill is writing it
        return ""
    cells = notebook.cells if notebook else []
    return "".join(cell.source for cell in cells if cell.metadata.get("papermill", {}).get("status") == "running")


def test_budgets_are_enforced_unless_told_otherwise(project, capsys):
    project.add("01", "# %%\nx = 1\n", extra="# budget: {smoke: [0.01, 0.001]}")
    assert run_course(project.root, preset="smoke") == 1
    text = capsys.readouterr().out
    assert "over budget" in text and "preset smoke allows at most 0.01 s and 0.001 GB" in text
    assert run_course(project.root, preset="smoke", budgets=False) == 0
    assert run_course(project.root, preset="smoke") == 1, "a lesson over its budget is not taken as finished"


def test_recorded_costs_reach_the_header(project):
    project.add("01", "# %%\nx = 1\n")
    assert run_course(project.root, preset="smoke", record=True) == 0
    measured = json.loads((project.root / "notebooks/measured.json").read_text())
    assert measured["01"]["smoke"]["seconds"] == result(project, "01_tiny")["seconds"]


def test_bad_arguments(project, tmp_path):
    with pytest.raises(LessonError, match="there are no lessons"):
        run_course(project.root)
    project.add("01", "")
    with pytest.raises(InputError, match="unknown preset 'laptop'"):
        run_course(project.root, preset="laptop")
    with pytest.raises(InputError, match="no lesson 07"):
        run_course(project.root, ["7"])
    with pytest.raises(MissingDataError, match="is not a folder"):
        run_course(project.root, data_root=tmp_path / "nowhere")


def test_seconds_that_count_are_the_smaller_of_wall_and_processor_time():
    assert Cost(wall=90, processor=30, peak_bytes=0).seconds == 30, "a busy machine: the lesson waited"
    assert Cost(wall=30, processor=55, peak_bytes=0).seconds == 30, "two threads at once"
    assert Cost(wall=30, processor=0, peak_bytes=2 * 10**9).gigabytes == 2


def test_the_watch_counts_children_too():
    code = (
        "import subprocess, sys; x = bytearray(80_000_000);"
        "subprocess.run([sys.executable, '-c', 'y = bytearray(120_000_000); sum(range(20_000_000)); input()'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    watch = ProcessWatch(interval=0.02)
    watch.pid = process.pid
    watch.start()
    time.sleep(2.5)
    cost = watch.stop()
    process.communicate(b"\n")
    assert cost.peak_bytes > 200_000_000
    assert cost.processor > 0.2 and cost.wall >= 2.4


def test_executed_copies_stay_valid_notebooks(project):
    project.add("01", "# %%\nprint('x')\n")
    run_course(project.root, preset="smoke")
    import nbformat

    copy = read_notebook(project.root / "runs/course/01_tiny.ipynb")
    nbformat.validate(copy)
    assert notebook_text(copy)
