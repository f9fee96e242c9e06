"""Dense optical flow from OpenCV, the warp that follows it, and the check that says where not to trust it.

DIS (Kroeger et al., ECCV 2016) and Farnebäck (2003) run on the CPU in milliseconds. Masks are fetched backwards: flow
from the new frame to the old one says for each new pixel where to look, so there are no holes. Unusual: coordinates
outside the old frame read `outside`, not the nearest border pixel, so that objects can leave.
"""

from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from course_lib.errors import InputError
from course_lib.vos.checks import as_float_frame

FlowMethod = Literal["dis", "farneback"]
FlowPreset = Literal["ultrafast", "fast", "medium"]
_DIS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_FINE_GRID = 100  # cells
SMALLEST_SIDE = 16  # pixels; DIS matches patches of 8 on a pyramid


class FlowEstimator:
    """Flow between grey pictures of one video; holds OpenCV's buffers, so each session owns one.

    method: "dis", or "farneback" (2 pyramid levels, window 9, 15 iterations: the setting of Paul et al., 2021).
    preset: of DIS; "ultrafast" is the setting of Paul et al., "fast" and "medium" add variational refinement and time.

    The presets stop at a quarter or half of the resolution, which blurs small frames; here DIS goes on until the
    shorter side of its finest grid has 100 cells, or to full resolution.
    """

    def __init__(self, method: FlowMethod = "dis", preset: FlowPreset = "ultrafast") -> None:
        if method not in ("dis", "farneback"):
            raise InputError(f"flow method must be 'dis' or 'farneback', got {method!r}")
        if preset not in _DIS:
            raise InputError(f"DIS preset must be one of {', '.join(_DIS)}, got {preset!r}")
        self._dis = cv2.DISOpticalFlow.create(_DIS[preset]) if method == "dis" else None
        self._coarsest_end = self._dis.getFinestScale() if self._dis is not None else 0  # pyramid level of the preset

    def __call__(
        self, source: UInt8[np.ndarray, "h w"], target: UInt8[np.ndarray, "h w"]
    ) -> Float[np.ndarray, "h w 2"]:
        """Displacement (x, y) in pixels that leads each pixel of `source` to where it is seen in `target`."""
        if min(source.shape) < SMALLEST_SIDE:
            raise InputError(
                f"optical flow needs frames of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, "
                f"got {list(source.shape)}"
            )
        if self._dis is not None:
            level = int(np.log2(max(1.0, min(source.shape) / _FINE_GRID)))
            self._dis.setFinestScale(min(level, self._coarsest_end))
            # None, because DIS takes an array as its first guess
            return self._dis.calc(source, target, None)  # type: ignore[call-overload]
        empty = np.zeros((*source.shape, 2), dtype=np.float32)
        return cv2.calcOpticalFlowFarneback(
            source, target, empty, pyr_scale=0.5, levels=2, winsize=9, iterations=15, poly_n=5, poly_sigma=1.1, flags=0
        )


def sample(
    image: Float[np.ndarray, "h w"], flow: Float[np.ndarray, "h w 2"], outside: float = 0.0
) -> Float[np.ndarray, "h w"]:
    """Bilinear look-up of `image` at x + flow(x); `outside` where that lies beyond the frame."""
    x, y = coordinates(flow)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)


def coordinates(flow: Float[np.ndarray, "h w 2"]) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Where the flow points to: x and y in pixels."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y


def consistent(
    there: Float[np.ndarray, "h w 2"], back: Float[np.ndarray, "h w 2"], relative: float = 0.01, absolute: float = 0.5
) -> Bool[np.ndarray, "h w"]:
    """Where going `there` and `back` ends close to the start (Sundaram, Brox, Keutzer, ECCV 2010).

    |there(x) + back(x + there(x))|² < relative · (|there|² + |back|²) + absolute, in pixels². False where `there`
    leads out of the frame.
    """
    x, y = coordinates(there)
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error, length = _squared(there + returned), _squared(there) + _squared(returned)
    height, width = there.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (error < relative * length + absolute)


def grey(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Luminance of an RGB picture."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def as_picture(frame: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB frame in [0, 1] as OpenCV likes it."""
    return (frame.detach() * 255).round_().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def optical_flow(
    source: Tensor, target: Tensor, method: FlowMethod = "dis", preset: FlowPreset = "ultrafast"
) -> Float[Tensor, "2 h w"]:
    """Flow (x, y) in pixels from frame `source` to frame `target`, both [3, H, W], uint8 or float in [0, 1].

    Pixel p of `source` is seen at p + flow[:, p] in `target`. Raises `InputError` on sizes that differ.
    Used in lesson 00.
    """
    first = as_float_frame(source)
    second = as_float_frame(target, 1, (first.shape[1], first.shape[2]))
    flow = FlowEstimator(method, preset)(grey(as_picture(first)), grey(as_picture(second)))
    return torch.from_numpy(flow).permute(2, 0, 1)  # [H, W, 2] -> [2, H, W]


def warp(image: Float[Tensor, "c h w"], flow: Float[Tensor, "2 h w"], outside: float = 0.0) -> Float[Tensor, "c h w"]:
    """Fetch each pixel from where `flow` points: out(x) = image(x + flow(x)), bilinear, `outside` beyond the frame.

    To carry a mask from frame t to t+1, use the flow from t+1 to t. Used in lesson 00.
    """
    displacement = flow.permute(1, 2, 0).contiguous().numpy()
    planes = [torch.from_numpy(sample(plane.contiguous().numpy(), displacement, outside)) for plane in image.float()]
    return torch.stack(planes)


def consistency(there: Float[Tensor, "2 h w"], back: Float[Tensor, "2 h w"]) -> Bool[Tensor, "h w"]:
    """As `consistent`, for flows [2, H, W]. Used in lesson 00."""
    first, second = (f.permute(1, 2, 0).contiguous().numpy() for f in (there, back))  # [2, H, W] -> [H, W, 2]
    return torch.from_numpy(consistent(first, second))


def _squared(vectors: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w"]:
    return vectors[..., 0] ** 2 + vectors[..., 1] ** 2
