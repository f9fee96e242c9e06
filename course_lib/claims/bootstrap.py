"""What a measured effect says about a claim: the verdict that its interval gives.

The interval itself, `paired_bootstrap` over random seeds and clips, stands in `course_lib.metrics.bootstrap`, where the
analyses of methods use it too.
"""

from typing import Literal

from course_lib.errors import InputError
from course_lib.metrics.bootstrap import Interval as Interval
from course_lib.metrics.bootstrap import paired_bootstrap as paired_bootstrap

HOLDS = "holds"
FAILS = "does not hold here"
INCONCLUSIVE = "inconclusive"
UNTESTABLE = "not testable at this scale"
NOT_MEASURED = "not measured yet"


def verdict(interval: Interval, direction: Literal["greater", "less"], threshold: float = 0.0) -> str:
    """What an interval says about a claim: "holds" if all of it lies on the claimed side of `threshold`,
    "does not hold here" if all of it lies on the other side, "inconclusive" otherwise.
    """
    if direction not in ("greater", "less"):
        raise InputError(f"direction must be 'greater' or 'less', got {direction!r}")
    above, below = interval.low > threshold, interval.high < threshold
    if not above and not below:
        return INCONCLUSIVE
    return HOLDS if above == (direction == "greater") else FAILS
