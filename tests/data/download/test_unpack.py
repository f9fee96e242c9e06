"""Archives are unpacked whole or not at all, and those that mean harm are refused before anything is written."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from course_lib.data.remote import Unpack
from course_lib.data.unpack import refusal, unpack_archive
from course_lib.errors import DownloadError, WriteError

Usage = namedtuple("Usage", "total used free")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PLAN = Unpack("DAVIS", ("a.txt",), 100)


def unpack(tmp_path: Path, data: bytes) -> Path:
    archive = tmp_path / "box" / "archive"
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(data)
    target = tmp_path / "root" / "deep" / "DAVIS"
    unpack_archive(archive, target, PLAN)
    return target


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() or p.is_symlink())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "climbs out"),
        ("DAVIS/../../evil", "climbs out"),
        ("DAVIS\\..\\..\\evil", "climbs out"),
        ("/etc/evil", "is an absolute path"),
        ("\\evil", "is an absolute path"),
        ("C:\\evil", "is an absolute path"),
        ("c:evil", "is an absolute path"),
        ("//server/share/evil", "is an absolute path"),
        ("DAVIS/a\0b", "has no usable name"),
    ],
)
def test_member_that_would_escape_condemns_the_archive(tmp_path, name, reason):
    assert reason in refusal(name)
    honest = tarfile.TarInfo("DAVIS/a.txt")
    boxes = [tarred((honest, b"fine"), (tarfile.TarInfo(name), b"evil"))] if "\0" not in name else []
    info = zipfile.ZipInfo("placeholder")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("DAVIS/a.txt", b"fine")
        info.filename = name  # as an attacker's tool would write it
        archive.writestr(info, b"evil")
    boxes.append(buffer.getvalue())
    for box in boxes:
        with pytest.raises(DownloadError, match=rf"refused and nothing was unpacked.*{reason}"):
            unpack(tmp_path, box)
        assert files_below(tmp_path) == ["box/archive"]


def test_names_that_only_look_dangerous_are_fine():
    assert not any(refusal(name) for name in ("DAVIS/..a", "DAVIS/a..", "./DAVIS/a", "DAVIS/c d.txt", "DAVIS/", "é/ü"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    link = tarfile.TarInfo("DAVIS/link")
    link.type, link.linkname = kind, "a.txt"
    with pytest.raises(DownloadError, match=r"is a link|neither a file nor a folder"):
        unpack(tmp_path, tarred((tarfile.TarInfo("DAVIS/a.txt"), b"fine"), (link, b"")))
    assert files_below(tmp_path) == ["box/archive"]


def test_links_in_a_zip_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("DAVIS/a.txt", b"fine")
        link = zipfile.ZipInfo("DAVIS/link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../../..")
    with pytest.raises(DownloadError, match="'DAVIS/link' is a link"):
        unpack(tmp_path, buffer.getvalue())
    assert files_below(tmp_path) == ["box/archive"]


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_tar_in_any_compression(tmp_path, compression):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, data in {"./DAVIS/a.txt": b"fine", "DAVIS/b/c.txt": b"deep", "README": b"outside the top"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    target = unpack(tmp_path, buffer.getvalue())
    assert files_below(tmp_path / "root") == ["deep/DAVIS/a.txt", "deep/DAVIS/b/c.txt"]
    assert (target / "b/c.txt").read_bytes() == b"deep"


@pytest.mark.parametrize("damage", ["cut", "flip", "not_an_archive", "empty"])
def test_damaged_archive_leaves_nothing(tmp_path, damage):
    good = zipped({"DAVIS/a.txt": bytes(range(256)) * 500, "DAVIS/b.txt": b"second"})
    bad = {
        "cut": good[: len(good) // 2],
        "flip": good[:300] + bytes([good[300] ^ 255]) + good[301:],
        "not_an_archive": b"<html>login</html>" * 100,
        "empty": b"",
    }[damage]
    with pytest.raises(DownloadError, match="is damaged and was not unpacked"):
        unpack(tmp_path, bad)
    assert files_below(tmp_path) == ["box/archive"]
    assert not list((tmp_path / "root/deep").glob("*"))


def test_archive_of_something_else(tmp_path):
    with pytest.raises(DownloadError, match=r"DAVIS/a\.txt not found in it"):
        unpack(tmp_path, zipped({"OTHER/a.txt": b"x"}))
    assert files_below(tmp_path) == ["box/archive"]


def test_folder_in_the_way_is_never_overwritten(tmp_path):
    mine = tmp_path / "root/deep/DAVIS/notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(WriteError, match="does not hold the whole data set"):
        unpack(tmp_path, zipped({"DAVIS/a.txt": b"x"}))
    assert files_below(tmp_path) == ["box/archive", "root/deep/DAVIS/notes.txt"]


def test_leftovers_of_a_killed_run_do_not_disturb(tmp_path):
    stale = tmp_path / "root/deep/.DAVIS.unpacking/DAVIS/stale.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("stale")
    unpack(tmp_path, zipped({"DAVIS/a.txt": b"x"}))
    assert files_below(tmp_path / "root") == ["deep/DAVIS/a.txt"]


def test_interrupt_while_unpacking_leaves_nothing_half_done(tmp_path):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(zipped({"DAVIS/a.txt": b"x", "DAVIS/b.txt": b"y"}))

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_archive(archive, tmp_path / "DAVIS", PLAN, interrupt)
    assert files_below(tmp_path) == ["archive.zip"]


def test_archive_larger_than_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 10))
    with pytest.raises(WriteError, match=r"unpacks to .* MB but"):
        unpack(tmp_path, zipped({"DAVIS/a.txt": b"x" * 100}))
    assert files_below(tmp_path) == ["box/archive"]
