"""A local server that misbehaves in every way a server can."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BODY = bytes(range(256)) * 4000  # 1,024,000 bytes


class Server:
    """Serves `body` at every address; `script` holds how each request to come is answered, `log` what was asked."""

    def __init__(self):
        self.body, self.tag = BODY, '"v1"'
        self.script: list[str] = []
        self.log: list[tuple[str, str | None]] = []  # path, Range
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.log.append((self.path, self.headers.get("Range")))
                outer.answer(self, outer.script.pop(0) if outer.script else "good")

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, name="file.bin"):
        return f"http://127.0.0.1:{self.http.server_address[1]}/{name}"

    def answer(self, request, how):
        body = self.body
        if how.isdigit():
            request.send_response(int(how))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        first = int(asked.group(1)) if asked else 0
        same = request.headers.get("If-Range") in (None, self.tag)
        kind = "text/html" if how == "html" else "application/octet-stream"
        if asked and same and how != "no_range":
            if first >= len(body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(body)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            if how == "wrong_range":
                first //= 2
            body = body[first:]
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        else:
            request.send_response(200)
        if how == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        request.send_header("Content-Type", kind)
        request.send_header("ETag", self.tag)
        if how == "gzip_header":
            request.send_header("Content-Encoding", "gzip")
        if how == "chunked":
            request.send_header("Connection", "close")
        else:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if how == "truncate":
            body = body[: len(body) // 2]
        request.wfile.write(body)
        if how in ("truncate", "chunked"):
            request.close_connection = True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()
