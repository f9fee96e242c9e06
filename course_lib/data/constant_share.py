"""Windows in which the salient object takes the same share of the view in every scene: how large is large enough?

F. Azimi (2024), section 5.5.3: twenty data sets of one share each, to see at which size an object is classified best.
Unusual: a window may be asked for that is smaller than the object's box; then the object is cut, and so it is, below a
share of 1 already, where the box is longer than the window (a bus in a view of ordinary shape).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.scene_batch import areas
from course_lib.errors import InputError

CONSTANT_SHARES = tuple(step / 20 for step in range(1, 21))  # 5 %, 10 %, … 100 %


def constant_share_windows(
    boxes: Float[Tensor, "n 4"], size: tuple[int, int], share: float, seed: int = 0
) -> Float[Tensor, "n 4"]:
    """A window (x0, y0, x1, y1) for each box, in pixels, shaped as the image, of area box / share.

    boxes  of the salient objects, x0, y0, x1, y1 in pixels, inside the images
    size   height and width of the images
    share  box area over window area; above 1 the window is smaller than the box
    seed   of the position, which is uniform along each axis: among the windows that hold the box's extent there or,
           where that is longer than the window, lie within it. Only windows inside the image count; one that is larger
           than the image reaches beyond it instead, where a view is black. A scene's draw depends on the seed and on
           its place among the N only, so the sets of all shares look in the same direction.

    Raises `InputError` for a share that is not positive or boxes that are empty or reach out of the image.
    """
    height, width = size
    if not share > 0:
        raise InputError(f"share must be positive (1 is a window as large as the box), got {share}")
    frame = torch.tensor([width, height], dtype=boxes.dtype, device=boxes.device)
    low, high = boxes[:, :2], boxes[:, 2:]  # [N, 2] in x, y
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not ((low >= 0) & (low < high) & (high <= frame)).all():
        raise InputError(f"boxes must be [N, 4], not empty and inside an image of {height}x{width} (height x width)")
    extent = (areas(boxes) / (share * height * width)).sqrt()[:, None] * frame  # [N, 2]
    first, last = torch.minimum(low, high - extent), torch.maximum(low, high - extent)  # of the left upper corner
    fits = extent <= frame
    first = torch.where(fits, first.clamp_min(0), first)
    last = torch.where(fits, torch.minimum(last, frame - extent), last)
    luck = torch.rand(len(boxes), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    corner = first + luck.to(boxes) * (last - first)
    return torch.cat([corner, corner + extent], 1)


def window_matrices(windows: Float[Tensor, "n 4"], size: tuple[int, int]) -> Float[Tensor, "n 3 3"]:
    """Windows in pixels as matrices of `spatial_transformer.geometry.view`: from the view back to the image.

    Both run from -1 to 1 between their outer edges; so the whole image gives the identity.
    """
    frame = torch.tensor([size[1], size[0]], dtype=windows.dtype, device=windows.device)
    low, high = windows[:, :2] / frame, windows[:, 2:] / frame  # [N, 2] in x, y
    matrix = windows.new_zeros(len(windows), 3, 3)
    matrix[:, 0, 0], matrix[:, 1, 1] = (high - low).unbind(1)
    matrix[:, :2, 2] = low + high - 1
    matrix[:, 2, 2] = 1
    return matrix


def part_inside(boxes: Float[Tensor, "n 4"], windows: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """Share of each box that its window shows, in [0, 1]; below 1 the object is cut."""
    low, high = torch.maximum(boxes[:, :2], windows[:, :2]), torch.minimum(boxes[:, 2:], windows[:, 2:])
    return (high - low).clamp_min(0).prod(1) / areas(boxes)
