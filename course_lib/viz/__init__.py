"""Everything that is looked at: overlays, players, figures with alt text, and (in `course_lib.viz.widgets`) widgets.

Overlays and players load at once; figures, which need matplotlib, on first use.
"""

from importlib import import_module

from course_lib.viz.overlay import overlay, overlay_errors
from course_lib.viz.palette import object_colour, object_palette
from course_lib.viz.player import Player, player

_HOME = {
    "course_style": "course_lib.viz.figure",
    "show": "course_lib.viz.figure",
    "show_picture": "course_lib.viz.figure",
    "use_course_style": "course_lib.viz.figure",
    "frame_strip": "course_lib.viz.plots",
    "interval_bars": "course_lib.viz.plots",
    "plot_memory": "course_lib.viz.plots",
    "plot_over_time": "course_lib.viz.plots",
    "flow_to_color": "course_lib.viz.flow",
    "flow_wheel": "course_lib.viz.flow",
    "save_gif": "course_lib.viz.gif",
}

__all__ = [
    "Player",
    "course_style",
    "flow_to_color",
    "flow_wheel",
    "frame_strip",
    "interval_bars",
    "object_colour",
    "object_palette",
    "overlay",
    "overlay_errors",
    "player",
    "plot_memory",
    "plot_over_time",
    "save_gif",
    "show",
    "show_picture",
    "use_course_style",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'course_lib.viz' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
