"""A strip with the colour and the name of each class, to stand below pictures that are painted with them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from course_lib.errors import InputError
from course_lib.viz.palette import object_palette

_BACKGROUND, _INK = (255, 255, 255), (34, 34, 34)


def legend_strip(names: Sequence[str], width: int, text: int = 12) -> UInt8[np.ndarray, "h w 3"]:
    """Names 1, 2, … of `overlay`'s colours beside a patch of each, in as many rows as `width` pixels need.

    text  height of the letters in pixels

    Returns [H, width, 3] RGB; H is even, as video needs it. Raises `InputError` if a name does not fit into a row.
    """
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", text)
    line, gap = text + 6, text // 2
    places, x, y = [], gap, 0
    for name in names:
        wide = text + gap + round(font.getlength(name)) + 2 * gap
        if gap + wide > width:
            raise InputError(f"{name!r} needs {gap + wide} pixels of width at letters of {text}, there are {width}")
        if x + wide > width:
            x, y = gap, y + line
        places.append((x, y))
        x += wide
    height = y + line + (y + line) % 2
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    colours = object_palette()
    for label, (name, (left, top)) in enumerate(zip(names, places), start=1):
        box = (left, top + 3, left + text - 1, top + 2 + text)
        draw.rectangle(box, fill=tuple(int(c) for c in colours[label]), outline=_INK)
        draw.text((left + text + gap, top + line / 2), name, fill=_INK, font=font, anchor="lm")
    return np.asarray(picture)
