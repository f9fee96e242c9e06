"""The checks of lesson 05 accept right answers however they are written, and name the mistake in wrong ones."""

import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.lessons.checks import all_exercises, find_exercise, lesson05
from course_lib.lessons.checks import lesson05_matching as M
from course_lib.lessons.checks import lesson05_sampling as S
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.recurrent.fusion import CosineFusion
from course_lib.methods.recurrent.schedules import published_truth_probability
from course_lib.nn.global_convolution import GlobalConvolution


def test_every_exercise_is_found_by_its_name():
    names = [
        "first_reappearance",
        "global_convolution",
        "cosine_weights",
        "truth_probability",
        "masks_fed",
        "is_causal",
    ]
    assert [exercise.name for exercise in lesson05.EXERCISES] == names
    for name, exercise in zip(names, lesson05.EXERCISES):
        assert find_exercise(name) is exercise
    assert set(names) <= set(all_exercises())


# Back after an occlusion


def test_first_reappearance():
    def state_machine(areas, tau):
        state = "not seen yet"
        for t, area in enumerate(areas):
            if area > tau:
                if state == "hidden":
                    return t
                state = "seen"
            elif state == "seen":
                state = "hidden"
        return None

    def three_searches(areas, tau):
        try:
            seen = next(t for t, a in enumerate(areas) if a > tau)
            hidden = next(t for t, a in enumerate(areas) if t > seen and a <= tau)
            return next(t for t, a in enumerate(areas) if t > hidden and a > tau)
        except StopIteration:
            return None

    def by_edges(areas, tau):
        visible = np.array(areas) > tau
        starts = np.flatnonzero(visible & ~np.concatenate([[False], visible[:-1]]))
        return int(starts[1]) if len(starts) > 1 else None

    def no_first_sight(areas, tau):
        for t in range(1, len(areas)):
            if areas[t] > tau and areas[t - 1] <= tau:
                return t
        return None

    def strict(areas, tau):
        return next((t for t in range(1, len(areas)) if areas[t] >= tau > areas[t - 1]), None)

    assert_exercise(
        lesson05.FIRST_REAPPEARANCE,
        right=[state_machine, three_searches, by_edges],
        wrong={
            "absent at first": [no_first_sight],
            "area <= tau": [strict],
            "disappears": [
                lambda a, tau: next((t for t in range(1, len(a)) if a[t] <= tau < max(a[:t])), None)
            ],
            "tau is not used": [lambda a, tau: state_machine(a, 0)],
            "FIRST occlusion": [
                lambda a, tau: next(
                    (t for t in range(len(a) - 1, 0, -1) if a[t] > tau >= a[t - 1] and max(a[:t]) > tau), None
                )
            ],
            "return None": [lambda a, tau: state_machine(a, tau) or 0, lambda a, tau: state_machine(a, tau) or -1],
        },
    )  # fmt: skip


# Matching


def test_global_convolution():
    def plain(x, tall, tall_wide, wide, wide_tall):
        half = tall.shape[2] // 2
        first = F.conv2d(F.conv2d(x, tall, padding=(half, 0)), tall_wide, padding=(0, half))
        return first + F.conv2d(F.conv2d(x, wide, padding=(0, half)), wide_tall, padding=(half, 0))

    def one_dense_kernel(x, tall, tall_wide, wide, wide_tall):
        kernel = torch.einsum("mik,omj->oikj", tall[..., 0], tall_wide[:, :, 0])
        kernel = kernel + torch.einsum("mij,omk->oikj", wide[:, :, 0], wide_tall[..., 0])
        return F.conv2d(x, kernel, padding=tall.shape[2] // 2)

    def of_library(x, tall, tall_wide, wide, wide_tall):
        block = GlobalConvolution(x.shape[1], tall_wide.shape[0], tall.shape[0], tall.shape[2])
        parts = {"tall": tall, "tall_wide": tall_wide, "wide": wide, "wide_tall": wide_tall}
        given = {f"{name}.weight": weight for name, weight in parts.items()}
        given |= {f"{name}.bias": torch.zeros(len(weight)) for name, weight in parts.items()}
        return torch.func.functional_call(block, given, (x,))

    def shifted_borders(x, tall, tall_wide, wide, wide_tall):  # both paddings at once, then cut back
        half = tall.shape[2] // 2
        first = F.conv2d(F.conv2d(x, tall, padding=half), tall_wide, padding=half)
        return first + F.conv2d(F.conv2d(x, wide, padding=half), wide_tall, padding=half)

    assert_exercise(
        M.GLOBAL_CONVOLUTION,
        right=[plain, one_dense_kernel, of_library],
        wrong={
            "second path is missing": [
                lambda x, a, b, c, d: F.conv2d(F.conv2d(x, a, padding=(len(a[0, 0]) // 2, 0)), b, padding="same")
            ],
            "nonlinearity inside": [
                lambda x, a, b, c, d: F.conv2d(F.conv2d(x, a, padding="same").relu(), b, padding="same")
                + F.conv2d(F.conv2d(x, c, padding="same").relu(), d, padding="same")
            ],
            "has shrunk": [lambda x, a, b, c, d: F.conv2d(F.conv2d(x, a), b) + F.conv2d(F.conv2d(x, c), d)],
            "has grown": [shifted_borders],
            "side by side": [
                lambda x, a, b, c, d: torch.cat([plain(x, a, b, 0 * c, d), plain(x, 0 * a, b, c, d)], dim=1)
            ],
        },
    )  # fmt: skip


def test_cosine_weights():
    def written(reference, memory, sharpness):
        cosines = F.normalize(reference, dim=0).T @ F.normalize(memory, dim=0)
        return (sharpness * cosines).softmax(dim=0)

    def by_torch(reference, memory, sharpness):
        cosines = F.cosine_similarity(reference[:, :, None], memory[:, None, :], dim=0)
        return torch.softmax(cosines * sharpness, 0)

    def of_library(reference, memory, sharpness):
        fusion = CosineFusion(len(reference), len(memory), 1, sharpness)
        return fusion.affinity(reference[None, :, None], memory[None, :, None])[0]

    def divided(reference, memory, sharpness):
        unit = lambda z: z / z.norm(dim=0)  # noqa: E731
        return (sharpness * unit(reference).T @ unit(memory)).softmax(0)

    assert_exercise(
        M.COSINE_WEIGHTS,
        right=[written, by_torch, of_library],
        wrong={
            "scalar product": [lambda r, m, t: (t * r.T @ m).softmax(0)],
            "over the memory cells": [lambda r, m, t: (t * F.normalize(r, dim=0).T @ F.normalize(m, dim=0)).softmax(1)],
            "over the cells": [lambda r, m, t: (t * F.normalize(r).T @ F.normalize(m)).softmax(0)],
            "divided by the sharpness": [lambda r, m, t: written(r, m, 1 / t)],
            "sharpness is not used": [lambda r, m, t: written(r, m, 1.0)],
            "0 / 0": [divided],
        },
    )


def test_loudness_changes_the_scalar_product_and_not_the_cosine():
    generator = torch.Generator().manual_seed(0)
    reference, memory = torch.randn(6, 5, generator=generator), torch.randn(6, 4, generator=generator)
    torch.testing.assert_close(
        M.cosine_weights(10 * reference, 10 * memory, 5.0), M.cosine_weights(reference, memory, 5.0)
    )
    assert not torch.allclose((100 * reference.T @ memory).softmax(0), (reference.T @ memory).softmax(0))


# Scheduled sampling


def test_truth_probability():
    def clamped(epoch, start=300, slope=0.004, floor=0.5):
        return min(1.0, max(floor, 1 - slope * (epoch - start)))

    def by_cases(epoch, start=300, slope=0.004, floor=0.5):
        if epoch <= start:
            return 1
        fallen = 1 - (epoch - start) * slope
        return floor if fallen < floor else fallen

    assert_exercise(
        S.TRUTH_PROBABILITY,
        right=[clamped, by_cases],
        wrong={
            "floor is missing": [lambda e, start=300, slope=0.004, floor=0.5: min(1, 1 - slope * (e - start))],
            "above 1": [lambda e, start=300, slope=0.004, floor=0.5: max(floor, 1 - slope * (e - start))],
            "begins at epoch 0": [lambda e, start=300, slope=0.004, floor=0.5: max(floor, 1 - slope * e)],
            "own mask": [lambda e, start=300, slope=0.004, floor=0.5: 1 - clamped(e, start, slope, floor)],
            "Use the arguments": [lambda e, start=300, slope=0.004, floor=0.5: published_truth_probability(e)],
        },
    )


def test_masks_fed():
    def loop(truth, logits, teacher):
        fed = [truth[0]]
        for t in range(1, len(truth) - 1):
            fed.append(truth[t] if teacher[t] else logits[t - 1].sigmoid())
        return torch.stack(fed)

    def shifted(truth, logits, teacher):
        given = teacher.clone()
        given[0] = True
        own = torch.cat([torch.zeros_like(logits[:1]), logits.sigmoid()])  # [T, H, W]
        return torch.where(given[:, None, None], truth, own)[:-1]

    def hard(truth, logits, teacher):
        return torch.stack(
            [truth[0], *(truth[t] if teacher[t] else (logits[t - 1] > 0).float() for t in range(1, len(truth) - 1))]
        )

    assert_exercise(
        S.MASKS_FED,
        right=[loop, shifted],
        wrong={
            "mask of frame t - 1": [lambda y, x, teacher: torch.where(teacher[1:, None, None], y[1:], x.sigmoid())],
            "cut into 0 and 1": [hard],
            "wrong way round": [lambda y, x, teacher: loop(y, x, ~teacher)],
            "logits": [lambda y, x, given: torch.cat([y[:1], torch.where(given[1:-1, None, None], y[1:-1], x[:-1])])],
            "detached": [lambda y, x, teacher: loop(y, x.detach(), teacher)],
            "teacher is not used": [lambda y, x, teacher: torch.cat([y[:1], x[:-1].sigmoid()])],
            "fed to nobody": [
                lambda y, x, teacher: torch.cat(
                    [loop(y, x, teacher), (y[-1] if teacher[-1] else x[-1].sigmoid())[None]]
                )
            ],
        },
    )  # fmt: skip


# Causality


def test_is_causal():
    def by_change(segment, frames, labels):
        before = segment(frames, labels)
        for t in range(1, len(frames)):
            changed = frames.clone()
            changed[t:] = 1 - changed[t:]
            if not torch.equal(segment(changed, labels)[:t], before[:t]):
                return False
        return True

    def by_truncation(segment, frames, labels):
        whole = segment(frames, labels)
        return all(torch.equal(segment(frames[:t], labels), whole[:t]) for t in range(1, len(frames)) if t > 4) and all(
            torch.equal(segment(torch.cat([frames[:t], frames[t:] * 0]), labels)[:t], whole[:t])
            for t in range(1, len(frames))
        )

    def by_noise(segment, frames, labels):
        before = segment(frames, labels)
        for t in reversed(range(1, len(frames))):
            noise = torch.rand(20, *frames[t:].shape, generator=torch.Generator().manual_seed(t))
            for future in noise:
                answer = segment(torch.cat([frames[:t], future]), labels)
                if (answer[:t] != before[:t]).any():
                    return False
        return True

    def last_frame(segment, frames, labels):
        changed = frames.clone()
        changed[-1] = 1 - changed[-1]
        return torch.equal(segment(changed, labels)[:-1], segment(frames, labels)[:-1])

    def whole(segment, frames, labels):
        changed = frames.clone()
        changed[4:] = 0
        return torch.equal(segment(changed, labels), segment(frames, labels))

    assert_exercise(
        lesson05.IS_CAUSAL,
        right=[by_change, by_noise],
        wrong={
            "Only the last frame": [last_frame],
            "EARLIER answers stay": [whole],
            "inverted": [lambda segment, frames, labels: not by_change(segment, frames, labels)],
            "too small": [
                lambda segment, frames, labels: all(
                    torch.equal(segment(torch.cat([frames[:t], frames[t:] + 1e-5]), labels)[:t],
                                segment(frames, labels)[:t])
                    for t in range(1, len(frames))
                )
            ],
            "only answer 0 was compared": [
                lambda segment, frames, labels: torch.equal(segment(1 - frames, labels)[0], segment(frames, labels)[0])
            ],
        },
    )  # fmt: skip
    assert by_truncation(lesson05.threshold_now, *lesson05._clip(8))


@pytest.mark.parametrize("exercise", lesson05.EXERCISES, ids=lambda exercise: exercise.name)
def test_checks_are_quick(exercise):
    began = time.process_time()
    assert examine(exercise, exercise.reference).status == "right"
    assert time.process_time() - began < 2
