"""One file over HTTP: whatever the server does, the file ends up whole or not at all, and nothing is fetched twice."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.data.remote import RemoteFile
from course_lib.data.transfer import TransferConfig, fetch, part_of
from course_lib.errors import DownloadError, WriteError

QUICK = TransferConfig(attempts=3, wait=0.0, timeout=5.0, progress=False)
BODY = bytes(range(256)) * 4000  # what the server serves


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(*urls: str, body: bytes = BODY, **changes) -> RemoteFile:
    file = RemoteFile("file.bin", urls, len(body), sha256=sha256(body), hash_from="published")
    return replace(file, **changes)


def bring(file: RemoteFile, path: Path, said: list | None = None) -> str:
    return fetch(file, path, QUICK, (said if said is not None else []).append)


def test_plain_download(server, tmp_path):
    assert bring(entry(server.url()), tmp_path / "a/file.bin") == sha256(BODY)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["file.bin"]  # no .part, nothing else is left
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


def test_truncated_answer_is_resumed_where_it_broke(server, tmp_path):
    server.script = ["truncate", "truncate"]
    said = []
    bring(entry(server.url()), tmp_path / "file.bin", said)
    assert [asked for _, asked in server.log] == [None, "bytes=512000-", "bytes=768000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert "512,000 bytes are here" in said[0]


def test_next_run_goes_on_where_the_last_one_gave_up(server, tmp_path):
    server.script = ["truncate", "500", "500"]
    with pytest.raises(DownloadError, match=r"the server answered 500.*\n.*512,000 bytes are kept in file\.bin\.part"):
        bring(entry(server.url()), tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()
    assert part_of(tmp_path / "file.bin").stat().st_size == 512_000
    server.log.clear()
    bring(entry(server.url()), tmp_path / "file.bin")
    assert server.log == [("/file.bin", "bytes=512000-")]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_server_without_ranges_sends_all_again(server, tmp_path):
    server.script = ["truncate", "no_range"]
    bring(entry(server.url()), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_server_that_sends_another_range_is_not_believed(server, tmp_path):
    server.script = ["truncate", "wrong_range"]
    bring(entry(server.url()), tmp_path / "file.bin")
    assert [asked for _, asked in server.log] == [None, "bytes=512000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_always_breaking_at_the_same_byte_is_given_up(server, tmp_path):
    def answer(request, how, answer=server.answer):
        del request.headers["Range"]
        answer(request, "truncate")

    server.answer = answer
    with pytest.raises(DownloadError, match=r"attempts in a row"):
        bring(entry(server.url()), tmp_path / "file.bin")
    assert len(server.log) <= 6


def test_file_that_changed_meanwhile_is_fetched_whole(server, tmp_path):
    server.script = ["truncate", "500", "500"]
    unpublished = entry(server.url(), sha256=None, exact=False)
    with pytest.raises(DownloadError):
        bring(unpublished, tmp_path / "file.bin")
    server.body, server.tag = BODY[::-1], '"v2"'
    bring(unpublished, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY[::-1]  # not half of one and half of the other


def test_next_address_after_404_and_resume_across_addresses(server, tmp_path):
    server.script = ["404"]
    bring(entry(server.url("gone"), server.url("here")), tmp_path / "1.bin")
    assert [path for path, _ in server.log] == ["/gone", "/here"]
    server.log.clear()
    server.script = ["truncate", "500", "500"]
    bring(entry(server.url("weak"), server.url("mirror")), tmp_path / "2.bin")
    assert server.log[-1] == ("/mirror", "bytes=512000-")
    server.log.clear()
    server.script = [
        "truncate",
        "500",
        "500",
        "500",
    ]  # without a hash nobody could tell that two halves belong together
    bring(entry(server.url("weak"), server.url("mirror"), sha256=None), tmp_path / "3.bin")
    assert server.log[-1] == ("/mirror", None)


def test_all_addresses_fail_and_each_is_named(server, tmp_path):
    server.script = ["404", "403"]
    with pytest.raises(DownloadError) as caught:
        bring(entry(server.url("a"), server.url("b")), tmp_path / "file.bin")
    assert "/a: the server answered 404" in str(caught.value) and "/b: the server answered 403" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_server_at_all(tmp_path):
    with pytest.raises(DownloadError, match="the connection failed"):
        bring(entry("http://127.0.0.1:9/x"), tmp_path / "file.bin")


def test_corrupt_content_is_never_kept(server, tmp_path):
    server.script = ["corrupt"]
    with pytest.raises(DownloadError) as caught:
        bring(entry(server.url()), tmp_path / "file.bin")
    wrong = BODY[:-1] + bytes([BODY[-1] ^ 1])
    assert sha256(BODY) in str(caught.value) and sha256(wrong) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_part_of_an_earlier_run_costs_one_fresh_try(server, tmp_path):
    part_of(tmp_path / "file.bin").write_bytes(b"x" * 1000)
    bring(entry(server.url()), tmp_path / "file.bin")
    assert [asked for _, asked in server.log] == ["bytes=1000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_complete_part_needs_no_request(server, tmp_path):
    part_of(tmp_path / "file.bin").write_bytes(BODY)
    bring(entry(server.url()), tmp_path / "file.bin")
    assert server.log == []


def test_complete_part_of_unknown_size_is_recognised(server, tmp_path):
    rounded = entry(server.url(), size=1_000_000, exact=False, sha256=None)
    part = part_of(tmp_path / "file.bin")
    part.write_bytes(BODY)
    part.with_name(part.name + ".json").write_text(json.dumps({"url": server.url(), "tag": '"v1"'}))
    bring(rounded, tmp_path / "file.bin")
    assert server.log == [("/file.bin", "bytes=1024000-")]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_web_page_instead_of_the_file(server, tmp_path):
    server.script = ["html"]
    with pytest.raises(DownloadError, match="web page instead of the file"):
        bring(entry(server.url(), sha256=None, exact=False), tmp_path / "file.bin")
    assert not list(tmp_path.iterdir())


def test_wrong_size_is_noticed_before_the_body(server, tmp_path):
    with pytest.raises(DownloadError, match="has 1,024,000 bytes, expected 5"):
        bring(entry(server.url(), size=5), tmp_path / "file.bin")


def test_body_without_stated_length(server, tmp_path):
    server.script = ["chunked"]
    bring(entry(server.url()), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_gz_file_marked_as_encoding_stays_compressed(server, tmp_path):
    server.body = gzip.compress(BODY)
    server.script = ["gzip_header"]
    bring(entry(server.url(), body=server.body), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == server.body


def test_interrupt_keeps_what_arrived(server, tmp_path, monkeypatch):
    import course_lib.data.transfer as transfer

    class Bar:
        def __init__(self, **_):
            self.n = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, _):
            self.n += 1
            if self.n == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "tqdm", Bar)
        with pytest.raises(KeyboardInterrupt):
            bring(entry(server.url()), tmp_path / "file.bin")
    kept = part_of(tmp_path / "file.bin").stat().st_size
    assert 0 < kept < len(BODY)
    bring(entry(server.url()), tmp_path / "file.bin")
    assert server.log[-1] == ("/file.bin", f"bytes={kept}-")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_disk_that_fills_up_while_writing(server, tmp_path, monkeypatch):
    import course_lib.data.transfer as transfer

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_save", full)
    with pytest.raises(WriteError, match=r"No space left on device.*another --root"):
        bring(entry(server.url()), tmp_path / "file.bin")
