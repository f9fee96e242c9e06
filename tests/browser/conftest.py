"""A real Chromium, driven without a network: whatever is not a file or this machine is refused and remembered."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest

from course_lib.lessons.doctor import BROWSERS, find_chromium

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; tests skip where playwright or a browser is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: browser)")
    path = find_chromium()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed, and CHROMIUM does not name one")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Window:
    """A page, with what it asked for outside this machine and what went wrong in it."""

    page: object
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self) -> "Window":
        """Refuse the network, and listen."""

        def route(request_route):
            address = urlparse(request_route.request.url)
            if address.scheme in {"file", "data", "blob", "about"} or address.hostname in {"127.0.0.1", "localhost"}:
                request_route.continue_()
            else:
                self.refused.append(request_route.request.url)
                request_route.abort()

        def failed(request):
            # Older themes ask for fonts early and across origins, which Chromium refuses to a page that is a file; the
            # page then asks again without an origin, and that request counts.
            early = request.resource_type == "font" and request.headers.get("origin") == "null"
            if not early:
                self.failed.append(request.url)

        self.page.route("**/*", route)
        self.page.on("requestfailed", failed)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        return self


@pytest.fixture
def window(chromium) -> Iterator[Window]:
    """A fresh page of 1200 x 900 without a network."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    yield Window(context.new_page()).watch()
    context.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """Folder of the built web site; parallel workers use one build."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (extra: docs)")
    from course_lib.site import build_site

    base = tmp_path_factory.getbasetemp()
    place = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "built_site"
    done, lock = place / "done", place / "lock"
    place.mkdir(exist_ok=True)
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        end = time.monotonic() + 600
        while not done.exists() and time.monotonic() < end:
            time.sleep(0.5)
    else:
        try:
            build_site(Path(__file__).parents[2], place / "html")
        except Exception as error:
            done.write_text(str(error), encoding="utf-8")
            raise
        done.touch()
    if not done.exists() or done.read_text(encoding="utf-8"):
        pytest.fail(
            f"the site could not be built: {done.read_text(encoding='utf-8') if done.exists() else 'no answer'}"
        )
    return place / "html"
