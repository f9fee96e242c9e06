"""The `course` command: parses, calls, prints.

Each command is a dataclass whose fields are its flags; the work is done by the rooms of the library, imported only
when a command runs, so that `course --help` is instant.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, subcommand

from course_lib.errors import CourseError

Preset = Literal["smoke", "cpu", "gpu"]


def project_root() -> Path:
    """The checkout: the folder above the working directory that holds notebooks/source, else the one of this file."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "source").is_dir() and (folder / "course_lib").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


@dataclass
class Run:
    """Run lessons from first to last cell with papermill; pages and a table of times in runs/course."""

    lessons: Positional[tuple[str, ...]] = ()
    """Numbers of the lessons, for example `00 13`; none means all."""
    preset: Preset = "cpu"
    """smoke: seconds, cpu: a laptop, gpu: published scale."""
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
class Track:
    """Follow an object through any video and write the video with the object coloured."""

    video: Positional[str] = "bigbuckbunny"
    """A video file, a folder of pictures, or a clip that is here already: bigbuckbunny, carphone, bikes."""
    box: tuple[int, int, int, int] | None = None
    """The object in the start frame: x0 y0 x1 y1 in pixels of the video. The clips that are here have their own."""
    mask: Path | None = None
    """Or its mask: a palette, grey or black-and-white PNG of the first frame's size."""
    box_is_mask: bool = False
    """Take the whole rectangle instead of segmenting inside it."""
    model: str = "flow"
    weights: Path | None = None
    """Checkpoint of the model; none takes the one that ships."""
    out: Path = Path("overlay.mp4")
    masks: Path | None = None
    """Folder for one palette PNG per frame."""
    start: int = 0
    """Frame to begin with; box and mask belong to it."""
    max_side: int | None = None
    """Shrink the video so that its longer side has this many pixels."""
    device: str = "auto"

    def __call__(self) -> int:
        from course_lib.vos.track import track

        result = track(
            self.video,
            model=self.model,
            box=self.box,
            mask=self.mask,
            box_is_mask=self.box_is_mask,
            out=self.out,
            masks=self.masks,
            start=self.start,
            max_side=self.max_side,
            weights=self.weights,
            device=self.device,
        )
        print(result)
        return 0


@dataclass
class Eval:
    """Score a model on a data set: J and F per object, as a table, JSON and CSV."""

    model: str = "flow"
    data: str = "synthetic:occlusion"
    """synthetic:SCENARIO, davis:PATH or youtube_vos:PATH."""
    n: int | None = None
    """Score only this many clips."""
    weights: Path | None = None
    out: Path | None = None
    """Folder of the report and, with --masks, the predictions; an interrupted run resumes there."""
    masks: bool = False
    """Write the predictions as DAVIS palette PNGs."""
    seed: int = 0
    device: str = "auto"

    def __call__(self) -> int:
        from course_lib.vos.datasets import open_dataset
        from course_lib.vos.evaluation import evaluate
        from course_lib.vos.models import load_model

        dataset = open_dataset(self.data, n=self.n, seed=self.seed)
        model = load_model(self.model, weights=self.weights, device=self.device)
        print(evaluate(model, dataset, out=self.out, masks=self.masks, name=self.model))
        return 0


@dataclass
class ClaimsRun:
    """Measure claims and write docs/claims.json; what is measured already is kept."""

    ids: Positional[tuple[str, ...]] = ()
    preset: Preset = "cpu"
    fresh: bool = False
    """Measure again."""

    def __call__(self) -> int:
        from course_lib.claims import run_claims

        run_claims(ids=self.ids or None, preset=self.preset, out=project_root() / "docs/claims.json", fresh=self.fresh)
        return ClaimsShow()()


@dataclass
class ClaimsShow:
    """Print the board of claims."""

    def __call__(self) -> int:
        from course_lib.claims import board_text, load_board

        print(board_text(load_board(project_root() / "docs/claims.json")))
        return 0


@dataclass
class Claims:
    """The ledger of published claims, tested here."""

    action: Annotated[ClaimsRun, subcommand("run")] | Annotated[ClaimsShow, subcommand("show")]

    def __call__(self) -> int:
        return self.action()


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


Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[Lab, subcommand("lab")]
    | Annotated[Start, subcommand("start")]
    | Annotated[Track, subcommand("track")]
    | Annotated[Eval, subcommand("eval")]
    | Annotated[Doctor, subcommand("doctor")]
    | Annotated[Test, subcommand("test")]
    | Annotated[TestOldest, subcommand("test-oldest")]
    | Annotated[Lessons, subcommand("lessons")]
    | Annotated[Notebooks, subcommand("notebooks")]
    | Annotated[Site, subcommand("site")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Claims, subcommand("claims")]
    | Annotated[Setup, subcommand("setup")]
)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `course` console script. Exit codes: 0 fine, 1 failed, 2 bad input, 130 interrupted."""
    command = tyro.cli(
        Command,
        prog="course",
        description="Seeing through time: run the course, follow objects in videos, score models.",
        args=argv,
        config=(OmitSubcommandPrefixes, OmitArgPrefixes),
    )
    try:
        return command()
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("course: interrupted; what was finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
