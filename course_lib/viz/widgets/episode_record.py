"""What an agent did with a few images: its moves, what it thought of every move, and what came of it.

The views are not stored: they follow from the originals and the moves, here and in the page (F. Azimi, 2024, section
5.3). Unusual: a classifier small enough to travel with the page can judge views that nobody recorded.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import InputError

_JUDGE_BYTES = 45_000  # of weights, before base64 makes them a third longer


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """B episodes of T moves each. Tensors of any device, or arrays.

    images         [B, C, H, W] originals, one or three channels; uint8, or floating point in [0, 1]
    actions        [B, T] number of each move made, 0 … A-1
    names, moves   of the A moves their names and matrices [A, 3, 3] (backward, each multiplies on the right);
                   an `ActionSet` has both
    probabilities  [B, T, A] of the policy before each move, or None
    q_values       [B, T, A] of a Q-network before each move, or None; not both
    losses         [B, T+1] of a classifier on the views, the original first, or None
    rewards        [B, T] after each move, or None
    shares         [B, T+1] of the view that the object fills, or None; not needed where there are boxes
    boxes          [B, 4] x0, y0, x1, y1 of the object in pixels of the original, or None
    labels         B numbers or names of classes, or None

    Raises `InputError` where sizes or ranges do not fit.
    """

    images: UInt8[np.ndarray, "b c h w"]
    actions: Int[np.ndarray, "b t"]
    names: Sequence[str]
    moves: Float[np.ndarray, "a 3 3"]
    probabilities: Float[np.ndarray, "b t a"] | None = None
    q_values: Float[np.ndarray, "b t a"] | None = None
    losses: Float[np.ndarray, "b t1"] | None = None
    rewards: Float[np.ndarray, "b t"] | None = None
    shares: Float[np.ndarray, "b t1"] | None = None
    boxes: Float[np.ndarray, "b 4"] | None = None
    labels: Sequence[int | str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", as_bytes(self.images))
        object.__setattr__(self, "names", tuple(self.names))
        actions = _array(self.actions)
        if actions.ndim != 2 or not np.issubdtype(actions.dtype, np.integer) or 0 in actions.shape:
            raise InputError(f"actions must be whole numbers [B, T], got {actions.dtype} {list(actions.shape)}")
        object.__setattr__(self, "actions", actions.astype(np.int64))
        (batch, steps), count = actions.shape, len(self.names)
        if len(self.images) != batch:
            raise InputError(f"{batch} episodes of actions need {batch} images, got {len(self.images)}")
        shapes = {
            "moves": (count, 3, 3),
            "probabilities": (batch, steps, count),
            "q_values": (batch, steps, count),
            "losses": (batch, steps + 1),
            "rewards": (batch, steps),
            "shares": (batch, steps + 1),
            "boxes": (batch, 4),
        }
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(name, getattr(self, name), shape))
        if not 0 <= actions.min() <= actions.max() < count:
            raise InputError(f"actions are numbered 0 … {count - 1}, got {actions.min()} … {actions.max()}")
        if self.probabilities is not None and self.q_values is not None:
            raise InputError("give probabilities or q_values, not both: one set of bars stands beside the view")
        if self.probabilities is not None and not np.allclose(self.probabilities.sum(axis=2), 1, atol=1e-3):
            raise InputError("probabilities must add up to 1 over the moves; got logits? take their softmax")
        if self.boxes is not None and not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise InputError("boxes must be x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        if self.labels is not None and len(self.labels) != batch:
            raise InputError(f"{batch} episodes have {batch} labels, got {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def steps(self) -> int:
        """T, the number of moves of each episode."""
        return self.actions.shape[1]

    @property
    def matrices(self) -> Float[np.ndarray, "b t1 3 3"]:
        """[B, T+1, 3, 3] of the views, the identity first."""
        return np.stack([matrices_of(self.moves, row) for row in self.actions])

    def views(self, episode: int) -> Float[Tensor, "t1 c h w"]:
        """[T+1, C, H, W] views of one episode in [0, 1], the original first."""
        return sampled(self.images[episode], matrices_of(self.moves, self.actions[episode]))


@dataclass(frozen=True, eq=False)
class PageClassifier:
    """A classifier small enough for a page: views averaged over squares, then linear layers with ReLU between them.

    layers   pairs of weights [out, in] and biases [out]; the first takes C * (H / pool) * (W / pool) values in [0, 1],
             channel by channel, row by row; the last gives logits. Rounded to 16 bits
    pool     side of the squares in pixels, 1 for none
    classes  what the outputs are called; numbers by default
    name     what the classifier is called on the page

    Raises `InputError` if layers do not fit together, or take more than 45 kB (22,500 numbers).
    """

    layers: Sequence[tuple[Float[np.ndarray, "o i"], Float[np.ndarray, "o"]]]
    pool: int = 1
    classes: Sequence[str] | None = None
    name: str = "small classifier"
    outputs: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.layers or self.pool < 1:
            raise InputError("a page classifier has at least one layer and pools over at least 1 pixel")
        rounded: list[tuple[np.ndarray, np.ndarray]] = []
        for weights, biases in self.layers:
            w, b = _array(weights).astype(np.float16), _array(biases).astype(np.float16)
            if w.ndim != 2 or b.shape != w.shape[:1] or (rounded and rounded[-1][0].shape[0] != w.shape[1]):
                raise InputError(f"layers must be [out, in] and [out], one after the other; got {w.shape}, {b.shape}")
            if not (np.isfinite(w).all() and np.isfinite(b).all()):
                raise InputError("weights must be finite and at most 65504, the largest number of 16 bits")
            rounded.append((w, b))
        size = sum(w.nbytes + b.nbytes for w, b in rounded)
        if size > _JUDGE_BYTES:
            raise InputError(
                f"the classifier takes {size / 1000:.0f} kB, a page has room for {_JUDGE_BYTES / 1000:.0f}; pool more, "
                "or use fewer hidden units"
            )
        object.__setattr__(self, "layers", rounded)
        object.__setattr__(self, "outputs", len(rounded[-1][1]))
        names = tuple(map(str, range(self.outputs))) if self.classes is None else tuple(self.classes)
        if len(names) != self.outputs:
            raise InputError(f"{self.outputs} outputs need {self.outputs} names of classes, got {len(names)}")
        object.__setattr__(self, "classes", names)

    def check_size(self, channels: int, height: int, width: int) -> None:
        """Raise `InputError` unless views of this size fit."""
        inputs = self.layers[0][0].shape[1]
        if height % self.pool or width % self.pool or inputs * self.pool**2 != channels * height * width:
            raise InputError(
                f"the classifier takes {inputs} values after pooling over {self.pool} x {self.pool} pixels, which "
                f"views of {channels} x {height} x {width} do not give"
            )

    def log_probabilities(self, views: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """What the page computes, for views in [0, 1]."""
        self.check_size(*views.shape[1:])
        values = F.avg_pool2d(views.double(), self.pool).flatten(1)  # [N, C * H/pool * W/pool]
        for k, (weights, biases) in enumerate(self.layers):
            values = values.relu() if k else values
            values = F.linear(values, torch.from_numpy(weights).double(), torch.from_numpy(biases).double())
        return values.log_softmax(dim=1)

    def packed(self) -> dict[str, Any]:
        """As judge.js wants it."""
        layers = [
            {"rows": len(b), "columns": w.shape[1], "weights": _coded(w), "biases": _coded(b)} for w, b in self.layers
        ]
        return {"name": self.name, "pool": self.pool, "classes": self.classes, "layers": layers}


def as_bytes(images: Tensor | np.ndarray) -> UInt8[np.ndarray, "b c h w"]:
    """Images [B, C, H, W] of one or three channels, uint8 or in [0, 1], as bytes. Raises `InputError` otherwise."""
    array = _array(images)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise InputError(f"images must be [B, C, H, W] with one or three channels, got {list(array.shape)}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):
        raise InputError(f"images must be uint8 or floating point in [0, 1], got {array.dtype}, {array.max():.3g}")
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def matrices_of(moves: Float[np.ndarray, "a 3 3"], actions: Sequence[int]) -> Float[np.ndarray, "t1 3 3"]:
    """Matrices of the views before and after each of T moves: every move multiplies on the right."""
    matrices = [np.eye(3)]
    for action in actions:
        matrices.append(matrices[-1] @ moves[action])
    return np.stack(matrices)


def sampled(image: UInt8[np.ndarray, "c h w"], matrices: Float[np.ndarray, "n 3 3"]) -> Float[Tensor, "n c h w"]:
    """One image through N matrices, bilinearly, black outside; in [0, 1]."""
    original = torch.from_numpy(image).double().div(255).expand(len(matrices), *image.shape)
    grid = F.affine_grid(torch.from_numpy(matrices[:, :2]), list(original.shape), align_corners=False)
    return F.grid_sample(original, grid, padding_mode="zeros", align_corners=False)


def _numbers(name: str, values: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    array = _array(values).astype(np.float64)
    if array.shape != shape:
        raise InputError(f"{name} must be {list(shape)}, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite numbers, got nan or infinity")
    return array


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _coded(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode("ascii")
