"""All claims, and the run that measures them and keeps the results in one JSON file.

A chapter adds `lessonNN.py` with a tuple `CLAIMS` beside this file; listing the folder finds it. Unusual: each claim is
written as soon as it is measured, next to what the file already holds, so an interrupted run loses one claim at most
and a smoke run never overwrites a measurement at a larger preset.
"""

import json
import os
import pkgutil
import platform
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm.auto import tqdm

from course_lib import __version__
from course_lib.claims.bootstrap import UNTESTABLE, paired_bootstrap, verdict
from course_lib.claims.claim import Claim
from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError

PRESETS = ("smoke", "cpu", "gpu")  # from the smallest to the largest
DEFAULT_FILE = Path("docs/claims.json")

_NUMBERS = re.compile(r"\[[-+\d.e,\s]*\]")  # a list of nothing but numbers
Results = dict[str, dict[str, dict[str, Any]]]  # claim id -> preset -> one result


def all_claims() -> tuple[Claim, ...]:
    """Every claim of every chapter, in course order. Raises `InputError` if two share an id."""
    folder = import_module("course_lib.claims")
    names = sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if re.fullmatch(r"lesson\d\d", m.name))
    claims = tuple(claim for name in names for claim in import_module(f"course_lib.claims.{name}").CLAIMS)
    ids = [claim.id for claim in claims]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise InputError(f"claim ids must be unique; these are used twice: {', '.join(twice)}")
    return claims


def read_results(path: str | Path) -> Results:
    """What the file at `path` holds; nothing if there is none. Raises `InputError` if it is not a results file."""
    path = Path(path)
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        if not all(isinstance(entry, dict) for by_preset in results.values() for entry in by_preset.values()):
            raise TypeError("an entry is not an object")
        return results
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a file of measured claims ({type(error).__name__}: {error}); restore it, or move it away "
            "and run `course claims run`"
        ) from error


def write_results(path: str | Path, results: Results) -> None:
    """Write `results` whole or not at all, in an order that gives small diffs."""
    text = json.dumps({"format": 1, "results": results}, indent=1, sort_keys=True, ensure_ascii=False)
    text = _NUMBERS.sub(lambda found: re.sub(r"\s+", "", found[0]), text)  # thousands of differences, not as many lines
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def run_claims(
    ids: Sequence[str] | None = None,
    preset: Literal["smoke", "cpu", "gpu"] = "cpu",
    out: str | Path = DEFAULT_FILE,
    *,
    fresh: bool = False,
    progress: bool = True,
    claims: Sequence[Claim] | None = None,
) -> Results:
    """Measure claims and merge the results into the JSON file `out`.

    ids     claims to measure; a lesson number such as "00" stands for all of its claims; None means all
    fresh   measure again what the file already holds for this preset under the same rule
    claims  the ledger to choose from; None takes `all_claims()`

    Returns what the file holds afterwards. Raises `InputError` for an unknown id or preset. A claim whose rule changed
    since it was measured is measured again.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; use one of {', '.join(PRESETS)}")
    chosen = _chosen(all_claims() if claims is None else claims, ids)
    results = read_results(out)
    todo = [claim for claim in chosen if fresh or not _is_current(results, claim, preset)]
    bar = tqdm(total=sum(len(c.seeds) if c.experiment else 1 for c in todo), unit="seed", disable=not progress)
    with bar:
        for claim in todo:
            bar.set_description(claim.id)
            result = measure(claim, preset, bar)
            results = read_results(out)  # another run may have added its own meanwhile
            results.setdefault(claim.id, {})[preset] = result
            write_results(out, results)
    return results


def measure(claim: Claim, preset: str, bar: tqdm | None = None) -> dict[str, Any]:
    """One result as it stands in the file: effect with interval, verdict, and what it was measured on.

    Raises `InputError` if the experiment returns anything but two arrays [C] of equal length.
    """
    common = {
        "rule": claim.fingerprint,
        "preset": preset,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "library": __version__,
    }
    if not claim.experiment:
        return {**common, "verdict": UNTESTABLE, "reason": claim.untestable}
    experiment = claim.load_experiment()
    began = time.perf_counter()
    firsts, seconds = [], []
    for seed in claim.seeds:
        pair = tuple(np.asarray(values, dtype=np.float64) for values in experiment(preset, seed))
        if len(pair) != 2 or pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
            raise InputError(
                f"claim {claim.id}: {claim.experiment} must return two lists of equal length, one value per clip; "
                f"got shapes {[values.shape for values in pair]}"
            )
        firsts.append(pair[0])
        seconds.append(pair[1])
        if bar is not None:
            bar.update()
    interval = paired_bootstrap([a - b for a, b in zip(firsts, seconds, strict=True)], clips=claim.clips)
    return {
        **common,
        "verdict": verdict(interval, claim.direction, claim.threshold),
        "effect": _short(interval.mean),
        "low": _short(interval.low),
        "high": _short(interval.high),
        "level": interval.level,
        "first": _short(np.mean([row.mean() for row in firsts])),
        "second": _short(np.mean([row.mean() for row in seconds])),
        "differences": [[_short(d) for d in a - b] for a, b in zip(firsts, seconds, strict=True)],
        "seeds": list(claim.seeds),
        "clips": int(sum(len(row) for row in firsts)),
        "seconds": round(time.perf_counter() - began, 1),
        "machine": machine(),
    }


def machine() -> str:
    """What the result was computed on, without the machine's name."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s), "
        f"{device}; Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    )


def _chosen(claims: Sequence[Claim], ids: Sequence[str] | None) -> list[Claim]:
    if ids is None:
        return list(claims)
    known = {claim.id for claim in claims} | {claim.lesson for claim in claims}
    unknown = [i for i in ids if i not in known]
    if unknown:
        raise InputError(
            f"unknown claim {', '.join(map(repr, unknown))}; there are {', '.join(c.id for c in claims) or 'none'}"
        )
    return [claim for claim in claims if claim.id in ids or claim.lesson in ids]


def _is_current(results: Results, claim: Claim, preset: str) -> bool:
    return results.get(claim.id, {}).get(preset, {}).get("rule") == claim.fingerprint


def _short(value: float) -> float:
    return round(float(value), 5)
