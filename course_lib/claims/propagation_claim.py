"""A claim of lessons 06 and 07: what all of them have in common is said once, here. M. Paul (2023), chapters 3, 4."""

from typing import Literal

from course_lib.claims.claim import Claim, Published, Source

_ROOMS = {"06": "course_lib.methods.propagation", "07": "course_lib.methods.local_memory"}
DRIVES = (60, 61, 62, 63, 64)  # random seeds of lesson 06; each has clips of its own
_METHODS = {"06": "EVS", "07": "LMANet"}


def paul_claim(
    id: str,
    statement: str,
    effect: str,
    conditions: tuple[str, str],
    experiment: str,
    minutes: float,
    section: str,
    *,
    seeds: tuple[int, ...],
    clips: Literal["own", "same"] = "own",
    table: str = "",
    kind: str = "thesis",
    method: str = "",
    unit: str = "mIoU",
    threshold: float = 0.0,
    less: bool = False,
    published: tuple[tuple[str, float, str], ...] = (),
    note: str = "",
) -> Claim:
    """A claim of the lesson that its id begins with.

    experiment  "module:name" in the lesson's room of `course_lib.methods`
    less        it holds if the effect is below the threshold
    published   what, value, unit
    """
    return Claim(
        id=id,
        lesson=id[:2],
        method=method or _METHODS[id[:2]],
        source=Source("M. Paul", 2023, section, table, kind),
        statement=statement,
        effect=effect,
        unit=unit,
        conditions=conditions,
        direction="less" if less else "greater",
        threshold=threshold,
        experiment=f"{_ROOMS[id[:2]]}.{experiment}",
        seeds=seeds,
        clips=clips,
        minutes=minutes,
        published=tuple(Published(*numbers) for numbers in published),
        note=note,
    )
