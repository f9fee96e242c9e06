"""Runs one notebook in a kernel of the Python at hand and measures what it costs.

papermill does the running; here are the kernel it starts (this interpreter, whatever kernels are installed), the
environment it gets, and a thread that watches the kernel's process and its children.
Unusual: the seconds that count against a budget are the smaller of wall time and processor time, because on a busy
machine a lesson waits without working, and on a quiet one several threads work at once.
"""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode

from course_lib.data.atomic import atomic_path
from course_lib.errors import LessonError
from course_lib.lessons.build import notebook_text, read_notebook

STRICT = "COURSE_STRICT"  # environment variable: a failing check raises
RUNS = "COURSE_RUNS"  # environment variable: where lessons write their files


@dataclass(frozen=True)
class Cost:
    """What a run took: wall and processor seconds, peak resident bytes of the kernel and its children together."""

    wall: float
    processor: float
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """Seconds that count against a budget."""
        return min(self.wall, self.processor) if self.processor > 0 else self.wall

    @property
    def gigabytes(self) -> float:
        return self.peak_bytes / 1e9


@dataclass(frozen=True)
class Failure:
    """The cell at which a notebook stopped."""

    cell: int  # counted from 1 over all cells of the executed copy
    source: str
    error: str  # name and message
    traceback: str

    def __str__(self) -> str:
        code = "\n".join(f"    {line}" for line in self.source.strip().splitlines()) or "    (no cell)"
        return f"cell {self.cell} stopped with {self.error}\n{code}"


@dataclass(frozen=True)
class Execution:
    """A notebook after its run, finished or stopped at a failing cell."""

    notebook: NotebookNode
    cost: Cost
    failure: Failure | None


class ProcessWatch(threading.Thread):
    """Samples processor time and memory of a process tree until stopped."""

    def __init__(self, interval: float = 0.1):
        super().__init__(daemon=True)
        self.pid: int | None = None  # set when the kernel has started
        self._interval = interval
        self._done = threading.Event()
        self._peak = 0
        self._processor: dict[int, float] = {}  # by pid, kept after a child has ended
        self._start = time.perf_counter()

    def run(self) -> None:
        while not self._done.wait(self._interval):
            self._sample()

    def stop(self) -> Cost:
        self._done.set()
        self.join()
        return Cost(time.perf_counter() - self._start, sum(self._processor.values()), self._peak)

    def _sample(self) -> None:
        if self.pid is None:
            return
        resident = 0
        try:
            kernel = psutil.Process(self.pid)
            for process in (kernel, *kernel.children(recursive=True)):
                try:
                    times = process.cpu_times()
                    resident += process.memory_info().rss
                    self._processor[process.pid] = times.user + times.system
                except psutil.Error:  # ended between the two lines
                    continue
        except psutil.Error:
            return
        self._peak = max(self._peak, resident)


class _ThisPython(KernelSpecManager):
    """Finds one kernel under every name: ipykernel in the interpreter that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def _kernel_manager(watch: ProcessWatch, environment: Mapping[str, str], log: IO[bytes]) -> type[AsyncKernelManager]:
    """A kernel manager class for one run; papermill makes the instance, so the class carries what it needs."""

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any):
            super().__init__(kernel_spec_manager=_ThisPython(), shutdown_wait_time=2.0, **options)

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            # What the process itself writes, for example when it crashes, would tear the progress bars apart.
            await super().start_kernel(**{**options, "env": dict(environment), "stdout": log, "stderr": log})
            watch.pid = getattr(self.provisioner, "pid", None)

    return Manager


def kernel_environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment for a kernel, with `changes` (None removes a variable)."""
    threads = str(min(os.cpu_count() or 1, 4))
    environment = {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads sleep: on a busy machine spinning ones cost a factor of ten
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no debugger warning in every notebook
        **os.environ,
    }
    for variable in ("MPLBACKEND", STRICT, RUNS):
        environment.pop(variable, None)
    for variable, value in changes.items():
        if value is None:
            environment.pop(variable, None)
        else:
            environment[variable] = value
    return environment


def run_notebook(
    notebook: NotebookNode,
    copy: Path,
    *,
    parameters: Mapping[str, Any],
    folder: Path,
    environment: Mapping[str, str],
    progress: Mapping[str, Any] | None = None,
    cell_timeout: int | None = None,
    keep_widgets: bool = True,
) -> Execution:
    """Execute `notebook` with papermill from first to last cell, in working directory `folder`.

    copy: where the executed copy is written, cell by cell. parameters: injected behind the parameters cell.
    progress: arguments of its tqdm bar; None shows none. cell_timeout: seconds after which a cell is given up.
    A failing cell comes back as `Execution.failure`; only an interrupt raises.
    """
    import papermill  # slow to import, and the command line must not wait for it

    with atomic_path(copy) as temporary:
        temporary.write_text(notebook_text(notebook), encoding="utf-8", newline="\n")
    log = copy.with_suffix(".log")
    watch = ProcessWatch()
    watch.start()
    failure = None
    try:
        with log.open("wb") as stream:
            papermill.execute_notebook(
                copy,
                copy,
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=folder,
                progress_bar=dict(progress) if progress is not None else False,
                execution_timeout=cell_timeout,
                kernel_manager_class=_kernel_manager(watch, environment, stream),
                store_widget_state=keep_widgets,
            )
    except papermill.PapermillExecutionError as error:
        traceback = "\n".join(error.traceback)
        failure = Failure(error.cell_index + 1, error.source, f"{error.ename}: {error.evalue}", traceback)
    except Exception as error:  # a kernel that died, a cell that never ended: a failure of this lesson, not of the run
        failure = _stopped(copy, error, log)
    finally:
        cost = watch.stop()
    if failure is None:
        log.unlink(missing_ok=True)
    executed = read_notebook(copy)
    if executed is None:
        raise LessonError(f"{copy} disappeared while it was executed; keep other programs out of that folder")
    return Execution(executed, cost, failure)


def _stopped(copy: Path, error: Exception, log: Path) -> Failure:
    """The failure when the kernel, not a cell, reports an error: the last cell that was begun is to blame."""
    message = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    told = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    traceback = f"{error}\n{told}".strip()
    notebook = read_notebook(copy)
    cells = notebook.cells if notebook else []
    begun = [i for i, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return Failure(0, "", message, traceback)
    return Failure(begun[-1] + 1, cells[begun[-1]].source, message, traceback)
