"""The mask to start from: drawn by hand, read from a picture, or found inside a box by GrabCut.

GrabCut (Rother, Kolmogorov, Blake, 2004) takes what lies outside the box as background and separates the inside from it
by colour and edges. Unusual: only an ellipse in the box starts as object, because corners rarely are; and the answer is
checked, because where object and surroundings look alike it is empty, and then the rectangle is taken with a warning.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE, object_ids
from course_lib.data.palette_png import read_labels
from course_lib.errors import InputError

_GRABCUT_SIDE = 320  # pixels; larger frames are shrunk: faster, and colour models see objects instead of texture
_CENTRE = 0.8  # of the box: the ellipse that is object at first; corners of a box rarely are
_SMALLEST_SHARE = 0.02  # of the box; a smaller answer of GrabCut is taken as a failure
_CRUMB = 0.05  # of the largest piece; smaller pieces are noise


class StartMaskWarning(UserWarning):
    """GrabCut found no object in the box; the rectangle is used instead."""


def box_labels(box: Sequence[float], size: tuple[int, int]) -> UInt8[Tensor, "h w"]:
    """Label map with object 1 filling `box` = x0, y0, x1, y1 (half-open, pixels) of a frame of `size` (H, W).

    Raises `InputError` for a box that is empty or not inside the frame.
    """
    x0, y0, x1, y1 = _checked(box, size)
    labels = torch.zeros(size, dtype=torch.uint8)
    labels[y0:y1, x0:x1] = 1
    return labels


def grabcut_labels(frame: UInt8[Tensor, "3 h w"], box: Sequence[float], iterations: int = 5) -> UInt8[Tensor, "h w"]:
    """Label map with object 1 where GrabCut sees the object of `box` = x0, y0, x1, y1 (half-open, pixels).

    Warns with `StartMaskWarning` and returns the rectangle where nothing is found. Raises `InputError` for a box that
    does not fit, or that fills the frame and so leaves no background to learn from.
    """
    size = (frame.shape[1], frame.shape[2])
    x0, y0, x1, y1 = _checked(box, size)
    if (y1 - y0) * (x1 - x0) == size[0] * size[1]:
        raise InputError(
            "the box fills the whole frame, so there is no background to tell the object from; "
            "draw it tighter, or take it as the mask (--box-is-mask)"
        )
    picture = np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy()[..., ::-1])  # [H, W, 3], BGR
    found = _grabcut(picture, (x0, y0, x1, y1), iterations)
    found[:y0], found[y1:], found[:, :x0], found[:, x1:] = 0, 0, 0, 0  # enlarging may blur across the box
    if found.sum() < _SMALLEST_SHARE * (y1 - y0) * (x1 - x0):
        warnings.warn(
            "GrabCut found no object inside the box: it looks like its surroundings. The whole rectangle is used; "
            "a tighter box or a mask (--mask first.png) will do better",
            StartMaskWarning,
            stacklevel=2,
        )
        return box_labels(box, size)
    return torch.from_numpy(found)


def _grabcut(
    picture: UInt8[np.ndarray, "h w 3"], box: tuple[int, int, int, int], iterations: int
) -> UInt8[np.ndarray, "h w"]:
    """GrabCut's object in the box, 0 or 1, found on a picture of at most `_GRABCUT_SIDE` pixels and enlarged again."""
    height, width = picture.shape[:2]
    scale = min(1.0, _GRABCUT_SIDE / max(height, width))
    small = picture if scale == 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape[:2]
    x0, y0 = min(int(box[0] * scale), columns - 1), min(int(box[1] * scale), rows - 1)
    x1, y1 = max(round(box[2] * scale), x0 + 1), max(round(box[3] * scale), y0 + 1)
    if (x1 - x0) * (y1 - y0) == rows * columns:
        x1 -= 1  # rounding must not take the last background pixels
    state = np.full((rows, columns), cv2.GC_BGD, dtype=np.uint8)
    state[y0:y1, x0:x1] = cv2.GC_PR_BGD
    centre, half = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) * _CENTRE / 2, (y1 - y0) * _CENTRE / 2)
    ellipse = cv2.ellipse2Poly(centre, (max(1, round(half[0])), max(1, round(half[1]))), 0, 0, 360, 5)
    cv2.fillPoly(state, [np.array(ellipse, dtype=np.int32)], cv2.GC_PR_FGD)
    cv2.setRNGSeed(0)  # its colour models start from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, state, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
    inside = _without_crumbs(((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)).astype(np.uint8))
    if scale == 1:
        return inside
    soft = cv2.resize(inside.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return (soft >= 0.5).astype(np.uint8)


def read_mask(path: str | Path, size: tuple[int, int]) -> UInt8[Tensor, "h w"]:
    """Label map of a first frame of `size` (H, W), from a palette, grey or black-and-white PNG.

    Values are object ids and 255 is "ignore", but a picture of only 0 and 255 is black and white: 255 becomes object 1.
    Raises `InputError` for another size or a mask without objects, naming the file.
    """
    labels = read_labels(path)
    if set(labels.unique().tolist()) == {0, IGNORE}:
        labels = (labels == IGNORE).to(torch.uint8)
    if tuple(labels.shape) != size:
        raise InputError(
            f"mask {path} is {labels.shape[0]} x {labels.shape[1]} but the video is {size[0]} x {size[1]} "
            "(height x width); draw the mask on the first frame at its full size"
        )
    if len(object_ids(labels)) == 0:
        raise InputError(f"mask {path} holds no object: every pixel is {labels.flatten()[0].item()} or ignored")
    return labels


def resize_labels(labels: UInt8[Tensor, "h w"], size: tuple[int, int]) -> UInt8[Tensor, "h w"]:
    """Nearest-neighbour resize to `size` (H, W). Raises `InputError` if an object is too small to survive."""
    if tuple(labels.shape) == size:
        return labels
    resized = torch.from_numpy(cv2.resize(labels.numpy(), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    lost = sorted(set(object_ids(labels).tolist()) - set(object_ids(resized).tolist()))
    if lost:
        raise InputError(
            f"objects {lost} vanish when the video is shrunk to {size[0]} x {size[1]}; choose a larger max_side"
        )
    return resized


def _checked(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    if len(box) != 4:
        raise InputError(f"a box is x0 y0 x1 y1, got {len(box)} numbers: {list(box)}")
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    height, width = size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"box {list(box)} does not fit: expected x0 y0 x1 y1 in pixels with 0 <= x0 < x1 <= {width} and "
            f"0 <= y0 < y1 <= {height} (the video is {width} wide and {height} high)"
        )
    return x0, y0, x1, y1


def _without_crumbs(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Drop pieces far smaller than the largest one."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 1:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # background
    return (areas >= _CRUMB * areas.max())[pieces].astype(np.uint8) * mask
