"""Trackers that remember in a state of fixed size, against a memory that grows: time and bytes as a video gets longer.

Run `python benchmarks/recurrent.py` (about ten minutes; `--published` adds the published sizes, for a GPU). One object,
256 x 448, one thread; no weights are loaded, since they do not matter here. All are timed in turn, round by round;
figures are medians over rounds, ratios are taken within a round, so that a busy machine hurts all alike. Times are CPU
time, wall time on a GPU. RAFT-HS2S is not listed: its flow is for training, it follows a video as HS2S does.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler that counts bytes talks between the lines
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import numpy as np
import torch
from _machine import machine_description
from _recurrent_trackers import Tracker, film, memory_tracker, offline_tracker, recurrent_tracker

from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.rows import Network, bi_hs2s, hs2s, mask_guided, rgmp, s2s, s2s_plus_plus
from course_lib.methods.recurrent.sizes import LITE, PUBLISHED, PUBLISHED_VGG, SMALL, Size
from course_lib.methods.space_time_memory import SMALL as STCN_SMALL
from course_lib.methods.space_time_memory import SMALL_MEMORY, STCN, MemoryConfig, SpaceTimeSegmenter
from course_lib.nn.device import resolve_device

ROOT = Path(__file__).parents[1]
MEMBERS: dict[str, Callable[[Size], Network]] = {
    "S2S": s2s, "S2S++": s2s_plus_plus, "HS2S": hs2s, "Bi-HS2S": bi_hs2s, "mask-guided": mask_guided, "RGMP": rgmp,
}  # fmt: skip
COURSE_SIZES = {"small": SMALL, "lite": LITE}
PUBLISHED_SIZES = {"VGG-16": PUBLISHED_VGG, "ResNet-50": PUBLISHED}
NOTES = {
    "held_bytes": "states, references, memory with its unused room, and the frame at hand; of Bi-HS2S, which is not "
    "causal, frames and masks of the clip. Constant: the same after every single frame (of memories: at all lengths)",
    "working_mib": "most bytes of tensors during a step, or a whole clip, beyond what was held before",
    "Bi-HS2S": "time per frame is that of a window of 20 over the 15 frames that each window adds",
    "memories": "filled with noisy cells of real frames up to each length, then steps are timed",
    "ratio": "time of the growing memory's frames at that length over that of the tracker's: above 1 it is slower",
    "ratio_bounded": "the same for the adaptive memory, of fixed size",
    "cheaper_from": "frames answered from which on the tracker is cheaper than the growing memory, for each frame and "
    "in sum since the start: measured ratios, joined by straight lines. 1: always; null: not up to the longest length",
}


@dataclass(frozen=True)
class Plan:
    """What is timed.

    lengths  frames that have gone by when the growing memory is timed; its buffers double between them, untimed
    walked   frames that a recurrent session has seen when it is timed, each of them really
    windows  how many windows the clips of the bidirectional network have
    block    steps timed at once, a multiple of the frames between two writes
    """

    size: tuple[int, int] = (256, 448)
    lengths: tuple[int, ...] = (10, 50, 100, 200, 500, 1000, 2000, 3000)
    walked: tuple[int, ...] = (10, 200)
    windows: tuple[int, ...] = (1, 3)
    block: int = 10
    rounds: int = 5


QUICK = Plan(size=(64, 96), lengths=(10, 30), walked=(5, 10), windows=(1, 2), block=5, rounds=2)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """CPU time of one call, or wall time on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        function()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def working_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors during a call, beyond those before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Ev Idx"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return int(np.cumsum([0, *(change for *_, change in changes)]).max())


def measure(trackers: list[Tracker], device: torch.device, rounds: int) -> None:
    """Time everything once a round; who begins changes with the round."""
    for tracker in trackers:
        latest = [*tracker.later.values()][-1]
        tracker.working = working_bytes(latest.ready(), device)
    everything = [x for tracker in trackers for x in (tracker.opening, *tracker.later.values()) if x is not None]
    for turn in range(rounds):
        first = turn * len(everything) // rounds
        for timed in everything[first:] + everything[:first]:
            timed.ms.append(1e3 * seconds(timed.ready(), device) / timed.frames)


def crossover(lengths: list[int], ratios: list[float], opening: float) -> tuple[int | None, int | None]:
    """Frames answered from which on a tracker is cheaper than a memory: for each frame, and in sum.

    ratios   time of the memory's frames at those lengths over the tracker's; straight between, level before the first
    opening  by how much the memory's first answer takes longer than the tracker's, in frames of the tracker

    1 means cheaper at all lengths, None not cheaper at the last one.
    """
    ratio = np.interp(np.arange(1, lengths[-1] + 1), lengths, ratios)
    saved = np.cumsum(np.concatenate([[opening], ratio[1:] - 1]))
    return _for_good(ratio > 1), _for_good(saved > 0)


def _for_good(holds: np.ndarray) -> int | None:
    """The first of 1, 2, … from which a condition holds to the end."""
    broken = np.flatnonzero(~holds)
    start = int(broken[-1]) + 2 if len(broken) else 1
    return start if start <= len(holds) else None


def alone(tracker: Tracker) -> dict[str, Any]:
    """A tracker in numbers."""
    ratios = tracker.late_over_early()
    result = {
        "parameters": tracker.parameters,
        "ms_per_frame": {n: round(statistics.median(timed.ms), 2) for n, timed in tracker.later.items()},
        "late_over_early": round(statistics.median(ratios), 3),
        "late_over_early_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "held_bytes": tracker.held,
        "held_bytes_constant": tracker.constant,
        "working_mib": round(tracker.working / 2**20, 1),
    }
    if tracker.opening is not None:
        result["first_answer_ms"] = round(statistics.median(tracker.opening.ms), 1)
    return result


def beside(tracker: Tracker, growing: Tracker, bounded: Tracker) -> dict[str, Any]:
    """A tracker and the memories, round by round."""
    rate = np.array(tracker.rate())
    ratios = {n: float(np.median(np.array(timed.ms) / rate)) for n, timed in growing.later.items()}
    assert growing.opening is not None
    own = rate if tracker.opening is None else np.array(tracker.opening.ms)
    opening = float(np.median((np.array(growing.opening.ms) - own) / rate))
    each, total = crossover([*ratios], [*ratios.values()], opening)
    return {
        "frames_per_second": round(1e3 / float(np.median(rate)), 2),
        **alone(tracker),
        "ratio": {n: round(ratio, 2) for n, ratio in ratios.items()},
        "ratio_bounded": round(float(np.median(np.array(bounded.rate()) / rate)), 2),
        "cheaper_from": {"each frame": each, "in sum": total},
    }


@torch.no_grad()
def compare(sizes: Mapping[str, Size], published: bool, plan: Plan, device: torch.device) -> dict[str, Any]:
    """All members in these sizes beside the space-time memory of lesson 13: the published network, or the small one."""
    shown = film(plan.size, device)
    net = (STCN() if published else STCN(STCN_SMALL)).to(device).to(memory_format=torch.channels_last)
    kept = MemoryConfig(policy="adaptive") if published else SMALL_MEMORY
    growing = memory_tracker(SpaceTimeSegmenter(net, replace(kept, policy="every_k")), shown, plan.lengths, plan.block)
    bounded = memory_tracker(SpaceTimeSegmenter(net, kept), shown, (plan.lengths[0], plan.lengths[-1]), plan.block)
    members: dict[str, dict[str, Tracker]] = {}
    for title, size in sizes.items():
        for name, make in MEMBERS.items():
            member = make(size).to(device).to(memory_format=torch.channels_last)
            if isinstance(member, BidirectionalVOS):
                tracker = offline_tracker(member, shown, plan.windows)
            else:
                tracker = recurrent_tracker(member, shown, plan.walked, plan.lengths, plan.block)
            members.setdefault(title, {})[name] = tracker
    measure([growing, bounded, *(t for group in members.values() for t in group.values())], device, plan.rounds)
    return {
        "device": str(device),
        "memory": {
            "name": "STCN" if published else "stcn-small",
            "growing": {"keeps_every": kept.mem_every, **alone(growing)},
            "bounded": {"policy": kept.policy, "capacity": kept.capacity, **alone(bounded)},
        },
        "members": {
            title: {name: beside(tracker, growing, bounded) for name, tracker in group.items()}
            for title, group in members.items()
        },
    }


def table(section: dict[str, Any]) -> str:
    """A section of the result, to print."""
    name, growing, bounded = section["memory"].values()
    lines = [f"{name} on {section['device']}, every {growing['keeps_every']}th frame kept:"]
    for n, ms in growing["ms_per_frame"].items():
        lines.append(f"  after {n:5d} frames {ms:8.1f} ms/frame, holds {growing['held_bytes'][n] / 2**20:7.1f} MiB")
    ms, held = [*bounded["ms_per_frame"].values()][-1], max(bounded["held_bytes"].values())
    lines.append(f"  bounded, {bounded['policy']}: {ms:6.1f} ms/frame, holds {held / 2**20:7.1f} MiB at any length")
    lengths = [*growing["ms_per_frame"]]
    some = [lengths[0], lengths[len(lengths) // 2], lengths[-1]]
    lines += [
        f"{'':22s}{'ms per':>8s}{'frames':>8s}{'late /':>8s}{'holds':>8s}{'works in':>10s}"
        f"   {'memory: time over that of the tracker':^40s}{'cheaper than growing from':>32s}",
        f"{'':22s}{'frame':>8s}{'per s':>8s}{'early':>8s}{'MiB':>8s}{'MiB':>10s}   "
        + "".join(f"{f'at {n}':>10s}" for n in some)
        + f"{'bounded':>10s}{'frame, each':>16s}{'in sum':>16s}",
    ]
    for title, group in section["members"].items():
        for member, row in group.items():
            ratios = [*(row["ratio"][n] for n in some), row["ratio_bounded"]]
            lines.append(
                f"{title + ' ' + member:22s}{1e3 / row['frames_per_second']:8.1f}{row['frames_per_second']:8.2f}"
                f"{row['late_over_early']:8.3f}{max(row['held_bytes'].values()) / 2**20:8.2f}{row['working_mib']:10.1f}"
                + "   "
                + "".join(f"{ratio:10.2f}" for ratio in ratios)
                + "".join(f"{_when(start, lengths[-1]):>16s}" for start in row["cheaper_from"].values())
            )
    return "\n".join(lines)


def _when(start: int | None, longest: int) -> str:
    return {None: f"not by {longest}", 1: "always"}.get(start, str(start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of the course's sizes")
    parser.add_argument("--published", action="store_true", help="published sizes too: 10 GB; without a GPU, hours")
    parser.add_argument("--quick", action="store_true", help="tiny frames, to see that it runs; kept only with --out")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/recurrent.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plan = QUICK if args.quick else replace(Plan(), rounds=args.rounds)
    result: dict[str, Any] = {
        "machine": machine_description(),
        "threads": 1,
        "size": plan.size,
        "rounds": plan.rounds,
        "notes": NOTES,
        "course": compare(COURSE_SIZES, False, plan, resolve_device(args.device)),
        "published": "not measured: ask for it with --published",
    }
    print(table(result["course"]))
    if args.published:
        device = resolve_device("cuda" if torch.cuda.is_available() else "cpu")
        result["published"] = compare(PUBLISHED_SIZES, True, plan, device)
        print(table(result["published"]))
    out = args.out
    if out is None and not args.quick:
        out = ROOT / "benchmarks" / "results" / "recurrent.json"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
