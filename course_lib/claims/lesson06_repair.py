"""Claims of lesson 06 about classes: which of them carrying costs most, and what refinement gives back.

M. Paul (2023), section 3.4.4.1, table 3.1. Thin and moving classes are pole and person, large static ones road and sky.
Clips, frames and scores as in `lesson06.py`, which lists all claims; a clip that lacks the classes drops out.
"""

from course_lib.claims.families import propagation

_CLASSES = "3.4.4"
_LOST = "IoU lost by carrying: of pole and person minus three times that of road and sky"
_GIVEN = "IoU gained by refinement: of pole and person minus of road and sky"

_LOSSES = tuple(
    propagation(
        f"06{name}-class-losses-{every}",
        f"Thin and moving classes lose most, large static ones least{given}, after {steps}.",
        f"{_LOST}, S = {every}{given}, last frames of periods",
        ("pole, person", "3 x road, sky"),
        f"comparisons:{run}class_losses_at_{every}",
        minutes,
        _CLASSES,
        table="" if name else "3.1",
        kind="control" if name else "thesis",
        unit="IoU",
        published=() if name else printed,
        note="" if name else "Three times as much counts as most.",
    )
    for every, steps, printed in (
        (2, "one step", (("IoU lost, pole", 4.6, "points"), ("person", 3.0, "points"), ("road", 0.1, "points"))),
        (5, "four steps", (("IoU lost, pole", 14.8, "points"), ("person", 12.0, "points"), ("road", 0.6, "points"))),
    )
    for name, given, run, minutes in (("", "", "", 0.1), ("-oracle", ", truth on key frames", "oracle_", 0.1))
)

_REFINED = (
    propagation(
        "06-refine-2",
        "Refinement recovers part of the loss of one step.",
        "mIoU refined minus mIoU carried, S = 2, last frames of periods",
        ("refined", "carried"),
        "comparisons:refined_and_carried_at_2",
        0.5,
        _CLASSES,
        table="3.1",
        method="EVS, refinement",
        published=(("mIoU, EVS 02", 66.8, "%"), ("EVS 03", 66.2, "%")),
        note="Nothing is trained for it, as far as the thesis says: it is the segmenter on carried deep features.",
    ),
    propagation(
        "06-refine-5",
        "Refinement recovers part of the loss of four steps.",
        "mIoU refined minus mIoU carried, S = 5, last frames of periods",
        ("refined", "carried"),
        "comparisons:refined_and_carried_at_5",
        0.4,
        _CLASSES,
        table="3.1",
        method="EVS, refinement",
        published=(("mIoU, EVS 06", 63.0, "%"), ("EVS 07", 62.2, "%")),
    ),
    propagation(
        "06-refine-classes-2",
        "It is thin and moving classes that refinement helps, after one step.",
        f"{_GIVEN}, S = 2, last frames of periods",
        ("pole, person", "road, sky"),
        "comparisons:class_recoveries_at_2",
        0.1,
        _CLASSES,
        table="3.1",
        method="EVS, refinement",
        unit="IoU",
        published=(("IoU gained, pole", 3.0, "points"), ("person", 2.1, "points"), ("road", 0.0, "points")),
    ),
    propagation(
        "06-refine-classes-5",
        "It is thin and moving classes that refinement helps, after four steps.",
        f"{_GIVEN}, S = 5, last frames of periods",
        ("pole, person", "road, sky"),
        "comparisons:class_recoveries_at_5",
        0.1,
        _CLASSES,
        table="3.1",
        method="EVS, refinement",
        unit="IoU",
        published=(("IoU gained, pole", 4.7, "points"), ("person", 5.7, "points"), ("road", -0.2, "points")),
    ),
    propagation(
        "06-refine-inside",
        "Refined answers belong only where labels are inconsistent: using them everywhere is worse.",
        "mIoU refined inside the mask (3.3) minus mIoU refined everywhere, S = 5, last frames of periods",
        ("inside", "everywhere"),
        "comparisons:inside_mask_and_everywhere",
        0.4,
        "3.3.4",
        kind="control",
        method="EVS, refinement",
        note="The mask is what equation 3.4 is about, and is not tested there. In a trial everywhere was better.",
    ),
    propagation(
        "06-check-vectors",
        "Comparing labels, as in equation 3.3, misses what comparing vectors finds.",
        "mIoU refined where labels or flow vectors do not return minus mIoU refined where labels do not, S = 5, last "
        "frames of periods",
        ("labels or vectors", "labels"),
        "comparisons:vectors_too_and_labels",
        0.4,
        "3.3.4",
        kind="control",
        method="EVS, refinement",
        note="With exact flow the check of labels is silent where something comes into view: its ghost returns to the "
        "object it was copied from.",
    ),
    propagation(
        "06-refiner-cost",
        "The refiner costs about half of the network.",
        "processor milliseconds of the refiner over those of the network, published ICNet, 256x512",
        ("refiner", "none"),
        "comparison_speed:refiner_and_network",
        0.2,
        "3.3.5",
        method="EVS, refinement",
        unit="of the network",
        threshold=0.6,
        less=True,
        published=(("share, from table 3.2", 0.57, ""),),
        note="Below six tenths counts as about half. A trial gave 0.5 to 0.56.",
    ),
    propagation(
        "06-static-gain",
        "Large static classes gain by being carried.",
        "IoU of fence and terrain at S = 2 minus that of ICNet on each frame, last frames of periods",
        ("carried", "each frame"),
        "comparisons:static_carried_and_each_frame",
        0.1,
        _CLASSES,
        table="3.1",
        unit="IoU",
        published=(("IoU gained, wall", 2.0, "points"), ("terrain", 0.6, "points"), ("fence", 0.4, "points")),
        note="There is no wall here.",
    ),
)

REPAIR = _LOSSES + _REFINED
