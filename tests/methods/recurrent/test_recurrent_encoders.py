"""Encoders keep one contract of strides and channels, and hear a mask as documented: not at all, softly, or in full."""

import pytest
import skimage.data
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.encoder_parts import (
    ASPP,
    ResidualPair,
    conv_norm_relu,
    group_norm,
    receptive_field,
)
from course_lib.methods.recurrent.encoders import (
    axial_deeplab_encoder,
    lite_encoder,
    resnet_encoder,
    small_encoder,
    vgg_encoder,
)
from course_lib.methods.recurrent.encoders_published import (
    dilate,
    fully_connected_head,
    load_fully_connected,
    start_mask,
)
from course_lib.nn.backbones import resnet

# maker(guided), channels by stride, channels of the bottleneck
TABLE = {
    "small": (lambda guided: small_encoder(guided), {2: 16, 4: 32, 8: 48, 16: 64}, 64),
    "residual": (lambda guided: small_encoder(guided, kind="residual"), {2: 16, 4: 32, 8: 48, 16: 64}, 64),
    "dilated": (lambda guided: small_encoder(guided, kind="dilated"), {2: 16, 4: 32, 8: 64}, 64),
    "mini ASPP": (lambda guided: small_encoder(guided, kind="dilated-aspp"), {2: 16, 4: 32, 8: 64}, 64),
    "axial": (lambda guided: small_encoder(guided, kind="axial"), {2: 16, 4: 32, 8: 48, 16: 64}, 64),
    "lite": (lambda guided: lite_encoder(guided), {2: 16, 4: 24, 8: 40, 16: 112}, 64),
    "lite 32": (lambda guided: lite_encoder(guided, deepest=32), {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}, 64),
    "VGG-16": (
        lambda guided: vgg_encoder(guided, None, head_width=16), {2: 64, 4: 128, 8: 256, 16: 512, 32: 512}, 512),
    "ResNet-18": (lambda guided: resnet_encoder(18, guided, None), {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}, 1024),
    "ResNet-50": (
        lambda guided: resnet_encoder(50, guided, None), {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}, 1024),
    "DeepLab": (
        lambda guided: resnet_encoder(50, guided, None, dilated=True), {2: 64, 4: 256, 8: 512, 16: 2048}, 1024),
    "DeepLab ASPP": (
        lambda guided: resnet_encoder(50, guided, None, dilated=True, aspp=True),
        {2: 64, 4: 256, 8: 512, 16: 2048}, 1024),
    "Axial-DeepLab": (
        lambda guided: axial_deeplab_encoder(guided, span=(4, 4)), {2: 32, 4: 128, 8: 256, 16: 1024}, 1024),
}  # fmt: skip
TRUNKS = {
    "lite": lambda start: lite_encoder(True, mask_start=start),
    "ResNet-18": lambda start: resnet_encoder(18, True, None, mask_start=start),
    "VGG-16": lambda start: vgg_encoder(True, None, start, head_width=16),
}
SMALL = ("plain", "residual", "dilated", "dilated-aspp", "axial")


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", TABLE)
def test_strides_and_channels_are_the_table_s_for_any_size(name):
    make, channels, deep = TABLE[name]
    encoder = make(True).eval()
    assert (encoder.channels, encoder.deep, encoder.guided) == (channels, deep, True)
    assert encoder.stride == max(channels) and list(encoder.channels) == sorted(channels)
    for size in [(64, 64), (37, 50)]:
        with torch.no_grad():
            features = encoder(torch.rand(1, 3, *size), torch.ones(1, 1, *size))
        assert list(features.levels) == list(channels)
        for stride, level in features.levels.items():
            assert level.shape == (1, channels[stride], *(-(-side // stride) for side in size))
        assert features.deep.shape == (1, deep, *features.levels[encoder.stride].shape[2:])
        assert all(level.isfinite().all() for level in [*features.levels.values(), features.deep])


@pytest.mark.parametrize("name", ["small", "lite", "ResNet-18", "Axial-DeepLab"])
def test_a_mask_is_neither_forgotten_nor_wasted(name):
    make = TABLE[name][0]
    frames, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    guided, blind = make(True).eval(), make(False).eval()
    with pytest.raises(InputError, match=r"is guided: give masks \[2, 1, 32, 32\]"):
        guided(frames)
    with pytest.raises(InputError, match="would ignore the mask: build it with guided=True"):
        blind(frames, masks)
    with pytest.raises(
        InputError, match=r"one mask per frame, \[2, 1, 32, 32\] float in \[0, 1\], got \[1, 1, 32, 32\]"
    ):
        guided(frames, masks[:1])
    with pytest.raises(InputError, match=r"got \[2, 1, 32, 32\] torch.uint8"):
        guided(frames, masks.byte())
    for wrong in (frames.byte(), frames[0], frames[:, :2], frames[..., :0]):
        with pytest.raises(InputError, match=r"takes frames \[B, 3, H, W\], float in \[0, 1\]"):
            blind(wrong)


@pytest.mark.parametrize("kind", SMALL)
def test_small_encoders_learn_with_every_weight_and_see_the_mask(kind):
    torch.manual_seed(0)
    encoder = small_encoder(True, kind=kind)
    frames, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32, requires_grad=True)
    features = encoder(frames, masks)
    (features.deep.square().sum() + sum(level.square().sum() for level in features.levels.values())).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert masks.grad.abs().sum() > 0
    order = torch.tensor([1, 0])
    assert torch.allclose(encoder(frames[order], masks[order]).deep, features.deep[order], atol=1e-5)


def test_small_encoders_stay_small_and_alike():
    sizes = {kind: count(small_encoder(True, kind=kind)) for kind in SMALL}
    assert sizes == {
        "plain": 116_416,
        "residual": 121_600,
        "dilated": 121_600,
        "dilated-aspp": 191_680,
        "axial": 132_496,
    }
    assert sizes["plain"] - count(small_encoder(False)) == 16 * 9  # one more input of the first convolution


def test_an_empty_mask_changes_nothing_in_a_trained_trunk():
    """At any start: so a guided encoder begins as the blind one wherever the target is not."""
    torch.manual_seed(0)
    blind = lite_encoder(False).eval()
    frames = torch.rand(1, 3, 64, 64)
    for start in ("xavier", "matched", "zero"):
        guided = lite_encoder(True, mask_start=start).eval()
        guided.head.load_state_dict(blind.head.state_dict())
        with torch.no_grad():
            seen, wanted = guided(frames, torch.zeros(1, 1, 64, 64)), blind(frames)
        assert torch.allclose(seen.deep, wanted.deep, atol=1e-4)
        assert all(torch.allclose(seen.levels[s], wanted.levels[s], atol=1e-3) for s in wanted.levels)


@pytest.mark.parametrize("name", TRUNKS)
def test_a_full_mask_is_heard_from_the_first_step_unless_it_starts_at_zero(name):
    torch.manual_seed(0)
    frames, empty = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    encoder = TRUNKS[name]("zero").eval()
    first = next(p for p in encoder.parameters() if p.ndim == 4)
    with torch.no_grad():
        without = encoder(frames, empty).levels
    for start, heard in (("zero", False), ("xavier", True), ("matched", True)):
        with torch.no_grad():
            first[:, 3] = 0
        start_mask(first, start)
        full = torch.ones(1, 1, 32, 32, requires_grad=True)
        features = encoder(frames, full)
        for stride, level in features.levels.items():
            assert torch.equal(level, without[stride]) != heard, (start, stride)
        encoder.zero_grad()
        features.deep.square().sum().backward()
        assert (full.grad.abs().sum() > 0) == heard
        assert first.shape[1] == 4 and first.grad[:, 3].abs().sum() > 0  # a zero start learns to hear


@pytest.mark.parametrize("name", TRUNKS)
def test_encoders_start_their_mask_as_told(name):
    first = next(p for p in TRUNKS[name]("xavier").parameters() if p.ndim == 4)
    bound = (6 / (first[0, 0].numel() * (1 + first.shape[0]))) ** 0.5
    assert 0.9 * bound < first[:, 3].abs().max() <= bound


def test_how_loud_a_trained_trunk_hears_each_start():
    """On a photograph, features turn by some degrees inside a mask: few for Xavier, many for matched weights."""
    photograph = torch.from_numpy(skimage.data.chelsea()[:256, :448].copy())
    frames = photograph.permute(2, 0, 1)[None].float() / 255
    masks, cells = torch.zeros(1, 1, 256, 448), (..., slice(6, 11), slice(10, 18))
    masks[..., 80:180, 150:300] = 1
    turned = {}
    for start in ("xavier", "matched"):
        torch.manual_seed(0)
        encoder = lite_encoder(True, mask_start=start).eval()
        with torch.no_grad():
            level = encoder(frames, masks).levels[16][cells]
            plain = encoder(frames, torch.zeros_like(masks)).levels[16][cells]
        turned[start] = float(nn.functional.cosine_similarity(level, plain, dim=1).mean())
    assert 0.6 < turned["matched"] < 0.85 and 0.95 < turned["xavier"] < 0.99


def test_starts_of_a_mask_channel():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.cat([torch.randn(64, 3, 7, 7) * torch.linspace(0.1, 2, 64)[:, None, None, None],
                                     torch.zeros(64, 1, 7, 7)], dim=1))  # fmt: skip
    colours = weight[:, :3].detach().clone()
    start_mask(weight, "xavier")
    bound = (6 / (49 + 64 * 49)) ** 0.5  # fan in of one channel, fan out of 64
    assert 0.95 * bound < weight[:, 3].abs().max() <= bound
    once = weight.detach().clone()
    start_mask(weight, "matched")
    assert torch.equal(weight, once), "weights that are there already stay"
    with torch.no_grad():
        weight[:, 3] = 0
    start_mask(weight, "matched")
    ratio = weight[:, 3].flatten(1).std(dim=1) / colours.flatten(1).std(dim=1)
    assert ((ratio * 7 - 1).abs() < 0.4).all() and torch.equal(weight[:, :3], colours)
    with pytest.raises(InputError, match="'xavier', 'matched' or 'zero', got 'loud'"):
        start_mask(weight, "loud")


def test_a_fourth_channel_is_a_convolution_of_the_mask_added_to_that_of_the_colours():
    torch.manual_seed(0)
    encoder = resnet_encoder(18, True, None).eval()
    conv = encoder.trunk.conv1
    of_colours, of_mask = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    with torch.no_grad():
        of_colours.weight.copy_(conv.weight[:, :3])
        of_mask.weight.copy_(conv.weight[:, 3:])
        frames, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
        normalised = (frames - encoder.trunk.mean[:, :3]) / encoder.trunk.std[:, :3]
        expected = encoder.trunk.bn1(of_colours(normalised) + of_mask(masks)).relu()
        assert torch.allclose(encoder(frames, masks).levels[2], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["small", "lite", "ResNet-18"])
def test_the_border_colour_is_what_the_network_sees_as_zero(name):
    encoder = TABLE[name][0](False).eval()
    grey = torch.tensor(encoder.border).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    seen = []
    first = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder(grey)
    assert seen[0].abs().max() < 1e-6


@pytest.mark.parametrize("depth", [18, 50])
def test_a_dilated_stage_is_the_strided_one_at_every_second_cell(depth):
    torch.manual_seed(0)
    stage = resnet(depth, None).get_submodule("layer4").eval()
    x = torch.randn(1, 256 if depth == 18 else 1024, 7, 6)
    with torch.no_grad():
        coarse = stage(x)
        dilate(stage)
        fine = stage(x)
    assert fine.shape[2:] == (7, 6)
    assert torch.allclose(fine[..., ::2, ::2], coarse, atol=1e-4 * coarse.abs().max())


def seen_from_the_middle(layer: nn.Module, channels: int, size: int) -> torch.Tensor:
    """Which cells of [1, channels, size, size] the middle of a layer's output depends on, group norm left out."""
    x = torch.rand(1, channels, size, size, requires_grad=True)
    convs = nn.Sequential(*(m for m in layer.modules() if isinstance(m, nn.Conv2d)))
    convs(x)[..., size // 2, size // 2].sum().backward()
    return x.grad.abs().sum(dim=(0, 1)) > 0


@pytest.mark.parametrize(("dilation", "span"), [(1, 3), (2, 5), (6, 13), (12, 25), (18, 37)])
def test_a_dilated_window_spans_what_the_formula_says(dilation, span):
    assert receptive_field(3, dilation) == span
    seen = seen_from_the_middle(conv_norm_relu(2, 2, 3, dilation=dilation), 2, 41)
    rows = seen.any(dim=1).nonzero()
    assert int(seen.sum()) == 9 and int(rows.max() - rows.min()) + 1 == span


def test_aspp_has_its_windows_side_by_side():
    torch.manual_seed(0)
    aspp = ASPP(8, 6, branch=4, rates=(1, 2, 3)).eval()
    assert [receptive_field(3, window[0].dilation[0]) for window in aspp.windows] == [3, 5, 7]
    x = torch.randn(2, 8, 5, 7)
    mean = x.mean(dim=(2, 3), keepdim=True)
    parts = [aspp.point(x), *(window(x) for window in aspp.windows), aspp.image(mean) + torch.zeros(2, 4, 5, 7)]
    assert torch.equal(aspp(x), aspp.join(torch.cat(parts, dim=1)))
    published = resnet_encoder(50, False, None, dilated=True, aspp=True).head
    assert [window[0].dilation for window in published.windows] == [(6, 6), (12, 12), (18, 18)]
    assert published.join[0].in_channels == 5 * 256
    with pytest.raises(InputError, match="dilation rates of at least 1"):
        ASPP(8, 8, rates=(0, 6))


def test_batch_norm_is_frozen_with_and_without_weights():
    for encoder in (resnet_encoder(18, True, None), lite_encoder(True), lite_encoder(True, None)):
        before = {name: b.clone() for name, b in encoder.named_buffers()}
        encoder.train()(torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32))
        assert all(torch.equal(b, before[name]) for name, b in encoder.named_buffers())
        norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(not m.training and m.weight.requires_grad for m in norms)


def test_a_random_deep_trunk_neither_explodes_nor_dies():
    torch.manual_seed(0)
    encoder = resnet_encoder(101, True, None).eval()
    with torch.no_grad():
        levels = encoder(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).levels
    assert all(0.02 < level.square().mean().sqrt() < 5 for level in levels.values())


def test_trained_weights_are_taken_from_torchvisions_files(tmp_path):
    torch.manual_seed(0)
    published = torchvision.models.resnet18(weights=None).eval()
    save_file(published.state_dict(), tmp_path / "resnet18.safetensors")
    encoder = resnet_encoder(18, False, tmp_path / "resnet18.safetensors").eval()
    frames = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = published.conv1((frames - encoder.trunk.mean) / encoder.trunk.std)
        x = published.maxpool(published.bn1(x).relu())
        x = published.layer4(published.layer3(published.layer2(published.layer1(x))))
        assert torch.allclose(encoder(frames).levels[32], x, atol=1e-5)


def test_vgg_levels_lie_behind_the_poolings():
    torch.manual_seed(0)
    encoder = vgg_encoder(False, None, head_width=16).eval()
    frames = torch.rand(1, 3, 64, 32)
    x = (frames - encoder.trunk.mean) / encoder.trunk.std
    wanted = []
    with torch.no_grad():
        for layer in encoder.trunk.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                wanted.append(x)
        levels = list(encoder(frames).levels.values())
    assert len(wanted) == 5 and all(torch.equal(a, b) for a, b in zip(levels, wanted))


def test_fully_connected_layers_as_convolutions_give_the_same_numbers():
    """On 7 x 7 cells the middle of the 7 x 7 convolution sees all of them: what VGG's first two layers computed."""
    torch.manual_seed(0)
    head = fully_connected_head(8)
    first, second = nn.Linear(512 * 49, 8), nn.Linear(8, 8)
    state = {
        f"classifier.{i}.{name}": p for i, layer in ((0, first), (3, second)) for name, p in layer.named_parameters()
    }
    load_fully_connected(head, state)
    x = torch.rand(2, 512, 7, 7)
    expected = second(first(x.flatten(1)).relu()).relu()
    assert torch.allclose(head[:4](x)[..., 3, 3], expected, atol=1e-4)
    untouched = head[4].weight.clone()
    load_fully_connected(head, {})
    assert torch.equal(head[4].weight, untouched)


def test_published_sizes():
    with torch.device("meta"):
        head = fully_connected_head(4096)
    assert count(head) == (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 512
    trunk = 25_557_032 - 1000 * 2049  # ResNet-50 without its classifier
    encoder = resnet_encoder(50, True, None)
    assert count(encoder.trunk) == trunk + 64 * 49  # and with a mask
    assert count(encoder.head) == 2048 * 1024 + 2 * 1024


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InputError, match="got 'wide'"):
        small_encoder(True, kind="wide")
    with pytest.raises(InputError, match="two or more positive numbers"):
        small_encoder(True, widths=(16,))
    with pytest.raises(InputError, match="ResNet depth"):
        resnet_encoder(42, True, None)
    with pytest.raises(InputError, match="deepest"):
        lite_encoder(True, deepest=64)


def test_a_residual_pair_adds_its_shortcut():
    torch.manual_seed(0)
    block = ResidualPair(4, 8, stride=2)
    nn.init.zeros_(block.norm.weight)
    x = torch.randn(1, 4, 7, 8)
    assert torch.allclose(block(x), block.shortcut(x).relu())


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (16, 8), (8, 4), (12, 2), (5, 1), (1, 1)])
def test_a_group_has_two_channels_where_there_are_two(channels, groups):
    assert group_norm(channels).num_groups == groups
