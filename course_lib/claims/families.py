"""What the claims of one family of methods have in common, said once: a `ClaimFamily`, called for every claim.

evs = ClaimFamily("M. Paul", 2023, "course_lib.methods.propagation", "EVS", "mIoU", seeds=(60, 61, 62))
evs("06-warp", "Carrying labels beats repeating them.", …)
"""

from dataclasses import dataclass
from typing import Literal

from course_lib.claims.claim import Claim, Published, Source


@dataclass(frozen=True)
class ClaimFamily:
    """Whose claims they are, and how they are tested unless one says otherwise.

    room   package of the experiments
    seeds  random seeds; clips: whether each has test clips of its own
    """

    author: str
    year: int
    room: str
    method: str
    unit: str
    seeds: tuple[int, ...]
    clips: Literal["own", "same"] = "own"

    def __call__(
        self,
        id: str,
        statement: str,
        effect: str,
        conditions: tuple[str, str],
        experiment: str,
        minutes: float,
        section: str,
        *,
        table: str = "",
        kind: str = "thesis",
        method: str = "",
        unit: str | None = None,
        threshold: float = 0.0,
        less: bool = False,
        published: tuple[tuple[str, float, str], ...] = (),
        note: str = "",
    ) -> Claim:
        """A claim of the lesson that its id begins with.

        experiment  "module:name" in the family's room
        less        it holds if the effect is below the threshold
        published   what, value, unit
        """
        return Claim(
            id=id,
            lesson=id[:2],
            method=method or self.method,
            source=Source(self.author, self.year, section, table, kind),
            statement=statement,
            effect=effect,
            unit=self.unit if unit is None else unit,
            conditions=conditions,
            direction="less" if less else "greater",
            threshold=threshold,
            experiment=f"{self.room}.{experiment}",
            seeds=self.seeds,
            clips=self.clips,
            minutes=minutes,
            published=tuple(Published(*numbers) for numbers in published),
            note=note,
        )


_METHODS = "course_lib.methods"
_DRIVES = (60, 61, 62, 63, 64)  # random seeds of lesson 06; each has clips of its own

# Rows of a table, the same test clips for all random seeds of training: three, and six where a run takes two minutes.
recurrent = ClaimFamily("F. Azimi", 2024, f"{_METHODS}.recurrent", "HS2S", "J&F", (0, 1, 2), "same")
propagation = ClaimFamily("M. Paul", 2023, f"{_METHODS}.propagation", "EVS", "mIoU", _DRIVES)
local_memory = ClaimFamily("M. Paul", 2023, f"{_METHODS}.local_memory", "LMANet", "mIoU", tuple(range(6)), "same")
local_memory_cost = ClaimFamily("M. Paul", 2023, f"{_METHODS}.local_memory", "LMANet", "mIoU", (0, 1, 2))
