"""Image and video understanding in hard conditions: the library behind the course.

The few names a newcomer needs are here and load on first use; everything else is imported from its room,
for example `from course_lib.data.synthetic import World`.
"""

from importlib.metadata import PackageNotFoundError, version

from course_lib.lazy import lazy_names

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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, here=["__version__"])
