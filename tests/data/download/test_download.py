"""Data sets end up whole where the loaders look; what is there is not fetched again; nothing finished is lost."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.data.download import ARCHIVES, DownloadConfig, download, list_datasets
from course_lib.data.remote import DATASETS, RemoteDataset, RemoteFile, remote_dataset
from course_lib.data.roots import SOURCES, data_root
from course_lib.data.transfer import RECORD, TransferConfig
from course_lib.errors import DownloadError, InputError, MissingDataError, WriteError

ROOT = Path(__file__).parents[3]
QUICK = DownloadConfig(transfer=TransferConfig(attempts=3, wait=0.0, timeout=5.0, progress=False))
Usage = namedtuple("Usage", "total used free")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


DAVIS = {
    "DAVIS/ImageSets/2017/train.txt": b"bear\n",
    "DAVIS/JPEGImages/480p/bear/00000.jpg": b"jpg" * 1000,
    "DAVIS/Annotations/480p/bear/00000.png": b"png" * 1000,
    "__MACOSX/junk": b"left out",
}


def davis(server, body: bytes, **changes) -> RemoteDataset:
    """The real entry of DAVIS 2017, with address, size and hash of what the test serves."""
    real = remote_dataset("davis2017")
    server.body = body
    file = replace(real.files[0], urls=(server.url("davis.zip"),), size=len(body), sha256=sha256(body))
    plan = replace(file.unpack, size=2 * len(body))
    return replace(real, files=(replace(file, unpack=plan, **changes),))


def test_archive_is_laid_out_where_the_loaders_look(server, tmp_path):
    said = []
    dataset = davis(server, zipped(DAVIS))
    (folder,) = download(dataset, tmp_path, config=QUICK, report=said.append)
    assert folder == tmp_path / "DAVIS-2017" == data_root("davis2017", tmp_path)
    assert (folder / "JPEGImages/480p/bear/00000.jpg").read_bytes() == b"jpg" * 1000
    assert not list(tmp_path.rglob("*junk*")) and not list(tmp_path.rglob("*.zip"))  # the archive is no longer needed
    assert any("licence  CC BY-NC 4.0" in line for line in said)


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    dataset = davis(server, zipped(DAVIS))
    download(dataset, tmp_path, config=QUICK, report=[].append)
    (tmp_path / "DAVIS-2017").rename(tmp_path / "DAVIS2017")  # another name that the loaders accept
    server.log.clear()
    said = []
    (folder,) = download(dataset, tmp_path, config=QUICK, report=said.append)
    assert server.log == [] and folder == tmp_path / "DAVIS2017"
    assert "there already" in said[0]


def test_kept_archive_is_used_again(server, tmp_path):
    dataset = davis(server, zipped(DAVIS))
    download(dataset, tmp_path, config=replace(QUICK, keep_archive=True), report=[].append)
    shutil.rmtree(tmp_path / "DAVIS-2017")
    server.log.clear()
    download(dataset, tmp_path, config=QUICK, report=[].append)
    assert server.log == [] and data_root("davis2017", tmp_path)


def test_archive_that_went_bad_on_disk_is_fetched_again(server, tmp_path):
    dataset = davis(server, zipped(DAVIS))
    path = tmp_path / ARCHIVES / dataset.files[0].name
    path.parent.mkdir()
    path.write_bytes(b"rotten")
    said = []
    download(dataset, tmp_path, config=QUICK, report=said.append)
    assert any("removed, fetching it again" in line for line in said) and data_root("davis2017", tmp_path)


def test_unpublished_hash_is_recorded_then_compared(server, tmp_path):
    body = zipped(DAVIS)
    dataset = davis(server, body, sha256=None)
    said = []
    download(dataset, tmp_path, config=QUICK, report=said.append)
    assert any("no hash is published; recorded sha256" in line for line in said)
    record = tmp_path / ARCHIVES / RECORD
    assert json.loads(record.read_text()) == {dataset.files[0].name: sha256(body)}
    shutil.rmtree(tmp_path / "DAVIS-2017")
    other = zipped({**DAVIS, "DAVIS/extra": b"!"})
    server.body = other
    changed = replace(dataset, files=(replace(dataset.files[0], size=len(other)),))
    with pytest.raises(DownloadError, match=r"recorded in .* when it was first downloaded.*remove its line"):
        download(changed, tmp_path, config=QUICK, report=[].append)
    record.unlink()
    download(changed, tmp_path, config=QUICK, report=[].append)
    assert (tmp_path / "DAVIS-2017/extra").exists()


def test_hash_of_an_unusable_archive_is_not_recorded(server, tmp_path):
    dataset = davis(server, zipped(DAVIS)[:-30], sha256=None)
    with pytest.raises(DownloadError, match="is damaged and was not unpacked"):
        download(dataset, tmp_path, config=QUICK, report=[].append)
    assert not (tmp_path / ARCHIVES / RECORD).exists() and not (tmp_path / "DAVIS-2017").exists()


def test_dry_run_touches_nothing(server, tmp_path):
    said = []
    download(davis(server, zipped(DAVIS)), tmp_path / "new", config=replace(QUICK, dry_run=True), report=said.append)
    assert server.log == [] and not (tmp_path / "new").exists()
    text = "\n".join(said)
    assert "would come from http://127.0.0.1" in text and "nothing was done" in text and "sha256" in text


def test_disk_space_is_checked_first(server, tmp_path, monkeypatch):
    usage = Usage(1, 1, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WriteError, match="nothing was downloaded"):
        download(davis(server, zipped(DAVIS)), tmp_path, config=QUICK, report=[].append)
    assert server.log == []


def test_interrupted_set_of_files_keeps_the_finished_ones(server, tmp_path):
    bodies = {"train-images-idx3-ubyte.gz": b"a" * 100, "train-labels-idx1-ubyte.gz": b"b" * 50}
    bodies = {name: gzip.compress(data) for name, data in bodies.items()}
    files = tuple(
        RemoteFile(name, (server.url(name),), len(data), sha256=sha256(data), inside="raw")
        for name, data in bodies.items()
    )
    dataset = replace(remote_dataset("mnist"), files=files)

    def answer(request, how, answer=server.answer):
        server.body = bodies[request.path.strip("/")]
        answer(request, how)

    server.answer = answer
    server.script = ["good", "500", "500", "500"]
    with pytest.raises(DownloadError):
        download(dataset, tmp_path, config=QUICK, report=[].append)
    server.log.clear()
    download(dataset, tmp_path, config=QUICK, report=[].append)
    assert [path for path, _ in server.log] == ["/train-labels-idx1-ubyte.gz"]
    assert data_root("mnist", tmp_path) == tmp_path / "MNIST"


def test_unreadable_file_in_place_is_fetched_again(server, tmp_path):
    body = gzip.compress(b"digits" * 100)
    file = RemoteFile("t.gz", (server.url("t.gz"),), len(body), sha256=sha256(body), inside="raw")
    dataset = replace(remote_dataset("mnist"), files=(file,))
    server.body = body
    target = tmp_path / "MNIST/raw/t.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(body[:-9])
    download(dataset, tmp_path, config=QUICK, report=[].append)
    assert target.read_bytes() == body
    server.log.clear()
    target.write_bytes(gzip.compress(b"digits" * 100, 1))  # the same content compressed anew is as good
    download(dataset, tmp_path, config=QUICK, report=[].append)
    (tmp_path / "MNIST/raw/t").write_bytes(b"digits")
    target.unlink()  # and so is the uncompressed file
    download(dataset, tmp_path, config=QUICK, report=[].append)
    assert server.log == []


YOUTUBE = {
    f"{split}.zip": zipped(
        {f"{split}/meta.json": b"{}", f"{split}/JPEGImages/v/0.jpg": b"j", f"{split}/Annotations/v/0.png": b"p"}
    )
    for split in ("train", "valid")
}


def test_registered_users_get_steps_then_their_archives_are_taken(tmp_path, monkeypatch):
    root, desk = tmp_path / "data", tmp_path / "desk"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 10**12))
    dataset = remote_dataset("youtube_vos")
    with pytest.raises(MissingDataError) as caught:
        download(dataset, root, config=QUICK, report=[].append)
    for step in ("Register", "train.zip", str(root / ARCHIVES), "--archive"):
        assert step in str(caught.value)
    desk.mkdir()
    for name, data in YOUTUBE.items():
        (desk / name).write_bytes(data)
    download(dataset, root, archives=list(desk.iterdir()), config=QUICK, report=[].append)
    assert data_root("youtube_vos", root) == root / "YouTubeVOS"
    assert (root / "YouTubeVOS/valid/meta.json").exists()
    assert sorted(p.name for p in desk.iterdir()) == ["train.zip", "valid.zip"]  # given archives are left alone
    assert set(json.loads((root / ARCHIVES / RECORD).read_text())) == {"train.zip", "valid.zip"}


def test_given_archive_must_exist_and_belong(tmp_path):
    with pytest.raises(MissingDataError, match="there is no archive"):
        download(remote_dataset("youtube_vos"), tmp_path, archives=[tmp_path / "train.zip"], config=QUICK)
    (tmp_path / "holiday.zip").write_bytes(b"")
    with pytest.raises(MissingDataError, match=r"none of youtube_vos's files \(train\.zip, valid\.zip\)"):
        download(remote_dataset("youtube_vos"), tmp_path, archives=[tmp_path / "holiday.zip"], config=QUICK)


# The list and the script


def test_entries_agree_with_the_loaders():
    known = {source.name: source for source in SOURCES}
    for dataset in DATASETS:
        assert dataset.folder in known[dataset.name].folders
        assert dataset.licence and dataset.citation and dataset.page.startswith("http")
        for file in dataset.files:
            assert file.urls or dataset.manual, f"{file.name} can neither be fetched nor got by hand"
            assert all(url.endswith("/" + file.name) for url in file.urls)
            assert file.sha256 is None or (re.fullmatch("[0-9a-f]{64}", file.sha256) and file.exact and file.hash_from)
            assert bool(file.unpack) != file.name.endswith("ubyte.gz")
    with pytest.raises(InputError, match="unknown data set 'cifar'; known are davis2017"):
        remote_dataset("cifar")


def test_list_shows_licence_and_size():
    text = list_datasets()
    for dataset in DATASETS:
        assert dataset.name in text and dataset.licence in text
    assert "832.8 MB" in text and "about 2,000.0 MB" in text


def script(*words: str, **environment: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if name != "COURSE_DATA"} | environment
    command = [sys.executable, str(ROOT / "data_scripts/download.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_script_says_what_it_would_do_and_what_is_wrong(tmp_path):
    done = script("mnist", "davis2016", "--dry-run", COURSE_DATA=str(tmp_path))
    assert done.returncode == 0 and "no published hash" in done.stdout and not list(tmp_path.iterdir())
    wrong = script("mnist")
    assert wrong.returncode == 2 and "say which data set and where to" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    manual = script("youtube_vos", "--root", str(tmp_path / "new"))
    assert manual.returncode == 2 and "Register" in manual.stderr and not (tmp_path / "new").exists()
