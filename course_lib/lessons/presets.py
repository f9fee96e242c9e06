"""The three sizes of a run and what each may cost on a machine with two cores and no GPU.

A preset only picks values; no lesson has a second code path. A lesson's manifest may widen its own budget.
"""

from dataclasses import dataclass

from course_lib.errors import InputError


@dataclass(frozen=True)
class Budget:
    """What one lesson may cost: seconds of work and gigabytes (1e9 bytes) of peak resident memory."""

    seconds: float
    gigabytes: float

    def __str__(self) -> str:
        time = f"{self.seconds:g} s" if self.seconds < 3600 else f"{self.seconds / 3600:g} h"
        return f"at most {time} and {self.gigabytes:g} GB"


BUDGETS = {
    "smoke": Budget(25, 2),  # continuous integration: every cell runs
    "cpu": Budget(100, 4),  # a laptop: the effect is measured live
    "gpu": Budget(24 * 3600, 80),  # published scale on the real data sets
}


def require_preset(preset: str) -> str:
    """The preset, if it is one. Raises `InputError` naming the presets there are."""
    if preset not in BUDGETS:
        raise InputError(
            f'unknown preset {preset!r}; use "smoke" (seconds, for tests), "cpu" (a laptop) or "gpu" (published scale)'
        )
    return preset
