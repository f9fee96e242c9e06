"""Claims of lesson 13 about a target that is long hidden: who loses it, why, and what helps.

Pourganjalikhan (2021) shows the failure in pictures. Unusual: its cause is tested too, by a memory that evicts nothing,
and so is a remedy. `minutes` counts a run that claims share once, at the first; `lesson13.py` lists all claims.
"""

from course_lib.claims.claim import Claim, Source

_SEEDS = (10, 11, 12, 13, 14)
_COMPARISONS = "course_lib.methods.space_time_memory.comparisons"
_HIDDEN = "frames with at least half of the target visible after it was wholly hidden for 30 frames or more"


def _source(kind: str = "thesis") -> Source:
    return Source("A. Pourganjalikhan", 2021, "3.5.5", kind=kind)


OCCLUSION = (
    Claim(
        id="13-occlusion-first-latest",
        lesson="13",
        method="adaptive memory",
        source=_source(),
        statement="An adaptive memory loses a target that is long hidden; one that keeps the first frame finds it "
        "again if it looks the same.",
        effect=f"J of the target with first-and-latest minus J with the adaptive memory of two frames, {_HIDDEN}",
        unit="J",
        conditions=("first and latest", "adaptive"),
        experiment=f"{_COMPARISONS}:first_latest_and_adaptive_after_hiding",
        seeds=_SEEDS,
        minutes=1.8,
        note="Shown there in pictures (figure 9). First-and-latest also stores each frame in which the target begins "
        "to show again, and what it overlooks there it remembers as background.",
    ),
    Claim(
        id="13-occlusion-evicted",
        lesson="13",
        method="adaptive memory",
        source=_source(),
        statement="A hidden target is lost because its cells are evicted: a memory that keeps all it stored finds it "
        "again.",
        effect=f"J of the target with every-5 minus J with the adaptive memory of two frames, {_HIDDEN}",
        unit="J",
        conditions=("every 5", "adaptive"),
        experiment=f"{_COMPARISONS}:every_k_and_adaptive_after_hiding",
        seeds=_SEEDS,
        minutes=1.1,
        note="The thesis names this cause without testing it.",
    ),
    Claim(
        id="13-occlusion-changed-look",
        lesson="13",
        method="adaptive memory",
        source=_source(),
        statement="If the target looks different when it comes back, the adaptive memory follows it better than first "
        "and latest frame.",
        effect="J of the target with the adaptive memory of two frames minus J with first-and-latest, texture of all "
        f"objects changed halfway into another one over the clip, {_HIDDEN}",
        unit="J",
        conditions=("adaptive", "first and latest"),
        experiment=f"{_COMPARISONS}:adaptive_and_first_latest_after_change",
        seeds=_SEEDS,
        minutes=1.8,
        note="The converse of what the thesis says of a target that looks the same; it does not claim it itself. "
        "About three quarters of the change happen while the target is hidden.",
    ),
    Claim(
        id="13-pinned",
        lesson="13",
        method="adaptive memory",
        source=_source("control"),
        statement="Pinning the first frame's cells helps an adaptive memory of the same size to find a long hidden "
        "target again.",
        effect="J of the target with frame 0 pinned minus J without, adaptive memory of three frames, " + _HIDDEN,
        unit="J",
        conditions=("pinned", "not pinned"),
        experiment=f"{_COMPARISONS}:pinned_and_adaptive_after_hiding",
        seeds=_SEEDS,
        minutes=1.8,
        note="A remedy that the thesis does not try.",
    ),
)
