"""The checks of lesson 13 accept right answers however they are written, and name the mistake in wrong ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.lessons.checks import find_exercise, lesson13
from course_lib.lessons.checks import lesson13_attention as A
from course_lib.lessons.checks import lesson13_dropout as D
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.space_time_memory.cells import Cells
from course_lib.methods.space_time_memory.policies import least_frequently_used
from course_lib.methods.space_time_memory.regularisers import drop
from course_lib.nn.attention_read import affinity, dense_read, negative_distance, read_memory, similarity

INF = torch.inf


def test_every_exercise_is_found_by_its_name():
    names = ["l2_affinity", "top_k_read", "lfu_scores", "cells_to_keep", "solve_costs", "mask_inf_dropout"]
    assert [exercise.name for exercise in lesson13.EXERCISES] == names
    for name, exercise in zip(names, lesson13.EXERCISES):
        assert find_exercise(name) is exercise


def test_l2_affinity():
    def by_differences(k, q):
        scores = -((k[:, :, None] - q[:, None, :]) ** 2).sum(0) / k.shape[0] ** 0.5  # [Ck, N, Q] -> [N, Q]
        return F.softmax(scores, dim=0)

    def without_the_query_s_term(k, q):
        return ((2 * k.T @ q - (k * k).sum(0).unsqueeze(1)) / math.sqrt(k.shape[0])).softmax(0)

    def by_loop(k, q):
        columns = []
        for j in range(q.shape[1]):
            scores = torch.stack([-(k[:, i] - q[:, j]).square().sum() for i in range(k.shape[1])]) / len(k) ** 0.5
            weights = (scores - scores.max()).exp()
            columns.append(weights / weights.sum())
        return torch.stack(columns, dim=1)

    def exp_without_softmax(k, q):
        weights = torch.exp(-distance(k, q).square() / math.sqrt(len(k)))
        return weights / weights.sum(dim=0, keepdim=True)

    def distance(k, q):
        return torch.cdist(k.T, q.T, compute_mode="donot_use_mm_for_euclid_dist")

    assert_exercise(
        A.L2_AFFINITY,
        right=[by_differences, without_the_query_s_term, by_loop],
        wrong={
            "over the queries": [lambda k, q: (-(distance(k, q) ** 2) / len(k) ** 0.5).softmax(-1)],
            "dot product": [
                lambda k, q: F.softmax(torch.einsum("cn,cq->nq", k, q) / len(k) ** 0.5, dim=0),
                lambda k, q: F.softmax(torch.einsum("cn,cq->nq", k, q), dim=0),
            ],
            "not divided by √Ck": [lambda k, q: (-(distance(k, q) ** 2)).softmax(0)],
            "not squared": [lambda k, q: (-(k[:, :, None] - q[:, None]).norm(dim=0) / len(k) ** 0.5).softmax(0)],
            "divided by Ck": [lambda k, q: (-(k[:, :, None] - q[:, None]).square().mean(0)).softmax(0)],
            "farthest memory cell wins": [lambda k, q: ((distance(k, q) ** 2) / len(k) ** 0.5).softmax(0)],
            "|k|² is missing": [lambda k, q: (k.T @ q * 2 / len(k) ** 0.5).softmax(0)],
            "do not sum to one": [lambda k, q: torch.exp(-(distance(k, q) ** 2) / len(k) ** 0.5)],
            "underflows": [exp_without_softmax],
            "Rows and columns are swapped": [lambda k, q: by_differences(k, q).T],
            "graph": [lambda k, q: by_differences(k, q).detach()],
            "return": [lambda k, q: None],
        },
    )


def test_top_k_read():
    def by_dense_matrix(scores, values, k):
        best, cells = torch.topk(scores, k, dim=0)
        weights = torch.full_like(scores, -INF).scatter(0, cells, best).softmax(0)
        return values @ weights

    def by_loop(scores, values, k):
        columns = []
        for q in range(scores.shape[1]):
            cells = scores[:, q].argsort(descending=True)[:k]
            columns.append(values[:, cells] @ scores[cells, q].softmax(0))
        return torch.stack(columns, dim=1)

    def renormalised(scores, values, k):
        weights, cells = scores.softmax(0).topk(k, dim=0)
        return torch.einsum("ckq,kq->cq", values[:, cells], weights / weights.sum(0))

    def sized(scores, k, weigh, **options):
        best, cells = scores.topk(k, **options)
        return cells, weigh(best)

    def read(weigh, **options):
        def answer(scores, values, k):
            cells, weights = sized(scores, k, weigh, **options)
            return torch.einsum("ckq,kq->cq", values[:, cells], weights)

        return answer

    def share_lost(scores, values, k):
        weights, cells = scores.softmax(0).topk(k, dim=0)
        return torch.einsum("ckq,kq->cq", values[:, cells], weights)

    def along_queries(scores, values, k):
        best, cells = scores.topk(k, dim=1)
        return (values[:, cells] * best.softmax(1)).sum(2)

    def one_list(scores, values, k):
        cells = scores.mean(1).argsort(descending=True)[:k]
        return values[:, cells] @ scores[cells].softmax(0)

    assert_exercise(
        A.TOP_K_READ,
        right=[by_dense_matrix, by_loop, renormalised],
        wrong={
            "Choose first": [share_lost],
            "along the queries": [along_queries, A._best_queries_of_each_cell],
            "plain mean": [read(lambda best: torch.ones_like(best) / len(best), dim=0)],
            "k lowest": [read(lambda worst: worst.softmax(0), dim=0, largest=False)],
            "not a softmax": [
                read(torch.sigmoid, dim=0),
                read(lambda best: best, dim=0),
                read(lambda best: best / best.sum(0), dim=0),
            ],
            "All queries read the same": [one_list],
            "thousands of small weights": [lambda s, v, k: v @ s.softmax(0)],
            "runs over the queries": [read(lambda best: best.softmax(1), dim=0)],
            "underflows": [read(lambda best: best.exp() / best.exp().sum(0), dim=0)],
            "Rows and columns are swapped": [lambda s, v, k: by_loop(s, v, k).T],
            "graph": [lambda s, v, k: by_loop(s, v.detach(), k).detach()],
            "One input gets no gradient": [lambda s, v, k: by_loop(s.detach(), v, k)],
        },
    )


def test_lfu_scores():
    def by_list(hits, age):
        return torch.tensor([h / a if a > 0 else math.inf for h, a in zip(hits.tolist(), age.tolist())])

    def by_mask(hits, age):
        scores = torch.full(hits.shape, INF)
        old = age > 0
        scores[old] = (hits[old] / age[old]).float()
        return scores

    def by_fill(hits, age):
        return (hits / age).masked_fill(age == 0, INF)

    assert_exercise(
        lesson13.LFU_SCORES,
        right=[by_list, by_mask, by_fill],
        wrong={
            "Hits alone never fade": [lambda h, a: h * 1.0, lambda h, a: h.float().masked_fill(a == 0, INF)],
            "frames per hit": [lambda h, a: a / h, lambda h, a: (a / h).masked_fill(h == 0, INF)],
            "Whole-number": [
                lambda h, a: h // a,
                lambda h, a: torch.div(h, a.clamp(min=1), rounding_mode="floor").float().masked_fill(a == 0, INF),
            ],
            "NaN sorts anywhere": [lambda h, a: h / a],
            "must survive": [
                lambda h, a: h / a.clamp(min=1),
                lambda h, a: (h / a).masked_fill(a == 0, 0),
                lambda h, a: h / (a + 1e-6),
                lambda h, a: (h / a).masked_fill(a == 0, -INF),
                lambda h, a: torch.nan_to_num(h / a),
            ],
            "Adding 1": [lambda h, a: h / (a + 1)],
            "one frame too many": [lambda h, a: (h / (a + 1)).masked_fill(a == 0, INF)],
            "dtype": [lambda h, a: by_fill(h, a).double()],
        },
    )


def test_cells_to_keep():
    def by_python(scores, n):
        ranked = sorted(range(len(scores)), key=lambda cell: (scores[cell].item(), cell))
        return torch.tensor(sorted(ranked[n:]), dtype=torch.long)

    def by_mask(scores, n):
        stays = torch.ones(len(scores), dtype=torch.bool)
        stays[torch.sort(scores, stable=True).indices[:n]] = False
        return stays.nonzero()[:, 0]

    def one_by_one(scores, n):
        left, at = scores.clone(), torch.arange(len(scores))
        for _ in range(n):
            worst = (left == left.min()).nonzero()[0, 0]  # the first of equals
            left, at = (torch.cat([x[:worst], x[worst + 1 :]]) for x in (left, at))
        return at

    order = lambda scores: torch.sort(scores, stable=True).indices  # noqa: E731

    assert_exercise(
        lesson13.CELLS_TO_KEEP,
        right=[by_python, by_mask, one_by_one],
        wrong={
            "cells to evict": [lambda s, n: order(s)[:n].sort().values],
            "in order of score": [lambda s, n: order(s)[n:], lambda s, n: order(-s)[: len(s) - n]],
            "Of equal cells the newer went": [lambda s, n: order(-s)[: len(s) - n].sort().values],
            "highest scores were evicted": [lambda s, n: order(-s)[n:].sort().values],
            "Off by one": [lambda s, n: order(s)[n + 1 :].sort()[0], lambda s, n: order(s)[max(n, 1) - 1 :].sort()[0]],
            "-0 is 0": [
                lambda s, n: order(s).flip(0)[:-n].sort().values,
                lambda s, n: order(s)[-(len(s) - n) :].sort().values,
            ],
            "cut through equal scores": [
                lambda s, n: (s > s.kthvalue(n).values).nonzero()[:, 0] if n else torch.arange(len(s)),
                lambda s, n: (s >= s.sort().values[n]).nonzero()[:, 0] if n < len(s) else order(s)[:0],
            ],
            "Return where they are": [lambda s, n: s[by_python(s, n)]],
            "A mask marks": [lambda s, n: torch.zeros(len(s), dtype=torch.bool).index_fill(0, by_python(s, n), True)],
            "first in, first out": [lambda s, n: torch.arange(len(s))[n:]],
        },
    )


def test_solve_costs():
    def by_inverse(rows, ms):
        return torch.linalg.inv(rows) @ ms

    def by_numpy(rows, ms):
        return torch.from_numpy(np.linalg.solve(rows.numpy(), ms.numpy()))

    def by_cramer(rows, ms):
        def with_column(i):
            changed = rows.clone()
            changed[:, i] = ms
            return torch.linalg.det(changed)

        return torch.stack([with_column(i) for i in range(3)]) / torch.linalg.det(rows)

    def elimination_of_the_table(rows, ms):
        read = (ms[0] - ms[2]) / 5
        value = (ms[1] - ms[2]) / 0.8
        return torch.stack([ms[2] - 0.2 * value - 2 * read, value, read])

    assert_exercise(
        lesson13.SOLVE_COSTS,
        right=[by_inverse, by_numpy, by_cramer],
        wrong={
            "Frames per second": [lambda rows, ms: by_inverse(rows, 1000 / ms)],
            "inverts each number": [lambda rows, ms: rows**-1 @ ms],
            "number by number and mix nothing": [
                lambda rows, ms: rows.inverse() * ms,
                lambda rows, ms: rows.inverse() * ms[:, None],
                lambda rows, ms: ms / rows,
            ],
            "transposed": [lambda rows, ms: ms @ rows.inverse(), lambda rows, ms: by_cramer(rows.T, ms)],
            "multiplied by the matrix": [lambda rows, ms: (rows * ms).sum(1)],
            "fixed cost of a frame": [
                lambda rows, ms: torch.linalg.pinv(rows[:, 1:]) @ ms,
                lambda rows, ms: F.pad(torch.linalg.pinv(rows[:, 1:]) @ ms, (1, 0)),
            ],
            "as if all three costs were equal": [lambda rows, ms: ms / rows.sum(1)],
            "order along axis 0 is reversed": [lambda rows, ms: by_inverse(rows, ms).flip(0)],
            "0.001 times": [lambda rows, ms: by_inverse(rows, ms) / 1000],
            "dtype": [lambda rows, ms: by_inverse(rows.float(), ms.float())],
        },
    )
    verdict = examine(lesson13.SOLVE_COSTS, elimination_of_the_table)
    assert (verdict.status, verdict.passed) == ("wrong", 1), "right for the table alone"


def test_mask_inf_dropout():
    def mask_lifted(scores, dropped):
        best = F.one_hot(scores.argmax(0), len(scores)).T.bool()  # [N, Q]
        silent = torch.where(dropped.all(0), ~best, dropped)
        return torch.softmax(torch.where(silent, -INF, scores), dim=0)

    def by_loop(scores, dropped):
        weights = torch.zeros_like(scores)
        for q in range(scores.shape[1]):
            alive = (~dropped[:, q]).nonzero()[:, 0]
            if len(alive) == 0:
                alive = scores[:, q].argmax()[None]
            weights[alive, q] = scores[alive, q].softmax(0)
        return weights

    def renormalised(scores, dropped):
        best = F.one_hot(scores.argmax(0), len(scores)).T
        kept = torch.where(dropped.all(0), best, ~dropped) * scores.softmax(0)
        return kept / kept.sum(0)

    def softmax_first(scores, dropped):
        return scores.softmax(0) * ~dropped

    def in_place(scores, dropped):
        scores[dropped] = -INF
        return scores.softmax(0)

    def mask_changed(scores, dropped):
        dropped &= ~(dropped.all(0) & (scores == scores.amax(0)))
        return scores.masked_fill(dropped, -INF).softmax(0)

    survivors = lambda s, d: torch.where(d, -INF, s)  # noqa: E731

    assert_exercise(
        D.MASK_INF_DROPOUT,
        right=[mask_lifted, by_loop, renormalised],
        wrong={
            "promoted": [lambda s, d: (s * ~d).softmax(0), lambda s, d: (s * ~d * 2).softmax(0)],
            "rescaled by 2": [lambda s, d: mask_lifted(2 * s, d), lambda s, d: 2 * by_loop(s, d)],
            "zeroed after the softmax": [softmax_first],
            "lost every cell becomes NaN": [
                lambda s, d: survivors(s, d).softmax(0),
                lambda s, d: softmax_first(s, d) / softmax_first(s, d).sum(0),
            ],
            "reads nothing": [lambda s, d: survivors(s, d).softmax(0).nan_to_num(0)],
            "got all of them back": [lambda s, d: torch.where(d.all(0), s, survivors(s, d)).softmax(0)],
            "even mixture": [lambda s, d: torch.where(d, -1e9, s).softmax(0)],
            "never silences the favourite": [lambda s, d: survivors(s, d & (s < s.amax(0))).softmax(0)],
            "over the queries": [lambda s, d: by_loop(s.T, d.T).T],
            "inverted": [lambda s, d: mask_lifted(s, ~d)],
            "`dropped` is not used": [lambda s, d: s.softmax(0)],
            "still has weight": [lambda s, d: torch.where(d, s - 3, s).softmax(0)],
            "do not sum to one": [lambda s, d: by_loop(s, d) * 0.9],
            "gradient is NaN": [D._repaired_afterwards],
            "changes its input": [in_place, mask_changed],
            "graph": [lambda s, d: by_loop(s.detach(), d)],
        },
    )


@pytest.mark.parametrize(("channels", "cells", "queries"), [(2, 3, 4), (8, 30, 17), (64, 200, 50)])
def test_affinity_and_read_agree_with_the_library(channels, cells, queries):
    torch.manual_seed(0)
    k, q, values = torch.randn(channels, cells), torch.randn(channels, queries), torch.randn(5, cells)
    torch.testing.assert_close(A.l2_affinity(k, q), affinity(similarity(k[None], q[None]))[0])
    scores = negative_distance(k[None], q[None])[0]
    for top_k in (1, 3, cells):
        mine = A.top_k_read(scores, values, top_k)
        torch.testing.assert_close(mine, dense_read(affinity(scores[None], top_k), values[None, None])[0, 0])
        library = read_memory(k[None], values[None, None], q[None], top_k=top_k).readout[0, 0]
        torch.testing.assert_close(mine, library, atol=1e-5, rtol=1e-4)
    assert torch.equal(A.top_k_read(scores, values, 10**6), A.top_k_read(scores, values, cells)), "a young memory"


def test_eviction_agrees_with_the_library():
    torch.manual_seed(0)
    cells = Cells(limit=40, max_bytes=None, mass=False)
    cells.add_objects(1, birth=0)
    cells.reserve(40, torch.zeros(1, 4), torch.zeros(1, 1, 3))
    for start, frame in ((0, 0), (15, 5), (30, 10)):
        stop = min(start + 15, 40)
        cells.put(slice(start, stop), torch.randn(stop - start, 4), torch.randn(1, stop - start, 3), frame)
        cells.stored = stop
    cells.uses[:] = torch.randint(0, 12, (40,))
    hits, age = cells.uses[:40], 15 - cells.born[:40]
    scores = lesson13.lfu_scores(hits, age)
    torch.testing.assert_close(scores, least_frequently_used(cells, 15))
    assert len(scores.unique()) < 40, "ties are part of the comparison"
    for count in (0, 1, 13, 40):
        gone = cells.least(scores, count)
        kept = lesson13.cells_to_keep(scores, count)
        assert sorted([*gone.tolist(), *kept.tolist()]) == list(range(40))
        assert kept.tolist() == sorted(kept.tolist())


def test_worth_and_eviction_of_the_worked_example():
    scores = lesson13.lfu_scores(torch.tensor([30, 4, 10, 2]), torch.tensor([10, 10, 5, 5]))
    assert scores.tolist() == pytest.approx([3.0, 0.4, 2.0, 0.4])
    assert lesson13.cells_to_keep(scores, 2).tolist() == [0, 2]


def test_costs_of_the_published_speeds():
    fixed, value, read = lesson13.solve_costs(lesson13.THESIS, lesson13.THESIS_MS).tolist()
    assert (round(fixed, 1), round(value, 1), round(read, 1)) == (51.5, 39.2, 14.2)
    assert 1000 / (fixed + 0.2 * value + 4 * read) == pytest.approx(8.6, abs=0.05), "four frames of memory"
    assert 1000 / (fixed + 0.2 * value + 100 * read) == pytest.approx(0.68, abs=0.005)


def test_dropout_agrees_with_the_library():
    torch.manual_seed(0)
    scores, dropped = -8 * torch.rand(12, 7), torch.rand(12, 7) < 0.6
    dropped[:, 3] = True
    mine = D.mask_inf_dropout(scores, dropped)
    torch.testing.assert_close(mine, drop(scores[None], dropped[None], "mask_inf")[0])
    torch.testing.assert_close(mine.sum(0), torch.ones(7))
    assert bool((mine[dropped & (mine < 1)] == 0).all())


def test_a_stock_dropout_layer_promotes_what_it_drops():
    golden = torch.tensor([[-0.5], [-8.0], [-20.0], [-30.0]])
    third = torch.tensor([[False], [False], [True], [False]])
    zeroed = golden.masked_fill(third, 0).softmax(0)[:, 0]
    assert zeroed.tolist() == pytest.approx([0.3775, 0.0002, 0.6223, 0], abs=5e-5)
    assert D.mask_inf_dropout(golden, third)[:, 0].tolist() == pytest.approx([0.9994, 0.0006, 0, 0], abs=5e-5)
    verdict = examine(D.MASK_INF_DROPOUT, lambda s, d: s.masked_fill(d, 0).softmax(0))
    assert "0.6223" in verdict.got and "0.9994" in verdict.expected, "the table of the lesson is what a learner sees"
