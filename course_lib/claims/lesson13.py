"""Claims of lesson 13: what an adaptive memory gains, costs and loses against other memories on the same weights.

All come from one network and, for each kind of clip, the same clips; only the bank differs. The random seeds are not
those of the trials in which the experiments were set up. `minutes` counts a run that claims share once, at the first.
Claims about regularising attention, for which networks are trained, stand in `lesson13_regularisers`.
"""

from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.lesson13_occlusion import OCCLUSION
from course_lib.claims.lesson13_regularisers import REGULARISERS

_SEEDS = (10, 11, 12, 13, 14)
_ROOM = "course_lib.methods.space_time_memory"
_COMPARISONS = f"{_ROOM}.comparisons"
_SPEED = f"{_ROOM}.comparison_speed"
_CHANGING = "clips of 200 frames whose objects change in texture, shape and light"
_LACKING = "A control that the thesis lacks."


def _source(section: str, table: str = "", kind: str = "thesis") -> Source:
    return Source("A. Pourganjalikhan", 2021, section, table, kind)


_POLICIES = (
    Claim(
        id="13-adaptive-first-latest",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5", table="1, 2"),
        statement="At equal size, an adaptive memory of two frames beats keeping the first and the latest frame.",
        effect=f"J&F of the adaptive memory of two frames minus J&F of first-and-latest, {_CHANGING}",
        unit="J&F",
        conditions=("adaptive", "first and latest"),
        experiment=f"{_COMPARISONS}:adaptive_and_first_latest",
        seeds=_SEEDS,
        minutes=3.8,
        published=(
            Published("J&F gained on DAVIS 2016", 1.4, "points"),
            Published("on DAVIS 2017", 1.9, "points"),
            Published("on YouTube-VOS", 0.6, "points"),
        ),
        note="Here 3 cells answer one query cell, 1 % of two frames' worth; the thesis does not say how many there.",
    ),
    Claim(
        id="13-short-clips",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.2", table="1"),
        statement="On short clips an adaptive memory of two frames is close to one that keeps every fifth frame.",
        effect="J&F of the adaptive memory of two frames minus J&F of every-5, first 60 frames of clips whose objects "
        "change",
        unit="J&F",
        conditions=("adaptive", "every 5"),
        threshold=-0.02,
        experiment=f"{_COMPARISONS}:adaptive_and_every_k_short",
        seeds=_SEEDS,
        minutes=1.9,
        published=(
            Published("J&F lost on DAVIS 2016", 0.8, "points"),
            Published("on DAVIS 2017", 0.9, "points"),
        ),
        note="Close means at most 2 points behind, about twice what is published. DAVIS clips have about 70 frames.",
    ),
    Claim(
        id="13-length-gap",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.3", table="1, 2"),
        statement="The longer the clip, the further an adaptive memory of two frames falls behind one that keeps every "
        "fifth frame.",
        effect="J&F of every-5 minus J&F of the adaptive memory of two frames: over 200 frames minus over the first 60 "
        "of the same clips",
        unit="J&F",
        conditions=("200 frames", "60 frames"),
        experiment=f"{_COMPARISONS}:gap_long_and_short",
        seeds=_SEEDS,
        minutes=0.1,
        published=(
            Published("gap on DAVIS 2017", 0.9, "points"),
            Published("gap on YouTube-VOS", 3.0, "points"),
        ),
        note="The thesis explains the larger gap on YouTube-VOS by longer videos; the two sets differ in more than "
        "that, the two lengths here do not.",
    ),
    Claim(
        id="13-constant-memory",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5", table="3"),
        statement="An adaptive memory does not grow: a clip of any length costs the same memory.",
        effect="kilobytes of cells in the adaptive memory of two frames, at the end of 200 frames minus at a quarter",
        unit="kB",
        conditions=("at the end", "at a quarter"),
        direction="less",
        threshold=0.001,
        experiment=f"{_COMPARISONS}:adaptive_bytes_end_and_quarter",
        seeds=_SEEDS,
        minutes=0.1,
        published=(Published("frames in memory on DAVIS 2017", 2, ""),),
        note="Exact, so the difference must be nought; all objects are given in frame 0. One that joins later needs "
        "values of its own in every cell.",
    ),
    Claim(
        id="13-growing-memory",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5", table="3"),
        statement="A memory that keeps every fifth frame grows with the clip, an adaptive one does not.",
        effect="bytes of cells at the end of 200 frames over those at a quarter: every-5 minus adaptive",
        unit="times",
        conditions=("every 5", "adaptive"),
        experiment=f"{_COMPARISONS}:growth_every_k_and_adaptive",
        seeds=_SEEDS,
        minutes=0.1,
        published=(
            Published("frames in memory on DAVIS 2017, every 5 (mean)", 7, ""),
            Published("adaptive", 2, ""),
        ),
    ),
    Claim(
        id="13-count-softmax",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.6", table="4"),
        statement="Counting how often a cell is among the top k is a better index of use than summing its attention "
        "weights.",
        effect=f"J&F with counts minus J&F with sums of weights, adaptive memory of two frames, {_CHANGING}",
        unit="J&F",
        conditions=("counts", "weights"),
        experiment=f"{_COMPARISONS}:count_and_softmax",
        seeds=_SEEDS,
        minutes=1.9,
        published=(
            Published("J&F on DAVIS 2017, counts", 84.4, "%"),
            Published("weights", 83.0, "%"),
            Published("on YouTube-VOS, counts", 81.1, "%"),
            Published("weights", 79.0, "%"),
        ),
        note="On DAVIS 2017 the printed J and F of the weights, 79.9 and 82.2, have the mean 81.05, not 83.0.",
    ),
    Claim(
        id="13-capacity",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.6"),
        statement="Doubling an adaptive memory from two to four frames' worth of cells helps.",
        effect=f"J&F at a capacity of four frames minus J&F at two, {_CHANGING}",
        unit="J&F",
        conditions=("four frames", "two frames"),
        experiment=f"{_COMPARISONS}:capacity_four_and_two",
        seeds=_SEEDS,
        minutes=1.9,
        published=(Published("J&F gained on YouTube-VOS", 2.0, "points"),),
    ),
    Claim(
        id="13-decay",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5", table="1"),
        statement="Accuracy decays less over a clip with an adaptive memory than with the first and the latest frame.",
        effect="mean J in the first quarter of the frames minus that in the last: adaptive memory of two frames minus "
        f"first-and-latest, {_CHANGING}",
        unit="J",
        conditions=("adaptive", "first and latest"),
        direction="less",
        experiment=f"{_COMPARISONS}:decay_adaptive_and_first_latest",
        seeds=_SEEDS,
        minutes=0.1,
        published=(
            Published("decay of J on DAVIS 2017, adaptive", 8.1, "points"),
            Published("first and latest", 10.8, "points"),
        ),
    ),
    Claim(
        id="13-lfu-random",
        lesson="13",
        method="adaptive memory",
        source=_source("3.3.4", kind="control"),
        statement="It is the index of use that helps: evicting the least used cells beats evicting any cells.",
        effect=f"J&F with least-frequently-used eviction minus J&F with random eviction, memory of two frames, "
        f"{_CHANGING}",
        unit="J&F",
        conditions=("least used", "random"),
        experiment=f"{_COMPARISONS}:adaptive_and_random",
        seeds=_SEEDS,
        minutes=1.9,
        note=f"{_LACKING} A gain of the adaptive memory counts only over random eviction.",
    ),
    Claim(
        id="13-lfu-fifo",
        lesson="13",
        method="adaptive memory",
        source=_source("3.3.4", kind="control"),
        statement="Evicting the least used cells beats evicting the oldest.",
        effect=f"J&F with least-frequently-used eviction minus J&F with first-in-first-out, memory of two frames, "
        f"{_CHANGING}",
        unit="J&F",
        conditions=("least used", "oldest"),
        experiment=f"{_COMPARISONS}:adaptive_and_fifo",
        seeds=_SEEDS,
        minutes=1.9,
        note=_LACKING,
    ),
)

_FASTER = (
    Claim(
        id="13-faster-every-k",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.4", table="3"),
        statement="An adaptive memory is faster than one that keeps every fifth frame, because it has less to read.",
        effect="frames per processor second with the adaptive memory of two frames minus with every-5, taking turns "
        "frame by frame over 200 frames, one thread",
        unit="frames/s",
        conditions=("adaptive", "every 5"),
        experiment=f"{_SPEED}:adaptive_and_every_k_speed",
        seeds=_SEEDS,
        minutes=4.2,
        published=(
            Published("adaptive", 11.4, "frames/s"),
            Published("every 5", 6.3, "frames/s"),
        ),
        note="Published for 480x854 on a GPU, where a stored frame has 1620 cells; here it has 144, so reading is a "
        "smaller share of the time and the gain must be smaller.",
    ),
    Claim(
        id="13-faster-first-latest",
        lesson="13",
        method="adaptive memory",
        source=_source("3.5.4", table="3"),
        statement="An adaptive memory is faster than first-and-latest, because it encodes fewer frames for storing.",
        effect="frames per processor second with the adaptive memory of two frames minus with first-and-latest, taking "
        "turns frame by frame over 200 frames, one thread",
        unit="frames/s",
        conditions=("adaptive", "first and latest"),
        experiment=f"{_SPEED}:adaptive_and_first_latest_speed",
        seeds=_SEEDS,
        minutes=0.1,
        published=(
            Published("adaptive", 11.4, "frames/s"),
            Published("first and latest", 8.4, "frames/s"),
        ),
        note="Both hold two frames, so reading costs the same; one frame in five is encoded for storing instead of "
        "all.",
    ),
)

CLAIMS = _POLICIES + OCCLUSION + _FASTER + REGULARISERS
