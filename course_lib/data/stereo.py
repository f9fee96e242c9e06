"""A real stereo pair with measured disparity, from the wheel of scikit-image: nothing to download.

It is the "Motorcycle" scene of the Middlebury 2014 stereo benchmark (Scharstein et al., 2014), made smaller by
scikit-image. Unlike the synthetic world it has noise, shine, and pixels for which nobody knows the answer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.world.photographs import photograph, photograph_path


@dataclass(frozen=True)
class StereoPair:
    """Two rectified views: the point at column x of `left` lies at x - disparity in the same row of `right`."""

    left: UInt8[Tensor, "3 h w"]
    right: UInt8[Tensor, "3 h w"]
    disparity: Float[Tensor, "h w"]  # pixels, of the left view; nan where it was not measured


def load_motorcycle() -> StereoPair:
    """The 500x741 motorcycle pair. Raises `MissingDataError` if scikit-image was installed without its pictures."""
    left, right = (
        torch.from_numpy(np.round(photograph(name) * 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
        for name in ("motorcycle", "motorcycle_right")
    )
    with np.load(photograph_path("motorcycle_disparity")) as archive:
        disparity = torch.from_numpy(archive["arr_0"].astype(np.float32))
    return StereoPair(left, right, torch.where(disparity.isfinite(), disparity, torch.nan))
