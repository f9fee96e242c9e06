"""Scenes of several objects of which the largest is the salient one: what every source of them hands out.

The task of F. Azimi (2024), section 5.5: the label is the class of the object with the largest box. Unusual: objects
are stored sorted by area, so the salient one is always number 0, and how much of it the others cover is measured
exactly, as the area of a union of rectangles.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.errors import InputError


class SceneBatch(NamedTuple):
    """N scenes with room for M objects each, sorted by the area of their boxes, the largest first.

    An item of a data set is the same without the leading dimension; a DataLoader stacks items into a batch.
    """

    images: Float[Tensor, "n c h w"]  # in [0, 1]
    labels: Int[Tensor, "n"]  # class of the largest object
    boxes: Float[Tensor, "n 4"]  # of the largest object: x0, y0, x1, y1 in pixels, half-open
    object_boxes: Float[Tensor, "n m 4"]  # zeros where there is no object
    object_labels: Int[Tensor, "n m"]  # -1 where there is no object
    overlap: Float[Tensor, "n"]  # share of the largest box that lies under other boxes, in [0, 1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def share(self) -> Float[Tensor, "n"]:
        """Share of the image that the largest box takes, in [0, 1]."""
        return areas(self.boxes) / (self.images.shape[-2] * self.images.shape[-1])

    def to(self, device: torch.device | str) -> "SceneBatch":
        """The same batch on a device."""
        return SceneBatch(*(part.to(device) for part in self))

    def select(self, index: Tensor | slice) -> "SceneBatch":
        """Some of the scenes: a mask [N], indices, or a slice."""
        return SceneBatch(*(part[index] for part in self))


def scene_batch(
    images: Float[Tensor, "n c h w"], boxes: Float[Tensor, "n m 4"], labels: Int[Tensor, "n m"]
) -> SceneBatch:
    """Sort the objects of each scene by area and fill in label, box and overlap of the largest.

    labels  class of each object, -1 for none; boxes of "none" are set to zero. Among boxes of equal area the earlier
            one comes first.

    Raises `InputError` if the shapes do not fit together or a scene has no object.
    """
    n, m = labels.shape
    if m < 1 or boxes.shape != (n, m, 4) or len(images) != n:
        raise InputError(
            f"a scene batch takes images [N, C, H, W], boxes [N, M, 4] and labels [N, M] with M >= 1; got "
            f"{list(images.shape)}, {list(boxes.shape)} and {list(labels.shape)}"
        )
    there = labels >= 0
    empty = ~there.any(1)
    if empty.any():
        raise InputError(f"scene {int(empty.nonzero()[0])} of the batch has no object; every scene needs at least one")
    boxes = torch.where(there[..., None], boxes, 0)
    order = torch.where(there, areas(boxes), -1).sort(dim=1, descending=True, stable=True).indices  # [N, M]
    boxes, labels = boxes.gather(1, order[..., None].expand(-1, -1, 4)), labels.gather(1, order)
    return SceneBatch(images, labels[:, 0], boxes[:, 0], boxes, labels, overlap_with_first(boxes))


def areas(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Areas of boxes (x0, y0, x1, y1)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlap_with_first(boxes: Float[Tensor, "n m 4"]) -> Float[Tensor, "n"]:
    """Area of the first box that lies under at least one of the others, over its own area; in [0, 1].

    The edges of the boxes cut the first one into a grid of (2M-3)^2 cells, each wholly covered or not at all: exact,
    and no pixel is counted. Azimi (2024), section 5.5.4, measures so where the largest object need not be the salient.
    """
    first, others = boxes[:, :1], boxes[:, 1:]
    if not others.shape[1]:
        return boxes.new_zeros(len(boxes))
    low = torch.maximum(others[..., :2], first[..., :2])  # [N, M-1, 2] the parts inside the first box
    high = torch.maximum(torch.minimum(others[..., 2:], first[..., 2:]), low)
    edges = torch.cat([low, high], 1).sort(dim=1).values  # [N, 2M-2, 2]
    within = (low[:, :, None] <= edges[:, None, :-1]) & (edges[:, None, 1:] <= high[:, :, None])  # [N, M-1, 2M-3, 2]
    across, down = within.to(boxes.dtype).unbind(-1)
    covered = torch.einsum("nkx,nky->nxy", across, down) > 0  # [N, 2M-3, 2M-3]
    width, height = edges.diff(dim=1).unbind(-1)  # [N, 2M-3] each
    area = torch.einsum("nxy,nx,ny->n", covered.to(boxes.dtype), width, height)
    return area / areas(boxes[:, 0]).clamp_min(1e-12)


def flip_horizontally(batch: SceneBatch, which: Bool[Tensor, "n"]) -> SceneBatch:
    """Mirror the scenes where `which` is true: left becomes right, in boxes as in images."""
    width = batch.size[1]

    def mirrored(boxes: Tensor) -> Tensor:
        return torch.stack([width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]], -1)

    there = (batch.object_labels >= 0)[..., None] & which[:, None, None]  # "none" stays zero
    return batch._replace(
        images=torch.where(which[:, None, None, None], batch.images.flip(-1), batch.images),
        boxes=torch.where(which[:, None], mirrored(batch.boxes), batch.boxes),
        object_boxes=torch.where(there, mirrored(batch.object_boxes), batch.object_boxes),
    )
