"""How fast an operating point runs, from four measured times; and when each frame's answer is ready.

Deduced from M. Paul (2023), table 3.2 (the thesis prints no formula): one period costs a whole network, a warp for
each frame between, and at most one refiner; flow is free as long as the CPU delivers it meanwhile. Unusual: throughput
is not delay. 1045 frames per second means that seventeen answers come in every 16 ms, each of them late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from course_lib.errors import InputError
from course_lib.methods.propagation.schedule import FrameKind, OperatingPoint


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of each stage on one machine.

    segment  whole network by input scale, which need not fall with its square; refine: the refiner; warp: one warp of
             all that travels; flow: one pair on one core; blend: mask and blend of EVS 01
    """

    segment: Mapping[float, float]
    refine: float
    warp: float
    flow: float
    blend: float = 0.0

    def __post_init__(self) -> None:
        times = [*self.segment.values(), self.refine, self.warp, self.flow, self.blend]
        if not self.segment or min(times) < 0 or min(self.segment.values()) <= 0:
            raise InputError(f"times are milliseconds >= 0, and the network's more than 0; got {self}")

    def segment_at(self, scale: float) -> float:
        """Time of the network at an input scale. Raises `InputError` where it was not measured."""
        if scale not in self.segment:
            raise InputError(f"the network was timed at the scales {sorted(self.segment)}, not at {scale}; measure it")
        return self.segment[scale]


THESIS = StageTimes(  # fitted to table 3.2, except flow, which section 3.4.3 gives as "below 5 ms"
    segment=MappingProxyType({1.0: 25.84, 0.5: 14.76}), refine=14.6, warp=0.11, flow=5.0, blend=1.2
)


def cycle_ms(point: OperatingPoint, times: StageTimes = THESIS) -> float:
    """Milliseconds of one period if flow keeps up: T_seg(D) + (S - 1) t_warp + refined frames · T_ref."""
    carried = (point.key_every - 1) * times.warp if point.warp else 0.0
    blend = times.blend if point.kind(1) == "blend" else 0.0
    return times.segment_at(point.input_scale) + carried + point.refined_per_period * times.refine + blend


def flow_cores(point: OperatingPoint, times: StageTimes = THESIS) -> float:
    """CPU cores that flow needs so as not to hold up the network: (S - 1) t_flow / T, one direction per pair."""
    return _flow_work(point, times) / cycle_ms(point, times)


def rate_hz(point: OperatingPoint, times: StageTimes = THESIS, cores: float | None = None) -> float:
    """Frames per second: S / T, with T stretched to the time that `cores` need for flow (None: cores enough).

    With `THESIS` this reproduces all rows of table 3.2 within 2 %. Built in lesson 06.
    """
    cycle = cycle_ms(point, times)
    if cores is not None:
        if cores <= 0:
            raise InputError(f"cores must be positive, got {cores}")
        cycle = max(cycle, _flow_work(point, times) / cores)
    return 1000 * point.key_every / cycle


@dataclass(frozen=True)
class FrameTimes:
    """Life of one frame in milliseconds since the stream began; each lane is (begin, end) or None where unused."""

    kind: FrameKind
    arrived: float
    network: tuple[float, float] | None  # the segmenter or the refiner
    flow: tuple[float, float] | None
    ready: float = field(default=0.0)  # when its labels are known

    @property
    def delay(self) -> float:
        """Milliseconds from arrival to answer."""
        return self.ready - self.arrived


def timeline(
    point: OperatingPoint,
    times: StageTimes = THESIS,
    length: int = 20,
    interval: float = 0.0,
    cores: int = 1,
) -> tuple[FrameTimes, ...]:
    """When each stage works on each frame in `PipelinedSegmenter`: one network lane, `cores` flow lanes, in order.

    interval  milliseconds between two arrivals; 0: all frames are there from the start (throughput), 33 a camera
              (delay). Warps overlap the network here, so the rate is a little above `rate_hz`.
    """
    if length < 1 or interval < 0 or cores < 1:
        raise InputError(f"expected length >= 1, interval >= 0, cores >= 1; got {length}, {interval}, {cores}")
    network_free, carried_until = 0.0, 0.0
    cores_free = [0.0] * cores
    frames: list[FrameTimes] = []
    for step in range(length):
        kind, arrived = point.kind(step), step * interval
        flow = network = None
        if kind in ("warp", "refine", "blend"):
            core = cores_free.index(min(cores_free))
            start = max(arrived, cores_free[core])
            both = 2 if kind in ("refine", "blend") else 1  # the check needs the flow back as well
            flow = (start, start + both * times.flow)
            cores_free[core] = flow[1]
        if kind in ("key", "blend"):
            start = max(arrived, network_free)
            network = (start, start + times.segment_at(point.input_scale))
            network_free = network[1]
        begin = max(arrived, carried_until, flow[1] if flow else 0.0)
        if kind in ("key", "blend"):
            assert network is not None
            ready = max(begin, network[1]) + (times.blend if kind == "blend" else 0.0)
        elif kind == "refine":
            start = max(begin + times.warp, network_free)
            network = (start, start + times.refine)
            network_free = ready = network[1]
        else:
            ready = begin + (times.warp if kind == "warp" else 0.0)
        carried_until = ready
        frames.append(FrameTimes(kind, arrived, network, flow, ready))
    return tuple(frames)


def _flow_work(point: OperatingPoint, times: StageTimes) -> float:
    if not point.warp:
        return 0.0
    pairs = 1 if point.kind(1) == "blend" else point.key_every - 1
    return pairs * times.flow
