"""How fast operating points run, and their parts, against each other: in processor time, in turns, one after the other.

M. Paul (2023), section 3.4, counts what the network's processor does; flow is found elsewhere meanwhile, and is free as
long as it keeps up. Unusual: both are measured, that lane alone and the whole on one core, where every flow is paid
for. The network is the published ICNet without trained weights, which do not matter for its speed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from time import process_time

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import Flow, OpenCvFlow
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.label_warp import Motion
from course_lib.methods.propagation.schedule import FrameKind, OperatingPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.video_segmenter import Prepared, PropagatingSegmenter
from course_lib.presets import of_preset

Pair = tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]
LEAST_SHARE = 0.7  # of S: the least speed-up that counts as "about S"


@dataclass(frozen=True)
class SpeedConfig:
    """Size of the measurements. `preset` gives the three sizes of the course."""

    height: int = 256
    width: int = 512
    length: int = 10  # frames in one round
    rounds: int = 3
    network: ICNetConfig | None = None  # the published one

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.length < 2:
            raise InputError(f"expected rounds >= 1 and length >= 2, got {self.rounds} and {self.length}")

    @classmethod
    def preset(cls, name: str) -> "SpeedConfig":
        """smoke: a small network; cpu: a laptop; gpu: the thesis's frames. Raises `InputError` for another name."""
        sizes = {
            "smoke": cls(64, 128, rounds=2, network=ICNetConfig.small()),
            "cpu": cls(),
            "gpu": cls(1024, 2048),
        }
        return of_preset(name, sizes)


Preset = str | SpeedConfig


@dataclass(frozen=True)
class SpeedUp:
    """How many times faster a stream is at a period of `every` than frame by frame, and the part of S asked for.

    one_core  all work counts; otherwise what the network's processor does: not flow, nor preparing frames for it

    Called with a preset and a random seed, it gives both for each round, [R] each.
    """

    every: int
    one_core: bool = False

    def __call__(self, preset: Preset, seed: int) -> Pair:
        config = config_of(preset)
        times = stream_ms(config, seed, (OperatingPoint(1, warp=False), OperatingPoint(self.every)), self.one_core)
        return times[:, 0] / times[:, 1], np.full(config.rounds, LEAST_SHARE * self.every)


def refiner_and_network(preset: Preset, seed: int) -> Pair:
    """Milliseconds of the refiner over those of the whole network, and 0, for each round: [R] each."""
    config = config_of(preset)
    network, frames = _network(config.network), _frames(config, seed)
    frame = network.padded(frames[:1].float() / 255)
    with torch.no_grad():
        features = network.encode(frame)
        times = interleaved_ms([partial(network, frame), partial(network.decode, features, frame)], 2 * config.rounds)
    return times[:, 1] / times[:, 0], np.zeros(len(times))


def farneback_and_dis(preset: Preset, seed: int) -> Pair:
    """Milliseconds of one flow of Farnebäck, and of DIS, on frames of the world's size: [R] each."""
    config = config_of(preset)
    frames = _frames(config, seed, *((64, 128) if preset == "smoke" else (128, 256)))
    calls = []
    for method in ("farneback", "dis"):
        flow = OpenCvFlow("farneback") if method == "farneback" else OpenCvFlow("dis")
        calls.append(partial(flow, *(flow.see(frame.float() / 255) for frame in frames[:2])))
    times = interleaved_ms(calls, 5 * config.rounds)
    return times[:, 0], times[:, 1]


speed_up_2 = SpeedUp(2)
speed_up_5 = SpeedUp(5)
speed_up_10 = SpeedUp(10)
speed_up_5_one_core = SpeedUp(5, one_core=True)


def config_of(preset: Preset) -> SpeedConfig:
    """The measurements of a preset, or those given."""
    return SpeedConfig.preset(preset) if isinstance(preset, str) else preset


def stream_ms(
    config: SpeedConfig, seed: int, points: tuple[OperatingPoint, ...], one_core: bool
) -> Float[np.ndarray, "r p"]:
    """Processor milliseconds per frame of each point over one stream, for each round; one thread, labels included.

    Without `one_core`, flow and preparing frames are left out. Built in lesson 06.
    """
    frames, network = _frames(config, seed), _network(config.network)
    videos = [_Clocked(network, point=point) for point in points]
    times = interleaved_ms([partial(_drain, video, frames) for video in videos], config.rounds)
    if not one_core:
        times -= np.array([video.aside[1:] for video in videos]).T
    return times / len(frames)


class _Clocked(PropagatingSegmenter):
    """Notes the processor milliseconds of each run that another processor could spend: `aside`."""

    aside: list[float]

    def prepare(self, frame: Tensor, index: int, kind: FrameKind) -> Prepared:
        began = process_time()
        if index == 0:
            self.aside = [*getattr(self, "aside", []), 0.0]
        prepared = super().prepare(frame, index, kind)
        self.aside[-1] += 1000 * (process_time() - began)
        return prepared

    def motion(self, before: Prepared, now: Prepared, flow: Flow) -> Motion:
        began = process_time()
        found = super().motion(before, now, flow)
        self.aside[-1] += 1000 * (process_time() - began)
        return found


@torch.no_grad()
def interleaved_ms(calls: Sequence[Callable[[], object]], rounds: int) -> Float[np.ndarray, "r k"]:
    """Processor milliseconds of each call, in turns, after one round that does not count. One thread for all,
    no gradients.

    The numbers of threads of torch and OpenCV are restored.
    """
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        times = np.zeros((rounds + 1, len(calls)))
        for row in times:
            for i, call in enumerate(calls):
                began = process_time()
                call()
                row[i] = 1000 * (process_time() - began)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return times[1:]


def _drain(video: PropagatingSegmenter, frames: UInt8[Tensor, "t 3 h w"]) -> None:
    for _ in video.run(frames):
        pass


@lru_cache(maxsize=1)
def _network(config: ICNetConfig | None) -> FrameSegmenter:
    return ICNet(len(STREET_CLASSES), config).eval()


@lru_cache(maxsize=2)
def _frames(config: SpeedConfig, seed: int, height: int = 0, width: int = 0) -> UInt8[Tensor, "t 3 h w"]:
    size = (height or config.height, width or config.width)
    dials = scenario("driving", image_size=size, length=config.length, stereo=False, dense_truth=False)
    return World(dials).dataset(1, seed)[0].frames
