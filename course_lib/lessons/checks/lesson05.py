"""Exercises of lesson 05: first_reappearance, global_convolution, cosine_weights, truth_probability, masks_fed,
is_causal.

Here are those about time: when an object is back, and who looks into the future. Those about matching are in
`lesson05_matching`, about training in `lesson05_sampling`. All six names stand above because an exercise is looked for
only where it is mentioned.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.lessons.checks.lesson05_matching import COSINE_WEIGHTS, GLOBAL_CONVOLUTION
from course_lib.lessons.checks.lesson05_sampling import MASKS_FED, TRUTH_PROBABILITY
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.metrics import occlusion as library

# -- back after an occlusion ------------------------------------------------------------------------------------------


def first_reappearance(areas: Sequence[int], tau: int) -> int | None:
    return library.first_reappearance(areas, tau)


def _search(areas: Sequence[int], start: int, wanted: Callable[[int], bool]) -> int | None:
    return next((t for t in range(start, len(areas)) if wanted(areas[t])), None)


def _chain(areas: Sequence[int], *wanted: Callable[[int], bool]) -> int | None:
    """Frame of the last of several events, each after the one before; None where one does not come."""
    t: int | None = -1
    for event in wanted:
        if t is None:
            return None
        t = _search(areas, t + 1, event)
    return t


def _last_return(areas: Sequence[int], tau: int) -> int | None:
    spans = library.occlusions(areas, tau)
    return spans[-1][1] if spans else None


def _longest_return(areas: Sequence[int], tau: int) -> int | None:
    spans = library.occlusions(areas, tau)
    return max(spans, key=lambda span: span[1] - span[0])[1] if spans else None


def _or(function: Callable[[Sequence[int], int], int | None], otherwise: Callable[[Sequence[int]], int]) -> Any:
    """The function, with a number where it says None."""

    def wrong(areas: Sequence[int], tau: int) -> int:
        found = function(areas, tau)
        return otherwise(areas) if found is None else found

    return wrong


_NO_NONE = "An object that was never hidden, or that never came back, has no such frame: return None, not a number."

_STRICT = (
    "Exactly tau pixels count as hidden: occluded is `area <= tau`, visible is `area > tau`. With tau = 0 and `<` "
    "nothing is ever hidden."
)


def _why_not_back(case: Case, got: Any, expected: int | None) -> str | None:
    areas, _ = case.fresh_inputs()
    if got is None and expected is not None:
        return f"None says that it never came back, but frame {expected} shows {areas[expected]} pixels. {_STRICT}"
    if expected is None:
        return _NO_NONE
    return None


FIRST_REAPPEARANCE = Exercise(
    name="first_reappearance",
    reference=first_reappearance,
    cases=(
        Case(([5, 5, 0, 0, 3, 0, 4], 0), expected=(4,)),
        Case(([900, 850, 60, 50, 40, 51, 700], 50), "50 pixels or fewer count as hidden", expected=(5,)),
        Case(([5, 5, 0, 0, 3, 0, 4], 3), "the same object, 3 pixels or fewer count as hidden", expected=(6,)),
        Case(([0, 0, 7, 7, 0, 8], 0), "an object that enters late", expected=(5,)),
        Case(([0, 0, 7, 7], 0), "an object that enters late and stays", expected=(None,)),
        Case(([9, 9, 9], 0), "never hidden", expected=(None,)),
        Case(([9, 9, 0, 0], 0), "hidden and never back", expected=(None,)),
        Case(([3, 3, 60, 4, 70], 5), "one that enters slowly: 5 pixels or fewer count as hidden", expected=(4,)),
        Case(([9, 0, 9, 0, 0, 0, 9], 0), "hidden twice, the second time for longer", expected=(2,)),
    ),
    misconceptions=(
        Misconception(
            lambda a, tau: _chain(a, lambda x: x <= tau, lambda x: x > tau),
            "The search began with a hidden frame. An object that enters late is absent at first, not occluded: find "
            "the first frame in which it is seen, then one in which it is hidden, then the one you want.",
        ),
        Misconception(
            lambda a, tau: _chain(a, lambda x: x > tau, lambda x: x < tau, lambda x: x >= tau),
            _STRICT,
        ),
        Misconception(
            lambda a, tau: _chain(a, lambda x: x > tau, lambda x: x <= tau),
            "This is the frame in which it disappears. You want the one in which it is back.",
        ),
        Misconception(
            lambda a, tau: library.first_reappearance(a, 0),
            "tau is not used: an object with a handful of pixels left is as good as hidden.",
        ),
        Misconception(
            _last_return,
            "This is the last time it came back. Frames are scored from the end of the FIRST occlusion on.",
        ),
        Misconception(_longest_return, "This is the longest occlusion. The first one counts, however short it is."),
        Misconception(_or(library.first_reappearance, lambda a: 0), _NO_NONE),
        Misconception(_or(library.first_reappearance, lambda a: -1), _NO_NONE),
        Misconception(_or(library.first_reappearance, len), _NO_NONE),
        Misconception(
            lambda a, tau: next((t for t in range(1, len(a)) if a[t] > tau >= a[t - 1] and any(a[: t - 1])), None),
            "Whether it was seen before is a question of tau as well: more than tau pixels, not more than 0.",
        ),
    ),
    diagnose=_why_not_back,
)


# -- does it look into the future? ------------------------------------------------------------------------------------

Segment = Callable[[Tensor, Tensor], Tensor]


def is_causal(segment: Segment, frames: Tensor, labels: Tensor) -> bool:
    before = segment(frames, labels)
    return all(_same_past(segment, before, frames, labels, t) for t in range(1, len(frames)))


def _same_past(segment: Segment, before: Tensor, frames: Tensor, labels: Tensor, t: int) -> bool:
    """Whether frames from t on, changed, leave all earlier answers as they were."""
    changed = torch.cat([frames[:t], 1 - frames[t:]])
    return torch.equal(segment(changed, labels)[:t], before[:t])


def _bright(frames: Tensor) -> Tensor:
    return (frames.mean(dim=1) > 0.5).to(torch.uint8)


def copies_first(frames: Tensor, labels: Tensor) -> Tensor:
    return labels.expand(len(frames), -1, -1).clone()


def threshold_now(frames: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([labels[None], _bright(frames[1:])])


def running_mean(frames: Tensor, labels: Tensor) -> Tensor:
    counts = torch.arange(1, len(frames) + 1).view(-1, 1, 1, 1)
    return torch.cat([labels[None], _bright(frames.cumsum(0) / counts)[1:]])


def lags_behind(frames: Tensor, labels: Tensor) -> Tensor:
    """Each answer shows the frame before."""
    return torch.cat([labels[None], _bright(frames[:-1])])


def peeks_one_ahead(frames: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([labels[None], _bright((frames + torch.cat([frames[1:], frames[-1:]])) / 2)[1:]])


def mean_of_the_clip(frames: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([labels[None], (frames[1:].mean(1) > frames.mean(dim=(0, 1))).to(torch.uint8)])


def backward_in_time(frames: Tensor, labels: Tensor) -> Tensor:
    """A running mean from the end: the output at t depends on frames t … T - 1."""
    counts = torch.arange(1, len(frames) + 1).view(-1, 1, 1, 1)
    return torch.cat([labels[None], _bright((frames.flip(0).cumsum(0) / counts).flip(0))[1:]])


def peeks_at_the_middle(frames: Tensor, labels: Tensor) -> Tensor:
    """Frames of the first half also see the middle one; nobody ever looks at the last frame but itself."""
    middle = len(frames) // 2
    seen = torch.cat([(frames[:middle] + frames[middle : middle + 1]) / 2, frames[middle:]])
    return torch.cat([labels[None], _bright(seen)[1:]])


def peeks_late(frames: Tensor, labels: Tensor) -> Tensor:
    """Honest until the frame before the last, whose answer also sees the last frame."""
    answer = threshold_now(frames, labels)
    answer[-2] = _bright((frames[-2:].sum(dim=0, keepdim=True)) / 2)[0]
    return answer


def _clip(length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    frames = torch.rand(length, 3, 6, 8, generator=generator)
    labels = torch.zeros(6, 8, dtype=torch.uint8)
    labels[1:4, 2:5] = 1
    return frames, labels


def _segmenters() -> tuple[Case, ...]:
    told: tuple[tuple[Segment, str, bool], ...] = (
        (copies_first, "a method that repeats the first mask", True),
        (mean_of_the_clip, "a method that compares each frame with the mean of the whole clip", False),
        (threshold_now, "a method that looks at the current frame only", True),
        (running_mean, "a method that averages all frames so far", True),
        (lags_behind, "a method that answers with the frame before", True),
        (peeks_one_ahead, "a method that looks one frame ahead", False),
        (backward_in_time, "a method that runs from the last frame to the first", False),
        (peeks_at_the_middle, "a method whose first half looks at the middle frame", False),
        (peeks_late, "a method that looks ahead in the frame before the last only", False),
    )
    return tuple(Case((segment, *_clip(8)), about, expected=(causal,)) for segment, about, causal in told)


def _only_at(*places: int) -> Callable[[Segment, Tensor, Tensor], bool]:
    """A test that changes frames from certain places on only; negative ones count from the end."""

    def test(segment: Segment, frames: Tensor, labels: Tensor) -> bool:
        before = segment(frames, labels)
        return all(_same_past(segment, before, frames, labels, place % len(frames)) for place in places)

    return test


def _whole_answer(segment: Segment, frames: Tensor, labels: Tensor) -> bool:
    before = segment(frames, labels)
    return all(
        torch.equal(segment(torch.cat([frames[:t], 1 - frames[t:]]), labels), before) for t in range(1, len(frames))
    )


def _answer_of_t(segment: Segment, frames: Tensor, labels: Tensor) -> bool:
    """Compares frames 0 … t, of which frame t was changed itself."""
    before = segment(frames, labels)
    return all(
        torch.equal(segment(torch.cat([frames[:t], 1 - frames[t:]]), labels)[: t + 1], before[: t + 1])
        for t in range(1, len(frames))
    )


def _changes_the_past(segment: Segment, frames: Tensor, labels: Tensor) -> bool:
    before = segment(frames, labels)
    return all(
        torch.equal(segment(torch.cat([1 - frames[:t], frames[t:]]), labels)[t:], before[t:])
        for t in range(1, len(frames))
    )


_TOO_LARGE = (
    "The answer to a frame that was changed may change. Causal means that EARLIER answers stay: change frames from t "
    "on, and compare answers 0 … t - 1."
)

IS_CAUSAL = Exercise(
    name="is_causal",
    reference=is_causal,
    cases=_segmenters,
    misconceptions=(
        Misconception(
            lambda segment, frames, labels: not is_causal(segment, frames, labels), "The answer is inverted."
        ),
        Misconception(_whole_answer, _TOO_LARGE),
        Misconception(_answer_of_t, f"{_TOO_LARGE} Frame t itself is one of those that were changed."),
        Misconception(
            _only_at(-1),
            "Only the last frame was changed. A method may look ahead and never at the last frame: try every t.",
        ),
        Misconception(
            _only_at(4),
            "Only one place was tried. A method may look ahead in some frames only: try every t.",
        ),
        Misconception(
            _changes_the_past,
            "The past was changed and the future compared: that asks whether the method has a memory.",
        ),
        Misconception(
            lambda segment, frames, labels: True,
            "Every method was called causal: what was changed did not reach an answer that was compared. Either the "
            "change is too small for any label to flip (replace the future by something quite different, for example "
            "1 - frames), or only answer 0 was compared, which is the given mask.",
        ),
    ),
)

EXERCISES = [FIRST_REAPPEARANCE, GLOBAL_CONVOLUTION, COSINE_WEIGHTS, TRUTH_PROBABILITY, MASKS_FED, IS_CAUSAL]
