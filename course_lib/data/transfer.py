"""One file brought over HTTP: resumed where it broke off, from the next address where one fails, and hashed at the end.

The file grows as NAME.part and takes its name only when it is complete and its hash is right. Unusual: a hash that
was never published is recorded in `checksums.json` once the file has proved usable, and compared ever after.
"""

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

from course_lib.data.atomic import atomic_path
from course_lib.data.remote import RemoteFile
from course_lib.errors import DownloadError, InputError, WriteError

CHUNK = 1 << 18
RECORD = "checksums.json"
NOT_WORTH_RETRYING = (400, 401, 403, 404, 405, 410)


@dataclass(frozen=True)
class TransferConfig:
    """How patient a download is."""

    attempts: int = 4  # per address, counted anew whenever bytes arrive
    wait: float = 1.0  # seconds before the second attempt, doubled for each further one, at most a minute
    timeout: float = 30.0  # seconds without a byte
    progress: bool = True  # show a bar


class _Broken(Exception):
    """This attempt failed; another may succeed."""


class _Hopeless(Exception):
    """This address will not do; try the next."""


def fetch(file: RemoteFile, path: Path, config: TransferConfig, report: Callable[[str], None]) -> str:
    """Bring `file` to `path`, which is not there yet. Returns its hash.

    Raises `DownloadError` when every address failed (what arrived stays in NAME.part and is resumed next time), or the
    content is not what it should be (then it is removed), and `WriteError` for a full disk.
    """
    part = part_of(path)
    failures: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for url in file.urls:
            for clean in (
                False,
                True,
            ):  # a wrong hash after resuming may be the fault of the old part: once more, afresh
                resumed = part.exists() and not clean
                try:
                    _bring(file, url, part, config, report)
                    found = verify(file, part, path.parent / RECORD)
                except _Hopeless as error:
                    failures.append(f"{url}: {error}")
                    break
                except DownloadError as error:
                    failures.append(f"{url}: {error}")
                    _forget(part)
                    if not resumed:
                        break
                else:
                    part.replace(path)
                    _origin_of(part).unlink(missing_ok=True)
                    return found
    except OSError as error:
        if isinstance(error, DownloadError | WriteError):
            raise
        kept = f" What arrived is kept in {part.name}." if part.exists() else ""
        raise WriteError(
            f"cannot write {part}: {error.strerror or error}.{kept} Free some space or choose another --root, then run "
            "again"
        ) from error
    have = f" {part.stat().st_size:,} bytes are kept in {part.name}; run again to go on." if part.exists() else ""
    tried = "\n  ".join(failures) or "no address is known"
    raise DownloadError(f"could not download {file.name}:\n  {tried}\n{have} Check the connection, or fetch it by hand "
                        f"and put it at {path}")  # fmt: skip


def verify(file: RemoteFile, path: Path, record: Path) -> str:
    """Compare the hash of `path` with the published one, else with the one in the file `record`. Returns the hash.

    Raises `DownloadError` that shows both hashes. The file is left to the caller.
    """
    found = pooch.file_hash(str(path), alg="sha256")
    expected, origin, advice = file.sha256, file.hash_from or "published", ""
    if expected is None:
        expected, origin = _read_record(record).get(file.name), f"recorded in {record} when it was first downloaded"
        advice = "; if its publisher made a new version, remove its line from there"
    if expected and found != expected:
        raise DownloadError(
            f"{file.name} is not what it should be: sha256 {found}, expected {expected} ({origin}). It is damaged or "
            f"was changed{advice}"
        )
    return found


def remember(file: RemoteFile, found: str, record: Path, report: Callable[[str], None]) -> None:
    """Record the hash of a file that has none published, and say so."""
    known = _read_record(record)
    if file.sha256 is None and file.name not in known:
        _write_record(record, {**known, file.name: found})
        report(
            f"{file.name}: no hash is published; recorded sha256 {found[:16]}… in {record} to compare with next time"
        )


def part_of(path: Path) -> Path:
    """Where the unfinished download of `path` is kept."""
    return path.with_name(path.name + ".part")


def missing_bytes(file: RemoteFile, path: Path) -> int:
    """How many bytes are still to come."""
    if path.exists():
        return 0
    part = part_of(path)
    return max(file.size - (part.stat().st_size if part.exists() else 0), 0)


def check_space(root: Path, needed: int, what: str) -> None:
    """Raise `WriteError` unless the disk of `root` has room for `needed` bytes and five in a hundred more."""
    there = next(folder for folder in (root, *root.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if needed * 1.05 > free:
        raise WriteError(
            f"{what} needs about {needed * 1.05 / 1e6:,.0f} MB and {root} has {free / 1e6:,.0f} MB free; nothing was "
            "downloaded. Free some space or choose another --root"
        )


def _bring(file: RemoteFile, url: str, part: Path, config: TransferConfig, report: Callable[[str], None]) -> None:
    """Try one address until `part` is complete."""
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _stream(file, url, part, config)
            return
        except _Broken as error:
            after = part.stat().st_size if part.exists() else 0
            failed = 1 if after > before else failed + 1
            if failed >= config.attempts:
                raise _Hopeless(f"{error} ({failed} attempts in a row)") from error
            wait = min(config.wait * 2 ** (failed - 1), 60.0)
            report(f"{file.name}: {error}; {after:,} bytes are here, trying again in {wait:g} s")
            time.sleep(wait)


def _stream(file: RemoteFile, url: str, part: Path, config: TransferConfig) -> None:
    """One request that adds to `part`; returns when the file is complete."""
    have = _resumable(file, url, part)
    if file.exact and have == file.size:
        return
    headers = {"Accept-Encoding": "identity"}
    origin = _read_record(_origin_of(part))
    if have:
        headers["Range"] = f"bytes={have}-"
        if origin.get("url") == url and origin.get("tag"):
            headers["If-Range"] = origin["tag"]  # a file that changed meanwhile is sent whole
    try:
        with requests.get(url, headers=headers, stream=True, timeout=config.timeout) as response:
            if response.status_code == 416 and have:
                total = _total(response)
                if total == have:
                    return
                _forget(part)
                raise _Broken("the server has nothing after the bytes that are here; starting afresh")
            _refuse_status(response)
            if response.status_code != 206 or _first(response) != have:
                if response.status_code == 206:
                    _forget(part)
                    raise _Broken("the server sent another part of the file than was asked for")
                have = 0  # it ignores ranges, or the file changed
            length = _number(response.headers.get("Content-Length"))
            total = None if length is None else have + length
            if file.exact and total is not None and total != file.size:
                raise _Hopeless(f"the file there has {total:,} bytes, expected {file.size:,}")
            _write_record(_origin_of(part), {"url": url, "tag": _strong_tag(response)})
            arrived = _save(file, response, part, have, total or file.size, config.progress)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Broken(f"the connection failed ({type(error).__name__})") from error
    if total is not None and arrived < total:
        raise _Broken(f"the server broke off at {arrived:,} of {total:,} bytes")
    if total is None and file.exact and arrived != file.size:
        raise _Broken(f"the server sent {arrived:,} of {file.size:,} bytes")


def _save(file: RemoteFile, response: requests.Response, part: Path, have: int, total: int, progress: bool) -> int:
    """Write the body behind the first `have` bytes; returns the bytes there are then."""
    with (
        part.open("r+b" if have else "wb") as sink,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=file.name, disable=not progress) as bar,
    ):
        sink.seek(have)
        # as sent: a server that marks .gz files as content encoding must not have them unpacked on the way
        for piece in response.raw.stream(CHUNK, decode_content=False):
            sink.write(piece)
            have += len(piece)
            bar.update(len(piece))
    return have


def _resumable(file: RemoteFile, url: str, part: Path) -> int:
    """Bytes of `part` that can be kept when asking `url`: across addresses only if a hash will judge the whole."""
    if not part.exists():
        return 0
    same = _read_record(_origin_of(part)).get("url") == url
    size = part.stat().st_size
    if (same or file.sha256) and not (file.exact and size > file.size):
        return size
    _forget(part)
    return 0


def _refuse_status(response: requests.Response) -> None:
    code = response.status_code
    if code in NOT_WORTH_RETRYING:
        raise _Hopeless(f"the server answered {code} {response.reason}")
    if code not in (200, 206):
        raise _Broken(f"the server answered {code} {response.reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _Hopeless(
            "the server answered with a web page instead of the file (moved, or a login page of the network)"
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _first(response: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else None


def _total(response: requests.Response) -> int | None:
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else None


def _strong_tag(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _origin_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _origin_of(part).unlink(missing_ok=True)


def _read_record(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in record.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a JSON object of names and hashes; delete it and run again") from error


def _write_record(path: Path, record: dict[str, str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
