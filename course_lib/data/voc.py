"""PASCAL VOC 2007 and 2012 as scenes with one salient object: the one with the largest box (Everingham et al., 2010).

The real data of F. Azimi (2024), section 5.5: to train on, the two `train` lists, 8,218 images; to test on, the two
`val` lists, 8,333. Unusual: images are stretched to a square, which distorts shapes but scales all areas alike, so that
the largest object stays the largest. Fetch the data with `python data_scripts/download.py voc2007 voc2012 --root DATA`.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from course_lib.data.palette_png import open_image
from course_lib.data.roots import require_root
from course_lib.data.scene_batch import SceneBatch, flip_horizontally, scene_batch
from course_lib.errors import InputError, MissingDataError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PERSON = VOC_CLASSES.index("person")
_LISTS = {"train": "train", "test": "val"}  # the official test sets of 2012 have no public boxes


@dataclass(frozen=True)
class Annotation:
    """One image of VOC and its K objects, in the order of the file."""

    image: Path
    size: tuple[int, int]  # height and width in pixels
    boxes: Float[Tensor, "k 4"]  # x0, y0, x1, y1, half-open, in pixels of the file
    labels: tuple[int, ...]  # indices into VOC_CLASSES
    difficult: tuple[bool, ...]

    def without_difficult(self) -> "Annotation":
        """The same image with only the objects that count in the challenge."""
        keep = [k for k, hard in enumerate(self.difficult) if not hard]
        return Annotation(
            self.image, self.size, self.boxes[keep], tuple(self.labels[k] for k in keep), (False,) * len(keep)
        )


class VocScenes(Dataset[SceneBatch]):
    """Map-style data set of VOC images labelled by their largest object. Item i has no leading dimension.

    root            folder that holds VOC2007 and VOC2012 (VOCdevkit, or one above it), else COURSE_DATA
    split           "train": the train lists of the years; "test": their val lists
    size            images are stretched to size x size pixels, and boxes with them
    years           which of 2007 and 2012
    keep_difficult  False leaves out objects marked difficult, and images that then have none (see `left_out`)
    flip            how often an item is mirrored, 0 to 1; drawn anew at each access from torch's generator

    Raises `MissingDataError` for folders, lists and files that are not there, `InputError` for damaged ones; both name
    the file. Built in lesson 03.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        split: Literal["train", "test"] = "train",
        size: int = 224,
        years: Sequence[int] = (2007, 2012),
        keep_difficult: bool = True,
        flip: float = 0.0,
    ) -> None:
        if split not in _LISTS:
            raise InputError(f"split must be 'train' or 'test' (the val lists), got {split!r}")
        if not years or not set(years) <= {2007, 2012} or len(set(years)) != len(years):
            raise InputError(f"years must be 2007, 2012 or both, got {tuple(years)}")
        if size < 1 or not 0 <= flip <= 1:
            raise InputError(f"size must be positive and flip a share of [0, 1]; got size={size}, flip={flip}")
        found = [note for year in years for note in _listed(require_root(f"voc{year}", root), year, _LISTS[split])]
        kept = [note if keep_difficult else note.without_difficult() for note in found]
        self.annotations = tuple(note for note in kept if note.labels)
        self.left_out = len(kept) - len(self.annotations)  # images without an object to label them by
        if not self.annotations:
            raise InputError(f"the VOC split {split!r} of {tuple(years)} has no image with an object")
        self.size, self.flip = size, flip
        self.room = max(len(note.labels) for note in self.annotations)  # M, the most objects in one image

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return VOC_CLASSES

    def __getitem__(self, index: int) -> SceneBatch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a data set of {len(self)}")
        return SceneBatch(*(part[0] for part in self.batch([index])))

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> SceneBatch:
        """Several images [N, 3, size, size] in [0, 1], read from disk; `generator` decides which are mirrored."""
        chosen = [self.annotations[int(i)] for i in indices]
        images = torch.empty(len(chosen), 3, self.size, self.size)
        for image, note in zip(images, chosen):
            image.copy_(self._read(note))
        batch = self._truth(chosen)._replace(images=images)
        if self.flip > 0:
            batch = flip_horizontally(batch, torch.rand(len(chosen), generator=generator) < self.flip)
        return batch

    def truth(self) -> SceneBatch:
        """Labels, boxes and overlaps of the whole data set in its order; images are not read, they are [N, 0, H, W].

        In pixels of the stretched images, never mirrored.
        """
        parts = [self._truth(self.annotations[i : i + 512]) for i in range(0, len(self), 512)]
        return SceneBatch(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _truth(self, notes: Sequence[Annotation]) -> SceneBatch:
        boxes, labels = torch.zeros(len(notes), self.room, 4), torch.full((len(notes), self.room), -1)
        for i, note in enumerate(notes):
            height, width = note.size
            stretch = torch.tensor([self.size / width, self.size / height] * 2)
            boxes[i, : len(note.labels)] = note.boxes * stretch
            labels[i, : len(note.labels)] = torch.tensor(note.labels)
        return scene_batch(torch.empty(len(notes), 0, self.size, self.size), boxes, labels)

    def _read(self, note: Annotation) -> Float[Tensor, "3 h w"]:
        image = open_image(note.image).convert("RGB")  # as stored: boxes know nothing of a camera's orientation tag
        if image.size != note.size[::-1]:
            raise InputError(
                f"{note.image} is {image.height}x{image.width}, but its annotation says {note.size[0]}x{note.size[1]} "
                "(height x width); one of the two files is damaged. Unpack the archive again"
            )
        square = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() * (1 / 255)  # [H, W, 3] -> [3, H, W]


def read_annotation(path: Path, image: Path) -> Annotation:
    """A VOC annotation file and the image it belongs to.

    VOC counts pixels from 1 and includes the last one: (1, 1, 5, 5) becomes (0, 0, 5, 5). What reaches beyond the
    image is cut off. Parts of objects (heads, hands and feet of some people) are not objects.
    Raises `MissingDataError` if the file is missing, `InputError` if it is damaged.
    """
    try:
        top = ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no annotation {path}; unpack the archive again") from error
    except (ElementTree.ParseError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}. Expected XML; unpack the archive again") from error
    sides = [_number(top, f"size/{name}", path) for name in ("height", "width")]
    if not all(1 <= side < 1e6 for side in sides):
        raise InputError(f"{path}: {sides[0]:g}x{sides[1]:g} is no size of an image; unpack the archive again")
    height, width = (int(side) for side in sides)
    boxes, labels, difficult = [], [], []
    for thing in top.findall("object"):
        name = (thing.findtext("name") or "").strip()
        if name not in VOC_CLASSES:
            raise InputError(f"{path}: {name!r} is not a class of VOC; known are {', '.join(VOC_CLASSES)}")
        x0, y0, x1, y1 = (_number(thing, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = max(x0 - 1, 0), max(y0 - 1, 0), min(x1, width), min(y1, height)
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"{path}: the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) of a {name} is not inside an image of "
                f"{width}x{height} (width x height)"
            )
        boxes.append(box)
        labels.append(VOC_CLASSES.index(name))
        difficult.append((thing.findtext("difficult") or "0").strip() == "1")
    return Annotation(
        image, (int(height), int(width)), torch.tensor(boxes).view(-1, 4), tuple(labels), tuple(difficult)
    )


def _listed(root: Path, year: int, name: str) -> list[Annotation]:
    """All images of a list, such as VOC2007/ImageSets/Main/train.txt."""
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        raise MissingDataError(
            f"VOC {year} has no list {path}; unpack the archive of its train and val images, or "
            f"get it with `python data_scripts/download.py voc{year}`"
        )
    ids = path.read_text().split()
    if not ids:
        raise InputError(f"{path} is empty; expected one image name a line. Unpack the archive again")
    if any((("_" in image) != (year == 2012)) for image in ids):  # 000005 in 2007, 2008_000008 in 2012
        raise InputError(
            f"{path} does not list images of VOC {year}; give as root the folder that holds VOC2007 and VOC2012"
        )
    return [read_annotation(root / "Annotations" / f"{i}.xml", root / "JPEGImages" / f"{i}.jpg") for i in ids]


def _number(node: ElementTree.Element, field: str, path: Path) -> float:
    text = node.findtext(field)
    try:
        return float(text or "")
    except ValueError as error:
        raise InputError(
            f"{path}: {field} is {'missing' if text is None else repr(text)}; expected a number. "
            "Unpack the archive again"
        ) from error
