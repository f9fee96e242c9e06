"""Dropout and reallocation of attention: the sign and the zero of a score decide what they do."""

import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.space_time_memory import SMALL, STCN
from course_lib.methods.space_time_memory.reallocation import ReallocationSegmenter, support_cells
from course_lib.methods.space_time_memory.regularisers import AffinityDropout, Reallocation, drop, reallocate
from course_lib.nn.attention_read import affinity, negative_distance
from course_lib.vos.aggregate import soft_aggregate
from course_lib.vos.protocol import OfflineSegmenter

SCORES = torch.tensor([-0.5, -8.0, -20.0, -30.0]).view(1, 4, 1)  # one query, four cells, the first is right


def weights_without(cell: int, mode: str) -> list[float]:
    dropped = torch.zeros(1, 4, 1, dtype=torch.bool)
    dropped[0, cell - 1] = True
    return drop(SCORES, dropped, mode)[0, :, 0].tolist()


def test_what_dropping_a_cell_does_to_one_query():
    near = lambda *numbers: pytest.approx(numbers, abs=5e-5)  # noqa: E731
    assert affinity(SCORES)[0, :, 0].tolist() == near(0.9994, 0.0006, 0, 0)
    assert weights_without(3, "literal_zero") == near(0.3775, 0.0002, 0.6223, 0)  # dropped, and now the favourite
    assert weights_without(1, "literal_zero") == near(0.9997, 0.0003, 0, 0)  # nothing happened
    assert weights_without(1, "mask_inf") == near(0, 1, 0, 0)
    assert weights_without(1, "post_softmax_renorm") == near(0, 1, 0, 0)


def test_rescaling_survivors_makes_it_worse():
    doubled = (2 * SCORES).masked_fill(torch.tensor([0, 0, 1, 0], dtype=torch.bool).view(1, 4, 1), 0)
    assert affinity(doubled)[0, :, 0].tolist() == pytest.approx((0.2689, 0, 0.7311, 0), abs=5e-5)


@pytest.mark.parametrize("mode", ["mask_inf", "post_softmax_renorm", "literal_zero"])
def test_columns_still_sum_to_one(mode):
    torch.manual_seed(0)
    scores = -10 * torch.rand(2, 50, 30)
    weights = AffinityDropout(mode, 0.5)(scores)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 30))
    share = (weights == 0).float().mean().item()
    assert share == pytest.approx(0 if mode == "literal_zero" else 0.5, abs=0.05)


def test_the_two_sound_modes_are_the_same_operation():
    torch.manual_seed(1)
    scores, dropped = -5 * torch.rand(1, 20, 9), torch.rand(1, 20, 9) < 0.5
    torch.testing.assert_close(drop(scores, dropped, "mask_inf"), drop(scores, dropped, "post_softmax_renorm"))


def test_a_query_that_loses_every_cell_keeps_its_best():
    every = torch.ones(1, 4, 1, dtype=torch.bool)
    assert drop(SCORES, every, "mask_inf")[0, :, 0].tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(drop(SCORES, every, "post_softmax_renorm"), affinity(SCORES))


def test_vanished_survivors_do_not_divide_by_zero():
    scores = torch.tensor([0.0, -1000.0]).view(1, 2, 1)
    dropped = torch.tensor([True, False]).view(1, 2, 1)
    assert drop(scores, dropped, "post_softmax_renorm").isfinite().all()
    assert drop(scores, dropped, "mask_inf")[0, :, 0].tolist() == [0, 1]


def test_dropout_passes_gradients_to_what_is_left():
    scores = SCORES.clone().requires_grad_()
    dropped = torch.tensor([True, False, False, True]).view(1, 4, 1)
    drop(scores, dropped, "mask_inf")[0, 1].sum().backward()
    assert scores.grad.isfinite().all() and scores.grad[0, 0] == 0 and scores.grad[0, 3] == 0


def test_reallocation_by_hand():
    """Three cells, two queries. Sums -3, -12, -6, so ranks 1, 3, 2 and factors 1/6, 3/6, 2/6."""
    scores = torch.tensor([[-1.0, -2.0], [-5.0, -7.0], [-2.0, -4.0]])[None]
    factor = torch.tensor([1 / 6, 3 / 6, 2 / 6])[None, :, None]
    torch.testing.assert_close(reallocate(scores, "literal"), scores * factor)
    torch.testing.assert_close(reallocate(scores, "literal_mean1"), scores * factor * 3)
    after = affinity(scores) * factor
    torch.testing.assert_close(affinity(reallocate(scores, "post_softmax")), after / after.sum(dim=1, keepdim=True))


def test_printed_reallocation_does_the_opposite_of_what_it_is_for():
    """576 random cells: as printed it flattens attention, rescaled it sharpens it, after the softmax it spreads it."""
    g = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(1, 64, 576, generator=g), torch.randn(1, 64, 576, generator=g)
    scores = negative_distance(keys, queries)
    most = scores.sum(dim=2).argsort(dim=1, descending=True)[0, :58]  # the most attended tenth

    def entropy(weights: torch.Tensor) -> float:
        return float(-(weights * weights.clamp(min=1e-30).log()).sum(dim=1).mean() / math.log(576))

    def top_share(weights: torch.Tensor) -> float:
        return float(weights[0, most].sum(dim=0).mean())

    plain = affinity(scores)
    after = {mode: Reallocation(mode)(scores) for mode in ("literal", "literal_mean1", "post_softmax")}
    assert entropy(plain) == pytest.approx(0.70, abs=0.05) and top_share(plain) == pytest.approx(0.33, abs=0.06)
    assert entropy(after["literal"]) > 0.9999
    assert reallocate(scores, "literal").min() > -0.15
    assert top_share(after["literal_mean1"]) > 0.85
    assert top_share(after["post_softmax"]) < 0.08


def test_cells_outside_an_object_are_closed_to_it_and_take_no_rank():
    torch.manual_seed(2)
    scores = -torch.rand(1, 5, 3)
    support = torch.tensor([[[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]], dtype=torch.bool)  # the second object has no cell
    both = reallocate(scores, "post_softmax", support)
    assert both.shape == (1, 2, 5, 3)
    assert both[0, 0, [1, 4]].isneginf().all()
    torch.testing.assert_close(both[0, 0, [0, 2, 3]], reallocate(scores[:, [0, 2, 3]], "post_softmax")[0])
    torch.testing.assert_close(both[:, 1], reallocate(scores, "post_softmax"))


def test_open_reallocation_by_hand():
    """Cells 1, 3 and 4 are the object's. Sums -3, -12, -6, so ranks 1, 3, 2 and factors 1/2, 3/2, 1; cell 2 stays."""
    scores = torch.tensor([[-1.0, -2.0], [-0.5, -0.5], [-5.0, -7.0], [-2.0, -4.0]])[None]
    support = torch.tensor([[[1, 0, 1, 1]]], dtype=torch.bool)
    factor = torch.tensor([1 / 2, 1, 3 / 2, 1])[None, None, :, None]
    after = affinity(scores)[:, None] * factor
    weights = Reallocation("post_softmax", "open")(scores, support)
    torch.testing.assert_close(weights, after / after.sum(dim=2, keepdim=True))
    torch.testing.assert_close(reallocate(scores, "literal_mean1", support, "open"), scores[:, None] * factor)
    printed = torch.tensor([1 / 6, 1, 3 / 6, 2 / 6])[None, None, :, None]
    torch.testing.assert_close(reallocate(scores, "literal", support, "open"), scores[:, None] * printed)


@pytest.mark.parametrize("mode", ["literal", "literal_mean1", "post_softmax"])
def test_open_reallocation_leaves_the_background_as_it_was(mode):
    """The ratio of two background weights is that of plain attention; an object without a cell changes nothing."""
    torch.manual_seed(3)
    scores, support = -3 * torch.rand(2, 9, 5), torch.rand(2, 2, 9) < 0.5
    support[0, 0] = False
    weights = Reallocation(mode, "open")(scores, support)
    assert weights.shape == (2, 2, 9, 5)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 2, 5))
    torch.testing.assert_close(weights[0, 0], affinity(scores)[0])
    for b, k in ((0, 1), (1, 0), (1, 1)):
        outside = ~support[b, k]
        inside = reallocate(scores[b : b + 1, support[b, k]], mode)[0]
        torch.testing.assert_close(
            weights[b, k][outside] / weights[b, k][outside].sum(dim=0), affinity(scores[b : b + 1, outside])[0]
        )
        torch.testing.assert_close(weights[b, k][~outside] / weights[b, k][~outside].sum(dim=0), affinity(inside))
        assert not torch.allclose(weights[b, k], affinity(scores)[b])


@pytest.mark.parametrize("mode", ["literal", "literal_mean1", "post_softmax"])
def test_a_background_that_is_empty_or_ranked_is_none(mode):
    """Support everywhere is no support, open or closed; a ranked background asks for none."""
    torch.manual_seed(4)
    scores, everywhere = -3 * torch.rand(2, 9, 5), torch.ones(2, 3, 9, dtype=torch.bool)
    whole = Reallocation(mode)(scores)
    for background in ("open", "closed"):
        one_each = Reallocation(mode, background)(scores, everywhere)
        torch.testing.assert_close(one_each, whole[:, None].expand(-1, 3, -1, -1))
    torch.testing.assert_close(Reallocation(mode, "ranked")(scores, torch.rand(2, 3, 9) < 0.3), whole)


def test_what_a_background_query_reads():
    """Three cells of the background match it, two of the object do not. Closed, it reads the object all the same."""
    scores = torch.tensor([-0.1, -0.2, -0.3, -9.0, -10.0]).view(1, 5, 1)
    support = torch.tensor([[[0, 0, 0, 1, 1]]], dtype=torch.bool)
    on_object = {
        background: float(Reallocation("post_softmax", background)(scores, support).flatten()[3:].sum())
        for background in ("closed", "open", "ranked")
    }
    assert on_object["closed"] == pytest.approx(1)
    assert on_object["open"] < on_object["ranked"] < 1e-3
    assert float(Reallocation("literal", "open")(scores, support)[0, 0, 3:].sum()) < 0.1  # -9 / 3 and -10 * 2 / 3
    many = torch.cat([scores[:, :3], torch.full((1, 40, 1), -9.0)], dim=1)  # an object of 40 cells: all scores near 0
    lifted = Reallocation("literal", "open")(many, torch.arange(43)[None, None] >= 3)
    assert float(lifted[0, 0, 3:].sum()) > 0.9


def test_support_is_wherever_an_object_has_a_pixel():
    masks = torch.zeros(1, 1, 32, 48)
    masks[0, 0, 20, 40] = 1
    assert support_cells(masks)[0, 0].tolist() == [False, False, False, False, False, True]


def test_the_network_reads_through_a_regulariser():
    torch.manual_seed(0)
    net = STCN(SMALL)
    keys, values, query = torch.randn(2, 64, 24), torch.randn(2, 3, 128, 24), torch.randn(2, 64, 4, 3)
    plain = net.read(keys, values, query, top_k=None)
    torch.testing.assert_close(
        net.read(keys, values, query, None, AffinityDropout(rate=0.0)), plain, atol=1e-5, rtol=1e-4
    )
    support = torch.rand(2, 3, 24) < 0.5
    assert net.read(keys, values, query, None, Reallocation(), support).shape == plain.shape
    with pytest.raises(InputError, match="top_k=None"):
        net.read(keys, values, query, 20, AffinityDropout())


def test_a_clip_segmented_with_reallocation():
    torch.manual_seed(0)
    segmenter = ReallocationSegmenter(STCN(SMALL), mem_every=2, top_k=None)
    assert isinstance(segmenter, OfflineSegmenter)
    labels = torch.zeros(40, 50, dtype=torch.uint8)
    labels[5:25, 5:25], labels[20:35, 30:45] = 7, 3
    answer = segmenter.segment(torch.rand(4, 3, 40, 50), labels)
    assert answer.shape == (4, 40, 50) and answer.dtype == torch.uint8
    assert torch.equal(answer[0], labels) and set(answer.unique().tolist()) <= {0, 3, 7}


@pytest.mark.parametrize("background", ["closed", "open", "ranked"])
def test_background_reaches_the_read_of_a_clip(background, monkeypatch):
    """The segmenter reads as `reallocate` says, and as a network that is given the same regulariser."""
    torch.manual_seed(0)
    net = STCN(SMALL)
    segmenter = ReallocationSegmenter(net, mem_every=1, top_k=None, background=background)
    assert segmenter.device == torch.device("cpu")
    labels = torch.zeros(32, 48, dtype=torch.uint8)
    labels[4:20, 4:20], labels[20:30, 30:44] = 1, 2
    frames = torch.rand(2, 3, 32, 48)
    masks = torch.stack([labels == 1, labels == 2])[None].float()
    given = soft_aggregate(masks[0])[None, 1:]
    with torch.no_grad():
        first, second = net.encode_key(frames[:1]), net.encode_key(frames[1:])
        value = net.encode_value(frames[:1], first, given).flatten(3)
        readout = net.read(
            first.key.flatten(2), value, second.key, None, Reallocation(background=background), support_cells(masks)
        )
    seen = []
    monkeypatch.setattr(net, "decode", lambda readout, features: seen.append(readout) or torch.zeros(1, 2, 32, 48))
    segmenter.segment(frames, labels)
    torch.testing.assert_close(seen[0], readout, atol=1e-5, rtol=1e-4)


def test_errors():
    with pytest.raises(
        InputError, match=r"mask_inf, post_softmax_renorm, literal_zero and a rate in \[0, 1\), got 'zero'"
    ):
        AffinityDropout("zero")
    with pytest.raises(InputError, match="got 'mask_inf' and 1"):
        AffinityDropout(rate=1.0)
    with pytest.raises(InputError, match="reallocation mode must be one of literal, literal_mean1, post_softmax"):
        Reallocation("mean")
    with pytest.raises(InputError, match="background must be one of closed, open, ranked; got 'shut'"):
        Reallocation(background="shut")
