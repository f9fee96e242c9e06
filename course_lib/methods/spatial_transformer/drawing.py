"""What an agent sees and where it looks: the original with the frame of the view drawn on it, and the view beside it.

For the episode player of lesson 01 and for the rendering of the Gymnasium environments. Unusual: the original stands on
a grey margin, because a view may well look beyond its edge.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.geometry import frame_corners
from course_lib.viz.palette import HIGHLIGHT

_GREY = 96
_LEAST_SIDE = 160  # pixels to which small images are enlarged
_TOP = (0, 1)  # corners of the view's upper edge, drawn thicker, so that a turned frame shows which way is up


def draw_views(
    original: Float[Tensor, "c h w"], view: Float[Tensor, "c h w"], matrix: Float[Tensor, "3 3"]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The original with the view's frame (its upper edge thick) on the left, and the view on the right.

    original, view: one or three channels in [0, 1], of one size; matrix: that of the view.
    """
    if original.ndim != 3 or original.shape[0] not in (1, 3) or view.shape != original.shape:
        raise InputError(
            f"original and view must be [1 or 3, H, W], of one size; got {list(original.shape)}, {list(view.shape)}"
        )
    height, width = original.shape[-2:]
    scale = max(1, -(-_LEAST_SIDE // min(height, width)))  # rounded up
    margin = scale * max(height, width) // 4
    left, right = _on_margin(original, scale, margin), _on_margin(view, scale, margin)
    corners = frame_corners(matrix[None].cpu().float(), (height, width))[0].numpy() * scale + margin  # [4, 2]
    colour = tuple(int(HIGHLIGHT[i : i + 2], 16) for i in (1, 3, 5))
    places = np.clip(corners, -8 * margin, 8 * margin + 8 * scale * max(height, width)).round().astype(np.int32)
    cv2.polylines(left, [places], isClosed=True, color=colour, thickness=1)
    cv2.line(left, places[_TOP[0]].tolist(), places[_TOP[1]].tolist(), colour, thickness=3)
    return np.concatenate([left, right], axis=1)


def _on_margin(image: Tensor, scale: int, margin: int) -> UInt8[np.ndarray, "h w 3"]:
    """An image [C, H, W] enlarged, in the middle of a grey surface."""
    pixels = (image.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()  # [H, W, C]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.pad(large, ((margin, margin), (margin, margin), (0, 0)), constant_values=_GREY)
