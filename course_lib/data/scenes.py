"""Scenes of digits or clothes in several sizes, rendered in batches: which one is the largest, and what is it?

A laptop's stand-in for photographs in the salient-object task of F. Azimi (2024), section 5.5: boxes are known by
construction, and the overlap of the largest object with smaller ones in front of it is a dial. Unusual: objects are
resized by matrices of whole numbers, exact in any order of summation, so a random seed gives the same bytes on the CPU
and on a GPU; and every place where an object may go is equally likely, found by counting, not by trying.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.data.digit_images import Split, base_images
from course_lib.data.digits import MAX_SEED, stream_generator
from course_lib.data.scene_batch import SceneBatch, scene_batch
from course_lib.data.scene_config import SceneConfig
from course_lib.data.scene_sprites import DETAIL, resize_weights, rounded, trimmed
from course_lib.errors import InputError

__all__ = ["SalientScenes", "SceneBatch", "SceneConfig"]

BLOCK = 256  # scenes whose random numbers are drawn together
N_CLASSES = 10


class _Draw(NamedTuple):
    """Everything random about N scenes, on the CPU. Objects from the largest to the smallest; side 0 is none."""

    picture: Int[Tensor, "n m"]  # index of the base image
    label: Int[Tensor, "n m"]  # class, -1 for none
    side: Int[Tensor, "n m"]
    corner: Int[Tensor, "n m 2"]  # left upper corner (x, y)


class SalientScenes:
    """Endless streams of scenes, one per random seed, from the base images of one split.

    The class of each object is drawn first, then one of its images; the side of the salient object is uniform, and so
    are its place and those of the others among all that the config allows. Smaller objects are drawn in front of
    larger ones and are opaque: their whole square hides what is behind. Built in lesson 03.
    """

    def __init__(self, config: SceneConfig | None = None) -> None:
        self.config = config or SceneConfig()
        base = base_images(self.config.source, self.config.split, DETAIL, self.config.root)
        self.pictures = trimmed(base.images)  # [P, S, S] uint8
        self._by_class = base.labels.argsort(stable=True)
        self._count = torch.bincount(base.labels, minlength=N_CLASSES)
        self._first = self._count.cumsum(0) - self._count
        self._resize = resize_weights(self.config.salient_side[1])
        sides = torch.arange(self.config.canvas + 1)[:, None, None]
        start, place = torch.arange(self.config.canvas)[:, None], torch.arange(self.config.canvas)
        self._windows = ((start <= place) & (place < start + sides)).float()  # [side, start, place]
        self._on_device: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._last: tuple[tuple[int, int], _Draw] | None = None  # small batches of a stream share their block

    def batch(
        self, n: int, seed: int | torch.Generator = 0, start: int = 0, device: torch.device | str = "cpu"
    ) -> SceneBatch:
        """Scenes `start` to `start + n` of the stream of `seed`; a generator draws a seed for this batch.

        Images are [N, 1, H, W]. The same arguments give the same bytes on every device, and scene i does not depend on
        the batch in which it is drawn. Raises `InputError` for a negative n, seed or start.
        """
        if isinstance(seed, torch.Generator):
            seed = int(torch.randint(MAX_SEED, (), generator=seed, device=seed.device))
        if n < 0 or start < 0 or not 0 <= seed < MAX_SEED:
            raise InputError(f"n, start and seed must not be negative (seed below 2**53), got {n}, {start}, {seed}")
        device, width = torch.device(device), self.config.canvas
        images = torch.empty(n, 1, width, width, device=device)
        draws = []
        done = 0
        while done < n:  # one block at a time, whose canvases stay in the cache of the processor
            block, first = divmod(start + done, BLOCK)
            count = min(BLOCK - first, n - done)
            draws.append(_Draw(*(part[first : first + count] for part in self._draw(seed, block))))
            self._render(draws[-1], images[done : done + count, 0])
            done += count
        if not draws:
            draws.append(_Draw(*(part[:0] for part in self._draw(seed, 0))))
        draw = _Draw(*(torch.cat(parts) for parts in zip(*draws, strict=True)))
        boxes = torch.cat([draw.corner, draw.corner + draw.side[..., None]], -1).float()  # [N, M, 4]
        truth = scene_batch(torch.empty(n, 0, 0, 0), boxes, draw.label)  # on the CPU: divisions may differ elsewhere
        return truth.to(device)._replace(images=images)

    def stream(self, batch_size: int, seed: int = 0, device: torch.device | str = "cpu") -> Iterator[SceneBatch]:
        """Batches of the stream of `seed`, one after the other, without end."""
        start = 0
        while True:
            yield self.batch(batch_size, seed, start, device)
            start += batch_size

    def with_split(self, split: Split) -> "SalientScenes":
        """The same task with the base images of the other split."""
        return SalientScenes(replace(self.config, split=split))

    def _draw(self, seed: int, block: int) -> _Draw:
        """The random numbers of one block of scenes."""
        if self._last is None or self._last[0] != (seed, block):
            self._last = (seed, block), self._draw_anew(stream_generator(seed, 0, block))
        return self._last[1]

    def _draw_anew(self, g: torch.Generator) -> _Draw:
        config, m = self.config, 1 + self.config.n_smaller[1]
        salient = _whole(g, *(torch.tensor(end).expand(BLOCK) for end in config.salient_side))
        wanted = _whole(g, *(torch.tensor(end).expand(BLOCK) for end in config.n_smaller))
        label, picture = self._draw_pictures(g, m)
        side, corner = torch.zeros(BLOCK, m, dtype=torch.long), torch.zeros(BLOCK, m, 2, dtype=torch.long)
        side[:, 0] = salient
        fits = self._inside(salient)
        if config.overlap == "none" and config.n_smaller[0]:  # leave room for one more
            start = torch.arange(config.canvas)
            free = torch.maximum(start, config.canvas - salient[:, None] - start)  # [B, W] on one of the two sides
            fits &= (free[:, :, None] >= config.smaller_side) | (free[:, None, :] >= config.smaller_side)
        corner[:, 0], _ = _pick(fits, torch.rand(BLOCK, generator=g, dtype=torch.float64))
        largest = torch.tensor([config.largest_smaller(s) for s in range(config.salient_side[1] + 1)])[salient]
        # What a new box must not meet ("none"), or of which it may cover a share ("allowed").
        counted, covered = self._mask(salient, corner[:, 0]), torch.zeros(BLOCK, dtype=torch.long)
        low, high = (0.0, 0.0) if config.overlap == "none" else config.overlap_range
        least, most = (low * salient**2 - 1e-6).ceil().long(), (high * salient**2 + 1e-6).floor().long()
        for k in range(1, m):
            side[:, k], corner[:, k] = self._place(
                g, counted, (least - covered).clamp_min(0), most - covered, largest, wanted >= k
            )
            box = self._mask(side[:, k], corner[:, k])
            if config.overlap == "none":
                counted = counted + box
            else:
                covered = covered + (counted * box).sum((1, 2)).long()
                counted = counted * (1 - box)
        order = side.sort(dim=1, descending=True, stable=True).indices  # the smallest is drawn last
        side, picture, label = (part.gather(1, order) for part in (side, picture, label))
        corner = corner.gather(1, order[..., None].expand(-1, -1, 2))
        return _Draw(picture, torch.where(side > 0, label, -1), side, corner)

    def _draw_pictures(self, g: torch.Generator, m: int) -> tuple[Int[Tensor, "b m"], Int[Tensor, "b m"]]:
        """Classes of M objects in each scene of a block, and base images of these classes."""
        u, v = torch.rand(2, BLOCK, m, generator=g, dtype=torch.float64)
        common = self.config.dominant if self.config.dominant is not None else 1 / N_CLASSES
        other = 1 + ((u - common) / (1 - common) * (N_CLASSES - 1)).long().clamp(0, N_CLASSES - 2)
        label = torch.where(u < common, 0, other)
        return label, self._by_class[self._first[label] + (v * self._count[label]).long()]

    def _place(
        self, g: torch.Generator, counted: Float[Tensor, "b w w"], least: Int[Tensor, "b"], most: Int[Tensor, "b"],
        largest: Int[Tensor, "b"], wanted: Bool[Tensor, "b"],
    ) -> tuple[Int[Tensor, "b"], Int[Tensor, "b 2"]]:  # fmt: skip
        """Sides and corners of one more object in each scene: its box holds `least` to `most` of the counted pixels.

        The side is uniform among those that fit somewhere, the place among those where it fits. Side 0 where none fits.
        """
        smallest, n = self.config.smaller_side, len(counted)
        choices = torch.arange(smallest, max(int(largest.max()), smallest) + 1)
        keys = torch.rand(n, len(choices), generator=g, dtype=torch.float64)
        order = (keys + (choices > largest[:, None])).argsort(dim=1)  # sides that are too large come last
        luck = torch.rand(n, generator=g, dtype=torch.float64)
        side, corner = torch.zeros(n, dtype=torch.long), torch.zeros(n, 2, dtype=torch.long)
        rows = wanted.nonzero()[:, 0]
        if len(rows):  # where the smallest box covers too much everywhere, every larger one does
            rows = rows[(self._counts(counted[rows], torch.full((len(rows),), smallest)) <= most[rows, None]).any(1)]
        for turn in range(len(choices)):
            rows = rows[smallest + turn <= largest[rows]]
            if not len(rows):
                break
            tried = choices[order[rows, turn]]
            count = self._counts(counted[rows], tried)  # [R, W*W]
            fits = (count >= least[rows, None]) & (count <= most[rows, None])
            place, found = _pick(fits.view(len(rows), *counted.shape[1:]), luck[rows])
            side[rows[found]], corner[rows[found]] = tried[found], place[found]
            rows = rows[~found]
        return side, corner

    def _counts(self, counted: Float[Tensor, "r w w"], side: Int[Tensor, "r"]) -> Int[Tensor, "r w2"]:
        """How many counted pixels a box of this side holds with its corner at each pixel; 2**30 beyond the canvas."""
        window = self._windows[side]  # [R, W, W]
        sums = (window @ counted @ window.mT).long()
        return torch.where(self._inside(side), sums, 2**30).flatten(1)

    def _inside(self, side: Int[Tensor, "r"]) -> Bool[Tensor, "r w w"]:
        """Corners (row, column) at which a box of this side is on the canvas."""
        one = torch.arange(self.config.canvas) <= self.config.canvas - side[:, None]  # [R, W]
        return one[:, :, None] & one[:, None, :]

    def _mask(self, side: Int[Tensor, "b"], corner: Int[Tensor, "b 2"]) -> Float[Tensor, "b w w"]:
        """1 inside each box, 0 outside."""
        return self._windows[side, corner[:, 1]][:, :, None] * self._windows[side, corner[:, 0]][:, None, :]

    def _render(self, draw: _Draw, canvas: Float[Tensor, "n w w"]) -> None:
        """Fill the canvas, the largest object first."""
        device = canvas.device
        if device not in self._on_device:  # whole numbers; float32 multiplies and adds them without rounding
            self._on_device[device] = self.pictures.to(device).float(), self._resize.to(device)
        pictures, weights = self._on_device[device]
        picture, _, side, corner = (part.to(device) for part in draw)
        at = torch.arange(canvas.shape[-1], device=device)
        canvas.zero_()
        for k in range(side.shape[1]):
            s = side[:, k, None]
            rows = at - corner[:, k, 1:]  # [N, W] row of the object that each row of the canvas shows
            columns = at - corner[:, k, :1]
            seen = [(0 <= axis) & (axis < s) for axis in (rows, columns)]
            down, across = (weights[s, torch.where(ok, axis, -1)] for ok, axis in zip(seen, (rows, columns)))
            shrunk = rounded(down @ pictures[picture[:, k]])  # [N, W, S]
            layer = rounded(shrunk @ across.mT)  # [N, W, W]
            canvas.copy_(torch.where(seen[0][:, :, None] & seen[1][:, None, :], layer, canvas))
        canvas.mul_(1 / 255)  # a division would round differently on a GPU


def _whole(g: torch.Generator, low: Int[Tensor, "b"], high: Int[Tensor, "b"]) -> Int[Tensor, "b"]:
    """Uniform whole numbers from low to high."""
    return low + (torch.rand(len(low), generator=g, dtype=torch.float64) * (high - low + 1)).long()


def _pick(fits: Bool[Tensor, "r w w"], luck: Float[Tensor, "r"]) -> tuple[Int[Tensor, "r 2"], Bool[Tensor, "r"]]:
    """One true cell (x, y) of each map, all equally likely as luck is uniform in [0, 1); and whether there is one."""
    running = fits.flatten(1).cumsum(1)  # [R, W*W]
    total = running[:, -1]
    index = torch.searchsorted(running, ((luck * total).long() + 1)[:, None]).clamp(max=running.shape[1] - 1)[:, 0]
    width = fits.shape[-1]
    return torch.stack([index % width, index // width], 1), total > 0
