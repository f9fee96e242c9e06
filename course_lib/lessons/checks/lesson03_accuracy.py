"""Exercise of lesson 03 about counting right answers when an image holds several objects.

There is one prediction and a growing set of labels that are accepted, which is not the usual top-k of one label and
several predictions. `lesson03` lists the exercise.
"""

import torch
from torch import Tensor

from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.methods.spatial_transformer.salient import accepted


def accepted_accuracy(predictions: Tensor, classes: Tensor, areas: Tensor) -> tuple[float, float, float]:
    return accepted(predictions, _ranked(classes, areas)).accuracies


def _ranked(classes: Tensor, areas: Tensor, largest_first: bool = True) -> Tensor:
    return classes.gather(1, areas.argsort(dim=1, descending=largest_first))


def _accept(hit: Tensor) -> tuple[float, float, float]:
    """hit: [N, K], whether an object has the predicted class, in the order in which objects are accepted."""
    return _share(hit[:, 0]), _share(hit[:, :2].any(1)), _share(hit.any(1))


def _share(hit: Tensor) -> float:
    return hit.float().mean().item()


def _accuracy_cases() -> tuple[Case, ...]:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.tensor([3, 1, 0, 2, 4])
    classes = torch.tensor([[3, 5, -1], [2, 1, 0], [7, 4, 0], [6, -1, -1], [1, 4, 4]])
    areas = torch.tensor([[90, 20, 0], [50, 40, 30], [60, 50, 10], [80, 0, 0], [20, 30, 10]])
    many = torch.randint(0, 6, (40, 4), generator=generator)
    sizes = torch.rand(40, 4, generator=generator)
    guesses = torch.where(torch.rand(40, generator=generator) < 0.4, many[:, 1], many[:, 0])
    count = torch.randint(1, 5, (40, 1), generator=generator)
    none = torch.arange(4) >= count
    some, some_sizes = many.masked_fill(none, -1), sizes.masked_fill(none, 0)
    return (
        Case(
            (predictions, classes, areas),
            "5 images: the largest, the second, the third, none, the largest (listed second)",
            expected=((0.4, 0.6, 0.8),),
        ),
        Case((guesses, many, sizes), "40 images with 4 objects each, listed in any order"),
        Case((guesses, some, some_sizes), "40 images with 1 to 4 objects"),
        Case((guesses, some[:, :1], some_sizes[:, :1]), "40 images with one object each: all three are the same"),
        Case(
            (torch.tensor([2, 2]), torch.tensor([[2, 2, 2], [1, 2, 2]]), torch.tensor([[3, 2, 1], [3, 2, 1]])),
            "two images full of class 2, one of them with a larger object of class 1",
            expected=((0.5, 1.0, 1.0),),
        ),
    )


_TWICE = (
    "An image with two objects of the predicted class counts twice, so an accuracy can exceed 1. An image is right or "
    "not: `any` over its objects."
)
_UNSORTED = "The objects are listed in any order: sort them by area first, the largest in front."

ACCEPTED_ACCURACY = Exercise(
    name="accepted_accuracy",
    reference=accepted_accuracy,
    cases=_accuracy_cases,
    misconceptions=(
        Misconception(lambda p, c, a: _accept(c == p[:, None]), _UNSORTED),
        Misconception(
            lambda p, c, a: _accept(_ranked(c, a, largest_first=False) == p[:, None]),
            "The smallest object came first: argsort ascends. The largest is the salient one.",
        ),
        Misconception(
            lambda p, c, a: _accept(a.argsort(1, descending=True) == p[:, None]),
            "The prediction was compared with the places of the objects in the list. Look up their classes.",
        ),
        Misconception(
            lambda p, c, a: (
                accepted_accuracy(p, c, a)[0],
                _share((_ranked(c, a)[:, 1:2] == p[:, None]).any(1)),
                accepted_accuracy(p, c, a)[2],
            ),
            "The second number accepts the second largest object only. It accepts the largest as well, so it cannot be "
            "lower than the first.",
        ),
        Misconception(
            lambda p, c, a: (*accepted_accuracy(p, c, a)[:2], _share(c[:, 1] == p)),
            "Where every image has one object there is no second column: take `[:, :2]`, which is content with less.",
        ),
        Misconception(
            lambda p, c, a: (*accepted_accuracy(p, c, a)[:2], _share(c == p[:, None])),
            "The third number is a share of all objects. It is a share of images: one object that fits is enough.",
        ),
        Misconception(
            lambda p, c, a: (*accepted_accuracy(p, c, a)[:2], _share((c == p[:, None]).all(1))),
            "The third number demands that all objects fit. One that fits is enough: any.",
        ),
        Misconception(
            lambda p, c, a: (
                accepted_accuracy(p, c, a)[0],
                _share((_ranked(c, a)[:, :2] == p[:, None]).sum(1)),
                _share((c == p[:, None]).sum(1)),
            ),
            _TWICE,
        ),
        Misconception(
            lambda p, c, a: tuple(_share(_ranked(c, a)[:, :k] == p[:, None]) for k in (1, 2, None)),
            "The mean ran over objects and images. An image is right if any accepted object fits: `any` over dim 1, "
            "then the mean over images.",
        ),
        Misconception(
            lambda p, c, a: accepted_accuracy(p, c, a)[::-1],
            "The order is reversed: the strictest comes first, so the numbers rise.",
        ),
        Misconception(
            lambda p, c, a: tuple(len(p) * share for share in accepted_accuracy(p, c, a)),
            "These are counts. An accuracy is a share of the images.",
        ),
    ),
)
