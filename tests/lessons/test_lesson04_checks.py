"""The checks of lesson 04 accept right answers however they are written, and name the mistake in wrong ones."""

import math
import time

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from course_lib.lessons.checks import find_exercise, lesson04
from course_lib.lessons.checks import lesson04_border as B
from course_lib.lessons.checks import lesson04_memory as M
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.metrics import region_similarity
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.training.losses import balanced_bce


def test_every_exercise_is_found_by_its_name():
    names = ["iou_after_shift", "conv_lstm_step", "balanced_loss", "reach_per_step", "distance_classes", "largest_gain"]
    assert [exercise.name for exercise in lesson04.EXERCISES] == names
    for name, exercise in zip(names, lesson04.EXERCISES):
        assert find_exercise(name) is exercise


# What one pixel costs


def test_iou_after_shift():
    def padded(mask, pixels):
        moved = F.pad(mask, (pixels, 0))[:, : mask.shape[1]]
        union = (mask | moved).sum()
        return float((mask & moved).sum() / union) if union else 1.0

    def by_places(mask, pixels):
        here = {tuple(p) for p in torch.nonzero(mask).tolist()}
        there = {(y, x + pixels) for y, x in here if x + pixels < mask.shape[1]}
        return len(here & there) / len(here | there) if here else 1

    def by_numpy(mask, pixels):
        moved = np.zeros_like(mask.numpy())
        moved[:, pixels:] = mask.numpy()[:, : mask.shape[1] - pixels]
        return region_similarity(moved, mask.numpy())

    def without_union(mask, pixels):
        moved = F.pad(mask, (pixels, 0))[:, : mask.shape[1]]
        return float((mask & moved).sum() / (mask.sum() + moved.sum()))

    assert_exercise(
        lesson04.IOU_AFTER_SHIFT,
        right=[padded, by_places, by_numpy],
        wrong={
            "a circle": [
                lambda m, n: float((m & m.roll(n, 1)).sum() / (m | m.roll(n, 1)).sum()) if m.any() else 1.0,
                lambda m, n: region_similarity(np.roll(m.numpy(), n, axis=1), m.numpy()),
            ],
            "Dice": [lambda m, n: 2 * without_union(m, n) if m.any() else 1.0],
            "dim 0 are rows": [lambda m, n: padded(m.T, n)],
            "background included": [lambda m, n: (m == F.pad(m, (n, 0))[:, : m.shape[1]]).float().mean().item()],
            "Look at the union first": [lambda m, n: padded(m, n) if m.any() else 0.0],
            "1 - J": [lambda m, n: 1 - padded(m, n)],
        },
    )


@pytest.mark.parametrize(("radius", "expected"), [(6, 0.794), (60, 0.979)])
def test_one_pixel_costs_a_small_disk_more(radius, expected):
    assert lesson04.iou_after_shift(lesson04.disk(radius, 256), 1) == pytest.approx(expected, abs=0.012)


# One step of a ConvLSTM


def test_conv_lstm_step():
    def written(x, hidden, cell, gates):
        i, f, o, g = gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell

    def one_sigmoid(x, hidden, cell, gates):
        channels = hidden.shape[1]
        out = gates(torch.cat((x, hidden), 1))
        i, f, o = torch.sigmoid(out[:, : 3 * channels]).split(channels, dim=1)
        new = torch.addcmul(f * cell, i, torch.tanh(out[:, 3 * channels :]))
        return [o * torch.tanh(new), new]

    def fixed_order(x, h, c, gates):
        f, i, o, g = gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    assert_exercise(
        M.CONV_LSTM_STEP,
        right=[written, one_sigmoid],
        wrong={
            "wrong way round: the convolution takes": [lambda x, h, c, gates: written_turned(x, h, c, gates)],
            "hidden state first": [lambda x, h, c, gates: tuple(reversed(written(x, h, c, gates)))],
            "Input and forget gate are exchanged": [fixed_order],
            "Update the cell first": [
                lambda x, h, c, gates: (
                    gates(torch.cat([x, h], 1)).chunk(4, 1)[2].sigmoid() * c.tanh(), written(x, h, c, gates)[1]
                )
            ],
            "no gradient goes back in time": [lambda x, h, c, gates: written(x, h.detach(), c.detach(), gates)],
            "two states": [lambda x, h, c, gates: written(x, h, c, gates)[0]],
        },
    )  # fmt: skip


def written_turned(x, h, c, gates):
    i, f, o, g = gates(torch.cat([h, x], 1)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def test_conv_lstm_step_is_the_cell_of_the_library_over_many_steps():
    cell = ConvLSTM(3, 5, kernel=5)
    inputs = torch.randn(6, 2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    state = written = cell.zeros(inputs[0])
    for x in inputs:
        state, written = cell(x, state), M.conv_lstm_step(x, *written, cell.gates)
    torch.testing.assert_close(written, state)


# A fair share


def test_balanced_loss():
    def by_torch(logits, masks):
        beta = 1 - masks.mean()
        weight = torch.where(masks > 0, beta, 1 - beta)
        return F.binary_cross_entropy_with_logits(logits, masks, weight)

    def as_equation(logits, masks):
        beta = (masks == 0).sum() / masks.numel()
        loss = -beta * F.logsigmoid(logits[masks == 1]).sum() - (1 - beta) * F.logsigmoid(-logits[masks == 0]).sum()
        return loss / masks.numel()

    def of_library(logits, masks):  # the batch as one sample of a clip
        return balanced_bce(logits[None], masks[None], ceiling=1.0)[0]

    assert_exercise(
        B.BALANCED_LOSS,
        right=[by_torch, as_equation, of_library],
        wrong={
            "wrong way round": [
                lambda x, y: F.binary_cross_entropy_with_logits(x, y, torch.where(y > 0, y.mean(), 1 - y.mean()))
            ],
            "weight of its own": [
                lambda x, y: torch.stack([by_torch(a, b) for a, b in zip(x, y)]).mean(),
                lambda x, y: balanced_bce(x, y, ceiling=1.0).mean(),
            ],
            "plain cross-entropy": [lambda x, y: F.binary_cross_entropy_with_logits(x, y)],
            "minus infinity": [
                lambda x, y: -((1 - y.mean()) * y * x.sigmoid().log()
                + y.mean() * (1 - y) * (1 - x.sigmoid()).log()).mean()
            ],
            "averaged over the frames": [lambda x, y: by_torch(x, y) * x.shape[1] * x.shape[2]],
            "carries no gradient": [lambda x, y: by_torch(x, y).item()],
            "One number is asked for": [
                lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none") * y.mean()
            ],
        },
    )  # fmt: skip


def test_both_classes_weigh_the_same_and_an_empty_frame_is_not_free():
    masks = torch.zeros(2, 64, 64)
    masks[0, :8, :8] = 1
    beta = (1 - masks[:1]).mean().item()
    assert beta == 0.984375
    assert beta * 64 == pytest.approx((1 - beta) * 4032)
    undecided = B.balanced_loss(torch.zeros(1, 64, 64), masks[:1])
    assert undecided.item() == pytest.approx(2 * beta * (1 - beta) * math.log(2))
    modest = torch.full((2, 64, 64), -9.0)
    seeing_things = modest.clone()
    seeing_things[1] = 9.0  # in the frame without the object
    assert B.balanced_loss(seeing_things, masks) > B.balanced_loss(modest, masks) + 0.03
    free = [balanced_bce(x, masks, ceiling=1.0).mean() for x in (modest, seeing_things)]
    assert free[0] == free[1]  # a weight of its own for each frame


# Reach


def test_reach_per_step():
    def measured(kernel, stride):
        """By an impulse: how far one step of a convolution carries it, in pixels."""
        impulse = torch.zeros(1, 1, 31)
        impulse[..., 15] = 1
        seen = F.conv1d(impulse, torch.ones(1, 1, kernel), padding=kernel // 2)
        return int(torch.nonzero(seen[0, 0]).max() - 15) * stride

    assert_exercise(
        lesson04.REACH_PER_STEP,
        right=[measured, lambda k, s: (k - 1) // 2 * s, lambda k, s: math.floor(k / 2) * s],
        wrong={
            "whole window": [lambda k, s: k * s],
            "From one edge": [lambda k, s: (k - 1) * s],
            "Half a cell": [lambda k, s: k / 2 * s, lambda k, s: 0.5 * k * s],
            "These are cells": [lambda k, s: k // 2],
            "larger one reaches further": [lambda k, s: s],
        },
    )


# Distance classes


def test_distance_classes():
    def by_transform(mask, radius, width):
        k = radius // width
        if not mask.any() or mask.all():
            return torch.full(mask.shape, 2 * k + 1 if mask.any() else 0)
        inside = torch.from_numpy(ndimage.distance_transform_edt(mask.numpy()))
        outside = torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy()))
        bins = (torch.maximum(inside, outside) / width).ceil().long() - 1
        return torch.where(mask, k + 1 + bins.clamp(max=k), k - bins.clamp(max=k))

    def by_all_pairs(mask, radius, width):
        k = radius // width
        places = torch.nonzero(torch.ones_like(mask)).double()
        flat = mask.flatten()
        apart = torch.cdist(places, places).masked_fill(flat[:, None] == flat, math.inf)
        far = apart.min(dim=1).values.view(mask.shape)
        bins = sum((far > width * edge).long() for edge in range(1, k + 1))
        return k + torch.where(mask, 1 + bins, -bins)

    def rounded_down(mask, radius, width):
        k = radius // width
        if not mask.any() or mask.all():
            return by_transform(mask, radius, width)
        far = torch.where(mask, *(torch.from_numpy(ndimage.distance_transform_edt(m)) for m in (mask, ~mask)))
        bins = (far / width).floor().long().clamp(max=k)
        return torch.where(mask, k + 1 + bins, k - bins)

    def nonsense_if_absent(mask, radius, width):
        k = radius // width
        far = [torch.from_numpy(ndimage.distance_transform_edt(m)) for m in (mask, ~mask)]
        bins = ((torch.where(mask, *far) / width).ceil().long() - 1).clamp(0, k)
        return torch.where(mask, k + 1 + bins, k - bins)

    assert_exercise(
        B.DISTANCE_CLASSES,
        right=[by_transform, by_all_pairs],
        wrong={
            "rounded down": [rounded_down],
            "exchanged": [lambda m, r, s: by_transform(~m, r, s)],
            "class 0": [nonsense_if_absent],
            "one more bin on each side": [
                lambda m, r, s: by_transform(m, r, s).clamp(1, 2 * (r // s)) if 0 < m.sum() < m.numel()
                else by_transform(m, r, s)
            ],
            "count from 0": [lambda m, r, s: by_transform(m, r, s) - r // s - (~m).long()],
            "dtype": [lambda m, r, s: by_transform(m, r, s).int()],
        },
    )  # fmt: skip


def test_thin_objects_have_no_deep_class():
    row = B.distance_classes(torch.tensor([[c == "1" for c in "000111100"]]), 2, 1)
    assert row.tolist() == [[0, 1, 2, 3, 4, 4, 3, 2, 1]] and 5 not in row


# Reading an ablation


def test_largest_gain():
    def loop(table, baseline, parts, column):
        best = None
        for part in parts:
            gain = table[part][column] - table[baseline][column]
            if best is None or gain > best[1]:
                best = (part, gain)
        return best

    def by_sorting(table, baseline, parts, column):
        gain, part = sorted((table[p][column] - table[baseline][column], p) for p in parts)[-1]
        return [part, gain]

    assert_exercise(
        lesson04.LARGEST_GAIN,
        right=[loop, by_sorting],
        wrong={
            "all components at once": [lambda t, b, p, c: loop(t, b, [n for n in t if n != b], c)],
            "is the score": [lambda t, b, p, c: (loop(t, b, p, c)[0], t[loop(t, b, p, c)[0]][c])],
            "not 7 %": [lambda t, b, p, c: (loop(t, b, p, c)[0], loop(t, b, p, c)[1] / t[b][c])],
            "Two things": [lambda t, b, p, c: loop(t, b, p, c)[0]],
            "gain of 0": [lambda t, b, p, c: loop(t, b, [b, *p], c)],
        },
    )


def test_table_6_2_says_who_helped_whom():
    table = lesson04.ABLATION
    gains = {c: lesson04.largest_gain(table, "S2S", ("multi-task", "skip-memory"), c)[0] for c in table["S2S"]}
    assert gains["J_unseen"] == "skip-memory" and gains["J_seen"] == gains["F_seen"] == "multi-task"
    both = table["both"]["overall"] - table["S2S"]["overall"]
    alone = [table[part]["overall"] - table["S2S"]["overall"] for part in ("multi-task", "skip-memory")]
    assert both < sum(alone)  # gains do not add up
    for row in table.values():
        mean = sum(v for c, v in row.items() if c != "overall") / 4
        assert row["overall"] == pytest.approx(mean, abs=0.06)


def test_checks_are_quick():
    began = time.process_time()
    for exercise in lesson04.EXERCISES:
        assert examine(exercise, exercise.reference).status == "right"
    assert time.process_time() - began < 5
