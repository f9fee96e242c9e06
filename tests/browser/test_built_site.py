"""The built site: complete, described, self-contained, and alive in a browser that has no network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

pytestmark = pytest.mark.slow  # the site is built once, in about half a minute

LOADING = {
    "script": "src",
    "link": "href",
    "img": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "object": "data",
}


class Page(HTMLParser):
    """What a page loads, links to, names, and shows without a description."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.names, self.bare_images = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.names |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        address = attributes.get(LOADING.get(tag, ""))
        if address and attributes.get("rel") not in {"canonical", "next", "prev", "search", "index", "author"}:
            self.loads.append(address)
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img" and not attributes.get("alt", "").strip():
            self.bare_images.append(attributes.get("src", "")[:60])


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


def test_all_rooms_of_the_site_are_there(site):
    names = (
        "index",
        "start",
        "lessons",
        "times",
        "claims",
        "glossary",
        "notation",
        "library",
        "contributing",
        "api/index",
    )
    missing = [name for name in names if not (site / f"{name}.html").is_file()]
    assert not missing
    for room in ("data", "metrics", "vos", "viz", "methods"):
        assert "def" in (site / "api" / f"{room}.html").read_text(encoding="utf-8")
    assert list((site / "notebooks").glob("00_*.html"))


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        outside = [
            address
            for address in page.loads
            if urlparse(address).scheme not in {"", "data"} or address.startswith("//")
        ]
        assert not outside, f"{path.name} loads {outside}"
        text = re.sub(r"data:[a-z/+]+;base64,[\w+/=]+", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"""(@import|url\()\s*["']?\s*(https?:)?//""", text), path.name
        assert not re.search(r"(cdn|unpkg|jsdelivr|cdnjs|fonts\.googleapis|require\.js)", text), path.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?\s*(https?:)?//""", sheet.read_text(encoding="utf-8")), (
            sheet.name
        )


def test_whatever_is_loaded_or_linked_inside_exists(pages):
    broken = []
    for path, page in pages.items():
        for address in (*page.loads, *page.links):
            parts = urlparse(address)
            if parts.scheme or address.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                broken.append(f"{path.name} -> {address}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                broken.append(f"{path.name} -> {address} (no such place)")
    assert not broken


def test_every_picture_has_a_text(pages):
    assert not {path.name: page.bare_images for path, page in pages.items() if page.bare_images}


def test_every_term_of_every_lesson_is_in_the_glossary(site):
    from course_lib.lessons.source import read_sources

    text = (site / "glossary.html").read_text(encoding="utf-8")
    terms = {term.lower() for lesson in read_sources(Path(__file__).parents[2]) for term in lesson.manifest.terms}
    missing = sorted(term for term in terms if f'id="term-{re.sub(r"[^a-z0-9]+", "-", term)}"' not in text.lower())
    assert not missing, f"docs/glossary.md lacks {missing}"


# In the browser


def visit(window, path: Path):
    window.page.goto(path.as_uri())
    window.page.wait_for_load_state("load")
    return window.page


@pytest.mark.browser
def test_pages_ask_for_nothing_outside_and_have_no_errors(window, site):
    for name in (
        "index",
        "notation",
        "lessons",
        "claims",
        "api/metrics",
        *(f"notebooks/{p.stem}" for p in (site / "notebooks").glob("*.html")),
    ):
        visit(window, site / f"{name}.html")
        window.page.wait_for_timeout(300)
        assert not window.refused and not window.failed and not window.errors, name


@pytest.mark.browser
def test_formulas_are_set(window, site):
    tab = visit(window, site / "notation.html")
    tab.wait_for_selector("mjx-container svg")
    assert tab.locator("mjx-container").count() >= 8
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    block = tab.locator("mjx-container[display=true]").first.bounding_box()
    assert block["height"] > 30  # a fraction, not a line of source
    assert "\\frac" not in tab.locator("article").inner_text()


@pytest.mark.browser
def test_scrubber_works_without_a_kernel(window, site):
    tab = visit(window, site / "index.html")
    box = tab.locator(".course-viz .cv-box").first
    canvas = box.locator("canvas").first
    tab.wait_for_function("document.querySelector('.cv-track canvas').toDataURL().length > 2000")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    box.focus()
    tab.keyboard.press("ArrowRight")
    assert box.get_attribute("data-frame") == "1"
    after = canvas.evaluate("canvas => canvas.toDataURL()")
    assert after != before
    box.locator(".cv-slider").fill("9")
    assert box.get_attribute("data-frame") == "9"
    assert canvas.evaluate("canvas => canvas.toDataURL()") not in {before, after}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes_and_nothing_overflows(window, site, scheme):
    tab = window.page
    tab.emulate_media(color_scheme=scheme)
    for width in (1200, 390):
        tab.set_viewport_size({"width": width, "height": 900})
        visit(window, site / "index.html")
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), (
            f"{width} pixels are not enough"
        )
    for place in ("p.course-lead", ".cv-count", ".cv-help", "a.course-card span", ".course-tile figcaption"):
        assert contrast(tab, place) >= 4.5, f"{place} in {scheme}"


def contrast(tab, selector: str) -> float:
    """WCAG contrast of the text of an element with the ground it stands on."""
    return tab.locator(selector).first.evaluate(
        """element => {
        const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const rgba = colour => {
            canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            return Array.from(canvas.getImageData(0, 0, 1, 1).data);
        };
        const light = colour => {
            const linear = colour.slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        };
        let ground = element;
        while (ground && rgba(getComputedStyle(ground).backgroundColor)[3] < 250) ground = ground.parentElement;
        const behind = ground ? rgba(getComputedStyle(ground).backgroundColor) : [255, 255, 255];
        const pair = [light(rgba(getComputedStyle(element).color)), light(behind)].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
        }"""
    )
