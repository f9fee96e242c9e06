"""Saliency of the first frame: which of its pixels still matter for the mask of a much later frame.

The gradient of output t's object score with respect to the pixels of frame 0, as in F. Azimi (2024), Figure 6.7: where
a network compares with frame 0 it lights up on the object, where it only propagates it goes dark with time. Unusual:
several outputs share one scale, so that fading is seen; the network is any function of frames.
"""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy import ndimage
from torch import Tensor

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.overlay import as_labels, as_picture, contour_sides, enlarge, overlay

Logits = Callable[[Tensor], Tensor]


def first_frame_saliency(
    logits: Logits, frames: Float[Tensor, "t 3 h w"], outputs: Sequence[int]
) -> Float[Tensor, "n h w"]:
    """How much each pixel of frame 0 moves the object score of the outputs asked for.

    logits   function of frames [T, 3, H, W] that gives one object's logits [T-1, H, W] of frames 1 … T-1; gradients
             must be able to flow through it, for example
             `lambda frames: net.unroll(frames[None], mask[None, None]).logits[0, :, 0]`
    frames   [T, 3, H, W] in [0, 1]
    outputs  frames, from 1 on, whose score is differentiated

    The score of output t is the sum of its logits, each weighted by its own probability: what is taken for the object
    counts, and a lost object leaves little. Returns [n, H, W] >= 0, the norm over colours of the gradient. Raises
    `InputError` for outputs that there are not, or logits that do not fit or do not depend on the frames.
    """
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise InputError(f"frames must be [T, 3, H, W], got {list(frames.shape)}")
    length, _, height, width = frames.shape
    if not outputs or any(not 1 <= t < length for t in outputs):
        raise InputError(f"outputs must be frames from 1 to {length - 1}, got {list(outputs)}")
    with torch.enable_grad():
        first = frames[:1].detach().clone().requires_grad_()
        found = logits(torch.cat([first, frames[1:].detach()]))
        if tuple(found.shape) != (length - 1, height, width):
            raise InputError(f"logits must be [{length - 1}, {height}, {width}], got {list(found.shape)}")
        if not found.requires_grad:
            raise InputError("the logits carry no gradient; call the network without torch.no_grad()")
        scores = [(found[t - 1].sigmoid().detach() * found[t - 1]).sum() for t in outputs]
        maps = []
        for score in scores:
            (gradient,) = torch.autograd.grad(score, first, retain_graph=True, allow_unused=True)
            maps.append(torch.zeros_like(first[0, 0]) if gradient is None else gradient[0].norm(dim=0))
    return torch.stack(maps)


def saliency_overlay(
    frame: Tensor | np.ndarray, saliency: Float[Tensor, "h w"] | np.ndarray, scale: int = 1, most: float | None = None
) -> UInt8[np.ndarray, "sh sw 3"]:
    """A frame in grey, lit up where saliency is high.

    frame [3, H, W] or [H, W, 3]; saliency [H, W] >= 0; most: the value that is brightest, by default its 99.5th
    percentile. scale enlarges. Returns [scale·H, scale·W, 3]. Raises `InputError` on sizes that do not match.
    """
    heat = saliency.detach().cpu().numpy() if isinstance(saliency, Tensor) else np.asarray(saliency)
    if heat.ndim != 2 or not (heat >= 0).all():
        raise InputError(f"saliency must be [H, W] without negative values or NaN, got shape {list(heat.shape)}")
    picture = as_picture(frame, size=(heat.shape[0], heat.shape[1]))
    most = brightest(heat) if most is None else most
    share = np.clip(heat / most, 0, 1) if most > 0 else np.zeros_like(heat)  # [H, W]
    grey = picture.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.55
    glow = colormaps["inferno"](share)[..., :3] * 255
    strength = np.sqrt(share)[..., None]  # weak saliency leaves the frame visible
    mixed = (1 - strength) * grey + strength * glow
    return enlarge(mixed.round().astype(np.uint8), scale)


def brightest(saliency: np.ndarray | Tensor) -> float:
    """99.5th percentile: a few pixels must not darken all others."""
    values = saliency.detach().cpu().numpy() if isinstance(saliency, Tensor) else np.asarray(saliency)
    return float(np.quantile(values, 0.995))


def share_on_object(saliency: Float[Tensor, "n h w"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "n"]:
    """Share of each map's saliency that lies on the object [H, W]; NaN for a map of zeros."""
    total = saliency.flatten(1).sum(dim=1)
    return (saliency * mask).flatten(1).sum(dim=1) / torch.where(total > 0, total, torch.nan)


def saliency_figure(
    frames: Tensor | np.ndarray,
    mask: Tensor | np.ndarray,
    outputs: Sequence[int],
    saliency: dict[str, Float[Tensor, "n h w"]],
    predictions: dict[str, Tensor | np.ndarray] | None = None,
    scale: int = 2,
    blur: float = 1.0,
) -> Figure:
    """Rows of methods, columns of outputs: frame 0 lit up by what it still gives to the mask of frame t.

    frames       [T, 3, H, W]; mask [H, W], the object of frame 0, whose outline is drawn
    outputs      n frames
    saliency     method -> [n, H, W] of `first_frame_saliency`; one scale for all outputs of a method
    predictions  method -> [n, H, W] label maps; a row of the frames themselves with these masks goes below each
    blur         deviation in pixels of a Gaussian over the maps, whose grain (of pooling and strides) hides their shape

    Raises `InputError` where numbers do not fit.
    """
    given = as_labels(mask)
    for name, maps in [*saliency.items(), *(predictions or {}).items()]:
        if len(maps) != len(outputs):
            raise InputError(f"{name!r} has {len(maps)} maps for {len(outputs)} outputs")
    if not saliency or not outputs:
        raise InputError("saliency_figure needs at least one method and one output")
    pictures: list[tuple[str, list[np.ndarray]]] = []
    inner, _ = contour_sides(enlarge(given, scale))
    for name, maps in saliency.items():
        soft = [ndimage.gaussian_filter(one.detach().cpu().numpy(), blur) for one in maps]
        most = brightest(np.stack(soft))
        row = [saliency_overlay(frames[0], one, scale, most) for one in soft]
        for picture in row:
            picture[inner] = (120, 220, 255)
        pictures.append((f"{name}:\nframe 0", row))
        if predictions is not None and name in predictions:
            masks = [overlay(frames[t], labels, scale=scale) for t, labels in zip(outputs, predictions[name])]
            pictures.append(("its mask", masks))
    height, width = given.shape
    cell = min(1.9, 7.6 / len(outputs))  # inches
    with course_style():
        size = (cell * len(outputs) + 1.0, (cell * height / width + 0.08) * len(pictures) + 0.45)
        figure, axes = plt.subplots(len(pictures), len(outputs), squeeze=False, figsize=size)
        for line, (name, row) in zip(axes, pictures):
            for axis, picture in zip(line, row):
                axis.imshow(picture)
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
                for side in axis.spines.values():
                    side.set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axis, t in zip(axes[0], outputs):
            axis.set_title(f"for the mask of t = {t}", loc="center", fontsize=9, fontweight="normal", pad=4)
    return figure
