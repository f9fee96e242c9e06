"""The synthetic video world: clips of moving, hiding, changing objects, with the exact truth about every pixel.

`World(WorldConfig(...)).clip(seed)` is a pure function of the dials and the seed: the same bytes in every process
(of one build of torch; another rounds differently in the last digit).
One world serves all lessons, so that methods can be compared; every difficulty is a dial. Built in lesson 00.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from course_lib.data.clip import Clip
from course_lib.data.world.config import SCENARIOS, WorldConfig, scenario
from course_lib.data.world.corruption import corrupt
from course_lib.data.world.panel import check_passage
from course_lib.data.world.render import box_around, paint
from course_lib.data.world.scene import Scene, Textures, look
from course_lib.data.world.stage import CLASS_NAMES, camera_reach, compose
from course_lib.data.world.street import STREET_CLASSES, check_street, compose_street
from course_lib.data.world.truth import correspond
from course_lib.errors import InputError

__all__ = [
    "CLASS_NAMES", "SCENARIOS", "STREET_CLASSES", "SyntheticBatch", "SyntheticClip", "SyntheticDataset", "World",
    "WorldConfig", "scenario",
]  # fmt: skip

SHUTTER_SAMPLES = 5  # moments averaged for a frame while the shutter is open


@dataclass(frozen=True, kw_only=True)
class SyntheticClip(Clip):
    """A clip and the whole truth about it. T frames, K objects with ids 1..K in `labels`.

    Boxes are half-open x0, y0, x1, y1 in pixels; the box of an object without a pixel is nan, so it cannot be mistaken
    for one. Flows are displacements (x, y) in pixels: the point seen at the centre of pixel p in frame t is at
    p + forward_flow[t, :, p] in frame t + 1, and the point at p in frame t + 1 was at p + backward_flow[t, :, p] in t.
    """

    classes: Int[Tensor, "k"]  # index into CLASS_NAMES of objects 1..K
    boxes: Float[Tensor, "t k 4"]  # tight around the visible pixels; nan where none is
    amodal_boxes: Float[Tensor, "t k 4"]  # around the whole object, hidden or out of the frame; nan behind the camera
    visible: Float[Tensor, "t k"]  # share of the whole object's pixels, also those beyond the frame, that is seen
    amodal: Bool[Tensor, "t k h w"]  # the whole object inside the frame, as if nothing stood before it
    surface: UInt8[Tensor, "t h w"]  # frontmost layer of each pixel: 0 the backdrop, higher is nearer
    depth_order: Int[Tensor, "k"]  # ids from the farthest object to the nearest, the same throughout the clip
    forward_flow: Float[Tensor, "t1 2 h w"] | None = None  # these four are None without dense_truth
    backward_flow: Float[Tensor, "t1 2 h w"] | None = None
    occluded_forward: Bool[Tensor, "t1 h w"] | None = None  # the point seen in t is hidden or out of frame in t + 1
    occluded_backward: Bool[Tensor, "t1 h w"] | None = None  # the point seen in t + 1 was hidden or out of frame in t
    right: UInt8[Tensor, "t 3 h w"] | None = None  # the right eye's frames, with stereo
    disparity: Float[Tensor, "t h w"] | None = None  # pixels: the point at x in the left frame is at x - d in the right
    occluded_right: Bool[Tensor, "t h w"] | None = None  # the point seen on the left is hidden or outside on the right
    semantic: UInt8[Tensor, "t h w"] | None = None  # class of each pixel, an index into semantic_names
    semantic_names: tuple[str, ...] = ()
    seed: int = 0

    @property
    def ids(self) -> UInt8[Tensor, "k"]:
        """[K] ids of all objects, 1..K, also of those that are never seen."""
        return torch.arange(1, len(self.classes) + 1, dtype=torch.uint8, device=self.classes.device)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of objects 1..K."""
        return tuple(CLASS_NAMES[index] for index in self.classes.tolist())


@dataclass(frozen=True)
class SyntheticBatch:
    """Clips of one config on one device; the fields of `SyntheticClip` with a batch dimension in front."""

    frames: UInt8[Tensor, "b t 3 h w"]
    labels: UInt8[Tensor, "b t h w"]
    classes: Int[Tensor, "b k"]
    boxes: Float[Tensor, "b t k 4"]
    amodal_boxes: Float[Tensor, "b t k 4"]
    visible: Float[Tensor, "b t k"]
    amodal: Bool[Tensor, "b t k h w"]
    surface: UInt8[Tensor, "b t h w"]
    depth_order: Int[Tensor, "b k"]
    forward_flow: Float[Tensor, "b t1 2 h w"] | None
    backward_flow: Float[Tensor, "b t1 2 h w"] | None
    occluded_forward: Bool[Tensor, "b t1 h w"] | None
    occluded_backward: Bool[Tensor, "b t1 h w"] | None
    right: UInt8[Tensor, "b t 3 h w"] | None
    disparity: Float[Tensor, "b t h w"] | None
    occluded_right: Bool[Tensor, "b t h w"] | None
    semantic: UInt8[Tensor, "b t h w"] | None
    semantic_names: tuple[str, ...]
    seeds: tuple[int, ...]
    fps: float

    def __len__(self) -> int:
        return len(self.seeds)

    def clip(self, index: int) -> SyntheticClip:
        """One clip of the batch; its tensors are views."""
        own = ("semantic_names", "seeds", "fps")
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in own}
        picked: dict[str, Any] = {name: None if value is None else value[index] for name, value in fields.items()}
        seed = self.seeds[index]
        return SyntheticClip(
            **picked, semantic_names=self.semantic_names, seed=seed, fps=self.fps, name=f"synthetic-{seed}"
        )


class World:
    """Clips of one difficulty. Raises `InputError` if the dials contradict each other."""

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config if config is not None else WorldConfig()
        if not isinstance(self.config, WorldConfig):
            raise InputError(f"World needs a WorldConfig, for example scenario('easy'); got {self.config!r}")
        if self.config.scene == "street":
            check_street(self.config)
        else:
            check_passage(self.config, camera_reach(self.config))

    @classmethod
    def scenario(cls, name: str, *, image_size: int | tuple[int, int] | None = None, **dials: Any) -> "World":
        """The world of a named scenario, with any dial changed: `World.scenario("occlusion", length=40)`."""
        return cls(scenario(name, image_size=image_size, **dials))

    def plan(self, seed: int) -> Scene:
        """The layers and motions of a clip, before anything is drawn."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise InputError(f"a seed is a whole number >= 0, got {seed!r}")
        return (compose_street if self.config.scene == "street" else compose)(self.config, int(seed))

    def clip(self, seed: int) -> SyntheticClip:
        """Render one clip on the CPU."""
        return self.batch([seed]).clip(0)

    def dataset(self, n: int, seed: int) -> "SyntheticDataset":
        """A map-style dataset of `n` clips; different seeds give sets without a common clip."""
        return SyntheticDataset(self.config, n, seed)

    @torch.no_grad()
    def batch(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> SyntheticBatch:
        """Render one clip per seed on a device, together.

        On the CPU each clip is bit for bit what `clip` gives; another device rounds differently in the last digit.
        """
        if len(seeds) == 0:
            raise InputError("batch needs at least one seed")
        config, device = self.config, torch.device(device)
        size = (config.height, config.width)
        scenes = [self.plan(seed) for seed in seeds]
        textures = Textures.upload(scenes, device)
        times = np.arange(config.length) / config.frame_rate
        left = look(scenes, times)
        painting = paint(scenes, textures, left, size, config.n_objects)

        ids = torch.tensor([[layer.object_id for layer in s.layers] for s in scenes], device=device).byte()  # [B, N]
        index = painting.surface.flatten(1).long()  # [B, T*H*W]
        labels = ids.gather(1, index).view_as(painting.surface)
        each = torch.arange(1, config.n_objects + 1, dtype=torch.uint8, device=device)
        masks = labels[:, :, None] == each[:, None, None]  # [B, T, K, H, W]
        seen = masks.flatten(3).sum(3)  # [B, T, K]
        semantic = None
        if config.semantic:
            meaning = torch.tensor([[layer.semantic for layer in s.layers] for s in scenes], device=device).byte()
            semantic = meaning.gather(1, index).view_as(labels)

        flows: list[Tensor | None] = [None] * 4
        if config.dense_truth:
            now, then = slice(0, config.length - 1), slice(1, config.length)
            surface = painting.surface
            ahead = correspond(scenes, textures, left.frames(now), left.frames(then), surface[:, :-1], surface[:, 1:])
            back = correspond(scenes, textures, left.frames(then), left.frames(now), surface[:, 1:], surface[:, :-1])
            flows = [ahead[0], back[0], ahead[1], back[1]]
        right = disparity = hidden = None
        if config.stereo:
            other = look(scenes, times, "right")
            second = paint(scenes, textures, other, size, 0)
            shift, hidden = correspond(scenes, textures, left, other, painting.surface, second.surface)
            disparity = -shift[:, :, 0]
            right = self._finish(scenes, textures, second.frames, "right", seeds)
        objects = [[layer for layer in scene.layers if layer.object_id] for scene in scenes]
        by_id = [sorted(group, key=lambda layer: layer.object_id) for group in objects]
        return SyntheticBatch(
            frames=self._finish(scenes, textures, painting.frames, "left", seeds),
            labels=labels,
            classes=torch.tensor([[layer.class_index for layer in group] for group in by_id], device=device),
            boxes=box_around(masks),
            amodal_boxes=painting.boxes,
            visible=seen / painting.area.clamp_min(1),
            amodal=painting.amodal,
            surface=painting.surface,
            depth_order=torch.tensor([[layer.object_id for layer in group] for group in objects], device=device),
            forward_flow=flows[0],
            backward_flow=flows[1],
            occluded_forward=flows[2],
            occluded_backward=flows[3],
            right=right,
            disparity=disparity,
            occluded_right=hidden,
            semantic=semantic,
            semantic_names=scenes[0].semantic_names if config.semantic else (),
            seeds=tuple(int(seed) for seed in seeds),
            fps=float(config.frame_rate),
        )

    def _finish(
        self, scenes: list[Scene], textures: Textures, frames: Tensor, eye: str, seeds: Sequence[int]
    ) -> UInt8[Tensor, "b t 3 h w"]:
        """Open the shutter for a while, lay the corruption over, and round to bytes."""
        config = self.config
        if config.blur > 0:
            moments = (np.arange(SHUTTER_SAMPLES) / (SHUTTER_SAMPLES - 1) - 0.5) * config.blur
            frames = torch.zeros_like(frames)
            for moment in moments:
                times = (np.arange(config.length) + moment) / config.frame_rate
                frames += paint(scenes, textures, look(scenes, times, eye), (config.height, config.width), 0).frames
            frames /= SHUTTER_SAMPLES
        if config.corruption != "none":
            stream = 0 if eye == "left" else 1
            frames = torch.stack(
                [
                    corrupt(clip, config.corruption, config.severity, int(seed), stream)
                    for clip, seed in zip(frames, seeds, strict=True)
                ]
            )
        return (frames * 255).round_().clamp_(0, 255).to(torch.uint8)


class SyntheticDataset(Dataset):
    """`n` clips as a map-style dataset: item i is the same clip in every worker, whatever was read before."""

    adds_objects = True  # some objects are first seen after frame 0; their masks are given where they appear

    def __init__(self, config: WorldConfig, n: int, seed: int) -> None:
        if n < 1:
            raise InputError(f"a dataset needs at least one clip, got n={n}")
        self.world = World(config)
        self.n = n
        self.seed = seed

    def clip_seed(self, index: int) -> int:
        """The seed of item `index`, which `World.clip` takes."""
        return int(np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)[0])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> SyntheticClip:
        if not -self.n <= index < self.n:
            raise IndexError(f"clip {index} of a dataset of {self.n}")
        return self.world.clip(self.clip_seed(index % self.n))
