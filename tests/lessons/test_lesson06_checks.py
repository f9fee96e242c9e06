"""The checks of lesson 06 accept right answers however they are written, and name the mistake in wrong ones."""

import time

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from course_lib.lessons.checks import all_exercises, find_exercise, lesson06
from course_lib.lessons.checks import lesson06_consistency as C
from course_lib.lessons.checks import lesson06_warping as W
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.propagation.inconsistency import inconsistent_labels
from course_lib.methods.propagation.label_warp import Motion, warp_labels
from course_lib.methods.propagation.schedule import TABLE
from course_lib.methods.propagation.throughput import THESIS, rate_hz
from course_lib.nn.warp import sample_at

NAMES = ["warp_back", "resize_flow", "compose_flows", "lost_pixels", "frames_per_second", "mean_iou"]


def test_every_exercise_is_found_by_its_name():
    assert [exercise.name for exercise in lesson06.EXERCISES] == NAMES
    for name, exercise in zip(NAMES, lesson06.EXERCISES):
        assert find_exercise(name) is exercise
    assert set(NAMES) <= set(all_exercises())


# Following a flow


def _grid(flow):
    height, width = flow.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return x + flow[0], y + flow[1]


def _pixels(image, flow):
    """Bilinear by hand: four neighbours and their shares."""
    height, width = image.shape[1:]
    x, y = _grid(flow)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor().long().clamp(max=width - 2), y.floor().long().clamp(max=height - 2)
    u, v = x - left, y - top
    upper = (1 - u) * image[:, top, left] + u * image[:, top, left + 1]
    lower = (1 - u) * image[:, top + 1, left] + u * image[:, top + 1, left + 1]
    return (1 - v) * upper + v * lower


def test_warp_back():
    def by_grid_sample(image, flow):
        height, width = image.shape[1:]
        x, y = _grid(flow)
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
        return F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=True)[0]

    def other_corners(image, flow):
        height, width = image.shape[1:]
        x, y = _grid(flow)
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        return F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=False)[0]

    def default_corners(image, flow):
        height, width = image.shape[1:]
        x, y = _grid(flow)
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
        return F.grid_sample(image[None], grid[None], padding_mode="border")[0]

    def splat(image, flow):
        out = torch.zeros_like(image)
        x, y = (z.round().long() for z in _grid(flow))
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                to = int(y[row, column]), int(x[row, column])
                if 0 <= to[0] < image.shape[1] and 0 <= to[1] < image.shape[2]:
                    out[:, to[0], to[1]] = image[:, row, column]
        return out

    def nearest(image, flow):
        x, y = (z.round().long() for z in _grid(flow))
        return image[:, y.clamp(0, image.shape[1] - 1), x.clamp(0, image.shape[2] - 1)]

    assert_exercise(
        W.WARP_BACK,
        right=[by_grid_sample, other_corners, _pixels],
        wrong={
            "MINUS the flow": [lambda image, flow: _pixels(image, -flow)],
            "Half a pixel": [default_corners],
            "sent along the flow": [splat],
            "nearest pixel": [nearest],
            "exchanged": [lambda image, flow: _pixels(image, torch.stack([flow[1], flow[0]]))],
            "from outside is black": [lambda i, f: sample_at(i[None], *(z[None] for z in _grid(f)))[0]],
        },
    )


def test_the_half_pixel_adds_up():
    """What the hint says: with the wrong corners a still picture drifts, step by step."""
    image = torch.rand(1, 9, 14, generator=torch.Generator().manual_seed(0))
    still, moved = torch.zeros(2, 9, 14), image
    changes = []
    for _ in range(4):
        moved = W._grid_sampled(moved, still, align=False)
        changes.append(float((moved - image).abs().mean()))
    assert changes[0] > 0.05 and changes[3] > 1.5 * changes[0]
    torch.testing.assert_close(W.warp_back(image, still), image, rtol=0, atol=1e-6)


def test_resize_flow():
    def by_interpolate(flow, size):
        scale = torch.tensor([size[1] / flow.shape[2], size[0] / flow.shape[1]])
        return F.interpolate(flow[None], size, mode="bilinear")[0] * scale[:, None, None]

    def by_component(flow, size):
        x, y = (F.interpolate(z[None, None], size, mode="bilinear", align_corners=False)[0, 0] for z in flow)
        return torch.stack([x * size[1] / flow.shape[2], y * size[0] / flow.shape[1]])

    def grid_only(flow, size):
        return F.interpolate(flow[None], size, mode="bilinear", align_corners=False)[0]

    assert_exercise(
        W.RESIZE_FLOW,
        right=[by_interpolate, by_component],
        wrong={
            "vectors have not": [grid_only],
            "vectors grew": [
                lambda f, s: (
                    grid_only(f, s) * torch.tensor([f.shape[2] / s[1], f.shape[1] / s[0]]).view(2, 1, 1)
                )
            ],
            "ratio of the widths": [lambda flow, size: grid_only(flow, size) * size[1] / flow.shape[2]],
            "blocks": [
                lambda f, s: (
                    F.interpolate(f[None], s)[0] * torch.tensor([s[1] / f.shape[2], s[0] / f.shape[1]]).view(2, 1, 1)
                )
            ],
        },
    )  # fmt: skip


def test_compose_flows():
    def by_hand(near, far):
        return near + _pixels(far, near)

    def by_places(near, far):
        x, y = _grid(near)
        start = torch.stack(_grid(torch.zeros_like(near)))
        there = torch.stack([x, y])
        return there + _pixels(far, there - start) - start

    assert_exercise(
        W.COMPOSE_FLOWS,
        right=[by_hand, by_places],
        wrong={
            "pixel by pixel": [lambda near, far: near + far],
            "order is exchanged": [lambda near, far: far + _pixels(near, far)],
            "second step is left": [lambda near, far: _pixels(far, near)],
            "near was moved": [lambda near, far: _pixels(near, far) + _pixels(far, near)],
        },
    )


# Where flow cannot be trusted


def test_lost_pixels():
    def walked(to_past, to_future, tolerance):
        height, width = to_past.shape[1:]
        x, y = _grid(to_past)
        back = _pixels(to_future, to_past)
        miss = torch.hypot(to_past[0] + back[0], to_past[1] + back[1])
        return (miss > tolerance) | (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)

    def by_places(to_past, to_future, tolerance):
        height, width = to_past.shape[1:]
        start = torch.stack(_grid(torch.zeros_like(to_past)))
        there = torch.stack(_grid(to_past))
        end = there + _pixels(to_future, to_past)
        limits = torch.tensor([width - 1, height - 1]).view(2, 1, 1)
        left = ((there < 0) | (there > limits)).any(dim=0)
        return left | ((end - start).square().sum(0) > tolerance**2)

    def no_border(p, f, t):
        return (p + _pixels(f, p)).norm(dim=0) > t

    assert_exercise(
        C.LOST_PIXELS,
        right=[walked, by_places],
        wrong={
            "different grids": [lambda p, f, t: C._outside(p) | ((p + f).norm(dim=0) > t)],
            "began in the old frame": [lambda p, f, t: walked(f, p, t)],
            "inverted": [lambda p, f, t: ~by_places(p, f, t)],
            "leaves the frame": [no_border],
            "larger component": [lambda p, f, t: C._outside(p) | ((p + _pixels(f, p)).abs().max(dim=0).values > t)],
            "move": [lambda p, f, t: C._outside(p) | (p.norm(dim=0) > t)],
        },
    )


def test_labels_do_not_see_the_strip_that_vectors_see():
    """What the lesson says of equation 3.3: with exact flow the ghost survives the round trip."""
    to_past, to_future, uncovered = C.moving_square(20, 30, 6, 8, 7, 3, 2)
    old = torch.zeros(1, 20, 30, dtype=torch.uint8)
    old[0, 6:13, 8:15] = 1
    motion = Motion(to_past[None], to_future[None])
    carried = warp_labels(old, motion.to_past)
    assert (carried[0][uncovered] == 1).all()  # the ghost
    assert not inconsistent_labels(carried, motion).any()
    assert torch.equal(C.lost_pixels(to_past, to_future, 1.0), uncovered)


# Counting


def test_frames_per_second():
    def by_frame(key_every, segment, warp, refine=0.0, refined=0):
        cycle = segment + sum(warp for _ in range(key_every - 1)) + sum(refine for _ in range(refined))
        return key_every / (cycle / 1000)

    def averaged(key_every, segment, warp, refine=0.0, refined=0):
        return 1000 / ((segment + refined * refine - warp) / key_every + warp)

    assert_exercise(
        lesson06.FRAMES_PER_SECOND,
        right=[by_frame, averaged],
        wrong={
            "periods per second": [lambda s, a, w, r=0.0, n=0: by_frame(s, a, w, r, n) / s],
            "key_every - 1 warps": [lambda s, a, w, r=0.0, n=0: 1000 * s / (a + s * w + n * r)],
            "every carried frame": [lambda s, a, w, r=0.0, n=0: 1000 * s / (a + (s - 1) * (w + (r if n else 0)))],
            "factor of 1000": [lambda s, a, w, r=0.0, n=0: s / (a + (s - 1) * w + n * r)],
            "milliseconds per frame": [lambda s, a, w, r=0.0, n=0: 1000 / by_frame(s, a, w, r, n)],
        },
    )


@pytest.mark.parametrize("row", TABLE[1:], ids=lambda row: row.name)
def test_the_formula_gives_the_printed_rates(row):
    point = row.point
    warp = THESIS.warp if point.warp else 0.0
    found = lesson06.frames_per_second(
        point.key_every, THESIS.segment_at(point.input_scale), warp, THESIS.refine, point.refined_per_period
    )
    assert found == pytest.approx(row.rate, rel=0.02) and found == pytest.approx(rate_hz(point))


def test_mean_iou():
    def by_histogram(predictions, truths, classes):
        table = np.zeros((classes, classes))
        for p, t in zip(predictions, truths):
            p, t = p.numpy().astype(int), t.numpy().astype(int)
            known = t < classes
            table += np.bincount(t[known] * classes + p[known], minlength=classes**2).reshape(classes, classes)
        union = table.sum(0) + table.sum(1) - np.diag(table)
        return float((np.diag(table)[union > 0] / union[union > 0]).mean())

    def by_class(predictions, truths, classes):
        p, t = torch.cat([x.flatten() for x in predictions]), torch.cat([x.flatten() for x in truths])
        p, t = p[t != 255], t[t != 255]
        scores = []
        for c in range(classes):
            union = ((p == c) | (t == c)).sum().item()
            if union:
                scores.append(((p == c) & (t == c)).sum().item() / union)
        return sum(scores) / len(scores)

    def frame_by_frame(predictions, truths, classes):
        return float(np.mean([by_class([p], [t], classes) for p, t in zip(predictions, truths)]))

    def zero_for_absent(p, t, n):
        count = sum(bool((torch.stack([*p, *t]) == c).any()) for c in range(n)) if len({x.shape for x in p}) == 1 else 0
        return by_class(p, t, n) * count / n

    def with_ignored(p, t, n):
        values = []
        for c in range(n):
            a, b = (torch.cat([(x == c).flatten() for x in z]) for z in (p, t))
            if (a | b).any():
                values.append(((a & b).sum() / (a | b).sum()).item())
        return float(np.mean(values))

    assert_exercise(
        lesson06.MEAN_IOU,
        right=[by_histogram, by_class],
        wrong={
            "each frame's own mIoU": [frame_by_frame],
            "counted as 0": [zero_for_absent],
            "Pixels with truth 255": [with_ignored],
            "percent": [lambda p, t, n: 100 * by_class(p, t, n)],
            "share of right pixels": [
                lambda p, t, n: float(
                    torch.cat([(a == b)[b != 255] for a, b in zip(p, t)]).double().mean()
                )
            ],
        },
    )  # fmt: skip


def test_exact_flow_and_a_distance_transform_agree_on_the_strip():
    """The uncovered strip has the width of the motion."""
    _, _, uncovered = C.moving_square(20, 30, 6, 8, 7, 3, 0)
    columns = np.flatnonzero(uncovered.any(dim=0).numpy())
    assert columns.tolist() == [8, 9, 10] and ndimage.label(uncovered.numpy())[1] == 1


@pytest.mark.parametrize("exercise", lesson06.EXERCISES, ids=lambda exercise: exercise.name)
def test_checks_are_quick(exercise):
    began = time.process_time()
    assert examine(exercise, exercise.reference).status == "right"
    assert time.process_time() - began < 2
