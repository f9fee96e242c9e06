"""A cut part says nothing any more, the others go on, and afterwards the network is what it was."""

import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.recurrent.cuts import parts, without
from course_lib.methods.recurrent.rows import bi_hs2s, hs2s, mask_guided, rgmp, s2s, s2s_plus_plus


def clip(seed=0):
    g = torch.Generator().manual_seed(seed)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1
    return torch.rand(2, 4, 3, 32, 32, generator=g), mask


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return hs2s().eval()


def test_the_parts_of_each_row():
    assert parts(s2s()) == ("memory 16",)
    assert parts(s2s_plus_plus()) == ("memory 16", "memory 8", "memory 4")
    assert parts(hs2s()) == ("memory 16", "memory 8", "first", "previous", "mask")
    assert parts(hs2s(references=("first",)))[-2:] == ("first", "mask")
    assert parts(rgmp()) == ("first", "mask") and parts(mask_guided())[-1] == "mask"
    assert parts(bi_hs2s()) == ("memory 16", "memory 8", "first", "previous")
    with pytest.raises(InputError, match="recurrent family, got Linear"):
        parts(torch.nn.Linear(1, 1))


@torch.no_grad()
def test_every_part_of_a_random_network_matters_and_comes_back(net):
    frames, mask = clip()
    whole = net.unroll(frames, mask).logits
    for part in parts(net):
        with without(net, part):
            cut = net.unroll(frames, mask).logits
        assert (cut - whole).abs().max() > 1e-6, part
    assert torch.equal(net.unroll(frames, mask).logits, whole)
    with pytest.raises(RuntimeError), without(net, "first"):
        raise RuntimeError
    assert torch.equal(net.unroll(frames, mask).logits, whole)


@torch.no_grad()
def test_a_cut_within_a_cut_adds_to_it(net):
    frames, mask = clip()
    whole = net.unroll(frames, mask).logits
    with without(net, "previous", "mask"):
        both = net.unroll(frames, mask).logits
    with without(net, "previous"):
        one = net.unroll(frames, mask).logits
        with without(net, "mask"):
            assert torch.equal(net.unroll(frames, mask).logits, both)
        assert torch.equal(net.unroll(frames, mask).logits, one)
    assert torch.equal(net.unroll(frames, mask).logits, whole)


@torch.no_grad()
def test_what_is_cut_cannot_be_seen(net):
    """Without the first reference another first frame changes nothing but the mask that is handed on from it."""
    frames, mask = clip()
    other = frames.clone()
    other[:, 0] = 1 - other[:, 0]

    def late(frames, *cut):
        with without(net, *cut):
            return net.unroll(frames, mask, truth=mask[:, None].expand(-1, 4, -1, -1, -1), teacher=True).logits[:, 1:]

    assert not torch.equal(late(frames, "previous"), late(other, "previous"))
    assert torch.equal(late(frames, "first"), late(other, "first"))  # the previous frame is another one from step 2 on


@torch.no_grad()
def test_an_empty_mask_is_what_the_encoder_sees(net):
    frames, mask = clip()
    with without(net, "mask", "first", "previous"):
        one, two = (net.unroll(frames, m).logits for m in (mask, mask.flip(-1)))
    assert torch.equal(one, two)


@torch.no_grad()
def test_both_ways():
    torch.manual_seed(1)
    net, (frames, mask) = bi_hs2s().eval(), clip()
    later = frames.clone()
    later[:, -1] = 1 - later[:, -1]
    assert not torch.equal(net.unroll(frames, mask).logits[:, 0], net.unroll(later, mask).logits[:, 0])
    with without(net, "memory 16"):  # where the way back ends
        assert torch.equal(net.unroll(frames, mask).logits[:, 0], net.unroll(later, mask).logits[:, 0])


def test_unknown_parts(net):
    with (
        pytest.raises(InputError, match="cannot cut 'eyes'; the parts are memory 16, memory 8, first"),
        without(net, "eyes"),
    ):
        pass
