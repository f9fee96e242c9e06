"""When network and flow work on each frame of a schedule: the arithmetic behind the schedule dial.

Written out once more for the widget, in Python for its still and in `schedule_dial.js` for its page, because what is
looked at stands on the floor below the methods; tests hold both to `course_lib.methods.propagation.throughput`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

FrameKind = Literal["key", "blend", "warp", "refine", "copy"]
Span = tuple[float, float]  # begin and end, milliseconds


class Setting(Protocol):
    """An operating point: S, W, R, D."""

    @property
    def key_every(self) -> int: ...
    @property
    def warp(self) -> bool: ...
    @property
    def refine(self) -> Literal["off", "last", "all"]: ...
    @property
    def input_scale(self) -> float: ...


class Times(Protocol):
    """Milliseconds of the stages."""

    @property
    def segment(self) -> Mapping[float, float]: ...
    @property
    def refine(self) -> float: ...
    @property
    def warp(self) -> float: ...
    @property
    def flow(self) -> float: ...
    @property
    def blend(self) -> float: ...


@dataclass(frozen=True)
class FrameLife:
    """One frame: its kind, when the network and which core work on it, and when its labels are known."""

    kind: FrameKind
    arrived: float
    network: Span | None
    flow: Span | None
    core: int | None
    ready: float


def kind_at(setting: Setting, step: int) -> FrameKind:
    """What happens to the frame `step` frames after the first."""
    place = step % setting.key_every
    if place == 0:
        return "blend" if setting.key_every == 1 and setting.refine != "off" and step > 0 else "key"
    if not setting.warp:
        return "copy"
    last = place == setting.key_every - 1
    return "refine" if setting.refine == "all" or (setting.refine == "last" and last) else "warp"


def rate_of(setting: Setting, times: Times, cores: int) -> float:
    """Frames per second when all frames are there: a period's network time, or what `cores` need for its flow."""
    kinds = [kind_at(setting, step) for step in range(setting.key_every, 2 * setting.key_every)]
    costs = {"key": times.segment[setting.input_scale], "refine": times.refine, "warp": 0.0, "copy": 0.0}
    costs["blend"] = costs["key"] + times.blend
    carried = sum(kind in ("warp", "refine") for kind in kinds)
    cycle = sum(costs[kind] for kind in kinds) + carried * times.warp
    pairs = carried + kinds.count("blend")
    return 1000 * setting.key_every / max(cycle, pairs * times.flow / cores)


def frame_lives(setting: Setting, times: Times, length: int, interval: float, cores: int) -> tuple[FrameLife, ...]:
    """The first `length` frames, `interval` milliseconds apart: one network, `cores` cores for flow, all in order."""
    network_free = carried_until = 0.0
    free = [0.0] * cores
    lives = []
    for step in range(length):
        kind, arrived = kind_at(setting, step), step * interval
        flow: Span | None = None
        network: Span | None = None
        core: int | None = None
        if kind in ("warp", "refine", "blend"):
            core = free.index(min(free))
            start = max(arrived, free[core])
            flow = (start, start + times.flow * (1 if kind == "warp" else 2))  # the check needs the way back, too
            free[core] = flow[1]
        begin = max(arrived, carried_until, flow[1] if flow else 0.0)
        if kind in ("key", "blend"):
            start = max(arrived, network_free)
            network = (start, start + times.segment[setting.input_scale])
            ready = max(begin, network[1]) + (times.blend if kind == "blend" else 0.0)
        elif kind == "refine":
            start = max(begin + times.warp, network_free)
            network = (start, start + times.refine)
            ready = network[1]
        else:
            ready = begin + (times.warp if kind == "warp" else 0.0)
        network_free = network[1] if network else network_free
        carried_until = ready
        lives.append(FrameLife(kind, arrived, network, flow, core, ready))
    return tuple(lives)
