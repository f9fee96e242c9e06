"""The `course` command: parses, calls, prints. The commands themselves are in `course_lib.commands`."""

import sys
from typing import Annotated

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from course_lib.commands.course import Bench, Doctor, Lab, Lessons, Notebooks, Run, Setup, Site, Start, Test, TestOldest
from course_lib.commands.research import Claims, Eval, Label, Track, Train
from course_lib.errors import CourseError

Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[Lab, subcommand("lab")]
    | Annotated[Start, subcommand("start")]
    | Annotated[Track, subcommand("track")]
    | Annotated[Label, subcommand("label")]
    | Annotated[Eval, subcommand("eval")]
    | Annotated[Train, subcommand("train")]
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
