"""The cuts of sandal, sneaker, ankle boot and bag, with random proportions; shoes show their side, the toe to the left.

The kinds are those of Fashion-MNIST (Xiao et al., 2017). Shoes are drawn flat on the ground, two units long, and a heel
then lifts every point by a smooth function of its x, so that uppers, straps and soles bend together.
"""

import numpy as np
from jaxtyping import Float

from course_lib.data.wardrobe.parts import Number, Part, Uniform, Which, fill, path, rounded, stroke

Lengths = Float[np.ndarray, "m"]


def sandal(u: Uniform) -> list[Part]:
    """A sole with straps and gaps; flat, with a heel, or on a wedge."""
    heel = np.where(u(0, 1) < 0.5, u(0.0, 0.12), u(0.25, 0.75))
    thick, wedge = u(0.1, 0.2), u(0, 1) < 0.3
    front, ankle, high = u(0.25, 0.42), u(0.5, 0.75), u(0, 1) < 0.6
    band, second, toe = u(0.11, 0.22), u(0, 1) < 0.5, u(0.12, 0.3)
    arch = rounded(
        path((toe, -thick), (toe + 0.1, -front), (toe + 0.35, -front * 1.15), (toe + 0.62, -thick)), 2, False
    )
    middle = path((0.85, -thick), (1.05, -ankle * 0.85), (1.3, -thick))
    strap = path((1.95, -thick), (1.93, -ankle), (1.1, -ankle * 1.02))
    slope = path((toe + 0.3, -front), (1.15, -ankle * 1.02))
    return _lifted(heel, [
        *_sole(heel, thick, wedge, slim=u(0.07, 0.2)),
        stroke(arch, band, 0.95), stroke(middle, band * 0.8, 0.85, second),
        stroke(strap, band * 0.7, 0.9, high), stroke(slope, band * 0.7, 0.8, high & (u(0, 1) < 0.5)),
    ])  # fmt: skip


def sneaker(u: Uniform) -> list[Part]:
    """Low, on a thick sole of its own brightness, with laces, sometimes stripes; a few cover the ankle."""
    toe, collar, tongue = u(0.26, 0.4), u(0.55, 0.72), u(0.1, 0.25)
    high = np.where(u(0, 1) < 0.12, u(0.2, 0.4), 0.0)  # a few reach over the ankle, like boots
    sole = u(0.1, 0.2)
    upper = path(
        (0.0, -0.08), (0.04, -toe), (0.5, -toe - 0.1), (0.85, -collar), (1.08, -collar - tongue - high),
        (1.3, -collar - high), (1.55, -collar + 0.06 - high), (1.95, -collar - 0.12 - high), (1.98, -0.4),
        (1.96, -0.05),
    )  # fmt: skip
    slab = rounded(
        path((-0.03, -sole), (-0.04, -0.03), (0.12, 0.0), (1.95, 0.0), (2.04, -0.04), (2.0, -sole - 0.03)), 1
    )
    laces = [
        path((0.52 + 0.13 * i, -toe - 0.06 - 0.1 * i), (0.68 + 0.13 * i, -toe + 0.02 - 0.08 * i)) for i in range(3)
    ]
    lean, where, stripes = u(-0.2, 0.2), u(0.85, 1.15), u(0, 1) < 0.6
    marks = [path((where + 0.17 * i, -sole), (where + 0.17 * i + lean, -collar * 0.8)) for i in range(2)]
    mark, lace, rim = u(0.3, 0.6), u(0.4, 0.7), u(0.55, 1.0)
    return [
        fill(rounded(upper), u(0.8, 1.0)), *(stroke(line, 0.06, lace) for line in laces),
        *(stroke(line, 0.07, mark, stripes) for line in marks),
        stroke(path((0.0, -sole - 0.02), (1.98, -sole - 0.04)), 0.035, 0.45), fill(slab, rim),
    ]  # fmt: skip


def bag(u: Uniform) -> list[Part]:
    """A box or a pouch, most with a handle; a flap, a clasp or a zip at random."""
    top, bottom, height = u(0.6, 0.95), u(0.7, 1.0), u(0.75, 1.5)
    rise, hold, width = u(0.25, 0.8), u(0.2, 0.5), u(0.06, 0.13)
    has, flap = u(0, 1) < 0.8, u(0, 1) < 0.5
    box = path((-top, 0.0), (top, 0.0), (bottom, height), (-bottom, height))
    body = rounded(box, 1)
    corner = u(0.0, 1.0)[:, None, None]
    outline = corner * np.roll(body, 1, axis=1) + (1 - corner) * np.repeat(box, 2, axis=1)  # [M, 8, 2]
    handle = rounded(path((-hold, 0.05), (-hold * 0.95, -rise), (hold * 0.95, -rise), (hold, 0.05)), 2, closed=False)
    edge, tone = height * u(0.3, 0.6), u(0.75, 0.92)
    cover = path(
        (-top * 0.97, 0.0), (top * 0.97, 0.0), (top * 0.95, edge * 0.75), (0.0, edge), (-top * 0.95, edge * 0.75)
    )
    return [
        stroke(handle, width, u(0.6, 1.0), has), fill(outline, u(0.9, 1.0)), fill(cover, tone, flap),
        stroke(cover[:, 2:], 0.05, 0.5, flap), stroke(path((0.0, edge), (0.0, edge)), 0.14, 0.4, u(0, 1) < 0.4),
        stroke(path((-top, 0.1), (top, 0.1)), 0.05, 0.55, ~flap & (u(0, 1) < 0.6)),
    ]  # fmt: skip


def ankle_boot(u: Uniform) -> list[Part]:
    """A shaft above the ankle on a low or high heel; zip, laces or a cuff at random."""
    heel = np.where(u(0, 1) < 0.5, u(0.05, 0.2), u(0.25, 0.7))
    toe, shaft, lean = u(0.22, 0.38), u(0.95, 1.6), u(-0.05, 0.1)
    thick, slim = u(0.06, 0.14), u(0.15, 0.5)
    upper = path(
        (0.02, -0.04), (0.06, -toe), (0.5, -toe - 0.12), (0.92, -toe - 0.35), (1.05 + lean, -0.85),
        (1.02 + lean, -shaft), (1.02 + lean, -shaft), (1.92, -shaft - u(-0.04, 0.1)), (1.92, -shaft), (1.9, -0.75),
        (1.98, -0.35), (1.95, -0.04),
    )  # fmt: skip
    zip_, laced = u(0, 1) < 0.4, u(0, 1) < 0.35
    side = path((1.5, -0.25), (1.5, -shaft * 0.95))
    throat = u(0.76, 0.84)
    laces = [path((throat + 0.1 * i, -0.56 - 0.14 * i), (1.06 + 0.08 * i, -0.52 - 0.14 * i)) for i in range(3)]
    return _lifted(heel, [
        *_sole(heel, thick, u(0, 1) < 0.2, slim), fill(rounded(upper), u(0.85, 1.0)),
        stroke(path((0.04, -thick), (1.95, -thick)), 0.04, 0.5),
        stroke(side, 0.04, 0.55, zip_), *(stroke(line, 0.06, 0.5, laced) for line in laces),
        stroke(path((1.02 + lean, -shaft + 0.14), (1.92, -shaft + 0.14)), 0.05, 0.6, u(0, 1) < 0.4),
    ])  # fmt: skip


def _sole(heel: Lengths, thick: Lengths, wedge: Which, slim: Lengths) -> list[Part]:
    """A sole, and below it a heel or a wedge down to the ground; to be lifted with the rest of the shoe."""
    xs = np.linspace(0.0, 2.0, 9)
    above = [(x, -thick) for x in xs]
    slab = path((-0.02, -thick * 0.5), *above, *((x, 0.0) for x in xs[::-1]))
    # The whole shoe is lifted afterwards, so the ground lies lower by as much.
    ground = [(x, heel * _lift(x)) for x in xs[:2:-1]]
    solid = path(*((x, -0.01) for x in xs[3:]), *ground)
    left, foot = 1.97 - slim, 1.97 - slim * 0.8
    block = path((left, -0.01), (1.98, -0.01), (1.94, heel * _lift(1.94)), (foot, heel * _lift(foot)))
    return [fill(solid, 0.8, wedge), fill(block, 0.75, ~wedge), fill(slab, 0.8)]


def _lift(x: Number) -> Number:
    """How far the foot stands above the ground at x, in heights of the heel: 0 at the ball, 1 at the heel."""
    t = np.clip((np.asarray(x) - 0.5) / 1.1, 0, 1)
    return t * t * (3 - 2 * t)


def _lifted(heel: Lengths, parts: list[Part]) -> list[Part]:
    """A shoe with its foot raised by the heel."""
    raised = []
    for part in parts:
        up = heel[:, None] * _lift(part.points[..., 0])  # [M, V]
        points = np.stack([part.points[..., 0], part.points[..., 1] - up], axis=-1)
        raised.append(Part(points, part.tone, part.width, part.shown))
    return raised
