"""The checks of lesson 03 accept right answers however they are written, and name the mistake in wrong ones."""

import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from course_lib.data.scene_batch import areas, scene_batch
from course_lib.lessons.checks import find_exercise, lesson03
from course_lib.lessons.checks import lesson03_boxes as B
from course_lib.lessons.checks.lesson03_accuracy import ACCEPTED_ACCURACY, accepted_accuracy
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import compose_sequence, view
from course_lib.methods.spatial_transformer.salient import accepted


def test_every_exercise_is_found_by_its_name():
    names = ["exploration", "q_target", "transport_box", "share_and_iou", "accepted_accuracy"]
    assert [exercise.name for exercise in lesson03.EXERCISES] == names
    for name, exercise in zip(names, lesson03.EXERCISES):
        assert find_exercise(name) is exercise


def test_exploration():
    def mixture(step, end, decay):
        part = math.e ** -(step / decay)
        return end * (1 - part) + part

    def by_numpy(step, end, decay):
        return 1 - (1 - end) * -np.expm1(-step / decay)

    def as_tensor(step, end, decay):
        return end + (1 - end) * torch.exp(torch.tensor(-step / decay, dtype=torch.float64))

    exp = math.exp

    assert_exercise(
        lesson03.EXPLORATION,
        right=[mixture, by_numpy, as_tensor],
        wrong={
            "starts above 1": [lambda n, end, decay: end + exp(-n / decay)],
            "falls to 0": [lambda n, end, decay: exp(-n / decay)],
            "cut off at the floor": [lambda n, end, decay: max(exp(-n / decay), end)],
            "floor is not added": [lambda n, end, decay: exp(-n / decay) * (1 - end)],
            "straight line": [lambda n, end, decay: max(1 - n / decay * (1 - end), end)],
            "halves": [lambda n, end, decay: end + (1 - end) * 2 ** (-n / decay)],
            "greedy action": [lambda n, end, decay: (1 - end) * (1 - exp(-n / decay))],
            "1/n": [lambda n, end, decay: end + (1 - end) * decay / (decay + n)],
            "not used": [lambda n, end, decay: mixture(n, end, 1)],
            "grows": [lambda n, end, decay: mixture(-n, end, decay)],
        },
    )


def test_q_target():
    def by_product(rewards, done, next_target, gamma, next_online=None):
        with torch.no_grad():
            if next_online is None:
                ahead = next_target.max(dim=1).values
            else:
                ahead = next_target[torch.arange(len(rewards)), next_online.argmax(dim=1)]
            return rewards + gamma * ahead * (~done)

    def by_loop(rewards, done, next_target, gamma, next_online=None):
        targets = rewards.tolist()
        for i, over in enumerate(done.tolist()):
            if not over:
                chooser = next_target if next_online is None else next_online
                targets[i] += gamma * next_target[i, int(chooser[i].argmax())].item()
        return torch.tensor(targets)

    def with_graph(r, d, t, g, o=None):
        best = (t if o is None else o).argmax(dim=1, keepdim=True)
        return r + g * t.gather(1, best).squeeze(1) * (1 - d.float())

    def change(idea):
        return lambda r, d, t, g, o=None: idea(r, d, t.detach(), g, None if o is None else o.detach()).detach()

    assert_exercise(
        lesson03.Q_TARGET,
        right=[by_product, by_loop],
        wrong={
            "no next state": [
                change(lambda r, d, t, g, o: by_product(r, torch.zeros_like(d), t, g, o)),
                lambda r, d, t, g, o=None: with_graph(r, d & False, t, g, o),
            ],
            "mask is inverted": [change(lambda r, d, t, g, o: by_loop(r, ~d, t, g, o))],
            "reward was lost": [change(lambda r, d, t, g, o: by_loop(r, d, t, g, o) * (1 - d.float()))],
            "gamma is not used": [change(lambda r, d, t, g, o: by_product(r, d, t, 1, o))],
            "`next_online` is not used": [
                change(lambda r, d, t, g, o: by_loop(r, d, t, g)),
                lambda r, d, t, g, o=None: with_graph(r, d, t, g),
            ],
            "its own maximum": [
                change(lambda r, d, t, g, o: by_loop(r, d, t if o is None else o, g)),
                lambda r, d, t, g, o=None: with_graph(r, d, t if o is None else o, g),
            ],
            "changed places": [change(lambda r, d, t, g, o: by_loop(r, d, t if o is None else o, g, t))],
            "smaller of both": [
                change(lambda r, d, t, g, o: by_loop(r, d, t if o is None else torch.min(t, o), g)),
            ],
            "random agent": [change(lambda r, d, t, g, o: r + g * t.mean(1) * ~d)],
            "number of the action": [
                change(lambda r, d, t, g, o: r + g * (t if o is None else o).argmax(1) * ~d),
                lambda r, d, t, g, o=None: r + g * (t if o is None else o).argmax(1) * ~d,
            ],
            "whole batch": [change(lambda r, d, t, g, o: r + g * t.max() * ~d)],
            "discounted too": [change(lambda r, d, t, g, o: torch.where(d, r, g * by_loop(r, d, t, 1.0, o)))],
            "cannot be subtracted": [lambda r, d, t, g, o=None: r + (1 - d) * g * t.max(1).values],
            "flows into the target": [with_graph],
        },
    )


def test_two_mistakes_at_once_are_named_one_after_the_other():
    """No mask, and the online network unused, and no detach: each alone would match, together nothing does."""
    verdict = examine(lesson03.Q_TARGET, lambda r, d, t, g, o=None: r + g * t.max(dim=1).values)
    assert "after the end of an episode" in verdict.cause.lower()
    verdict = examine(lesson03.Q_TARGET, lambda r, d, t, g, o=None: torch.where(d, r, r + g * t.amax(1)))
    assert "`next_online` is not used" in verdict.cause
    assert verdict.passed == 4


def test_double_q_never_exceeds_the_maximum():
    torch.manual_seed(0)
    target, online = torch.randn(2, 500, 6)
    rewards, going = torch.zeros(500), torch.zeros(500, dtype=torch.bool)
    plain = lesson03.q_target(rewards, going, target, 1.0)
    double = lesson03.q_target(rewards, going, target, 1.0, online)
    assert bool((double <= plain).all())
    assert plain.mean() > 1 and abs(double.mean()) < 0.15, "true values are 0: the maximum of noise is not"


def test_transport_box():
    def by_scale_and_shift(box, matrix, size):
        height, width = size
        x0, y0, x1, y1 = box.tolist()
        (sx, _, tx), (_, sy, ty), _ = matrix.tolist()
        along_x = [((2 * x / width - 1 - tx) / sx + 1) * width / 2 for x in (x0, x1)]
        along_y = [((2 * y / height - 1 - ty) / sy + 1) * height / 2 for y in (y0, y1)]
        return torch.tensor([along_x[0], along_y[0], along_x[1], along_y[1]])

    def by_solve(box, matrix, size):
        height, width = size
        half = torch.tensor([[width], [height]]) / 2
        corners = torch.cat([box.view(2, 2).T / half - 1, torch.ones(1, 2)])  # [3, 2], columns are points
        shown = torch.linalg.solve(matrix, corners)[:2]
        return ((shown + 1) * half).T.flatten()

    def by_pixel_matrix(box, matrix, size):
        to_pixels = torch.tensor([[size[1] / 2, 0, size[1] / 2], [0, size[0] / 2, size[0] / 2], [0, 0, 1]])
        pixel_matrix = to_pixels @ matrix.inverse() @ to_pixels.inverse()
        first = pixel_matrix @ torch.tensor([*box[:2], 1.0])
        second = pixel_matrix @ torch.tensor([*box[2:], 1.0])
        return torch.cat([first[:2], second[:2]])

    def in_pixels(box, matrix):
        return torch.cat([(matrix @ torch.tensor([*point, 1.0]))[:2] for point in (box[:2], box[2:])])

    def kept(matrix, rows):
        return torch.where(torch.tensor(rows, dtype=torch.bool), matrix, torch.eye(3))

    shift, scale = [[0, 0, 1], [0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]

    def centres(box, matrix, size):
        return by_scale_and_shift(box, matrix, (size[0] - 1, size[1] - 1))

    def old_length(box, matrix, size):
        return by_scale_and_shift(by_scale_and_shift(box, kept(matrix, scale), size), kept(matrix, shift), size)

    assert_exercise(
        B.TRANSPORT_BOX,
        right=[by_scale_and_shift, by_solve, by_pixel_matrix],
        wrong={
            "moved the wrong way": [lambda b, m, s: by_solve(b, m.inverse(), s)],
            "used on pixels": [
                lambda b, m, s: in_pixels(b, torch.linalg.inv(m)),
                lambda b, m, s: in_pixels(b, m),
            ],
            "Width and height are exchanged": [lambda b, m, s: by_solve(b, m, s[::-1])],
            "x and y are exchanged": [lambda b, m, s: by_solve(b.view(2, 2).flip(1).flatten(), m, s)[[1, 0, 3, 2]]],
            "centres of the outermost pixels": [centres],
            "Half a pixel": [lambda b, m, s: by_scale_and_shift(b + 0.5, m, s) - 0.5],
            "cut off at the frame": [
                lambda b, m, s: by_solve(b, m, s).clamp(min=0).minimum(torch.tensor([*s[::-1], *s[::-1]]).float())
            ],
            "corner, width and height": [
                lambda b, m, s: torch.cat([by_solve(b, m, s)[:2], by_solve(b, m, s)[2:] - by_solve(b, m, s)[:2]])
            ],
            "shift of the matrix is not used": [lambda b, m, s: by_solve(b, kept(m, scale), s)],
            "scale of the matrix is not used": [lambda b, m, s: by_solve(b, kept(m, shift), s)],
            "with its old length": [old_length],
        },
    )


def test_a_drawn_box_shows_where_the_exercise_says():
    actions = ActionSet.salient(96)
    matrix = compose_sequence(actions.matrices[torch.tensor([4, 0, 2, 4, 1])])
    box = torch.tensor([30.0, 40.0, 62.0, 60.0])
    image = torch.zeros(1, 1, 96, 96)
    image[..., 40:60, 30:62] = 1
    rows, columns = torch.nonzero(view(image, matrix[None])[0, 0] > 0.5, as_tuple=True)
    drawn = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    assert (drawn - B.transport_box(box, matrix, (96, 96))).abs().max() <= 1


def test_share_and_iou():
    def by_torchvision(box, size):
        height, width = size
        frame = torch.tensor([[0.0, 0.0, width, height]])
        x0, y0, x1, y1 = box.tolist()
        across = max(0, min(x1, width) - max(x0, 0))
        down = max(0, min(y1, height) - max(y0, 0))
        return across * down / (width * height), box_iou(box[None], frame)

    def by_counting(box, size):
        """Exact for boxes with whole-number corners."""
        x0, y0, x1, y1 = (int(edge) for edge in box)
        object_pixels = {(x, y) for x in range(x0, x1) for y in range(y0, y1)}
        view_pixels = {(x, y) for x in range(size[1]) for y in range(size[0])}
        both = len(object_pixels & view_pixels)
        return both / len(view_pixels), both / len(object_pixels | view_pixels)

    def sides(box, size, floor=0.0):
        height, width = size
        across = min(box[2].item(), width) - max(box[0].item(), 0)
        down = min(box[3].item(), height) - max(box[1].item(), 0)
        return max(floor, across) * max(floor, down), (box[2:] - box[:2]).prod().item(), height * width

    def answer(share, iou, floor=0.0):
        return lambda box, size: (share(*sides(box, size, floor)), iou(*sides(box, size, floor)))

    def right_share(inside, box, view):
        return inside / view

    def right_iou(inside, box, view):
        return inside / (box + view - inside)

    assert_exercise(
        B.SHARE_AND_IOU,
        right=[by_torchvision, by_counting, answer(right_share, right_iou)],
        wrong={
            "may not be more than 1": [answer(lambda i, b, v: b / v, right_iou)],
            "not cut off": [answer(lambda i, b, v: b / v, lambda i, b, v: b / v)],
            "how much of the object is seen. The share": [answer(lambda i, b, v: i / b, right_iou)],
            "IoU just the share again": [answer(right_share, lambda i, b, v: i / v)],
            "counted twice": [answer(right_share, lambda i, b, v: i / (b + v))],
            "larger of the two areas": [answer(right_share, lambda i, b, v: i / max(b, v))],
            "by the box alone": [answer(right_share, lambda i, b, v: i / b)],
            "minus times minus": [
                answer(right_share, right_iou, floor=-math.inf),
                lambda b, s: tuple(max(0, x) for x in answer(right_share, right_iou, floor=-math.inf)(b, s)),
            ],
            "Width and height": [lambda b, s: by_counting(b, s[::-1])],
            "first the share": [lambda b, s: by_torchvision(b, s)[::-1]],
        },
    )


def test_over_zooming_costs_only_the_true_iou():
    whole, zoom = torch.tensor([0.0, 0.0, 224.0, 224.0]), ActionSet.salient().matrices[4]
    after = B.transport_box(whole, zoom, (224, 224))
    assert B.share_and_iou(after, (224, 224)) == pytest.approx((1.0, 0.64))


def test_accepted_accuracy():
    def by_loop(predictions, classes, areas):
        counts = [0, 0, 0]
        for guess, names, sizes in zip(predictions.tolist(), classes.tolist(), areas.tolist()):
            ranked = [name for _, name in sorted(zip(sizes, names), reverse=True)]
            for place, names_that_count in enumerate((ranked[:1], ranked[:2], ranked)):
                counts[place] += guess in names_that_count
        return tuple(count / len(predictions) for count in counts)

    def by_cumulative_hits(predictions, classes, areas):
        order = areas.argsort(dim=1, descending=True)
        hit = torch.take_along_dim(classes, order, dim=1) == predictions.unsqueeze(1)
        so_far = hit.cummax(dim=1).values.double().mean(dim=0)
        return so_far[0], so_far[:2][-1], so_far[-1]

    def by_rank(predictions, classes, areas):
        """Rank of the largest object of the predicted class: how many are larger than it."""
        fits = torch.where(classes == predictions[:, None], areas.double(), -1)
        best = fits.amax(1)
        rank = torch.where(best >= 0, (areas > best[:, None]).sum(1), 99)
        return tuple((rank < k).float().mean() for k in (1, 2, 50))

    def hits(p, c, a, largest=True):
        return torch.take_along_dim(c, a.argsort(dim=1, descending=largest), dim=1) == p[:, None]

    def share(hit):
        return hit.float().mean().item()

    def accept(hit):
        return share(hit[:, 0]), share(hit[:, :2].any(1)), share(hit.any(1))

    assert_exercise(
        ACCEPTED_ACCURACY,
        right=[by_loop, by_cumulative_hits, by_rank],
        wrong={
            "listed in any order": [lambda p, c, a: accept(c == p.unsqueeze(1))],
            "smallest object": [lambda p, c, a: accept(hits(p, c, a, largest=False))],
            "Look up their classes": [lambda p, c, a: accept((-a).argsort(dim=1) == p[:, None])],
            "second largest object only": [
                lambda p, c, a: (by_loop(p, c, a)[0], share(hits(p, c, a)[:, 1:2].any(1)), by_loop(p, c, a)[2])
            ],
            "no second column": [
                lambda p, c, a: (
                    by_loop(p, c, a)[0],
                    share(hits(p, c, a)[:, 0] | hits(p, c, a)[:, 1]),
                    by_loop(p, c, a)[2],
                )
            ],
            "share of all objects": [lambda p, c, a: (*by_loop(p, c, a)[:2], share(hits(p, c, a)))],
            "demands that all": [lambda p, c, a: (*by_loop(p, c, a)[:2], share(hits(p, c, a).all(1)))],
            "counts twice": [
                lambda p, c, a: (
                    by_loop(p, c, a)[0],
                    share(hits(p, c, a)[:, :2].sum(1)),
                    share(hits(p, c, a).sum(1)),
                )
            ],
            "over objects and images": [lambda p, c, a: tuple(share(hits(p, c, a)[:, :k]) for k in (1, 2, 9))],
            "numbers rise": [lambda p, c, a: tuple(reversed(by_loop(p, c, a)))],
            "These are counts": [lambda p, c, a: tuple(round(len(p) * x) for x in by_loop(p, c, a))],
        },
    )


def test_accepting_more_never_lowers_the_accuracy():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        classes, areas = torch.randint(0, 5, (30, 3), generator=generator), torch.rand(30, 3, generator=generator)
        top_1, top_2, any_object = accepted_accuracy(torch.randint(0, 5, (30,), generator=generator), classes, areas)
        assert top_1 <= top_2 <= any_object


def test_accuracy_agrees_with_the_scenes_that_are_sorted_already():
    generator = torch.Generator().manual_seed(4)
    corners = torch.rand(25, 3, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + 1 + 10 * torch.rand(25, 3, 2, generator=generator)], dim=2)
    labels = torch.randint(0, 4, (25, 3), generator=generator)
    labels[:, 1:] = labels[:, 1:].masked_fill(torch.rand(25, 2, generator=generator) < 0.3, -1)
    scenes = scene_batch(torch.zeros(25, 1, 32, 32), boxes, labels)
    predictions = torch.randint(0, 4, (25,), generator=generator)
    unsorted = accepted_accuracy(predictions, labels, areas(boxes).masked_fill(labels < 0, 0))
    assert unsorted == accepted(predictions, scenes.object_labels).accuracies
    assert unsorted == accepted_accuracy(predictions, scenes.object_labels, areas(scenes.object_boxes))
