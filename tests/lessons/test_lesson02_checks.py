"""The checks of lesson 02 accept right answers however they are written, and name the mistake in wrong ones."""

import math
import statistics

import numpy as np
import pytest
import torch

from course_lib.lessons.checks import find_exercise, lesson02
from course_lib.lessons.checks import lesson02_compare as C
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise


def test_every_exercise_is_found_by_its_name():
    names = ["scheduled_steps", "dynamic_share", "mixed_batch", "updates_on_originals", "paired_difference"]
    assert [exercise.name for exercise in lesson02.EXERCISES] == names
    for name, exercise in zip(names, lesson02.EXERCISES):
        assert find_exercise(name) is exercise


def test_scheduled_steps():
    def by_branches(epoch, steps, shape):
        end = 5 * steps
        if shape == "linear":
            return 0 if epoch >= end else steps - epoch // 5
        if shape == "cosine":
            return 0 if epoch >= end else math.floor(steps * math.cos(epoch * math.pi / (2 * end)))
        return math.floor(steps * math.exp(-epoch / 30))

    def by_table(epoch, steps, shape):
        curves = {
            "linear": steps - math.ceil((epoch - 4) / 5),
            "cosine": steps * np.cos(np.pi / 2 * min(epoch / (5 * steps), 1)),
            "exponential": steps * np.e ** (-epoch / 30),
        }
        return max(int(curves[shape]), 0)

    def as_tensor(epoch, steps, shape):
        return torch.tensor(by_branches(epoch, steps, shape))

    def answer(**ideas):
        def wrong(epoch, steps, shape):
            return ideas[shape](epoch, steps) if shape in ideas else by_branches(epoch, steps, shape)

        return wrong

    floor, cos, exp, pi = math.floor, math.cos, math.exp, math.pi

    assert_exercise(
        lesson02.SCHEDULED_STEPS,
        right=[by_branches, by_table, as_tensor],
        wrong={
            "below zero after its end": [answer(linear=lambda e, t: t - e // 5)],
            "loses its first step at once": [answer(linear=lambda e, t: floor(max(t - e / 5, 0)))],
            "in every epoch": [answer(linear=lambda e, t: max(t - e, 0))],
            "runs backwards": [answer(linear=lambda e, t: min(e // 5, t))],
            "cosine as printed": [
                answer(cosine=lambda e, t: floor(cos(e * pi / 2 / t))),
                answer(
                    cosine=lambda e, t: floor(cos(e * pi / 2 / t)), exponential=lambda e, t: floor(exp(-e * t / 30))
                ),
            ],
            "up again": [answer(cosine=lambda e, t: floor(t * cos(pi * e / (10 * t))))],
            "comes back": [answer(cosine=lambda e, t: max(0, floor(t * cos(pi * e / 10 / t))))],
            "five times too early": [answer(cosine=lambda e, t: floor(t * cos(pi / 2 * min(e / t, 1))))],
            "half a period": [answer(cosine=lambda e, t: floor(t / 2 * (1 + cos(pi * min(e / 5 / t, 1)))))],
            "exponential as printed": [
                answer(exponential=lambda e, t: floor(exp(-e * t / 30))),
                answer(exponential=lambda e, t: floor(exp(-e * t / 30)), linear=lambda e, t: by_table(e, t, "linear")),
            ],
            "T stands in the exponent too": [answer(exponential=lambda e, t: floor(t * exp(-e * t / 30)))],
            "Drop the fraction": [
                answer(
                    cosine=lambda e, t: round(t * cos(pi / 2 * min(e / (5 * t), 1))),
                    exponential=lambda e, t: round(t * exp(-e / 30)),
                )
            ],
            "no whole number": [lambda e, t, shape: np.floor(float(by_branches(e, t, shape)))],
        },
    )


def test_the_shapes_end_at_about_the_same_epoch_and_differ_in_between():
    steps = lesson02.scheduled_steps
    ends = {shape: next(e for e in range(500) if steps(e, 20, shape) == 0) for shape in lesson02._TABLE}
    assert ends == {"linear": 100, "cosine": 97, "exponential": 90}
    means = {shape: statistics.mean(steps(e, 20, shape) for e in range(100)) for shape in lesson02._TABLE}
    assert means == pytest.approx({"linear": 10.5, "cosine": 12.3, "exponential": 5.4}, abs=0.06)
    assert all(steps(e, 40, shape) >= steps(e + 1, 40, shape) for shape in lesson02._TABLE for e in range(300))
    assert steps(37, 40, "linear") == 33 and steps(199, 40, "linear") == 1 and steps(200, 40, "linear") == 0


def test_the_printed_formulas_cannot_be_meant():
    cosine = {math.floor(math.cos(e * math.pi / 40)) for e in range(400)}
    assert cosine <= {-1, 0, 1}
    assert [math.floor(math.exp(-e * 20 / 30)) for e in range(4)] == [1, 0, 0, 0]


def test_dynamic_share():
    def by_branch(epoch, batch):
        return batch - epoch if epoch < batch else 0

    def by_counting(epoch, batch):
        return len(range(epoch, batch))

    assert_exercise(
        lesson02.DYNAMIC_SHARE,
        right=[by_branch, by_counting, lambda e, b: torch.tensor(b - e).clamp(min=0)],
        wrong={
            "negative number": [lambda e, b: b - e],
            "number of originals": [lambda e, b: min(e, b), lambda e, b: b - by_branch(e, b)],
            "epoch 0 is the first": [lambda e, b: max(b - 1 - e, 0)],
            "first image less": [lambda e, b: by_branch(e - 1, b) if e else b],
            "This is a share": [lambda e, b: by_branch(e, b) / b],
            "64 is written": [lambda e, b: by_branch(e, 64)],
            "Halved": [lambda e, b: b >> e],
            "never changes": [lambda e, b: b],
        },
    )


def test_mixed_batch():
    def by_loop(views, steps):
        return torch.stack([views[b, step] for b, step in enumerate(steps.tolist())])

    def by_gather(views, steps):
        where = steps.view(-1, 1, 1, 1, 1).expand(-1, 1, *views.shape[2:])  # [B, 1, C, H, W]
        return views.gather(1, where).squeeze(1)

    def by_one_hot(views, steps):
        chosen = torch.nn.functional.one_hot(steps, views.shape[1]).to(views.dtype)  # [B, T + 1]
        return torch.einsum("bt,btchw->bchw", chosen, views)

    assert_exercise(
        lesson02.MIXED_BATCH,
        right=[by_loop, by_gather, by_one_hot],
        wrong={
            "every listed step of every image": [
                lambda v, s: v[:, s],
                lambda v, s: v.index_select(1, s),
            ],
            "steps of the first one": [lambda v, s: v[:, int(s[0])]],
            "counted from the end": [lambda v, s: by_loop(v.flip(1), s)],
            "becomes -1": [lambda v, s: by_loop(v, s - 1)],
            "axes are exchanged": [lambda v, s: v[s, torch.arange(len(s)) % v.shape[1]]],
            "choose images": [lambda v, s: v[s]],
            "Only originals": [lambda v, s: v[:, 0].clone()],
            "Only fully processed": [lambda v, s: v[:, v.shape[1] - 1]],
            "averaged": [lambda v, s: torch.stack([v[b, : s[b] + 1].mean(dim=0) for b in range(len(v))])],
            "either original or fully": [lambda v, s: by_loop(v, (s > 0) * (v.shape[1] - 1))],
            "has grown": [lambda v, s: torch.cat([v[:, 0], by_loop(v, s)[s > 0]])],
            "order along axis 0 is reversed": [lambda v, s: by_loop(v, s).flip(0)],
        },
    )


def test_updates_on_originals():
    def by_counting(schedule, images, batch):
        total = originals = 0
        for steps in schedule:
            for _ in range(0, images, batch):
                total += 1
                originals += steps == 0
        return total, originals

    def by_masks(schedule, images, batch):
        per_epoch = -(-images // batch)
        return len(schedule) * per_epoch, sum(not steps for steps in schedule) * per_epoch

    def epochs(schedule, images, batch):
        return len(schedule), sum(steps == 0 for steps in schedule)

    def with_batches(batches, originals=lambda schedule: sum(steps == 0 for steps in schedule)):
        return lambda schedule, n, b: (len(schedule) * batches(n, b), originals(schedule) * batches(n, b))

    ceil = lambda n, b: -(-n // b)  # noqa: E731

    assert_exercise(
        C.UPDATES_ON_ORIGINALS,
        right=[by_counting, by_masks],
        wrong={
            "Round up": [with_batches(lambda n, b: n // b)],
            "no fractions": [with_batches(lambda n, b: n / b)],
            "once for the whole training": [
                lambda s, n, b: tuple(math.ceil(part * n / b) for part in epochs(s, n, b)),
            ],
            "These are epochs": [epochs],
            "These are images": [with_batches(lambda n, b: n)],
            "epochs with processed images": [with_batches(ceil, lambda s: sum(steps > 0 for steps in s))],
            "may go up again": [with_batches(ceil, lambda s: len(s) - s.index(0) if 0 in s else 0)],
            "One step is not an original": [with_batches(ceil, lambda s: sum(steps == 1 for steps in s))],
            "summed up": [lambda s, n, b: (sum(s) * ceil(n, b), by_masks(s, n, b)[1])],
            "curriculum only": [lambda s, n, b: (by_masks(s, n, b)[0] - by_masks(s, n, b)[1], by_masks(s, n, b)[1])],
        },
    )


def test_paired_difference():
    def by_numpy(first, second):
        d = first.double().numpy() - second.double().numpy()
        return d.mean(), d.std(ddof=1) / len(d) ** 0.5

    def by_statistics(first, second):
        d = [a - b for a, b in zip(first.tolist(), second.tolist())]
        return statistics.fmean(d), statistics.stdev(d) / math.sqrt(len(d))

    def by_covariance(first, second):
        covariance = torch.cov(torch.stack([first, second]).double())
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return first.mean() - second.mean(), variance.clamp(min=0).sqrt().float() / len(first) ** 0.5

    def error(idea):
        return lambda first, second: (by_numpy(first, second)[0], idea(first, second, len(first)))

    assert_exercise(
        C.PAIRED_DIFFERENCE,
        right=[by_numpy, by_statistics, by_covariance],
        wrong={
            "nothing in common": [error(lambda a, b, n: (a.var() / n + b.var() / n).sqrt())],
            "one difference scatters": [error(lambda a, b, n: torch.std(a - b))],
            "falls with √n": [error(lambda a, b, n: torch.std(a - b) / n)],
            "root is missing": [error(lambda a, b, n: torch.var(a - b) / n)],
            "too small for a sample": [
                error(lambda a, b, n: (a - b).numpy().std() / n**0.5),
                error(lambda a, b, n: statistics.pstdev((a - b).tolist()) / math.sqrt(n)),
            ],
            "counted twice": [error(lambda a, b, n: torch.std(a - b) / (n - 1) ** 0.5)],
            "difference of deviations": [error(lambda a, b, n: (a.std() - b.std()).abs() / n**0.5)],
            "lost their sign": [lambda a, b: by_numpy((a - b).abs(), 0 * a)],
            "first minus second": [lambda a, b: by_numpy(b, a)],
            "median": [lambda a, b: (statistics.median_low((a - b).tolist()), by_numpy(a, b)[1])],
            "that many test images": [error(lambda a, b, n: (a.mean() * (100 - a.mean()) / n).sqrt())],
            "Two numbers": [lambda a, b: by_numpy(a, b)[1]],
        },
    )


def test_pairing_is_what_makes_a_small_gain_visible():
    case = C.PAIRED_DIFFERENCE.all_cases()[1]
    first, second = case.fresh_inputs()
    mean, error = C.paired_difference(first, second)
    unpaired = math.sqrt((first.var() + second.var()) / len(first))
    assert mean > 3 * error and mean < unpaired, "the same numbers, clear in pairs and lost without them"


def test_the_index_trap_shows_the_shape_that_came_out():
    verdict = examine(lesson02.MIXED_BATCH, lambda views, steps: views[:, steps])
    assert "shape [3, 1, 1, 1] was expected, not [3, 3, 1, 1, 1]" in verdict.got
