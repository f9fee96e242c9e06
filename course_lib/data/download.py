"""Real data sets fetched, checked and laid out where the loaders look for them.

What is there already is never fetched again, and every step can be interrupted: finished files stay, an unfinished one
goes on where it stopped, an archive is unpacked whole or not at all.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from course_lib.data.remote import DATASETS, RemoteDataset, RemoteFile
from course_lib.data.roots import SOURCES, data_root
from course_lib.data.transfer import (
    RECORD,
    TransferConfig,
    check_space,
    fetch,
    missing_bytes,
    part_of,
    remember,
    verify,
)
from course_lib.data.unpack import unpack_archive
from course_lib.errors import DownloadError, MissingDataError

ARCHIVES = "archives"  # folder below the root where archives wait to be unpacked


@dataclass(frozen=True)
class DownloadConfig:
    """How a data set is fetched."""

    keep_archive: bool = False  # keep an archive after it was unpacked
    dry_run: bool = False  # say what would be done, do nothing
    transfer: TransferConfig = field(default_factory=TransferConfig)


def download(
    dataset: RemoteDataset,
    root: str | Path,
    *,
    archives: Sequence[str | Path] = (),
    config: DownloadConfig | None = None,
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Fetch `dataset` below `root` and lay it out. Returns the files and folders that hold it.

    archives  files that were downloaded already, by name; they are checked, unpacked and left alone
    report    takes one line of text at a time

    Raises `MissingDataError` with the steps to take for a data set that only registered users get, `DownloadError` for
    failed, damaged or dangerous files, `WriteError` for a disk that is full or a target that is in the way.
    """
    config = config or DownloadConfig()
    root = Path(root).expanduser()
    given = _given(dataset, archives)
    places = {file.name: place(dataset, file, root) for file in dataset.files}
    wanted = [file for file in dataset.files if not is_there(file, places[file.name])]
    for file in dataset.files:
        if file not in wanted:
            report(f"{file.name}: there already, as {places[file.name]}")
    if wanted:
        report(describe(dataset))
        _fetch_all(dataset, wanted, places, root, given, config, report)
    return list(places.values())


def place(dataset: RemoteDataset, file: RemoteFile, root: Path) -> Path:
    """Where `file`, or what is unpacked from it, lies below `root`, or will.

    A copy in another folder that `course_lib.data.roots` accepts counts, if it is whole.
    """
    name = "" if file.unpack else file.name
    if root.is_dir() and any(source.name == dataset.name for source in SOURCES):
        found = data_root(dataset.name, root)
        if found is not None and is_there(file, found / file.inside / name):
            return found / file.inside / name
    return root / dataset.folder / file.inside / name


def is_there(file: RemoteFile, path: Path) -> bool:
    """Whether `path` holds `file` already: all markers of what is unpacked, or the file with readable content.

    A file kept as it is may also lie there uncompressed or compressed anew, as long as it reads to its end.
    """
    if file.unpack:
        return all((path / marker).exists() for marker in file.unpack.markers)
    plain = path.with_suffix("")
    if path.suffix == ".gz" and not path.exists() and plain.is_file():
        return plain.stat().st_size > 0
    return path.is_file() and _reads_to_its_end(path)


def describe(dataset: RemoteDataset) -> str:
    """What a data set is, how large, and on what terms, in a few lines."""
    room = f", {dataset.unpacked_size / 1e6:,.0f} MB more unpacked" if dataset.unpacked_size else ""
    about = "" if all(file.exact for file in dataset.files) else "about "
    return (
        f"{dataset.name}: {dataset.title}\n  size     {about}{dataset.size / 1e6:,.1f} MB{room}\n"
        f"  licence  {dataset.licence}\n  cite     {dataset.citation}\n  page     {dataset.page}"
    )


def list_datasets() -> str:
    """All data sets there are, described."""
    return "\n\n".join(describe(dataset) for dataset in DATASETS)


def _fetch_all(
    dataset: RemoteDataset,
    wanted: list[RemoteFile],
    places: dict[str, Path],
    root: Path,
    given: dict[str, Path],
    config: DownloadConfig,
    report: Callable[[str], None],
) -> None:
    local = {f.name: given.get(f.name, root / ARCHIVES / f.name if f.unpack else places[f.name]) for f in wanted}
    absent = [file.name for file in wanted if not file.urls and not local[file.name].is_file()]
    if absent:
        steps = dataset.manual.format(root=root, archives=root / ARCHIVES, folder=root / dataset.folder)
        raise MissingDataError(f"{dataset.name}: {', '.join(absent)} not found.\n{steps}")
    needed = sum(missing_bytes(f, local[f.name]) + (f.unpack.size if f.unpack else 0) for f in wanted)
    if config.dry_run:
        for file in wanted:
            _announce(file, local[file.name], places[file.name], report)
        report(f"dry run: nothing was done; about {needed / 1e6:,.1f} MB of disk would be needed")
        return
    check_space(root, needed, dataset.name)
    for file in wanted:
        path, own = local[file.name], file.name in given or not file.urls
        record = (root / ARCHIVES if file.unpack else path.parent) / RECORD
        if own:
            found = verify(file, path, record)
        else:
            kept = _hash_of_kept(file, path, record, report)
            found = kept or fetch(file, path, config.transfer, report)
        if file.unpack:
            report(f"{file.name}: unpacking")
            with tqdm(
                total=file.unpack.size,
                unit="B",
                unit_scale=True,
                desc="unpacking",
                disable=not config.transfer.progress,
            ) as bar:
                unpack_archive(path, places[file.name], file.unpack, bar.update)
        remember(file, found, record, report)
        if file.unpack and not own and not config.keep_archive:
            path.unlink()
        report(f"{file.name}: done, as {places[file.name]}")


def _hash_of_kept(file: RemoteFile, path: Path, record: Path, report: Callable[[str], None]) -> str | None:
    """Hash of a file that an earlier run finished, or None; one with the wrong content is removed and fetched anew."""
    if not path.exists():
        return None
    try:
        return verify(file, path, record)
    except DownloadError as error:
        report(f"{error}; removed, fetching it again")
        path.unlink()
        return None


def _given(dataset: RemoteDataset, archives: Sequence[str | Path]) -> dict[str, Path]:
    given = {}
    names = [file.name for file in dataset.files]
    for archive in map(Path, archives):
        path = archive.expanduser()
        if not path.is_file():
            raise MissingDataError(f"there is no archive {path}; give the path of a file you downloaded")
        if path.name not in names:
            raise MissingDataError(
                f"archive {path.name!r} is none of {dataset.name}'s files ({', '.join(names)}); rename it if it is one"
            )
        given[path.name] = path
    return given


def _announce(file: RemoteFile, path: Path, target: Path, report: Callable[[str], None]) -> None:
    if path.is_file():
        how = f"is at {path}"
    elif part_of(path).exists():
        how = f"would go on at byte {part_of(path).stat().st_size:,} from {file.urls[0]}"
    else:
        how = f"would come from {' or '.join(file.urls)}"
    check = (
        f"sha256 {file.sha256[:16]}… ({file.hash_from})"
        if file.sha256
        else "no published hash: recorded on first download"
    )
    report(f"  {file.name} {how}\n    {check}\n    ends up as {target}")


def _reads_to_its_end(path: Path) -> bool:
    if path.suffix != ".gz":
        return path.stat().st_size > 0
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass
        return True
    except (OSError, EOFError, zlib.error):
        return False
