"""A claim: one sentence that a thesis makes, the numbers it prints for it, and the experiment that tests it here.

Unusual: the rule (effect, direction, threshold, random seeds, kind of clips) is part of the claim, so it stands
before the experiment runs, and its hash is kept with every result: changing a rule afterwards shows.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from course_lib.errors import InputError

# preset, random seed -> two arrays [C]: the quantity under the two conditions compared, one value per clip.
Experiment = Callable[[str, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Source:
    """Where a claim stands in print."""

    author: str
    year: int
    section: str  # "6.1"
    table: str = ""  # "6.7"; empty where the claim is made in prose
    kind: str = "thesis"

    def __str__(self) -> str:
        table = f", table {self.table}" if self.table else ""
        return f"{self.author} ({self.year}), section {self.section}{table}"


@dataclass(frozen=True)
class Published:
    """One published number that backs a claim, with its unit."""

    what: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.what}: {self.value:g} {self.unit}".strip()


@dataclass(frozen=True)
class Claim:
    """A directional statement and how it is tested.

    experiment  "package.module:function" with function(preset, seed) -> two arrays [C], the quantity under the first
                and the second condition on the same C clips; the effect is the mean of first minus second
    direction   "greater": the claim holds if the effect is above `threshold`; "less": if below
    clips       "own": each random seed makes its own clips; "same": every seed is tested on the same clips
    untestable  why it cannot be tried at this scale; then there is no experiment

    Raises `InputError` on an id that is not "NN-slug", a claim with neither or both of experiment and `untestable`,
    or fewer than three seeds.
    """

    id: str
    lesson: str
    method: str
    source: Source
    statement: str
    effect: str
    unit: str = ""
    conditions: tuple[str, str] = ("first", "second")
    direction: Literal["greater", "less"] = "greater"
    threshold: float = 0.0
    experiment: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    clips: Literal["own", "same"] = "own"
    minutes: float = 1.0  # budget at preset cpu, one thread
    published: tuple[Published, ...] = ()
    untestable: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d-[a-z0-9-]+", self.id) or not self.id.startswith(self.lesson + "-"):
            raise InputError(f"claim id {self.id!r} must be its lesson {self.lesson!r}, a dash and a lower-case slug")
        if self.direction not in ("greater", "less"):
            raise InputError(f"claim {self.id}: direction must be 'greater' or 'less', got {self.direction!r}")
        if self.clips not in ("own", "same"):
            raise InputError(f"claim {self.id}: clips must be 'own' or 'same', got {self.clips!r}")
        if bool(self.experiment) == bool(self.untestable):
            raise InputError(f"claim {self.id}: give an experiment, or say in `untestable` why there is none")
        if self.experiment:
            if not re.fullmatch(r"[\w.]+:\w+", self.experiment):
                raise InputError(f"claim {self.id}: experiment must read 'module:function', got {self.experiment!r}")
            if len(set(self.seeds)) < 3 or len(set(self.seeds)) != len(self.seeds):
                raise InputError(f"claim {self.id}: at least three different random seeds, got {self.seeds}")

    @property
    def fingerprint(self) -> str:
        """Hash of the rule: what is measured, on what, and what counts as holding. Wording and sources may change."""
        rule = {
            name: value
            for name, value in asdict(self).items()
            if name in {"id", "effect", "direction", "threshold", "experiment", "seeds", "clips", "untestable"}
        }
        return hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:12]

    def load_experiment(self) -> Experiment:
        """The function behind `experiment`. Raises `InputError` if the claim has none or the address is wrong."""
        if not self.experiment:
            raise InputError(f"claim {self.id} has no experiment: {self.untestable}")
        module, function = self.experiment.split(":")
        try:
            return getattr(import_module(module), function)
        except (ModuleNotFoundError, AttributeError) as error:
            raise InputError(f"claim {self.id}: experiment {self.experiment!r} was not found ({error})") from error
