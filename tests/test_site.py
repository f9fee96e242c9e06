import importlib.util
import json
import os
from pathlib import Path

import docutils.core
import pytest

from course_lib import mathjax, site
from course_lib.errors import CourseError, MissingDataError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def conf():
    specification = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# Docstrings


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("One `code` word.", "<p>One <code>code</code> word.</p>"),
        ("Stars *args and |bars| and name_ and 2 * 3.", "<p>Stars *args and |bars| and name_ and 2 * 3.</p>"),
        ("`a`-th of `b`s", "<p><code>a</code>-th of <code>b</code>s</p>"),
        ("Two\nlines.\n\nTwo paragraphs.", "<p>Two lines.</p>\n<p>Two paragraphs.</p>"),
        ("- first *a\n- second\n  goes on", "<p>first *a</p>|<p>second goes on</p>"),
    ],
)
def test_docstrings_mean_what_they_say(conf, docstring, expected):
    settings = {"report_level": 1, "halt_level": 1, "embed_stylesheet": False}
    html = docutils.core.publish_parts(
        conf.plain_docstring(docstring), writer_name="html5", settings_overrides=settings
    )
    body = (
        html["body"]
        .replace('<span class="docutils literal">', "<code>")
        .replace("</span>", "</code>")
        .replace("\n", " ")
    )
    for part in expected.replace("\n", " ").split("|<p>"):
        assert part.removeprefix("<p>") in body.replace("  ", " ")


def test_examples_and_tables_stay_as_they_are(conf):
    text = conf.plain_docstring("Adds.\n\n>>> add(1, 2)\n3\n\na      the first\nb, c   the rest\n\nLike so:\n    x | y")
    assert ".. code-block:: pycon\n\n   >>> add(1, 2)\n   3" in text
    assert ".. code-block:: text\n\n   a      the first\n   b, c   the rest" in text
    assert "Like so:\n\n.. code-block:: text\n\n   x | y" in text


def test_no_docstring_is_no_text(conf):
    assert conf.plain_docstring("") == ""


# Pages from data


def test_times_page_shows_the_record_and_the_last_run(tmp_path):
    (tmp_path / "notebooks").mkdir()
    assert "Nothing has been recorded" in site.times_page(tmp_path)
    record = {"00": {"cpu": {"seconds": 41.6, "gigabytes": 1.26}}}
    (tmp_path / "notebooks" / "measured.json").write_text(json.dumps(record), encoding="utf-8")
    run = {"lesson": "00", "title": "A | B", "preset": "smoke", "seconds": 9.5, "gigabytes": 0.75, "status": "passed"}
    run |= {"budget_seconds": 25.0, "budget_gigabytes": 2.0}
    summary = {"lessons": [run], "seconds": 9.5, "peak_gigabytes": 0.75}
    (tmp_path / "runs" / "course").mkdir(parents=True)
    (tmp_path / "runs" / "course" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = site.times_page(tmp_path)
    assert "| 00 | `cpu` | 42 | 1.3 |" in page
    assert "| 00 · A \\| B | `smoke` | 9.5 of 25 | 0.75 of 2 | passed |" in page


def test_an_unfinished_summary_is_not_an_error(tmp_path):
    (tmp_path / "runs" / "course").mkdir(parents=True)
    (tmp_path / "runs" / "course" / "summary.json").write_text('{"lessons": [', encoding="utf-8")
    assert "last run" not in site.times_page(tmp_path)


def test_lessons_page_lists_every_lesson_and_links_those_that_are_built():
    names = sorted(path.stem for path in (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
    page = site.lessons_page(ROOT, names[:1])
    assert page.count("](notebooks/") == 1 and f"](notebooks/{names[0]}.ipynb)" in page
    assert all(f"| {'[' if name == names[0] else ''}{name[:2]} · " in page for name in names)


def test_reference_covers_every_public_module():
    pages = site.api_pages(ROOT / "course_lib")
    text = "\n".join(pages.values())
    for name in ("metrics.contour", "data.world.config", "vos.protocol", "viz.widgets.dials"):
        assert f".. automodule:: course_lib.{name}\n" in text
    assert "__init__" not in text
    assert set(site.ROOMS) >= {Path(name).stem for name in pages} - {"index"}
    assert all(f"\n{Path(name).stem}\n" in pages["api/index.md"] for name in pages if name != "api/index.md")


# Staging


def test_unchanged_files_keep_their_time_and_old_ones_go(tmp_path):
    site._write_changed(tmp_path, {Path("a.md"): b"one", Path("b/c.md"): b"two", Path("gone.md"): b"three"})
    os.utime(tmp_path / "a.md", (1, 1))
    site._write_changed(tmp_path, {Path("a.md"): b"one", Path("b/c.md"): b"new"})
    assert (tmp_path / "a.md").stat().st_mtime == 1
    assert (tmp_path / "b" / "c.md").read_bytes() == b"new"
    assert not (tmp_path / "gone.md").exists()


def test_a_folder_without_a_course_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"no docs/conf\.py"):
        site.build_site(tmp_path)


def test_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mathjax, "files", lambda name: None)
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[docs\]'"):
        site.stage(ROOT, tmp_path)


def small_site(tmp_path, monkeypatch, index: str) -> Path:
    """A checkout whose staging holds one page only."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text("html_theme = 'basic'\nextensions = ['myst_parser']\n", encoding="utf-8")

    def stage(root, source):
        wanted = {"conf.py": (root / "docs" / "conf.py").read_bytes(), "index.md": index.encode()}
        site._write_changed(source, {Path(name): content for name, content in wanted.items()})

    monkeypatch.setattr(site, "stage", stage)
    return tmp_path


def test_a_warning_is_an_error_that_shows_the_warning(tmp_path, monkeypatch):
    pytest.importorskip("sphinx")
    with pytest.raises(CourseError, match="nowhere"):
        site.build_site(small_site(tmp_path, monkeypatch, "# Title\n\n{doc}`nowhere`\n"))


def test_returns_the_first_page_and_fresh_starts_over(tmp_path, monkeypatch):
    pytest.importorskip("sphinx")
    root = small_site(tmp_path, monkeypatch, "# Title\n")
    index = site.build_site(root)
    assert index == root / "docs" / "_build" / "html" / "index.html" and "Title" in index.read_text(encoding="utf-8")
    (index.parent / "old.html").touch()
    site.build_site(root, fresh=True)
    assert index.is_file() and not (index.parent / "old.html").exists()
