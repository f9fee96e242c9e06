"""Settings of the web site; `course_lib.site` stages the sources, adds the generated pages, and calls Sphinx."""

import re
import textwrap
from itertools import takewhile

from course_lib import __version__

project = "Seeing through time"
author = "The Seeing Through Time authors"
copyright = author
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = []

# Notebooks are shown as they were executed; nothing runs here, and no widget script is loaded from anywhere. A widget's
# output carries plain HTML beside its live view, and that is what is shown.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header",  # lessons may skip a heading level
    "mystnb.unknown_mime_type",  # a live view has nothing to say on paper
]

# One file with SVG output: no fonts, nothing fetched later, and it also works from file://.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "local"}}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # PyTorch says things about `forward` that are not for here
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False, "undoc-members": False}
python_maximum_signature_line_length = 100
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_copy_source = True
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "use_repository_button": False,
    "show_navbar_depth": 1,
    "show_prev_next": True,
    "extra_footer": "",
}


def plain_docstring(text: str) -> str:
    """A docstring of the library (prose with `code`, examples, aligned blocks) as unmistakable reStructuredText.

    Paragraphs stay paragraphs, "- " lines a list; examples and whatever is aligned are shown as they stand.
    """
    blocks = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        lines = block.splitlines()
        prose = list(takewhile(lambda line: not _aligned(line), lines))
        if not block.strip():
            continue
        if lines[0].lstrip().startswith(">>>"):
            blocks.append(_verbatim(lines, "pycon"))
        elif lines[0].startswith("- "):
            blocks.append("\n".join(("" if line.startswith("- ") else "  ") + _escape(line.strip()) for line in lines))
        else:
            blocks.append(" ".join(map(_escape, prose)))
            if len(prose) < len(lines):
                blocks.append(_verbatim(lines[len(prose) :], "text"))
    return "\n\n".join(blocks)


def _aligned(line: str) -> bool:
    return line.startswith(" ") or re.match(r"\S+(, \S+)* {2,}\S", line) is not None


def _verbatim(lines: list[str], language: str) -> str:
    return f".. code-block:: {language}\n\n" + textwrap.indent(textwrap.dedent("\n".join(lines)), "   ")


def _escape(line: str) -> str:
    """Code between single backticks becomes literal text; everywhere else the characters of the markup are escaped."""
    parts = re.split(r"`+([^`]+)`+", line)
    for i, part in enumerate(parts):
        parts[i] = f"\\ ``{part}``\\ " if i % 2 else re.sub(r"([\\*`|_])", r"\\\1", part)
    return "".join(parts).strip()


def _process_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = [*plain_docstring("\n".join(lines)).splitlines(), ""]


def setup(app):
    """Connect the docstring reader."""
    app.connect("autodoc-process-docstring", _process_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
