"""The cuts of t-shirt, trousers, pullover, dress, coat and shirt, seen from the front, with random proportions.

The kinds are those of Fashion-MNIST (Xiao et al., 2017). Unusual: the proportions of pullover, coat and shirt, and of
t-shirt and shirt, come from the same ranges, and details are left out at random, because the real set is hard there.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from course_lib.data.wardrobe.parts import (
    SEAM,
    Number,
    Part,
    Uniform,
    Which,
    fill,
    flipped,
    mirrored,
    path,
    rounded,
    stroke,
)

INSIDE = 0.4  # brightness of what is seen through a neck


@dataclass(frozen=True)
class Top:
    """What is worn above the waist: a body with a neck, and two sleeves. All lengths [M], the shoulders at y = 0."""

    neck: Float[np.ndarray, "m"]  # half width of the neck
    depth: Float[np.ndarray, "m"]  # of the neckline
    shoulder: Float[np.ndarray, "m"]  # half width of the body
    slope: Float[np.ndarray, "m"]  # fall of the shoulder
    armhole: Float[np.ndarray, "m"]
    waist: Float[np.ndarray, "m"]  # half width
    hem: Float[np.ndarray, "m"]  # half width
    length: Float[np.ndarray, "m"]
    sleeve: Float[np.ndarray, "m"]  # its length
    angle: Float[np.ndarray, "m"]  # from the vertical, radians
    cuff: Float[np.ndarray, "m"]  # width

    def parts(self, u: Uniform, sleeves: Which | bool = True, waist_at: Number = 0.55) -> list[Part]:
        """Sleeves, body, the inside of the neck, seams."""
        chest = self.shoulder * 0.98
        fall = self.slope + self.armhole
        out, down = np.sin(self.angle), np.cos(self.angle)
        end = (self.shoulder + self.sleeve * out, self.slope + self.sleeve * down)
        inner = (end[0] - self.cuff * down, end[1] + self.cuff * out)
        bulge = 0.05 * self.sleeve
        elbow = (
            self.shoulder + 0.5 * self.sleeve * out + bulge * down,
            self.slope + 0.5 * self.sleeve * down - bulge * out,
        )
        arm = path((self.shoulder * 0.85, self.slope * 0.8), (self.shoulder, self.slope), elbow, end, inner,
                   (chest * 0.98, fall), (chest * 0.8, fall))  # fmt: skip
        neckline = ((0.0, self.depth), (self.neck * 0.75, self.depth * 0.7), (self.neck, 0.0))
        body = path(
            *neckline, (self.shoulder, self.slope), (chest, fall), (self.waist, self.length * waist_at),
            (self.hem, self.length), (0.0, self.length + 0.03),
        )  # fmt: skip
        back = path((0.0, 0.05), (self.neck, 0.0), (self.neck * 0.75, self.depth * 0.7), (0.0, self.depth))
        seam = path((self.shoulder, self.slope), (chest, fall))
        tone = u(0.82, 0.97)
        return [
            fill(arm, tone, sleeves),
            fill(flipped(arm), tone, sleeves),
            fill(mirrored(back), INSIDE),
            fill(mirrored(body)),
            stroke(seam, shown=sleeves),
            stroke(flipped(seam), shown=sleeves),
        ]

    def cuffs(self, tone: Number, shown: Which) -> list[Part]:
        """A band across the end of each sleeve."""
        out, down = np.sin(self.angle), np.cos(self.angle)
        near = self.sleeve - 0.1
        x, y = self.shoulder + near * out, self.slope + near * down
        band = path((x, y), (x - self.cuff * down, y + self.cuff * out))
        return [stroke(band, 0.05, tone, shown), stroke(flipped(band), 0.05, tone, shown)]

    def collar(self, drop: Number, spread: Number, tone: Number, shown: Which) -> list[Part]:
        """Two points that lie on the chest from the neck down to `drop`."""
        wing = path((self.neck, -0.04), (self.neck + spread, drop * 0.55), (self.neck * 0.55, drop), (0.0, self.depth),
                    (self.neck * 0.75, self.depth * 0.6))  # fmt: skip
        edge = wing[:, 1:4]
        return [
            fill(wing, tone, shown), fill(flipped(wing), tone, shown),
            stroke(edge, shown=shown), stroke(flipped(edge), shown=shown),
        ]  # fmt: skip


def _long_top(u: Uniform) -> Top:
    """What pullover, coat and long-sleeved shirt have in common."""
    length = u(1.25, 1.6)
    return Top(
        neck=u(0.15, 0.23), depth=u(0.06, 0.2), shoulder=u(0.4, 0.5), slope=u(0.08, 0.16), armhole=u(0.3, 0.4),
        waist=u(0.36, 0.48), hem=u(0.37, 0.5), length=length, sleeve=length * u(0.8, 1.0), angle=u(0.12, 0.4),
        cuff=u(0.14, 0.2),
    )  # fmt: skip


def _short_top(u: Uniform) -> Top:
    """What t-shirt and short-sleeved shirt have in common."""
    return Top(
        neck=u(0.17, 0.27), depth=u(0.08, 0.32), shoulder=u(0.42, 0.5), slope=u(0.07, 0.15), armhole=u(0.28, 0.38),
        waist=u(0.38, 0.48), hem=u(0.38, 0.5), length=u(1.2, 1.5), sleeve=u(0.25, 0.5), angle=u(0.6, 1.1),
        cuff=u(0.22, 0.32),
    )  # fmt: skip


def _buttons(x: Number, top: Number, bottom: Number, count: int, tone: Number, shown: Which) -> list[Part]:
    """Dots one below the other."""
    heights = [top + (bottom - top) * (i + 0.5) / count for i in range(count)]
    return [stroke(path((x, y), (x, y)), 0.055, tone, shown) for y in heights]


def t_shirt(u: Uniform) -> list[Part]:
    """Short sleeves, a round or deep neck, sometimes a print; one in ten has no sleeves."""
    top = _short_top(u)
    printed = u(0, 1) < 0.3
    w, y = u(0.12, 0.26), u(0.45, 0.6)
    print_ = rounded(path((-w, y), (w, y), (w, y + 2 * w), (-w, y + 2 * w)), 1)
    return [*top.parts(u, sleeves=u(0, 1) < 0.9), fill(print_, u(0.3, 0.75), printed)]


def trousers(u: Uniform) -> list[Part]:
    """A waistband, two legs with a narrow gap, sometimes creases."""
    waist, hip, length = u(0.3, 0.38), u(0.36, 0.46), u(1.9, 2.3)
    crotch, hem, gap = u(0.5, 0.68), u(0.16, 0.3), u(0.02, 0.1)
    knee = u(0.2, 0.28)
    leg = path(
        (0.0, 0.0), (waist, 0.0), (hip, 0.4), (gap + knee * 1.15, 1.2), (gap + hem + 0.03, length),
        (gap + 0.03, length), (gap, 1.2), (0.0, crotch),
    )  # fmt: skip
    crease = path((hip * 0.55, 0.5), (gap + 0.03 + hem * 0.5, length))
    return [
        fill(mirrored(leg)),
        stroke(path((-waist, 0.12), (waist, 0.12)), 0.04),
        stroke(path((0.0, 0.1), (0.0, crotch)), 0.04),
        *(stroke(line, 0.03, 0.8, u(0, 1) < 0.5) for line in (crease, flipped(crease))),
    ]


def pullover(u: Uniform) -> list[Part]:
    """Long sleeves; ribs, a roll neck, or a front that buttons like a cardigan's, each at random."""
    top = _long_top(u)
    ribbed, high = u(0, 1) < 0.6, u(0, 1) < 0.25
    hem = path((-top.hem, top.length - 0.1), (top.hem, top.length - 0.1))
    roll = mirrored(path((0.0, -0.12), (top.neck, -0.1), (top.neck * 1.15, 0.06), (0.0, 0.12)))
    front, cardigan = path((0.0, top.depth), (0.0, np.where(u(0, 1) < 0.5, top.length, 0.5))), u(0, 1) < 0.2
    return [
        *top.parts(u), stroke(hem, 0.05, 0.7, ribbed), *top.cuffs(0.7, ribbed), fill(roll, 0.8, high),
        stroke(front, 0.04, SEAM, cardigan),
    ]  # fmt: skip


def dress(u: Uniform) -> list[Part]:
    """A narrow waist and a skirt that flares; without sleeves, with short or long ones."""
    length, waist = u(1.9, 2.7), u(0.22, 0.34)
    long = u(0, 1) < 0.2
    top = Top(
        neck=u(0.14, 0.24), depth=u(0.08, 0.4), shoulder=waist + u(0.04, 0.1), slope=u(0.04, 0.12),
        armhole=u(0.3, 0.42), waist=waist, hem=waist + u(0.0, 0.4), length=length,
        sleeve=np.where(long, u(0.9, 1.3), u(0.2, 0.45)), angle=np.where(long, u(0.15, 0.35), u(0.4, 0.8)),
        cuff=u(0.14, 0.2),
    )  # fmt: skip
    at = u(0.36, 0.46)
    belt = path((-waist, length * at), (waist, length * at))
    return [*top.parts(u, sleeves=long | (u(0, 1) < 0.35), waist_at=at), stroke(belt, 0.05, 0.6, u(0, 1) < 0.5)]


def coat(u: Uniform) -> list[Part]:
    """Long sleeves and a front from neck to hem, open or closed; lapels, pockets and buttons at random."""
    top = _long_top(u)
    open_ = u(0, 1) < 0.4  # hangs open, with the lining to be seen
    lapels = u(0, 1) < 0.6
    gap, drop, pocket = u(0.03, 0.12), u(0.3, 0.7), u(0.85, 1.0)
    front = path((0.0, top.depth), (0.0, top.length))
    lining = mirrored(
        path((0.0, top.depth), (gap * 0.6, top.depth + 0.1), (gap, top.length + 0.04), (0.0, top.length + 0.04))
    )
    slit = path((top.waist * 0.45, pocket), (top.waist * 0.85, pocket + u(-0.08, 0.02)))
    pockets = u(0, 1) < 0.6
    return [
        *top.parts(u), fill(lining, 0.2, open_), stroke(front, 0.045, u(0.35, 0.65), ~open_),
        *top.collar(drop, u(0.02, 0.1), u(0.75, 0.9), lapels),
        *_buttons(0.08, drop, top.length * 0.85, 3, 0.4, ~open_ & (u(0, 1) < 0.6)),
        stroke(slit, 0.045, SEAM, pockets), stroke(flipped(slit), 0.045, SEAM, pockets),
    ]  # fmt: skip


def shirt(u: Uniform) -> list[Part]:
    """A collar and a placket, or neither (a blouse); two of three have long sleeves."""
    short = u(0, 1) < 0.35
    long_top, short_top = _long_top(u), _short_top(u)
    top = Top(*(np.where(short, getattr(short_top, f.name), getattr(long_top, f.name)) for f in fields(Top)))
    collar = u(0, 1) < 0.75  # the others are blouses
    placket = collar | (u(0, 1) < 0.4)
    line = path((0.0, top.depth), (0.0, np.where(u(0, 1) < 0.75, top.length, top.depth + 0.45)))
    pocket_y = u(0.45, 0.55)
    pocket = path((0.14, pocket_y), (0.32, pocket_y), (0.32, pocket_y + 0.2), (0.14, pocket_y + 0.2))
    return [
        *top.parts(u, sleeves=u(0, 1) < 0.93), stroke(line, 0.035, u(0.55, 0.75), placket),
        *top.collar(u(0.18, 0.32), u(0.02, 0.08), u(0.85, 1.0), collar),
        *_buttons(0.0, top.depth + 0.1, top.length, 5, u(0.45, 0.7), placket & (u(0, 1) < 0.5)),
        *top.cuffs(0.75, ~short & (u(0, 1) < 0.5)),
        stroke(pocket, 0.03, 0.7, u(0, 1) < 0.3),
    ]  # fmt: skip
