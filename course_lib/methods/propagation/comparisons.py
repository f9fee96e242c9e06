"""The experiments behind the claims of lesson 06: two settings on the same driving clips, clip by clip.

M. Paul (2023), chapter 3. Unusual: an experiment is data that can be called. It names the runs, the frames and the
classes it compares, so what a claim rests on can be read off, and all claims share runs. Where not said otherwise, a
number is the mIoU of a clip in the last frames of its periods, the worst ones. Times stand in `comparison_speed`.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError
from course_lib.methods.propagation.operating_points import (
    ORACLE,
    SPREAD_OUT,
    STATIC,
    THIN_AND_MOVING,
    OperatingConfig,
    Setting,
    inconsistent_shares,
    score_point,
    steadiness,
)
from course_lib.methods.propagation.schedule import OperatingPoint

Preset = str | OperatingConfig
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

TRAINED = "icnet-small-driving"
HALF_WIDTH = "icnet-half-driving"  # two thirds of the time per frame
OTHER = "lite-driving"
LONG = 10  # the longest period compared


@dataclass(frozen=True)
class Score:
    """mIoU of each clip, of one run.

    period, step  which frames: those `step` frames after the start of a period of `period` (the last frame of a clip
                  ends one), so (S, S - 1) are the worst frames at S and (1, 0) all
    classes       mean over these; None: all
    """

    setting: Setting
    period: int
    step: int
    classes: tuple[str, ...] | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Runs that it needs."""
        return (self.setting,)

    def of(self, config: OperatingConfig, seed: int) -> Float[np.ndarray, "c"]:
        """[clips], NaN where a clip's truth shows none of the classes."""
        ious = score_point(config, seed, self.setting).ious(self.period, self.step)
        if self.classes is not None:
            ious = ious[:, [STREET_CLASSES.index(name) for name in self.classes]]
        known = np.isfinite(ious)
        with np.errstate(invalid="ignore"):
            return np.where(known, ious, 0).sum(axis=1) / known.sum(axis=1)  # 0 / 0 is NaN


@dataclass(frozen=True)
class Loss:
    """One score minus another, `times` as much."""

    before: Score
    after: Score
    times: float = 1.0

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Runs that it needs."""
        return (*self.before.settings, *self.after.settings)

    def of(self, config: OperatingConfig, seed: int) -> Float[np.ndarray, "c"]:
        """[clips], NaN where one of the two is not known."""
        return self.times * (self.before.of(config, seed) - self.after.of(config, seed))


@dataclass(frozen=True)
class Comparison:
    """Two numbers of the same clips. Called with a preset and a random seed, it gives both, [C] each; a clip that
    lacks one of them drops out."""

    first: Score | Loss
    second: Score | Loss

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Runs that it needs."""
        return tuple(dict.fromkeys((*self.first.settings, *self.second.settings)))

    def __call__(self, preset: Preset, seed: int) -> Pair:
        config = config_of(preset)
        both = np.stack([number.of(config, seed) for number in (self.first, self.second)])  # [2, C]
        both = both[:, np.isfinite(both).all(axis=0)]
        if not both.shape[1]:
            raise InputError(
                f"none of {config.clips} clips shows the classes compared; take more clips, or larger ones"
            )
        return both[0], both[1]


@dataclass(frozen=True)
class Inconsistent:
    """Share of inconsistent pixels after `step` steps, and after `other` steps, or 0 without.

    back  steps that labels go back, None: all
    """

    step: int
    other: int | None = None
    back: int | None = None

    def __call__(self, preset: Preset, seed: int) -> Pair:
        steps = (self.step,) if self.other is None else (self.step, self.other)
        shares = inconsistent_shares(config_of(preset), seed, steps, back=self.back)
        return shares[:, 0], shares[:, 1] if self.other is not None else np.zeros(len(shares))


@dataclass(frozen=True)
class Steadiness:
    """Temporal consistency of two settings."""

    first: Setting
    second: Setting

    def __call__(self, preset: Preset, seed: int) -> Pair:
        config = config_of(preset)
        return steadiness(config, seed, self.first), steadiness(config, seed, self.second)


def config_of(preset: Preset) -> OperatingConfig:
    """The clips of a preset, or those given."""
    return OperatingConfig.preset(preset) if isinstance(preset, str) else preset


def each_frame(segmenter: str = TRAINED) -> Setting:
    """E0: the network on every frame."""
    return Setting(OperatingPoint(1, warp=False), segmenter)


def carried(every: int, segmenter: str = TRAINED) -> Setting:
    """E-warp: carried along flow between key frames."""
    return Setting(OperatingPoint(every), segmenter)


def copied(every: int, segmenter: str = TRAINED) -> Setting:
    """E-copy: the last answer again between key frames."""
    return Setting(OperatingPoint(every, warp=False), segmenter)


def refined(every: int) -> Setting:
    """E-ref: carried, and repaired in the last frame of each period."""
    return Setting(OperatingPoint(every, refine="last"), TRAINED)


BLENDED = Setting(OperatingPoint(1, refine="last"), TRAINED)  # E-S1: each frame blended with its carried past
HALF_SIZE = Setting(OperatingPoint(LONG, input_scale=0.5), TRAINED)  # E-D


def _worst(setting: Setting, period: int | None = None, classes: tuple[str, ...] | None = None) -> Score:
    every = setting.point.key_every if period is None else period
    return Score(setting, every, every - 1, classes)


def _after(steps: int, setting: Setting) -> Score:
    return Score(replace(setting, point=OperatingPoint(LONG)), LONG, steps)


def _fall(shorter: int, longer: int, segmenter: str) -> Comparison:
    """Two periods, on frames that are the last of both."""
    return Comparison(_worst(carried(shorter, segmenter), LONG), _worst(carried(longer, segmenter), LONG))


def _carried_and_copied(every: int, segmenter: str) -> Comparison:
    return Comparison(_worst(carried(every, segmenter)), _worst(copied(every, segmenter)))


def _gap_growth(segmenter: str) -> Comparison:
    """What carrying gains over copying: at a period of 10 and at one of 5, on the same frames."""
    at_10, at_5 = (
        Loss(_worst(carried(every, segmenter), LONG), _worst(copied(every, segmenter), LONG)) for every in (10, 5)
    )
    return Comparison(at_10, at_5)


def _step_losses(segmenter: str, factor: float) -> Comparison:
    """Loss per step in the steps 6 to 9, and `factor` times that in the steps 2 to 5."""
    after = {steps: _after(steps, carried(LONG, segmenter)) for steps in (1, 5, 9)}
    return Comparison(Loss(after[5], after[9], 1 / 4), Loss(after[1], after[5], factor / 4))


def _class_losses(every: int, segmenter: str) -> Comparison:
    """What carrying loses of thin and moving classes, and three times what it loses of large static ones."""
    thin, static = (
        Loss(_worst(each_frame(segmenter), every, names), _worst(carried(every, segmenter), every, names), times)
        for names, times in ((THIN_AND_MOVING, 1.0), (STATIC, 3.0))
    )
    return Comparison(thin, static)


def _recovery(every: int) -> Comparison:
    return Comparison(_worst(refined(every)), _worst(carried(every)))


def _class_recoveries(every: int) -> Comparison:
    """What refinement recovers of thin and moving classes, and of large static ones."""
    thin, static = (
        Loss(_worst(refined(every), classes=names), _worst(carried(every), classes=names))
        for names in (THIN_AND_MOVING, STATIC)
    )
    return Comparison(thin, static)


def _motion(step: int, first: Setting, second: Setting) -> Comparison:
    """Two ways to find or to follow motion, after so many steps."""
    return Comparison(_after(step, first), _after(step, second))


_DIS = carried(LONG, ORACLE)
_REPLACED = replace(refined(5), replace=True)
_VECTORS_TOO = replace(refined(5), check="either")

# Key frames and what lies between them: E1 to E3.
every_frame_and_2 = Comparison(_worst(each_frame(), 2), _worst(carried(2)))
every_2_and_5 = _fall(2, 5, TRAINED)
every_5_and_10 = _fall(5, 10, TRAINED)
carried_and_copied = _carried_and_copied(5, TRAINED)
carried_and_copied_growth = _gap_growth(TRAINED)
carried_and_copied_other = _carried_and_copied(5, OTHER)
late_steps_and_three_times_early = _step_losses(TRAINED, 3.0)
late_steps_and_third_of_early = _step_losses(TRAINED, 1 / 3)
full_and_half_size = Comparison(_worst(carried(LONG)), _worst(HALF_SIZE))

# The same with the truth on key frames, where all that is lost is lost on the way.
oracle_2_and_5 = _fall(2, 5, ORACLE)
oracle_5_and_10 = _fall(5, 10, ORACLE)
oracle_carried_and_copied = _carried_and_copied(5, ORACLE)
oracle_carried_and_copied_growth = _gap_growth(ORACLE)
oracle_late_steps_and_three_times_early = _step_losses(ORACLE, 3.0)
oracle_late_steps_and_third_of_early = _step_losses(ORACLE, 1 / 3)

# Which classes lose, and what refinement gives back: E4 to E6.
class_losses_at_2 = _class_losses(2, TRAINED)
class_losses_at_5 = _class_losses(5, TRAINED)
oracle_class_losses_at_2 = _class_losses(2, ORACLE)
oracle_class_losses_at_5 = _class_losses(5, ORACLE)
refined_and_carried_at_2 = _recovery(2)
refined_and_carried_at_5 = _recovery(5)
class_recoveries_at_2 = _class_recoveries(2)
class_recoveries_at_5 = _class_recoveries(5)
static_carried_and_each_frame = Comparison(_worst(carried(2), classes=SPREAD_OUT), _worst(each_frame(), 2, SPREAD_OUT))
inside_mask_and_everywhere = Comparison(_worst(refined(5)), _worst(_REPLACED))
vectors_too_and_labels = Comparison(_worst(_VECTORS_TOO), _worst(refined(5)))

# Motion: E7 to E9, with the truth on key frames.
dis_and_farneback_1 = _motion(1, _DIS, replace(_DIS, flow="farneback"))
dis_and_farneback_4 = _motion(4, _DIS, replace(_DIS, flow="farneback"))
medium_and_ultrafast = _motion(4, replace(_DIS, flow="dis medium"), _DIS)
exact_and_dis = _motion(4, replace(_DIS, flow="exact"), _DIS)
standard_and_literal = _motion(4, _DIS, replace(_DIS, form="literal"))
inconsistent_after_1 = Inconsistent(1)
inconsistent_after_4 = Inconsistent(4)
inconsistent_4_and_1 = Inconsistent(4, 1)
inconsistent_4_and_1_last_step = Inconsistent(4, 1, back=1)

# Every frame segmented and blended, and a smaller network instead: E10 and E11.
blended_and_each_frame = Comparison(Score(BLENDED, 1, 0), Score(each_frame(), 1, 0))
steadiness_blended_and_each_frame = Steadiness(BLENDED, each_frame())
every_2_and_smaller_network = Comparison(_worst(carried(2)), _worst(each_frame(HALF_WIDTH), 2))
