"""Claims of lesson 07: what a memory of past frames adds to a network for single frames, where it looks, and how long.

M. Paul (2023), chapter 4. Rows of one table: six random seeds of training; rows that share a stage of training have
equally many steps in it (single frames have the first stage only, Ctl-dec the first and the third). The same test clips
for all: a window that pans over a street, two windows of each drive, seen through noise and seen with glare; the last
frame of a clip is scored. An mIoU is that of a frame, over the classes that its truth shows, mean over what was cut out
of one drive. The thesis compares with a network that was trained no further; two controls stand beside it: Ctl-dec, no
memory and the decoder trained for as many steps, and Ctl-self, all layers of the memory with the frame itself in the
place of the past. Windows and fusion stand in `lesson07_window`, costs in `lesson07_cost`. `minutes` counts a row that
claims share once, at the first.
"""

from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.families import local_memory
from course_lib.claims.lesson07_cost import COST
from course_lib.claims.lesson07_window import WHERE

_ABLATED = "4.4.2"
_MARGIN = "Three tenths of a point count as equal."
_SELF = "Ctl-self: the same layers, trained alike, with the frame itself in the place of the past."
_TRIAL = (
    "In a first trial on similar clips, of 6.4 points over the single frame, 3.5 came from training the decoder "
    "longer, 2.2 from the additional layers, 0.7 from the past."
)

_WORTH = (
    local_memory(
        "07-one-frame",
        "A memory of a single past frame makes a network for single frames better.",
        "mIoU with a memory of one frame minus mIoU of the network without, trained no further",
        ("one frame", "none"),
        "comparisons:one_frame_and_none",
        20.0,
        _ABLATED,
        table="4.1",
        published=(("mIoU, one frame", 73.34, "%"), ("ERFNet", 72.05, "%")),
        note="What the thesis compares: the memory's network has 0.6 M parameters more and a decoder trained longer.",
    ),
    local_memory(
        "07-four-frames",
        "A memory of four frames makes it better, too.",
        "mIoU with a memory of four frames minus mIoU of the network without, trained no further",
        ("four frames", "none"),
        "comparisons:four_frames_and_none",
        12.0,
        _ABLATED,
        table="4.1",
        published=(("mIoU, four frames", 73.72, "%"), ("ERFNet", 72.05, "%")),
        note=_TRIAL,
    ),
    local_memory(
        "07-longer-training",
        "It is not training longer: with its decoder trained as long, the network without a memory stays behind.",
        "mIoU with a memory of two frames minus mIoU of Ctl-dec",
        ("memory", "Ctl-dec"),
        "comparisons:memory_and_longer_training",
        8.0,
        _ABLATED,
        kind="control",
        note="Ctl-dec: no memory, the decoder trained as long. The thesis has no such row.",
    ),
    local_memory(
        "07-past",
        "It is the past that helps: the same layers without a past frame stay behind.",
        "mIoU with a memory of two frames minus mIoU of Ctl-self",
        ("memory", "Ctl-self"),
        "comparisons:memory_and_self",
        8.0,
        _ABLATED,
        kind="control",
        note=f"{_SELF} The thesis has no such row.",
    ),
    local_memory(
        "07-past-one-frame",
        "One past frame is better than none with the same layers.",
        "mIoU with a memory of one frame minus mIoU of Ctl-self",
        ("one frame", "Ctl-self"),
        "comparisons:one_frame_and_self",
        0.1,
        _ABLATED,
        kind="control",
        note=_SELF,
    ),
    local_memory(
        "07-past-four-frames",
        "Four past frames are better than none with the same layers.",
        "mIoU with a memory of four frames minus mIoU of Ctl-self",
        ("four frames", "Ctl-self"),
        "comparisons:four_frames_and_self",
        0.1,
        _ABLATED,
        kind="control",
        note=_SELF,
    ),
    local_memory(
        "07-past-noise",
        "Through noise, the past helps.",
        "mIoU with a memory of two frames minus mIoU of Ctl-self, clips with noise",
        ("memory", "Ctl-self"),
        "comparisons:memory_and_self_noise",
        0.1,
        _ABLATED,
        kind="control",
        note="Noise leaves something to match, and averaging over frames takes it away.",
    ),
    local_memory(
        "07-past-glare",
        "Behind glare, the past helps.",
        "mIoU with a memory of two frames minus mIoU of Ctl-self, clips with glare",
        ("memory", "Ctl-self"),
        "comparisons:memory_and_self_glare",
        0.1,
        _ABLATED,
        kind="control",
        note="Glare hides what a query would be matched by, so only places can tell where to look.",
    ),
    local_memory(
        "07-saturation",
        "A few frames are enough: four are not worse than one.",
        "mIoU with a memory of four frames minus mIoU with one of one frame",
        ("four frames", "one frame"),
        "comparisons:four_frames_and_one",
        0.1,
        _ABLATED,
        table="4.1",
        threshold=-0.003,
        published=(("mIoU, four frames", 73.72, "%"), ("one frame", 73.34, "%"), ("five frames", 73.46, "%")),
        note=_MARGIN,
    ),
    local_memory(
        "07-first-frame-most",
        "The first frame of a memory brings more than three further ones.",
        "mIoU gained by a memory of one frame over none minus mIoU gained by four frames over one",
        ("first frame", "three further"),
        "comparisons:first_frame_and_further",
        0.1,
        _ABLATED,
        table="4.1",
        published=(("mIoU gained by the first", 1.29, "points"), ("by three further", 0.38, "points")),
    ),
    local_memory(
        "07-first-frame-most-past",
        "Beside the same layers without a past, too, the first frame brings more than three further ones.",
        "mIoU gained by a memory of one frame over Ctl-self minus mIoU gained by four frames over one",
        ("first frame", "three further"),
        "comparisons:first_frame_and_further_over_self",
        0.1,
        _ABLATED,
        kind="control",
        note=_SELF,
    ),
    local_memory(
        "07-longer-memory",
        "A trained network reads a much longer memory without harm.",
        "mIoU of a network trained with a memory of two frames: read with twelve minus read with two",
        ("twelve frames", "two frames"),
        "comparisons:read_longer",
        0.1,
        "4.4.2",
        table="4.10",
        threshold=-0.01,
        published=(("mIoU, trained and read with four", 73.72, "%"), ("read with nineteen", 73.77, "%")),
        note="One point counts as harm. Printed values lie between 73.69 and 73.78 for four to nineteen frames.",
    ),
    local_memory(
        "07-longer-memory-four",
        "So does one that was trained with four frames.",
        "mIoU of a network trained with a memory of four frames: read with twelve minus read with four",
        ("twelve frames", "four frames"),
        "comparisons:four_frames_read_longer",
        0.1,
        "4.4.2",
        table="4.10",
        threshold=-0.01,
        published=(("mIoU, trained and read with four", 73.72, "%"), ("read with twelve", 73.72, "%")),
        note="One point counts as harm.",
    ),
)

_BEYOND = (
    local_memory(
        "07-second-network",
        "The memory moves to another network.",
        "mIoU of a small pyramid network with a memory minus mIoU without, trained no further",
        ("memory", "none"),
        "comparisons:second_network",
        16.0,
        "4.4.4",
        table="4.6",
        published=(("mIoU, PSPNet with memory", 78.48, "%"), ("PSPNet", 76.34, "%")),
        note="One rare class, train, makes up 0.96 of the 2.14 points printed.",
    ),
    local_memory(
        "07-second-network-past",
        "There, too, it is the past that helps.",
        "mIoU of a small pyramid network with a memory minus mIoU of its Ctl-self",
        ("memory", "Ctl-self"),
        "comparisons:second_network_and_self",
        8.0,
        "4.4.4",
        kind="control",
        note=_SELF,
    ),
    local_memory(
        "07-weak-classes",
        "Classes that a single frame shows badly gain most.",
        "rank correlation over classes between the IoU of the network without memory and what the memory gains over it",
        ("correlation", "none"),
        "comparisons:class_ranks",
        0.1,
        "4.4.5",
        table="4.6",
        unit="",
        less=True,
        published=(("IoU gained, train", 5.73, "points"), ("motorbike", 4.83, "points"), ("road", 0.08, "points")),
        note="By table 4.6 the correlation is -0.63 for ERFNet, -0.52 for PSPNet. "
        "What was low by chance gains by chance.",
    ),
    local_memory(
        "07-weak-classes-past",
        "Of what the past itself adds, classes that a single frame shows badly gain most.",
        "rank correlation over classes between the IoU of the network without memory and what the memory gains over "
        "Ctl-self",
        ("correlation", "none"),
        "comparisons:class_ranks_over_self",
        0.1,
        "4.4.5",
        kind="control",
        unit="",
        less=True,
        note="The IoU that ranks the classes has no part in the gain.",
    ),
)

_AT_PUBLISHED_SCALE = (
    Claim(
        id="07-cityscapes",
        lesson="07",
        method="LMANet",
        source=Source("M. Paul", 2023, "4.4.4", "4.5"),
        statement="On Cityscapes a local memory adds 1.7 points to ERFNet and 2.1 points to PSPNet-101.",
        effect="mIoU with minus without a memory, Cityscapes, validation set",
        unit="mIoU",
        conditions=("memory", "none"),
        published=(
            Published("mIoU gained, ERFNet, S = 4", 1.67, "points"),
            Published("PSPNet-101, S = 3", 2.14, "points"),
        ),
        untestable="Needs Cityscapes' snippets and days of several GPUs; the networks here are small and see "
        "streets of the synthetic world.",
        note="PSPNet takes 758 ms per frame with a memory, 406 without: frame rates are preserved for ERFNet alone.",
    ),
    Claim(
        id="07-other-methods",
        lesson="07",
        method="LMANet",
        source=Source("M. Paul", 2023, "4.4.4", "4.5"),
        statement="A local memory adds more, for less time, than other methods for video add to their networks.",
        effect="mIoU gained on Cityscapes, LMANet minus TDNet, GRFP and NetWarp, each over its own network",
        unit="mIoU",
        conditions=("LMANet", "others"),
        published=(
            Published("mIoU gained, LMANet on PSPNet", 2.14, "points"),
            Published("NetWarp, single scale", 1.2, "points"),
        ),
        untestable="The others' numbers are quoted from their papers, with other networks, resolutions and machines; "
        "needs all of them on Cityscapes and a GPU.",
    ),
)

CLAIMS = _WORTH + WHERE + _BEYOND + COST + _AT_PUBLISHED_SCALE
