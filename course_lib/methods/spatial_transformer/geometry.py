"""Affine views of images: a matrix says where in the original each pixel of the view comes from (backward mapping).

F. Azimi (2024), section 5.3: a sequence of small warps composes into one matrix, and the original is sampled once.
Unusual: since the mapping is backward, each new matrix multiplies on the right, a scale below 1 enlarges, and a
positive shift moves the content left; coordinates run from -1 to 1 between the outer edges (align_corners=False).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError


def identity(
    batch: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "b 3 3"]:
    """The matrix of an untouched view, once per image."""
    return torch.eye(3, device=device, dtype=dtype).repeat(batch, 1, 1)


def homogeneous(theta: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b 3 3"]:
    """Add the row (0, 0, 1) to the six numbers of an affine map."""
    matrix = F.pad(theta, (0, 0, 0, 1))  # a row of zeros below; constants copied to a GPU would make it wait
    matrix[..., 2, 2] = 1
    return matrix


def compose(matrix: Float[Tensor, "*b 3 3"], action_matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The matrix of the view after one more warp: multiplication on the RIGHT.

    view_after(x) = view_before(A x) = original(M A x). So a shift after k zooms moves less of the original: the view
    moves by its own pixels, which have become small. Built in lesson 01.
    """
    return matrix @ action_matrices


def compose_sequence(action_matrices: Float[Tensor, "*b t 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """A_0 A_1 … A_{T-1}: the matrix after a whole sequence of warps, the first one first; the identity if T is 0."""
    matrix = torch.eye(3, device=action_matrices.device, dtype=action_matrices.dtype)
    matrix = matrix.expand(*action_matrices.shape[:-3], 3, 3)
    for step in range(action_matrices.shape[-3]):
        matrix = compose(matrix, action_matrices[..., step, :, :])
    return matrix


def sampling_grid(
    matrix: Float[Tensor, "b 3 3"], size: tuple[int, int], align_corners: bool = False
) -> Float[Tensor, "b h w 2"]:
    """Where (x, y) in the original, in [-1, 1], each pixel of a view of height and width `size` looks.

    The numbers of `torch.nn.functional.affine_grid`; as a row and a column added up, three times faster on a CPU.
    """
    height, width = size
    x = _centres(width, align_corners, matrix)
    y = _centres(height, align_corners, matrix)
    along_x, along_y, centre = matrix[:, None, :2].unbind(-1)  # [B, 1, 2] each
    column = along_x * x[:, None]  # [B, W, 2]
    row = along_y * y[:, None] + centre  # [B, H, 2]
    return row[:, :, None] + column[:, None]


def view(
    images: Float[Tensor, "b c h w"],
    matrix: Float[Tensor, "b 3 3"],
    size: tuple[int, int] | None = None,
    align_corners: bool = False,
) -> Float[Tensor, "b c h2 w2"]:
    """Sample each image once, bilinearly, through its matrix; outside of the image there is black.

    size           height and width of the view; None keeps the image's
    align_corners  True puts -1 and 1 on the centres of the outermost pixels instead of on their outer edges

    A literal step-by-step warp is this function applied to the previous view with the matrix of one action: it blurs
    more with every step, and what left the frame is lost. Raises `InputError` if the shapes do not fit together.
    """
    if images.ndim != 4 or matrix.shape != (len(images), 3, 3):
        raise InputError(
            f"view takes images [B, C, H, W] and one matrix each, [B, 3, 3]; got {list(images.shape)} and "
            f"{list(matrix.shape)}. An affine map [B, 2, 3] becomes one with homogeneous()"
        )
    height, width = size or (images.shape[-2], images.shape[-1])
    grid = sampling_grid(matrix.to(images.dtype), (height, width), align_corners)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)


def view_step_by_step(
    images: Float[Tensor, "b c h w"], action_matrices: Float[Tensor, "b t 3 3"], align_corners: bool = False
) -> Float[Tensor, "b c h w"]:
    """The slow and literal way: warp the image, then warp the result, and so on; `compose_sequence` makes it one."""
    for step in range(action_matrices.shape[1]):
        images = view(images, action_matrices[:, step], align_corners=align_corners)
    return images


def frame_corners(matrix: Float[Tensor, "b 3 3"], size: tuple[int, int]) -> Float[Tensor, "b 4 2"]:
    """Corners (x, y) of the view's frame in pixels of the original of height and width `size`.

    In the order left upper, right upper, right lower, left lower of the view; outer edges, so the identity gives
    0 and the full width and height.
    """
    x, y, shift = matrix[:, :2].unbind(-1)  # [B, 2] each: half a view's width, half its height, its centre
    corners = torch.stack([shift - x - y, shift + x - y, shift + x + y, shift - x + y], dim=1)  # [B, 4, 2]
    return _to_pixels(corners, size)


def transport_boxes(
    boxes: Float[Tensor, "b 4"], matrix: Float[Tensor, "b 3 3"], size: tuple[int, int]
) -> Float[Tensor, "b 4"]:
    """Boxes (x0, y0, x1, y1) of the original, in pixels of the view; not clipped to it.

    A point p of the original shows at M⁻¹ p. Boxes stay boxes under shifts and zooms; after a rotation this is the
    upright box around the turned one. size: height and width of both original and view. NaN stays NaN.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or matrix.shape != (len(boxes), 3, 3):
        raise InputError(
            f"boxes must be [B, 4] and matrices [B, 3, 3], got {list(boxes.shape)} and {list(matrix.shape)}"
        )
    height, width = size
    x0, y0, x1, y1 = boxes.unbind(-1)
    x = torch.stack([x0, x1, x1, x0], dim=-1) * (2 / width) - 1  # [B, 4] in [-1, 1]
    y = torch.stack([y0, y0, y1, y1], dim=-1) * (2 / height) - 1
    # The inverse written out: a library's would wait for the GPU to learn whether it exists.
    (a, b, e), (c, d, f) = (row[..., None].unbind(1) for row in matrix.to(boxes.dtype)[:, :2].unbind(1))  # [B, 1] each
    x, y, determinant = x - e, y - f, a * d - b * c
    shown = torch.stack([d * x - b * y, a * y - c * x], dim=-1) / determinant[..., None]  # [B, 4, 2]
    shown = _to_pixels(shown, size)
    return torch.cat([shown.amin(dim=1), shown.amax(dim=1)], dim=-1)


def clipped_share(boxes: Float[Tensor, "b 4"], size: tuple[int, int]) -> Float[Tensor, "b"]:
    """Area of each box inside the view over the area of the view, in [0, 1]. Zooming too far costs nothing."""
    return _inside(boxes, size) / (size[0] * size[1])


def true_iou(boxes: Float[Tensor, "b 4"], size: tuple[int, int]) -> Float[Tensor, "b"]:
    """Intersection over union of each unclipped box and the view, in [0, 1]: falls once the box outgrows the view."""
    inside = _inside(boxes, size)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return inside / (area + size[0] * size[1] - inside)


def _inside(boxes: Float[Tensor, "b 4"], size: tuple[int, int]) -> Float[Tensor, "b"]:
    """Area of each box that lies in the view, in pixels."""
    height, width = size
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (x1.clamp(0, width) - x0.clamp(0, width)) * (y1.clamp(0, height) - y0.clamp(0, height))


def _centres(pixels: int, align_corners: bool, like: Tensor) -> Float[Tensor, "pixels"]:
    """Coordinates of the pixels' centres along one side."""
    steps = torch.arange(pixels, device=like.device, dtype=like.dtype) - (pixels - 1) / 2
    return steps * (2 / (max(pixels - 1, 1) if align_corners else pixels))


def _to_pixels(places: Float[Tensor, "b n 2"], size: tuple[int, int]) -> Float[Tensor, "b n 2"]:
    """Coordinates (x, y) in [-1, 1] as pixels from the left upper outer edge."""
    return torch.stack([(places[..., 0] + 1) * (size[1] / 2), (places[..., 1] + 1) * (size[0] / 2)], dim=-1)
