"""Claims of lesson 00: what carrying masks from frame to frame gains, and how it fails.

The theses make them about learned propagation (recurrent networks); here optical flow stands for it. The random seeds
are not those of the trials in which the experiments were set up.
"""

from course_lib.claims.claim import Claim, Published, Source

_SEEDS = (10, 11, 12, 13, 14)
_EXPERIMENT = "course_lib.methods.propagation.experiment"

CLAIMS = (
    Claim(
        id="00-motion",
        lesson="00",
        method="propagation",
        source=Source("F. Azimi", 2024, "6.1"),
        statement="Propagation follows an object's changing place and shape: carrying masks along the motion beats "
        "keeping the first mask.",
        effect="J of masks carried by flow minus J of the first mask kept, easy scenario, all frames but the first",
        unit="J",
        conditions=("flow", "copy"),
        experiment=f"{_EXPERIMENT}:moved_and_copied",
        seeds=_SEEDS,
    ),
    Claim(
        id="00-drift",
        lesson="00",
        method="propagation",
        source=Source("F. Azimi", 2024, "6.4.2", table="6.6"),
        statement="Errors of propagation add up: early frames are segmented better than late ones.",
        effect="J in frames 1-9 minus J in frames 21-35, flow alone, easy scenario of 36 frames",
        unit="J",
        conditions=("early", "late"),
        experiment=f"{_EXPERIMENT}:early_and_late",
        seeds=_SEEDS,
        published=(Published("J of S2S*, t < 10", 73.7, "%"), Published("J of S2S*, t > 20", 54.6, "%")),
        note="Published for a recurrent network on YouTube-VOS; measured with flow that is not re-anchored.",
    ),
    Claim(
        id="00-occlusion",
        lesson="00",
        method="propagation",
        source=Source("F. Azimi", 2024, "6.4.2", table="6.7"),
        statement="Propagation loses its target when it is fully occluded: it is segmented far worse after it "
        "reappears than before it was hidden.",
        effect="J of the target before minus after full occlusion, frames with at least half of it visible, occlusion "
        "scenario",
        unit="J",
        conditions=("before", "after"),
        experiment=f"{_EXPERIMENT}:before_and_after_occlusion",
        seeds=_SEEDS,
        published=(
            Published("J&F of S2S*, all frames", 63.3, "%"),
            Published("J&F of S2S*, frames after a first occlusion", 33.6, "%"),
        ),
        note="Published for a recurrent network on YouTube-VOS. Flow has no memory at all: behind the panel its mask "
        "shrinks to nothing, and nothing can bring it back.",
    ),
    Claim(
        id="00-occlusion-control",
        lesson="00",
        method="propagation",
        source=Source("F. Skogh", 2024, "2.1"),
        statement="The occlusion itself is the cause, because only the previous frame is looked at: given the target "
        "again after it, the same method follows it in the same frames.",
        effect="J of the target after full occlusion, given again in the first clear frame minus carried through, same "
        "frames",
        unit="J",
        conditions=("given again", "carried through"),
        experiment=f"{_EXPERIMENT}:given_again_and_carried",
        seeds=_SEEDS,
    ),
)
