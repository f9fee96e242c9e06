"""From tensors to a self-contained piece of HTML: pictures as data URIs, labels as run-length codes, scripts inline.

The static picture comes first and the script replaces it, so a reader without JavaScript (or with an untrusted
notebook, whose scripts JupyterLab removes) still sees the clip. Nothing is loaded from anywhere.
"""

import base64
import html
import io
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from course_lib.errors import InputError


def encode_picture(picture: UInt8[np.ndarray, "h w 3"], quality: int = 75) -> str:
    """A picture as a WebP data URI; quality 1 … 100."""
    if not 1 <= quality <= 100:
        raise InputError(f"quality must lie in 1 … 100, got {quality}")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    return data_uri(buffer.getvalue(), "image/webp")


def shrunk(picture: UInt8[np.ndarray, "h w 3"], width: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture at most `width` pixels wide."""
    if picture.shape[1] <= width:
        return picture
    height = round(picture.shape[0] * width / picture.shape[1])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def encode_within(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], room: float, steps: Sequence[tuple[int, int]]
) -> list[str]:
    """Pictures as data URIs of at most `room` characters together, at the first step at which they fit, else the last.

    steps  width in pixels and quality, from the best to what is still of use
    """
    codes: list[str] = []
    for width, quality in steps:
        codes = [encode_picture(shrunk(picture, width), quality) for picture in pictures]
        if sum(map(len, codes)) <= room:
            break
    return codes


def data_uri(content: bytes, mime: str) -> str:
    """Bytes as a data URI."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def encode_labels(labels: UInt8[np.ndarray, "h w"]) -> str:
    """Run-length code of a label map, row by row, in base64: a value byte, then the length in groups of 7 bits."""
    flat = labels.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    code = bytearray()
    for value, length in zip(flat[starts].tolist(), lengths.tolist()):
        code.append(value)
        while length > 127:
            code.append(length & 127 | 128)
            length >>= 7
        code.append(length)
    return base64.b64encode(bytes(code)).decode("ascii")


def decode_labels(code: str, height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """The inverse of `encode_labels`."""
    content = base64.b64decode(code)
    values, lengths, at = [], [], 0
    while at < len(content):
        values.append(content[at])
        length, shift = 0, 0
        while True:
            at += 1
            length |= (content[at] & 127) << shift
            shift += 7
            if not content[at] & 128:
                break
        lengths.append(length)
        at += 1
    return np.repeat(np.array(values, dtype=np.uint8), lengths).reshape(height, width)


@cache
def asset(name: str) -> str:
    """Text of a script or style sheet of this package, without comment lines and indentation: it is sent often."""
    text = (files("course_lib.viz") / "assets" / name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"


def fragment(kind: str, scripts: tuple[str, ...], mount: str, data: dict[str, Any], poster: str, alt: str) -> str:
    """A piece of HTML that shows `poster` (a data URI) and, where scripts run, calls `mount(host, data)` in its place.

    kind: marks the elements that this script may take; scripts: assets it needs. May stand on a page many times.
    """
    code = "\n".join(asset(name) for name in scripts)
    content = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="course-viz" data-course-viz="{kind}">'
        f"<style>{asset('viz.css')}</style>"
        f'<img class="cv-poster" src="{poster}" alt="{html.escape(alt, quote=True)}">'
        f'<script type="application/json">{content}</script></div>'
        f'<script>(() => {{\nconst KIND = "{kind}";\n{code}\nconst mount = {mount};\n{asset("start.js")}}})();</script>'
    )


def page(title: str, body: str) -> str:
    """A whole HTML file around a fragment."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        "<style>:root { color-scheme: light dark } body { font-family: system-ui, sans-serif; margin: 1rem }</style>"
        f"</head><body>{body}</body></html>\n"
    )
