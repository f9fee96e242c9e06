"""Figures that can also be heard: every one is shown with alt text, at most 800 pixels wide, in one style.

JupyterLab puts no alt attribute on image outputs, and MyST-NB reads it from the cell, not from the output. An HTML
output with a plain `<img alt>` is read alike by both and by nbconvert, and survives JupyterLab's sanitiser in a
notebook that is not trusted, so that is what `show` emits. Pictures are WebP, which is half of PNG.
"""

import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from course_lib.errors import InputError, WriteError
from course_lib.viz.embed import data_uri
from course_lib.viz.overlay import as_picture, enlarge
from course_lib.viz.palette import SERIES

MAX_WIDTH = 800  # pixels
DPI = 80
_LOSSLESS_ENOUGH = 14_000  # bytes; larger pictures are photographs, which lossy compression suits
_CARD = "max-width:100%;height:auto;background:#fff;border-radius:4px"  # white in a dark theme too

STYLE: Any = {  # rcParams; matplotlib types its keys by name
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=SERIES),
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "image.interpolation": "nearest",
}


@contextmanager
def course_style() -> Iterator[None]:
    """The style of the course for the figures made inside the block."""
    with plt.rc_context(STYLE):
        yield


def use_course_style() -> None:
    """The style of the course for every later figure of this process; what a lesson calls in its first cell."""
    plt.rcParams.update(STYLE)


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook with `alt` as its text, and close it.

    Drawn at 80 dots per inch, fewer where it would be wider than 800 pixels. Raises `InputError` on an empty alt.
    """
    _display(_compress(_render(figure)), alt)
    plt.close(figure)


def show_picture(picture: Tensor | np.ndarray, alt: str, scale: int = 1) -> None:
    """Display one frame or overlay, [3, H, W] or [H, W, 3], without axes, enlarged `scale` times; `alt` is its text."""
    _display(_compress(enlarge(as_picture(picture), scale)), alt)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as it would be shown (PNG) and close it. Raises `WriteError` where that is not possible."""
    path = Path(path)
    try:
        Image.fromarray(_render(figure)).save(path, "PNG", optimize=True)
    except OSError as error:
        raise WriteError(f"could not write {path}: {error.strerror or error}") from error
    plt.close(figure)
    return path


def figure_html(content: bytes, alt: str) -> str:
    """An `<img>` with a data URI; content is a WebP file. Raises `InputError` on an empty alt."""
    if not alt.strip():
        raise InputError("alt is empty: say in a sentence what the figure shows, for readers who cannot see it")
    return f'<img src="{data_uri(content, "image/webp")}" alt="{html.escape(alt, quote=True)}" style="{_CARD}">'


def _display(content: bytes, alt: str) -> None:
    from IPython.display import display  # not needed by who only draws

    display({"text/html": figure_html(content, alt), "text/plain": f"Figure: {alt}"}, raw=True)


def _render(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    dpi = min(DPI, MAX_WIDTH / figure.get_figwidth())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return np.asarray(Image.open(buffer).convert("RGB"))


def _compress(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    image, buffer = Image.fromarray(picture), io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    if buffer.tell() > _LOSSLESS_ENOUGH:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=78, method=4)
    return buffer.getvalue()
