"""The difficulty dials: turn one, get another film of the synthetic world, and see what it does to a method.

Rendering needs the kernel; the copy without one is a player of the film as the dials stood. Built for lesson 00.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from course_lib.data.synthetic import SyntheticClip, World, WorldConfig
from course_lib.data.world.config import CORRUPTIONS
from course_lib.errors import InputError
from course_lib.viz.embed import asset
from course_lib.viz.player import Player, player
from course_lib.viz.widgets.bundle import with_fallback

Method = Callable[[SyntheticClip], tuple[Tensor, float]]


@dataclass(frozen=True)
class Dial:
    """One dial: a field of `WorldConfig` (or the film's number) and the range it is turned through."""

    name: str
    label: str
    help: str
    low: float = 0
    high: float = 1
    step: float = 0.05
    options: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """As dials_widget.js wants it."""
        known = {"name": self.name, "label": self.label, "help": self.help}
        if self.options:
            return {**known, "options": list(self.options)}
        return {**known, "min": self.low, "max": self.high, "step": self.step}


DIALS = (
    Dial("n_objects", "objects", "how many objects are labelled", 1, 8, 1),
    Dial("size", "size", "larger side of an object, as a share of the picture", 0.1, 0.6, 0.05),
    Dial("speed", "speed", "picture sides per second", 0, 3, 0.1),
    Dial("occlusion", "occlusion", "how much of object 1 a panel hides; needs a size of at most 0.35", 0, 1, 0.1),
    Dial("lookalikes", "look-alikes", "how many other objects are twins of object 1", 0, 7, 1),
    Dial("clutter", "clutter", "unlabelled shapes behind the objects", 0, 1, 0.1),
    Dial("corruption", "corruption", "what spoils the frames", options=CORRUPTIONS),
    Dial("severity", "severity", "how badly, 1 to 5", 0, 5, 1),
    Dial("seed", "film", "another film of the same difficulty", 0, 99, 1),
)


class DifficultyDials(anywidget.AnyWidget):
    """Dials over the synthetic world, with an optional method whose masks and score are shown beside the truth.

    method: clip -> (labels [T, H, W] uint8, score); None shows the truth only. start: where the dials stand at first.
    length: frames; image_size: side in pixels; seed: number of the first film; score: what the number is called.
    `config` and `clip` give the present setting and film. A setting that contradicts itself, or an error of the method,
    is explained below the dials and leaves the last film standing.
    """

    _esm = "\n".join(asset(name) for name in ("common.js", "player.js", "dials_widget.js"))
    _css = asset("viz.css")
    content = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    reply = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        method: Method | None = None,
        *,
        start: WorldConfig | None = None,
        length: int = 24,
        image_size: int = 96,
        seed: int = 0,
        fps: float = 8,
        score: str = "J",
    ) -> None:
        start = start if start is not None else WorldConfig(n_objects=2, speed=0.5)
        self._base = replace(start, length=length, height=image_size, width=image_size, dense_truth=False)
        self._method, self._fps, self._score = method, fps, score
        if not 0 <= seed <= 99:
            raise InputError(f"seed must lie in 0 … 99, the films of the dial; got {seed}")
        self.config, self.clip = self._base, World(self._base).clip(seed)
        self._player, result = self._show(self.clip)
        names = [dial.name for dial in DIALS if dial.name != "seed"]
        super().__init__(
            content={"dials": [dial.described() for dial in DIALS]},
            values={**{name: getattr(start, name) for name in names}, "seed": seed},
            reply={"clip": self._player.data, "result": result, "error": "", "number": 0},
        )
        self.observe(self._turned, names="values")

    def turn(self, **settings: float | str) -> None:
        """Set dials from Python, as in `turn(occlusion=1.0, size=0.3)`. Raises `InputError` on an unknown dial."""
        unknown = sorted(set(settings) - {dial.name for dial in DIALS})
        if unknown:
            raise InputError(f"unknown dial {', '.join(unknown)}; there are {', '.join(dial.name for dial in DIALS)}")
        self.values = {**self.values, **settings}

    def _turned(self, change: dict[str, Any]) -> None:
        number = self.reply["number"] + 1
        settings = {name: value for name, value in change["new"].items() if name != "order"}
        seed = int(settings.pop("seed"))
        try:
            whole = {"n_objects", "lookalikes", "severity"}
            typed: dict[str, Any] = {name: int(value) if name in whole else value for name, value in settings.items()}
            config = replace(self._base, **typed)
            clip = World(config).clip(seed)
            shown, result = self._show(clip)
        except Exception as error:  # a callback's traceback would end up in a log that nobody reads
            name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self.reply = {"clip": None, "result": self.reply["result"], "error": f"{name}{error}", "number": number}
            return
        self.config, self.clip, self._player = config, clip, shown
        self.reply = {"clip": shown.data, "result": result, "error": "", "number": number}

    def _show(self, clip: SyntheticClip) -> tuple[Player, str]:
        tracks: dict[str, Any] = {"truth": (clip.frames, clip.labels)}
        result = ""
        if self._method is not None:
            labels, score = self._method(clip)
            tracks["method"] = (clip.frames, labels)
            result = f"{self._score} = {score:.3f}"
        alt = "A film of the synthetic world with its objects coloured" + (f"; {result}" if result else "")
        scale = max(1, round(200 / clip.frames.shape[3]))
        captions = None if not result else [f"{result} over the whole film"] * len(clip)
        return player(tracks, self._fps, captions, alt=alt, scale=scale, max_kilobytes=120), result

    def fallback_html(self) -> str:
        """The present film in a player that needs no kernel."""
        return self._player._repr_html_()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        text = f"Difficulty dials. {self._player.alt}. Run this cell to use them."
        return with_fallback(super()._repr_mimebundle_(**kwargs), self.fallback_html(), text)
