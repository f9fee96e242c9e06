"""A widget whose page computes everything: with a kernel it follows Python, without one it is the same instrument.

What such widgets share: the copy without a kernel, a still for readers without scripts, and a two-way state. Unusual:
the still is a matplotlib figure that a lesson can also show by itself.
"""

import io
import json
from typing import Any, ClassVar

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from course_lib.viz.embed import asset, encode_picture, fragment
from course_lib.viz.widgets.bundle import with_fallback

_STILL_WIDTH = 520  # pixels


def live_script(scripts: tuple[str, ...], mount: str, traits: tuple[str, ...]) -> str:
    """The module that a notebook loads: the scripts, then `mount` tied to the traits of the Python object."""
    code = "".join(asset(name) for name in scripts)
    return f"{code}const MOUNT = {mount};\nconst TRAITS = {json.dumps(traits)};\n{asset('live_widget.js')}"


class PageWidget(anywidget.AnyWidget):
    """Base of widgets made of `content`, which stays, and of the traits named in `STATE`, which page and Python share.

    A subclass sets the four names below, `_esm = live_script(SCRIPTS, MOUNT, STATE)`, and defines `figure` and
    `summary`.
    """

    KIND: ClassVar[str]
    SCRIPTS: ClassVar[tuple[str, ...]]
    MOUNT: ClassVar[str]
    STATE: ClassVar[tuple[str, ...]]
    _css = asset("viz.css")
    content = traitlets.Dict().tag(sync=True)

    def figure(self) -> Figure:
        """What the widget shows at the moment, for print and for readers without scripts."""
        raise NotImplementedError(f"{type(self).__name__} must define figure()")

    def summary(self) -> str:
        """The same in a sentence."""
        raise NotImplementedError(f"{type(self).__name__} must define summary()")

    @property
    def kilobytes(self) -> float:
        """Size of the copy without a kernel in units of 1000 bytes."""
        return len(self.fallback_html().encode()) / 1000

    def fallback_html(self) -> str:
        """The same instrument without a kernel."""
        data = {**self.content, "state": {name: getattr(self, name) for name in self.STATE}}
        alt = f"{self.content['alt']} {self.summary()}"
        poster = encode_picture(_drawn(self.figure()), 30)
        return fragment(self.KIND, self.SCRIPTS, self.MOUNT, data, poster, alt)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        text = f"{self.summary()} Run this cell to use the widget."
        return with_fallback(super()._repr_mimebundle_(**kwargs), self.fallback_html(), text)


def _drawn(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_STILL_WIDTH / figure.get_figwidth(), facecolor="white")
    plt.close(figure)
    return np.asarray(Image.open(buffer).convert("RGB"))
