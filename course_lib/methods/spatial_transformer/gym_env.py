"""The search for a good view as Gymnasium environments, so that agents of other libraries can be trained on it.

`SpatialTransformEnv` is one episode at a time, `SpatialTransformVectorEnv` many at once, both on top of the batched
`SpatialTransformerEnv`. Unusual: an episode ends by termination, not truncation, since its fixed length belongs to the
task; and nothing is registered under an id, because importing changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.drawing import draw_views
from course_lib.methods.spatial_transformer.environment import (
    Classifier,
    EnvironmentConfig,
    Observation,
    SpatialTransformerEnv,
)

Observe = Literal["image", "image_action"]
Pixels = Literal["uint8", "float32"]
GymObservation = Any  # an array, or a dict of arrays


@dataclass(frozen=True, eq=False)
class ImagePool:
    """Images [N, C, H, W] in [0, 1] to draw episodes from, with labels [N] and boxes [N, 4] where there are any.

    They stay on their device, where the environment then computes.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, "n"] | None = None
    boxes: Float[Tensor, "n 4"] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or not self.images.is_floating_point() or 0 in self.images.shape:
            raise InputError(f"images must be [N, C, H, W] float in [0, 1], got {list(self.images.shape)}")
        for name, tensor in (("labels", self.labels), ("boxes", self.boxes)):
            if tensor is not None and len(tensor) != len(self.images):
                raise InputError(f"{name} must be as many as images, {len(self.images)}; got {len(tensor)}")

    def begin(self, env: SpatialTransformerEnv, index: Int[np.ndarray, "b"]) -> Observation:
        """Begin an episode with each of these images."""
        rows = torch.from_numpy(index).to(self.images.device)
        labels = None if self.labels is None else self.labels[rows]
        return env.reset(self.images[rows], labels, None if self.boxes is None else self.boxes[rows])

    def choose(
        self, count: int, generator: np.random.Generator, options: Mapping[str, Any] | None
    ) -> Int[np.ndarray, "count"]:
        """Numbers of `count` images: those of options["index"] if given, else random ones."""
        if options is None or "index" not in options:
            return generator.integers(len(self.images), size=count)
        index = np.atleast_1d(np.asarray(options["index"], dtype=np.int64))
        if index.shape != (count,) or index.min() < 0 or index.max() >= len(self.images):
            raise InputError(
                f"options['index'] must be {count} numbers from 0 to {len(self.images) - 1}, got {options['index']}"
            )
        return index


class _Outlook:
    """Turns observations of the batched environment into arrays, and describes them as a space."""

    def __init__(self, image: tuple[int, ...], n_actions: int, observe: Observe, pixels: Pixels) -> None:
        if observe not in ("image", "image_action") or pixels not in ("uint8", "float32"):
            raise InputError(
                f"observe must be 'image' or 'image_action', pixels 'uint8' or 'float32'; got {observe!r}, {pixels!r}"
            )
        self.observe, self.pixels = observe, pixels
        self.space: spaces.Space[Any] = spaces.Box(0, 255 if pixels == "uint8" else 1, image, np.dtype(pixels).type)
        if observe == "image_action":
            previous = spaces.Box(0, 1, (n_actions,), np.float32)
            self.space = spaces.Dict({"image": self.space, "previous_action": previous})

    def arrays(self, observation: Observation) -> GymObservation:
        images = observation.images
        images = (images * 255).round().byte() if self.pixels == "uint8" else images.float()
        array = images.clamp(0, 255 if self.pixels == "uint8" else 1).cpu().numpy()
        if self.observe == "image":
            return array
        return {"image": array, "previous_action": observation.previous.cpu().numpy()}


class SpatialTransformEnv(gymnasium.Env[GymObservation, np.int64]):
    """One image at a time: a random one of the pool at each reset, or that of `options={"index": i}`.

    config      moves, episode length and reward; None takes the defaults
    classifier  images to logits, for rewards that ask one
    observe     "image": the view [C, H, W]; "image_action": a dict of it and the one-hot "previous_action" [A]
    pixels      "uint8" 0 … 255, as image agents expect, or "float32" in [0, 1]

    `info` holds the image's "index", the view's "matrix" [3, 3] and, where there are any, "loss", "correct" and
    "share". Rendering gives the original with the frame of the view beside the view.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (as its base declares it)

    def __init__(
        self,
        pool: ImagePool,
        config: EnvironmentConfig | None = None,
        classifier: Classifier | None = None,
        observe: Observe = "image",
        pixels: Pixels = "uint8",
        render_mode: str | None = None,
    ) -> None:
        _check_render_mode(render_mode)
        self.pool, self.render_mode = pool, render_mode
        self.batched = SpatialTransformerEnv(config or EnvironmentConfig(), classifier)
        actions = self.batched.actions
        self._outlook = _Outlook(tuple(pool.images.shape[1:]), len(actions), observe, pixels)
        self.observation_space = self._outlook.space
        self.action_space = spaces.Discrete(len(actions))  # type: ignore[assignment]  # Discrete is a Space of int64
        self._index = np.zeros(1, dtype=np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[GymObservation, dict[str, Any]]:
        super().reset(seed=seed)
        self._index = self.pool.choose(1, self.np_random, options)
        return _first(self._outlook.arrays(self.pool.begin(self.batched, self._index))), self._info()

    def step(self, action: np.int64 | int) -> tuple[GymObservation, float, bool, bool, dict[str, Any]]:
        move = torch.tensor([int(action)], device=self.pool.images.device)
        observation, rewards, done = self.batched.step(move)
        return _first(self._outlook.arrays(observation)), float(rewards[0]), done, False, self._info()

    def render(self) -> np.ndarray | None:  # type: ignore[override]  # one frame, never a list
        if self.render_mode is None:
            return None
        return draw_views(self.batched.originals[0], self.batched.views[0], self.batched.matrices[0])

    def _info(self) -> dict[str, Any]:
        return {name: values[0] for name, values in _told(self.batched, self._index).items()}


class SpatialTransformVectorEnv(VectorEnv[GymObservation, np.ndarray, np.ndarray]):
    """`num_envs` images at once, each episode as in `SpatialTransformEnv`; arguments and `info` as there.

    All episodes end together. The step after the last move begins new ones, whatever the actions, and pays nothing
    (Gymnasium's NEXT_STEP).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (as its base declares it)

    def __init__(
        self,
        num_envs: int,
        pool: ImagePool,
        config: EnvironmentConfig | None = None,
        classifier: Classifier | None = None,
        observe: Observe = "image",
        pixels: Pixels = "uint8",
        render_mode: str | None = None,
    ) -> None:
        _check_render_mode(render_mode)
        if num_envs < 1:
            raise InputError(f"num_envs must be at least 1, got {num_envs}")
        mode = getattr(
            gymnasium.vector, "AutoresetMode", None
        )  # Gymnasium 1.0 knows no other mode and has no name for it
        if mode is not None:
            self.metadata = {**self.metadata, "autoreset_mode": mode.NEXT_STEP}
        self.num_envs, self.pool, self.render_mode = num_envs, pool, render_mode
        self.batched = SpatialTransformerEnv(config or EnvironmentConfig(), classifier)
        actions = self.batched.actions
        self._outlook = _Outlook(tuple(pool.images.shape[1:]), len(actions), observe, pixels)
        self.single_observation_space = self._outlook.space
        self.single_action_space = spaces.Discrete(len(actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._index = np.zeros(num_envs, dtype=np.int64)
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[GymObservation, dict[str, Any]]:
        super().reset(seed=seed)
        return self._begin(options)

    def step(
        self, actions: np.ndarray
    ) -> tuple[GymObservation, Float[np.ndarray, "n"], Bool[np.ndarray, "n"], Bool[np.ndarray, "n"], dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self._over:
            observation, info = self._begin(None)
            return observation, np.zeros(self.num_envs), never, never.copy(), info
        moves = torch.from_numpy(np.asarray(actions, dtype=np.int64)).to(self.pool.images.device)
        seen, rewards, self._over = self.batched.step(moves)
        ended = np.full(self.num_envs, self._over)
        return self._outlook.arrays(seen), rewards.double().cpu().numpy(), ended, never, self._infos()

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        episodes = zip(self.batched.originals, self.batched.views, self.batched.matrices)
        return tuple(draw_views(original, view, matrix) for original, view, matrix in episodes)

    def _begin(self, options: dict[str, Any] | None) -> tuple[GymObservation, dict[str, Any]]:
        self._index = self.pool.choose(self.num_envs, self.np_random, options)
        self._over = False
        return self._outlook.arrays(self.pool.begin(self.batched, self._index)), self._infos()

    def _infos(self) -> dict[str, Any]:
        """Gymnasium's form: beside each array "x" a mask "_x" of the environments that have it, here all."""
        told = _told(self.batched, self._index)
        return {**told, **{f"_{name}": np.ones(self.num_envs, dtype=bool) for name in told}}


def _told(env: SpatialTransformerEnv, index: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    judged = {name: value for name, value in env.judgement._asdict().items() if value is not None}
    arrays = {name: value.cpu().numpy() for name, value in {"matrix": env.matrices, **judged}.items()}
    return {"index": index, **arrays}


def _first(arrays: GymObservation) -> GymObservation:
    return {name: array[0] for name, array in arrays.items()} if isinstance(arrays, dict) else arrays[0]


def _check_render_mode(render_mode: str | None) -> None:
    if render_mode not in (None, "rgb_array"):
        raise InputError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
