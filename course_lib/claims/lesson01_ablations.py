"""Claims of lesson 01 from its ablations: what the agent should be paid for, and how many moves it should have.

Both are shown as curves there, without numbers. All come from the recurrent agent trained by policy gradient, with one
thing changed; `lesson01.py` lists all claims.
"""

from course_lib.claims.claim import Claim, Source

_SEEDS = (10, 11, 12)
_EXPERIMENTS = "course_lib.methods.spatial_transformer.digit_experiments"
_METHOD = "sequential spatial transformer"
_SOURCE = Source("F. Azimi", 2024, "5.3.2")

ABLATIONS = (
    Claim(
        id="01-reward-change-of-accuracy",
        lesson="01",
        method=_METHOD,
        source=_SOURCE,
        statement="Paying for the change of the loss beats paying for the change of correctness.",
        effect="accuracy of the recurrent agent paid by the change of loss minus accuracy of the one paid by the "
        "change of correctness, policy gradient, MLP classifier, equally many updates",
        unit="accuracy",
        conditions=("change of loss", "change of correctness"),
        experiment=f"{_EXPERIMENTS}:loss_decrease_and_accuracy_change",
        seeds=_SEEDS,
        minutes=5.4,
        note="Shown there as curves (figure 5.7), for 20 moves.",
    ),
    Claim(
        id="01-reward-loss",
        lesson="01",
        method=_METHOD,
        source=_SOURCE,
        statement="Paying for the change of the loss beats paying for the loss itself.",
        effect="accuracy of the recurrent agent paid by the change of loss minus accuracy of the one paid by minus the "
        "loss, policy gradient, MLP classifier, equally many updates",
        unit="accuracy",
        conditions=("change of loss", "loss"),
        experiment=f"{_EXPERIMENTS}:loss_decrease_and_negative_loss",
        seeds=_SEEDS,
        minutes=5.4,
        note="Shown there as curves (figure 5.7), for 20 moves.",
    ),
    Claim(
        id="01-reward-worst",
        lesson="01",
        method=_METHOD,
        source=_SOURCE,
        statement="Of the three rewards, the loss itself is the worst: worse than the change of correctness.",
        effect="accuracy of the recurrent agent paid by the change of correctness minus accuracy of the one paid by "
        "minus the loss, policy gradient, MLP classifier, equally many updates",
        unit="accuracy",
        conditions=("change of correctness", "loss"),
        experiment=f"{_EXPERIMENTS}:accuracy_change_and_negative_loss",
        seeds=_SEEDS,
        minutes=0.1,
        note="Shown there as curves (figure 5.7), for 20 moves. In an early trial on smaller images it was the other "
        "way round, 24 and 30 % after 1,500 updates, perhaps because a weak classifier rarely turns from wrong to "
        "right, so that there is little to earn.",
    ),
    Claim(
        id="01-longer",
        lesson="01",
        method=_METHOD,
        source=_SOURCE,
        statement="Longer episodes give better views.",
        effect="accuracy of the recurrent agent with all of the preset's moves minus accuracy with a quarter of them, "
        "policy gradient, MLP classifier",
        unit="accuracy",
        conditions=("all moves", "a quarter"),
        experiment=f"{_EXPERIMENTS}:full_and_quarter_length",
        seeds=_SEEDS,
        minutes=1.5,
        note="Shown there as curves (figure 5.8).",
    ),
    Claim(
        id="01-diminishing",
        lesson="01",
        method=_METHOD,
        source=_SOURCE,
        statement="Each doubling of the episode gains less than the one before.",
        effect="accuracy gained from a quarter to a half of the preset's moves minus accuracy gained from a half to "
        "all, policy gradient, MLP classifier",
        unit="accuracy",
        conditions=("quarter to half", "half to all"),
        experiment=f"{_EXPERIMENTS}:first_and_second_lengthening",
        seeds=_SEEDS,
        minutes=2.8,
        note="Our reading of figure 5.8; section 5.4.3 says so of the curricula, whose gain ends at about 20 moves.",
    ),
)
