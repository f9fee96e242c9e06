"""The video engine: one contract for every method that follows objects, and all that runs on it.

Names load on first use: `from course_lib.vos import segment, evaluate`.
"""

from importlib import import_module

_HOME = {
    "OfflineSegmenter": "course_lib.vos.protocol",
    "Report": "course_lib.vos.report",
    "RoundTrip": "course_lib.vos.round_trip",
    "Segmentation": "course_lib.vos.engine",
    "Session": "course_lib.vos.protocol",
    "VideoSegmenter": "course_lib.vos.protocol",
    "evaluate": "course_lib.vos.evaluation",
    "grabcut_labels": "course_lib.vos.start_mask",
    "labels_from_probs": "course_lib.vos.aggregate",
    "load_model": "course_lib.vos.models",
    "open_dataset": "course_lib.vos.datasets",
    "segment": "course_lib.vos.engine",
    "segment_video": "course_lib.vos.engine",
    "soft_aggregate": "course_lib.vos.aggregate",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'course_lib.vos' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
