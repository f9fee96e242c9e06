"""Claims of lesson 06 about motion: which flow, how far it can be trusted, and what the past adds to every frame.

M. Paul (2023), sections 3.3.3, 3.4.3 and 3.4.4. Flows are compared with the truth on key frames, so that nothing else
goes wrong. Clips, frames and scores as in `lesson06.py`, which lists all claims.
"""

from course_lib.claims.families import propagation

_FIGURE = "Figure 3.6 has curves and no numbers."
_INCONSISTENT = "share of pixels whose carried label does not survive the way back and forth again"
_ROUND = "Of the truth carried as labels, along all steps back and forth; how far back is not said there."

_FLOW = (
    propagation(
        "06-dis-1",
        "DIS flow carries better than Farnebäck's from the first step on.",
        "mIoU after 1 step with DIS minus with Farnebäck, truth on key frames",
        ("DIS", "Farnebäck"),
        "comparisons:dis_and_farneback_1",
        1.0,
        "3.4.3",
        method="DIS flow",
        note=f"{_FIGURE} DIS works here on as fine a grid as small frames need: at the thesis's finest scale it does "
        "not see poles in frames 128 pixels high.",
    ),
    propagation(
        "06-dis-4",
        "DIS flow carries better than Farnebäck's over four steps, too.",
        "mIoU after 4 steps with DIS minus with Farnebäck, truth on key frames",
        ("DIS", "Farnebäck"),
        "comparisons:dis_and_farneback_4",
        0.1,
        "3.4.3",
        method="DIS flow",
        note=_FIGURE,
    ),
    propagation(
        "06-dis-faster",
        "DIS is faster than Farnebäck.",
        "processor milliseconds of one flow by Farnebäck minus by DIS, 128x256, in turns, one thread",
        ("Farnebäck", "DIS"),
        "comparison_speed:farneback_and_dis",
        0.1,
        "3.4.3",
        method="DIS flow",
        unit="ms",
        published=(("DIS, 2048x1024, at most", 5, "ms"),),
    ),
    propagation(
        "06-dis-settings",
        "More expensive settings of DIS hardly help.",
        "mIoU after 4 steps with DIS medium minus with DIS ultrafast, truth on key frames",
        ("medium", "ultrafast"),
        "comparisons:medium_and_ultrafast",
        0.6,
        "3.4.3",
        method="DIS flow",
        threshold=0.01,
        less=True,
        published=(("mIoU changed, at most", 0.2, "points"),),
        note="Less than one point counts as hardly.",
    ),
    propagation(
        "06-exact-flow",
        "What is lost on the way is flow's fault: exact flow would lose less.",
        "mIoU after 4 steps with the world's exact flow minus with DIS, truth on key frames",
        ("exact", "DIS"),
        "comparisons:exact_and_dis",
        1.4,
        "3.4.4",
        kind="control",
        method="DIS flow",
        note="The thesis blames flow at boundaries, thin objects and occlusions, where no flow is right: what comes "
        "into view has no past. A first trial had DIS ahead.",
    ),
    propagation(
        "06-literal",
        "Flow must start in the new frame: equation 3.1 as printed, which reads it in the old one, is worse.",
        "mIoU after 4 steps with flow from the new frame to the old minus with the printed form, truth on key frames",
        ("from the new", "as printed"),
        "comparisons:standard_and_literal",
        0.3,
        "3.3.3",
        kind="control",
        note="The printed form needs one flow per pair of frames for both ways.",
    ),
    propagation(
        "06-consistent-1",
        "Flow agrees with itself nearly everywhere from one frame to the next.",
        f"{_INCONSISTENT}, 1 step",
        ("inconsistent", "none"),
        "comparisons:inconsistent_after_1",
        0.1,
        "3.4.3",
        method="inconsistency",
        unit="of pixels",
        threshold=0.02,
        less=True,
        published=(("share after 1 step, at most", 1, "%"),),
        note=_ROUND,
    ),
    propagation(
        "06-consistent-4",
        "After four steps, less than a twentieth is inconsistent.",
        f"{_INCONSISTENT}, 4 steps",
        ("inconsistent", "none"),
        "comparisons:inconsistent_after_4",
        0.1,
        "3.4.3",
        method="inconsistency",
        unit="of pixels",
        threshold=0.05,
        less=True,
        published=(("share after 4 steps, at most", 5, "%"),),
        note=_ROUND,
    ),
    propagation(
        "06-consistent-growth",
        "Inconsistency grows with every step.",
        f"{_INCONSISTENT}: 4 steps minus 1 step",
        ("4 steps", "1 step"),
        "comparisons:inconsistent_4_and_1",
        0.1,
        "3.4.3",
        method="inconsistency",
        unit="of pixels",
        note=f"{_ROUND} On a few small frames, going back one step alone, it did not grow; hence both readings.",
    ),
    propagation(
        "06-consistent-growth-last",
        "Inconsistency of the last step alone grows with every step, too.",
        "share of pixels whose carried label does not survive one step back and forth again: after 4 steps minus 1",
        ("after 4 steps", "after 1 step"),
        "comparisons:inconsistent_4_and_1_last_step",
        0.1,
        "3.4.3",
        kind="control",
        method="inconsistency",
        unit="of pixels",
        note="The other reading of how far back labels go.",
    ),
)

_BLEND = (
    propagation(
        "06-blend",
        "Blending every segmented frame with its carried past does no harm.",
        "mIoU of ICNet blended with the past (EVS 01) minus mIoU of ICNet alone, all frames",
        ("blended", "alone"),
        "comparisons:blended_and_each_frame",
        0.7,
        "3.4.4",
        table="3.2",
        method="EVS 01",
        threshold=-0.002,
        published=(("mIoU, EVS 01", 67.6, "%"), ("ICNet", 67.3, "%")),
        note="Two tenths of a point count as harm. Half of the past is kept where labels are consistent; read "
        "literally, equation 3.4 would keep all of it, for ever.",
    ),
    propagation(
        "06-blend-steady",
        "It makes answers steadier along the motion.",
        "mIoU between labels and those of the frame before carried along exact flow, pixels seen in both: of ICNet "
        "blended with the past minus of ICNet alone",
        ("blended", "alone"),
        "comparisons:steadiness_blended_and_each_frame",
        2.4,
        "3.4.4",
        kind="control",
        method="EVS 01",
        unit="temporal consistency",
        note="Suggested there, not measured.",
    ),
)

MOTION = _FLOW + _BLEND
