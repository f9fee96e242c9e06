"""ERFNet and the interface of networks for single frames. Reference numbers are in test_lmanet_parity."""

import pytest
import torch
from torch import nn

from course_lib.errors import InputError
from course_lib.methods.propagation.erfnet import Downsampler, ERFNet, NonBottleneck1D, Upsampler
from course_lib.methods.propagation.segmenter import FrameSegmenter, Segmented


@pytest.fixture(scope="module")
def net() -> ERFNet:
    torch.manual_seed(0)
    return ERFNet(19).eval()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_the_published_size(net):
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(2.06e6, rel=0.01)
    assert sum(p.numel() for p in ERFNet(20, shallow=True).decoder.parameters()) == 128 * 20 + 20


def test_batch_norm_is_the_published_one(net):
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 3 + 13 * 2 + 2 + 4 * 2 and all(m.eps == 1e-3 for m in norms)
    assert all(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))


def test_sizes(net):
    found = net(torch.rand(2, 3, 24, 40))
    assert isinstance(found, Segmented)
    assert found.features.shape == (2, 128, 3, 5) and found.logits.shape == (2, 19, 24, 40)
    assert (found.features >= 0).all()
    shallow = ERFNet(7, shallow=True).eval()
    assert shallow(torch.rand(1, 3, 24, 40)).logits.shape == (1, 7, 3, 5) and shallow.logits_stride == 8
    assert shallow.segment(torch.rand(1, 3, 21, 33)).logits.shape == (1, 7, 21, 33)


def test_a_factorized_block_is_two_separable_convolutions():
    """With ReLU out of the way a pair is one 3x3 convolution, whose kernel is the outer product of the two."""
    torch.manual_seed(0)
    block, x = NonBottleneck1D(3, dilation=2).eval(), torch.rand(1, 3, 9, 9)
    for conv in (block.vertical2, block.horizontal2):
        conv.weight.data.abs_()
        conv.bias.data.zero_()
    kernel = torch.einsum("oiyx,mozw->miyw", block.vertical2.weight, block.horizontal2.weight)  # [3, 3, 3, 3]
    expected = nn.functional.conv2d(x, kernel, padding=2, dilation=2)
    torch.testing.assert_close(block.horizontal2(block.vertical2(x)), expected)


def test_a_block_that_says_nothing_passes_its_input():
    block, x = NonBottleneck1D(5).eval(), torch.rand(1, 5, 6, 6)
    block.norm2.weight.zero_()
    assert torch.equal(block(x), x)


def test_a_downsampler_keeps_what_it_got():
    down, x = Downsampler(3, 8).eval(), torch.rand(1, 3, 6, 10)
    kept = down(x)[:, 5:]  # after the five new channels
    torch.testing.assert_close(kept, nn.functional.max_pool2d(x, 2) / (1 + 1e-3) ** 0.5)
    assert Upsampler(8, 4).eval()(down(x)).shape == (1, 4, 6, 10)


def test_padding_goes_right_and_below(net):
    """A frame of any size: the same logits as where its last row and column are repeated by hand."""
    frames = torch.rand(1, 3, 21, 30)
    by_hand = nn.functional.pad(frames, (0, 2, 0, 3), mode="replicate")
    found = net.segment(frames)
    assert torch.equal(found.logits, net(by_hand).logits[..., :21, :30])
    assert torch.equal(found.features, net(by_hand).features)
    whole = torch.rand(1, 3, 16, 24)
    assert net.padded(whole) is whole and torch.equal(net.segment(whole).logits, net(whole).logits)


@pytest.mark.parametrize(
    "frames",
    [torch.zeros(1, 3, 8, 8).byte(), torch.rand(3, 8, 8), torch.rand(1, 4, 8, 8), torch.rand(0, 3, 8, 8)],
)
def test_what_is_no_frame(net, frames):
    for call in (net, net.segment, net.padded):
        with pytest.raises(InputError, match=r"frames must be \[B, 3, H, W\] float, RGB in \[0, 1\]"):
            call(frames)


def test_sides_that_do_not_fit_are_refused(net):
    with pytest.raises(InputError, match="ERFNet takes sides such as 24 x 32, got 20 x 30; `segment` takes any size"):
        net(torch.rand(1, 3, 20, 30))
    with pytest.raises(InputError, match="at least one class, got classes=0"):
        ERFNet(0)


def test_the_decoder_is_what_features_do_not_need(net):
    decoder = {id(p) for part in net.decoder_parts() for p in part.parameters()}
    with torch.enable_grad():
        net.encode(torch.rand(1, 3, 16, 16)).sum().backward()
    assert all((p.grad is None) == (id(p) in decoder) for p in net.parameters())
    net.zero_grad()
    assert isinstance(net, FrameSegmenter)
