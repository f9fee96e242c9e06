"""The rows of the ablation table by name: a network, its loss and its teacher. All train alike otherwise.

F. Azimi (2024), tables 6.2, 6.3, 6.8 to 6.11, and the probe of section 6.3.1. Unusual: two rows of the tables are one
network at small size, where all share a backbone, and are trained once: S2S*++ is S2S with a skip-memory and distance
classes, and 22 distance classes are the default.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from course_lib.errors import InputError
from course_lib.methods.recurrent.losses import LossConfig
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.rows import (
    Network,
    bi_hs2s,
    hs2s,
    mask_guided,
    raft_hs2s,
    rgmp,
    s2s,
    s2s_plus_plus,
    with_backbone,
)
from course_lib.methods.recurrent.schedules import TEACHER_FORCING, ScheduledSampling
from course_lib.methods.recurrent.sizes import Backbone, Border, Size
from course_lib.methods.recurrent.train_config import MASKS_WEIGHT, Family, RecurrentTraining


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    build: Callable[..., Network]
    """Called with a `Size` and imagenet=."""
    description: str
    family: Family = "hs2s"
    distance: Border | bool = True
    """Distance classes of the network: those of its size, others, or none."""
    balanced: bool = True
    """Weigh object and background by their share of pixels."""
    sampling: ScheduledSampling | None = None
    """A teacher of its own; None takes that of the training."""
    blind: float = 0.0
    """Share of the training frames with which the encoder is shown an empty mask, so that references are needed."""

    def network(self, size: Size, imagenet: bool = False) -> Network:
        """A new network of this row."""
        return self.build(size, imagenet=imagenet)

    def loss(self, config: RecurrentTraining) -> LossConfig:
        """What the row is trained on."""
        border = self.distance if isinstance(self.distance, Border) else config.size.border
        # With the object's weight capped at one half, both classes weigh the same: plain cross-entropy, halved.
        ceiling = 1.0 if self.balanced else 0.5
        masks, jaccard = MASKS_WEIGHT - config.jaccard_weight, config.jaccard_weight
        loss = LossConfig(masks, jaccard, config.distance_weight, border.radius, border.width, ceiling=ceiling)
        return loss if self.distance else loss.without_distance()


def _s2s(name: str, description: str, **changes: object) -> Row:
    distance = changes.get("distance", False)
    assert isinstance(distance, (Border, bool))
    return Row(name, partial(s2s, **changes), description, "s2s", distance)  # type: ignore[arg-type]


def _hs2s_on(backbone: Backbone, size: Size, imagenet: bool = False) -> RecurrentVOS:
    """HS2S on one of the small backbones of table 6.12."""
    return hs2s(with_backbone(size, backbone), imagenet=imagenet)


SIX, FORTY_TWO = Border(10, 5), Border(20, 1)

ROWS: tuple[Row, ...] = (
    _s2s("s2s", "S2S"),
    _s2s("s2s-distance", "S2S with distance classes", distance=True),
    _s2s("s2s-skip1", "S2S with one skip-memory", skip_memories=1),
    _s2s("s2s-skip1-distance", "S2S with one skip-memory and distance classes", skip_memories=1, distance=True),
    Row("s2s-plus-plus", s2s_plus_plus, "S2S++: two skip-memories, 22 distance classes", "s2s"),
    Row("s2s-plus-plus-6", partial(s2s_plus_plus, distance=SIX), "S2S++ with 6 distance classes", "s2s", SIX),
    Row(
        "s2s-plus-plus-42", partial(s2s_plus_plus, distance=FORTY_TWO), "S2S++ with 42 distance classes", "s2s",
        FORTY_TWO,
    ),
    Row("mask-guided", mask_guided, "no recurrence, the previous mask goes in", "s2s", False),
    Row("rgmp", rgmp, "matching with frame 0, no recurrence", distance=False),
    Row("hs2s", hs2s, "HS2S: recurrence and matching with frame 0 and the previous frame"),
    Row("hs2s-first", partial(hs2s, references=("first",)), "HS2S with frame 0 alone"),
    Row("hs2s-previous", partial(hs2s, references=("previous",)), "HS2S with the previous frame alone"),
    Row("hs2s-cosine", partial(hs2s, fusion="cosine"), "HS2S that matches by cosine similarity"),
    Row("hs2s-attention", partial(hs2s, fusion="axial attention"), "HS2S that matches by axial attention"),
    Row("hs2s-shared", partial(hs2s, shared=True), "HS2S whose references go through the encoder itself"),
    Row("hs2s-initializer", partial(hs2s, initializer=True), "HS2S with an initializer"),
    Row("hs2s-tt", partial(hs2s, cell="tensor train"), "HS2S with Conv-TT-LSTM"),
    Row("hs2s-deep", partial(hs2s, cell="deep"), "HS2S with five recurrent layers"),
    Row("hs2s-gru", partial(hs2s, cell="gru"), "HS2S with ConvGRU (not in the thesis)"),
    Row("hs2s-residual", partial(_hs2s_on, "residual"), "HS2S on a residual backbone"),
    Row("hs2s-dilated", partial(_hs2s_on, "dilated"), "HS2S on a residual backbone that dilates its last stage"),
    Row("hs2s-dilated-aspp", partial(_hs2s_on, "dilated-aspp"), "HS2S on the dilated backbone with ASPP"),
    Row("hs2s-axial", partial(_hs2s_on, "axial"), "HS2S on a backbone that ends in axial attention"),
    Row("bi-hs2s", bi_hs2s, "Bi-HS2S: forward and backward memory"),
    Row("raft-hs2s", raft_hs2s, "RAFT-HS2S: HS2S that also learns optical flow without labels"),
    Row("hs2s-blind", hs2s, "HS2S whose encoder is shown an empty mask in three training frames of ten", blind=0.3),
    Row("hs2s-teacher", hs2s, "HS2S with true masks throughout training", sampling=TEACHER_FORCING),
    Row("s2s-plain-bce", s2s, "S2S with plain cross-entropy", "s2s", False, balanced=False),
)  # fmt: skip
ALIASES = {"s2s-star-plus": "s2s-skip1-distance", "s2s-plus-plus-22": "s2s-plus-plus"}
ROW_NAMES = tuple(row.name for row in ROWS)

SHIPPED_ROWS = {  # networks that ship with the course, and which row each is
    "s2s-small": "s2s",
    "s2s-plus-plus-small": "s2s-plus-plus",
    "hs2s-small": "hs2s",
    "hs2s-first-small": "hs2s-first",
    "hs2s-previous-small": "hs2s-previous",
    "bi-hs2s-small": "bi-hs2s",
    "hs2s-blind-small": "hs2s-blind",
    "hs2s-lite": "hs2s",
}


def row_named(name: str) -> Row:
    """The row called `name`, or which an alias means. Raises `InputError` naming the rows there are."""
    wanted = ALIASES.get(name, name)
    for row in ROWS:
        if row.name == wanted:
            return row
    raise InputError(f"unknown row {name!r}; there are {', '.join((*ROW_NAMES, *ALIASES))}")
