"""The script that typesets formulas in web pages, from a package on this machine, so that pages need no network."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from course_lib.errors import MissingDataError

MATHJAX = "mathjax/tex-svg-full.js"
_PACKAGE = "sphinx-mathjax-offline"  # declared for this one file
CONFIGURE = """<script>window.MathJax = {tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], processEscapes: true},
options: {enableMenu: false}, svg: {fontCache: "local"}}</script>"""  # for pages that are not made by Sphinx


def mathjax_script() -> Path:
    """Path of the script. Raises `MissingDataError` where the package of the `docs` extra is missing."""
    try:
        found = [path for path in files(_PACKAGE) or () if path.as_posix().endswith(MATHJAX)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise MissingDataError(
            "the packages that build the site are missing: install the project with its extra, pip install -e '.[docs]'"
        )
    return Path(found[0].locate())
