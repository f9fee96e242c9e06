"""Claims of lesson 07 about where a memory looks, and how what it finds is fused with the present.

M. Paul (2023), sections 4.3.3 and 4.4.2, tables 4.2 and 4.3. Rows, clips and scores as in `lesson07.py`, which lists
all claims.
"""

from course_lib.claims.families import local_memory

_ABLATED = "4.4.2"
_MARGIN = "Three tenths of a point count as equal."

WHERE = (
    local_memory(
        "07-window",
        "Looking around is better than looking at the same place only.",
        "mIoU with windows of 7 cells minus mIoU with windows of 1",
        ("7 cells", "1 cell"),
        "comparisons:window_and_same_place",
        8.0,
        _ABLATED,
        table="4.2",
        published=(("mIoU, R = 21", 73.72, "%"), ("R = 1", 72.94, "%")),
        note="Windows of 7 cells reach 12 pixels; the camera pans by 2 to 6 a frame. In a first trial on similar clips "
        "one cell was better in all of four settings.",
    ),
    local_memory(
        "07-window-large",
        "Windows of 11 cells are better than looking at the same place only.",
        "mIoU with windows of 11 cells minus mIoU with windows of 1",
        ("11 cells", "1 cell"),
        "comparisons:large_window_and_same_place",
        9.0,
        _ABLATED,
        table="4.2",
        published=(("mIoU, R = 41", 73.64, "%"), ("R = 1", 72.94, "%")),
    ),
    local_memory(
        "07-window-past",
        "Of what the past itself adds, more is found by looking around.",
        "mIoU gained over Ctl-self: with windows of 7 cells minus with windows of 1",
        ("7 cells", "1 cell"),
        "comparisons:window_and_same_place_over_self",
        8.0,
        _ABLATED,
        kind="control",
        note="Each beside a Ctl-self of its own window.",
    ),
    local_memory(
        "07-local",
        "A window is as good as looking everywhere.",
        "mIoU with windows of 7 cells minus mIoU with windows that hold all places",
        ("local", "global"),
        "comparisons:local_and_global",
        12.0,
        _ABLATED,
        table="4.2",
        threshold=-0.003,
        published=(("mIoU, R = 21", 73.72, "%"), ("global", 73.49, "%")),
        note=f"{_MARGIN} Scores are scaled alike here; in the public release only those of the global reader are.",
    ),
    local_memory(
        "07-gated",
        "Gates fuse past and present better than concatenation.",
        "mIoU with gated fusion minus mIoU with concatenation",
        ("gated", "concatenated"),
        "comparisons:gated_and_concatenated",
        8.0,
        _ABLATED,
        table="4.3",
        published=(("mIoU, gated", 73.37, "%"), ("concatenated", 73.14, "%")),
        note="The text says 0.33 points, the table has 0.23.",
    ),
    local_memory(
        "07-scale",
        "Scores need no division by the root of the key's width.",
        "mIoU with scores as printed minus mIoU with scores divided by the root of the key's width",
        ("as printed", "divided"),
        "comparisons:plain_and_scaled",
        8.0,
        "4.3.3",
        kind="control",
        threshold=-0.003,
        note=f"Equation 4.4 has no division, and no row without. {_MARGIN}",
    ),
)
