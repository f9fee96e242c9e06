"""Claims of lesson 05 about what HS2S is made of: fusion, both directions in time, flow, memory, backbone.

All change one part of HS2S and nothing else, and train as it does. "As good" and "does not help" need a margin: one
point of J&F, more than the differences that the thesis calls similar. `minutes` counts a row that claims share once, at
the first; `lesson05.py` lists all claims.
"""

from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.families import recurrent

_ONE_POINT = 0.01
_BACKBONES = (
    "The thesis's backbones begin with ImageNet weights, and its DeepLab with those of a segmentation network; here "
    "small stacks of the same kinds begin with random ones."
)
_NOT_USED = "Cut out, the references of neither row are missed here: what differs is not the matching."

_FUSION = (
    recurrent(
        "05-cosine",
        "Global convolution merges memory and references better than cosine similarity.",
        "J&F of HS2S with global convolution minus J&F with cosine similarity, all clips",
        ("global convolution", "cosine"),
        "comparisons:convolution_and_cosine",
        20.0,
        "6.5.3",
        table="6.8, 6.11",
        published=(("J&F, global convolution", 68.9, "%"), ("cosine", 66.9, "%")),
        note="No equation is given for the cosine; here its softmax weighs the reference's features. The text calls "
        f"all fusions similar. {_NOT_USED}",
    ),
    recurrent(
        "05-attention",
        "Attention merges them as well as global convolution.",
        "J&F of HS2S with axial attention minus J&F with global convolution, all clips",
        ("attention", "global convolution"),
        "comparisons:attention_and_convolution",
        24.0,
        "6.5.3",
        table="6.11",
        published=(("J&F, attention", 69.1, "%"), ("global convolution", 68.9, "%")),
        threshold=-_ONE_POINT,
        note="One point behind would still count as equal. At a bottleneck of 4x4 cells a kernel of 7 sees everything, "
        f"too, so that reach, one of attention's merits, is no issue here. {_NOT_USED}",
    ),
)

_VARIANTS = (
    recurrent(
        "05-both-ways",
        "Seeing the future helps: a second memory that runs back from the end of the clip makes HS2S better.",
        "J&F of Bi-HS2S minus J&F of HS2S, all clips",
        ("Bi-HS2S", "HS2S"),
        "comparisons:both_ways",
        33.0,
        "6.5.3",
        table="6.9",
        method="Bi-HS2S",
        published=(("J&F, Bi-HS2S", 69.8, "%"), ("HS2S", 68.9, "%")),
        note="It also has an initializer and an encoder without mask, where HS2S has none and one with.",
    ),
    recurrent(
        "05-both-ways-occlusion",
        "What the future helps with is the object's return after an occlusion.",
        "J that Bi-HS2S has more than HS2S, clips with a bar: in frames in which the object is visible again after it "
        "was hidden minus in all frames of the same clips",
        ("after occlusion", "all frames"),
        "comparisons:both_ways_after_and_all",
        0.1,
        "6.5.1",
        kind="control",
        method="Bi-HS2S",
        unit="J",
        note="A hypothesis of the course, not of the thesis.",
    ),
    recurrent(
        "05-flow",
        "Learning optical flow without labels beside the masks does not help.",
        "J&F of RAFT-HS2S minus J&F of HS2S, all clips",
        ("RAFT-HS2S", "HS2S"),
        "comparisons:flow_objective",
        36.0,
        "6.5.3",
        table="6.9",
        method="RAFT-HS2S",
        published=(("J&F, RAFT-HS2S", 68.8, "%"), ("HS2S", 68.9, "%")),
        threshold=_ONE_POINT,
        less=True,
        note="A gain of one point or more would count as help. Weight, smoothness and the treatment of occlusions are "
        "ours; the text has none of them.",
    ),
)

_MEMORIES = (
    recurrent(
        "05-tensor-train",
        "A memory that sees several of its past states is better than one that sees the last.",
        "J&F of HS2S with Conv-TT-LSTM minus J&F with ConvLSTM, all clips",
        ("Conv-TT-LSTM", "ConvLSTM"),
        "comparisons:tensor_train",
        45.0,
        "6.5.3",
        table="6.10",
        published=(("J&F, tensor-train LSTM", 70.0, "%"), ("ConvLSTM", 68.9, "%")),
        note="Order 3, three past states and rank 8 here; the text gives none of the three.",
    ),
    recurrent(
        "05-deep-memory",
        "A deeper memory is not needed: one ConvLSTM beats five recurrent layers.",
        "J&F of HS2S with ConvLSTM minus J&F with five recurrent layers joined by context bridges, all clips",
        ("ConvLSTM", "five layers"),
        "comparisons:shallow_and_deep",
        30.0,
        "6.5.3",
        table="6.10",
        published=(("J&F, ConvLSTM", 68.9, "%"), ("five layers", 67.6, "%")),
    ),
)

_BACKBONE = (
    recurrent(
        "05-residual",
        "A residual backbone is better than a plain stack of convolutions.",
        "J&F of HS2S on a residual backbone minus J&F on a plain one, all clips",
        ("residual", "plain"),
        "comparisons:residual_and_plain",
        24.0,
        "6.5.3",
        table="6.12",
        published=(("J&F, ResNet-50", 68.9, "%"), ("VGG-16", 66.8, "%")),
        note=f"{_BACKBONES} With eight convolutions there is little for shortcuts to help.",
    ),
    recurrent(
        "05-dilated",
        "A finer bottleneck, by dilation in place of the last stride, does not help.",
        "J&F of HS2S on the dilated residual backbone minus J&F on the residual one, all clips",
        ("dilated", "residual"),
        "comparisons:dilated_and_residual",
        27.0,
        "6.5.3",
        table="6.12",
        published=(("J&F, DeepLab without ASPP", 68.9, "%"), ("ResNet-50", 68.9, "%")),
        threshold=_ONE_POINT,
        less=True,
        note=f"{_BACKBONES} A gain of one point or more would count as help. Finer cells also shorten the way that a "
        "memory of 3x3 follows from one frame to the next.",
    ),
    recurrent(
        "05-aspp",
        "Gathering context at several scales (ASPP) hurts.",
        "J&F of HS2S on the dilated backbone minus J&F on the same with ASPP, all clips",
        ("without", "with ASPP"),
        "comparisons:without_and_with_aspp",
        27.0,
        "6.5.3",
        table="6.12",
        published=(("J&F, DeepLab without ASPP", 68.9, "%"), ("with", 67.4, "%")),
        note=f"{_BACKBONES} The four columns with ASPP have the mean 67.5.",
    ),
    recurrent(
        "05-axial-backbone",
        "A backbone of axial attention is worse than a residual one.",
        "J&F of HS2S on the residual backbone minus J&F on one that ends in axial attention, all clips",
        ("residual", "axial"),
        "comparisons:residual_and_axial",
        27.0,
        "6.5.3",
        table="6.12",
        published=(("J&F, ResNet-50", 68.9, "%"), ("Axial-DeepLab, small", 65.1, "%")),
        note=f"{_BACKBONES} There, the small variant was taken because memory was short; here, attention ends the last "
        "stage only.",
    ),
    Claim(
        id="05-deeper-backbone",
        lesson="05",
        method="HS2S",
        source=Source("F. Azimi", 2024, "6.5.3", "6.12"),
        statement="A deeper residual backbone adds next to nothing.",
        effect="J&F of HS2S with ResNet-101 minus J&F with ResNet-50",
        unit="J&F",
        conditions=("ResNet-101", "ResNet-50"),
        direction="less",
        threshold=_ONE_POINT,
        published=(Published("J&F, ResNet-101", 69.0, "%"), Published("ResNet-50", 68.9, "%")),
        untestable="What depth adds shows in backbones trained on ImageNet and in videos that need it; both rows take "
        "days of a GPU on YouTube-VOS. Four small stages without trained weights say nothing about fifty layers.",
        note="The summary there calls ResNet-101 the best, on a tenth of a point, with F of seen categories lower.",
    ),
)

CHOICES = _FUSION + _VARIANTS + _MEMORIES + _BACKBONE
