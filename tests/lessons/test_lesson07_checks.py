"""The checks of lesson 07 accept right answers however they are written, and name the mistake in wrong ones."""

import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.lessons.checks import all_exercises, find_exercise, lesson07
from course_lib.lessons.checks import lesson07_attention as A
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.local_memory.fusion import GatedFusion
from course_lib.methods.local_memory.local_read import local_read, window_inside
from course_lib.methods.local_memory.memory import MemoryQueue

NAMES = ["local_scores", "attended_offset", "read_window", "gated_fusion", "memory_bytes", "memory_effect"]


def test_every_exercise_is_found_by_its_name():
    assert [exercise.name for exercise in lesson07.EXERCISES] == NAMES
    for name, exercise in zip(NAMES, lesson07.EXERCISES):
        assert find_exercise(name) is exercise
    assert set(NAMES) <= set(all_exercises())


# Attention


def triple_loop(query, keys, window):
    """Place by place, row by row, column by column."""
    reach, (height, width) = window // 2, query.shape[1:]
    out = torch.full((window**2, height, width), -torch.inf)
    for y in range(height):
        for x in range(width):
            for r in range(window**2):
                v, u = y + r // window - reach, x + r % window - reach
                if 0 <= v < height and 0 <= u < width:
                    out[r, y, x] = query[:, y, x] @ keys[:, v, u]
    return out


def test_local_scores():
    def padded(query, keys, window):
        reach, (height, width) = window // 2, query.shape[1:]
        wide = F.pad(keys, (reach,) * 4)
        there = F.pad(torch.ones(1, height, width), (reach,) * 4) > 0
        scores = []
        for dy in range(window):
            for dx in range(window):
                score = (query * wide[:, dy : dy + height, dx : dx + width]).sum(dim=0)
                inside = there[0, dy : dy + height, dx : dx + width]
                scores.append(score.masked_fill(~inside, -torch.inf))
        return torch.stack(scores)

    def unfolded(query, keys, window):
        seen = F.unfold(keys[None], window, padding=window // 2).view(len(keys), window**2, *query.shape[1:])
        inside = F.unfold(torch.ones_like(keys[None, :1]), window, padding=window // 2).view(-1, *query.shape[1:])
        return torch.einsum("dhw,drhw->rhw", query, seen).masked_fill(inside == 0, -torch.inf)

    assert_exercise(
        A.LOCAL_SCORES,
        right=[triple_loop, padded, unfolded],
        wrong={
            "QUERY was shifted": [lambda q, k, w: triple_loop(k, q, w)],
            "score like any other": [lambda q, k, w: padded(q, k, w).nan_to_num(neginf=0.0)],
            "transposed": [
                lambda q, k, w: padded(q, k, w).unflatten(0, (w, w)).transpose(0, 1).flatten(0, 1)
            ],
            "root of the channels": [lambda q, k, w: padded(q, k, w) / len(q) ** 0.5],
            "SIDE of the window": [lambda q, k, w: padded(q, k, 2 * w + 1)],
            "backwards": [lambda q, k, w: padded(q, k, w).flip(0)],
        },
    )  # fmt: skip


def test_attended_offset():
    def two_sums(weights, window):
        square = weights.unflatten(0, (window, window))  # [dy, dx, h, w]
        steps = (torch.arange(window) - window // 2).float()
        x = (square.sum(dim=0) * steps.view(-1, 1, 1)).sum(dim=0)
        y = (square.sum(dim=1) * steps.view(-1, 1, 1)).sum(dim=0)
        return torch.stack([x, y])

    def loop(weights, window):
        out = torch.zeros(2, *weights.shape[1:])
        for r in range(window**2):
            out[0] += weights[r] * (r % window - window // 2)
            out[1] += weights[r] * (r // window - window // 2)
        return out

    assert_exercise(
        A.ATTENDED_OFFSET,
        right=[two_sums, loop],
        wrong={
            "x and y are exchanged": [lambda w, n: two_sums(w, n)[[1, 0]]],
            "sign": [lambda w, n: -loop(w, n)],
            "corner": [lambda w, n: loop(w, n) + n // 2],
            "best place alone": [A._best_offset],
            "Only x": [lambda w, n: loop(w, n)[0]],
        },
    )


def test_a_shifted_memory_is_found_where_it_lies_and_the_printed_order_finds_the_opposite():
    inside = (slice(None), slice(1, -1), slice(2, -2))
    right = A.attended_offset(A._look(A.local_scores, 2, -1), 5)[inside]
    torch.testing.assert_close(right, torch.tensor([2.0, -1.0]).view(2, 1, 1).expand_as(right))
    printed = A.attended_offset(A._look(A._query_shifted, 2, -1), 5)[inside]
    torch.testing.assert_close(printed, -right)


def test_read_window():
    def loop(scores, values, window):
        frames, _, height, width = scores.shape
        reach = window // 2
        out = torch.zeros(values.shape[1], height, width)
        for y in range(height):
            for x in range(width):
                weights = scores[:, :, y, x].flatten().softmax(dim=0).view(frames, -1)
                for s in range(frames):
                    for r in range(window**2):
                        v, u = y + r // window - reach, x + r % window - reach
                        if 0 <= v < height and 0 <= u < width:
                            out[:, y, x] += weights[s, r] * values[s, :, v, u]
        return out

    def unfolded(scores, values, window):
        frames, _, height, width = scores.shape
        weights = torch.softmax(scores.flatten(0, 1), 0)  # [S*r, h, w]
        seen = F.unfold(values, window, padding=window // 2).view(frames, values.shape[1], -1, height, width)
        return (weights[:, None] * seen.transpose(1, 2).flatten(0, 1)).sum(dim=0)

    def padded(scores, values, window, padding=0.0):
        height, width = values.shape[2:]
        wide = F.pad(values, (window // 2,) * 4, value=padding)
        weights = scores.flatten(0, 1).softmax(dim=0).view_as(scores)
        out = torch.zeros_like(values[0])
        for r in range(window**2):
            dy, dx = divmod(r, window)
            out = out + (weights[:, r, None] * wide[:, :, dy : dy + height, dx : dx + width]).sum(dim=0)
        return out

    def each_frame(scores, values, window):
        return torch.stack([unfolded(s[None], v[None], window) for s, v in zip(scores, values)]).mean(dim=0)

    def over_frames(scores, values, window):
        weights = scores.softmax(dim=0).nan_to_num(0)
        frames, _, height, width = scores.shape
        seen = F.unfold(values, window, padding=window // 2).view(frames, values.shape[1], -1, height, width)
        return torch.einsum("srhw,svrhw->vhw", weights, seen)

    assert_exercise(
        A.READ_WINDOW,
        right=[loop, unfolded, padded],
        wrong={
            "padded with NaN": [lambda s, v, w: padded(s, v, w, torch.nan)],
            "a softmax over nothing": [lambda s, v, w: A._mixed(s.softmax(dim=0), v, w)],  # NaN at the same places
            "-inf times 0": [lambda s, v, w: padded(s, v, w) + 0 * s.flatten(0, 1)[0]],
            "softmax of its own": [each_frame],
            "over the frames alone": [over_frames],
            "own place": [lambda s, v, w: torch.einsum("srhw,svhw->vhw", s.flatten(0, 1).softmax(0).view_as(s), v)],
            "exp(180)": [lambda s, v, w: A._mixed(s.exp() / s.exp().sum(dim=(0, 1)), v, w)],
            "best place answers": [A._hardest],
        },
    )


def test_scores_and_reading_together_are_the_library_s_local_read():
    generator = torch.Generator().manual_seed(3)
    query, keys = torch.randn(6, 7, 9, generator=generator), torch.randn(3, 6, 7, 9, generator=generator)
    values = torch.randn(3, 4, 7, 9, generator=generator)
    scores = torch.stack([A.local_scores(query, key, 5) for key in keys])
    torch.testing.assert_close(
        A.read_window(scores, values, 5), local_read(query[None], keys[None], values[None], 5)[0], rtol=1e-5, atol=1e-5
    )
    order = [2, 0, 1]  # what the quiz says: the order of the memory changes nothing
    torch.testing.assert_close(A.read_window(scores[order], values[order], 5), A.read_window(scores, values, 5))
    assert (scores == -torch.inf).logical_not().equal(window_inside((7, 9), 5).expand(3, -1, -1, -1))


# Gates


def test_gated_fusion():
    def written(query, readout, gate_query, gate_memory, embed_query, embed_memory):
        both = torch.cat([query, readout], 1)
        present = torch.sigmoid(gate_query(both)) * embed_query(query)
        past = torch.sigmoid(gate_memory(both)) * embed_memory(readout)
        return present + past

    def divided(q, m, a_q, a_m, e_q, e_m):
        both = torch.cat((q, m), dim=1)
        return e_q(q) / (1 + (-a_q(both)).exp()) + e_m(m) / (1 + (-a_m(both)).exp())

    def shared(q, m, a_q, a_m, e_q, e_m):
        both = torch.cat((q, m), dim=1)
        open_query, open_memory = torch.stack([a_q(both), a_m(both)]).softmax(dim=0).nan_to_num(0)
        return open_query * e_q(q) + open_memory * e_m(m)

    assert_exercise(
        lesson07.GATED_FUSION,
        right=[written, divided],
        wrong={
            "share one unit": [shared],
            "one minus": [
                lambda q, m, a, b, e, f: (
                    a(torch.cat([q, m], 1)).sigmoid() * e(q) + (1 - a(torch.cat([q, m], 1)).sigmoid()) * f(m)
                )
            ],
            "other order": [lambda q, m, a, b, e, f: written(m, q, b, a, f, e)],
            "used as they are": [
                lambda q, m, a, b, e, f: a(torch.cat([q, m], 1)) * e(q) + b(torch.cat([q, m], 1)) * f(m)
            ],
            "embeddings are missing": [lambda q, m, a, b, e, f: written(q, m, a, b, lambda x: x, lambda x: x)],
            "beside each other": [lesson07._side_by_side],
        },
    )  # fmt: skip


def test_the_exercise_is_what_the_library_s_fusion_does():
    torch.manual_seed(0)
    layer = GatedFusion(3, 3, normalise=False).eval()
    query, readout = torch.randn(2, 1, 3, 4, 5)
    fused = lesson07.gated_fusion(
        query, readout, layer.gate_query, layer.gate_memory, layer.embed_query, layer.embed_memory
    )
    torch.testing.assert_close(F.relu(layer.norm(fused)), layer(query, readout))


# Bytes


def test_memory_bytes():
    def cells(height, width, stride, frames, key_channels, value_channels):
        rows, columns = -(-height // stride), -(-width // stride)
        return 4 * frames * rows * columns * (key_channels + value_channels)

    def stored(height, width, stride, frames, key_channels, value_channels):
        queue = MemoryQueue(frames)
        size = -(-height // stride), -(-width // stride)
        with torch.device("meta"):
            for _ in range(frames):
                queue.write(torch.empty(1, key_channels, *size), torch.empty(1, value_channels, *size))
        return queue.memory_bytes()

    assert_exercise(
        lesson07.MEMORY_BYTES,
        right=[cells, stored],
        wrong={
            "per PIXEL": [lambda h, w, s, n, k, v: cells(h, w, s, n, k, v) * s * s],
            "both sides": [lambda h, w, s, n, k, v: cells(h, w, s, n, k, v) * s],
            "keys are kept": [lambda h, w, s, n, k, v: cells(h, w, s, n, 0, v)],
            "That is one frame": [lambda h, w, s, n, k, v: cells(h, w, s, 1, k, v)],
            "round up": [lambda h, w, s, n, k, v: n * (h // s) * (w // s) * (k + v) * 4],
            "4 bytes": [lambda h, w, s, n, k, v: cells(h, w, s, n, k, v) // 4],
        },
    )


def test_the_published_memory_holds_2_6_megabytes_a_frame():
    assert lesson07.memory_bytes(512, 1024, 8, 1, 16, 64) == 2_621_440


# The memory's own part


def test_memory_effect():
    def paired(runs):
        differences = [a - b for a, b in zip(runs["past"], runs["own frame"])]
        mean = sum(differences) / len(differences)
        return mean, (sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)) ** 0.5

    def by_torch(runs):
        gain = torch.tensor(runs["past"]).double() - torch.tensor(runs["own frame"]).double()
        return gain.mean().item(), gain.std().item()

    def against(name):
        return lambda runs: by_torch({"past": runs["past"], "own frame": runs[name]})

    assert_exercise(
        lesson07.MEMORY_EFFECT,
        right=[paired, by_torch],
        wrong={
            "whole gain": [against("single frames")],
            "fewer layers": [against("trained longer")],
            "Runs of one seed": [
                lambda r: (
                    float(np.mean(r["past"]) - np.mean(r["own frame"])),
                    float(np.hypot(np.std(r["past"], ddof=1), np.std(r["own frame"], ddof=1))),
                )
            ],
            "divides by n": [lambda r: (paired(r)[0], float(np.std(np.subtract(r["past"], r["own frame"]))))],
            "Two numbers": [lambda r: paired(r)[0]],
            "sign": [lambda r: (-paired(r)[0], paired(r)[1])],
        },
    )  # fmt: skip


@pytest.mark.parametrize("exercise", lesson07.EXERCISES, ids=lambda exercise: exercise.name)
def test_checks_are_quick(exercise):
    began = time.process_time()
    assert examine(exercise, exercise.reference).status == "right"
    assert time.process_time() - began < 2
