"""Claims of lesson 05 about how HS2S learns: first states, encoders, whose masks it is fed, and training online.

Whether references are used is a matter of training, not of architecture: the controls with a sometimes blind encoder
say so. `minutes` counts a row that claims share once, at the first; `lesson05.py` lists all claims.
"""

from course_lib.claims.families import recurrent

EQUAL = "S2S with one skip-memory and 22 distance classes"
_FEW = "Eight clips of either kind, fifty steps: as much as a laptop does in a minute for each random seed."
_IDLE = (
    "Not in the thesis. With parts cut out of the trained networks, HS2S does as well without its references; the one "
    "that was sometimes blind loses most of its J without the previous frame, and hardly any without the mask that its "
    "encoder sees: the last mask comes in with the previous frame. The first frame lies idle in both."
)

LEARNING = (
    recurrent(
        "05-initializer",
        "With masks and references going in, first states of zero are as good as an initializer network.",
        "J&F of HS2S minus J&F of HS2S with an initializer, all clips",
        ("zeros", "initializer"),
        "comparisons:zeros_and_initializer",
        24.0,
        "6.4.1",
        threshold=-0.01,
        note="The change is called small there, without a number. One point behind would still count as equal.",
    ),
    recurrent(
        "05-own-encoder",
        "References need an encoder of their own: sharing one with the current frame hurts.",
        "J&F of HS2S minus J&F of HS2S whose references go through the encoder of the current frame, all clips",
        ("own encoder", "shared"),
        "comparisons:own_and_shared_encoder",
        20.0,
        "6.4.1",
        note="The drop is called considerable there, without a number. The reason given: a reference goes in with its "
        "own mask, the current frame with the mask before it. Sharing also saves a tenth of the weights.",
    ),
    recurrent(
        "05-scheduled-sampling",
        "A network that is fed its own masks must have been fed them in training: scheduled sampling beats true masks.",
        "J of HS2S trained with scheduled sampling minus J of HS2S trained with true masks throughout, all clips",
        ("scheduled sampling", "true masks"),
        "comparisons:sampled_and_taught",
        20.0,
        "6.4.2",
        kind="control",
        method="scheduled sampling",
        unit="J",
        note="The thesis trains in this way for this reason and does not test it.",
    ),
    recurrent(
        "05-scheduled-sampling-late",
        "The later the frame, the more is owed to scheduled sampling.",
        "J gained by scheduled sampling over true masks: in the last 6 of 24 frames minus in the first 8 scored "
        "ones, all clips",
        ("late", "early"),
        "comparisons:sampled_late_and_early",
        0.1,
        "6.4.2",
        kind="control",
        method="scheduled sampling",
        unit="J",
        note="What it is there for: errors that are fed back add up. Not tested in the thesis.",
    ),
    recurrent(
        "05-blind",
        "Hiding the previous mask from the encoder in some training frames makes HS2S better: it then needs its "
        "references, and learns to use them.",
        "J&F of HS2S shown an empty mask in three training frames of ten minus J&F of HS2S, all clips",
        ("sometimes blind", "HS2S"),
        "comparisons:blind_and_seeing",
        20.0,
        "6.4",
        kind="control",
        note=_IDLE,
    ),
    recurrent(
        "05-blind-late",
        "What HS2S gains by it shows in late frames of plain clips.",
        "J of the last 6 of 24 frames: of HS2S shown an empty mask in three training frames of ten minus of HS2S, "
        "plain clips",
        ("sometimes blind", "HS2S"),
        "comparisons:blind_and_seeing_late",
        0.1,
        "6.4",
        kind="control",
        unit="J",
        note=_IDLE,
    ),
    recurrent(
        "05-blind-hybrid",
        "With references that are used, HS2S beats recurrence alone with equal parts.",
        f"J&F of HS2S shown an empty mask in three training frames of ten minus J&F of {EQUAL}, all clips",
        ("HS2S, sometimes blind", "S2S, equal parts"),
        "comparisons:blind_hybrid_equal_parts",
        0.1,
        "6.4.2",
        kind="control",
        note="The second of the controls on the thesis's main claim: the first compares a hybrid whose references lie "
        "idle.",
    ),
)

ONLINE_TRAINING = (
    recurrent(
        "05-online",
        "Training further on the first frame of each video makes S2S better.",
        "J of S2S after online training minus J without, clips of seen and of unseen shapes",
        ("online", "without"),
        "online_comparison:tuned_and_as_it_was",
        2.5,
        "6.4.2",
        table="6.4",
        method="online training",
        unit="J",
        published=(("J&F, S2S with online training", 64.4, "%"), ("without", 57.7, "%")),
        note=f"How it is done there is not said; affine copies of the first frame here. {_FEW}",
    ),
    recurrent(
        "05-online-unseen",
        "Online training helps most with categories that training did not show.",
        "J gained by online training of S2S: on clips of unseen shapes minus on clips of seen shapes",
        ("unseen shapes", "seen shapes"),
        "online_comparison:gain_of_unseen_and_seen",
        0.1,
        "6.4.2",
        table="6.4",
        method="online training",
        unit="J",
        published=(
            ("J gained on unseen categories", 7.3, "points"),
            ("on seen ones", 4.3, "points"),
        ),
        note=f"{_FEW} Clips are not paired in more than their number.",
    ),
)
