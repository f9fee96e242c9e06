"""The video engine: one contract for every method that follows objects, and all that runs on it.

Names load on first use: `from course_lib.vos import segment, evaluate`.
"""

from course_lib.lazy import lazy_names

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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
