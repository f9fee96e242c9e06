"""How well a result agrees with the truth: masks, semantic labels, boxes, tracks.

J and F of video object segmentation are the heart; everything is computed on the CPU from NumPy arrays or tensors,
except the confusion matrix, which counts where its labels lie.
"""

from course_lib.metrics.box_tracking import BoxTrackScore, box_track_score
from course_lib.metrics.boxes import box_iou, boxes_from_masks
from course_lib.metrics.confusion import ConfusionMatrix
from course_lib.metrics.contour import boundary_map, contour_accuracy, region_similarity
from course_lib.metrics.many import evaluate_sequences
from course_lib.metrics.mot import MotScore, combine_mot_scores, mot_scores
from course_lib.metrics.sequence import SequenceScore, evaluate_labels
from course_lib.metrics.statistics import Statistics, statistics
from course_lib.metrics.summary import DavisSummary, YouTubeVosSummary, davis_summary, youtube_vos_summary
from course_lib.metrics.tracks import BoxTracks
from course_lib.metrics.unsupervised import ProposalScore, evaluate_proposals

__all__ = [
    "BoxTrackScore",
    "BoxTracks",
    "ConfusionMatrix",
    "DavisSummary",
    "MotScore",
    "ProposalScore",
    "SequenceScore",
    "Statistics",
    "YouTubeVosSummary",
    "boundary_map",
    "box_iou",
    "box_track_score",
    "boxes_from_masks",
    "combine_mot_scores",
    "contour_accuracy",
    "davis_summary",
    "evaluate_labels",
    "evaluate_proposals",
    "evaluate_sequences",
    "mot_scores",
    "region_similarity",
    "statistics",
    "youtube_vos_summary",
]
