"""Matching: features of a reference frame with its mask meet what is remembered at the current frame.

F. Azimi (2024), sections 6.4 and 6.4.2, equations 6.10 to 6.13: frame 0 is the only reference without errors, frame
t - 1 the one that looks most alike. Unusual: the reference encoder may be the network's own (siamese, as in RGMP); the
thesis reports that sharing it hurts, since image and mask agree in time here and do not there.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import xavier
from course_lib.methods.recurrent.fusion import Fusion
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder

Reference = Literal["first", "previous"]
REFERENCES: tuple[Reference, ...] = ("first", "previous")


class LevelMatching(nn.Module):
    """One fusion per reference at one level; a 1x1 convolution joins what they found.

    Raises `InputError` without fusions, and for other references than 'first' and 'previous'.
    """

    def __init__(self, fusions: dict[Reference, Fusion], out: int) -> None:
        super().__init__()
        if not fusions or not set(fusions) <= set(REFERENCES):
            raise InputError(f"matching needs a reference, 'first', 'previous' or both, got {list(fusions)}")
        self.fusions = nn.ModuleDict({name: fusions[name] for name in REFERENCES if name in fusions})
        self.join = xavier(nn.Conv2d(sum(fusion.out for fusion in fusions.values()), out, 1))
        self.out = out

    def forward(self, references: dict[Reference, Tensor], memory: Float[Tensor, "b c h w"]) -> Tensor:
        objects = len(next(iter(references.values())))
        memory = memory.expand(objects, -1, -1, -1)  # features of one frame, if nothing is remembered
        found = [self.fusions[name](references[name], memory) for name in REFERENCES if name in self.fusions]
        return F.relu(self.join(torch.cat(found, dim=1)))


class Matching(nn.Module):
    """Matching at the bottleneck and, if wanted, at finer levels.

    levels   stride -> `LevelMatching`; the deepest compares bottleneck features, the others the levels there
    encoder  guided encoder of the references; None takes the network's own

    `references` says which frames are asked. Raises `InputError` for an encoder that takes no mask.
    """

    def __init__(self, levels: dict[int, LevelMatching], encoder: MaskedEncoder | None) -> None:
        super().__init__()
        if encoder is not None and not encoder.guided:
            raise InputError("a reference is a frame with its mask: build the reference encoder with guided=True")
        names = {name for level in levels.values() for name in level.fusions}
        self.encoder = encoder
        self.stride = max(levels)
        self.levels = nn.ModuleDict({str(stride): level for stride, level in levels.items()})
        self.references: tuple[Reference, ...] = tuple(name for name in REFERENCES if name in names)
        self.channels = {stride: level.out for stride, level in levels.items()}

    def kept(self, features: Features) -> Features:
        """The part of a reference's features that is ever asked; the rest need not be stored."""
        return Features({s: features.levels[s] for s in self.channels if s != self.stride}, features.deep)

    def forward(self, references: dict[Reference, Features], hidden: dict[int, Tensor]) -> dict[int, Tensor]:
        """`hidden` by stride, with the maps of the levels that match replaced by what was found there."""
        found = dict(hidden)
        for name, level in self.levels.items():
            stride = int(name)
            maps = {r: f.deep if stride == self.stride else f.levels[stride] for r, f in references.items()}
            found[stride] = level(maps, hidden[stride])
        return found
