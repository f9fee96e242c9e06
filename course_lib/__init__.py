"""Image and video understanding in hard conditions: the library behind the course.

The few names a newcomer needs are here and load on first use; everything else is imported from its room,
for example `from course_lib.data.synthetic import World`.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("seeing-through-time")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_HOME = {
    "Clip": "course_lib.data.clip",
    "load_model": "course_lib.vos.models",
    "segment_video": "course_lib.vos.engine",
    "evaluate": "course_lib.vos.evaluation",
}

__all__ = ["Clip", "__version__", "evaluate", "load_model", "segment_video"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'course_lib' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
