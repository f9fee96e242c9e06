"""Colour scenes of the synthetic world: textured objects before a backdrop, labelled by the kind of the largest one.

Between the digits of `data.scenes` and photographs: the salient-object task of F. Azimi (2024), section 5.5, with the
backdrops and sprites of the video world, where smaller objects may hide part of a larger one. Unusual: as annotators
do, boxes are drawn around what is seen; the exact truth of the renderer decides which scenes are kept.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from course_lib.data.atomic import atomic_path
from course_lib.data.scene_batch import SceneBatch, scene_batch
from course_lib.data.world.arrange import Arrangement, arrange
from course_lib.data.world.config import WorldConfig
from course_lib.data.world.stage import class_pool
from course_lib.errors import InputError

FORMAT = 1  # of cached files; to be raised when the same config gives other scenes


@dataclass(frozen=True)
class WorldSceneConfig:
    """What a scene holds. Sizes are square roots of box areas, so that a long object counts as much as a round one.

    Raises `InputError` for values out of range.
    """

    height: int = 64  # pixels
    width: int = 64
    salient_size: tuple[float, float] = (0.3, 0.65)  # of the largest object, over the shorter side of the image
    n_smaller: tuple[int, int] = (1, 3)  # how many others; those for which no room is left are left out
    smaller_size: tuple[float, float] = (0.3, 0.75)  # of the others, over that of the largest object
    overlap: Literal["none", "allowed"] = "none"  # "none": no two boxes overlap
    overlap_range: tuple[float, float] = (0.0, 1.0)  # of the largest box that lies under others, if allowed
    visible: float = 0.5  # least share of the pixels of each object that is seen
    dominant: float | None = None  # how often an object is of class 0; None: as often as of any other class
    clutter: float = 0.0  # 0..1: eight times this many unlabelled shapes behind the objects
    classes: Literal["seen", "unseen", "all"] = "seen"  # which kinds of the synthetic world
    photographs: bool = False  # also photographs: cut-outs as further classes, but unlabelled cats on backdrops
    split: Literal["train", "test"] = "train"  # scenes of the two have no random number in common

    def __post_init__(self) -> None:
        self.world()
        for name, low, high in (("salient_size", 0.05, 0.9), ("smaller_size", 0.05, 0.95), ("overlap_range", 0, 1)):
            pair = getattr(self, name)
            if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
                raise InputError(f"{name} must be two numbers from {low} to {high}, the lower one first; got {pair!r}")
        least, most = self.n_smaller
        if type(least) is not int or type(most) is not int or not 0 <= least <= most <= 62:
            raise InputError(f"n_smaller must be two whole numbers from 0 to 62, got {self.n_smaller!r}")
        if self.overlap not in ("none", "allowed") or self.split not in ("train", "test"):
            raise InputError(
                f"overlap must be 'none' or 'allowed' and split 'train' or 'test', got {self.overlap!r}, {self.split!r}"
            )
        if self.overlap == "none" and self.overlap_range != (0, 1):
            raise InputError("overlap_range has a meaning with overlap='allowed' only")
        if self.overlap_range[0] > 0 and not least:
            raise InputError(f"an overlap of at least {self.overlap_range[0]} needs smaller objects; raise n_smaller")
        if self.overlap_range[0] >= self.smaller_size[1] ** 2:
            raise InputError(
                f"objects of {self.smaller_size[1]} times the size of the largest cover "
                f"{self.smaller_size[1] ** 2:.2f} of its box at most, so an overlap of {self.overlap_range[0]} or more "
                "cannot be had; raise smaller_size"
            )
        if not 0 < self.visible <= 1:
            raise InputError(f"visible must be a share above 0 and at most 1, got {self.visible!r}")
        if self.dominant is not None and not 0 < self.dominant < 1:
            raise InputError(f"dominant is a share between 0 and 1, or None; got {self.dominant!r}")

    def world(self) -> WorldConfig:
        """The world that the backdrops, the clutter and the sprites come from."""
        return WorldConfig(
            n_objects=1, length=1, height=self.height, width=self.width, clutter=self.clutter, classes=self.classes,
            photographs=self.photographs, dense_truth=False,
        )  # fmt: skip

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return tuple(class_pool(self.world()))


class WorldScenes(Dataset[SceneBatch]):
    """`n` scenes, rendered once and kept as bytes. Item i is a `SceneBatch` without the leading dimension.

    n         scene i depends on the config, the seed and i only, so more scenes begin with the same ones
    cache     folder in which rendered scenes are kept and looked for; None keeps nothing
    progress  show a bar while rendering

    Raises `InputError` where a scene cannot be arranged as asked or a cached file is damaged, `WriteError` where the
    cache cannot be written. Built in lesson 03.
    """

    def __init__(
        self,
        config: WorldSceneConfig | None = None,
        n: int = 2000,
        seed: int = 0,
        cache: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.config = config or WorldSceneConfig()
        if n < 1 or seed < 0:
            raise InputError(f"a data set needs at least one scene and a seed that is not negative; got {n}, {seed}")
        self.seed = seed
        path = Path(cache).expanduser() / f"world_scenes-{self._digest(n)}.safetensors" if cache is not None else None
        if path is not None and path.is_file():
            parts = _read(path, n)
        else:
            parts = self._render(n, progress)
            if path is not None:
                with atomic_path(path) as temporary:
                    save_file(dict(zip(("images", "boxes", "labels"), parts, strict=True)), temporary)
        self.images: UInt8[Tensor, "n 3 h w"] = parts[0]
        self.object_boxes: Float[Tensor, "n m 4"] = parts[1]
        self.object_labels: Int[Tensor, "n m"] = parts[2]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> SceneBatch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"scene {index} of a data set of {len(self)}")
        return SceneBatch(*(part[0] for part in self.batch([index])))

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return self.config.class_names

    def batch(self, indices: Sequence[int] | Tensor | slice | None = None) -> SceneBatch:
        """Some of the scenes, or all; images [N, 3, H, W] in [0, 1], on the CPU."""
        chosen = torch.arange(len(self))[slice(None) if indices is None else indices]
        images = self.images[chosen].float() * (1 / 255)
        return scene_batch(images, self.object_boxes[chosen], self.object_labels[chosen])

    def with_split(self, split: Literal["train", "test"], n: int) -> "WorldScenes":
        """`n` scenes of the same kind for training or for testing."""
        return WorldScenes(replace(self.config, split=split), n, self.seed)

    def _digest(self, n: int) -> str:
        what = json.dumps([FORMAT, asdict(self.config), n, self.seed], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()[:16]

    def _render(self, n: int, progress: bool) -> tuple[Tensor, Tensor, Tensor]:
        config, room = self.config, 1 + self.config.n_smaller[1]
        images = torch.empty(n, 3, config.height, config.width, dtype=torch.uint8)
        boxes, labels = torch.zeros(n, room, 4), torch.full((n, room), -1)
        names, world = config.class_names, config.world()
        for i in tqdm(range(n), desc="scenes", disable=not progress):
            rng = np.random.default_rng([("train", "test").index(config.split), self.seed, i])
            scene = arrange(rng, world, self._arrangement(rng, len(names)))
            images[i] = scene.image
            seen = len(scene.kinds)
            boxes[i, :seen], labels[i, :seen] = scene.boxes, torch.tensor(scene.kinds)
        return images, boxes, labels

    def _arrangement(self, rng: np.random.Generator, n_classes: int) -> Arrangement:
        """Classes and sizes of one scene: fixed before any place is tried, so that no class is favoured."""
        config = self.config
        count = 1 + int(rng.integers(config.n_smaller[0], config.n_smaller[1] + 1))
        chance = np.full(n_classes, 1 / n_classes)
        if config.dominant is not None:
            chance[:] = (1 - config.dominant) / (n_classes - 1)
            chance[0] = config.dominant
        kinds = rng.choice(n_classes, count, p=chance)
        salient = rng.uniform(*config.salient_size) * min(config.height, config.width)
        return Arrangement(
            kinds=tuple(int(kind) for kind in kinds),
            size=salient,
            smaller=config.smaller_size,
            needed=1 + min(1, config.n_smaller[0]),
            overlap=(0.0, 0.0) if config.overlap == "none" else config.overlap_range,
            apart=config.overlap == "none",
            visible=config.visible,
        )


def _read(path: Path, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rendered scenes from a file of the cache."""
    try:
        with safe_open(path, framework="pt") as file:
            images, boxes, labels = (file.get_tensor(name) for name in ("images", "boxes", "labels"))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged: {error}. Delete it, and its scenes are rendered anew") from error
    if not len(images) == len(boxes) == len(labels) == n:
        raise InputError(f"{path} holds {len(images)} scenes instead of {n}. Delete it, and they are rendered anew")
    return images, boxes, labels
