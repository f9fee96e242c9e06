"""The rows of the table by name: a network, what its memory holds, and nothing else that differs.

M. Paul (2023), tables 4.1 to 4.3, 4.10 and the second network of table 4.6. Unusual: the thesis compares with the
network that was never trained further; two controls stand beside it here, its decoder trained as long as that of the
others, and the same layers with this frame in the place of the past.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from course_lib.errors import InputError
from course_lib.methods.local_memory.config import LocalMemoryConfig
from course_lib.methods.local_memory.small_segmenters import Backbone, SmallERFNet, SmallPyramidNet
from course_lib.methods.local_memory.train_config import LocalMemoryTraining
from course_lib.methods.propagation.erfnet import ERFNet
from course_lib.methods.propagation.pspnet import PSPNet
from course_lib.methods.propagation.segmenter import FrameSegmenter


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    description: str
    changes: Mapping[str, object] = field(default_factory=dict)
    """Fields of `LocalMemoryConfig` in which the row differs from the training's."""
    backbone: Backbone = "erf"
    trained: bool = True
    """False: the segmenter as it is after stage 0."""
    read_sizes: tuple[int, ...] = ()
    """Memory sizes that the trained network is also tested with, where test clips are long enough."""

    def memory(self, training: LocalMemoryTraining) -> LocalMemoryConfig:
        """How frames are remembered, read and fused."""
        return replace(training.memory_of(self.backbone), **self.changes)  # type: ignore[arg-type]

    def own_size(self, training: LocalMemoryTraining) -> int:
        """Past frames that it sees: 0 for controls."""
        memory = self.memory(training)
        return memory.memory_size if memory.source == "past" else 0

    def sizes(self, training: LocalMemoryTraining) -> tuple[int, ...]:
        """Memory sizes that it is tested with, rising."""
        longest = training.test_frames - 1
        return tuple(sorted({self.own_size(training), *(size for size in self.read_sizes if size <= longest)}))

    @property
    def frame_row(self) -> str:
        """The row whose segmenter this one gives a memory."""
        return "frame" if self.backbone == "erf" else f"{self.backbone}-frame"


_LONGER = (1, 2, 3, 4, 6, 8, 12)

ROWS: tuple[Row, ...] = (
    Row("frame", "single frames, no memory", {"source": "none"}, trained=False),
    Row("decoder", "control: no memory, the decoder trained as long", {"source": "none"}),
    Row("self", "control: the same layers, this frame in the place of the past", {"source": "self"}),
    Row("memory", "local memory: windows of 7 cells, gated fusion", read_sizes=_LONGER),
    Row("size-1", "a memory of one frame", {"memory_size": 1}),
    Row("size-4", "a memory of four frames", {"memory_size": 4}, read_sizes=_LONGER),
    Row("window-1", "looks at the same place only", {"window": 1}),
    Row("window-1-self", "control of window-1: this frame in the place of the past", {"window": 1, "source": "self"}),
    Row("window-3", "windows of 3 cells", {"window": 3}),
    Row("window-11", "windows of 11 cells", {"window": 11}),
    Row("window-all", "looks at all places", {"window": None}),
    Row("concat", "both sides beside each other, no gates", {"fusion": "concat"}),
    Row("scale-sqrt", "scores divided by the root of the key's width", {"scale": "sqrt"}),
    Row("scale-learned", "scores times a learned factor", {"scale": "learned"}),
    Row("pyramid-frame", "second network: single frames", {"source": "none"}, "pyramid", trained=False),
    Row("pyramid-decoder", "second network: the decoder trained as long", {"source": "none"}, "pyramid"),
    Row("pyramid-self", "second network: this frame in the place of the past", {"source": "self"}, "pyramid"),
    Row("pyramid-memory", "second network: local memory", backbone="pyramid"),
)
ROW_NAMES = tuple(row.name for row in ROWS)

SHIPPED_ROWS = {  # networks that ship with the course, and which row each is
    "lmanet-small": "memory",
    "lmanet-small-self": "self",
    "lmanet-small-frame": "frame",
}


def row_named(name: str) -> Row:
    """The row called `name`. Raises `InputError` naming the rows there are."""
    for row in ROWS:
        if row.name == name:
            return row
    raise InputError(f"unknown row {name!r}; there are {', '.join(ROW_NAMES)}")


def build_backbone(backbone: Backbone, training: LocalMemoryTraining, classes: int) -> FrameSegmenter:
    """A new segmenter with random weights, small or published."""
    training.memory_of(backbone)  # refuses an unknown one
    if training.networks == "published":
        return ERFNet(classes) if backbone == "erf" else PSPNet(classes)
    return SmallERFNet(classes) if backbone == "erf" else SmallPyramidNet(classes)
