"""Archives unpacked whole or not at all, and never outside their folder.

Every member is looked at before anything is written: one that is absolute, climbs out, is a link or a device, condemns
the archive. Members go to a temporary folder beside the target, which takes the target's name at the end.
"""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from course_lib.data.remote import Unpack
from course_lib.errors import DownloadError, WriteError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file or folder inside an archive; `open` reads a file."""

    name: str
    size: int
    is_folder: bool
    refused: str  # why it may not be unpacked, or nothing
    open: Callable[[], IO[bytes]]


def unpack_archive(archive: Path, target: Path, plan: Unpack, progress: Callable[[int], None] | None = None) -> None:
    """Unpack `archive` so that its folder `plan.top` becomes `target`.

    progress  called with the bytes of each piece written

    Raises `DownloadError` for an archive that is damaged, holds a dangerous member or lacks what it should hold, and
    `WriteError` if the target is in the way or the disk is full. In each case nothing half-unpacked is left.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise WriteError(
            f"{target} is there already but does not hold the whole data set ({', '.join(plan.markers)}); "
            "move it away or delete it, then run again"
        )
    building = target.with_name(f".{target.name}.unpacking")
    try:
        with _members(archive) as members:
            _refuse_dangerous(archive, members)
            needed = sum(member.size for member in members)
            shutil.rmtree(building, ignore_errors=True)  # left by a run that was killed
            building.mkdir(parents=True)
            free = shutil.disk_usage(building).free
            if needed > free:
                raise WriteError(
                    f"{archive.name} unpacks to {needed / 1e6:,.0f} MB but {target.parent} has {free / 1e6:,.0f} MB; "
                    "free some space or choose another --root"
                )
            for member in members:
                _write(member, building, progress)
        top = building / plan.top
        missing = [marker for marker in plan.markers if not (top / marker).exists()]
        if missing:
            raise DownloadError(
                f"{archive} is not the expected archive: {', '.join(f'{plan.top}/{marker}' for marker in missing)} "
                "not found in it"
            )
        if target.exists():
            target.rmdir()
        top.replace(target)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DownloadError(
            f"{archive} is damaged and was not unpacked ({type(error).__name__}: {error}); delete it and run again"
        ) from error
    except (DownloadError, WriteError):
        raise
    except OSError as error:
        raise WriteError(
            f"cannot unpack {archive.name} to {target}: {error.strerror or error}; nothing half-unpacked was left"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def refusal(name: str) -> str:
    """Why a member of this name may not be unpacked, or an empty text."""
    path = PureWindowsPath(name)  # understands / and \ and drive letters, so a name is judged alike everywhere
    if path.drive or path.root:
        return "is an absolute path"
    if ".." in path.parts:
        return "climbs out of the target folder"
    if "\0" in name or not name.strip("/\\"):
        return "has no usable name"
    return ""


def _refuse_dangerous(archive: Path, members: list[Member]) -> None:
    bad = [(member.name, reason) for member in members if (reason := refusal(member.name) or member.refused)]
    if bad:
        name, reason = bad[0]
        more = f" (and {len(bad) - 1} more such members)" if len(bad) > 1 else ""
        raise DownloadError(
            f"{archive} was refused and nothing was unpacked: its member {name!r} {reason}{more}. An honest copy of "
            "this data set has no such member; delete the file and get it from the official page"
        )


def _write(member: Member, folder: Path, progress: Callable[[int], None] | None) -> None:
    path = folder.joinpath(*PureWindowsPath(member.name).parts)
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as sink:
        while piece := source.read(CHUNK):
            sink.write(piece)
            written += len(piece)
            if progress is not None:
                progress(len(piece))
    if written != member.size:
        raise EOFError(f"member {member.name!r} has {written} of {member.size} bytes")


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """All members of a zip or tar archive; readable while the block lasts."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield [_zip_member(opened, info) for info in opened.infolist()]
    else:
        with tarfile.open(archive) as opened:
            yield [_tar_member(opened, info) for info in opened]


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    refused = ""
    if kind == stat.S_IFLNK:
        refused = "is a link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refused = "is neither a file nor a folder"
    elif info.flag_bits & 1:
        refused = "is encrypted"
    # orig_filename is the name as stored: ZipInfo cuts it at a NUL and rewrites separators.
    return Member(info.orig_filename, info.file_size, info.is_dir(), refused, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    refused = ""
    if info.issym() or info.islnk():
        refused = "is a link"
    elif not (info.isfile() or info.isdir()):
        refused = "is neither a file nor a folder"

    def read() -> IO[bytes]:
        stream = archive.extractfile(info)
        assert stream is not None  # only None for members that are no files
        return stream

    return Member(info.name, info.size, info.isdir(), refused, read)
