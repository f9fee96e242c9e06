"""What a frame, a label map and a method's answer must look like, checked where they enter the engine.

Each check names the frame, what was expected, what came and what to do.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.data.clip import IGNORE, object_ids
from course_lib.errors import InputError

_RANGE_SLACK = 1e-3  # resizing with bicubic or Lanczos kernels overshoots a little


def as_float_frame(
    frame: Tensor, index: int = 0, size: tuple[int, int] | None = None, device: torch.device | None = None
) -> Float[Tensor, "3 h w"]:
    """Frame [3, H, W], uint8 or floating point in [0, 1], as float32 in [0, 1] on `device`.

    `index` is named in errors; `size` is the (H, W) of the frames before. Raises `InputError`.
    """
    if not isinstance(frame, Tensor) or frame.ndim != 3 or frame.shape[0] != 3:
        came = list(frame.shape) if isinstance(frame, Tensor) else type(frame).__name__
        raise InputError(f"frame {index} must be a tensor [3, H, W] (RGB, channels first), got {came}")
    if size is not None and tuple(frame.shape[1:]) != size:
        raise InputError(
            f"frame {index} is {_shape(frame.shape[1:])} but the frames before it are {_shape(size)} (height x width); "
            "all frames of a video must have one size: resize them, or start a new session at the cut"
        )
    if frame.dtype == torch.uint8:
        return frame.to(device).float().div_(255)
    if not frame.is_floating_point():
        raise InputError(f"frame {index} must be uint8 or floating point in [0, 1], got {frame.dtype}")
    low, high = (float(v) for v in frame.aminmax())
    if not (low >= -_RANGE_SLACK and high <= 1 + _RANGE_SLACK):  # also true for NaN
        raise InputError(
            f"frame {index} holds values from {low:.4g} to {high:.4g}; floating point frames lie in [0, 1]: divide by "
            "255, or undo the normalisation (methods normalise for themselves)"
        )
    return frame.to(device=device, dtype=torch.float32)


def check_labels(labels: Tensor, size: tuple[int, int], index: int = 0) -> Int[Tensor, "k"]:
    """Ids [K] in a label map that is about to be given to a method, at frame `index` of size (H, W).

    Raises `InputError` for another type or size, or a map without objects.
    """
    if not isinstance(labels, Tensor) or labels.ndim != 2:
        came = list(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels of frame {index} must be a tensor [H, W] of object ids, got {came}")
    if labels.dtype != torch.uint8:
        raise InputError(
            f"labels of frame {index} must be uint8 (0 background, 1 … 254 objects, 255 ignore), got {labels.dtype}; "
            "convert with labels.to(torch.uint8)"
        )
    if tuple(labels.shape) != size:
        raise InputError(
            f"labels of frame {index} are {_shape(labels.shape)} but the frame is {_shape(size)} (height x width); "
            "a mask must have its frame's size (resize masks with nearest neighbour)"
        )
    ids = object_ids(labels)
    if len(ids) == 0:
        only = " or ".join(str(v) for v in labels.unique().tolist())
        hint = (
            "255 means ignore; a black-and-white mask must be given as 0 and 1"
            if (labels == IGNORE).any()
            else "mark at least one object with an id from 1 to 254"
        )
        raise InputError(f"labels of frame {index} hold no object, only {only}: {hint}")
    return ids


def check_new_labels(labels: Tensor, size: tuple[int, int], index: int, known: Tensor) -> Int[Tensor, "n"]:
    """As `check_labels`, for objects that join at frame `index`; an id in `known` is refused."""
    ids = check_labels(labels, size, index)
    again = ids[torch.isin(ids.cpu().long(), known.cpu().long()).to(ids.device)].tolist()
    if again:
        raise InputError(
            f"labels of frame {index} hold {again}, which the session already follows ({known.tolist()}); "
            "give new ids only, 0 elsewhere"
        )
    return ids


def check_probs(probs: Tensor, ids: Tensor, size: tuple[int, int], index: int, method: str) -> None:
    """Refuse an answer of `method` for frame `index` that is not [K+1, H, W] or not finite."""
    wanted = (len(ids) + 1, *size)
    if not isinstance(probs, Tensor) or tuple(probs.shape) != wanted:
        came = list(probs.shape) if isinstance(probs, Tensor) else type(probs).__name__
        raise InputError(
            f"{method} answered frame {index} with {came}; expected probabilities {list(wanted)} "
            f"(background and objects {ids.tolist()})"
        )
    if not torch.isfinite(probs.sum()):  # one pass: NaN and infinity survive a sum
        raise InputError(
            f"{method} answered frame {index} with NaN or infinity; its weights may be damaged or have diverged in "
            "training, or half precision overflowed: try float32"
        )


def check_label_video(labels: Tensor, length: int, size: tuple[int, int], method: str) -> UInt8[Tensor, "t h w"]:
    """An offline method's label maps [T, H, W], checked for shape and type."""
    if not isinstance(labels, Tensor) or tuple(labels.shape) != (length, *size) or labels.dtype != torch.uint8:
        came = f"{list(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"{method} answered with {came}; expected labels {[length, *size]} uint8")
    return labels


def _shape(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
