"""Random changes to a clip that keep its labels true: a crop and colours for the whole clip, a small jolt per frame.

The whole clip shares flip, crop, colour and greyness; each frame gets its own affine map, bend and colour on top, as in
STCN's training (Cheng et al., NeurIPS 2021). Unusual: every number comes from one generator that the caller gives.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.training.warp import CONTROL_POINTS, Warp

_LUMA = (0.2989, 0.587, 0.114)  # grey value of red, green and blue, as torchvision has it


@dataclass(frozen=True)
class Augment:
    """Ranges of the changes. The defaults suit clips; `Augment.for_stills` makes moving views of one image."""

    flip: float = 0.5
    """Probability of mirroring the clip left to right."""
    area: tuple[float, float] = (0.36, 1.0)
    """Share of the frame that the crop shows."""
    stretch: float = 4 / 3
    """The crop is up to this factor wider or higher than the output."""
    grey: float = 0.05
    """Probability of a grey clip."""
    colour: float = 0.1
    """Brightness, contrast and saturation of the clip each change by up to this share."""
    frame_colour: float = 0.05
    """The same for each frame by itself."""
    degrees: float = 5.0
    """Rotation of each frame, to either side."""
    shear: float = 3.0
    """Shear of each frame in degrees, to either side."""
    zoom: float = 0.05
    """Size of each frame changes by up to this share."""
    shift: float = 0.03
    """Each frame moves by up to this share of the crop."""
    bend: float = 0.0
    """Standard deviation of the thin-plate bend of each frame, as a share of half the crop."""

    def __post_init__(self) -> None:
        low, high = self.area
        if not 0 < low <= high <= 1 or self.stretch < 1 or not 0 <= self.flip <= 1 or not 0 <= self.grey <= 1:
            raise InputError(f"expected 0 < area <= 1 in order, stretch >= 1, flip and grey probabilities; got {self}")
        shares = (self.colour, self.frame_colour, self.zoom, self.shift, self.bend)
        if any(not 0 <= share < 1 for share in shares) or not 0 <= self.shear < 60 or self.degrees < 0:
            raise InputError(f"expected shares in [0, 1), shear in [0, 60) and degrees >= 0; got {self}")

    @classmethod
    def for_stills(cls) -> "Augment":
        """Views of one image that differ like frames of a video: turned, sheared, scaled, bent, relit."""
        return cls(degrees=20.0, shear=10.0, zoom=0.15, shift=0.1, bend=0.04, frame_colour=0.1)

    @classmethod
    def none(cls) -> "Augment":
        """The largest central crop, unchanged."""
        return cls(0.0, (1.0, 1.0), 1.0, *[0.0] * 8)

    def window(
        self, rng: np.random.Generator, source: tuple[int, int], size: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """A random crop x0, y0, x1, y1 in pixels of a source [H, W], of about the shape of the output `size`."""
        height, width = source
        aspect = size[1] / size[0] * self.stretch ** rng.uniform(-1, 1)
        wide = min(width, height * aspect)  # of the largest crop of this shape
        share = math.sqrt(rng.uniform(*self.area))
        w, h = wide * share, wide / aspect * share
        x0, y0 = rng.uniform(0, 1) * (width - w), rng.uniform(0, 1) * (height - h)
        return x0, y0, x0 + w, y0 + h

    def warp(self, rng: np.random.Generator, n: int, window: tuple[float, float, float, float]) -> Warp:
        """Random maps of `n` frames seen through a window."""
        mirror = -1.0 if rng.uniform() < self.flip else 1.0
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, n))
        slant = np.tan(np.deg2rad(rng.uniform(-self.shear, self.shear, n)))
        size = 1 + rng.uniform(-self.zoom, self.zoom, n)
        cos, sin = np.cos(angle) * size, np.sin(angle) * size
        # rotation · scale · shear · mirror, from output to source
        matrices = np.stack([mirror * cos, slant * cos - sin, mirror * sin, slant * sin + cos], axis=1)
        shifts = rng.uniform(-2 * self.shift, 2 * self.shift, (n, 2))  # in halves of the window
        bends = None
        if self.bend > 0:
            bends = torch.from_numpy(rng.normal(0, self.bend, (n, CONTROL_POINTS**2, 2))).float()
        return Warp(window, torch.from_numpy(matrices).float().view(n, 2, 2), torch.from_numpy(shifts).float(), bends)

    def recolour(self, rng: np.random.Generator, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 h w"]:
        """Random colours, for the clip and for each frame."""
        factors = 1 + rng.uniform(-self.colour, self.colour, (3, 1))
        factors = factors * (1 + rng.uniform(-self.frame_colour, self.frame_colour, (3, len(frames))))
        if rng.uniform() < self.grey:
            factors[2] = 0
        return adjust_colours(frames, *torch.from_numpy(factors).float())


def adjust_colours(
    frames: Float[Tensor, "t 3 h w"],
    brightness: Float[Tensor, "t"],
    contrast: Float[Tensor, "t"],
    saturation: Float[Tensor, "t"],
) -> Float[Tensor, "t 3 h w"]:
    """Multiply each frame's brightness, then its contrast about its mean grey, then its saturation. In [0, 1].

    1 changes nothing; saturation 0 gives grey. One factor per frame, unlike torchvision's functions, which take one.
    """
    luma = torch.tensor(_LUMA).view(1, 3, 1, 1)

    def towards(reference: Tensor, frames: Tensor, factor: Tensor) -> Tensor:
        return torch.lerp(reference, frames, factor.view(-1, 1, 1, 1)).clamp_(0, 1)

    frames = (frames * brightness.view(-1, 1, 1, 1)).clamp_(0, 1)
    frames = towards((frames * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True), frames, contrast)
    return towards((frames * luma).sum(1, keepdim=True), frames, saturation)
