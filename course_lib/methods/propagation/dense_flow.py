"""One face for everything that finds flow between two frames: OpenCV on the CPU, RAFT on an accelerator, or the truth.

`flow(flow.see(a), flow.see(b))` leads each pixel of frame a to its place in frame b; swapping the two gives the other
direction. Unusual: `see` is apart, so that what a frame needs once (grey values, a batch on the GPU) is not done for
each pair, and `fork` gives each thread its own buffers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torchvision
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.errors import DownloadError, InputError
from course_lib.methods.propagation.flow import FlowEstimator, FlowMethod, FlowPreset, as_picture, grey
from course_lib.methods.propagation.label_warp import Motion
from course_lib.nn.weights import load_exactly, read_state_dict

_RAFT_SIDE = 128  # pixels; below, its coarsest correlation has less than two cells


class Flow(Protocol):
    """Dense flow between frames of one video."""

    def see(self, frame: Float[Tensor, "3 h w"]) -> Any:
        """What this flow needs of one frame, RGB in [0, 1]."""

    def __call__(self, source: Any, target: Any) -> Float[Tensor, "2 h w"]:
        """Displacement (x, y) in pixels that leads each pixel of `source` to where it is seen in `target`."""

    def fork(self) -> "Flow":
        """The same flow with buffers of its own, for another thread."""


def motion_between(flow: Flow, before: Any, now: Any, both: bool, literal: bool = False) -> Motion:
    """Motion from the frame seen as `before` to the next, seen as `now`; [1, 2, H, W].

    both     also the flow to the future, which the check for inconsistency needs
    literal  one flow for both ways (equation 3.1 as printed)
    """
    if literal:
        return Motion.literal(flow(before, now)[None])
    return Motion(flow(now, before)[None], flow(before, now)[None] if both else None)


class OpenCvFlow:
    """DIS or Farnebäck on one CPU core; arguments as in `FlowEstimator`, which fits DIS's finest grid to the frame."""

    def __init__(self, method: FlowMethod = "dis", preset: FlowPreset = "ultrafast") -> None:
        self.method = method
        self.preset = preset
        self._estimate = FlowEstimator(method, preset)

    def see(self, frame: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w"]:
        return grey(as_picture(frame))

    def __call__(self, source: UInt8[np.ndarray, "h w"], target: UInt8[np.ndarray, "h w"]) -> Float[Tensor, "2 h w"]:
        return torch.from_numpy(self._estimate(source, target)).permute(2, 0, 1).contiguous()  # [H, W, 2] -> [2, H, W]

    def fork(self) -> "OpenCvFlow":
        return OpenCvFlow(self.method, self.preset)

    def __repr__(self) -> str:
        return f"OpenCvFlow({self.method!r}, {self.preset!r})"


class RaftFlow:
    """RAFT-small (Teed and Deng, ECCV 2020) from torchvision, 1.0 M parameters: the choice where a GPU has time left.

    weights  "chairs" downloads torchvision's published weights (FlyingChairs and FlyingThings3D); a file holds the
             same state dict; None leaves the network random, for tests of shapes only
    updates  iterations of its recurrent cell; 12 is torchvision's

    Raises `DownloadError` with advice where the download fails. Frames need sides of at least 128 pixels; those that 8
    does not divide are continued by their edge for the network.
    """

    def __init__(
        self, weights: str | Path | None = "chairs", device: torch.device | str = "cpu", updates: int = 12
    ) -> None:
        if updates < 1:
            raise InputError(f"RAFT needs at least one update, got {updates}")
        self.updates = updates
        self.network = torchvision.models.optical_flow.raft_small(weights=None)
        if weights is not None:
            load_exactly(self.network, _raft_state(weights), weights)
        self.network.to(device).eval().requires_grad_(False)

    def see(self, frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        if min(frame.shape[-2:]) < _RAFT_SIDE:
            raise InputError(f"RAFT needs sides of at least {_RAFT_SIDE} pixels, got {list(frame.shape[-2:])}; use DIS")
        return frame.to(next(self.network.parameters()).device) * 2 - 1

    @torch.no_grad()
    def __call__(self, source: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"]) -> Float[Tensor, "2 h w"]:
        height, width = source.shape[-2:]
        pads = (0, -width % 8, 0, -height % 8)
        first, second = (torch.nn.functional.pad(x[None], pads, mode="replicate") for x in (source, target))
        return self.network(first, second, num_flow_updates=self.updates)[-1][0, :, :height, :width]

    def fork(self) -> "RaftFlow":
        return self  # a network in evaluation mode keeps nothing between calls

    def __repr__(self) -> str:
        return f"RaftFlow(updates={self.updates})"


class KnownFlow:
    """Flow that is known beforehand, such as the exact flow of the synthetic world: what perfect motion would give.

    frames [T, 3, H, W]; forward, backward [T-1, 2, H, W]: from t to t + 1 and back, as `SyntheticClip` holds them.
    A frame is recognised by its pixels; only neighbours have a flow. Raises `InputError` for anything else.
    """

    def __init__(self, frames: Tensor, forward: Float[Tensor, "t1 2 h w"], backward: Float[Tensor, "t1 2 h w"]) -> None:
        if forward.shape != backward.shape or len(forward) != len(frames) - 1:
            raise InputError(
                f"expected T frames and T - 1 flows each way, got {len(frames)}, {list(forward.shape)} and "
                f"{list(backward.shape)}"
            )
        self._index = FrameIndex(frames)
        self._forward, self._backward = forward, backward

    def see(self, frame: Float[Tensor, "3 h w"]) -> tuple[int, ...]:
        return self._index.find(frame)

    def __call__(self, source: tuple[int, ...], target: tuple[int, ...]) -> Float[Tensor, "2 h w"]:
        for i in source:  # a still scene shows one picture several times
            if i + 1 in target:
                return self._forward[i]
            if i - 1 in target:
                return self._backward[i - 1]
        raise InputError(f"flow is known between neighbours only, asked for frames {source} and {target}")

    def fork(self) -> "KnownFlow":
        return self


class FrameIndex:
    """Finds the places of a frame in a clip by its pixels, rounded to 8 bits."""

    def __init__(self, frames: Sequence[Tensor] | Tensor) -> None:
        self._places: dict[bytes, tuple[int, ...]] = {}
        for i, frame in enumerate(frames):
            key = _bytes(frame)
            self._places[key] = (*self._places.get(key, ()), i)

    def find(self, frame: Tensor) -> tuple[int, ...]:
        """Indices of the frames [3, H, W] that look like this one. Raises `InputError` where there is none."""
        found = self._places.get(_bytes(frame))
        if found is None:
            raise InputError(
                f"a frame {list(frame.shape)} is none of the clip's {sum(map(len, self._places.values()))}; the truth "
                "is known for the clip's own frames at full size only (input_scale=1, sides that need no padding)"
            )
        return found


def _bytes(frame: Tensor) -> bytes:
    if frame.is_floating_point():
        frame = (frame * 255).round().to(torch.uint8)
    return frame.cpu().contiguous().numpy().tobytes()


def _raft_state(weights: str | Path) -> dict[str, Tensor]:
    if weights != "chairs":
        return read_state_dict(Path(weights))
    published = torchvision.models.optical_flow.Raft_Small_Weights.C_T_V2
    try:
        return dict(published.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # no network, a wrong hash, a damaged copy: the readers tell them in many ways
        raise DownloadError(
            f"the weights of RAFT-small ({published.url.rsplit('/', 1)[-1]}) could not be fetched or read: {error}. "
            "Without a network use OpenCvFlow(), which needs none; or give the path of a downloaded file as "
            f"weights=…; a damaged copy lies in {torch.hub.get_dir()} and may be deleted"
        ) from error
