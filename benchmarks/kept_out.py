"""The shipped small networks beside methods that were never trained, on the six kept-out DAVIS sequences.

Run `python benchmarks/kept_out.py`, where COURSE_DATA or --data-root has DAVIS. J&F, J and F in percent for each method
and sequence, the last frame left out as the first is; frames per second are those of the method alone, measured on
`--threads` threads while nothing else should run. These sequences chose stcn-small's checkpoint: read the note there.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch
from _machine import machine_description

from course_lib.methods.space_time_memory.leaderboard import (
    BASELINES,
    EVERYTHING,
    SELECTION,
    compare_small,
    comparison_table,
)
from course_lib.methods.space_time_memory.load import SMALL_WEIGHTS, SMALL_WORLD_WEIGHTS
from course_lib.methods.space_time_memory.train_data import davis_folder
from course_lib.nn.weights import SHIPPED

ROOT = Path(__file__).parents[1]
TRAINED = {
    "stcn-small": SMALL_WEIGHTS,
    "hs2s-lite": SHIPPED / "hs2s-lite.safetensors",
    "stcn-small-world": SMALL_WORLD_WEIGHTS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder with DAVIS in it; default: COURSE_DATA")
    parser.add_argument("--models", nargs="+", default=(*TRAINED, *BASELINES), help="names as in `course eval --model`")
    parser.add_argument("--frames", type=int, default=0, help="first frames of each sequence; 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "kept_out.json")
    args = parser.parse_args()
    if davis_folder(args.data_root) is None:
        print("skipped: there is no DAVIS; set COURSE_DATA to the folder that holds it, or name it with --data-root")
        return
    absent = [name for name in args.models if name in TRAINED and not TRAINED[name].is_file()]
    if absent:
        print(f"without {', '.join(absent)}: no weights here; `course train NAME` makes some")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    models = [name for name in args.models if name not in absent]
    rows = compare_small(args.data_root, models, args.frames, args.device)
    result = {
        "machine": machine_description(),
        "threads": args.threads,
        "device": args.device,
        "frames": args.frames or "all",
        "note": SELECTION,
        "all": {row.model: asdict(row) for row in rows if row.sequence == EVERYTHING},
        "sequences": [asdict(row) for row in rows if row.sequence != EVERYTHING],
        "not_measured": absent,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(comparison_table(rows))
    print(SELECTION)


if __name__ == "__main__":
    main()
