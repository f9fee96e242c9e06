"""A small world to learn in within minutes: one striped shape to follow, perhaps a second one, perhaps a bar before it.

After the advice that small recurrent networks need an easy world: few distractors, few look-alikes, objects that are
not tiny, occlusion in half of the clips. Unusual: a clip of 8 frames of 64x64 takes about two milliseconds, so it is
drawn when it is needed and never seen twice; it is a function of the config and one generator. The lessons' large
world is `course_lib.data.synthetic`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.clip import Clip
from course_lib.data.small_shapes import REACH, SEEN, UNSEEN, Shape, outside
from course_lib.errors import InputError

SMALLEST = 12  # pixels of the target that frame 0 must show,
LEAST = 0.5  # and the share of it
_TRIES = 200
_HIDDEN_FRAMES = 3  # a passage behind the bar hides the target wholly for as long, at least
_STRENGTH = 0.7  # of the backdrop's colours


@dataclass(frozen=True)
class SmallWorldConfig:
    """Dials of the small world; lengths in pixels. Raises `InputError` for values out of range."""

    size: int = 64
    """Side of a frame."""
    frames: int = 8
    shapes: tuple[Shape, ...] = SEEN
    """Of target and distractor, all equally likely."""
    radius: tuple[float, float] = (5.0, 14.0)
    """Log-uniform in this range."""
    speed: tuple[float, float] = (1.0, 3.0)
    """Pixels per frame; objects bounce off the border and turn."""
    distractor: float = 0.5
    """Probability of a second object."""
    lookalike: float = 0.1
    """Probability that the second object has the target's shape, stripes and nearly its colours."""
    bar: float = 0.5
    """Probability of a textured bar, from top to bottom, that the target meets in the middle of the clip."""
    bar_speed: tuple[float, float] = (1.0, 5.0)
    """Horizontal pixels per frame of a target that meets the bar, so that some pass it within a short clip."""
    passage: bool = False
    """The bar is wide, and the target is fast enough to vanish behind it for 3 frames or more and come out whole."""
    drift: float = 0.5
    """Probability that the target's colours change slowly."""
    noise: float = 0.03
    """Standard deviation of each pixel's noise, in [0, 1]."""

    def __post_init__(self) -> None:
        chances = (self.distractor, self.lookalike, self.bar, self.drift)
        if any(not 0 <= chance <= 1 for chance in chances) or not 0 <= self.noise < 1:
            raise InputError(f"probabilities are in [0, 1] and noise in [0, 1), got {self}")
        if self.frames < 1 or self.size < 16:
            raise InputError(f"expected 1 frame or more of 16x16 pixels or more, got {self.frames} of {self.size}")
        low, high = self.radius
        if not 2 <= low <= high or 2 * REACH * high > self.size:
            raise InputError(
                f"expected radii from 2 pixels up to {self.size / 2 / REACH:.1f}, which still fit into {self.size}, "
                f"in order; got {self.radius}"
            )
        for speeds in (self.speed, self.bar_speed):
            if not 0 <= speeds[0] <= speeds[1]:
                raise InputError(f"expected speeds of 0 or more, in order, got {speeds}")
        if not self.shapes or not set(self.shapes) <= {*SEEN, *UNSEEN}:
            raise InputError(f"shapes are of {', '.join((*SEEN, *UNSEEN))}; got {self.shapes}")
        if self.passage and (self.bar < 1 or self.frames < 12):
            raise InputError("a passage needs a bar in every clip (bar=1) and 12 frames or more")


@dataclass(frozen=True)
class SmallClip(Clip):
    """A clip with what was drawn. `labels` hold the target's visible pixels as 1, everything else is 0."""

    whole: UInt8[Tensor, "t h w"] | None = None
    """The target as if nothing stood before it."""
    shape: str = ""
    radius: float = 0.0
    lookalike: bool = False


class SmallWorld:
    """Clips of one config: `world(rng)` draws one, `world.clips(n, seed)` is a data set."""

    def __init__(self, config: SmallWorldConfig | None = None) -> None:
        self.config = config or SmallWorldConfig()

    def __call__(self, rng: np.random.Generator, frames: int | None = None, name: str = "small-world") -> SmallClip:
        """Draw a clip, `frames` long (by default as the config says).

        Clips that show fewer than 12 pixels or less than half of the target in frame 0 are drawn again. Raises
        `InputError` if none of 200 can be used, which a config of tiny objects brings about.
        """
        length = frames or self.config.frames
        for _ in range(_TRIES):
            clip = _draw(self.config, length, rng, name)
            if clip is not None:
                return clip
        raise InputError(
            f"none of {_TRIES} draws shows {SMALLEST} pixels and half of its target in frame 0"
            f"{' and lets it pass behind the bar' if self.config.passage else ''}; use larger objects, or a longer or "
            f"faster passage: {self.config}"
        )

    def clips(self, n: int, seed: int) -> "SmallClips":
        """`n` clips, each a function of (seed, its number)."""
        return SmallClips(self, n, seed)


class SmallClips:
    """A data set of small clips for `course_lib.vos.evaluate`; item i is the same whatever was read before."""

    adds_objects = False
    protocol = "youtube_vos"  # every frame after the first is scored

    def __init__(self, world: SmallWorld, n: int, seed: int) -> None:
        if n < 1:
            raise InputError(f"a data set needs at least one clip, got n={n}")
        self.world, self.n, self.seed = world, n, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> SmallClip:
        if not 0 <= index < self.n:
            raise IndexError(f"clip {index} of a data set of {self.n}")
        return self.world(np.random.default_rng((self.seed, index)), name=f"small-{self.seed}-{index}")


@dataclass(frozen=True)
class _Object:
    """A shape on its way: where it is in each frame, and how it looks."""

    shape: Shape
    radius: float
    x: Float[np.ndarray, "t"]
    y: Float[np.ndarray, "t"]
    angle: Float[np.ndarray, "t"]
    colours: Float[np.ndarray, "t 2 3"]  # of its stripes
    stripes: float  # radians per radius
    phase: float


def _draw(config: SmallWorldConfig, length: int, rng: np.random.Generator, name: str) -> SmallClip | None:
    """One clip, or None if its target cannot be followed."""
    has_bar, has_other = rng.random() < config.bar, rng.random() < config.distractor
    is_twin = has_other and rng.random() < config.lookalike
    meeting = (length - 1) * rng.uniform(0.35, 0.6)  # the moment at which the target is behind the bar's middle
    target, speed = _target(config, length, rng, meeting if has_bar else None)
    others = [_other(config, length, rng, target, is_twin)] if has_other else []
    before = bool(others) and rng.random() < 0.5  # whether the second object is nearer than the target

    frames = np.repeat(_noise_image(config.size, 6, 6, rng)[None], length, axis=0) * np.float32(_STRENGTH)
    for thing in others if not before else ():
        _paint(frames, thing, _cover(thing, config.size))
    cover = _cover(target, config.size)
    _paint(frames, target, cover)
    whole = cover > 0.5
    seen = whole.copy()
    for thing in others if before else ():
        nearer = _cover(thing, config.size)
        _paint(frames, thing, nearer)
        seen &= nearer <= 0.5
    if has_bar:
        _hide(config, frames, seen, target, meeting, speed, rng)
    if not _can_be_followed(config, whole, seen):
        return None
    if config.noise:
        frames += np.float32(config.noise) * rng.standard_normal(frames.shape, dtype=np.float32)
    pixels = np.rint(np.clip(frames, 0, 1, out=frames) * 255).astype(np.uint8)
    return SmallClip(
        torch.from_numpy(pixels), torch.from_numpy(seen.astype(np.uint8)), name,
        whole=torch.from_numpy(whole.astype(np.uint8)), shape=target.shape, radius=target.radius, lookalike=is_twin,
    )  # fmt: skip


def _target(
    config: SmallWorldConfig, length: int, rng: np.random.Generator, meeting: float | None
) -> tuple[_Object, float]:
    """The object to follow, and its horizontal speed if it is behind a bar at the moment `meeting`."""
    radius = float(np.exp(rng.uniform(*np.log(config.radius))))
    thing = _object(config, length, rng, _pick(rng, config.shapes), radius)
    if rng.random() < config.drift:
        change = rng.normal(0, 0.15, 3) * np.linspace(0, length / 24, length)[:, None]  # [T, 3]
        thing.colours[...] = np.clip(thing.colours + change[:, None], 0, 1)
    if meeting is None:
        return thing, 0.0
    slow, fast = config.bar_speed
    if config.passage:  # to stand wholly beside a bar as wide as itself, before and after, takes 2 of its reaches
        slow = 2.2 * REACH * radius / min(meeting, length - 1 - meeting)
        fast = 1.3 * slow
    speed = rng.uniform(slow, fast)
    low, high = _room(config, radius)
    way = 1 if rng.random() < 0.5 else -1
    thing.x[...] = _bounce(rng.uniform(low, high) + way * speed * (np.arange(length) - meeting), low, high)
    return thing, speed


def _other(config: SmallWorldConfig, length: int, rng: np.random.Generator, target: _Object, is_twin: bool) -> _Object:
    """A second object; a twin has the target's looks, a little off, and a path of its own."""
    if not is_twin:
        radius = float(np.exp(rng.uniform(*np.log(config.radius))))
        return _object(config, length, rng, _pick(rng, config.shapes), radius)
    radius = float(np.clip(target.radius * rng.uniform(0.85, 1.15), *config.radius))
    thing = _object(config, length, rng, target.shape, radius)
    colours = np.clip(target.colours + rng.normal(0, 0.08, (1, 2, 3)), 0, 1)
    return _Object(target.shape, radius, thing.x, thing.y, thing.angle, colours, target.stripes, target.phase)


def _object(config: SmallWorldConfig, length: int, rng: np.random.Generator, shape: Shape, radius: float) -> _Object:
    times = np.arange(length)
    low, high = _room(config, radius)
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*config.speed)
    x = _bounce(rng.uniform(low, high) + speed * np.cos(heading) * times, low, high)
    y = _bounce(rng.uniform(low, high) + speed * np.sin(heading) * times, low, high)
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.15, 0.15) * times
    colours = np.repeat(rng.uniform(0, 1, (1, 2, 3)), length, axis=0)
    return _Object(shape, radius, x, y, angle, colours, rng.uniform(2, 6), rng.uniform(0, 2 * np.pi))


def _hide(
    config: SmallWorldConfig, frames: np.ndarray, seen: np.ndarray, target: _Object, meeting: float, speed: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Lay a bar over the place where the target is at the meeting, in place."""
    length = len(frames)
    middle = np.interp(meeting, np.arange(length), target.x)
    if config.passage:  # wide enough to hide it for some frames, narrow enough to let it come out again
        widest = 2 * speed * min(meeting, length - 1 - meeting) - 2 * REACH * target.radius
        narrowest = 2 * REACH * target.radius + _HIDDEN_FRAMES * speed
        width = rng.uniform(narrowest, max(narrowest, widest))
    else:
        width = 2 * target.radius * rng.uniform(0.6, 1.4)
    left, right = max(0, round(middle - width / 2)), min(config.size, round(middle + width / 2))
    frames[:, :, :, left:right] = _noise_image(config.size, 16, 4, rng)[None, :, :, left:right]
    seen[:, :, left:right] = False


def _can_be_followed(config: SmallWorldConfig, whole: np.ndarray, seen: np.ndarray) -> bool:
    area = seen.sum((1, 2))
    if area[0] < max(SMALLEST, LEAST * whole[0].sum()):
        return False
    hidden = np.flatnonzero(area == 0)
    shown_again = (area == whole.sum((1, 2))) & (np.arange(len(area)) > (hidden[0] if len(hidden) else 0))
    passed = len(hidden) >= _HIDDEN_FRAMES and shown_again.any() and area[0] == whole[0].sum()
    return bool(passed or not config.passage)


def _room(config: SmallWorldConfig, radius: float) -> tuple[float, float]:
    """Where the centre of an object may be, so that nearly all of it stays in the frame."""
    return radius, config.size - radius


def _bounce(path: Float[np.ndarray, "t"], low: float, high: float) -> Float[np.ndarray, "t"]:
    """A straight path folded at two walls."""
    period = 2 * max(high - low, 1e-6)
    folded = np.abs((path - low) % period)
    return low + np.minimum(folded, period - folded)


def _cover(thing: _Object, size: int) -> Float[np.ndarray, "t h w"]:
    """Share of each pixel that the object covers, by its distance from the outline."""
    x, y = _own_coordinates(thing, size)
    return np.clip(0.5 - outside(thing.shape, x, y) * np.float32(thing.radius), 0, 1)


def _paint(frames: Float[np.ndarray, "t 3 h w"], thing: _Object, cover: Float[np.ndarray, "t h w"]) -> None:
    """Lay an object over the frames, in place."""
    x, _ = _own_coordinates(thing, frames.shape[-1])
    share = 0.5 + 0.5 * np.sin(np.float32(thing.stripes) * x + np.float32(thing.phase))  # [T, H, W]
    first, second = thing.colours.astype(np.float32).transpose(1, 0, 2)[..., None, None]  # [T, 3, 1, 1] each
    frames += cover[:, None] * (second + (first - second) * share[:, None] - frames)


def _own_coordinates(thing: _Object, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in the object's own axes, in radii: [T, H, W] each."""
    at = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = (centre.astype(np.float32)[:, None] for centre in (thing.x, thing.y))
    cos, sin = (turn(thing.angle).astype(np.float32)[:, None] / np.float32(thing.radius) for turn in (np.cos, np.sin))
    right, down = at - x, at - y  # [T, W], [T, H]
    own_x = (cos * right)[:, None, :] + (sin * down)[:, :, None]
    own_y = (cos * down)[:, :, None] - (sin * right)[:, None, :]
    return own_x, own_y


def _noise_image(size: int, rows: int, columns: int, rng: np.random.Generator) -> Float[np.ndarray, "3 h w"]:
    """Smooth colours: a coarse grid of random ones, interpolated."""
    coarse = rng.random((rows, columns, 3), dtype=np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(smooth.transpose(2, 0, 1))


def _pick(rng: np.random.Generator, shapes: tuple[Shape, ...]) -> Shape:
    return shapes[int(rng.integers(len(shapes)))]
