"""The bandit explorer: two arms, a policy, and what a baseline does to the gradient of one episode.

The mean of the samples stands still while the baseline turns, their spread shrinks and grows: equations of
`course_lib.methods.spatial_transformer.bandit`, written out for two arms. Unusual: with two arms and no noise the best
baseline leaves no spread at all, and it is the expected reward with the two probabilities swapped. Built for lesson 01.
"""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.figure import course_style
from course_lib.viz.palette import SERIES
from course_lib.viz.widgets.live import PageWidget, live_script

_LEAST, _MOST = 0.01, 0.99  # of the probability: at 0 and 1 nothing is learnt
_NAMES = ("reward_0", "reward_1", "probability", "baseline", "noise")


class BanditExplorer(PageWidget):
    """Distribution of the one-episode REINFORCE gradient for the logit of arm 0, with a dial for each cause.

    rewards       mean reward of arm 0 and of arm 1
    probability   with which the policy pulls arm 0, 0.01 … 0.99
    baseline      subtracted from every reward
    noise         standard deviation of the rewards, the same for both arms, 0 … a quarter of the reward range
    reward_range  ends of the dials of rewards and baseline; must hold both rewards, the baseline and 0
    names         what the arms are called

    `reward_0`, `reward_1`, `probability`, `baseline` and `noise` can be read and set from Python and the page alike;
    `mean`, `variance`, `expected_reward` and `best_baseline` follow. Raises `InputError` outside of these ranges.
    """

    KIND, MOUNT, STATE = "bandit", "mountBandit", _NAMES
    SCRIPTS = ("common.js", "charts.js", "bandit.js")
    _esm = live_script(SCRIPTS, MOUNT, STATE)
    reward_0 = traitlets.Float().tag(sync=True)
    reward_1 = traitlets.Float().tag(sync=True)
    probability = traitlets.Float().tag(sync=True)
    baseline = traitlets.Float().tag(sync=True)
    noise = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        rewards: tuple[float, float] = (10.0, 11.0),
        probability: float = 0.5,
        baseline: float = 0.0,
        noise: float = 0.0,
        *,
        reward_range: tuple[float, float] = (-4.0, 16.0),
        names: tuple[str, str] = ("arm 0", "arm 1"),
        alt: str = "Histogram of gradient samples of a bandit, and their variance for every baseline.",
    ) -> None:
        low, high = reward_range
        if not -math.inf < low <= 0 < high < math.inf:
            raise InputError(f"reward_range must run from at most 0 to more than 0, got {low} … {high}")
        if len(rewards) != 2 or len(names) != 2 or not all(names):
            raise InputError(f"a bandit of two arms has two rewards and two names, got {rewards} and {names}")
        self._range, self._most_noise = (float(low), float(high)), (high - low) / 4
        values = dict(zip(_NAMES, (*rewards, probability, baseline, noise)))
        for name, value in values.items():
            self._check(name, value)
        content = {
            "alt": alt,
            "names": list(names),
            "range": list(self._range),
            "most_noise": self._most_noise,
            "colours": list(SERIES[:2]),
        }
        super().__init__(content=content, **{name: float(value) for name, value in values.items()})

    @property
    def mean(self) -> float:
        """Mean of the samples: the exact gradient of the expected reward; no baseline changes it."""
        return self.probability * (1 - self.probability) * (self.reward_0 - self.reward_1)

    @property
    def variance(self) -> float:
        """Variance of one sample."""
        return self.variance_at(self.baseline)

    def variance_at(self, baseline: float) -> float:
        """Variance of one sample under another baseline: a parabola with its foot at `best_baseline`.

        pi (1 - pi) ((b* - b)² + noise²), pi the probability of arm 0.
        """
        spread = self.probability * (1 - self.probability)
        return spread * ((self.best_baseline - baseline) ** 2 + self.noise**2)

    @property
    def expected_reward(self) -> float:
        """J, the mean reward under the policy."""
        return self.probability * self.reward_0 + (1 - self.probability) * self.reward_1

    @property
    def best_baseline(self) -> float:
        """Baseline of least variance: each reward weighted by the OTHER arm's probability, so rare arms count most."""
        return (1 - self.probability) * self.reward_0 + self.probability * self.reward_1

    def summary(self) -> str:
        """The settings and the two moments, in a sentence."""
        return (
            f"Rewards {self.reward_0:g} and {self.reward_1:g}, probability {self.probability:g}, baseline "
            f"{self.baseline:g}: gradient samples of mean {self.mean:.3g} and variance {self.variance:.4g}."
        )

    def figure(self) -> Figure:
        """Left, the samples without and with the baseline; right, the variance for every baseline."""
        names, (low, high) = self.content["names"], self._range
        generator = np.random.default_rng(0)
        first = generator.random(400) < self.probability  # pulls of arm 0
        paid = np.where(first, self.reward_0, self.reward_1) + self.noise * generator.standard_normal(400)
        score = first - self.probability
        with course_style():
            figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(3, 2))
            shown = dict.fromkeys((0.0, self.baseline))  # one row if the baseline is 0
            samples = [score * (paid - b) for b in shown]
            reach = 1.1 * max(float(np.abs(s).max()) for s in samples)
            edges = np.linspace(-reach, reach, 60)
            for row, (b, values) in enumerate(zip(shown, samples)):
                for arm, chosen in enumerate((first, ~first)):
                    counts = np.histogram(values[chosen], edges)[0]
                    label = f"{names[arm]} was pulled" if row == 0 else None
                    height = 0.85 * counts / np.histogram(values, edges)[0].max()
                    left.bar(edges[:-1], height, np.diff(edges), -row, align="edge", color=SERIES[arm], label=label)
                left.text(edges[0], 0.6 - row, f"b = {b:g}")
            left.axvline(self.mean, color="#222222", linewidth=1.2, label="mean")
            left.set(xlabel=f"gradient for the logit of {names[0]}", ylabel="episodes", ylim=(1 - len(shown), 1))
            left.set_yticks([])
            left.legend(loc="upper right", bbox_to_anchor=(1, 1.3), ncols=3, columnspacing=1, handlelength=1)
            baselines = np.linspace(low, high, 200)
            right.plot(baselines, [self.variance_at(float(b)) for b in baselines])
            right.plot(self.baseline, self.variance, "o", color=SERIES[1], markersize=8)
            right.axvline(self.expected_reward, color="#777777", linewidth=1, linestyle="--")
            right.set(xlabel="baseline b (dashed: expected reward)", ylabel="variance", ylim=(0, None))
        return figure

    @traitlets.validate(*_NAMES)
    def _turned(self, proposal: Any) -> Any:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: float) -> None:
        ranges = {"probability": (_LEAST, _MOST), "noise": (0.0, self._most_noise)}
        low, high = ranges.get(name, self._range)
        if not low <= value <= high:
            raise InputError(f"{name} must lie in {low:g} … {high:g}, got {value:g}")
