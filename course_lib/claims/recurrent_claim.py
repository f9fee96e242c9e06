"""A claim about the recurrent family, lessons 04 and 05: what all of them have in common is said once, here.

F. Azimi (2024), chapter 6. All are tested on rows of one table: three random seeds of training, the same test clips.
"""

from course_lib.claims.claim import Claim, Published, Source

_ROOM = "course_lib.methods.recurrent"
_SEEDS = (0, 1, 2)


def recurrent_claim(
    id: str,
    statement: str,
    effect: str,
    conditions: tuple[str, str],
    experiment: str,
    minutes: float,
    section: str,
    table: str = "",
    kind: str = "thesis",
    method: str = "HS2S",
    unit: str = "J&F",
    threshold: float = 0.0,
    less: bool = False,
    published: tuple[tuple[str, float, str], ...] = (),
    note: str = "",
) -> Claim:
    """A claim of the lesson that its id begins with.

    experiment  "module:name" in `course_lib.methods.recurrent`
    less        it holds if the effect is below the threshold
    published   what, value, unit
    """
    return Claim(
        id=id,
        lesson=id[:2],
        method=method,
        source=Source("F. Azimi", 2024, section, table, kind),
        statement=statement,
        effect=effect,
        unit=unit,
        conditions=conditions,
        direction="less" if less else "greater",
        threshold=threshold,
        experiment=f"{_ROOM}.{experiment}",
        seeds=_SEEDS,
        clips="same",
        minutes=minutes,
        published=tuple(Published(*numbers) for numbers in published),
        note=note,
    )
