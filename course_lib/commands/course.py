"""Commands for who takes or writes the course: run, test, build, look after it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from course_lib.commands import Preset, project_root


@dataclass
class Run:
    """Run lessons from first to last cell with papermill; pages and a table of times in runs/course."""

    lessons: Positional[tuple[str, ...]] = ()
    """Numbers of the lessons, for example `00 13`; none means all."""
    preset: Preset = "cpu"
    """smoke: seconds, cpu: a laptop, gpu: longer and on more clips."""
    solved: bool = False
    """Run the solved notebooks, strictly: a failing check is an error."""
    out: Path | None = None
    """Folder of the executed copies [runs/course]."""
    fresh: bool = False
    """Forget finished lessons and start again."""
    budgets: bool = True
    """Fail a lesson that needs more time or memory than its preset allows."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    data_root: Path | None = None
    """Folder of real data sets [environment variable COURSE_DATA]."""
    record: bool = False
    """Store the measured times and memory in notebooks/measured.json, from where they go into the lessons' headers."""

    def __call__(self) -> int:
        from course_lib.lessons.runner import run_course

        return run_course(
            project_root(),
            numbers=self.lessons,
            preset=self.preset,
            solved=self.solved,
            out=self.out,
            fresh=self.fresh,
            budgets=self.budgets,
            seed=self.seed,
            device=self.device,
            data_root=self.data_root,
            record=self.record,
        )


@dataclass
class Test:
    """Run the test suite, notebooks included."""

    pytest_args: Positional[tuple[str, ...]] = ()
    """Passed on to pytest; put them behind `--`, for example `course test -- -k metrics`."""
    workers: int | None = None
    """Tests at a time [one per core, at most 8]."""

    def __call__(self) -> int:
        from course_lib.tasks import run_tests

        return run_tests(project_root(), self.pytest_args, self.workers)


@dataclass
class Lab:
    """Open JupyterLab on your own copies of the notebooks, in my/."""

    port: int | None = None
    browser: bool = True
    """Open a browser window."""

    def __call__(self) -> int:
        from course_lib.lessons.start import lab

        return lab(project_root(), port=self.port, browser=self.browser)


@dataclass
class Start:
    """Make your own copy of a lesson in my/; a copy you have worked in is never overwritten."""

    lesson: Positional[str]
    """Number of the lesson, for example 00."""
    fresh: bool = False
    """Make another copy beside the one you have."""

    def __call__(self) -> int:
        from course_lib.lessons.start import start

        print(start(project_root(), self.lesson, self.fresh))
        return 0


@dataclass
class Doctor:
    """Look at this machine: what the course finds, what is missing, how to fix it."""

    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> int:
        from course_lib.lessons.doctor import diagnose, render

        findings = diagnose()
        print(render(findings, as_json=self.json))
        return int(any(finding.level == "error" for finding in findings))


@dataclass
class Build:
    """Derive the student and the solved notebooks from notebooks/source."""

    lessons: Positional[tuple[str, ...]] = ()

    def __call__(self) -> int:
        from course_lib.lessons.build import build

        for path in build(project_root(), self.lessons):
            print(path)
        return 0


@dataclass
class Check:
    """Report notebooks that have drifted from their source, or break a rule of the course."""

    strict: bool = False
    """Count warnings as failures."""

    def __call__(self) -> int:
        from course_lib.lessons.drift import check_all

        problems = check_all(project_root())
        for problem in problems:
            print(problem)
        failing = [problem for problem in problems if self.strict or problem.level == "error"]
        summary = f"{len(problems)} problem(s), {len(failing)} of them failing"
        print(summary if problems else "all notebooks are in step")
        return int(bool(failing))


@dataclass
class Execute:
    """Run notebooks and store their outputs in notebooks/; only changed ones, unless forced."""

    lessons: Positional[tuple[str, ...]] = ()
    solved: bool = False
    """Run the solved notebooks, strictly, storing nothing."""
    preset: Preset = "cpu"
    force: bool = False
    """Run again what has not changed."""

    def __call__(self) -> int:
        from course_lib.lessons.execute import execute

        return execute(project_root(), self.lessons, preset=self.preset, solved=self.solved, force=self.force)


@dataclass
class Lessons:
    """The lesson workshop: build, check, execute, run."""

    action: (
        Annotated[Build, subcommand("build")]
        | Annotated[Check, subcommand("check")]
        | Annotated[Execute, subcommand("execute")]
        | Annotated[Run, subcommand("run")]
    )

    def __call__(self) -> int:
        return self.action()


@dataclass
class Notebooks:
    """Derive all notebooks and execute those whose source changed."""

    def __call__(self) -> int:
        return Build()() or Execute()()


@dataclass
class Site:
    """Build the web site of the course."""

    out: Path | None = None
    """Folder of the pages [docs/_build/html]."""
    fresh: bool = False
    """Build every page again."""

    def __call__(self) -> int:
        from course_lib.site import build_site

        print(build_site(project_root(), self.out, self.fresh))
        return 0


@dataclass
class Bench:
    """Measure speed and memory; results in benchmarks/results."""

    names: Positional[tuple[str, ...]] = ()
    """Names of scripts in benchmarks/; none means all."""

    def __call__(self) -> int:
        from course_lib.tasks import run_benchmarks

        return run_benchmarks(project_root(), self.names)


@dataclass
class Setup:
    """Create or refresh the project's .venv (what `make setup` does)."""

    def __call__(self) -> int:
        from course_lib.environment import setup

        setup(project_root())
        return 0


@dataclass
class TestOldest:
    """Run the test suite on the oldest supported versions, in an environment of its own."""

    def __call__(self) -> int:
        from course_lib.tasks import run_tests_oldest

        return run_tests_oldest(project_root())
