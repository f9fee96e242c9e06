"""A scene is a list of flat textured layers, from back to front, each with its own motion. It is drawn by `render`.

Everything that later needs a random number is decided here, on the CPU, from the seed alone; the renderer is a pure
function of the scene and the times at which it is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.world.motion import Wobble

Motion = Callable[[np.ndarray, str], np.ndarray]  # (times [T] in seconds, eye) -> sprite to image [T, 3, 3]
NEAR = 0.5  # metres: what is nearer than this to a street camera is not drawn


@dataclass(frozen=True)
class Layer:
    """One textured sheet. Texture coordinates run from -1 to 1 over the texture, as in `grid_sample`.

    A map to the image may be projective; its third row then gives depth in metres. Such layers carry coarser copies of
    their texture: `levels[i]` is right for depths about `sharp_at` * 2**i.
    """

    levels: tuple[np.ndarray, ...]  # each [C, h, w] float32; C = 4 (RGBA), or 7 with the RGB it drifts into
    motion: Motion
    support: tuple[float, float, float, float] | None = None  # left, top, right, bottom of alpha > 0; None: everywhere
    object_id: int = 0  # 0: not labelled
    class_index: int = -1
    semantic: int = 0
    wobble: Wobble | None = None
    sharp_at: float = 1.0


@dataclass(frozen=True)
class Scene:
    """What is to be seen in one clip. Scenes of one config have equally many layers with equally large textures."""

    layers: tuple[Layer, ...]  # back to front; the first covers the whole image
    projective: bool
    seconds: float  # length of the clip
    drift: float = 0.0
    light: Callable[[np.ndarray], np.ndarray] | None = None  # times [T] -> gain [T, 3]
    semantic_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Views:
    """Scenes seen at certain times by one eye. Geometry in float64 on the CPU: B scenes, N layers, T times."""

    to_image: np.ndarray  # [B, N, T, 3, 3]
    from_image: np.ndarray  # [B, N, T, 3, 3]
    waves: np.ndarray | None  # [B, N, T, 6]; None if nothing deforms
    drift: np.ndarray | None  # [B, T] weight of the second texture
    light: np.ndarray | None  # [B, T, 3]
    projective: bool

    def frames(self, part: slice) -> "Views":
        """The same for some of the times."""
        return Views(
            self.to_image[:, :, part],
            self.from_image[:, :, part],
            None if self.waves is None else self.waves[:, :, part],
            None if self.drift is None else self.drift[:, part],
            None if self.light is None else self.light[:, part],
            self.projective,
        )


def look(scenes: list[Scene], times: np.ndarray, eye: str = "left") -> Views:
    """Evaluate the motion of every layer at `times` [T] in seconds."""
    to_image = np.stack([np.stack([layer.motion(times, eye) for layer in scene.layers]) for scene in scenes])
    still = np.zeros((len(times), 6))
    waves = drift = light = None
    if any(layer.wobble for scene in scenes for layer in scene.layers):
        waves = np.stack(
            [np.stack([layer.wobble(times) if layer.wobble else still for layer in s.layers]) for s in scenes]
        )
    if any(scene.drift for scene in scenes):
        progress = np.clip(times / max(scenes[0].seconds, 1e-9), 0, 1)
        drift = np.stack([scene.drift * progress * progress * (3 - 2 * progress) for scene in scenes])
    if any(scene.light for scene in scenes):
        light = np.stack([scene.light(times) if scene.light else np.ones((len(times), 3)) for scene in scenes])
    return Views(to_image, np.linalg.inv(to_image), waves, drift, light, scenes[0].projective)


@dataclass(frozen=True)
class Textures:
    """The textures of B scenes on a device: for each layer its levels, [B, C, h, w]."""

    levels: tuple[tuple[Tensor, ...], ...]
    sharp_at: Tensor  # [B, N]

    @classmethod
    def upload(cls, scenes: list[Scene], device: torch.device) -> "Textures":
        """Stack the scenes' textures slot by slot."""

        def stack(slot: tuple[Layer, ...]) -> tuple[Tensor, ...]:
            same = zip(*(layer.levels for layer in slot), strict=True)
            return tuple(torch.from_numpy(np.stack(level)).to(device) for level in same)

        levels = tuple(stack(slot) for slot in zip(*(scene.layers for scene in scenes), strict=True))
        sharp_at = torch.tensor([[float(layer.sharp_at) for layer in scene.layers] for scene in scenes])
        return cls(levels, sharp_at.to(device))


def to_device(array: np.ndarray, device: torch.device) -> Float[Tensor, "..."]:
    """A float64 CPU array as a float32 tensor on a device."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
