"""Fusions agree with loops over cells, and differ in what they look at: direction, length, or place."""

import pytest
import torch
from torch import nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.fusion import (
    AxialAttentionFusion,
    CosineFusion,
    CrossAttentionFusion,
    GlobalConvolutionFusion,
    make_fusion,
)

KINDS = ("global convolution", "cosine", "axial attention", "cross attention")


def pair(reference: int = 6, memory: int = 6, size: tuple[int, int] = (3, 4), batch: int = 2):
    torch.manual_seed(1)
    return torch.randn(batch, reference, *size), torch.randn(batch, memory, *size)


def permuted(x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """The cells of [B, C, h, w] in another order."""
    return x.flatten(2)[..., order].unflatten(2, x.shape[2:])


@pytest.mark.parametrize("memory", [6, 5])
def test_cosine_fusion_equals_loops_over_cells(memory):
    torch.manual_seed(0)
    fusion = CosineFusion(6, memory, out=7, temperature=4.0)
    reference, remembered = pair(memory=memory)
    with torch.no_grad():
        fused, aligned = fusion(reference, remembered), fusion.align(remembered)
        for b in range(2):
            cells = [reference[b, :, y, x] for y in range(3) for x in range(4)]
            for y in range(3):
                for x in range(4):
                    asks = aligned[b, :, y, x]
                    cosines = torch.stack([cell @ asks / (cell.norm() * asks.norm()) for cell in cells])
                    weights = (4 * cosines).exp() / (4 * cosines).exp().sum()
                    readout = sum(weight * cell for weight, cell in zip(weights, cells))
                    both = torch.cat([readout, remembered[b, :, y, x]])
                    expected = (fusion.join.weight[..., 0, 0] @ both + fusion.join.bias).relu()
                    assert torch.allclose(fused[b, :, y, x], expected, atol=1e-5)


def test_cross_attention_fusion_equals_torchs_attention():
    torch.manual_seed(0)
    fusion = CrossAttentionFusion(6, 5, out=7, mid=8, heads=2)
    reference, memory = pair(memory=5)
    split = [part.flatten(2).view(2, 2, 4, 12).transpose(2, 3) for part in (  # [B, heads, cells, d]
        fusion.query(memory), fusion.key(reference), fusion.value(reference))]  # fmt: skip
    readout = nn.functional.scaled_dot_product_attention(*split).transpose(2, 3).reshape(2, 8, 3, 4)
    expected = fusion.join(torch.cat([readout, memory], dim=1)).relu()
    assert torch.allclose(fusion(reference, memory), expected, atol=1e-5)


def test_weights_over_the_reference_sum_to_one():
    reference, memory = pair(size=(3, 5))
    cosine = CosineFusion(6, 6, out=4).affinity(reference, memory)
    cross = CrossAttentionFusion(6, 6, out=4, mid=8).affinity(reference, memory)
    assert cosine.shape == (2, 15, 15) and cross.shape == (2, 4, 15, 15)
    for affinity in (cosine, cross):
        total = affinity.sum(-2)
        assert (affinity >= 0).all() and torch.allclose(total, torch.ones_like(total))


@pytest.mark.parametrize("memory", [6, 5])
def test_the_cosine_is_blind_to_length_and_the_dot_product_is_not(memory):
    torch.manual_seed(0)
    reference, remembered = pair(memory=memory)
    cosine, cross = CosineFusion(6, memory, 4), CrossAttentionFusion(6, memory, 4, mid=8)
    for how in [(10, 10), (10, 1), (1, 10)]:
        scaled = how[0] * reference, how[1] * remembered
        assert torch.allclose(cosine.affinity(*scaled), cosine.affinity(reference, remembered), atol=1e-6)
        assert (cross.affinity(*scaled) - cross.affinity(reference, remembered)).abs().max() > 0.1


def test_each_cell_finds_itself_in_an_equal_map():
    reference, _ = pair(reference=16)
    affinity = CosineFusion(16, 16, 4, temperature=50.0).affinity(reference, reference)
    assert torch.equal(affinity.argmax(1), torch.arange(12).expand(2, 12))
    assert affinity.diagonal(dim1=1, dim2=2).min() > 0.95


def test_a_memory_of_zeros_reads_the_mean_of_the_reference():
    fusion = CosineFusion(6, 6, out=4)
    reference, memory = pair()
    affinity = fusion.affinity(reference, torch.zeros_like(memory))
    assert torch.allclose(affinity, torch.full_like(affinity, 1 / 12))
    fusion(reference, torch.zeros_like(memory)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


def test_the_learned_temperature_stays_positive():
    fusion = CosineFusion(6, 6, out=4, temperature=0.01)
    reference, memory = pair()
    optimiser = torch.optim.SGD([fusion.log_temperature], lr=10.0)
    for _ in range(5):
        optimiser.zero_grad()
        (-fusion.affinity(reference, memory).amin(dim=1)).sum().backward()  # wants weights alike: a low temperature
        optimiser.step()
    assert fusion.log_temperature < torch.tensor(0.01).log() and fusion.log_temperature.exp() > 0


def test_only_those_with_a_sense_of_place_notice_cells_that_change_place_together():
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    reference, memory = pair()
    for kind, placeless in zip(KINDS, (False, True, False, True)):
        torch.manual_seed(0)
        fusion = make_fusion(kind, 6, 6, 5, 8, span=(3, 4))
        same = torch.allclose(
            permuted(fusion(reference, memory), order),
            fusion(permuted(reference, order), permuted(memory, order)),
            atol=1e-5,
        )
        assert same == placeless, kind


def test_how_far_the_reference_is_seen():
    """From the corner of an 8 x 14 map: 4 x 4 cells of a 7 x 7 window, or everything."""
    for kind, cells in zip(KINDS, (16, 112, 112, 112)):
        torch.manual_seed(0)
        fusion = make_fusion(kind, 6, 6, 5, 8)
        reference, memory = pair(size=(8, 14), batch=1)
        reference.requires_grad_(True)
        fusion.fuse(reference, memory)[0, :, 0, 0].sum().backward()
        assert int((reference.grad.abs().sum(dim=(0, 1)) > 0).sum()) == cells, kind


def test_the_window_is_a_global_convolution_of_both_side_by_side():
    torch.manual_seed(0)
    fusion = GlobalConvolutionFusion(6, 5, out=4, mid=3, kernel=3)
    reference, memory = pair(memory=5)
    assert torch.equal(fusion(reference, memory), fusion.window(torch.cat([reference, memory], dim=1)).relu())
    with torch.device("meta"):
        published = GlobalConvolutionFusion(1024, 1024, out=512, mid=256)
    assert sum(p.numel() for p in published.parameters()) == 9_176_576


@pytest.mark.parametrize("kind", KINDS)
def test_every_fusion_keeps_size_and_batch_and_learns_from_both(kind):
    torch.manual_seed(0)
    fusion = make_fusion(kind, 6, 5, 7, 8, span=(4, 4))
    assert (fusion.reference, fusion.memory, fusion.out) == (6, 5, 7)
    order = torch.tensor([2, 0, 1])
    for size in [(1, 1), (3, 5), (4, 4)]:
        reference, memory = pair(memory=5, size=size, batch=3)
        reference.requires_grad_(True), memory.requires_grad_(True)
        fused = fusion(reference, memory)
        assert fused.shape == (3, 7, *size) and (fused >= 0).all()
        assert torch.allclose(fused[order], fusion(reference[order], memory[order]), atol=1e-5)
        fusion.fuse(reference, memory).square().sum().backward()
        assert reference.grad.abs().sum() > 0 and memory.grad.abs().sum() > 0
    assert [name for name, p in fusion.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind):
    fusion = make_fusion(kind, 6, 5, 7, 8)
    reference, memory = pair(memory=5)
    for wrong in [(memory, reference), (reference, memory[..., :3]), (reference[:1], memory), (reference[0], memory)]:
        with pytest.raises(InputError, match=r"takes reference \[B, 6, h, w\] and memory \[B, 5, h, w\] of one size"):
            fusion(*wrong)


def test_impossible_fusions_are_refused():
    with pytest.raises(InputError, match="got 'dot'"):
        make_fusion("dot", 6, 6, 4, 8)
    with pytest.raises(InputError, match="temperature must be positive, got 0"):
        CosineFusion(6, 6, 4, temperature=0)
    with pytest.raises(InputError, match="8 channels cannot be split among 3 heads"):
        CrossAttentionFusion(6, 6, 4, mid=8, heads=3)
    with pytest.raises(InputError, match="8 channels cannot be split among 3 heads"):
        AxialAttentionFusion(6, 6, 4, mid=8, heads=3)
