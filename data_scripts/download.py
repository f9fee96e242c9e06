"""Fetch real data sets, with their licences shown, their hashes checked and interrupted downloads resumed.

    python data_scripts/download.py --list
    python data_scripts/download.py mnist --root DATA
    python data_scripts/download.py davis2017 --root DATA --dry-run

Afterwards set the environment variable COURSE_DATA to that folder, and lessons, tests and commands find the data.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from course_lib.data.download import DownloadConfig, download, list_datasets
from course_lib.data.remote import remote_dataset
from course_lib.errors import CourseError, InputError

Name = Literal["davis2017", "davis2016", "youtube_vos", "mnist", "fashion_mnist", "voc2007", "voc2012"]


@dataclass
class Download:
    """Fetch data sets, check them and lay them out where the course looks for them."""

    names: Positional[tuple[Name, ...]] = ()
    """Data sets to fetch."""
    root: Path | None = None
    """Folder to fetch them into [environment variable COURSE_DATA]."""
    list: bool = False
    """Show all data sets with size and licence, and stop."""
    dry_run: bool = False
    """Say what would be done, and stop."""
    archive: tuple[Path, ...] = ()
    """Archives that you downloaded yourself (YouTube-VOS needs a registration)."""
    keep_archive: bool = False
    """Keep archives after they were unpacked."""

    def __call__(self) -> None:
        if self.list:
            print(list_datasets())
            return
        root = self.root or os.environ.get("COURSE_DATA")
        if not self.names or not root:
            raise InputError(
                "say which data set and where to: download.py mnist --root DATA; --list shows what there is"
            )
        if self.archive and len(self.names) > 1:
            raise InputError("--archive goes with one data set at a time")
        config = DownloadConfig(keep_archive=self.keep_archive, dry_run=self.dry_run)
        for name in self.names:
            download(remote_dataset(name), root, archives=self.archive, config=config)


def main(argv: "list[str] | None" = None) -> int:
    """Exit code: 0 fine, 2 failed with a message, 130 interrupted."""
    command = tyro.cli(Download, description=Download.__doc__, args=argv, config=(OmitArgPrefixes,))
    try:
        command()
    except CourseError as error:
        print(f"download: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("download: interrupted; run the same command again to go on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
