"""Everything that is looked at: overlays, players, figures with alt text, and (in `course_lib.viz.widgets`) widgets.

Overlays and players load at once; figures, which need matplotlib, on first use.
"""

from course_lib.lazy import lazy_names
from course_lib.viz.overlay import overlay as overlay
from course_lib.viz.overlay import overlay_errors as overlay_errors
from course_lib.viz.palette import object_colour as object_colour
from course_lib.viz.palette import object_palette as object_palette
from course_lib.viz.player import Player as Player
from course_lib.viz.player import player as player

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

__getattr__, __dir__, __all__ = lazy_names(
    __name__, _HOME, here=["Player", "object_colour", "object_palette", "overlay", "overlay_errors", "player"]
)
