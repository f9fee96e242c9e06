"""Claims of lesson 06: what a video segmenter saves, and loses, that looks at some frames and carries the rest.

M. Paul (2023), chapter 3. Each random seed has clips of its own: twelve drives at video rate, 30 frames each. An mIoU
is that of a clip, over the classes that its truth shows; where not said otherwise, in the last frames of periods, which
are the worst and the ones that the thesis scores. Claims whose id has "oracle" give the truth on key frames, so that
what is lost is lost on the way, and need no trained network. Classes, refinement and motion stand in
`lesson06_repair` and `lesson06_motion`. `minutes` counts a run that claims share once, at the first.
"""

from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.families import propagation
from course_lib.claims.lesson06_motion import MOTION
from course_lib.claims.lesson06_repair import REPAIR

_POINTS = "3.4.4"
_WORST = "last frames of periods"
_TENTHS = "every tenth frame, the last of a period for both"
_LANE = "processor milliseconds per frame spent on network, warping and labels, without flow, frame by frame over those"
_FASTER = "A trial gave 1.8 times at S = 2, 3.5 to 3.9 at 5, 5.6 at 10."

_SPEED = (
    propagation(
        "06-speed-2",
        "Segmenting every second frame and carrying in between is about twice as fast.",
        f"{_LANE} at S = 2, minus 0.7 S; published ICNet, 256x512",
        ("speed-up", "0.7 S"),
        "comparison_speed:speed_up_2",
        0.3,
        _POINTS,
        table="3.2",
        unit="times",
        published=(("speed-up, EVS 03", 2.0, "times"),),
        note="Seven tenths of S count as about S. Flow is found by another processor there, and is not counted here; "
        f"labels for every pixel are. A trial on one core, below, was known when this was settled. {_FASTER}",
    ),
    propagation(
        "06-speed-5",
        "Segmenting every fifth frame and carrying in between is about five times as fast.",
        f"{_LANE} at S = 5, minus 0.7 S; published ICNet, 256x512",
        ("speed-up", "0.7 S"),
        "comparison_speed:speed_up_5",
        0.3,
        _POINTS,
        table="3.2",
        unit="times",
        published=(("speed-up, EVS 07", 4.9, "times"),),
        note=_FASTER,
    ),
    propagation(
        "06-speed-10",
        "Segmenting every tenth frame and carrying in between is about ten times as fast.",
        f"{_LANE} at S = 10, minus 0.7 S; published ICNet, 256x512",
        ("speed-up", "0.7 S"),
        "comparison_speed:speed_up_10",
        0.3,
        _POINTS,
        table="3.2",
        unit="times",
        published=(("speed-up, EVS 10", 9.7, "times"),),
        note=_FASTER,
    ),
    propagation(
        "06-speed-one-core",
        "It stays about five times as fast where one core has to find flow as well.",
        "processor milliseconds per frame, all work, frame by frame over those at S = 5, minus 0.7 S; published ICNet, "
        "256x512",
        ("speed-up", "0.7 S"),
        "comparison_speed:speed_up_5_one_core",
        0.3,
        _POINTS,
        kind="control",
        unit="times",
        note="A control that the thesis lacks: there the graphics card never waits for flow. A trial gave 2.9 times.",
    ),
)

_LOSS = (
    propagation(
        "06-small-loss",
        "Carrying every second frame costs little.",
        f"mIoU of ICNet on each frame minus mIoU at S = 2, {_WORST}",
        ("each frame", "S = 2"),
        "comparisons:every_frame_and_2",
        1.6,
        _POINTS,
        table="3.2",
        threshold=0.03,
        less=True,
        published=(("mIoU, ICNet", 67.3, "%"), ("EVS 03, S = 2", 66.2, "%")),
        note="Three points count as little. Frames here are 128 pixels high, so a step of one pixel weighs more.",
    ),
    propagation(
        "06-period-2-5",
        "The longer the period, the less accurate: S = 5 is worse than S = 2.",
        f"mIoU at S = 2 minus mIoU at S = 5, {_TENTHS}",
        ("S = 2", "S = 5"),
        "comparisons:every_2_and_5",
        0.3,
        _POINTS,
        table="3.2",
        published=(("mIoU, EVS 03", 66.2, "%"), ("EVS 07", 62.2, "%")),
    ),
    propagation(
        "06-period-5-10",
        "The longer the period, the less accurate: S = 10 is worse than S = 5.",
        f"mIoU at S = 5 minus mIoU at S = 10, {_TENTHS}",
        ("S = 5", "S = 10"),
        "comparisons:every_5_and_10",
        0.3,
        _POINTS,
        table="3.2",
        published=(("mIoU, EVS 07", 62.2, "%"), ("EVS 10", 56.2, "%")),
    ),
    propagation(
        "06-oracle-period-2-5",
        "With the truth on key frames, too, S = 5 is worse than S = 2.",
        f"mIoU at S = 2 minus mIoU at S = 5, truth on key frames, {_TENTHS}",
        ("S = 2", "S = 5"),
        "comparisons:oracle_2_and_5",
        0.6,
        _POINTS,
        kind="control",
    ),
    propagation(
        "06-oracle-period-5-10",
        "With the truth on key frames, too, S = 10 is worse than S = 5.",
        f"mIoU at S = 5 minus mIoU at S = 10, truth on key frames, {_TENTHS}",
        ("S = 5", "S = 10"),
        "comparisons:oracle_5_and_10",
        0.2,
        _POINTS,
        kind="control",
    ),
    propagation(
        "06-warp",
        "Carrying along flow is far better than showing the last answer again.",
        f"mIoU carried minus mIoU copied, S = 5, {_WORST}",
        ("carried", "copied"),
        "comparisons:carried_and_copied",
        0.3,
        _POINTS,
        table="3.2",
        threshold=0.05,
        published=(("mIoU, EVS 07, carried", 62.2, "%"), ("EVS 08, copied", 46.4, "%")),
        note="Five points count as far.",
    ),
    propagation(
        "06-warp-growth",
        "The longer the period, the more carrying gains over copying.",
        f"mIoU carried minus mIoU copied: at S = 10 minus at S = 5, {_TENTHS}",
        ("S = 10", "S = 5"),
        "comparisons:carried_and_copied_growth",
        0.2,
        _POINTS,
        table="3.2",
        published=(("mIoU gained at S = 10", 19.5, "points"), ("at S = 5", 15.8, "points")),
    ),
    propagation(
        "06-oracle-warp",
        "With the truth on key frames, too, carrying is far better than copying.",
        f"mIoU carried minus mIoU copied, S = 5, truth on key frames, {_WORST}",
        ("carried", "copied"),
        "comparisons:oracle_carried_and_copied",
        0.2,
        _POINTS,
        kind="control",
        threshold=0.05,
    ),
    propagation(
        "06-oracle-warp-growth",
        "With the truth on key frames, too, carrying gains more over copying the longer the period.",
        f"mIoU carried minus mIoU copied: at S = 10 minus at S = 5, truth on key frames, {_TENTHS}",
        ("S = 10", "S = 5"),
        "comparisons:oracle_carried_and_copied_growth",
        0.2,
        _POINTS,
        kind="control",
    ),
    propagation(
        "06-other-segmenter",
        "The segmenter is a black box: with another network, too, carrying is far better than copying.",
        f"mIoU carried minus mIoU copied, S = 5, EfficientNet-Lite0 segmenter, {_WORST}",
        ("carried", "copied"),
        "comparisons:carried_and_copied_other",
        0.7,
        "3.3.2",
        threshold=0.05,
        note="That any network will do is said there; one is tried.",
    ),
    propagation(
        "06-half-size",
        "Halving the sides of frames costs accuracy.",
        f"mIoU at full minus mIoU at half input scale, S = 10, {_WORST}",
        ("full size", "half size"),
        "comparisons:full_and_half_size",
        0.1,
        _POINTS,
        table="3.2",
        published=(("mIoU, EVS 10", 56.2, "%"), ("EVS 12, half size", 50.7, "%")),
        note="The network was trained at full size, here and there.",
    ),
    propagation(
        "06-smaller-network",
        "At the same rate, a network on every second frame is better than a smaller one on each.",
        f"mIoU of ICNet at S = 2, {_WORST}, minus mIoU of an ICNet of half its width on the same frames",
        ("S = 2", "half width"),
        "comparisons:every_2_and_smaller_network",
        0.3,
        _POINTS,
        table="3.2",
        published=(("mIoU, EVS 03, 77 Hz", 66.2, "%"), ("ENet, 77 Hz", 58.3, "%")),
        note="ENet is another design. Of half the width and trained alike, a network takes some 0.6 of the time per "
        "frame, S = 2 half of it and flow.",
    ),
)

_STEP = "mIoU lost per step from step 5 to step 9 after a key frame"
_EARLIER = "that from step 1 to step 5, S = 10"
_STEADY = (("mIoU lost per step, least", 1.0, "points"), ("mean", 1.2, "points"), ("most", 1.5, "points"))
_FACTOR = (
    "Within a factor of three counts as constant: this claim and its neighbour together. The first step is left out."
)

_STEPS = tuple(
    propagation(
        f"06{name}-loss-per-step-{bound}",
        f"Every further step costs about the same{given}: later ones cost no {bound}.",
        f"{_STEP} minus {factor} times {_EARLIER}{given}",
        ("steps 6 to 9", f"{factor} x steps 2 to 5"),
        f"comparisons:{run}{experiment}",
        0.1,
        "3.4.3",
        kind="control" if name else "thesis",
        less=bound == "more",
        published=() if name else _STEADY,
        note=_FACTOR,
    )
    for name, given, run in (("", "", ""), ("-oracle", ", truth on key frames", "oracle_"))
    for bound, factor, experiment in (
        ("more", "3", "late_steps_and_three_times_early"),
        ("less", "1/3", "late_steps_and_third_of_early"),
    )
)

_AT_PUBLISHED_SCALE = (
    Claim(
        id="06-kilohertz",
        lesson="06",
        method="EVS",
        source=Source("M. Paul", 2023, "3.4.4", "3.2"),
        statement="One pipeline spans 37 to 1045 frames of 2048x1024 pixels per second, at an mIoU of 68 to 46 %.",
        effect="frames per second and mIoU on Cityscapes of the fourteen operating points",
        unit="Hz",
        conditions=("measured", "printed"),
        published=(
            Published("EVS 01", 37, "Hz"),
            Published("its mIoU", 67.6, "%"),
            Published("EVS 14", 1045, "Hz"),
            Published("its mIoU", 46.0, "%"),
        ),
        untestable="Needs Cityscapes, ICNet trained on it, and a GPU beside a CPU of six cores. The same operating "
        "points run here on small drives.",
        note="1045 Hz is throughput: seventeen answers every 16 ms.",
    ),
    Claim(
        id="06-hidden-flow",
        lesson="06",
        method="EVS",
        source=Source("M. Paul", 2023, "3.4.3"),
        statement="While the GPU segments one key frame, one CPU core delivers the flows of five frames, so flow costs "
        "nothing.",
        effect="share of the time of flow that is hidden behind the network",
        unit="",
        conditions=("hidden", "all"),
        published=(Published("one flow, at most", 5, "ms"), Published("ICNet", 25.6, "ms")),
        untestable="Needs a GPU: on a CPU, network and flow share the cores. `benchmarks/operating_points.py` measures "
        "the overlap where there is one.",
    ),
    Claim(
        id="06-other-methods",
        lesson="06",
        method="EVS",
        source=Source("M. Paul", 2023, "3.4.4", "3.2"),
        statement="No other method for video is both as fast and as accurate.",
        effect="mIoU on Cityscapes at equal rate, EVS minus DVSN, Clockwork and DFF",
        unit="mIoU",
        conditions=("EVS", "others"),
        published=(Published("mIoU, EVS 03, 77 Hz", 66.2, "%"), Published("DVSN, 30 Hz", 62.6, "%")),
        untestable="The others' rates are quoted from their papers, on other machines and other networks; a fair "
        "comparison needs all of them trained on Cityscapes.",
    ),
)

CLAIMS = _SPEED + _LOSS + _STEPS + REPAIR + MOTION + _AT_PUBLISHED_SCALE
