"""PSPNet: sizes, aligned corners, and pooling by hand. Reference numbers are in test_lmanet_parity."""

import pytest
import torch
from torch import nn
from torchvision.models.resnet import resnet50

from course_lib.errors import InputError
from course_lib.methods.propagation.pspnet import PSPNet, PyramidPooling


@pytest.fixture(scope="module")
def net() -> PSPNet:
    torch.manual_seed(0)
    return PSPNet(5, depth=50).eval()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_sizes(net):
    found = net(torch.rand(1, 3, 33, 49))
    assert found.features.shape == (1, 2048, 5, 7) and found.logits.shape == (1, 5, 5, 7)
    assert net.segment(torch.rand(1, 3, 30, 44)).logits.shape == (1, 5, 30, 44)
    assert [net.fitting(side) for side in (1, 9, 10, 17, 1024, 1025)] == [9, 9, 17, 17, 1025, 1025]


def test_the_trunk_is_a_residual_network_that_does_not_shrink(net):
    """The same parameters as torchvision's beyond the stem; dilation 2 and 4, and no stride, in the last two stages."""
    theirs = {n: p.shape for n, p in resnet50(weights=None).named_parameters() if n.startswith("layer")}
    ours = {n: p.shape for n, p in net.encoder.named_parameters() if n.startswith("layer")}
    assert ours.keys() == theirs.keys()
    assert {n for n in ours if ours[n] != theirs[n]} == {"layer1.0.conv1.weight", "layer1.0.downsample.0.weight"}
    for stage, dilation in ((1, 1), (2, 1), (3, 2), (4, 4)):
        blocks = net.encoder.get_submodule(f"layer{stage}")
        assert {block.conv2.dilation for block in blocks} == {(dilation, dilation)}
        assert [block.conv2.stride[0] for block in blocks] == [2 if stage == 2 else 1] + [1] * (len(blocks) - 1)


def test_corners_stay_where_they_are(net):
    """Logits of cell (i, j) are those of pixel (8 i, 8 j), up to the corners."""
    logits = torch.randn(1, 5, 4, 6)
    spread = net.upsample(logits, (25, 41))
    torch.testing.assert_close(spread[..., ::8, ::8], logits)
    torch.testing.assert_close(spread[..., 4, 0], (logits[..., 0, 0] + logits[..., 1, 0]) / 2)
    torch.testing.assert_close(net.upsample(logits, (20, 38)), spread[..., :20, :38])


def test_pyramid_pooling_by_hand():
    torch.manual_seed(0)
    pooling, x = PyramidPooling(8).eval(), torch.rand(1, 8, 6, 6)
    found = pooling(x)
    assert found.shape == (1, 16, 6, 6) and torch.equal(found[:, :8], x)
    whole = pooling.levels[0][1:](x.mean((2, 3), keepdim=True))  # one bin: the same everywhere
    torch.testing.assert_close(found[:, 8:10], whole.expand(-1, -1, 6, 6))
    corner = pooling.levels[1][1:](x[..., :3, :3].mean((2, 3), keepdim=True))
    torch.testing.assert_close(found[..., 10:12, :1, :1], corner)
    each = pooling.levels[3][1:](x)  # six bins of one cell
    torch.testing.assert_close(found[:, 14:], each)


def test_frames_are_normalised_inside(net):
    grey = net.mean.expand(1, 3, 9, 9)
    assert torch.equal(net.encode(grey), net.encoder(torch.zeros(1, 3, 9, 9)))


def test_the_decoder_is_pyramid_and_classifier(net):
    encoder = {id(p) for p in net.encoder.parameters()}
    decoder = {id(p) for part in net.decoder_parts() for p in part.parameters()}
    assert encoder | decoder == {id(p) for p in net.parameters()} and not encoder & decoder
    assert any(isinstance(m, nn.Dropout2d) and m.p == 0.1 for m in net.classifier)


def test_what_is_refused(net):
    with pytest.raises(InputError, match=r"depth of PSPNet must be one of \[50, 101, 152\], got 34"):
        PSPNet(5, depth=34)
    with pytest.raises(InputError, match="PSPNet takes sides such as 33 x 41, got 32 x 40"):
        net(torch.rand(1, 3, 32, 40))
